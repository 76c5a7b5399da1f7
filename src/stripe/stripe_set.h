/* SPDX-License-Identifier: MIT */
/* A set of stripes by region of the intent log: those in doubt, those for which a member is stale.
 * Owner thread: the engine's changes it; any thread may look (what it sees may be old by then).
 * One bit a stripe, zeroed by the system: memory is used only where stripes were put in. */
#ifndef STABLEFS_STRIPE_STRIPE_SET_H
#define STABLEFS_STRIPE_STRIPE_SET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct stripe_set {
	uint64_t stripes, region_stripes, regions;
	_Atomic uint64_t *bits;   /* owned */
	_Atomic uint32_t *counts; /* owned; by region */
	_Atomic uint64_t count;
};

/* Empty. 0 or -ENOMEM. @region_stripes: of every region but perhaps the last. */
int stripe_set_init(struct stripe_set *set, uint64_t stripes, uint64_t region_stripes);
void stripe_set_fini(struct stripe_set *set); /* also of a zeroed one */

void stripe_set_add(struct stripe_set *set, uint64_t stripe);
void stripe_set_add_region(struct stripe_set *set, uint64_t region);
void stripe_set_remove(struct stripe_set *set, uint64_t stripe); /* also where it is not in */
void stripe_set_clear(struct stripe_set *set);

/* The first stripe at or after @from that is in; set->stripes where there is none. */
uint64_t stripe_set_next(const struct stripe_set *set, uint64_t from);

static inline uint64_t stripe_set_count(const struct stripe_set *set)
{
	return atomic_load_explicit(&set->count, memory_order_relaxed);
}

static inline uint64_t stripe_set_region_of(const struct stripe_set *set, uint64_t stripe)
{
	return stripe / set->region_stripes;
}

static inline uint32_t stripe_set_region_count(const struct stripe_set *set, uint64_t region)
{
	return atomic_load_explicit(&set->counts[region], memory_order_relaxed);
}

static inline bool stripe_set_has(const struct stripe_set *set, uint64_t stripe)
{
	return stripe_set_count(set) &&
	       (atomic_load_explicit(&set->bits[stripe / 64], memory_order_relaxed) >>
			       (stripe % 64) &
		       1);
}

#endif
