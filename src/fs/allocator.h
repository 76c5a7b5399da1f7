/* SPDX-License-Identifier: MIT */
/* Which blocks of the volume are free: a bitmap in memory, built from the extents at open.
 * Owner thread: any; a mutex of its own, the last in the order of locks.
 * Invariant: a block whose freeing is deferred is not given out before allocator_commit(). */
#ifndef STABLEFS_FS_ALLOCATOR_H
#define STABLEFS_FS_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>

struct allocator;

#define ALLOCATOR_NO_GOAL UINT64_MAX

/* @stripe_blocks: large runs are placed at multiples of it where possible (1: anywhere). */
int allocator_new(uint64_t blocks, uint64_t stripe_blocks, struct allocator **out);
void allocator_free(struct allocator *a); /* accepts NULL */

/* At open: these blocks are in use. -EUCLEAN where one is so already, or is beyond the volume. */
int allocator_mark(struct allocator *a, uint64_t block, uint64_t blocks);

/* Take a run of up to @want blocks, at @goal where that is free, else near it, else where the last
 * search ended. Returns its length (0: nothing is free) and where it begins. */
uint64_t allocator_take(struct allocator *a, uint64_t goal, uint64_t want, uint64_t *block);

/* Give back what no committed extent points to. */
void allocator_release(struct allocator *a, uint64_t block, uint64_t blocks);

/* Give back at the next allocator_commit(), which runs when the transaction that freed the blocks
 * is committed. */
void allocator_defer(struct allocator *a, uint64_t block, uint64_t blocks);
void allocator_commit(struct allocator *a);

uint64_t allocator_free_blocks(struct allocator *a);     /* to be had now */
uint64_t allocator_deferred_blocks(struct allocator *a); /* to be had after a commit */

#endif
