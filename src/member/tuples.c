/* SPDX-License-Identifier: MIT */
/* The cache of tuple pages: find, load, hold, dirty, drop.
 *
 *	              hold                  load_ended               put
 *	(no page) ----------> LOADING ----------------> LOADED clean -----> LOADED dirty
 *	    |  OVERWRITE          | error                ^    ^               |    ^ put, or
 *	    +-----> EMPTY <-------+        settle: drop  |    |    write_begun|    | write failed
 *	              |  put                             |    |               v    |
 *	              +---> LOADED dirty                 |    +----------- writing-+
 *	                                             (no page)   write_ended
 *
 * Invariants: I1 a page is dropped only when it is clean, not being written and held by nobody: so
 *   a load never races with a write of the same page. I2 the bytes of a page are those of the
 *   medium (complemented), the complement is taken where tuples go in and out: a load and a flush
 *   copy plainly. I3 pages beyond the limit exist only while they are held, loading, dirty or
 * written. Memory comes in slabs of 64 pages that are kept until the member is closed. */
#include "member/internal.h"

#include <errno.h>
#include <stdlib.h>
#include "base/mem.h"

#define SLAB_PAGES 64u

struct tuple_slab {
	struct tuple_slab *next;
	uint8_t *bytes; /* owned */
	struct tuple_page pages[SLAB_PAGES];
};

static struct tuple_page **bucket_of(struct tuple_cache *cache, uint64_t index)
{
	return &cache->buckets[(index * UINT64_C(0x9e3779b97f4a7c15) >> 32) & cache->bucket_mask];
}

/* One bucket a page, within reason: the limit may be set low or high later. */
static int buckets_make(unsigned max_pages, struct tuple_page ***out, uint64_t *mask)
{
	uint64_t count = 16;
	while (count < max_pages && count < (1u << 20))
		count *= 2;
	*out = calloc(count, sizeof(**out));
	*mask = count - 1;
	return *out ? 0 : -ENOMEM;
}

int tuple_cache_init(struct tuple_cache *cache, struct member *member, unsigned max_pages)
{
	*cache = (struct tuple_cache){.member = member, .max_pages = max_pages};
	list_init(&cache->clean);
	list_init(&cache->dirty);
	list_init(&cache->unused);
	return buckets_make(max_pages, &cache->buckets, &cache->bucket_mask);
}

void tuple_cache_fini(struct tuple_cache *cache)
{
	while (cache->slabs) {
		struct tuple_slab *slab = cache->slabs;
		cache->slabs = slab->next;
		free(slab->bytes);
		free(slab);
	}
	free(cache->buckets);
	cache->buckets = NULL;
}

unsigned tuples_per_page(const struct tuple_cache *cache)
{
	return TUPLE_PAGE_BYTES / cache->member->tuple_bytes;
}

struct tuple_page *tuple_page_find(struct tuple_cache *cache, uint64_t index)
{
	struct tuple_page *page = *bucket_of(cache, index);
	while (page && page->index != index)
		page = page->next;
	return page;
}

static int slab_add(struct tuple_cache *cache)
{
	struct tuple_slab *slab = calloc(1, sizeof(*slab));
	if (!slab)
		return -ENOMEM;
	slab->bytes = mem_alloc_blocks(SLAB_PAGES * TUPLE_PAGE_BYTES);
	if (!slab->bytes) {
		free(slab);
		return -ENOMEM;
	}
	slab->next = cache->slabs;
	cache->slabs = slab;
	for (unsigned i = 0; i < SLAB_PAGES; i++) {
		slab->pages[i].bytes = slab->bytes + i * TUPLE_PAGE_BYTES;
		list_push_back(&cache->unused, &slab->pages[i].node);
	}
	return 0;
}

static int page_new(struct tuple_cache *cache, uint64_t index, struct tuple_page **out)
{
	if (list_empty(&cache->unused)) {
		int err = slab_add(cache);
		if (err < 0)
			return err;
	}
	struct tuple_page *page =
		container_of(list_pop_front(&cache->unused), struct tuple_page, node);
	struct tuple_page **bucket = bucket_of(cache, index);
	*page = (struct tuple_page){
		.cache = cache, .index = index, .bytes = page->bytes, .next = *bucket};
	list_node_init(&page->node);
	list_init(&page->waiters);
	*bucket = page;
	cache->pages++;
	*out = page;
	return 0;
}

static void page_drop(struct tuple_page *page)
{
	assert(!page->dirty && !page->writing && !page->holds && page->state != TUPLE_LOADING);
	struct tuple_page **link = bucket_of(page->cache, page->index);
	while (*link != page)
		link = &(*link)->next;
	*link = page->next;
	if (list_linked(&page->node))
		list_remove(&page->node);
	list_push_front(&page->cache->unused, &page->node);
	page->cache->pages--;
}

/* Drop clean pages, least recently used first, until @pages are left. */
static void pages_trim(struct tuple_cache *cache, unsigned pages)
{
	while (cache->pages > pages && !list_empty(&cache->clean))
		page_drop(container_of(list_first(&cache->clean), struct tuple_page, node));
}

/* Put the page where its state wants it, after a change of state. */
static void page_settle(struct tuple_page *page)
{
	if (page->dirty || page->writing || page->holds || page->state == TUPLE_LOADING)
		return;
	if (page->state == TUPLE_EMPTY) {
		page_drop(page);
		return;
	}
	if (list_linked(&page->node))
		list_remove(&page->node);
	list_push_back(&page->cache->clean, &page->node);
	pages_trim(page->cache, page->cache->max_pages);
}

