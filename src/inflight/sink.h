/* SPDX-License-Identifier: MIT */
/* Sinks: where a zero-copy read puts its bytes, and where it verifies them: the mirror image of a
 * source.
 * Owner thread: whoever runs the read (the engine); others make and free sinks.
 * Invariants: I1 a block is placed only after its member's bytes passed their check, so that a
 *   failure of the check in the reader's memory is the reader's doing. I2 a sink that failed once
 *   (memory not accessible) is not used again: the read goes on as a bounced one. I3 after the
 *   reader was answered, its memory is neither read nor written.
 * May use: live, sampler, base. Must not know: stripes, policies.
 *
 *	member -> our memory, checked -> sink_place -> (hold) -> sink_view -> checked again -> reply
 */
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

/* Put bytes of the read into the reader's memory. False: it cannot be used (I2). */
bool sink_place(struct sink *sink, uint32_t offset_bytes, const void *data, uint32_t len_bytes);

/* What the reader's memory holds there now, into @out. False: it cannot be used (I2), @out is
 * unchanged. */
bool sink_view(struct sink *sink, uint32_t offset_bytes, void *out, uint32_t len_bytes);

/* A block at @offset failed its check in the reader's memory. */
void sink_note_changed(struct sink *sink, uint32_t offset_bytes);

#endif
