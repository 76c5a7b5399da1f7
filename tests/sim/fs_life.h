/* SPDX-License-Identifier: MIT */
/* One life of a small file system on simulated disks: a random workload of names and bytes, and the
 * model that says what it may hold at each moment. Everything follows from the configuration and
 * its seed: the clock and the random numbers of the system are replaced (the linker wraps them). */
#ifndef STABLEFS_TESTS_SIM_FS_LIFE_H
#define STABLEFS_TESTS_SIM_FS_LIFE_H

#include "fs_model.h"
#include "unit/fs/rig.h"

/* Controls: what must be noticed. */
enum fs_life_control {
	FS_LIFE_CAREFUL,
	FS_LIFE_EARLY,   /* a sync is taken at its word before it has ended */
	FS_LIFE_NO_FLUSH /* the disks say that they have flushed, and have not */
};

struct fs_life_config {
	struct volume_create_options create;
	uint64_t seed;
	enum fs_life_control control;
	bool verbose;
};

#define FS_LIFE_DEPTH  4u
#define FS_LIFE_FILLER "filler" /* a file that the model knows nothing of: it takes most blocks */

struct fs_flight {
	struct fs_io io;
	struct source source;
	struct fs_life *life;
	struct model_inode *inode; /* NULL: free */
	unsigned version;
	uint8_t *data; /* owned */
};

struct fs_life {
	struct fs_life_config config;
	struct rig *rig;
	struct fs_model model;
	struct random random;
	struct fs_flight flights[FS_LIFE_DEPTH];
	uint32_t values;     /* of attributes, given so far */
	const char *problem; /* the first; with the power on */
	int problem_err;
};

void fs_life_begin(struct fs_life *life, const struct fs_life_config *config);
/* @steps random operations, then wait for all. */
void fs_life_run(struct fs_life *life, unsigned steps);
/* Close in good order. */
void fs_life_unmount(struct fs_life *life);
void fs_life_end(struct fs_life *life);

/* The replaced clock and random numbers, so that who looks at a cut does not change the life. */
struct fs_life_chance {
	uint64_t clock_ns, random;
};
struct fs_life_chance fs_life_chance_save(uint64_t seed);
void fs_life_chance_restore(const struct fs_life_chance *c);

#endif
