/* SPDX-License-Identifier: MIT */
/* The system area's life, for the volume alone. */
#ifndef STABLEFS_VOLUME_SYSAREA_OPEN_H
#define STABLEFS_VOLUME_SYSAREA_OPEN_H

#include "member/member.h"
#include "raid/geometry.h"
#include "volume/sysarea.h"

struct sysarea_config {
	const struct io_factory *factory;         /* borrowed, outlives the area */
	struct member *members[RAID_MAX_MEMBERS]; /* of the volume; borrowed for the call */
	unsigned count;
	bool read_only;
};

/* Open the members of the volume again, unlocked, on an engine of the area's own. After the
 * generation of this mount is committed, since the superblocks are read again. */
int sysarea_open(const struct sysarea_config *config, struct sysarea **out, struct errmsg *why);
void sysarea_close(struct sysarea *area); /* accepts NULL */

/* Bit i: member i failed a write or a flush and was left out; the other members' superblocks say
 * so, under the generation sysarea_generation(). While nobody uses the area. */
uint32_t sysarea_dropped(const struct sysarea *area);
uint64_t sysarea_generation(const struct sysarea *area);

#endif
