/* SPDX-License-Identifier: MIT */
/* A small file system in the simulated world, for whoever spoils its database: for fuzz_rows.c and
 * fuzz_pages.c.
 *
 * A trial is a copy of a prepared volume, spoiled, mounted, used in all the ways that there are,
 * unmounted, checked, mended, and used again. What must hold: nothing crashes, hangs, or asserts;
 * nothing outside the volume is read or written (the simulated disks refuse it); a repair that says
 * that nothing is left leaves a file system that can be mounted. */
#ifndef STABLEFS_TESTS_FUZZ_FS_WORLD_H
#define STABLEFS_TESTS_FUZZ_FS_WORLD_H

#include <stdbool.h>
#include "fs/check.h"
#include "fs/db.h"
#include "io/simulated.h"

#define FW_INODES 12u /* numbers 1 to that are in use */

struct fw_trial {
	struct sim_world *world;
	struct io_factory factory;
	struct volume *volume; /* open, or NULL */
};
void fw_begin(struct fw_trial *trial);
void fw_end(struct fw_trial *trial);

void fw_open(struct fw_trial *trial, bool read_only);
void fw_close(struct fw_trial *trial);

/* Mount it if that can be, and use everything. */
void fw_use(struct fw_trial *trial);

/* fsck --repair. True: nothing is left, it says. */
bool fw_repair(struct fw_trial *trial);

/* fw_use(), fw_repair(), and what must follow. @must_mend: there is nothing that a repair could not
 * put right. */
void fw_run(struct fw_trial *trial, bool must_mend);

#endif
