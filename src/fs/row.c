/* SPDX-License-Identifier: MIT */
/* Columns, checked. */
#include "fs/row.h"

#include <string.h>
#include <sys/stat.h>
#include "fs/internal.h"

#define MODE_BITS      07777u
#define FLAG_UNWRITTEN 1u

static void bad(struct row_reader *r, const char *name)
{
	if (!r->bad)
		r->bad = name;
}

int64_t row_int(struct row_reader *r, int column, const char *name, int64_t min, int64_t max)
{
	if (sqlite3_column_type(r->stmt, column) == SQLITE_INTEGER) {
		int64_t value = sqlite3_column_int64(r->stmt, column);
		if (value >= min && value <= max)
			return value;
	}
	bad(r, name);
	return min;
}

uint64_t row_u64(struct row_reader *r, int column, const char *name, uint64_t min, uint64_t max)
{
	return (uint64_t)row_int(r, column, name, (int64_t)min, (int64_t)max);
}

const void *row_blob(
	struct row_reader *r, int column, const char *name, size_t min, size_t max, size_t *len)
{
	*len = 0;
	if (sqlite3_column_type(r->stmt, column) == SQLITE_BLOB) {
		const void *bytes = sqlite3_column_blob(r->stmt, column);
		size_t n = (size_t)sqlite3_column_bytes(r->stmt, column);
		if (n >= min && n <= max && (bytes || n == 0)) {
			*len = n;
			return bytes;
		}
	}
	bad(r, name);
	return NULL;
}

/* ---- inodes ---- */

static bool is_type(uint64_t type)
{
	switch (type) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

bool row_mode_is_legal(uint32_t mode)
{
	return (mode & ~(uint32_t)(S_IFMT | MODE_BITS)) == 0 && is_type(mode & S_IFMT);
}

const char *row_inode(sqlite3_stmt *stmt, int first, struct inode_attr *attr, uint64_t *blocks)
{
	struct row_reader r = {.stmt = stmt};
	*attr = (struct inode_attr){
		.mode = (uint32_t)row_u64(&r, first, "mode", 0, S_IFMT | MODE_BITS),
		.nlink = (uint32_t)row_u64(&r, first + 1, "nlink", 0, UINT32_MAX),
		.uid = (uint32_t)row_u64(&r, first + 2, "uid", 0, UINT32_MAX),
		.gid = (uint32_t)row_u64(&r, first + 3, "gid", 0, UINT32_MAX),
		.rdev = row_u64(&r, first + 4, "rdev", 0, INT64_MAX),
		.size = row_u64(&r, first + 5, "size", 0, FS_MAX_BYTES),
		.atime = row_int(&r, first + 7, "atime", INT64_MIN, INT64_MAX),
		.mtime = row_int(&r, first + 8, "mtime", INT64_MIN, INT64_MAX),
		.ctime = row_int(&r, first + 9, "ctime", INT64_MIN, INT64_MAX),
		.parent = row_u64(&r, first + 10, "parent", 0, FS_INO_MAX),
		.cookie = row_u64(&r, first + 11, "cookie", 0, ROW_COOKIE_MAX),
		.btime = row_int(&r, first + 12, "btime", INT64_MIN, INT64_MAX),
	};
	*blocks = row_u64(&r, first + 6, "blocks", 0, FS_MAX_BLOCKS);
	if (!row_mode_is_legal(attr->mode))
		bad(&r, "mode");
	return r.bad;
}

/* ---- entries ---- */

bool row_name_is_legal(const void *name, size_t len)
{
	const char *bytes = name;
	if (len == 0 || len > FS_NAME_MAX || memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	return !(bytes[0] == '.' && (len == 1 || (len == 2 && bytes[1] == '.')));
}

const char *row_dirent(sqlite3_stmt *stmt, int first, struct row_dirent *out)
{
	struct row_reader r = {.stmt = stmt};
	*out = (struct row_dirent){
		.cookie = row_u64(&r, first, "cookie", ROW_COOKIE_NUMBERS, ROW_COOKIE_MAX),
		.ino = row_u64(&r, first + 2, "ino", FS_ROOT_INO, FS_INO_MAX),
		.type = (uint32_t)row_u64(&r, first + 3, "type", 0, S_IFMT),
	};
	out->name = row_blob(&r, first + 1, "name", 1, FS_NAME_MAX, &out->name_len);
	if (out->name && !row_name_is_legal(out->name, out->name_len))
		bad(&r, "name");
	if (!is_type(out->type))
		bad(&r, "type");
	return r.bad;
}

/* ---- extents ---- */

const char *row_extent(sqlite3_stmt *stmt, uint64_t volume_blocks, struct row_extent *out)
{
	struct row_reader r = {.stmt = stmt};
	*out = (struct row_extent){
		.ino = row_u64(&r, 0, "ino", FS_ROOT_INO, FS_INO_MAX),
		.file_block = row_u64(&r, 1, "file_block", 0, FS_MAX_BLOCKS - 1),
		.volume_block = row_u64(&r, 2, "volume_block", 0, volume_blocks - 1),
		.blocks = row_u64(&r, 3, "blocks", 1, FS_MAX_BLOCKS),
		.unwritten = row_u64(&r, 4, "flags", 0, FLAG_UNWRITTEN),
	};
	if (out->blocks > FS_MAX_BLOCKS - out->file_block ||
		out->blocks > volume_blocks - out->volume_block)
		bad(&r, "blocks");
	return r.bad;
}
