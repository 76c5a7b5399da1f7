/* SPDX-License-Identifier: MIT */
/* Generations: how members know whether they belong together in time.
 * Owner thread: whoever owns the members' engine.
 * Invariants: I1 a generation grows in two steps, each durable on every present member before the
 *   next: the odd number announces, the even one (the next) commits. Nothing is written under an
 *   odd number. I2 so a member is up to date that is at most one behind the newest: where the
 *   newest is odd, the announcement was cut short; where it is even, the commit was, and all had
 *   been announced. A member that was away is at least two behind. I3 the superblocks also say who
 *   was present: a member that the newest, where it is committed, calls missing is stale whatever
 *   its number.
 * May use: member, base. Must not know: engines, stripes. */
#ifndef STABLEFS_VOLUME_GENERATION_H
#define STABLEFS_VOLUME_GENERATION_H

#include "member/member.h"
#include "raid/geometry.h"

#define GENERATION_FIRST UINT64_C(2) /* at creation: committed */

/* Step to the next generation: the present of @members (NULL: missing) are recorded as active, the
 * others as missing, and the volume as not clean. Blocking. @why names the member that failed. */
int generation_advance(struct member *const *members, unsigned count, struct errmsg *why);

/* Everything is written and no region is marked: say so. Blocking. */
int generation_mark_clean(struct member *const *members, unsigned count);

/* Writes may have been made under the generation of @super. */
bool generation_is_committed(const struct super *super);

/* Is @super out of date, seen from @newest, the superblock with the highest generation? */
bool generation_is_stale(const struct super *super, const struct super *newest);

#endif
