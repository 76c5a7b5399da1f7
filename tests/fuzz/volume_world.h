/* SPDX-License-Identifier: MIT */
/* Tiny volumes in the simulated world, and whoever spoils their members: for fuzz_volume.c and
 * sweep_bytes.c.
 *
 * A prepared volume was written, flushed, written again in two stripes and left by a power cut. A
 * trial is a copy of it whose disks are spoiled, then opened, read, written, scrubbed, closed. What
 * must hold: nothing crashes, hangs, or asserts; and where only one member of a volume with
 * redundancy and PI was spoiled, each block at rest reads as it was written, fails with an error,
 * or is what that member holds under a tuple that fits (which no tuple can tell). */
#ifndef STABLEFS_TESTS_FUZZ_VOLUME_WORLD_H
#define STABLEFS_TESTS_FUZZ_VOLUME_WORLD_H

#include "io/simulated.h"
#include "member/super.h"
#include "raid/geometry.h"

#define VW_MAX_MEMBERS 4u
#define VW_MAX_BLOCKS  64u

struct vw_shape {
	const char *name;
	enum raid_level level;
	unsigned members;
	enum pi_type pi;
	enum super_write_hole write_hole;
};
extern const struct vw_shape vw_shapes[];
extern const unsigned vw_shape_count;

/* A prepared volume; its disks are "v0-m0" and so on, and those of another volume of the same shape
 * "v1-m0". Made when first asked for, kept for ever. */
struct vw_volume {
	const struct vw_shape *shape;
	struct sim_world *world;
	struct super super; /* of its first member */
	struct geometry geometry;
	uint64_t blocks;
};
const struct vw_volume *vw_volume(unsigned shape);

/* ---- a trial ---- */

struct vw_trial {
	const struct vw_volume *volume;
	struct sim_world *world;
	uint32_t spoiled; /* bit i: member i of volume 0 */
	bool beyond; /* something was done that checksums cannot tell: only safety is checked */
};
void vw_trial_init(struct vw_trial *trial, unsigned shape);
void vw_trial_fini(struct vw_trial *trial);

/* The bytes of a member, for reading and spoiling; a range beyond its end is cut off (returns what
 * is left of @len_bytes). */
uint64_t vw_member_peek(const struct vw_trial *trial, unsigned volume, unsigned member,
	uint64_t offset_bytes, void *buf, uint64_t len_bytes);
void vw_member_poke(struct vw_trial *trial, unsigned member, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes);
void vw_member_truncate(struct vw_trial *trial, unsigned member, uint64_t len_bytes);

/* Open, read, write, scrub, close; aborts where something does not hold. True where the volume
 * could be opened. */
bool vw_trial_run(struct vw_trial *trial, bool degraded);

#endif
