/* SPDX-License-Identifier: MIT */
/* Reading ahead in the database's region: a scan of a tree reads its leaves one by one, in the
 * order of their places but with pages of other trees between them. A few windows, each for one
 * such stream; pure, the caller reads.
 * Owner thread: whoever holds the database lock. */
#ifndef STABLEFS_FS_PAGE_AHEAD_H
#define STABLEFS_FS_PAGE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>
#include "fs/area_disk.h"

#define PAGE_AHEAD_WINDOWS 4u
#define PAGE_AHEAD_BYTES   (64u * AREA_PAGE_BYTES)

struct page_window {
	uint8_t *bytes; /* owned: PAGE_AHEAD_BYTES, or NULL */
	uint64_t offset;
	uint32_t len;  /* valid bytes; 0: none */
	uint64_t last; /* the page that was asked for last */
	uint64_t turn; /* when that was */
};

struct page_ahead {
	struct page_window windows[PAGE_AHEAD_WINDOWS];
	uint64_t turn;
};

void page_ahead_clear(struct page_ahead *pa); /* accepts a zeroed one */

/* The page at @offset, if a window has it. */
const uint8_t *page_ahead_find(struct page_ahead *pa, uint64_t offset);

/* No window has @offset, so it is to be read. If that continues a stream: the window to read into,
 * from @offset on (the caller sets its len to what it read); else NULL: read one page. */
struct page_window *page_ahead_begin(struct page_ahead *pa, uint64_t offset);

/* The page at @offset is written anew: what windows have of it is out of date. */
void page_ahead_drop(struct page_ahead *pa, uint64_t offset);

#endif
