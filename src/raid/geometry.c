/* SPDX-License-Identifier: MIT */
/* Geometry: volume block <-> (stripe, slot, row) <-> member.
 *
 * Left-symmetric RAID5 of 4 members, chunks of the volume by number, P the parity:
 *
 *	member		0	1	2	3
 *	stripe 0	0	1	2	P
 *	stripe 1	4	5	P	3
 *	stripe 2	8	P	6	7
 *	stripe 3	P	9	10	11
 *
 * The parity moves one member to the left with each stripe, and the data starts on the member
 * behind it, in a ring. Raid6 puts Q between the two:
 *
 *	member		0	1	2	3	4
 *	stripe 0	Q	0	1	2	P
 *	stripe 1	3	4	5	P	Q
 *	stripe 2	7	8	P	Q	6
 *	stripe 3	11	P	Q	9	10
 *	stripe 4	P	Q	12	13	14
 *
 * With the parities as the last slots, P first, one rule serves both: all slots lie in order on
 * consecutive members of the ring, and the ring turns by one member a stripe. Single and raid1 do
 * not rotate: slot i is member i. */
#include "raid/geometry.h"

#include <errno.h>
#include <string.h>

#define MAX_CHUNK_BLOCKS ROWS_MAX

struct level_rules {
	enum raid_level level;
	const char *name;
	unsigned min_members, max_members;
};

static const struct level_rules levels[] = {
	{RAID_SINGLE, "single", 1, 1},
	{RAID_RAID1, "raid1", 2, 8},
	{RAID_RAID5, "raid5", 3, RAID_MAX_MEMBERS},
	{RAID_RAID6, "raid6", 4, RAID_MAX_MEMBERS},
};

#define LEVELS (sizeof(levels) / sizeof(levels[0]))

static const struct level_rules *rules_of(enum raid_level level)
{
	for (unsigned i = 0; i < LEVELS; i++) {
		if (levels[i].level == level)
			return &levels[i];
	}
	return NULL;
}

static int members_check(const struct geometry *g, struct errmsg *why)
{
	const struct level_rules *rules = rules_of(g->level);
	if (!rules)
		return errmsg_set(why, -EINVAL, "there is no level number %d", (int)g->level);
	if (g->members >= rules->min_members && g->members <= rules->max_members)
		return 0;
	if (rules->min_members == rules->max_members)
		return errmsg_set(why, -EINVAL, "%s has exactly %u member, not %u", rules->name,
			rules->min_members, g->members);
	return errmsg_set(why, -EINVAL, "%s has %u to %u members, not %u", rules->name,
		rules->min_members, rules->max_members, g->members);
}

static int chunk_check(const struct geometry *g, struct errmsg *why)
{
	unsigned blocks = g->chunk_blocks;
	if (blocks >= 1 && blocks <= MAX_CHUNK_BLOCKS && (blocks & (blocks - 1)) == 0)
		return 0;
	return errmsg_set(why, -EINVAL,
		"a chunk is a power of two of blocks, 1 to %u (4 KiB to 1 MiB), not %u",
		MAX_CHUNK_BLOCKS, blocks);
}

/* Every offset must fit into off_t, in the volume and on the members together. */
static int stripes_check(const struct geometry *g, struct errmsg *why)
{
	uint64_t stripe_bytes = (uint64_t)g->members * g->chunk_blocks * BLOCK_BYTES;
	uint64_t max = INT64_MAX / stripe_bytes;
	if (g->stripes >= 1 && g->stripes <= max)
		return 0;
	return errmsg_set(why, -EINVAL, "a volume has 1 to %llu stripes of this shape, not %llu",
		(unsigned long long)max, (unsigned long long)g->stripes);
}

int geometry_check(const struct geometry *g, struct errmsg *why)
{
	int ret = members_check(g, why);
	if (ret == 0)
		ret = chunk_check(g, why);
	if (ret == 0)
		ret = stripes_check(g, why);
	return ret;
}

unsigned geometry_parity_slots(const struct geometry *g)
{
	return g->level == RAID_RAID6 ? 2 : g->level == RAID_RAID5 ? 1 : 0;
}

bool geometry_has_parity(const struct geometry *g)
{
	return geometry_parity_slots(g) > 0;
}

unsigned geometry_data_slots(const struct geometry *g)
{
	return geometry_has_parity(g) ? g->members - geometry_parity_slots(g) : 1;
}

unsigned geometry_slots(const struct geometry *g)
{
	return g->members;
}

unsigned geometry_redundancy(const struct geometry *g)
{
	return g->members - geometry_data_slots(g);
}

uint64_t geometry_volume_blocks(const struct geometry *g)
{
	return g->stripes * geometry_stripe_blocks(g);
}

unsigned geometry_stripe_blocks(const struct geometry *g)
{
	return geometry_data_slots(g) * g->chunk_blocks;
}

struct geometry_place geometry_locate(const struct geometry *g, uint64_t volume_block)
{
	unsigned within = (unsigned)(volume_block % geometry_stripe_blocks(g));
	return (struct geometry_place){
		.stripe = volume_block / geometry_stripe_blocks(g),
		.slot = within / g->chunk_blocks,
		.row = within % g->chunk_blocks,
	};
}

uint64_t geometry_volume_block(
	const struct geometry *g, uint64_t stripe, unsigned slot, unsigned row)
{
	return stripe * geometry_stripe_blocks(g) + slot * g->chunk_blocks + row;
}

/* The member that holds slot 0, the first behind the parities. P of stripe 0 is on the last member,
 * and each stripe turns the ring one member to the left. */
static unsigned first_member(const struct geometry *g, uint64_t stripe)
{
	unsigned turn = (unsigned)(stripe % g->members), parities = geometry_parity_slots(g);
	return parities ? (g->members - 1 + parities - turn) % g->members : 0;
}

unsigned geometry_member(const struct geometry *g, uint64_t stripe, unsigned slot)
{
	return (first_member(g, stripe) + slot) % g->members;
}

unsigned geometry_slot(const struct geometry *g, uint64_t stripe, unsigned member)
{
	return (member + g->members - first_member(g, stripe)) % g->members;
}

const char *raid_level_name(enum raid_level level)
{
	const struct level_rules *rules = rules_of(level);
	return rules ? rules->name : "unknown";
}

bool raid_level_parse(const char *name, enum raid_level *out)
{
	for (unsigned i = 0; i < LEVELS; i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*out = levels[i].level;
			return true;
		}
	}
	return false;
}
