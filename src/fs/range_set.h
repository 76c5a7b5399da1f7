/* SPDX-License-Identifier: MIT */
/* A set of numbers as sorted ranges that neither overlap nor touch. Pure. */
#ifndef STABLEFS_FS_RANGE_SET_H
#define STABLEFS_FS_RANGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t first, end; /* end is not part of it */
};

struct range_set {
	struct range *ranges; /* owned */
	size_t count, capacity;
	bool everything; /* memory was short: all numbers count as added */
};

void range_set_add(struct range_set *set, uint64_t first, uint64_t end);
void range_set_clear(struct range_set *set);

static inline bool ranges_overlap(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	return a < b_end && b < a_end;
}

#endif
