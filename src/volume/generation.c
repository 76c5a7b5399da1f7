/* SPDX-License-Identifier: MIT */
/* Generations, compared. */
#include "volume/generation.h"

#include <string.h>

bool generation_is_committed(const struct super *super)
{
	return super->generation % 2 == 0;
}

bool generation_is_stale(const struct super *super, const struct super *newest)
{
	if (super->generation + 1 < newest->generation)
		return true;
	return generation_is_committed(newest) &&
	       newest->states[super->index] == SUPER_MEMBER_MISSING;
}

/* Who was with @super when it was last written, and is in the array still, was there when it went
 * (I4). A member under its number that is another one does not count. */
bool generation_went_apart(const struct super *super, const struct super *newest)
{
	if (!generation_is_committed(super) || super->members == 1)
		return false;
	for (unsigned i = 0; i < super->members; i++) {
		if (i != super->index && super->states[i] != SUPER_MEMBER_MISSING &&
			newest->states[i] != SUPER_MEMBER_MISSING &&
			memcmp(super->peers[i], newest->peers[i], sizeof(super->peers[i])) == 0)
			return false;
	}
	return true;
}
