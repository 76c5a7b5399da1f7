/* SPDX-License-Identifier: MIT */
/* Sinks: the reader's own memory, reached through the sampler.
 *
 * Invariants: those of sink.h. */
#include "inflight/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "inflight/live.h"

struct sink *sink_new(struct sampler *sampler, struct live_buffer *buffer, uint32_t len_bytes,
	const struct event_writer *reader)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	if (!sink) {
		live_buffer_free(buffer);
		return NULL;
	}
	sink->sampler = sampler;
	sink->buffer = buffer;
	sink->len_bytes = len_bytes;
	sink->reader = *reader;
	sink->found.first_changed = UINT32_MAX;
	return sink;
}

void sink_free(struct sink *sink)
{
	if (!sink)
		return;
	live_buffer_free(sink->buffer);
	free(sink);
}

static void placed(struct sampler_job *job, const void *bytes, int err)
{
	struct sink_move *move = container_of(job, struct sink_move, job);
	move->err = err;
	move->done(move);
}

static void viewed(struct sampler_job *job, const void *bytes, int err)
{
	struct sink_move *move = container_of(job, struct sink_move, job);
	move->err = err;
	if (!err)
		memcpy(move->bytes, bytes, move->len_bytes);
	move->done(move);
}

static void begin(struct sink *sink, struct sink_move *move, const struct sampler_job *job)
{
	move->err = -ETIME;
	move->job = *job;
	move->job.buffer = sink->buffer;
	move->job.offset_bytes = move->offset_bytes;
	move->job.len_bytes = move->len_bytes;
	if (sink->found.failed) /* I2 */
		move->done(move);
	else
		sampler_post(sink->sampler, &move->job);
}

void sink_place(struct sink *sink, struct sink_move *move)
{
	begin(sink, move, &(struct sampler_job){.data = move->bytes, .seen = placed});
}

void sink_view(struct sink *sink, struct sink_move *move)
{
	begin(sink, move, &(struct sampler_job){.seen = viewed});
}

bool sink_accept_placed(struct sink *sink, const struct sink_move *move)
{
	sink->found.failed |= move->err < 0;
	return !sink->found.failed;
}

bool sink_accept_viewed(struct sink *sink, const struct sink_move *move)
{
	sink->found.failed |= move->err < 0;
	sink->found.views += !move->err;
	return !move->err;
}

void sink_note_changed(struct sink *sink, uint32_t offset_bytes)
{
	sink->found.changed_blocks++;
	if (offset_bytes < sink->found.first_changed)
		sink->found.first_changed = offset_bytes;
}
