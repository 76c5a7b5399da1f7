/* SPDX-License-Identifier: MIT */
/* What the files of the VFS share. */
#ifndef STABLEFS_FS_VFS_INTERNAL_H
#define STABLEFS_FS_VFS_INTERNAL_H

#include "fs/page_store.h"
#include "fs/vfs.h"
#include "fs/wal_image.h"

struct area_vfs {
	sqlite3_vfs base;
	char name[40];
	struct sysarea *area; /* borrowed */
	struct area_layout layout;
	struct wal_image wal;
	struct page_store pages;
};

struct area_file {
	sqlite3_file base;
	struct area_vfs *vfs; /* borrowed */
	/* Temporary files only: */
	uint8_t *bytes; /* owned */
	uint64_t size, capacity;
};

extern const sqlite3_io_methods area_db_methods, area_wal_methods, area_temp_methods;

/* SQLite's code for a -errno of ours. */
int area_sqlite_code(int err, int io_code);

#endif
