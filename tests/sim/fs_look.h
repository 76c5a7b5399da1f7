/* SPDX-License-Identifier: MIT */
/* A power cut in the life of a file system: what is on the disks at this moment, with a fate for
 * each volatile write and perhaps without a member, is mounted again and compared with the model.
 * The life itself goes on. */
#ifndef STABLEFS_TESTS_SIM_FS_LOOK_H
#define STABLEFS_TESTS_SIM_FS_LOOK_H

#include "fs_life.h"

struct fs_look {
	struct fs_life *life;
	uint64_t number; /* of the write or flush in the life that a disk has just taken */
	unsigned fate;
	bool verbose;
};

struct fs_looked {
	uint64_t bytes; /* of files, compared */
	unsigned files, names;
	bool lost_member, cut_twice, thorough;
	const char *problem; /* the first; NULL: everything is as it should be */
	char where[96];
};

struct fs_looked fs_look(const struct fs_look *look);

#endif
