/* SPDX-License-Identifier: MIT */
/* Old blocks in memory: what a small write would have to read before it can make the parity.
 * Owner thread: the engine's, but for the statistics.
 * Invariants: I1 a block in here is, with its tuple, what its member was last told to store and
 *   said that it did, from a stable source; or what was read from it and passed its check. I2 who
 *   is about to change a block of a member takes it out first, while he holds its stripe; it comes
 *   back when all went well. I3 nothing is needed: a block may go at any time, and is read again.
 *   I4 memory: @bytes for blocks and about 1 % of that to find them, taken as it fills.
 * May use: base. Must not know: stripes, plans, members; whether a block may be trusted
 * (write_cache.c).
 *
 * What is used least recently goes first: a parity serves the writes of all data slots of its row,
 * so it stays longer than they do. Everything is done in constant time.
 *
 * Deliberately not done: reads of users are not served from here. The kernel caches those of them
 * that want it, and the others (direct I/O) want the members: damage on them is to be seen. */
#ifndef STABLEFS_STRIPE_BLOCK_CACHE_H
#define STABLEFS_STRIPE_BLOCK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_CACHE_TUPLE_MAX 16u

struct block_cache;

/* @tuple_bytes: 0 to BLOCK_CACHE_TUPLE_MAX; none are kept where it is 0. NULL: too few @bytes for a
 * block, or no memory. */
struct block_cache *block_cache_new(uint64_t bytes, unsigned tuple_bytes);
void block_cache_free(struct block_cache *cache); /* accepts NULL */

/* Blocks are known by numbers, which are the caller's. */
bool block_cache_has(const struct block_cache *cache, uint64_t number);

/* Copy it out. False: it is not there. @tuple may be NULL where none are kept. */
bool block_cache_get(struct block_cache *cache, uint64_t number, void *block, void *tuple);

/* Copy it in, in place of what is known by that number. */
void block_cache_put(
	struct block_cache *cache, uint64_t number, const void *block, const void *tuple);

/* Forget @count blocks from @first on; all. */
void block_cache_drop(struct block_cache *cache, uint64_t first, uint64_t count);
void block_cache_clear(struct block_cache *cache);

uint64_t block_cache_capacity(const struct block_cache *cache);   /* in bytes of blocks */
uint64_t block_cache_bytes_used(const struct block_cache *cache); /* the same; any thread */

#endif
