/* SPDX-License-Identifier: MIT */
/* Generations, written to superblocks. */
#include "volume/generation.h"

#include <inttypes.h>
#include <string.h>

static int write_all(struct member *const *members, unsigned count, struct errmsg *why)
{
	for (unsigned i = 0; i < count; i++) {
		int err = members[i] ? member_super_write(members[i]) : 0;
		if (err < 0)
			return errmsg_set(why, err,
				"%s (member %u): cannot write the superblock: %s",
				member_path(members[i]), i, strerror(-err));
	}
	return 0;
}

static uint64_t newest_of(struct member *const *members, unsigned count)
{
	uint64_t newest = 0;
	for (unsigned i = 0; i < count; i++) {
		if (members[i])
			newest = max_u64(newest, member_super(members[i])->generation);
	}
	return newest;
}

static void record_present(struct super *super, struct member *const *members, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		super->states[i] = members[i] ? SUPER_MEMBER_ACTIVE : SUPER_MEMBER_MISSING;
}

int generation_advance(struct member *const *members, unsigned count, struct errmsg *why)
{
	uint64_t announced = newest_of(members, count) | 1;
	for (unsigned i = 0; i < count; i++) {
		if (!members[i])
			continue;
		member_super(members[i])->generation = announced;
		record_present(member_super(members[i]), members, count);
	}
	int err = write_all(members, count, why);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < count; i++) {
		if (!members[i])
			continue;
		member_super(members[i])->generation = announced + 1;
		member_super(members[i])->clean = false;
	}
	return write_all(members, count, why);
}

int generation_mark_clean(struct member *const *members, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (members[i])
			member_super(members[i])->clean = true;
	}
	return write_all(members, count, NULL);
}

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
