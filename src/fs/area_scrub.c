/* SPDX-License-Identifier: MIT */
/* Three kinds of pages, told right from wrong in three ways: a header decodes to the layout in use,
 * a page of the database fits its seal, a page of the log is what the log in memory holds. Where
 * two copies of a database page both fit and are not the same, one of them has missed a write;
 * nobody can know which: the first is taken for right, as reads take it. */
#include "fs/area_scrub.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "fs/vfs_internal.h"
#include "fs/wal_scan.h"

#define PAGE       AREA_PAGE_BYTES
#define STEP_PAGES 64u

struct look {
	struct area_vfs *vfs;
	bool repair;
	struct scrub_area *found;
	uint8_t *bytes, *right; /* owned: a page each */
	uint8_t *logged;        /* owned: bit n: the log has page n + 1; NULL: none */
};

/* ---- one page on all copies ---- */

struct page {
	uint64_t offset; /* in the area */
	const char *what;
	bool (*is_right)(struct look *l, const struct page *p, const uint8_t *bytes);
	uint64_t number; /* of the header, or of the page */
};

enum verdict { RIGHT, WRONG, EMPTY };

static bool is_zero(const uint8_t *bytes)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, PAGE - 1) == 0;
}

static enum verdict judge(struct look *l, const struct page *p, unsigned copy)
{
	if (sysarea_read_copy(l->vfs->area, copy, p->offset, l->bytes, PAGE) < 0)
		return WRONG;
	if (p->is_right(l, p, l->bytes))
		return RIGHT;
	return is_zero(l->bytes) ? EMPTY : WRONG;
}

static void count_wrong(struct look *l, unsigned copy)
{
	int index = sysarea_copy_member(l->vfs->area, copy);
	if (index >= 0)
		l->found->wrong[index]++;
}

static void mend(struct look *l, const struct page *p, unsigned copy)
{
	struct sysarea *area = l->vfs->area;
	if (!l->repair || sysarea_repair(area, copy, p->offset, l->right, PAGE) < 0)
		return;
	l->found->repaired++;
	sysarea_tell(area, copy, p->offset, p->what, 0);
}

/* @good: the first copy that is right, whose bytes are in l->right. */
static void mend_others(struct look *l, const struct page *p, unsigned good)
{
	for (unsigned copy = 0; copy < sysarea_copies(l->vfs->area); copy++) {
		if (copy == good)
			continue;
		enum verdict v = judge(l, p, copy);
		bool differs = v == RIGHT && memcmp(l->bytes, l->right, PAGE) != 0;
		if (v == RIGHT && !differs)
			continue;
		l->found->damaged += !differs;
		l->found->differing += differs;
		count_wrong(l, copy);
		mend(l, p, copy);
	}
}

static void look_at(struct look *l, const struct page *p)
{
	bool empty = true;
	l->found->pages++;
	for (unsigned copy = 0; copy < sysarea_copies(l->vfs->area); copy++) {
		enum verdict v = judge(l, p, copy);
		if (v == RIGHT) {
			memcpy(l->right, l->bytes, PAGE);
			mend_others(l, p, copy);
			return;
		}
		empty &= v == EMPTY;
	}
	if (empty)
		return; /* never written */
	l->found->lost++;
	sysarea_tell(l->vfs->area, 0, p->offset, p->what, -EUCLEAN);
}

/* ---- headers ---- */

/* Both copies say the same but for their sequence, which tells the newer one. */
static bool header_is_right(struct look *l, const struct page *p, const uint8_t *bytes)
{
	struct area_layout layout, *used = &l->vfs->layout;
	if (area_header_decode(bytes, sysarea_size_bytes(l->vfs->area), &layout) < 0)
		return false;
	return layout.salt == used->salt && layout.wal_offset == used->wal_offset &&
	       layout.wal_bytes == used->wal_bytes && layout.db_offset == used->db_offset &&
	       layout.db_bytes == used->db_bytes;
}

/* One that is right nowhere can be made anew: the layout is known. */
static void header_renew(struct look *l, const struct page *p)
{
	struct area_layout layout = l->vfs->layout;
	bool newest = area_header_slot(layout.sequence) == p->number;
	layout.sequence -= newest ? 0 : 1;
	area_header_encode(&layout, l->right);
	mend_others(l, p, UINT_MAX);
}

static bool header_anywhere(struct look *l, const struct page *p)
{
	for (unsigned copy = 0; copy < sysarea_copies(l->vfs->area); copy++) {
		if (judge(l, p, copy) == RIGHT)
			return true;
	}
	return false;
}

