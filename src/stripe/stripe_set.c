/* SPDX-License-Identifier: MIT */
/* A set of stripes by region. Only the engine thread changes it, so a load and a store of relaxed
 * accesses make an addition. */
#include "stripe/stripe_set.h"

#include <errno.h>
#include <stdlib.h>

int stripe_set_init(struct stripe_set *set, uint64_t stripes, uint64_t region_stripes)
{
	*set = (struct stripe_set){.stripes = stripes,
		.region_stripes = region_stripes,
		.regions = (stripes + region_stripes - 1) / region_stripes};
	set->bits = calloc(stripes / 64 + 1, sizeof(*set->bits));
	set->counts = calloc(set->regions, sizeof(*set->counts));
	if (set->bits && set->counts)
		return 0;
	stripe_set_fini(set);
	return -ENOMEM;
}

void stripe_set_fini(struct stripe_set *set)
{
	free(set->bits);
	free(set->counts);
	*set = (struct stripe_set){0};
}

static void count_change(struct stripe_set *set, uint64_t stripe, int by)
{
	uint64_t region = stripe_set_region_of(set, stripe);
	atomic_store_explicit(&set->counts[region],
		stripe_set_region_count(set, region) + (uint32_t)by, memory_order_relaxed);
	atomic_store_explicit(
		&set->count, stripe_set_count(set) + (uint64_t)(int64_t)by, memory_order_relaxed);
}

static void bit_flip(struct stripe_set *set, uint64_t stripe)
{
	_Atomic uint64_t *word = &set->bits[stripe / 64];
	atomic_store_explicit(word,
		atomic_load_explicit(word, memory_order_relaxed) ^ UINT64_C(1) << (stripe % 64),
		memory_order_relaxed);
}

void stripe_set_add(struct stripe_set *set, uint64_t stripe)
{
	if (stripe_set_has(set, stripe))
		return;
	bit_flip(set, stripe);
	count_change(set, stripe, 1);
}

void stripe_set_add_region(struct stripe_set *set, uint64_t region)
{
	uint64_t end = (region + 1) * set->region_stripes;
	for (uint64_t s = region * set->region_stripes; s < end && s < set->stripes; s++)
		stripe_set_add(set, s);
}

void stripe_set_remove(struct stripe_set *set, uint64_t stripe)
{
	if (!stripe_set_has(set, stripe))
		return;
	bit_flip(set, stripe);
	count_change(set, stripe, -1);
}

void stripe_set_clear(struct stripe_set *set)
{
	for (uint64_t s = stripe_set_next(set, 0); s < set->stripes; s = stripe_set_next(set, s))
		stripe_set_remove(set, s);
}

/* Regions without any are passed over whole. */
uint64_t stripe_set_next(const struct stripe_set *set, uint64_t from)
{
	while (stripe_set_count(set) && from < set->stripes) {
		uint64_t region = stripe_set_region_of(set, from);
		if (!stripe_set_region_count(set, region)) {
			from = (region + 1) * set->region_stripes;
			continue;
		}
		uint64_t word = atomic_load_explicit(&set->bits[from / 64], memory_order_relaxed) >>
				(from % 64);
		if (word)
			return from + (unsigned)__builtin_ctzll(word);
		from = (from / 64 + 1) * 64;
	}
	return set->stripes;
}
