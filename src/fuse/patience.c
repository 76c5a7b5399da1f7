/* SPDX-License-Identifier: MIT */
/* The waits, in the order in which they began, which is that of their ends; and their clock. */
#include "fuse/patience.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "base/clock.h"

struct patience {
	uint64_t ns;
	pthread_mutex_t lock; /* waits, stopping */
	pthread_cond_t changed;
	struct list waits;
	bool stopping;
	pthread_t thread;
};

/* Until the first of them is due, or comes. */
static void sleep_locked(struct patience *p)
{
	if (list_empty(&p->waits)) {
		pthread_cond_wait(&p->changed, &p->lock);
		return;
	}
	uint64_t at = container_of(list_first(&p->waits), struct patience_wait, node)->due_ns;
	struct timespec until = {(time_t)(at / NS_PER_S), (long)(at % NS_PER_S)};
	pthread_cond_timedwait(&p->changed, &p->lock, &until);
}

/* The first one, if it is due; at the end all are. */
static struct patience_wait *take_due(struct patience *p)
{
	struct list_node *n = list_first(&p->waits);
	struct patience_wait *wait = n ? container_of(n, struct patience_wait, node) : NULL;
	if (!wait || (!p->stopping && wait->due_ns > clock_monotonic_ns()))
		return NULL;
	list_remove(n);
	return wait;
}

static void *run(void *arg)
{
	struct patience *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct patience_wait *wait = take_due(p);
		if (wait) {
			pthread_mutex_unlock(&p->lock);
			wait->over(wait);
			pthread_mutex_lock(&p->lock);
		} else if (p->stopping) {
			break;
		} else {
			sleep_locked(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void clock_init(struct patience *p)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	list_init(&p->waits);
}

int patience_new(uint64_t ns, struct patience **out)
{
	struct patience *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->ns = ns;
	clock_init(p);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(p);
		return -err;
	}
	*out = p;
	return 0;
}

void patience_free(struct patience *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void patience_begin(struct patience *p, struct patience_wait *wait)
{
	pthread_mutex_lock(&p->lock);
	wait->due_ns = clock_monotonic_ns() + p->ns;
	bool first = list_empty(&p->waits);
	list_push_back(&p->waits, &wait->node);
	if (first)
		pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

bool patience_end(struct patience *p, struct patience_wait *wait)
{
	pthread_mutex_lock(&p->lock);
	bool waits = list_linked(&wait->node);
	if (waits)
		list_remove(&wait->node);
	pthread_mutex_unlock(&p->lock);
	return waits;
}
