/* SPDX-License-Identifier: MIT */
/* A source on live memory in place, which the engine reads whenever it wants, and that can tell at
 * the end whether the memory still is what it was when the guard was made. To remember a CRC of a
 * block costs less than to remember the block.
 *
 * It says of itself that it is stable, so that the pipeline uses the pointer as it is: a sample is
 * asked for once a span, and the first one is the guard's (the parity's without PI). A block that
 * changes between our CRC and the guard differs from the one or the other at the end; one that
 * changed and changed back is not seen. */
#include "base/block.h"
#include "base/crc32c.h"
#include "lib/internal.h"

static const void *guarded_sample(struct source *src, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, void *scratch)
{
	struct guarded_source *g = (struct guarded_source *)src;
	for (uint32_t at = offset_bytes; at < offset_bytes + len_bytes; at += BLOCK_BYTES)
		g->crcs[at / BLOCK_BYTES] = crc32c(src->bounce + at, BLOCK_BYTES);
	return src->bounce + offset_bytes;
}

static void guarded_free(struct source *src)
{
	/* Embedded in the piece. */
}

void guarded_source_init(
	struct guarded_source *out, const void *data, uint32_t len_bytes, uint32_t *crcs)
{
	static const struct source_ops ops = {.sample = guarded_sample, .free = guarded_free};
	source_init_bounce(&out->src, data, len_bytes);
	out->src.ops = &ops;
	out->crcs = crcs;
}

uint32_t guarded_source_changed(const struct guarded_source *g, uint32_t *first)
{
	uint32_t changed = 0;
	for (uint32_t i = 0; i < g->src.len_bytes / BLOCK_BYTES; i++) {
		if (crc32c(g->src.bounce + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == g->crcs[i])
			continue;
		if (!changed++)
			*first = i;
	}
	return changed;
}
