/* SPDX-License-Identifier: MIT */
/* From the columns of a row to values that can be worked with. A database can hold anything, of any
 * type, in any column, with checksums that are right: what does not pass here is damage. Nobody
 * else reads columns.
 * Pure but for the statement, whose row must be there; blobs are borrowed until it goes on. */
#ifndef STABLEFS_FS_ROW_H
#define STABLEFS_FS_ROW_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inode_attr;

/* Numbers of inodes: 1 to that. */
#define FS_INO_MAX (UINT64_C(1) << 62)

/* No file system has given out so many numbers behind the last one that still has an inode. */
#define FS_INO_GAP_MAX (UINT64_C(1) << 60)

/* May all from @next on never have been given out, where @last is the last one that has an
 * inode? */
static inline bool row_next_ino_is_legal(uint64_t last, uint64_t next)
{
	return next <= FS_INO_MAX + 1 && next <= last + FS_INO_GAP_MAX;
}

/* Cookies of entries: bits 61 to 16 a hash, bits 15 to 0 a number (dirent.c). */
#define ROW_COOKIE_NUMBERS 65536u
#define ROW_COOKIE_MAX     ((UINT64_C(1) << 62) - 1)

#define ROW_TARGET_MAX 4095u
#define ROW_XATTR_MAX  65536u

/* A reader of one row. What is out of order is named in @bad, the first one only, and reads as the
 * smallest value that is in order. */
struct row_reader {
	sqlite3_stmt *stmt;
	const char *bad; /* static text; NULL: nothing so far */
};

int64_t row_int(struct row_reader *r, int column, const char *name, int64_t min, int64_t max);
uint64_t row_u64(struct row_reader *r, int column, const char *name, uint64_t min, uint64_t max);
/* NULL and @len 0 where it is bad, or empty. */
const void *row_blob(
	struct row_reader *r, int column, const char *name, size_t min, size_t max, size_t *len);

/* The following return NULL, or what is bad: the name of a column. */

/* ROW_INODE from column @first on. */
#define ROW_INODE                                                                                  \
	"mode, nlink, uid, gid, rdev, size, blocks, atime, mtime, ctime, parent, cookie, btime"
const char *row_inode(sqlite3_stmt *stmt, int first, struct inode_attr *attr, uint64_t *blocks);

/* ROW_DIRENT from column @first on. */
#define ROW_DIRENT "cookie, name, ino, type"
struct row_dirent {
	uint64_t cookie, ino;
	uint32_t type;
	const char *name; /* without a NUL */
	size_t name_len;
};
const char *row_dirent(sqlite3_stmt *stmt, int first, struct row_dirent *out);

/* ROW_EXTENT from column 0 on: inside a file, and inside a volume of @volume_blocks. */
#define ROW_EXTENT "ino, file_block, volume_block, blocks, flags"
struct row_extent {
	uint64_t ino, file_block, volume_block, blocks;
	bool unwritten;
};
const char *row_extent(sqlite3_stmt *stmt, uint64_t volume_blocks, struct row_extent *out);

/* Type and permissions that an inode can have. */
bool row_mode_is_legal(uint32_t mode);

/* Bytes that may stand as a name in a directory. */
bool row_name_is_legal(const void *name, size_t len);

#endif
