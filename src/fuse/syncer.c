/* SPDX-License-Identifier: MIT */
/* The queue of synchronous writes, and the thread that syncs for them. */
#include "fuse/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct syncer {
	syncer_fn *sync;
	void *ctx;
	pthread_mutex_t lock; /* queue, stopping */
	pthread_cond_t filled;
	struct list queue;
	bool stopping;
	pthread_t thread;
};

/* All that waits; false: the end. */
static bool take_all(struct syncer *s, struct list *out)
{
	list_init(out);
	pthread_mutex_lock(&s->lock);
	while (list_empty(&s->queue) && !s->stopping)
		pthread_cond_wait(&s->filled, &s->lock);
	list_splice_back(out, &s->queue);
	pthread_mutex_unlock(&s->lock);
	return !list_empty(out);
}

/* Those of @from that are of the same file as its first. */
static void take_file(struct list *from, struct list *out)
{
	uint64_t ino = container_of(list_first(from), struct sync_job, node)->ino;
	list_init(out);
	list_for_each_safe (n, from) {
		if (container_of(n, struct sync_job, node)->ino != ino)
			continue;
		list_remove(n);
		list_push_back(out, n);
	}
}

static void sync_file(struct syncer *s, struct list *jobs)
{
	uint64_t ino = container_of(list_first(jobs), struct sync_job, node)->ino;
	bool data_only = true;
	list_for_each (n, jobs)
		data_only &= container_of(n, struct sync_job, node)->data_only;
	int err = s->sync(s->ctx, ino, data_only);
	struct list_node *n;
	while ((n = list_pop_front(jobs))) {
		struct sync_job *job = container_of(n, struct sync_job, node);
		job->done(job, err);
	}
}

static void *run(void *arg)
{
	struct syncer *s = arg;
	struct list all, same;
	while (take_all(s, &all)) {
		while (!list_empty(&all)) {
			take_file(&all, &same);
			sync_file(s, &same);
		}
	}
	return NULL;
}

int syncer_new(syncer_fn *sync, void *ctx, struct syncer **out)
{
	struct syncer *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->sync = sync;
	s->ctx = ctx;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->filled, NULL);
	list_init(&s->queue);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(s);
		return -err;
	}
	*out = s;
	return 0;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->filled);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->filled);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void syncer_post(struct syncer *s, struct sync_job *job)
{
	pthread_mutex_lock(&s->lock);
	list_push_back(&s->queue, &job->node);
	pthread_cond_signal(&s->filled);
	pthread_mutex_unlock(&s->lock);
}
