/* SPDX-License-Identifier: MIT */
/* Spans: what a write operation stores, cut so that each lies in one slot and is either a run of
 * whole blocks or a part of one block. A span knows how to get its blocks' bytes at each sampling
 * point: from its request's source, over the old block where it covers only a part.
 * Engine thread. */
#ifndef STABLEFS_STRIPE_SPAN_H
#define STABLEFS_STRIPE_SPAN_H

#include "stripe/internal.h"

struct write_op;

struct span {
	struct stripe_part *part;
	struct write_op *op;      /* borrowed; whom a fetch is for */
	unsigned slot, row, rows; /* data slot; raid1 and single: 0 */
	bool partial;             /* of a single row: bytes [byte, byte + len_bytes) */
	uint32_t byte, len_bytes;
	uint32_t source_offset; /* of its first byte in the source */
	/* The old block under a partial span, NULL: zeros. Set before the first sample. */
	const uint8_t *under;
	const uint8_t *at_parity; /* what sample(PARITY) gave */
	const uint8_t *ready;     /* stable bytes: every further sample is this */
	struct source_fetch fetch;
	bool fetched; /* its bytes are there for the next sample */
	/* One buffer of rows blocks for each copy that is sampled on its own. */
	uint8_t *scratch[RAID_MAX_SLOTS];
	unsigned scratch_count;
};

/* Cut @part into spans; appends to @spans (room for span_count_max(part)) and returns how many. */
unsigned span_cut(const struct geometry *g, struct stripe_part *part, struct span *spans);
unsigned span_count_max(const struct geometry *g, const struct stripe_part *part);

/* Scratch for samples that cannot be used where they lie: live sources (one buffer for each of
 * @copies), partial blocks, badly aligned payloads. 0 or -ENOMEM. */
int span_prepare(struct stripe_engine *eng, struct span *s, unsigned copies);
void span_release(struct stripe_engine *eng, struct span *s);

/* The span's whole blocks as its writer has them at this moment. The pointer is good until the next
 * sample with the same @copy; aligned to 512 bytes. */
const uint8_t *span_sample(struct span *s, enum sample_point point, unsigned copy);

/* Sampling takes the source its time: the bytes are to be fetched before. */
static inline bool span_must_fetch(const struct span *s)
{
	return s->part->req->source->ops->fetch && !s->part->from_copy && !s->ready;
}

/* Its writer's memory is to be looked at when all is stored. */
static inline bool span_must_confirm(const struct span *s)
{
	return s->part->req->source->ops->confirm && span_must_fetch(s);
}

/* What the bytes fetched with copy 0 say of it. */
enum source_verdict span_confirm(struct span *s);

/* From now on it is what was confirmed, whatever its writer does. */
void span_freeze(struct span *s);

/* Fetch what the next sample with @copy will give; @done when it is there. One at a time. */
void span_fetch(struct span *s, unsigned copy, void (*done)(struct source_fetch *fetch));

/* True where the bytes outside the span are dead: a fresh block. */
static inline bool span_is_fresh(const struct span *s)
{
	return s->part->req->flags & STRIPE_FRESH;
}

#endif
