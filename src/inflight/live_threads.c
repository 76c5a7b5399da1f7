/* SPDX-License-Identifier: MIT */
/* A table of threads, each with one place that it can be at. */
#include "inflight/live_threads.h"

#include <assert.h>
#include <string.h>

/* With the lock held: the thread's place, whoever is there. Threads of a process have numbers in a
 * row, and so places of their own. */
static struct live_thread *slot_of(struct live_threads *t, pid_t tid)
{
	assert(tid > 0);
	return &t->slots[(unsigned)tid % LIVE_THREADS];
}

/* With the lock held: the thread's place, taken for it. */
static struct live_thread *slot_take(struct live_threads *t, pid_t tid)
{
	struct live_thread *slot = slot_of(t, tid);
	if (slot->tid != tid)
		*slot = (struct live_thread){.tid = tid};
	return slot;
}

bool live_threads_recall(
	struct live_threads *t, pid_t tid, uint64_t now_ns, struct event_writer *out)
{
	pthread_mutex_lock(&t->lock);
	const struct live_thread *slot = slot_of(t, tid);
	bool known = slot->tid == tid && slot->described_ns &&
		     now_ns - slot->described_ns < LIVE_DESCRIBED_NS;
	if (known) {
		out->pid = slot->writer.pid;
		out->uid = slot->writer.uid;
		memcpy(out->comm, slot->writer.comm, sizeof(out->comm));
	}
	pthread_mutex_unlock(&t->lock);
	return known;
}

void live_threads_describe(
	struct live_threads *t, pid_t tid, uint64_t now_ns, const struct event_writer *writer)
{
	pthread_mutex_lock(&t->lock);
	struct live_thread *slot = slot_take(t, tid);
	slot->writer = *writer;
	slot->described_ns = now_ns;
	pthread_mutex_unlock(&t->lock);
}

uint64_t live_threads_patience_ns(struct live_threads *t, pid_t tid, uint64_t now_ns)
{
	pthread_mutex_lock(&t->lock);
	const struct live_thread *slot = slot_of(t, tid);
	bool doubted = slot->tid == tid && now_ns < slot->doubted_until_ns;
	pthread_mutex_unlock(&t->lock);
	return doubted ? LIVE_PATIENCE_DOUBTED_NS : LIVE_PATIENCE_NS;
}

void live_threads_ran(struct live_threads *t, pid_t tid, uint64_t begun_ns, uint64_t now_ns)
{
	pthread_mutex_lock(&t->lock);
	struct live_thread *slot = slot_take(t, tid);
	/* A wait that began in doubt was short, and tells nothing. */
	if (begun_ns >= slot->doubted_until_ns && ++slot->runs >= LIVE_RUNS_TO_DOUBT)
		slot->doubted_until_ns = now_ns + LIVE_DOUBT_NS;
	pthread_mutex_unlock(&t->lock);
}

void live_threads_waited(struct live_threads *t, pid_t tid)
{
	pthread_mutex_lock(&t->lock);
	struct live_thread *slot = slot_of(t, tid);
	if (slot->tid == tid) {
		slot->runs = 0;
		slot->doubted_until_ns = 0;
		slot->way = LIVE_WAY_CALL;
	}
	pthread_mutex_unlock(&t->lock);
}

void live_threads_set_way(struct live_threads *t, pid_t tid, enum live_way way)
{
	pthread_mutex_lock(&t->lock);
	slot_take(t, tid)->way = way;
	pthread_mutex_unlock(&t->lock);
}

enum live_way live_threads_way(struct live_threads *t, pid_t tid)
{
	pthread_mutex_lock(&t->lock);
	const struct live_thread *slot = slot_of(t, tid);
	enum live_way way = slot->tid == tid ? slot->way : LIVE_WAY_UNKNOWN;
	pthread_mutex_unlock(&t->lock);
	return way;
}
