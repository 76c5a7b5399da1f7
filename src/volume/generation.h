/* SPDX-License-Identifier: MIT */
/* Generations: how members know whether they belong together in time. Pure functions.
 * Invariants: I1 a generation grows in two steps, each durable on every present member before the
 *   next: the odd number announces, the even one (the next) commits. Nothing is written under an
 *   odd number. I2 so a member is up to date that is at most one behind the newest: where the
 *   newest is odd, the announcement was cut short; where it is even, the commit was, and all had
 *   been announced. A member that was away is at least two behind. I3 the superblocks also say who
 *   was present: a member that the newest, where it is committed, calls missing is stale whatever
 *   its number.
 *   I4 a member that was written while the others were not has gone apart from them: nobody who was
 *   with it then carries on what they have in common.
 * May use: member, base. Must not know: engines, stripes. */
#ifndef STABLEFS_VOLUME_GENERATION_H
#define STABLEFS_VOLUME_GENERATION_H

#include "member/member.h"
#include "raid/geometry.h"

#define GENERATION_FIRST UINT64_C(2) /* at creation: committed */

/* The last generation under which writes may have been made, where the newest is @generation. */
static inline uint64_t generation_committed(uint64_t generation)
{
	return generation & ~UINT64_C(1);
}

/* Writes may have been made under the generation of @super. */
bool generation_is_committed(const struct super *super);

/* Was @super, which is out of date beside @newest, written without any of the members that are in
 * the array by @newest? Then the marks do not say where it differs. */
bool generation_went_apart(const struct super *super, const struct super *newest);

/* Is @super out of date, seen from @newest, the superblock with the highest generation? */
bool generation_is_stale(const struct super *super, const struct super *newest);

#endif
