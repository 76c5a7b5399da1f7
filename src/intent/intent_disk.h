/* SPDX-License-Identifier: MIT */
/* The bytes of the intent area (docs/format.md, "Write-intent area"): a header block, then the
 * sectors of 512 bytes of two bitmaps, the marks and behind them the stale regions. Only
 * intent_disk.c knows them; pure, no I/O.
 *
 * A sector carries its own checksum and number, so that a block torn between sectors still says, in
 * each, either the old bits or the new, and that no sector of one map passes for one of the other.
 * An image is the header and all bitmap blocks. */
#ifndef STABLEFS_INTENT_INTENT_DISK_H
#define STABLEFS_INTENT_INTENT_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include "member/super.h"

#define INTENT_SECTOR_BYTES   512u
#define INTENT_SECTOR_REGIONS 3968u /* (512 - 16) * 8 */
#define INTENT_SECTOR_WORDS   62u   /* of 64 regions */

enum intent_map_kind { INTENT_MARKS = 0, INTENT_STALE = 1 };
#define INTENT_MAPS 2u

uint32_t intent_disk_sectors(uint64_t regions);     /* of each map */
uint32_t intent_disk_image_bytes(uint64_t regions); /* whole blocks, header included */

/* The number that sector @s of a map has in an area of @sectors sectors a map. */
static inline uint32_t intent_disk_sector_number(
	enum intent_map_kind map, uint32_t s, uint32_t sectors)
{
	return (uint32_t)map * sectors + s;
}

/* Where the sector of that number stands in the image. */
static inline uint32_t intent_disk_sector_offset(uint32_t number)
{
	return BLOCK_BYTES + number * INTENT_SECTOR_BYTES;
}

void intent_disk_header_encode(const struct super *super, uint8_t *out);

/* Whether the header is whole and belongs to this volume with these regions. */
bool intent_disk_header_good(const struct super *super, const uint8_t *in);

/* One sector; @words: INTENT_SECTOR_WORDS words, bit i of word w is region w * 64 + i of it. */
void intent_disk_sector_encode(
	const struct super *super, uint32_t number, const uint64_t *words, uint8_t *out);

/* False where it is damaged, of another volume or in the wrong place; @words is untouched then. */
bool intent_disk_sector_decode(
	const struct super *super, uint32_t number, const uint8_t *in, uint64_t *words);

#endif
