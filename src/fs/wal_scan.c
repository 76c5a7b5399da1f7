/* SPDX-License-Identifier: MIT */
/* The checksum chain of SQLite's write-ahead log. */
#include "fs/wal_scan.h"

#include <string.h>
#include "base/endian.h"

#define WAL_MAGIC_LE 0x377f0682u
#define WAL_MAGIC_BE 0x377f0683u
#define WAL_VERSION  3007000u

static uint32_t word(const struct wal_scan *scan, const uint8_t *p)
{
	return scan->big_endian ? get_be32(p) : get_le32(p);
}

/* s0 += x0 + s1; s1 += x1 + s0; over pairs of words. @len is a multiple of 8. */
static void fold(struct wal_scan *scan, const uint8_t *p, uint32_t len)
{
	uint32_t s0 = scan->sums[0], s1 = scan->sums[1];
	for (uint32_t at = 0; at < len; at += 8) {
		s0 += word(scan, p + at) + s1;
		s1 += word(scan, p + at + 4) + s0;
	}
	scan->sums[0] = s0;
	scan->sums[1] = s1;
}

bool wal_scan_begin(struct wal_scan *scan, const uint8_t *header)
{
	*scan = (struct wal_scan){0};
	uint32_t magic = get_be32(header);
	if (magic != WAL_MAGIC_LE && magic != WAL_MAGIC_BE)
		return false;
	scan->big_endian = magic == WAL_MAGIC_BE;
	scan->page_bytes = get_be32(header + 8);
	if (get_be32(header + 4) != WAL_VERSION || scan->page_bytes != 4096)
		return false;
	memcpy(scan->salts, header + 16, 8);
	fold(scan, header, 24);
	return scan->sums[0] == get_be32(header + 24) && scan->sums[1] == get_be32(header + 28);
}

bool wal_scan_frame(struct wal_scan *scan, const uint8_t *frame)
{
	if (memcmp(frame + 8, scan->salts, 8) != 0 || get_be32(frame) == 0)
		return false;
	uint32_t before[2] = {scan->sums[0], scan->sums[1]};
	fold(scan, frame, 8);
	fold(scan, frame + WAL_FRAME_HEADER_BYTES, scan->page_bytes);
	if (scan->sums[0] != get_be32(frame + 16) || scan->sums[1] != get_be32(frame + 20)) {
		memcpy(scan->sums, before, sizeof(before));
		return false;
	}
	scan->frames++;
	if (get_be32(frame + 4) != 0)
		scan->committed = scan->frames;
	return true;
}
