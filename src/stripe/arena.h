/* SPDX-License-Identifier: MIT */
/* Page-aligned buffers from one range of memory that is registered with the I/O engine, so that
 * the kernel need not map it for each transfer. Any thread; beyond the range, ordinary memory. */
#ifndef STABLEFS_STRIPE_ARENA_H
#define STABLEFS_STRIPE_ARENA_H

#include <stdint.h>

struct arena;

/* @len_bytes of address space; pages are used when first touched. */
struct arena *arena_new(uint64_t len_bytes);
void arena_free(struct arena *a); /* accepts NULL; every buffer was given back */

void *arena_base(const struct arena *a);
uint64_t arena_len_bytes(const struct arena *a);

/* At least @len_bytes bytes, not zeroed; NULL when memory is out. */
void *arena_get(struct arena *a, uint32_t len_bytes);

/* @len_bytes as given to arena_get(). Accepts NULL. */
void arena_put(struct arena *a, void *buf, uint32_t len_bytes);

#endif
