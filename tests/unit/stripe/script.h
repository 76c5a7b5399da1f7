/* SPDX-License-Identifier: MIT */
/* A source that says at each sampling point what its script says: a writer that stores into its
 * buffer at a known moment. */
#ifndef STABLEFS_TESTS_STRIPE_SCRIPT_H
#define STABLEFS_TESTS_STRIPE_SCRIPT_H

#include <string.h>
#include "rig.h"

#define SCRIPT_MAX_BLOCKS 16u

/* Tags of the blocks as rig_fill_block() writes them: the block that is @changed says these, all
 * others say @tag. Data has one for each time it is sampled: each mirror's. */
struct script {
	struct source base;
	uint64_t volume_block; /* of the first block */
	unsigned changed;      /* 0-based in the write */
	unsigned tag, at_guard, at_parity, at_data[RAID_MAX_SLOTS];
	unsigned data_samples;
	uint8_t bytes[SCRIPT_MAX_BLOCKS * BLOCK_BYTES];
};

static inline void script_fill(struct script *s, unsigned tag)
{
	for (unsigned i = 0; i < s->base.len_bytes / BLOCK_BYTES; i++)
		rig_fill_block(s->bytes + i * BLOCK_BYTES, s->volume_block + i,
			i == s->changed ? tag : s->tag);
}

static inline const void *script_sample(struct source *src, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, void *scratch)
{
	struct script *s = container_of(src, struct script, base);
	uint32_t at = s->changed * BLOCK_BYTES;
	bool covers = offset_bytes <= at && at < offset_bytes + len_bytes;
	script_fill(s, point == SAMPLE_GUARD    ? s->at_guard
		       : point == SAMPLE_PARITY ? s->at_parity
						: s->at_data[s->data_samples]);
	if (point == SAMPLE_DATA && covers)
		s->data_samples++;
	memcpy(scratch, s->bytes + offset_bytes, len_bytes);
	return scratch;
}

static inline void script_free(struct source *src)
{
	(void)src;
}

static const struct source_ops script_ops = {.sample = script_sample, .free = script_free};

/* @blocks blocks at @volume_block. @points: the tag of block @changed at GUARD, PARITY, and at each
 * DATA sample; the last goes on. */
static inline void script_init(struct script *s, uint64_t volume_block, unsigned blocks,
	unsigned changed, const char *points)
{
	*s = (struct script){.volume_block = volume_block, .changed = changed, .tag = 'n'};
	s->base = (struct source){.ops = &script_ops,
		.bounce = s->bytes,
		.len_bytes = blocks * BLOCK_BYTES,
		.writer = {.pid = 77, .comm = "writer"}};
	s->at_guard = (unsigned char)points[0];
	s->at_parity = (unsigned char)points[1];
	points += 2;
	for (unsigned i = 0; i < RAID_MAX_SLOTS; i++) {
		s->at_data[i] = (unsigned char)*points;
		points += points[1] != '\0';
	}
}

static inline int script_write(struct rig *rig, uint64_t volume_block, unsigned blocks,
	unsigned changed, const char *points)
{
	struct script s;
	script_init(&s, volume_block, blocks, changed, points);
	return rig_write_from(rig, volume_block * BLOCK_BYTES, &s.base);
}

/* Fill the volume with tag 'o' ("old") and make it durable. */
static inline void script_fill_volume(struct rig *rig)
{
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		assert_int_equal(rig_write_block(rig, b, 'o'), 0);
	assert_int_equal(rig_flush(rig), 0);
}

#endif
