/* SPDX-License-Identifier: MIT */
/* What the sweeps of the array share: the volumes that they go over. */
#ifndef STABLEFS_TESTS_SIM_SWEEP_H
#define STABLEFS_TESTS_SIM_SWEEP_H

#include "report.h"
#include "rig.h"

struct sweep_volume {
	enum raid_level level;
	unsigned members;
};

static const struct sweep_volume sweep_volumes[] = {{RAID_SINGLE, 1}, {RAID_RAID1, 2},
	{RAID_RAID1, 3}, {RAID_RAID5, 3}, {RAID_RAID5, 4}, {RAID_RAID5, 5}};
#define SWEEP_VOLUMES (sizeof(sweep_volumes) / sizeof(sweep_volumes[0]))

static inline void sweep_name(char *out, size_t size, const struct rig_config *c, const char *more)
{
	snprintf(out, size, "%s x%u, chunk %u, pi %s, %s", raid_level_name(c->level), c->members,
		c->chunk_blocks, pi_name(c->pi), more);
}

#endif
