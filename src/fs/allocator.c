/* SPDX-License-Identifier: MIT */
/* Next-fit over a bitmap (a set bit: in use), preferring whole runs. */
#include "fs/allocator.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "base/block.h"
#include "base/log.h"

/* How many bits a search looks at behind the first free one, hoping for a longer run. */
#define PATIENCE_BITS 65536u

struct run {
	uint64_t block, blocks;
};

struct allocator {
	pthread_mutex_t lock; /* everything below */
	uint64_t *bits;       /* owned */
	uint64_t blocks, stripe_blocks, free, deferred;
	uint64_t cursor;
	struct run *runs; /* owned: deferred ones */
	size_t run_count, run_capacity;
};

int allocator_new(uint64_t blocks, uint64_t stripe_blocks, struct allocator **out)
{
	struct allocator *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	pthread_mutex_init(&a->lock, NULL);
	a->bits = calloc(blocks / 64 + 1, sizeof(uint64_t));
	if (!a->bits) {
		allocator_free(a);
		return -ENOMEM;
	}
	a->blocks = a->free = blocks;
	a->stripe_blocks = stripe_blocks ? stripe_blocks : 1;
	*out = a;
	return 0;
}

void allocator_free(struct allocator *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a->bits);
	free(a->runs);
	free(a);
}

/* ---- bits ---- */

static bool bit_used(const struct allocator *a, uint64_t block)
{
	return a->bits[block / 64] >> (block % 64) & 1;
}

static void bits_set(struct allocator *a, uint64_t block, uint64_t blocks, bool used)
{
	while (blocks > 0) {
		uint64_t shift = block % 64, n = min_u64(64 - shift, blocks);
		uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << shift;
		if (used)
			a->bits[block / 64] |= mask;
		else
			a->bits[block / 64] &= ~mask;
		block += n;
		blocks -= n;
	}
}

/* The first block in [from, end) that is used (or free); @end where none is. */
static uint64_t bits_find(const struct allocator *a, uint64_t from, uint64_t end, bool used)
{
	while (from < end) {
		uint64_t word = a->bits[from / 64];
		if (!used)
			word = ~word;
		word >>= from % 64;
		if (word)
			return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
		from = (from / 64 + 1) * 64;
	}
	return end;
}

static void run_take(struct allocator *a, struct run r)
{
	bits_set(a, r.block, r.blocks, true);
	a->free -= r.blocks;
	a->cursor = r.block + r.blocks;
}

/* ---- search ---- */

/* Move the start of a run of at least a stripe to the stripe's border, where it still is as long
 * as wanted. */
static struct run run_align(const struct allocator *a, struct run r, uint64_t want)
{
	uint64_t aligned = round_up_u64(r.block, a->stripe_blocks);
	uint64_t skip = aligned - r.block;
	if (want >= a->stripe_blocks && r.blocks >= skip + want)
		r = (struct run){aligned, r.blocks - skip};
	r.blocks = min_u64(r.blocks, want);
	return r;
}

/* The longest run in [from, end), content with one of @want, and impatient once it has any. */
static struct run run_search(const struct allocator *a, uint64_t from, uint64_t end, uint64_t want)
{
	struct run best = {0};
	uint64_t slack = want >= a->stripe_blocks ? a->stripe_blocks : 0, stop = end;
	while (from < stop) {
		uint64_t start = bits_find(a, from, stop, false);
		if (start == stop)
			break;
		uint64_t limit = min_u64(end, start + want + slack);
		uint64_t run_end = bits_find(a, start, limit, true);
		if (best.blocks == 0)
			stop = min_u64(end, start + want + PATIENCE_BITS);
		if (run_end - start > best.blocks)
			best = (struct run){start, run_end - start};
		if (best.blocks >= want)
			break;
		from = run_end;
	}
	return run_align(a, best, want);
}

static struct run run_choose(const struct allocator *a, uint64_t goal, uint64_t want)
{
	if (goal < a->blocks && !bit_used(a, goal)) {
		uint64_t end = bits_find(a, goal, min_u64(a->blocks, goal + want), true);
		return (struct run){goal, end - goal};
	}
	uint64_t from = goal < a->blocks ? goal : a->cursor;
	struct run r = run_search(a, from, a->blocks, want);
	return r.blocks ? r : run_search(a, 0, min_u64(from, a->blocks), want);
}

uint64_t allocator_take(struct allocator *a, uint64_t goal, uint64_t want, uint64_t *block)
{
	pthread_mutex_lock(&a->lock);
	struct run r = {0};
	if (a->free > 0 && want > 0)
		r = run_choose(a, goal, min_u64(want, a->free));
	if (r.blocks)
		run_take(a, r);
	pthread_mutex_unlock(&a->lock);
	*block = r.block;
	return r.blocks;
}

int allocator_mark(struct allocator *a, uint64_t block, uint64_t blocks)
{
	if (block >= a->blocks || blocks > a->blocks - block)
		return -EUCLEAN;
	pthread_mutex_lock(&a->lock);
	bool clash = bits_find(a, block, block + blocks, true) != block + blocks;
	if (!clash) {
		bits_set(a, block, blocks, true);
		a->free -= blocks;
	}
	pthread_mutex_unlock(&a->lock);
	return clash ? -EUCLEAN : 0;
}

void allocator_release(struct allocator *a, uint64_t block, uint64_t blocks)
{
	pthread_mutex_lock(&a->lock);
	bits_set(a, block, blocks, false);
	a->free += blocks;
	pthread_mutex_unlock(&a->lock);
}

/* ---- deferred ---- */

static int runs_grow(struct allocator *a)
{
	if (a->run_count < a->run_capacity)
		return 0;
	size_t capacity = a->run_capacity ? a->run_capacity * 2 : 64;
	struct run *runs = realloc(a->runs, capacity * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	a->runs = runs;
	a->run_capacity = capacity;
	return 0;
}

void allocator_defer(struct allocator *a, uint64_t block, uint64_t blocks)
{
	pthread_mutex_lock(&a->lock);
	struct run *last = a->run_count ? &a->runs[a->run_count - 1] : NULL;
	if (last && last->block + last->blocks == block) {
		last->blocks += blocks;
		a->deferred += blocks;
	} else if (runs_grow(a) == 0) {
		a->runs[a->run_count++] = (struct run){block, blocks};
		a->deferred += blocks;
	} else {
		log_warn("out of memory: %llu freed blocks stay unused until the next mount",
			(unsigned long long)blocks);
	}
	pthread_mutex_unlock(&a->lock);
}

void allocator_commit(struct allocator *a)
{
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < a->run_count; i++)
		bits_set(a, a->runs[i].block, a->runs[i].blocks, false);
	a->free += a->deferred;
	a->deferred = 0;
	a->run_count = 0;
	pthread_mutex_unlock(&a->lock);
}

uint64_t allocator_free_blocks(struct allocator *a)
{
	pthread_mutex_lock(&a->lock);
	uint64_t n = a->free;
	pthread_mutex_unlock(&a->lock);
	return n;
}

uint64_t allocator_deferred_blocks(struct allocator *a)
{
	pthread_mutex_lock(&a->lock);
	uint64_t n = a->deferred;
	pthread_mutex_unlock(&a->lock);
	return n;
}
