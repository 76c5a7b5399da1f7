/* SPDX-License-Identifier: MIT */
/* Which workers wait for requests. Were all of them to wait in read(2), the kernel would wake them
 * in turn, each on another processor with cold caches: a client that asks one thing after the other
 * pays a third of its time for that. So one listens and serves what it got, and the others sit on
 * the bench, until
 *
 *	- it goes to do what takes long (an fsync), or
 *	- requests have piled up behind several that it took, or
 *	- it has been serving one for a whole tick: whatever that waits for, a page that has to be
 *	  read from us included, somebody must be there to serve it.
 *
 * Whoever comes back and finds another one listening, and nothing to do, sits down again. It is all
 * a matter of speed: any number of workers may listen at any time.
 *
 * While all that comes is data, a worker is one thread too many: it hands each request to the
 * engine's thread, which has to be woken for it. So that one listens itself then, and hands what it
 * must not serve to those on the bench:
 *
 *	WORKERS --several data requests in a row, nobody else in read(2)--> CALLED (engine->call)
 *	CALLED --bench_engine_sits--> ENGINE --several others in a row, or it ends--> WORKERS
 *
 * Invariants: B1 no worker is in read(2), or goes there, unless it is the WORKERS' turn. So what is
 *   handed over finds one who sits, or is found by the next who comes. B2 the engine's thread never
 *   waits: while it listens, requests are received.
 * Threads: workers; the engine's; and one that runs the clock. */
#ifndef STABLEFS_FUSE_BENCH_H
#define STABLEFS_FUSE_BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

#define BENCH_TICK_MS 4

/* What was received: what the engine's thread may serve, or not; or what takes long. */
enum bench_kind { BENCH_DATA, BENCH_OTHER, BENCH_SLOW };

/* How the engine's thread is called; what it does then: bench_engine_sits(). */
struct bench_engine {
	void (*call)(struct bench_engine *engine);
};

struct bench {
	pthread_mutex_t lock; /* sitting, called, open, turn, handed; taken alone */
	pthread_cond_t call;
	unsigned sitting, called;
	bool open; /* for good: nobody sits, but where the engine's thread still listens */
	enum { BENCH_WORKERS, BENCH_CALLED, BENCH_ENGINE } turn;
	struct list handed; /* what the engine's thread has received for others */
	atomic_uint handed_count;
	struct bench_engine *engine; /* borrowed; NULL: it does not listen */
	atomic_uint row;             /* requests in a row that speak for another turn */
	int flags;                   /* of fd, but for O_NONBLOCK */
	int fd;                      /* borrowed: requests come from it */
	int clock_fd;                /* owned eventfd: the clock is to run */
	atomic_uint listening;       /* in read(2), or nearly */
	atomic_uint piled;           /* requests in a row that had another one behind them */
	atomic_uint_fast64_t got;    /* requests, by whomever */
	atomic_bool clock_runs;
	uint64_t seen; /* the clock's: got at its last tick */
};

/* @engine: borrowed, NULL: the workers are alone. 0 or -errno. */
int bench_init(struct bench *b, int fd, struct bench_engine *engine);
void bench_fini(struct bench *b);

/* A worker is about to read a request: it may sit on the bench first. Not NULL: it has been handed
 * this instead. */
struct list_node *bench_listen(struct bench *b);
/* It has read one, or an error. */
void bench_serve(struct bench *b, enum bench_kind kind);

/* The engine's thread: it has been called, and listens from now on, without waiting (O_NONBLOCK).
 * False: it is not wanted any more. */
bool bench_engine_sits(struct bench *b);
bool bench_engine_listens(struct bench *b);
/* It has received a request. False: it had better not listen any more. */
bool bench_engine_got(struct bench *b, enum bench_kind kind);
/* For one of the workers. Once the bench was opened: for whoever asks bench_take(). */
void bench_hand(struct bench *b, struct list_node *n);
/* It does not listen any more, where it did; @for_good: it is not to be called again. */
void bench_engine_rises(struct bench *b, bool for_good);

/* What was handed over and taken by nobody; NULL: nothing. */
struct list_node *bench_take(struct bench *b);

/* The clock: poll clock_fd for input, at most so many ms (-1: until there is), then call
 * bench_tick() if nothing else came. */
int bench_timeout_ms(const struct bench *b);
void bench_tick(struct bench *b);

/* Nobody sits from now on, nor is the engine's thread called: the clock stops, or the session
 * ends. */
void bench_open(struct bench *b);

#endif
