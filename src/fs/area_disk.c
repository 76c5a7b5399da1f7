/* SPDX-License-Identifier: MIT */
/* The bytes of the system area's header and of the page trailer. */
#include "fs/area_disk.h"

#include <errno.h>
#include <string.h>
#include "base/block.h"
#include "base/crc32c.h"
#include "base/endian.h"

#define AREA_MAGIC     "SFSAREA\n"
#define AREA_VERSION   1u
#define WAL_MIN_BYTES  (UINT64_C(512) << 10)
#define WAL_MAX_BYTES  (UINT64_C(64) << 20)
#define REGIONS_OFFSET UINT64_C(65536)

/* Offsets of the header's fields. */
enum {
	OFF_MAGIC = 0,
	OFF_VERSION = 8,
	OFF_PAGE_BYTES = 12,
	OFF_SEQUENCE = 16,
	OFF_SALT = 24,
	OFF_WAL_OFFSET = 32,
	OFF_WAL_BYTES = 40,
	OFF_DB_OFFSET = 48,
	OFF_DB_BYTES = 56,
	OFF_CRC = AREA_HEADER_BYTES - 4,
};
_Static_assert(OFF_DB_BYTES + 8 <= OFF_CRC, "the fields fit in front of the checksum");

int area_layout_choose(uint64_t area_bytes, struct area_layout *out)
{
	area_bytes = round_down_u64(area_bytes, AREA_PAGE_BYTES);
	if (area_bytes < AREA_MIN_BYTES)
		return -ENOSPC;
	uint64_t wal = round_down_u64(area_bytes / 4, AREA_PAGE_BYTES);
	wal = min_u64(max_u64(wal, WAL_MIN_BYTES), WAL_MAX_BYTES);
	*out = (struct area_layout){
		.wal_offset = REGIONS_OFFSET,
		.wal_bytes = wal,
		.db_offset = REGIONS_OFFSET + wal,
		.db_bytes = area_bytes - REGIONS_OFFSET - wal,
	};
	return 0;
}

void area_header_encode(const struct area_layout *layout, uint8_t *out)
{
	memset(out, 0, AREA_HEADER_BYTES);
	memcpy(out + OFF_MAGIC, AREA_MAGIC, 8);
	put_le32(out + OFF_VERSION, AREA_VERSION);
	put_le32(out + OFF_PAGE_BYTES, AREA_PAGE_BYTES);
	put_le64(out + OFF_SEQUENCE, layout->sequence);
	put_le64(out + OFF_SALT, layout->salt);
	put_le64(out + OFF_WAL_OFFSET, layout->wal_offset);
	put_le64(out + OFF_WAL_BYTES, layout->wal_bytes);
	put_le64(out + OFF_DB_OFFSET, layout->db_offset);
	put_le64(out + OFF_DB_BYTES, layout->db_bytes);
	put_le32(out + OFF_CRC, crc32c(out, OFF_CRC));
}

static bool region_valid(uint64_t offset, uint64_t len, uint64_t area_bytes)
{
	return offset >= REGIONS_OFFSET && offset % AREA_PAGE_BYTES == 0 && len > 0 &&
	       len % AREA_PAGE_BYTES == 0 && offset <= area_bytes && len <= area_bytes - offset;
}

static bool layout_valid(const struct area_layout *l, uint64_t area_bytes)
{
	if (!region_valid(l->wal_offset, l->wal_bytes, area_bytes) ||
		!region_valid(l->db_offset, l->db_bytes, area_bytes))
		return false;
	if (l->wal_bytes < WAL_MIN_BYTES || l->wal_bytes > WAL_MAX_BYTES)
		return false;
	return l->wal_offset + l->wal_bytes <= l->db_offset ||
	       l->db_offset + l->db_bytes <= l->wal_offset;
}

int area_header_decode(const uint8_t *in, uint64_t area_bytes, struct area_layout *out)
{
	if (memcmp(in + OFF_MAGIC, AREA_MAGIC, 8) != 0)
		return -ENOMSG;
	if (get_le32(in + OFF_CRC) != crc32c(in, OFF_CRC))
		return -EUCLEAN;
	if (get_le32(in + OFF_VERSION) > AREA_VERSION)
		return -EPROTONOSUPPORT;
	if (get_le32(in + OFF_VERSION) != AREA_VERSION ||
		get_le32(in + OFF_PAGE_BYTES) != AREA_PAGE_BYTES)
		return -EUCLEAN;
	struct area_layout l = {
		.sequence = get_le64(in + OFF_SEQUENCE),
		.salt = get_le64(in + OFF_SALT),
		.wal_offset = get_le64(in + OFF_WAL_OFFSET),
		.wal_bytes = get_le64(in + OFF_WAL_BYTES),
		.db_offset = get_le64(in + OFF_DB_OFFSET),
		.db_bytes = get_le64(in + OFF_DB_BYTES),
	};
	if (!layout_valid(&l, area_bytes))
		return -EUCLEAN;
	*out = l;
	return 0;
}

/* The salt is folded into the checksum, not part of what it covers: two files of the same content
 * on the same page differ. */
static uint32_t page_checksum(const uint8_t *page, uint64_t salt)
{
	return crc32c(page, AREA_PAGE_BYTES - 4) ^ (uint32_t)salt ^ (uint32_t)(salt >> 32);
}

void area_page_seal(uint8_t *page, uint32_t number, uint64_t salt)
{
	put_le32(page + AREA_PAGE_BYTES - 8, number);
	put_le32(page + AREA_PAGE_BYTES - 4, page_checksum(page, salt));
}

bool area_page_verify(const uint8_t *page, uint32_t number, uint64_t salt)
{
	return get_le32(page + AREA_PAGE_BYTES - 8) == number &&
	       get_le32(page + AREA_PAGE_BYTES - 4) == page_checksum(page, salt);
}
