/* SPDX-License-Identifier: MIT */
/* Windows of pages that were read ahead. */
#include "fs/page_ahead.h"

#include <stdlib.h>
#include "base/mem.h"

void page_ahead_clear(struct page_ahead *pa)
{
	for (unsigned i = 0; i < PAGE_AHEAD_WINDOWS; i++)
		free(pa->windows[i].bytes);
	*pa = (struct page_ahead){0};
}

const uint8_t *page_ahead_find(struct page_ahead *pa, uint64_t offset)
{
	for (unsigned i = 0; i < PAGE_AHEAD_WINDOWS; i++) {
		struct page_window *w = &pa->windows[i];
		if (offset - w->offset >= w->len)
			continue;
		w->last = offset;
		w->turn = ++pa->turn;
		return w->bytes + (offset - w->offset);
	}
	return NULL;
}

/* The stream that goes on at @offset; else the one that was not asked for longest. */
static struct page_window *window_choose(struct page_ahead *pa, uint64_t offset, bool *goes_on)
{
	struct page_window *oldest = &pa->windows[0];
	for (unsigned i = 0; i < PAGE_AHEAD_WINDOWS; i++) {
		struct page_window *w = &pa->windows[i];
		*goes_on = w->turn && offset > w->last && offset - w->last <= PAGE_AHEAD_BYTES;
		if (*goes_on)
			return w;
		if (w->turn < oldest->turn)
			oldest = w;
	}
	return oldest;
}

struct page_window *page_ahead_begin(struct page_ahead *pa, uint64_t offset)
{
	bool goes_on;
	struct page_window *w = window_choose(pa, offset, &goes_on);
	w->last = offset;
	w->turn = ++pa->turn;
	w->len = 0;
	w->offset = offset;
	if (goes_on && !w->bytes)
		w->bytes = mem_alloc_blocks(PAGE_AHEAD_BYTES);
	return goes_on && w->bytes ? w : NULL;
}

void page_ahead_drop(struct page_ahead *pa, uint64_t offset)
{
	for (unsigned i = 0; i < PAGE_AHEAD_WINDOWS; i++) {
		struct page_window *w = &pa->windows[i];
		if (offset - w->offset < w->len)
			w->len = 0;
	}
}
