/* SPDX-License-Identifier: MIT */
/* Sinks: where a zero-copy read puts its bytes, and where it verifies them: the mirror image of a
 * source.
 * Owner thread: whoever runs the read (the engine); others make and free sinks.
 * Invariants: I1 a block is placed only after its member's bytes passed their check, so that a
 *   failure of the check in the reader's memory is the reader's doing. I2 a sink that failed once
 *   (memory not accessible) is not used again: the read goes on as a bounced one. I3 after the
 *   reader was answered, its memory is neither read nor written: a reader whose memory cannot be
 *   stored into for a while gets its answer after that.
 * May use: live, sampler, base. Must not know: stripes, policies.
 *
 *	member -> our memory, checked -> place -> (hold) -> view -> checked again -> reply
 *
 * Placing and viewing are begun by the owner, done by a sampler's thread meanwhile, and accepted by
 * the owner; several may be under way at once. */
#ifndef STABLEFS_INFLIGHT_SINK_H
#define STABLEFS_INFLIGHT_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/event.h"
#include "inflight/sampler.h"

struct sink_findings {
	uint64_t views;          /* readings of the reader's memory that succeeded */
	uint64_t changed_blocks; /* blocks that failed their check there, and only there */
	uint32_t first_changed;  /* lowest byte of the read in such a block; UINT32_MAX: none */
	bool failed;             /* I2 */
};

struct sink {
	struct sampler *sampler;    /* borrowed */
	struct live_buffer *buffer; /* owned */
	uint32_t len_bytes;
	struct event_writer reader;
	struct sink_findings found;
};

/* Takes @buffer in every case. NULL: out of memory. */
struct sink *sink_new(struct sampler *sampler, struct live_buffer *buffer, uint32_t len_bytes,
	const struct event_writer *reader);
void sink_free(struct sink *sink); /* accepts NULL */

/* Bytes on their way between our memory and the reader's. The caller's until done(). */
struct sink_move {
	uint32_t offset_bytes, len_bytes;     /* of the read */
	void *bytes;                          /* ours: to place, or to view into */
	void (*done)(struct sink_move *move); /* any thread; or from within the call */
	/* The sink's. */
	int err;
	struct sampler_job job;
};

/* Put bytes of the read into the reader's memory. */
void sink_place(struct sink *sink, struct sink_move *move);

/* Fetch what the reader's memory holds there now. */
void sink_view(struct sink *sink, struct sink_move *move);

/* After done(), by the owner. False: the reader's memory cannot be used (I2); @move->bytes are as
 * they were. */
bool sink_accept_placed(struct sink *sink, const struct sink_move *move);
bool sink_accept_viewed(struct sink *sink, const struct sink_move *move);

/* A block at @offset failed its check in the reader's memory. */
void sink_note_changed(struct sink *sink, uint32_t offset_bytes);

#endif
