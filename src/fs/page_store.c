/* SPDX-License-Identifier: MIT */
/* Pages of the database: seal, verify, mend, gather. */
#include "fs/page_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/endian.h"
#include "base/mem.h"

#define PAGE      AREA_PAGE_BYTES
#define RUN_BYTES (256u * PAGE)

/* SQLite's header on page 1 (file format, section 1.3): the database's size in pages, the list of
 * free ones. */
#define HEADER_PAGES_OFFSET 28
#define HEADER_FREE_OFFSET  32

static uint32_t page_number(uint64_t offset)
{
	return (uint32_t)(offset / PAGE) + 1;
}

static bool all_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

static int run_write(struct page_store *ps)
{
	if (!ps->run_bytes)
		return 0;
	int ret = sysarea_write(ps->area, ps->offset + ps->run_offset, ps->run, ps->run_bytes);
	ps->run_bytes = 0;
	return ret;
}

/* All copies before @good were wrong, or could not be read. */
static void copies_mend(struct page_store *ps, unsigned good, uint64_t offset, const uint8_t *page)
{
	for (unsigned copy = 0; copy < good && !sysarea_is_read_only(ps->area); copy++) {
		if (sysarea_repair(ps->area, copy, ps->offset + offset, page, PAGE) == 0)
			sysarea_tell(ps->area, copy, ps->offset + offset, "database page", 0);
	}
}

/* It is asked for again and again: said once. */
static int page_lost(struct page_store *ps, uint64_t offset)
{
	if (ps->lost != offset + 1)
		sysarea_tell(ps->area, 0, ps->offset + offset, "database page", -EUCLEAN);
	ps->lost = offset + 1;
	return -EUCLEAN;
}

/* Read from the members. All copies zero: never written. */
static int page_load(struct page_store *ps, uint64_t offset, uint8_t *page)
{
	int err = -EIO;
	bool zeros = false, other = false;
	for (unsigned copy = 0; copy < sysarea_copies(ps->area); copy++) {
		int ret = sysarea_read_copy(ps->area, copy, ps->offset + offset, page, PAGE);
		if (ret < 0) {
			err = ret;
			continue;
		}
		if (area_page_verify(page, page_number(offset), ps->salt)) {
			if (copy > 0)
				copies_mend(ps, copy, offset, page);
			return 0;
		}
		if (all_zero(page))
			zeros = true;
		else
			other = true;
	}
	if (other)
		return page_lost(ps, offset);
	if (!zeros)
		return err;
	memset(page, 0, PAGE);
	return 0;
}

int page_store_open(struct page_store *ps, struct sysarea *area, const struct area_layout *layout)
{
	*ps = (struct page_store){.area = area,
		.offset = layout->db_offset,
		.capacity = layout->db_bytes,
		.salt = layout->salt,
		.run = mem_alloc_blocks(RUN_BYTES)};
	uint8_t *page = mem_alloc_blocks(PAGE);
	int ret = ps->run && page ? page_load(ps, 0, page) : -ENOMEM;
	if (ret == 0)
		ps->size = min_u64(
			(uint64_t)get_be32(page + HEADER_PAGES_OFFSET) * PAGE, ps->capacity);
	if (ret == -EUCLEAN) {
		/* Torn, perhaps, and whole in the log: only that knows the size then. */
		ps->size = ps->capacity;
		ret = 0;
	}
	free(page);
	if (ret < 0)
		page_store_close(ps);
	return ret;
}

void page_store_close(struct page_store *ps)
{
	page_ahead_clear(&ps->ahead);
	free(ps->run);
	free(ps->first);
	ps->run = ps->first = NULL;
}

int page_store_stand_in(struct page_store *ps, const uint8_t *page)
{
	uint8_t *first = mem_alloc_blocks(PAGE);
	if (!first)
		return -ENOMEM;
	/* Up to the last page that is right anywhere. */
	uint64_t end = ps->capacity;
	bool right = false;
	for (; end > PAGE && !right; end -= right ? 0 : PAGE) {
		for (unsigned copy = 0; copy < sysarea_copies(ps->area) && !right; copy++)
			right = sysarea_read_copy(ps->area, copy, ps->offset + end - PAGE, first,
					PAGE) == 0 &&
				area_page_verify(first, page_number(end - PAGE), ps->salt);
	}
	memcpy(first, page, PAGE);
	put_be32(first + HEADER_PAGES_OFFSET, (uint32_t)(end / PAGE));
	memset(first + HEADER_FREE_OFFSET, 0, 8);
	ps->size = end;
	ps->first = first;
	return 0;
}

/* From what was read ahead, or by reading ahead. False where that has no good page: one copy serves
 * scans, and whatever is wrong with it is found out page by page. */
static bool ahead_read(struct page_store *ps, uint64_t offset, uint8_t *page)
{
	const uint8_t *there = page_ahead_find(&ps->ahead, offset);
	struct page_window *w = there ? NULL : page_ahead_begin(&ps->ahead, offset);
	if (w) {
		uint64_t len = min_u64(PAGE_AHEAD_BYTES, ps->capacity - offset);
		if (sysarea_read_copy(ps->area, 0, ps->offset + offset, w->bytes, len) == 0) {
			w->len = (uint32_t)len;
			there = w->bytes;
		}
	}
	if (!there || !area_page_verify(there, page_number(offset), ps->salt))
		return false;
	memcpy(page, there, PAGE);
	return true;
}

int page_store_read(struct page_store *ps, uint64_t offset, uint8_t *page)
{
	if (offset - ps->run_offset < ps->run_bytes) {
		memcpy(page, ps->run + (offset - ps->run_offset), PAGE);
		return 0;
	}
	if (offset == 0 && ps->first) {
		memcpy(page, ps->first, PAGE);
		return 0;
	}
	return ahead_read(ps, offset, page) ? 0 : page_load(ps, offset, page);
}

int page_store_read_part(struct page_store *ps, uint64_t offset, void *buf, uint32_t len)
{
	uint64_t start = round_down_u64(offset, PAGE);
	uint8_t *page = mem_alloc_blocks(PAGE);
	if (!page)
		return -ENOMEM;
	int ret = page_store_read(ps, start, page);
	if (ret == -EUCLEAN)
		ret = sysarea_read(ps->area, ps->offset + start, page, PAGE);
	if (ret == 0)
		memcpy(buf, page + (offset - start), min_u64(len, start + PAGE - offset));
	free(page);
	return ret;
}

int page_store_write(struct page_store *ps, uint64_t offset, const uint8_t *page)
{
	if (offset % PAGE != 0 || offset + PAGE > ps->capacity)
		return -ENOSPC;
	bool follows = ps->run_bytes && offset == ps->run_offset + ps->run_bytes;
	if (!follows || ps->run_bytes == RUN_BYTES) {
		int ret = run_write(ps);
		if (ret < 0)
			return ret;
		ps->run_offset = offset;
	}
	page_ahead_drop(&ps->ahead, offset);
	uint8_t *at = ps->run + ps->run_bytes;
	memcpy(at, page, PAGE);
	area_page_seal(at, page_number(offset), ps->salt);
	ps->run_bytes += PAGE;
	ps->size = max_u64(ps->size, offset + PAGE);
	return 0;
}

int page_store_truncate(struct page_store *ps, uint64_t size)
{
	if (size > ps->capacity)
		return -ENOSPC;
	ps->size = size;
	return 0;
}

int page_store_sync(struct page_store *ps)
{
	int ret = run_write(ps);
	return ret < 0 ? ret : sysarea_flush(ps->area);
}
