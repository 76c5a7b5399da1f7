/* SPDX-License-Identifier: MIT */
/* Sorted ranges. */
#include "fs/range_set.h"

#include <stdlib.h>
#include <string.h>

static size_t first_touching(const struct range_set *set, uint64_t first)
{
	size_t low = 0, high = set->count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (set->ranges[mid].end >= first)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static bool set_grow(struct range_set *set)
{
	if (set->count < set->capacity)
		return true;
	size_t capacity = set->capacity ? set->capacity * 2 : 4;
	struct range *ranges = realloc(set->ranges, capacity * sizeof(*ranges));
	if (!ranges)
		return false;
	set->ranges = ranges;
	set->capacity = capacity;
	return true;
}

void range_set_add(struct range_set *set, uint64_t first, uint64_t end)
{
	if (first >= end)
		return;
	size_t at = first_touching(set, first), gone = at;
	struct range r = {first, end};
	while (gone < set->count && set->ranges[gone].first <= end) {
		r.first = set->ranges[gone].first < r.first ? set->ranges[gone].first : r.first;
		r.end = set->ranges[gone].end > r.end ? set->ranges[gone].end : r.end;
		gone++;
	}
	if (gone == at && !set_grow(set)) {
		set->everything = true;
		return;
	}
	memmove(&set->ranges[at + 1], &set->ranges[gone],
		(set->count - gone) * sizeof(struct range));
	set->count = set->count + 1 - (gone - at);
	set->ranges[at] = r;
}

void range_set_clear(struct range_set *set)
{
	free(set->ranges);
	*set = (struct range_set){0};
}
