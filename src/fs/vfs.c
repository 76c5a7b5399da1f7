/* SPDX-License-Identifier: MIT */
/* The VFS: headers of the system area, names to files. */
#include "fs/area_scrub.h"
#include "fs/vfs_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/mem.h"

/* ---- the header ---- */

static int header_write(struct sysarea *area, const struct area_layout *layout, unsigned slot)
{
	cleanup(cleanup_freep) uint8_t *buf = mem_alloc_blocks(AREA_HEADER_BYTES);
	if (!buf)
		return -ENOMEM;
	area_header_encode(layout, buf);
	return sysarea_write(area, (uint64_t)slot * AREA_HEADER_BYTES, buf, AREA_HEADER_BYTES);
}

int area_vfs_format(struct sysarea *area, uint64_t salt, struct errmsg *why)
{
	struct area_layout layout;
	int ret = area_layout_choose(sysarea_size_bytes(area), &layout);
	if (ret < 0)
		return errmsg_set(why, ret, "the system area is too small (%llu bytes)",
			(unsigned long long)sysarea_size_bytes(area));
	layout.salt = salt;
	/* First away with the old header: an interrupted format leaves no file system. */
	ret = sysarea_zero(area, 0, layout.wal_offset + AREA_PAGE_BYTES);
	if (ret == 0)
		ret = sysarea_zero(area, layout.db_offset, layout.db_bytes);
	if (ret == 0)
		ret = sysarea_flush(area);
	for (unsigned slot = 0; slot < AREA_HEADER_COPIES && ret == 0; slot++) {
		layout.sequence = slot + 1;
		ret = header_write(area, &layout, slot);
	}
	if (ret == 0)
		ret = sysarea_flush(area);
	return ret < 0 ? errmsg_set(why, ret, "the system area cannot be written") : 0;
}

/* The newest good header of any copy. */
static int header_load(struct area_vfs *vfs)
{
	cleanup(cleanup_freep) uint8_t *buf = mem_alloc_blocks(AREA_HEADER_BYTES);
	if (!buf)
		return -ENOMEM;
	int err = -ENOMSG;
	bool found = false;
	for (unsigned i = 0; i < sysarea_copies(vfs->area) * AREA_HEADER_COPIES; i++) {
		uint64_t at = (uint64_t)(i % AREA_HEADER_COPIES) * AREA_HEADER_BYTES;
		struct area_layout layout;
		int ret = sysarea_read_copy(
			vfs->area, i / AREA_HEADER_COPIES, at, buf, AREA_HEADER_BYTES);
		if (ret == 0)
			ret = area_header_decode(buf, sysarea_size_bytes(vfs->area), &layout);
		if (ret < 0) {
			err = err == -ENOMSG ? ret : err;
			continue;
		}
		if (!found || layout.sequence > vfs->layout.sequence)
			vfs->layout = layout;
		found = true;
	}
	return found ? 0 : err;
}

static int header_explain(int err, struct errmsg *why)
{
	switch (err) {
	case -ENOMSG:
		return errmsg_set(why, -EUCLEAN, "there is no file system on this volume");
	case -EPROTONOSUPPORT:
		return errmsg_set(why, err, "the file system was made by a newer version");
	case -EUCLEAN:
		return errmsg_set(why, err, "the header of the system area is damaged");
	default:
		return errmsg_set(why, err, "the system area cannot be read");
	}
}

/* ---- names ---- */

static bool name_is_wal(const char *name)
{
	return strcmp(name, AREA_DB_NAME "-wal") == 0;
}

static int vfs_open(
	sqlite3_vfs *base, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	struct area_vfs *vfs = base->pAppData;
	struct area_file *f = (struct area_file *)file;
	*f = (struct area_file){.vfs = vfs};
	if (flags & SQLITE_OPEN_MAIN_DB)
		f->base.pMethods = &area_db_methods;
	else if (flags & SQLITE_OPEN_WAL)
		f->base.pMethods = &area_wal_methods;
	else
		f->base.pMethods = &area_temp_methods;
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int sync_dir)
{
	struct area_vfs *vfs = base->pAppData;
	if (!name_is_wal(name) || vfs->wal.size == 0)
		return SQLITE_OK;
	if (sysarea_is_read_only(vfs->area))
		return SQLITE_READONLY;
	return area_sqlite_code(wal_image_delete(&vfs->wal), SQLITE_IOERR_DELETE);
}

