/* SPDX-License-Identifier: MIT */
/* The database's region of the system area, page by page: sealed when written, verified when read.
 * A page that does not verify on one copy is taken from the next, and written back there.
 * Owner thread: whoever holds the database lock. */
#ifndef STABLEFS_FS_PAGE_STORE_H
#define STABLEFS_FS_PAGE_STORE_H

#include "fs/area_disk.h"
#include "fs/page_ahead.h"
#include "volume/sysarea.h"

struct page_store {
	struct sysarea *area; /* borrowed */
	uint64_t offset, capacity, salt;
	uint64_t size; /* of the file that SQLite sees; a multiple of the page */
	struct page_ahead ahead;
	uint64_t lost;  /* the offset of the last page that was right on no copy, + 1; 0: none */
	uint8_t *first; /* owned: stands for the first page, which is lost; NULL: it is not */
	/* Consecutive pages not yet written, so that a checkpoint makes few transfers. */
	uint8_t *run; /* owned */
	uint64_t run_offset;
	uint32_t run_bytes;
};

int page_store_open(struct page_store *ps, struct sysarea *area, const struct area_layout *layout);
void page_store_close(struct page_store *ps); /* accepts a zeroed one; what is not synced is lost */

/* The first page is lost on all copies: @page stands for it (checkers), with the size set to what
 * there is. */
int page_store_stand_in(struct page_store *ps, const uint8_t *page);

/* One whole page. -EUCLEAN: no copy verifies. A page that was never written reads as zeros. */
int page_store_read(struct page_store *ps, uint64_t offset, uint8_t *page);

/* A few bytes of a page, as SQLite looks at a header before it knows the page size: where no copy
 * verifies, the bytes of the first copy as they are (the log may hold a better page). */
int page_store_read_part(struct page_store *ps, uint64_t offset, void *buf, uint32_t len);

/* One whole page. -ENOSPC beyond the region. */
int page_store_write(struct page_store *ps, uint64_t offset, const uint8_t *page);
int page_store_truncate(struct page_store *ps, uint64_t size);
int page_store_sync(struct page_store *ps);

#endif
