/* SPDX-License-Identifier: MIT */
/* Old blocks in memory: a table of chains over places, and a ring of places from the newest to the
 * oldest. Place i has block i; place 0 has none and is where the ring begins and ends. Blocks lie
 * in one reserved range, of which the kernel gives what is touched. */
#include "stripe/block_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/block.h"

struct place {
	uint64_t number;
	uint32_t chain; /* the next of its bucket, or of the free ones; 0: none */
	uint32_t newer, older;
	uint8_t tuple[BLOCK_CACHE_TUPLE_MAX];
};

struct block_cache {
	struct place *places; /* owned: count + 1 */
	uint32_t *buckets;    /* owned */
	uint8_t *blocks;      /* owned */
	uint32_t count;
	uint32_t touched; /* places 1 .. touched have been in use */
	uint32_t free;    /* of these the first that is not; 0: none */
	unsigned bucket_bits;
	unsigned tuple_bytes;
	_Atomic uint32_t used;
};

#define MAX_BLOCKS (UINT32_C(1) << 31)

static size_t blocks_len(const struct block_cache *cache)
{
	return (size_t)cache->count * BLOCK_BYTES;
}

struct block_cache *block_cache_new(uint64_t bytes, unsigned tuple_bytes)
{
	uint64_t count = min_u64(bytes / BLOCK_BYTES, MAX_BLOCKS);
	struct block_cache *cache = count ? calloc(1, sizeof(*cache)) : NULL;
	if (!cache)
		return NULL;
	cache->count = (uint32_t)count;
	cache->tuple_bytes = tuple_bytes;
	cache->bucket_bits = 1;
	while (cache->bucket_bits < 31 && UINT64_C(1) << cache->bucket_bits < count)
		cache->bucket_bits++;
	cache->places = calloc(count + 1, sizeof(*cache->places));
	cache->buckets = calloc((size_t)1 << cache->bucket_bits, sizeof(*cache->buckets));
	void *blocks = mmap(NULL, blocks_len(cache), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cache->blocks = blocks == MAP_FAILED ? NULL : blocks;
	if (cache->places && cache->buckets && cache->blocks)
		return cache;
	block_cache_free(cache);
	return NULL;
}

void block_cache_free(struct block_cache *cache)
{
	if (!cache)
		return;
	if (cache->blocks)
		munmap(cache->blocks, blocks_len(cache));
	free(cache->buckets);
	free(cache->places);
	free(cache);
}

/* ---- finding ---- */

static uint32_t *bucket_of(const struct block_cache *cache, uint64_t number)
{
	return &cache->buckets[number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - cache->bucket_bits)];
}

static uint32_t find(const struct block_cache *cache, uint64_t number)
{
	uint32_t i = *bucket_of(cache, number);
	while (i && cache->places[i].number != number)
		i = cache->places[i].chain;
	return i;
}

static uint8_t *block_of(const struct block_cache *cache, uint32_t i)
{
	return cache->blocks + (size_t)(i - 1) * BLOCK_BYTES;
}

bool block_cache_has(const struct block_cache *cache, uint64_t number)
{
	return find(cache, number) != 0;
}

/* ---- the ring ---- */

static void ring_remove(struct block_cache *cache, uint32_t i)
{
	struct place *p = &cache->places[i];
	cache->places[p->newer].older = p->older;
	cache->places[p->older].newer = p->newer;
}

static void ring_add_newest(struct block_cache *cache, uint32_t i)
{
	struct place *ring = &cache->places[0], *p = &cache->places[i];
	p->newer = 0;
	p->older = ring->older;
	cache->places[p->older].newer = i;
	ring->older = i;
}

static void touch(struct block_cache *cache, uint32_t i)
{
	if (cache->places[0].older == i)
		return;
	ring_remove(cache, i);
	ring_add_newest(cache, i);
}

/* ---- in and out ---- */

static void used_set(struct block_cache *cache, uint32_t used)
{
	atomic_store_explicit(&cache->used, used, memory_order_relaxed);
}

static uint32_t used_get(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->used, memory_order_relaxed);
}

static void forget(struct block_cache *cache, uint32_t i)
{
	struct place *p = &cache->places[i];
	uint32_t *link = bucket_of(cache, p->number);
	while (*link != i)
		link = &cache->places[*link].chain;
	*link = p->chain;
	ring_remove(cache, i);
	p->chain = cache->free;
	cache->free = i;
	used_set(cache, used_get(cache) - 1);
}

/* A place for @number; the oldest makes room. */
static uint32_t make_place(struct block_cache *cache, uint64_t number)
{
	if (!cache->free && cache->touched == cache->count)
		forget(cache, cache->places[0].newer);
	uint32_t i = cache->free ? cache->free : ++cache->touched;
	struct place *p = &cache->places[i];
	if (i == cache->free)
		cache->free = p->chain;
	uint32_t *bucket = bucket_of(cache, number);
	p->number = number;
	p->chain = *bucket;
	*bucket = i;
	ring_add_newest(cache, i);
	used_set(cache, used_get(cache) + 1);
	return i;
}

bool block_cache_get(struct block_cache *cache, uint64_t number, void *block, void *tuple)
{
	uint32_t i = find(cache, number);
	if (!i)
		return false;
	memcpy(block, block_of(cache, i), BLOCK_BYTES);
	if (cache->tuple_bytes)
		memcpy(tuple, cache->places[i].tuple, cache->tuple_bytes);
	touch(cache, i);
	return true;
}

void block_cache_put(
	struct block_cache *cache, uint64_t number, const void *block, const void *tuple)
{
	uint32_t i = find(cache, number);
	if (i)
		touch(cache, i);
	else
		i = make_place(cache, number);
	memcpy(block_of(cache, i), block, BLOCK_BYTES);
	if (cache->tuple_bytes)
		memcpy(cache->places[i].tuple, tuple, cache->tuple_bytes);
}

void block_cache_drop(struct block_cache *cache, uint64_t first, uint64_t count)
{
	for (uint64_t number = first; used_get(cache) && number < first + count; number++) {
		uint32_t i = find(cache, number);
		if (i)
			forget(cache, i);
	}
}

void block_cache_clear(struct block_cache *cache)
{
	memset(cache->buckets, 0, sizeof(*cache->buckets) << cache->bucket_bits);
	cache->places[0] = (struct place){0};
	cache->touched = cache->free = 0;
	used_set(cache, 0);
}

/* ---- statistics ---- */

uint64_t block_cache_capacity(const struct block_cache *cache)
{
	return blocks_len(cache);
}

uint64_t block_cache_bytes_used(const struct block_cache *cache)
{
	return (uint64_t)used_get(cache) * BLOCK_BYTES;
}
