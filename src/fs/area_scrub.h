/* SPDX-License-Identifier: MIT */
/* Every copy of the system area compared, page by page: headers, database, log.
 * Owner thread: whoever holds the database lock, or has the area for itself. */
#ifndef STABLEFS_FS_AREA_SCRUB_H
#define STABLEFS_FS_AREA_SCRUB_H

#include "fs/vfs.h"
#include "volume/volume.h"

/* A number of pages from *@at on, which is 0 at first and moves on. @repair: write right bytes over
 * wrong ones. 1: there is more; 0: that was the last; -errno. */
int area_scrub_step(struct area_vfs *vfs, bool repair, uint64_t *at, struct scrub_area *found);

/* The headers alone: 0 or -errno. Called at every open that may write. */
int area_scrub_headers(struct area_vfs *vfs, bool repair, struct scrub_area *found);

#endif
