/* SPDX-License-Identifier: MIT */
/* What a volume may hold after a power cut. */
#include "history.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"

static uint64_t row_count(const struct geometry *g)
{
	return g->stripes * g->chunk_blocks;
}

static void *zeros(size_t count, size_t size)
{
	void *p = calloc(count, size);
	assert(p);
	return p;
}

void history_init(struct history *h, const struct geometry *geometry)
{
	*h = (struct history){.geometry = *geometry, .blocks = geometry_volume_blocks(geometry)};
	h->flushed = zeros(h->blocks, BLOCK_BYTES);
	h->newest = zeros(h->blocks, BLOCK_BYTES);
	h->row_slots = zeros(row_count(geometry), sizeof(*h->row_slots));
	h->touched = zeros(h->blocks, sizeof(*h->touched));
}

static void writes_forget(struct history *h)
{
	while (h->count)
		free(h->writes[--h->count].after);
}

void history_fini(struct history *h)
{
	writes_forget(h);
	free(h->flushed);
	free(h->newest);
	free(h->row_slots);
	free(h->touched);
}

static uint64_t row_of(const struct history *h, uint64_t block, unsigned *slot)
{
	struct geometry_place p = geometry_locate(&h->geometry, block);
	*slot = p.slot;
	return p.stripe * h->geometry.chunk_blocks + p.row;
}

static void touch(struct history *h, const struct history_write *w)
{
	for (uint64_t b = w->first_block; b < w->first_block + w->blocks; b++) {
		unsigned slot;
		uint64_t row = row_of(h, b, &slot);
		h->row_slots[row] |= 1u << slot;
		h->touched[b]++;
	}
}

uint64_t history_write(
	struct history *h, uint64_t offset_bytes, const void *data, uint32_t len_bytes, bool fresh)
{
	assert(!history_is_full(h));
	struct history_write *w = &h->writes[h->count++];
	uint64_t end = offset_bytes + len_bytes;
	*w = (struct history_write){
		.number = h->next_number++, .first_block = offset_bytes / BLOCK_BYTES};
	w->blocks = round_up_u64(end, BLOCK_BYTES) / BLOCK_BYTES - w->first_block;
	uint8_t *at = h->newest + w->first_block * BLOCK_BYTES;
	if (fresh)
		memset(at, 0, w->blocks * BLOCK_BYTES);
	memcpy(h->newest + offset_bytes, data, len_bytes);
	w->after = zeros(w->blocks, BLOCK_BYTES);
	memcpy(w->after, at, w->blocks * BLOCK_BYTES);
	touch(h, w);
	return w->number;
}

bool history_is_full(const struct history *h)
{
	return h->count == HISTORY_WRITES;
}

void history_write_done(struct history *h, uint64_t number)
{
	for (unsigned i = 0; i < h->count; i++) {
		if (h->writes[i].number == number)
			h->writes[i].done = true;
	}
}

void history_flush_begin(struct history *h)
{
	for (unsigned i = 0; i < h->count; i++)
		h->writes[i].covered = h->writes[i].done;
}

/* Only those before the first that is not covered go: the order of writes stays. */
void history_flush_end(struct history *h)
{
	unsigned gone = 0;
	for (; gone < h->count && h->writes[gone].covered; gone++) {
		struct history_write *w = &h->writes[gone];
		memcpy(h->flushed + w->first_block * BLOCK_BYTES, w->after,
			w->blocks * BLOCK_BYTES);
		free(w->after);
	}
	h->count -= gone;
	memmove(h->writes, h->writes + gone, h->count * sizeof(*h->writes));
	memset(h->row_slots, 0, row_count(&h->geometry) * sizeof(*h->row_slots));
	memset(h->touched, 0, h->blocks * sizeof(*h->touched));
	for (unsigned i = 0; i < h->count; i++)
		touch(h, &h->writes[i]);
}

static bool sector_is_allowed(
	const struct history *h, uint64_t block, const uint8_t *got, unsigned s)
{
	if (memcmp(h->flushed + block * BLOCK_BYTES + s, got + s, HISTORY_SECTOR_BYTES) == 0)
		return true;
	for (unsigned i = h->count; i-- > 0;) {
		const struct history_write *w = &h->writes[i];
		if (block - w->first_block < w->blocks && /* also false below it: it wraps */
			memcmp(w->after + (block - w->first_block) * BLOCK_BYTES + s, got + s,
				HISTORY_SECTOR_BYTES) == 0)
			return true;
	}
	return false;
}

enum history_verdict history_judge(const struct history *h, uint64_t block, const uint8_t *got)
{
	if (memcmp(h->flushed + block * BLOCK_BYTES, got, BLOCK_BYTES) == 0)
		return HISTORY_RIGHT;
	if (!h->touched[block])
		return HISTORY_AT_REST;
	for (unsigned s = 0; s < BLOCK_BYTES; s += HISTORY_SECTOR_BYTES) {
		if (!sector_is_allowed(h, block, got, s))
			return HISTORY_IN_FLIGHT;
	}
	return HISTORY_RIGHT;
}

unsigned history_row_slots(const struct history *h, uint64_t block)
{
	unsigned slot;
	return (unsigned)__builtin_popcount(h->row_slots[row_of(h, block, &slot)]);
}

void history_settle(struct history *h, const uint8_t *found)
{
	writes_forget(h);
	memcpy(h->flushed, found, h->blocks * BLOCK_BYTES);
	memcpy(h->newest, found, h->blocks * BLOCK_BYTES);
	memset(h->row_slots, 0, row_count(&h->geometry) * sizeof(*h->row_slots));
	memset(h->touched, 0, h->blocks * sizeof(*h->touched));
}
