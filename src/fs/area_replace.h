/* SPDX-License-Identifier: MIT */
/* Another database in the place of the one that is there.
 * Owner thread: whoever has the area for itself; nothing has it open.
 * Invariant: at every moment a header leads to the old database whole, or to the new one whole. */
#ifndef STABLEFS_FS_AREA_REPLACE_H
#define STABLEFS_FS_AREA_REPLACE_H

#include "fs/area_disk.h"
#include "volume/sysarea.h"

struct area_replace {
	struct sysarea *area;
	struct area_layout layout; /* of the database that is there */
	uint64_t used_bytes;       /* of it */
	uint8_t *image;            /* page-aligned; its trailers are written */
	uint64_t image_bytes;
	uint64_t salt; /* of the new one */
};

/* The log is forgotten: all of it must be in the database. -ENOSPC: old and new do not fit beside
 * each other. */
int area_replace(struct area_replace *r, struct errmsg *why);

#endif
