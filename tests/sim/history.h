/* SPDX-License-Identifier: MIT */
/* What a volume may hold after a power cut: the model of the sweeps.
 *
 * A sector holds what a flush has made durable, or what one of the writes since then has made of
 * it. A write is since then until a flush has ended that began after its end. So a block that no
 * such write covers is at rest: it has exactly one content. */
#ifndef STABLEFS_TESTS_SIM_HISTORY_H
#define STABLEFS_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include "raid/geometry.h"

#define HISTORY_SECTOR_BYTES 512u
#define HISTORY_WRITES       96u

struct history_write {
	uint64_t number;
	uint64_t first_block, blocks;
	uint8_t *after; /* owned; what it leaves in these blocks */
	bool done, covered;
};

struct history {
	struct geometry geometry;
	uint64_t blocks;
	uint8_t *flushed, *newest; /* owned; of the whole volume */
	uint32_t *row_slots;       /* owned; by row of the volume: data slots written since */
	uint16_t *touched;         /* owned; by block: writes since */
	struct history_write writes[HISTORY_WRITES];
	unsigned count;
	uint64_t next_number;
};

void history_init(struct history *h, const struct geometry *geometry); /* all zeros, flushed */
void history_fini(struct history *h);

/* A write is about to be posted; returns its number. Blocks that it covers in part are padded with
 * zeros where @fresh, else with what they hold. There is room for HISTORY_WRITES of them between
 * flushes. */
uint64_t history_write(
	struct history *h, uint64_t offset_bytes, const void *data, uint32_t len_bytes, bool fresh);
bool history_is_full(const struct history *h);
void history_write_done(struct history *h, uint64_t number); /* it was acknowledged */

/* A flush begins: it covers what is done by now. Then it ends. One at a time. */
void history_flush_begin(struct history *h);
void history_flush_end(struct history *h);

/* What a volume looks like, as read. */
enum history_verdict {
	HISTORY_RIGHT,
	HISTORY_IN_FLIGHT, /* wrong, but the block was being written since the flush */
	HISTORY_AT_REST,   /* wrong, and nobody had asked to change it */
};
enum history_verdict history_judge(const struct history *h, uint64_t block, const uint8_t *got);

/* How many data slots of the block's row were written since the flush. */
unsigned history_row_slots(const struct history *h, uint64_t block);

/* Go on from what was found: @found is the one content of everything, flushed. */
void history_settle(struct history *h, const uint8_t *found);

#endif