static void page_hold_found(struct tuple_page *page)
{
	page->holds++;
	if (!page->dirty && list_linked(&page->node))
		list_remove(&page->node);
}

static void page_mark_dirty(struct tuple_page *page)
{
	if (page->dirty)
		return;
	struct tuple_cache *cache = page->cache;
	page->dirty = true;
	cache->dirty_pages++;
	list_push_back(&cache->dirty, &page->node);
}

static void load_ended(struct io_req *io, int err)
{
	struct tuple_page *page = container_of(io, struct tuple_page, io);
	struct member *m = page->cache->member;
	struct list waiters;
	list_init(&waiters);
	list_splice_back(&waiters, &page->waiters);
	page->state = err < 0 ? TUPLE_EMPTY : TUPLE_LOADED;
	page_settle(page);
	member_unpark(m);
	/* The last of them may close the member: nothing of it is touched behind this loop. */
	struct list_node *node;
	while ((node = list_pop_front(&waiters)))
		member_xfer_page_loaded(container_of(node, struct member_page_use, node), err);
}

static void page_load(struct tuple_page *page)
{
	struct member *m = page->cache->member;
	page->state = TUPLE_LOADING;
	page->iov = (struct iovec){page->bytes, TUPLE_PAGE_BYTES};
	page->io = (struct io_req){.kind = IO_READ,
		.file = m->file,
		.offset_bytes = m->super.tuples.offset_bytes + page->index * TUPLE_PAGE_BYTES,
		.iov = &page->iov,
		.iov_count = 1,
		.done = load_ended};
	counter_add(&m->counters.tuple_page_reads, 1);
	io_submit(m->io, &page->io);
}

/* Room for one more page: 0, or why not (see tuple_page_hold()). With nothing dirty every page is
 * held or loading, and the limit yields for a moment. */
static int room_make(struct tuple_cache *cache, enum tuple_want want)
{
	pages_trim(cache, cache->max_pages - 1);
	if (cache->pages < cache->max_pages || want == TUPLE_WANT_READ)
		return 0;
	if (cache->write_back_err)
		return cache->write_back_err;
	flush_write_back(cache->member);
	return cache->member->round.active ? -EAGAIN : 0;
}

int tuple_page_hold(
	struct tuple_cache *cache, uint64_t index, enum tuple_want want, struct tuple_page **out)
{
	struct tuple_page *page = tuple_page_find(cache, index);
	if (!page) {
		int err = room_make(cache, want);
		if (err < 0)
			return err;
		err = page_new(cache, index, &page);
		if (err < 0)
			return err;
	}
	page_hold_found(page);
	if (page->state == TUPLE_EMPTY && want != TUPLE_WANT_OVERWRITE)
		page_load(page);
	*out = page;
	return 0;
}

void tuple_page_release(struct tuple_page *page)
{
	assert(page->holds);
	page->holds--;
	page_settle(page);
}

void tuple_page_wait(struct member_page_use *use)
{
	assert(use->page->state == TUPLE_LOADING);
	list_push_back(&use->page->waiters, &use->node);
}

static void copy_complemented(uint8_t *restrict to, const uint8_t *restrict from, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		to[i] = (uint8_t)~from[i];
}

void tuple_page_get(const struct tuple_page *page, unsigned at, unsigned count, uint8_t *out)
{
	size_t unit = page->cache->member->tuple_bytes;
	assert(page->state == TUPLE_LOADED);
	copy_complemented(out, page->bytes + at * unit, count * unit);
}

/* An empty page is one that this transfer overwrites; the tuples behind the end of the data area
 * become "never written". */
void tuple_page_put(struct tuple_page *page, unsigned at, unsigned count, const uint8_t *in)
{
	size_t unit = page->cache->member->tuple_bytes;
	assert(page->state != TUPLE_LOADING);
	if (page->state == TUPLE_EMPTY)
		memset(page->bytes, 0, TUPLE_PAGE_BYTES);
	page->state = TUPLE_LOADED;
	copy_complemented(page->bytes + at * unit, in, count * unit);
	page_mark_dirty(page);
}

void tuple_page_write_begun(struct tuple_page *page)
{
	assert(page->dirty && !page->writing);
	page->dirty = false;
	page->writing = true;
	page->cache->dirty_pages--;
	list_remove(&page->node);
}

void tuple_page_write_ended(struct tuple_page *page, int err)
{
	assert(page->writing);
	page->writing = false;
	if (err < 0)
		page_mark_dirty(page);
	page_settle(page);
}

int tuple_cache_resize(struct tuple_cache *cache, unsigned max_pages)
{
	struct tuple_page **buckets;
	uint64_t mask;
	int err = buckets_make(max_pages, &buckets, &mask);
	if (err < 0)
		return err;
	struct tuple_page **old = cache->buckets;
	uint64_t old_count = cache->bucket_mask + 1;
	cache->buckets = buckets;
	cache->bucket_mask = mask;
	for (uint64_t i = 0; i < old_count; i++)
		for (struct tuple_page *page = old[i], *next; page; page = next) {
			next = page->next;
			struct tuple_page **bucket = bucket_of(cache, page->index);
			page->next = *bucket;
			*bucket = page;
		}
	free(old);
	cache->max_pages = max_pages;
	pages_trim(cache, max_pages);
	return 0;
}
