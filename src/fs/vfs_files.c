/* SPDX-License-Identifier: MIT */
/* The three kinds of files that SQLite opens: the database, its log, and temporary ones. */
#include "fs/vfs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"

int area_sqlite_code(int err, int io_code)
{
	switch (err) {
	case 0:
		return SQLITE_OK;
	case -ENOSPC:
		return SQLITE_FULL;
	case -ENOMEM:
		return SQLITE_IOERR_NOMEM;
	case -EUCLEAN:
		return SQLITE_IOERR_DATA;
	default:
		return io_code;
	}
}

static struct area_file *file_of(sqlite3_file *f)
{
	return (struct area_file *)f;
}

/* ---- what all share ---- */

static int file_no_lock(sqlite3_file *f, int level)
{
	return SQLITE_OK;
}

static int file_check_lock(sqlite3_file *f, int *held)
{
	*held = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *f)
{
	return AREA_PAGE_BYTES;
}

/* A torn write leaves the bytes around it alone: what shares a sector with it is written again as
 * it was. */
static int file_characteristics(sqlite3_file *f)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int file_close(sqlite3_file *f)
{
	return SQLITE_OK;
}

/* ---- the database ---- */

static int db_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 offset)
{
	struct page_store *ps = &file_of(f)->vfs->pages;
	if ((uint64_t)offset >= ps->size) {
		memset(buf, 0, (size_t)len);
		return SQLITE_IOERR_SHORT_READ;
	}
	uint64_t in_page = (uint64_t)offset % AREA_PAGE_BYTES;
	if (in_page + (uint64_t)len > AREA_PAGE_BYTES)
		return SQLITE_CORRUPT; /* a header that claims another page size */
	bool whole = len == (int)AREA_PAGE_BYTES;
	int ret = whole ? page_store_read(ps, (uint64_t)offset, buf)
			: page_store_read_part(ps, (uint64_t)offset, buf, (uint32_t)len);
	/* Not an error of the medium, which would take the whole transaction back: what needs the
	 * page fails, and all else goes on. */
	return ret == -EUCLEAN ? SQLITE_CORRUPT : area_sqlite_code(ret, SQLITE_IOERR_READ);
}

static int db_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 offset)
{
	struct area_vfs *vfs = file_of(f)->vfs;
	if (sysarea_is_read_only(vfs->area))
		return SQLITE_READONLY;
	if (len != (int)AREA_PAGE_BYTES)
		return SQLITE_IOERR_WRITE;
	return area_sqlite_code(
		page_store_write(&vfs->pages, (uint64_t)offset, buf), SQLITE_IOERR_WRITE);
}

static int db_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return area_sqlite_code(page_store_truncate(&file_of(f)->vfs->pages, (uint64_t)size),
		SQLITE_IOERR_TRUNCATE);
}

static int db_sync(sqlite3_file *f, int flags)
{
	return area_sqlite_code(page_store_sync(&file_of(f)->vfs->pages), SQLITE_IOERR_FSYNC);
}

static int db_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)file_of(f)->vfs->pages.size;
	return SQLITE_OK;
}

const sqlite3_io_methods area_db_methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = db_read,
	.xWrite = db_write,
	.xTruncate = db_truncate,
	.xSync = db_sync,
	.xFileSize = db_size,
	.xLock = file_no_lock,
	.xUnlock = file_no_lock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

/* ---- the log ---- */

static int wal_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 offset)
{
	struct wal_image *wal = &file_of(f)->vfs->wal;
	uint32_t got = wal_image_read(wal, (uint64_t)offset, buf, (uint32_t)len);
	return got == (uint32_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int wal_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 offset)
{
	struct area_vfs *vfs = file_of(f)->vfs;
	if (sysarea_is_read_only(vfs->area))
		return SQLITE_READONLY;
	return area_sqlite_code(wal_image_write(&vfs->wal, (uint64_t)offset, buf, (uint32_t)len),
		SQLITE_IOERR_WRITE);
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct area_vfs *vfs = file_of(f)->vfs;
	if (sysarea_is_read_only(vfs->area))
		return SQLITE_READONLY;
	if (size == 0)
		return area_sqlite_code(wal_image_delete(&vfs->wal), SQLITE_IOERR_TRUNCATE);
	vfs->wal.size = min_u64(vfs->wal.size, (uint64_t)size);
	return SQLITE_OK;
}

static int wal_sync(sqlite3_file *f, int flags)
{
	return area_sqlite_code(wal_image_sync(&file_of(f)->vfs->wal), SQLITE_IOERR_FSYNC);
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)file_of(f)->vfs->wal.size;
	return SQLITE_OK;
}

const sqlite3_io_methods area_wal_methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = wal_read,
	.xWrite = wal_write,
	.xTruncate = wal_truncate,
	.xSync = wal_sync,
	.xFileSize = wal_size,
	.xLock = file_no_lock,
	.xUnlock = file_no_lock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

/* ---- temporary files ---- */

static int temp_close(sqlite3_file *f)
{
	free(file_of(f)->bytes);
	file_of(f)->bytes = NULL;
	return SQLITE_OK;
}

static int temp_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 offset)
{
	struct area_file *t = file_of(f);
	uint64_t at = (uint64_t)offset;
	uint64_t there = at >= t->size ? 0 : min_u64((uint64_t)len, t->size - at);
	if (there)
		memcpy(buf, t->bytes + at, there);
	memset((uint8_t *)buf + there, 0, (size_t)len - there);
	return there == (uint64_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int temp_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 offset)
{
	struct area_file *t = file_of(f);
	uint64_t end = (uint64_t)offset + (uint64_t)len;
	if (end > t->capacity) {
		uint64_t capacity = round_up_u64(end * 2, 65536);
		uint8_t *bytes = realloc(t->bytes, capacity);
		if (!bytes)
			return SQLITE_IOERR_NOMEM;
		memset(bytes + t->capacity, 0, capacity - t->capacity);
		t->bytes = bytes;
		t->capacity = capacity;
	}
	memcpy(t->bytes + offset, buf, (size_t)len);
	t->size = max_u64(t->size, end);
	return SQLITE_OK;
}

static int temp_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct area_file *t = file_of(f);
	if ((uint64_t)size < t->size) {
		memset(t->bytes + size, 0, t->size - (uint64_t)size);
		t->size = (uint64_t)size;
	}
	return SQLITE_OK;
}

static int temp_sync(sqlite3_file *f, int flags)
{
	return SQLITE_OK;
}

static int temp_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)file_of(f)->size;
	return SQLITE_OK;
}

const sqlite3_io_methods area_temp_methods = {
	.iVersion = 1,
	.xClose = temp_close,
	.xRead = temp_read,
	.xWrite = temp_write,
	.xTruncate = temp_truncate,
	.xSync = temp_sync,
	.xFileSize = temp_size,
	.xLock = file_no_lock,
	.xUnlock = file_no_lock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};
