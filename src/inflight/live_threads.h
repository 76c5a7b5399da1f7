/* SPDX-License-Identifier: MIT */
/* What is remembered of writing threads for a moment. Private to src/inflight.
 *
 * Three things, so that they need not be found out anew for each write:
 *  - who a thread is. A description is at most LIVE_DESCRIBED_NS old: within that time a thread's
 *    new name or user is not seen.
 *  - that a thread does not wait for its writes (it submits them by io_uring or libaio, and runs
 *    on). Whoever looks for it in a call would wait LIVE_PATIENCE_NS each time, for nothing. After
 *    LIVE_RUNS_TO_DOUBT such waits in a row the thread is doubted for LIVE_DOUBT_NS: patience is
 *    then LIVE_PATIENCE_DOUBTED_NS.
 *
 *  - how it wrote last, so that the next request is looked for there first.
 *
 * The price: a thread that does wait, but was kept from falling asleep several times by a busy
 * machine (or now writes in another way), gets little patience for at most LIVE_DOUBT_NS, since
 * short waits that fail do not prolong the doubt, and one write of it that is found ends it. The
 * gain: such a submitter costs one long wait for each LIVE_DOUBT_NS.
 *
 * The table has a fixed size; a thread that falls on another one's place makes that one forgotten,
 * which costs time and nothing else. Any thread may call. Times are of clock_monotonic_ns(). */
#ifndef STABLEFS_INFLIGHT_LIVE_THREADS_H
#define STABLEFS_INFLIGHT_LIVE_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/clock.h"
#include "base/event.h"

#define LIVE_THREADS             256u
#define LIVE_DESCRIBED_NS        (100 * NS_PER_MS)
#define LIVE_RUNS_TO_DOUBT       4u
#define LIVE_DOUBT_NS            (250 * NS_PER_MS)
#define LIVE_PATIENCE_NS         (2 * NS_PER_MS)
#define LIVE_PATIENCE_DOUBTED_NS (50 * NS_PER_US)

enum live_way { LIVE_WAY_UNKNOWN, LIVE_WAY_CALL, LIVE_WAY_RING, LIVE_WAY_AIO };

struct live_thread {
	pid_t tid;                 /* 0: nobody */
	unsigned runs;             /* full waits in a row that found it running */
	uint64_t doubted_until_ns; /* 0: not doubted */
	enum live_way way;         /* how it wrote the last time that this could be told */
	uint64_t described_ns;     /* when @writer was read; 0: never */
	struct event_writer writer;
};

struct live_threads {
	pthread_mutex_t lock; /* protects slots; nothing is called under it */
	struct live_thread slots[LIVE_THREADS];
};

#define LIVE_THREADS_INIT                                                                          \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                  \
	}

/* Who it is: pid, uid and comm; the rest of *@out stays. False: not described lately. */
bool live_threads_recall(
	struct live_threads *t, pid_t tid, uint64_t now_ns, struct event_writer *out);
void live_threads_describe(
	struct live_threads *t, pid_t tid, uint64_t now_ns, const struct event_writer *writer);

/* How long to wait for the thread to fall asleep. */
uint64_t live_threads_patience_ns(struct live_threads *t, pid_t tid, uint64_t now_ns);

/* How that went: it ran all the while, from @begun_ns to @now_ns, or it was found in a call that
 * writes. */
void live_threads_ran(struct live_threads *t, pid_t tid, uint64_t begun_ns, uint64_t now_ns);
void live_threads_waited(struct live_threads *t, pid_t tid);

/* How it writes: found out, and the last that was. */
void live_threads_set_way(struct live_threads *t, pid_t tid, enum live_way way);
enum live_way live_threads_way(struct live_threads *t, pid_t tid);

#endif
