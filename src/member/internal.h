/* SPDX-License-Identifier: MIT */
/* What the files of this module share: the member itself, its tuple cache, its flush rounds.
 * Owner thread: the engine's, but for the counters. Nobody outside src/member includes it. */
#ifndef STABLEFS_MEMBER_INTERNAL_H
#define STABLEFS_MEMBER_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>
#include "base/list.h"
#include "member/member.h"

#define TUPLE_PAGE_BYTES 4096u
#define SLOT_PAGES       32u /* pages written at once: 128 KiB */
#define FLUSH_SLOTS      4u  /* such writes under way */

/* tuples.c: the cache. */

enum tuple_page_state {
	TUPLE_EMPTY,   /* bytes mean nothing; whoever holds it fills or drops it */
	TUPLE_LOADING, /* a read is under way, waiters are called at its end */
	TUPLE_LOADED,
};

/* A page's list node is on cache->clean (loaded, nobody's, droppable), on cache->dirty or
 * round.pages (dirty), on cache->unused, or on no list (loading, held, being written). */
struct tuple_page {
	struct list_node node;
	struct tuple_page *next; /* in its bucket */
	struct tuple_cache *cache;
	uint64_t index;
	uint8_t *bytes; /* as on the medium: complemented */
	enum tuple_page_state state;
	unsigned holds;      /* by transfers */
	bool dirty;          /* newer than the medium and than any write under way */
	bool writing;        /* a slot holds a copy that is on its way to the medium */
	struct list waiters; /* struct member_page_use */
	struct io_req io;    /* the load */
	struct iovec iov;
};

struct tuple_slab;

struct tuple_cache {
	struct member *member; /* the cache's home */
	struct tuple_page **buckets;
	uint64_t bucket_mask;
	struct list clean; /* least recently used first */
	struct list dirty; /* dirtied longest ago first */
	struct list unused;
	struct tuple_slab *slabs; /* owned */
	unsigned pages, dirty_pages, max_pages;
	int write_back_err; /* of the round that has just ended, while parked writes are retried */
};

/* What a transfer wants of a page. */
enum tuple_want {
	TUPLE_WANT_READ,
	TUPLE_WANT_WRITE,
	TUPLE_WANT_OVERWRITE, /* every tuple of it: it need not be loaded */
};

int tuple_cache_init(struct tuple_cache *cache, struct member *member, unsigned max_pages);
void tuple_cache_fini(struct tuple_cache *cache); /* also of a zeroed one */
int tuple_cache_resize(struct tuple_cache *cache, unsigned max_pages);
unsigned tuples_per_page(const struct tuple_cache *cache);

/* Hold page @index, found or new; starts its load where it is needed. -ENOMEM; -EAGAIN: the cache
 * is full of dirty pages and a round is under way, try again when member_unpark() is called;
 * another error: that round failed. */
int tuple_page_hold(
	struct tuple_cache *cache, uint64_t index, enum tuple_want want, struct tuple_page **out);
void tuple_page_release(struct tuple_page *page);
struct tuple_page *tuple_page_find(struct tuple_cache *cache, uint64_t index);

/* @use->page is loading: have member_xfer_page_loaded() called at its end. */
void tuple_page_wait(struct member_page_use *use);

/* Copy tuples out of a loaded page; into a page, which is loaded and dirty then. @at and @count are
 * in tuples. */
void tuple_page_get(const struct tuple_page *page, unsigned at, unsigned count, uint8_t *out);
void tuple_page_put(struct tuple_page *page, unsigned at, unsigned count, const uint8_t *in);

void tuple_page_write_begun(
	struct tuple_page *page); /* its bytes were copied; it is clean so far */
void tuple_page_write_ended(struct tuple_page *page, int err); /* an error makes it dirty again */

/* flush.c: rounds of writing dirty pages, one at a time. */

struct flush_slot {
	struct member *member;
	struct io_req io;
	struct iovec iov;
	uint8_t *bounce; /* SLOT_PAGES pages */
	struct tuple_page *pages[SLOT_PAGES];
	unsigned count; /* 0: idle */
};

struct flush_round {
	bool active;
	int err;
	struct list pages;   /* dirty ones that this round has still to write */
	struct list flushes; /* struct member_flush that this round serves */
	struct list queued;  /* and those for the next */
	struct flush_slot slots[FLUSH_SLOTS];
	uint8_t *bounce; /* owned */
	struct io_req io;
};

int flush_round_init(struct member *m);
void flush_round_fini(struct member *m);

/* Write back the older half of the dirty pages, for room; does nothing while a round is active. */
void flush_write_back(struct member *m);

/* transfer.c */

void member_xfer_page_loaded(struct member_page_use *use, int err);

/* Something became clean or droppable: let writes that wait for room try again. */
void member_unpark(struct member *m);

struct member_counters {
	_Atomic uint64_t reads, writes, read_bytes, write_bytes, flushes, errors, refused;
	_Atomic uint64_t tuple_page_reads, tuple_page_writes;
};

struct member {
	struct io_engine *io; /* borrowed */
	struct io_file *file; /* owned */
	char *path;           /* owned */
	struct super super;
	unsigned tuple_bytes; /* 0 without PI */
	struct tuple_cache tuples;
	struct flush_round round;
	struct list parked; /* writes that wait for room in the cache */
	struct member_counters counters;
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The blocks of an iov, one after the other. */
struct block_cursor {
	const struct iovec *iov;
	size_t at_bytes;
};

static inline uint8_t *block_cursor_next(struct block_cursor *c)
{
	while (c->at_bytes == c->iov->iov_len) {
		c->iov++;
		c->at_bytes = 0;
	}
	uint8_t *block = (uint8_t *)c->iov->iov_base + c->at_bytes;
	c->at_bytes += BLOCK_BYTES;
	return block;
}

#endif
