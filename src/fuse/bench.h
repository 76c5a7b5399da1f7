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
 * a matter of speed: any number may listen at any time.
 * Threads: workers; and one that runs the clock. */
#ifndef STABLEFS_FUSE_BENCH_H
#define STABLEFS_FUSE_BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BENCH_TICK_MS 4

struct bench {
	pthread_mutex_t lock; /* sitting, called, open; taken alone */
	pthread_cond_t call;
	unsigned sitting, called;
	bool open;             /* for good: nobody sits */
	int fd;                /* borrowed: requests come from it */
	int clock_fd;          /* owned eventfd: the clock is to run */
	atomic_uint listening; /* in read(2), or nearly */
	atomic_uint piled;     /* requests in a row that had another one behind them */
	atomic_uint_fast64_t got;
	atomic_bool clock_runs;
	uint64_t seen; /* the clock's: got at its last tick */
};

int bench_init(struct bench *b, int fd); /* 0 or -errno */
void bench_fini(struct bench *b);

/* A worker is about to read a request: it may sit on the bench first. */
void bench_listen(struct bench *b);
/* It has one, or an error; @slow: serving it takes long. */
void bench_serve(struct bench *b, bool slow);

/* The clock: poll clock_fd for input, at most so many ms (-1: until there is), then call
 * bench_tick() if nothing else came. */
int bench_timeout_ms(const struct bench *b);
void bench_tick(struct bench *b);

/* Nobody sits from now on: the clock stops, or the session ends. */
void bench_open(struct bench *b);

#endif
