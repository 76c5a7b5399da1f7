/* SPDX-License-Identifier: MIT */
/* Where a block of the volume lies: level, members, chunk; left-symmetric raid5 and raid6 as md
 * lays them out.
 * Owner thread: none; pure functions on values.
 * Invariants: I1 geometry_locate() and geometry_volume_block() are inverse to each other.
 *   I2 the slots of a stripe lie on different members.
 * May use: base. Must not know: I/O, PI, members' state.
 *
 * Words: a stripe is one chunk on every member. A slot is a place in a stripe: slots 0 ..
 * data_slots - 1 hold data in volume order; behind them raid5 has the parity P, raid6 has P and
 * then Q; for raid1 the slots are the copies of one chunk of data. A row is one block of every
 * chunk of a stripe. */
#ifndef STABLEFS_RAID_GEOMETRY_H
#define STABLEFS_RAID_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>
#include "base/block.h"
#include "base/errmsg.h"
#include "raid/rows.h"

/* Numbers are on disk: never renumber. */
enum raid_level { RAID_SINGLE = 0, RAID_RAID1 = 1, RAID_RAID5 = 5, RAID_RAID6 = 6 };

#define RAID_MAX_MEMBERS 16u
#define RAID_MAX_SLOTS   RAID_MAX_MEMBERS

struct geometry {
	enum raid_level level;
	unsigned members;      /* single: 1, raid1: 2 to 8, raid5: 3 to 16, raid6: 4 to 16 */
	unsigned chunk_blocks; /* 1 to 256, a power of two: 4 KiB to 1 MiB */
	uint64_t stripes;
};

struct geometry_place {
	uint64_t stripe;
	unsigned slot; /* a data slot; 0 for raid1 (any copy will do) */
	unsigned row;
};

/* 0, or -EINVAL and which rule is broken. */
int geometry_check(const struct geometry *g, struct errmsg *why);

unsigned geometry_data_slots(const struct geometry *g);   /* chunks of data in a stripe */
unsigned geometry_parity_slots(const struct geometry *g); /* raid6: 2, raid5: 1, else 0 */
unsigned geometry_slots(const struct geometry *g);        /* = members */
unsigned geometry_redundancy(const struct geometry *g);   /* members that may be missing */
bool geometry_has_parity(const struct geometry *g);
uint64_t geometry_volume_blocks(const struct geometry *g);
unsigned geometry_stripe_blocks(const struct geometry *g); /* data blocks of a stripe */

struct geometry_place geometry_locate(const struct geometry *g, uint64_t volume_block);
uint64_t geometry_volume_block(
	const struct geometry *g, uint64_t stripe, unsigned slot, unsigned row);

/* The member that holds @slot of @stripe. Left-symmetric: P on members-1 - stripe % members, behind
 * it, in a ring, raid6's Q, and then the data in order (md's ALGORITHM_LEFT_SYMMETRIC of the level;
 * not its ALGORITHM_LEFT_SYMMETRIC_6, which has every Q on one member). */
unsigned geometry_member(const struct geometry *g, uint64_t stripe, unsigned slot);

/* The slot that @member holds in @stripe. */
unsigned geometry_slot(const struct geometry *g, uint64_t stripe, unsigned member);

/* The block of a member's data area that holds @row of @stripe. */
static inline uint64_t geometry_member_block(
	const struct geometry *g, uint64_t stripe, unsigned row)
{
	return stripe * g->chunk_blocks + row;
}

const char *raid_level_name(enum raid_level level); /* "raid5" */
bool raid_level_parse(const char *name, enum raid_level *out);

#endif
