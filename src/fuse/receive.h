/* SPDX-License-Identifier: MIT */
/* Receiving: a request is read into a buffer of ours and handed to libfuse's decoder, by whoever
 * listens (bench.h).
 *
 *	a worker	reads, serves, may wait for whatever it has to
 *	the engine's	reads without waiting, until there is nothing; serves small reads and
 *	  thread	writes there and then, which spares a wake of a thread for each; all else it
 *			hands to a worker, as it was received, or with how to go on
 *
 * Invariants: R1 on the engine's thread nothing waits: who serves there asks receiver_is_engine()
 *   before anything that may, and hands the request over (receiver_hand()) where it does. R2 a
 *   buffer is in one place: its thread's, handed over, or its handler's.
 * Threads: workers, the engine's; receiver_begin() and the rest below it are the session's. */
#ifndef STABLEFS_FUSE_RECEIVE_H
#define STABLEFS_FUSE_RECEIVE_H

#include "fuse/bench.h"
#include "fuse/internal.h"

struct receiver {
	struct front *f; /* borrowed */
	struct bench bench;
	struct bench_engine engine;
	struct io_watch watch;
	struct engine_call called, ended;
	struct volume_waiter risen;
};

/* Before anybody listens: the one request that the calling thread waits for. False: the connection
 * has ended. */
bool receive_first(struct front *f);

int receiver_begin(struct receiver *r, struct front *f); /* 0 or -errno */
void receiver_end(struct receiver *r);                   /* nobody listens any more */

/* A worker: one request, or what was handed over. False: the connection has ended. */
bool receiver_serve(struct receiver *r);
/* It ends: what is left is served, its buffer goes back. */
void receiver_leave(struct receiver *r);

/* Workers alone from now on, none of them sitting: returns when the engine's thread does not listen
 * any more. */
void receiver_open(struct receiver *r);

#endif
