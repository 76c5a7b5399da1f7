/* SPDX-License-Identifier: MIT */
/* Spans: the pieces of a write operation and how their bytes are sampled. */
#include "stripe/span.h"

#include <string.h>

unsigned span_count_max(const struct geometry *g, const struct stripe_part *part)
{
	/* A head, a tail, and one run for each slot that it touches. */
	return 2 + part->len_bytes / (g->chunk_blocks * BLOCK_BYTES) + 2;
}

unsigned span_cut(const struct geometry *g, struct stripe_part *part, struct span *spans)
{
	unsigned n = 0;
	uint32_t at = part->offset_bytes, end = at + part->len_bytes;
	while (at < end) {
		struct span *s = &spans[n++];
		uint32_t block = at / BLOCK_BYTES;
		*s = (struct span){.part = part,
			.slot = block / g->chunk_blocks,
			.row = block % g->chunk_blocks,
			.rows = 1,
			.byte = at % BLOCK_BYTES,
			.source_offset = part->req->source_offset + part->req_offset + at -
					 part->offset_bytes};
		s->partial = s->byte || end - at < BLOCK_BYTES;
		if (!s->partial)
			s->rows = (unsigned)min_u64(
				(end - at) / BLOCK_BYTES, g->chunk_blocks - s->row);
		s->len_bytes = s->partial ? (uint32_t)min_u64(BLOCK_BYTES - s->byte, end - at)
					  : s->rows * BLOCK_BYTES;
		at += s->len_bytes;
	}
	return n;
}

static bool usable_in_place(const struct span *s)
{
	const struct source *src = s->part->req->source;
	return !s->partial && src->stable &&
	       (uintptr_t)(src->bounce + s->source_offset) % DIRECT_ALIGN == 0;
}

int span_prepare(struct stripe_engine *eng, struct span *s, unsigned copies)
{
	if (usable_in_place(s))
		return 0;
	unsigned wanted = s->part->req->source->stable ? 1 : copies;
	while (s->scratch_count < wanted) {
		uint8_t *buf = arena_get(eng->arena, s->rows * BLOCK_BYTES);
		if (!buf)
			return -ENOMEM;
		s->scratch[s->scratch_count++] = buf;
	}
	return 0;
}

void span_release(struct stripe_engine *eng, struct span *s)
{
	while (s->scratch_count)
		arena_put(eng->arena, s->scratch[--s->scratch_count], s->rows * BLOCK_BYTES);
}

void span_fetch(struct span *s, unsigned copy, void (*done)(struct source_fetch *fetch))
{
	struct source *src = s->part->req->source;
	s->fetched = true;
	s->fetch = (struct source_fetch){.offset_bytes = s->source_offset,
		.len_bytes = s->len_bytes,
		.dest = s->scratch[copy] + s->byte,
		.done = done};
	src->ops->fetch(src, &s->fetch);
}

/* What is under bytes [from, to) of a partial block. */
static void lay_under(const struct span *s, uint8_t *buf, uint32_t from, uint32_t to)
{
	if (s->under)
		memcpy(buf + from, s->under + from, to - from);
	else
		memset(buf + from, 0, to - from);
}

static void lay_around(const struct span *s, uint8_t *buf)
{
	if (!s->partial)
		return;
	lay_under(s, buf, 0, s->byte);
	lay_under(s, buf, s->byte + s->len_bytes, BLOCK_BYTES);
}

/* The sample between what is beside it, in @buf. */
static void compose(struct span *s, enum sample_point point, uint8_t *buf)
{
	struct source *src = s->part->req->source;
	uint8_t *dest = buf + s->byte;
	const void *bytes;
	if (s->part->from_copy)
		bytes = src->bounce + s->source_offset;
	else if (s->fetched)
		bytes = source_accept(src, point, &s->fetch);
	else
		bytes = source_sample(src, point, s->source_offset, s->len_bytes, dest);
	s->fetched = false;
	if (bytes != dest)
		memcpy(dest, bytes, s->len_bytes);
	lay_around(s, buf);
}

enum source_verdict span_confirm(struct span *s)
{
	struct source *src = s->part->req->source;
	s->fetched = false;
	return src->ops->confirm(src, &s->fetch);
}

void span_freeze(struct span *s)
{
	lay_around(s, s->scratch[0]);
	s->ready = s->scratch[0];
}

const uint8_t *span_sample(struct span *s, enum sample_point point, unsigned copy)
{
	struct source *src = s->part->req->source;
	if (s->ready)
		return s->ready;
	if (usable_in_place(s)) {
		s->ready = source_sample(src, point, s->source_offset, s->len_bytes, NULL);
		return s->ready;
	}
	bool stable = src->stable || s->part->from_copy;
	uint8_t *buf = s->scratch[stable ? 0 : copy];
	compose(s, point, buf);
	if (stable)
		s->ready = buf;
	return buf;
}
