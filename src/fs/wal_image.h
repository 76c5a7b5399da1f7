/* SPDX-License-Identifier: MIT */
/* The write-ahead log's region of the system area, held in memory: SQLite writes a log in pieces
 * of 24 and 4096 bytes, the members want few and aligned transfers.
 * Owner thread: whoever holds the database lock. */
#ifndef STABLEFS_FS_WAL_IMAGE_H
#define STABLEFS_FS_WAL_IMAGE_H

#include "fs/area_disk.h"
#include "volume/sysarea.h"

struct wal_image {
	struct sysarea *area; /* borrowed */
	uint64_t offset, capacity;
	uint8_t *bytes; /* owned mapping of @capacity: untouched pages cost nothing */
	uint64_t size;  /* of the file that SQLite sees; 0: there is none */
	uint64_t used;  /* end of what was written since the log last began anew */
	uint64_t dirty_from, dirty_end; /* not yet on the members; empty where from >= end */
};

/* Load the copy that has the most committed frames, and make the other copies equal to it (unless
 * the area is read-only). */
int wal_image_open(struct wal_image *wal, struct sysarea *area, const struct area_layout *layout);
void wal_image_close(struct wal_image *wal); /* accepts a zeroed one */

/* -ENOSPC beyond the region. */
int wal_image_write(struct wal_image *wal, uint64_t offset, const void *buf, uint32_t len);
/* How many bytes were there; the rest of @buf is zeroed. */
uint32_t wal_image_read(const struct wal_image *wal, uint64_t offset, void *buf, uint32_t len);
int wal_image_sync(struct wal_image *wal);

/* Forget the log, durably. */
int wal_image_delete(struct wal_image *wal);

#endif
