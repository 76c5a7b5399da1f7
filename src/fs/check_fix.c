/* SPDX-License-Identifier: MIT */
/* What is mended, and how: each fix is a few rows, within a transaction that ends when the log is
 * full. */
#include <errno.h>
#include <stdlib.h>
#include "fs/check_internal.h"

int fixes_add(struct check *c, enum fix_kind kind, uint64_t ino, uint64_t a, uint64_t b)
{
	struct fixes *f = &c->fixes;
	if (!c->repair)
		return 0;
	if (f->count == f->capacity) {
		size_t capacity = f->capacity ? f->capacity * 2 : 256;
		struct fix *bigger = realloc(f->list, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		f->list = bigger;
		f->capacity = capacity;
	}
	f->list[f->count++] = (struct fix){kind, ino, a, b};
	return 0;
}

int check_commit(struct check *c)
{
	int ret = db_errno(sqlite3_get_autocommit(c->db.handle)
				   ? SQLITE_OK
				   : sqlite3_exec(c->db.handle, "COMMIT", NULL, NULL, NULL));
	return ret < 0 ? ret : db_checkpoint(&c->db);
}

static int begin(struct check *c)
{
	int ret = 0;
	if (db_log_is_full(&c->db))
		ret = check_commit(c);
	if (ret == 0 && sqlite3_get_autocommit(c->db.handle))
		ret = db_errno(sqlite3_exec(c->db.handle, "BEGIN IMMEDIATE", NULL, NULL, NULL));
	return ret;
}

/* ---- inodes ---- */

/* Is there a row of it in a table? */
static bool has(struct check *c, const char *sql, uint64_t ino)
{
	return check_run(c, NULL, sql, "u", ino) > 0;
}

/* The type that what belongs to it speaks for. */
static uint32_t type_guess(struct check *c, uint64_t ino)
{
	if (has(c, "SELECT 1 FROM dirent WHERE parent = ?1 LIMIT 1", ino) || ino == FS_ROOT_INO)
		return S_IFDIR;
	if (has(c, "SELECT 1 FROM symlink WHERE ino = ?1", ino))
		return S_IFLNK;
	return S_IFREG;
}

static uint32_t mode_for(uint32_t type)
{
	return type | (type == S_IFDIR ? 0700u : type == S_IFLNK ? 0777u : 0600u);
}

/* Everything that is in order stays; the rest becomes the least that can be. */
static int inode_renew(struct check *c, uint64_t ino)
{
	sqlite3_stmt *stmt = NULL;
	struct inode_attr a = {0};
	uint64_t blocks = 0;
	int ret = check_prepare(c, "SELECT " ROW_INODE " FROM inode WHERE ino = ?1", &stmt);
	if (ret == 0)
		ret = check_bind(stmt, "u", ino);
	if (ret == 0)
		ret = check_next(c, stmt);
	if (ret > 0)
		(void)row_inode(stmt, 0, &a, &blocks);
	sqlite3_finalize(stmt);
	if (ret <= 0)
		return ret;
	if (!row_mode_is_legal(a.mode))
		a.mode = mode_for(type_guess(c, ino));
	return check_run(c, NULL,
		"UPDATE inode SET mode = ?2, nlink = ?3, uid = ?4, gid = ?5, rdev = ?6, size = ?7,"
		" blocks = ?8, atime = ?9, mtime = ?10, ctime = ?11, parent = ?12, cookie = ?13,"
		" btime = ?14 WHERE ino = ?1",
		"uuuuuuuuiiiuui", ino, (uint64_t)a.mode, (uint64_t)a.nlink, (uint64_t)a.uid,
		(uint64_t)a.gid, a.rdev, a.size, blocks, a.atime, a.mtime, a.ctime, a.parent,
		a.cookie, a.btime);
}

static int inode_make(struct check *c, const struct fix *f)
{
	int64_t now = time_now_ns();
	return check_run(c, NULL,
		"INSERT OR REPLACE INTO inode(ino, mode, nlink, uid, gid, rdev, size, blocks,"
		" atime, mtime, ctime, parent, cookie, btime)"
		" VALUES(?1, ?2, ?3, 0, 0, 0, ?4, 0, ?5, ?5, ?5, ?6, 0, ?5)",
		"uuuuiu", f->ino, f->a, S_ISDIR(f->a) ? UINT64_C(2) : UINT64_C(1), f->b, now,
		f->ino == FS_ROOT_INO ? FS_ROOT_INO : UINT64_C(0));
}

static int inode_delete(struct check *c, uint64_t ino)
{
	static const char *const sqls[] = {"DELETE FROM extent WHERE ino = ?1",
		"DELETE FROM symlink WHERE ino = ?1", "DELETE FROM xattr WHERE ino = ?1",
		"DELETE FROM inode WHERE ino = ?1"};
	int ret = 0;
	for (unsigned i = 0; i < sizeof(sqls) / sizeof(sqls[0]) && ret >= 0; i++)
		ret = check_run(c, NULL, sqls[i], "u", ino);
	return ret;
}

/* ---- extents ---- */

/* Take the row out, and say what it was. False: it could not be used. */
static int extent_take(struct check *c, const struct fix *f, struct row_extent *out, bool *usable)
{
	sqlite3_stmt *stmt = NULL;
	int ret = check_prepare(
		c, "SELECT " ROW_EXTENT " FROM extent WHERE ino = ?1 AND file_block = ?2", &stmt);
	if (ret == 0)
		ret = check_bind(stmt, "uu", f->ino, f->a);
	if (ret == 0)
		ret = check_next(c, stmt);
	const char *bad = ret > 0 ? row_extent(stmt, c->volume_blocks, out) : "";
	sqlite3_finalize(stmt);
	*usable = !bad;
	return ret < 0 ? ret
		       : check_run(c, NULL, "DELETE FROM extent WHERE ino = ?1 AND file_block = ?2",
				 "uu", f->ino, f->a);
}

/* What lies before @f->b, in the file or in the volume, is another extent's. */
static int extent_cut(struct check *c, const struct fix *f)
{
	struct row_extent e;
	bool usable;
	int ret = extent_take(c, f, &e, &usable);
	if (ret < 0 || !usable)
		return ret;
	uint64_t from = f->kind == FIX_EXTENT ? e.file_block : e.volume_block;
	uint64_t skip = f->b > from ? f->b - from : 0;
	if (skip >= e.blocks)
		return 0;
	return check_run(c, NULL, "INSERT OR IGNORE INTO extent VALUES(?1, ?2, ?3, ?4, ?5)",
		"uuuuu", e.ino, e.file_block + skip, e.volume_block + skip, e.blocks - skip,
		(uint64_t)e.unwritten);
}

/* ---- one fix ---- */

static int fix_row(struct check *c, const struct fix *f)
{
	switch (f->kind) {
	case FIX_INODE:
		return inode_renew(c, f->ino);
	case FIX_INODE_MAKE:
		return inode_make(c, f);
	case FIX_INODE_DELETE:
		return inode_delete(c, f->ino);
	case FIX_ENTRY:
		return names_renew(c, f->a, f->b);
	case FIX_ENTRY_DELETE:
		return check_run(c, NULL, "DELETE FROM dirent WHERE parent = ?1 AND cookie = ?2",
			"uu", f->a, f->b);
	case FIX_EXTENT:
	case FIX_EXTENT_SHARED:
		return extent_cut(c, f);
	case FIX_CONNECT:
		return names_connect(c, f->ino);
	default:
		return -EINVAL;
	}
}

static const char *simple_sql(enum fix_kind kind)
{
	switch (kind) {
	case FIX_LINKS:
		return "UPDATE inode SET nlink = ?2 WHERE ino = ?1";
	case FIX_BLOCKS:
		return "UPDATE inode SET blocks = ?2 WHERE ino = ?1";
	case FIX_SIZE:
		return "UPDATE inode SET size = ?2 WHERE ino = ?1";
	case FIX_PARENT:
		return "UPDATE inode SET parent = ?2, cookie = ?3 WHERE ino = ?1";
	case FIX_EXTENTS_DELETE:
		return "DELETE FROM extent WHERE ino = ?1";
	case FIX_SYMLINK_DELETE:
		return "DELETE FROM symlink WHERE ino = ?1";
	case FIX_XATTRS_DELETE:
		return "DELETE FROM xattr WHERE ino = ?1";
	case FIX_XATTRS:
		return "DELETE FROM xattr WHERE ino = ?1 AND (typeof(name) <> 'blob'"
		       " OR length(name) NOT BETWEEN 1 AND 255 OR instr(name, x'00')"
		       " OR typeof(value) <> 'blob' OR length(value) > 65536)";
	default:
		return NULL;
	}
}

static int fix_one(struct check *c, const struct fix *f)
{
	const char *sql = simple_sql(f->kind);
	if (!sql)
		return fix_row(c, f);
	const char *format = f->kind == FIX_PARENT ? "uuu" : f->kind <= FIX_SIZE ? "uu" : "u";
	return check_run(c, NULL, sql, format, f->ino, f->a, f->b);
}

int fixes_apply(struct check *c)
{
	int ret = 0;
	for (size_t i = 0; i < c->fixes.count && ret >= 0; i++) {
		ret = begin(c);
		if (ret == 0)
			ret = fix_one(c, &c->fixes.list[i]);
	}
	c->fixes.count = 0;
	return ret < 0 ? ret : 0;
}
