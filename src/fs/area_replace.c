/* SPDX-License-Identifier: MIT */
/* The new database is written beside the old one, a header is made to lead there, and then the same
 * once more to where a database belongs:
 *
 *	| old .............. |             |        --header 1-->
 *	| old .............. | new         |        --header 2-->
 *	| new ......... | free             |
 *
 * A crash in between leaves a database that is whole and cannot grow; a repair moves it. */
#include "fs/area_replace.h"

#include <errno.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/mem.h"

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int header_put(struct area_replace *r, const struct area_layout *layout)
{
	cleanup(cleanup_freep) uint8_t *buf = mem_alloc_blocks(AREA_HEADER_BYTES);
	if (!buf)
		return -ENOMEM;
	area_header_encode(layout, buf);
	uint64_t at = (uint64_t)area_header_slot(layout->sequence) * AREA_HEADER_BYTES;
	int ret = sysarea_write(r->area, at, buf, AREA_HEADER_BYTES);
	return ret < 0 ? ret : sysarea_flush(r->area);
}

/* Write it at @offset, and have a header say so. */
static int place(struct area_replace *r, uint64_t offset, uint64_t region_bytes)
{
	int ret = sysarea_write(r->area, offset, r->image, r->image_bytes);
	if (ret == 0)
		ret = sysarea_flush(r->area);
	if (ret < 0)
		return ret;
	r->layout.sequence++;
	r->layout.salt = r->salt;
	r->layout.db_offset = offset;
	r->layout.db_bytes = region_bytes;
	r->used_bytes = r->image_bytes;
	return header_put(r, &r->layout);
}

static void seal(struct area_replace *r)
{
	for (uint64_t at = 0; at < r->image_bytes; at += AREA_PAGE_BYTES)
		area_page_seal(r->image + at, (uint32_t)(at / AREA_PAGE_BYTES) + 1, r->salt);
}

/* Where both are there at once. -ENOSPC. */
static int step_aside(struct area_replace *r, const struct area_layout *home)
{
	uint64_t aside = home->db_offset + home->db_bytes - r->image_bytes;
	if (overlaps(aside, r->image_bytes, r->layout.db_offset, r->used_bytes) ||
		overlaps(aside, r->image_bytes, home->db_offset, r->image_bytes))
		return -ENOSPC;
	return place(r, aside, r->image_bytes);
}

static int move_in(struct area_replace *r, const struct area_layout *home)
{
	int ret = 0;
	if (overlaps(home->db_offset, r->image_bytes, r->layout.db_offset, r->used_bytes))
		ret = step_aside(r, home);
	if (ret == 0)
		ret = place(r, home->db_offset, home->db_bytes);
	if (ret < 0)
		return ret;
	r->layout.sequence++; /* the other copy of the header says the same */
	return header_put(r, &r->layout);
}

int area_replace(struct area_replace *r, struct errmsg *why)
{
	struct area_layout home;
	int ret = area_layout_choose(sysarea_size_bytes(r->area), &home);
	if (ret == 0 && r->image_bytes > home.db_bytes)
		ret = -ENOSPC;
	if (ret == 0)
		ret = sysarea_zero(r->area, r->layout.wal_offset, AREA_PAGE_BYTES);
	if (ret == 0)
		ret = sysarea_flush(r->area);
	seal(r);
	if (ret == 0)
		ret = move_in(r, &home);
	return ret == -ENOSPC ? errmsg_set(why, ret,
					"the system area has no room for a second database of"
					" %llu KiB beside the damaged one",
					(unsigned long long)r->image_bytes / 1024)
			      : ret;
}
