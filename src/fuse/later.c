/* SPDX-License-Identifier: MIT */
/* A queue and its thread. */
#include "fuse/later.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct later {
	pthread_mutex_t lock; /* queue, stopping */
	pthread_cond_t filled;
	struct list queue;
	bool stopping;
	pthread_t thread;
};

static struct later_job *next_job(struct later *l)
{
	pthread_mutex_lock(&l->lock);
	while (list_empty(&l->queue) && !l->stopping)
		pthread_cond_wait(&l->filled, &l->lock);
	struct list_node *n = list_pop_front(&l->queue);
	pthread_mutex_unlock(&l->lock);
	return n ? container_of(n, struct later_job, node) : NULL;
}

static void *run_all(void *arg)
{
	struct later_job *job;
	while ((job = next_job(arg)))
		job->run(job);
	return NULL;
}

int later_new(struct later **out)
{
	struct later *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->filled, NULL);
	list_init(&l->queue);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&l->thread, NULL, run_all, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(l);
		return -err;
	}
	*out = l;
	return 0;
}

void later_free(struct later *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->filled);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->filled);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void later_post(struct later *l, struct later_job *job)
{
	pthread_mutex_lock(&l->lock);
	list_push_back(&l->queue, &job->node);
	pthread_cond_signal(&l->filled);
	pthread_mutex_unlock(&l->lock);
}
