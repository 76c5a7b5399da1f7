/* SPDX-License-Identifier: MIT */
/* The bytes of the intent area, little-endian.
 *
 *	header	0 magic, 8 CRC-32C, 12 zero, 16 volume UUID, 32 regions, 40 blocks a region
 *	sector	0 CRC-32C, 4 number of the sector, 8 zero, 16 bits; all of the marks, then all of
 *		the stale regions
 *
 * The checksum of a sector covers the volume's UUID too, which is not stored in it: a sector that
 * an older volume left behind fails its check. */
#include "intent/intent_disk.h"

#include <string.h>
#include "base/crc32c.h"
#include "base/endian.h"

#define HEADER_MAGIC "SFSINTNT"

enum header_offset {
	HEADER_MAGIC_OFF = 0,
	HEADER_CRC = 8,
	HEADER_UUID = 16,
	HEADER_REGIONS = 32,
	HEADER_REGION_BLOCKS = 40,
};

enum sector_offset {
	SECTOR_CRC = 0,
	SECTOR_NUMBER = 4,
	SECTOR_BITS = 16,
};

_Static_assert(SECTOR_BITS + INTENT_SECTOR_REGIONS / 8 == INTENT_SECTOR_BYTES, "sector");
_Static_assert(INTENT_SECTOR_WORDS * 64 == INTENT_SECTOR_REGIONS, "words");

#define MAX_SECTORS (SUPER_MAX_REGIONS / INTENT_SECTOR_REGIONS + 1)
_Static_assert(
	2 * BLOCK_BYTES + INTENT_MAPS * MAX_SECTORS * INTENT_SECTOR_BYTES <= SUPER_INTENT_MIN_BYTES,
	"the two largest maps fit into every intent area");

uint32_t intent_disk_sectors(uint64_t regions)
{
	return (uint32_t)((regions + INTENT_SECTOR_REGIONS - 1) / INTENT_SECTOR_REGIONS);
}

uint32_t intent_disk_image_bytes(uint64_t regions)
{
	uint64_t sectors = (uint64_t)INTENT_MAPS * intent_disk_sectors(regions);
	return (uint32_t)(BLOCK_BYTES + round_up_u64(sectors * INTENT_SECTOR_BYTES, BLOCK_BYTES));
}

void intent_disk_header_encode(const struct super *super, uint8_t *out)
{
	memset(out, 0, BLOCK_BYTES);
	memcpy(out + HEADER_MAGIC_OFF, HEADER_MAGIC, 8);
	memcpy(out + HEADER_UUID, super->volume_uuid, 16);
	put_le64(out + HEADER_REGIONS, super_regions(super));
	put_le64(out + HEADER_REGION_BLOCKS, super->region_blocks);
	put_le32(out + HEADER_CRC, crc32c(out, BLOCK_BYTES));
}

/* Nothing in it is free to vary: good is what we would write. */
bool intent_disk_header_good(const struct super *super, const uint8_t *in)
{
	uint8_t expected[BLOCK_BYTES];
	intent_disk_header_encode(super, expected);
	return memcmp(in, expected, BLOCK_BYTES) == 0;
}

static uint32_t sector_crc(const struct super *super, const uint8_t *sector)
{
	uint8_t covered[16 + INTENT_SECTOR_BYTES];
	memcpy(covered, super->volume_uuid, 16);
	memcpy(covered + 16, sector, INTENT_SECTOR_BYTES);
	put_le32(covered + 16 + SECTOR_CRC, 0);
	return crc32c(covered, sizeof(covered));
}

void intent_disk_sector_encode(
	const struct super *super, uint32_t number, const uint64_t *words, uint8_t *out)
{
	memset(out, 0, SECTOR_BITS);
	put_le32(out + SECTOR_NUMBER, number);
	for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++)
		put_le64(out + SECTOR_BITS + i * 8, words[i]);
	put_le32(out + SECTOR_CRC, sector_crc(super, out));
}

bool intent_disk_sector_decode(
	const struct super *super, uint32_t number, const uint8_t *in, uint64_t *words)
{
	if (get_le32(in + SECTOR_CRC) != sector_crc(super, in) ||
		get_le32(in + SECTOR_NUMBER) != number)
		return false;
	for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++)
		words[i] = get_le64(in + SECTOR_BITS + i * 8);
	return true;
}