static void look_at_header(struct look *l, unsigned slot)
{
	struct page p = {.offset = (uint64_t)slot * AREA_HEADER_BYTES,
		.what = "header",
		.is_right = header_is_right,
		.number = slot};
	if (header_anywhere(l, &p)) {
		look_at(l, &p);
		return;
	}
	l->found->pages++;
	header_renew(l, &p);
}

/* ---- the database ---- */

static bool database_is_right(struct look *l, const struct page *p, const uint8_t *bytes)
{
	return area_page_verify(bytes, (uint32_t)p->number, l->vfs->layout.salt);
}

/* What the log has will be written over the page: after a crash it may be half-written. */
static int logged_find(struct look *l)
{
	const struct wal_image *wal = &l->vfs->wal;
	uint64_t pages = l->vfs->layout.db_bytes / PAGE;
	l->logged = calloc(pages / 8 + 1, 1);
	if (!l->logged)
		return -ENOMEM;
	uint64_t step = WAL_FRAME_HEADER_BYTES + PAGE;
	for (uint64_t at = WAL_HEADER_BYTES; at + step <= wal->size; at += step) {
		uint64_t page = get_be32(wal->bytes + at) - UINT64_C(1);
		if (page < pages)
			l->logged[page / 8] |= (uint8_t)(1u << page % 8);
	}
	return 0;
}

static void look_at_database(struct look *l, uint64_t page)
{
	if (l->logged && (l->logged[page / 8] >> page % 8 & 1))
		return;
	struct page p = {.offset = l->vfs->layout.db_offset + page * PAGE,
		.what = "database page",
		.is_right = database_is_right,
		.number = page + 1};
	look_at(l, &p);
}

/* ---- the log ---- */

static bool log_is_right(struct look *l, const struct page *p, const uint8_t *bytes)
{
	return memcmp(bytes, l->vfs->wal.bytes + p->number * PAGE, PAGE) == 0;
}

/* Bytes that were not synced yet are in memory alone. Where nothing may be written, the copies of
 * the log may differ from one another after a crash. */
static void look_at_log(struct look *l, uint64_t page)
{
	const struct wal_image *wal = &l->vfs->wal;
	uint64_t from = page * PAGE;
	bool dirty = wal->dirty_from < wal->dirty_end && wal->dirty_from < from + PAGE &&
		     from < wal->dirty_end;
	if (dirty || sysarea_is_read_only(l->vfs->area))
		return;
	struct page p = {.offset = l->vfs->layout.wal_offset + from,
		.what = "log page",
		.is_right = log_is_right,
		.number = page};
	l->found->pages++;
	memcpy(l->right, wal->bytes + from, PAGE);
	mend_others(l, &p, UINT_MAX);
}

/* ---- all of them ---- */

static int look_begin(struct look *l)
{
	l->bytes = mem_alloc_blocks(PAGE);
	l->right = mem_alloc_blocks(PAGE);
	return l->bytes && l->right ? 0 : -ENOMEM;
}

static void look_end(struct look *l)
{
	free(l->bytes);
	free(l->right);
	free(l->logged);
}

int area_scrub_headers(struct area_vfs *vfs, bool repair, struct scrub_area *found)
{
	struct look l = {.vfs = vfs, .repair = repair, .found = found};
	int ret = look_begin(&l);
	for (unsigned slot = 0; slot < AREA_HEADER_COPIES && ret == 0; slot++)
		look_at_header(&l, slot);
	look_end(&l);
	return ret;
}

/* The order: headers, database, log. False: there is no such page. */
static bool look_at_number(struct look *l, uint64_t n)
{
	uint64_t database = l->vfs->pages.size / PAGE;
	uint64_t log = max_u64(round_up_u64(l->vfs->wal.size, PAGE) / PAGE, 1);
	if (n < AREA_HEADER_COPIES)
		look_at_header(l, (unsigned)n);
	else if (n - AREA_HEADER_COPIES < database)
		look_at_database(l, n - AREA_HEADER_COPIES);
	else if (n - AREA_HEADER_COPIES - database < log)
		look_at_log(l, n - AREA_HEADER_COPIES - database);
	else
		return false;
	return true;
}

int area_scrub_step(struct area_vfs *vfs, bool repair, uint64_t *at, struct scrub_area *found)
{
	struct look l = {
		.vfs = vfs, .repair = repair && !sysarea_is_read_only(vfs->area), .found = found};
	int ret = look_begin(&l);
	if (ret == 0 && sysarea_is_read_only(vfs->area))
		ret = logged_find(&l);
	bool more = true;
	for (uint64_t end = *at + STEP_PAGES; ret == 0 && more && *at < end; ++*at)
		more = look_at_number(&l, *at);
	look_end(&l);
	return ret < 0 ? ret : more;
}
