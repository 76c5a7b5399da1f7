/* SPDX-License-Identifier: MIT */
/* SQLite's files in the system area: a VFS of its own for each open file system.
 * Owner thread: whoever holds the database lock.
 * Invariants: I1 nothing outside the regions of the header is read or written. I2 a sync returns
 *   when what was written is durable on every present member. I3 temporary files live in memory:
 *   no byte of a volume leaves it.
 * Not done: locks between processes; a volume has one owner. */
#ifndef STABLEFS_FS_VFS_H
#define STABLEFS_FS_VFS_H

#include <sqlite3.h>
#include "base/errmsg.h"
#include "fs/area_disk.h"
#include "volume/sysarea.h"

struct area_vfs;

/* The name that the database is opened by. */
#define AREA_DB_NAME "stablefs.db"

/* Write fresh headers and empty regions. @salt is random. */
int area_vfs_format(struct sysarea *area, uint64_t salt, struct errmsg *why);

/* Read the headers, choose and mend the log, register the VFS. -ENOMSG: nothing was formatted;
 * -EPROTONOSUPPORT: newer; -EUCLEAN: damaged. The area is borrowed. */
int area_vfs_open(struct sysarea *area, struct area_vfs **out, struct errmsg *why);
void area_vfs_close(struct area_vfs *vfs); /* accepts NULL; the database is closed before */

/* page_store_stand_in() */
int area_vfs_stand_in(struct area_vfs *vfs, const uint8_t *first_page);
uint64_t area_vfs_database_bytes(const struct area_vfs *vfs);

const char *area_vfs_name(const struct area_vfs *vfs); /* for sqlite3_open_v2() */
const struct area_layout *area_vfs_layout(const struct area_vfs *vfs);
uint64_t area_vfs_log_bytes(const struct area_vfs *vfs); /* used since the log began anew */
/* All of the log is in the database: the next write begins it anew. */
void area_vfs_log_done(struct area_vfs *vfs);

#endif
