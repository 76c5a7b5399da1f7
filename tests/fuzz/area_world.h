/* SPDX-License-Identifier: MIT */
/* Two members in the simulated world, for targets that load one area of them. */
#ifndef STABLEFS_TESTS_FUZZ_AREA_WORLD_H
#define STABLEFS_TESTS_FUZZ_AREA_WORLD_H

#include <string.h>
#include "base/log.h"
#include "fuzz.h"
#include "io/simulated.h"
#include "member/member.h"

#define AW_MEMBERS 3u

struct area_world {
	struct sim_world *world;
	struct io_engine *io;
	struct member *members[AW_MEMBERS];
};

static const char *const aw_names[AW_MEMBERS] = {"m0", "m1", "m2"};

static inline struct super aw_super(uint64_t stripes, uint64_t region_blocks)
{
	struct super super = {.level = 5,
		.members = AW_MEMBERS,
		.chunk_blocks = 4,
		.generation = 2,
		.write_hole = SUPER_HOLE_JOURNAL};
	memset(super.volume_uuid, 0xa5, 16);
	fuzz_demand(super_layout(&super, stripes, 65536, NULL) == 0);
	super.region_blocks = region_blocks;
	return super;
}

/* The members' areas are zeros; no superblock is written. */
static inline void aw_init(struct area_world *aw, const struct super *super)
{
	log_set_level(LOG_LEVEL_ERROR);
	*aw = (struct area_world){.world = sim_world_new(1)};
	fuzz_demand(aw->world && sim_engine_new(aw->world, &aw->io) == 0);
	for (unsigned i = 0; i < AW_MEMBERS; i++) {
		struct member_probe probe = {.super = *super};
		probe.super.index = i;
		fuzz_demand(io_open(aw->io, aw_names[i], IO_OPEN_CREATE, super->member_bytes,
				    &probe.file, NULL) == 0);
		fuzz_demand(member_open(aw->io, aw_names[i], &probe, &aw->members[i]) == 0);
	}
}

static inline void aw_fini(struct area_world *aw)
{
	for (unsigned i = 0; i < AW_MEMBERS; i++)
		member_free(aw->members[i]);
	io_engine_free(aw->io);
	sim_world_free(aw->world);
}

static inline void aw_poke(struct area_world *aw, unsigned member, uint64_t offset_bytes,
	const void *bytes, uint64_t len_bytes)
{
	fuzz_demand(
		sim_disk_poke(aw->world, aw_names[member], offset_bytes, bytes, len_bytes) == 0);
}

static inline void aw_peek(struct area_world *aw, unsigned member, uint64_t offset_bytes,
	void *bytes, uint64_t len_bytes)
{
	fuzz_demand(
		sim_disk_peek(aw->world, aw_names[member], offset_bytes, bytes, len_bytes) == 0);
}

#endif
