/* SPDX-License-Identifier: MIT */
/* Sinks: the reader's own memory, reached through the sampler.
 *
 * Invariants: those of sink.h. */
#include "inflight/sink.h"

#include <stdlib.h>
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

bool sink_place(struct sink *sink, uint32_t offset_bytes, const void *data, uint32_t len_bytes)
{
	if (!sink->found.failed)
		sink->found.failed = sampler_write(sink->sampler, sink->buffer, offset_bytes, data,
					     len_bytes) < 0;
	return !sink->found.failed;
}

bool sink_view(struct sink *sink, uint32_t offset_bytes, void *out, uint32_t len_bytes)
{
	if (!sink->found.failed)
		sink->found.failed =
			sampler_read(sink->sampler, sink->buffer, offset_bytes, out, len_bytes) < 0;
	sink->found.views += !sink->found.failed;
	return !sink->found.failed;
}

void sink_note_changed(struct sink *sink, uint32_t offset_bytes)
{
	sink->found.changed_blocks++;
	if (offset_bytes < sink->found.first_changed)
		sink->found.first_changed = offset_bytes;
}
