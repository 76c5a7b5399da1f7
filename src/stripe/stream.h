/* SPDX-License-Identifier: MIT */
/* Streams: writers that go through the volume in order with several requests under way, as depth
 * makes them, or the kernel, which cuts a large write into some. Where such a request ends in the
 * middle of a stripe, the next one brings the rest. A stripe that waits for it is written in full:
 * nothing is read, nothing logged, and parity is written once.
 *
 * Small requests that do not fill a stripe all together are gathered by halves: one half of what is
 * under way is being stored, the other comes together meanwhile, and begins beside it, on other
 * rows. Nobody waits for a stripe, and nobody is an operation of his own.
 * Owner thread: the engine's.
 * Invariants: I1 a stripe waits for what its stream is expected to bring, and as long as another
 *   request of the stream is on its way through the engine, or was a moment ago: so who has one
 *   request at a time never waits, nor does anybody for ever. I2 whoever may not join (a read, a
 *   check, a write that overlaps) ends the wait. I3 small requests wait only for the half of their
 *   stream that is being stored, never for one that waits itself. */
#ifndef STABLEFS_STRIPE_STREAM_H
#define STABLEFS_STRIPE_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"
#include "io/io.h"

struct stripe_engine;
struct stripe_req;
struct stripe_state;

#define STREAMS 16u

struct write_stream {
	uint64_t end;          /* in the volume, bytes: behind the furthest of its requests */
	uint64_t gap, gap_end; /* what the furthest has overtaken; equal: nothing */
	unsigned under_way;    /* requests that are not answered */
	uint64_t bytes_under_way;
	unsigned waiting; /* parts of theirs that wait for the next request */
	int trust;        /* rises where the next request came before the last was answered */
	uint64_t last;    /* the how many-th write of all was its last */
};

struct streams {
	struct write_stream all[STREAMS];
	uint64_t writes;
	struct list waiting; /* of stripe_state: in no order */
	struct io_req alarm;
	bool armed;
};

/* Of a stripe: what it waits for. */
struct stream_wait {
	struct list_node node;       /* in streams.waiting */
	struct write_stream *stream; /* while it is there */
	unsigned parts;
	bool gathers;    /* small ones: judged anew at each request of the stream that ends */
	uint64_t due_ns; /* UINT64_MAX: not before the stream's other requests have ended */
	bool in_vain;    /* it is over: the stripe is to be written as it is */
};

void streams_init(struct stripe_engine *eng);

/* No alarm of theirs is on its way. */
static inline bool streams_are_idle(const struct streams *streams)
{
	return !streams->armed;
}

/* A write begins; it was answered, or is over, whatever is first. */
void stream_write_begins(struct stripe_engine *eng, struct stripe_req *req);
void stream_write_ends(struct stripe_engine *eng, struct stripe_req *req);

/* Shall the writes that are queued for a stripe wait for the next one, or (where writes are at work
 * on the stripe) for these? It is asked again when something joins the queue, or when the wait is
 * over, or an operation on the stripe. */
bool stream_waits(struct stripe_engine *eng, struct stripe_state *state);

/* The stripe is granted, or about to be judged anew. */
void stream_wait_end(struct stripe_state *state);

#endif