static int vfs_access(sqlite3_vfs *base, const char *name, int flags, int *out)
{
	struct area_vfs *vfs = base->pAppData;
	*out = strcmp(name, AREA_DB_NAME) == 0 || (name_is_wal(name) && vfs->wal.size > 0);
	return SQLITE_OK;
}

static int vfs_full_pathname(sqlite3_vfs *base, const char *name, int size, char *out)
{
	snprintf(out, (size_t)size, "%s", name);
	return SQLITE_OK;
}

/* ---- what SQLite's own VFS does well ---- */

static sqlite3_vfs *system_vfs(void)
{
	return sqlite3_vfs_find("unix");
}

static int vfs_randomness(sqlite3_vfs *base, int len, char *out)
{
	return system_vfs()->xRandomness(system_vfs(), len, out);
}

static int vfs_sleep(sqlite3_vfs *base, int microseconds)
{
	return system_vfs()->xSleep(system_vfs(), microseconds);
}

static int vfs_current_time(sqlite3_vfs *base, double *out)
{
	return system_vfs()->xCurrentTime(system_vfs(), out);
}

static int vfs_last_error(sqlite3_vfs *base, int len, char *out)
{
	return 0;
}

static int vfs_register(struct area_vfs *vfs)
{
	snprintf(vfs->name, sizeof(vfs->name), "stablefs-%p", (void *)vfs);
	vfs->base = (sqlite3_vfs){
		.iVersion = 1,
		.szOsFile = sizeof(struct area_file),
		.mxPathname = 64,
		.zName = vfs->name,
		.pAppData = vfs,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_pathname,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_current_time,
		.xGetLastError = vfs_last_error,
	};
	return sqlite3_vfs_register(&vfs->base, 0) == SQLITE_OK ? 0 : -ENOMEM;
}

int area_vfs_open(struct sysarea *area, struct area_vfs **out, struct errmsg *why)
{
	struct area_vfs *vfs = calloc(1, sizeof(*vfs));
	if (!vfs)
		return -ENOMEM;
	vfs->area = area;
	int ret = header_load(vfs);
	if (ret < 0) {
		free(vfs);
		return header_explain(ret, why);
	}
	struct scrub_area found = {0};
	if (!sysarea_is_read_only(area))
		ret = area_scrub_headers(vfs, true, &found);
	if (ret == 0)
		ret = wal_image_open(&vfs->wal, area, &vfs->layout);
	if (ret == 0)
		ret = page_store_open(&vfs->pages, area, &vfs->layout);
	if (ret == 0)
		ret = sqlite3_initialize() == SQLITE_OK ? vfs_register(vfs) : -ENOMEM;
	if (ret < 0) {
		area_vfs_close(vfs);
		return errmsg_set(why, ret, "the system area cannot be read");
	}
	*out = vfs;
	return 0;
}

void area_vfs_close(struct area_vfs *vfs)
{
	if (!vfs)
		return;
	if (vfs->name[0])
		sqlite3_vfs_unregister(&vfs->base);
	page_store_close(&vfs->pages);
	wal_image_close(&vfs->wal);
	free(vfs);
}

int area_vfs_stand_in(struct area_vfs *vfs, const uint8_t *first_page)
{
	return page_store_stand_in(&vfs->pages, first_page);
}

uint64_t area_vfs_database_bytes(const struct area_vfs *vfs)
{
	return vfs->pages.size;
}

const char *area_vfs_name(const struct area_vfs *vfs)
{
	return vfs->name;
}

const struct area_layout *area_vfs_layout(const struct area_vfs *vfs)
{
	return &vfs->layout;
}

uint64_t area_vfs_log_bytes(const struct area_vfs *vfs)
{
	return vfs->wal.used;
}

void area_vfs_log_done(struct area_vfs *vfs)
{
	vfs->wal.used = 0;
}
