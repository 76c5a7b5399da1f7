/* SPDX-License-Identifier: MIT */
/* The queue of synchronous writes, and the thread that syncs for them. */
#include "fuse/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "fuse/later.h"

struct syncer {
	syncer_fn *sync;
	void *ctx;
	struct later *thread;   /* owned */
	struct later_job round; /* posted while something waits */
	pthread_mutex_t lock;   /* waiting */
	struct list waiting;    /* struct sync_job */
};

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

/* All that waits: who posts from now on asks for another round. */
static void run(struct later_job *job)
{
	struct syncer *s = container_of(job, struct syncer, round);
	struct list all, same;
	list_init(&all);
	pthread_mutex_lock(&s->lock);
	list_splice_back(&all, &s->waiting);
	pthread_mutex_unlock(&s->lock);
	while (!list_empty(&all)) {
		take_file(&all, &same);
		sync_file(s, &same);
	}
}

int syncer_new(syncer_fn *sync, void *ctx, struct syncer **out)
{
	struct syncer *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct syncer){.sync = sync, .ctx = ctx, .round.run = run};
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->waiting);
	int err = later_new(&s->thread);
	if (err < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	later_free(s->thread);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void syncer_post(struct syncer *s, struct sync_job *job)
{
	pthread_mutex_lock(&s->lock);
	bool first = list_empty(&s->waiting);
	list_push_back(&s->waiting, &job->node);
	pthread_mutex_unlock(&s->lock);
	if (first)
		later_post(s->thread, &s->round);
}
