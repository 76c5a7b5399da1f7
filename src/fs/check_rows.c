/* SPDX-License-Identifier: MIT */
/* Each row by itself, and beside the row before it in its table: values that can be, keys in order,
 * extents that do not overlap in their file. */
#include <errno.h>
#include <string.h>
#include "fs/check_internal.h"

/* ---- keys ---- */

static const struct {
	const char *count, *remove, *what;
} keys[] = {
#define KEYED(table, condition)                                                                    \
	"SELECT count(*) FROM " table " WHERE " condition,                                         \
		"DELETE FROM " table " WHERE " condition, table
	{KEYED("dirent", "typeof(parent) <> 'integer' OR typeof(cookie) <> 'integer'"
			 " OR parent < 1 OR cookie < 1")},
	{KEYED("extent", "typeof(ino) <> 'integer' OR typeof(file_block) <> 'integer'"
			 " OR ino < 1 OR file_block < 0")},
	{KEYED("xattr", "typeof(ino) <> 'integer' OR ino < 1")},
	{KEYED("inode", "ino < 1 OR ino > 4611686018427387904")},
	{KEYED("symlink", "ino < 1")},
};

/* Rows that nothing can find are of no use to anybody. */
static int keys_check(struct check *c)
{
	int ret = 0;
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]) && ret >= 0; i++) {
		uint64_t count = 0;
		ret = check_run(c, &count, keys[i].count, "");
		if (ret < 0 || !count)
			continue;
		check_found(c, CHECK_DATABASE, 0, "removed",
			"%llu rows of table %s whose keys cannot be", (unsigned long long)count,
			keys[i].what);
		if (c->repair)
			ret = check_run(c, NULL, keys[i].remove, "");
	}
	return ret < 0 ? ret : 0;
}

/* ---- a table, in pieces ---- */

/* Where a piece begins, and what the row before it was. */
struct scan {
	uint64_t a, b;
	uint64_t ino, end;     /* extents: of which inode, where in it free space begins */
	uint64_t parent, hash; /* entries: whose names these are */
	char names[16][FS_NAME_MAX];
	size_t lens[16], count;
};

/* Read rows from scan->a, b on until @row has noted enough, mend, go on. */
static int table_scan(struct check *c, struct scan *s, const char *sql,
	int (*row)(struct check *c, struct scan *s, sqlite3_stmt *stmt))
{
	for (;;) {
		sqlite3_stmt *stmt = NULL;
		int ret = check_prepare(c, sql, &stmt);
		if (ret == 0)
			ret = check_bind(stmt, sqlite3_bind_parameter_count(stmt) > 1 ? "uu" : "u",
				s->a, s->b);
		while (ret == 0 && !fixes_full(c) && (ret = check_next(c, stmt)) > 0) {
			ret = row(c, s, stmt);
			if (ret == 0)
				ret = check_step(c);
		}
		sqlite3_finalize(stmt);
		bool more = ret == 0 && fixes_full(c);
		if (ret == 0 && c->repair)
			ret = fixes_apply(c);
		if (ret < 0 || !more)
			return ret;
	}
}

/* ---- inodes ---- */

static int inode_row(struct check *c, struct scan *s, sqlite3_stmt *stmt)
{
	struct inode_attr a;
	uint64_t blocks, ino = (uint64_t)sqlite3_column_int64(stmt, 0);
	const char *bad = row_inode(stmt, 1, &a, &blocks);
	s->a = ino + 1;
	if (!bad)
		return 0;
	check_found(c, CHECK_INODE, ino, "set to what can be", "its row is damaged (%s)", bad);
	return fixes_add(c, FIX_INODE, ino, 0, 0);
}

/* ---- entries ---- */

/* Is the name among those of the same hash in the same directory? */
static bool name_is_double(struct scan *s, uint64_t parent, const struct row_dirent *d)
{
	uint64_t hash = d->cookie / ROW_COOKIE_NUMBERS;
	if (s->parent != parent || s->hash != hash)
		s->count = 0;
	s->parent = parent;
	s->hash = hash;
	for (size_t i = 0; i < s->count; i++) {
		if (s->lens[i] == d->name_len && memcmp(s->names[i], d->name, d->name_len) == 0)
			return true;
	}
	if (s->count < 16) {
		memcpy(s->names[s->count], d->name, d->name_len);
		s->lens[s->count++] = d->name_len;
	}
	return false;
}

static const char *entry_fault(
	struct check *c, struct scan *s, uint64_t parent, const struct row_dirent *d)
{
	uint64_t first = dirent_first_cookie(c->hash_key, d->name, d->name_len);
	if (d->cookie - first >= ROW_COOKIE_NUMBERS)
		return "the cookie is not its name's";
	return name_is_double(s, parent, d) ? "there is another one of that name" : NULL;
}

static int entry_row(struct check *c, struct scan *s, sqlite3_stmt *stmt)
{
	struct row_dirent d;
	uint64_t parent = (uint64_t)sqlite3_column_int64(stmt, 0);
	uint64_t cookie = (uint64_t)sqlite3_column_int64(stmt, 1);
	const char *bad = row_dirent(stmt, 1, &d);
	s->a = parent;
	s->b = cookie + 1;
	if (!bad)
		bad = entry_fault(c, s, parent, &d);
	if (!bad)
		return 0;
	check_found(c, CHECK_ENTRY, parent, "the entry was made anew",
		"an entry of the directory is damaged: \"%.*s\" (%s)", (int)d.name_len,
		d.name ? d.name : "", bad);
	return fixes_add(c, FIX_ENTRY, parent, parent, cookie);
}

/* ---- extents ---- */

static int extent_row(struct check *c, struct scan *s, sqlite3_stmt *stmt)
{
	struct row_extent e;
	uint64_t ino = (uint64_t)sqlite3_column_int64(stmt, 0);
	uint64_t at = (uint64_t)sqlite3_column_int64(stmt, 1);
	const char *bad = row_extent(stmt, c->volume_blocks, &e);
	s->a = ino;
	s->b = at + 1;
	if (s->ino != ino)
		s->end = 0;
	s->ino = ino;
	if (bad) {
		check_found(c, CHECK_EXTENT, ino, "cut out: a hole is left",
			"its extent at block %llu cannot be (%s)", (unsigned long long)at, bad);
		return fixes_add(c, FIX_EXTENT, ino, at, 0);
	}
	c->out->used_blocks += e.blocks;
	uint64_t free = s->end;
	s->end = max_u64(s->end, at + e.blocks);
	if (at >= free)
		return 0;
	check_found(c, CHECK_EXTENT, ino, "the second one was cut",
		"two of its extents overlap at block %llu of the file", (unsigned long long)at);
	return fixes_add(c, FIX_EXTENT, ino, at, free);
}

/* ---- symbolic links, attributes ---- */

static int symlink_row(struct check *c, struct scan *s, sqlite3_stmt *stmt)
{
	struct row_reader row = {.stmt = stmt};
	uint64_t ino = (uint64_t)sqlite3_column_int64(stmt, 0);
	size_t len;
	const void *target = row_blob(&row, 1, "target", 1, ROW_TARGET_MAX, &len);
	s->a = ino + 1;
	if (target && !memchr(target, '\0', len))
		return 0;
	check_found(c, CHECK_SYMLINK, ino, "removed", "the target of the symbolic link cannot be");
	return fixes_add(c, FIX_SYMLINK_DELETE, ino, 0, 0);
}

/* A piece ends only between two inodes: all bad attributes of one go at once. */
static int xattr_row(struct check *c, struct scan *s, sqlite3_stmt *stmt)
{
	struct row_reader row = {.stmt = stmt};
	uint64_t ino = (uint64_t)sqlite3_column_int64(stmt, 0);
	size_t name_len, value_len;
	const void *name = row_blob(&row, 1, "name", 1, FS_NAME_MAX, &name_len);
	(void)row_blob(&row, 2, "value", 0, ROW_XATTR_MAX, &value_len);
	s->a = ino;
	bool bad = row.bad || memchr(name, '\0', name_len);
	if (!bad || s->end == ino)
		return 0;
	s->end = ino; /* said */
	check_found(c, CHECK_XATTR, ino, "removed", "an extended attribute cannot be (%s)",
		row.bad ? row.bad : "name");
	return fixes_add(c, FIX_XATTRS, ino, 0, 0);
}

int check_rows(struct check *c)
{
	static const struct {
		const char *sql;
		int (*row)(struct check *c, struct scan *s, sqlite3_stmt *stmt);
	} tables[] = {
		{"SELECT ino, " ROW_INODE " FROM inode WHERE ino >= ?1 ORDER BY ino", inode_row},
		{"SELECT parent, " ROW_DIRENT " FROM dirent WHERE (parent, cookie) >= (?1, ?2)"
		 " ORDER BY parent, cookie",
			entry_row},
		{"SELECT " ROW_EXTENT " FROM extent WHERE (ino, file_block) >= (?1, ?2)"
		 " ORDER BY ino, file_block",
			extent_row},
		{"SELECT ino, target FROM symlink WHERE ino >= ?1 ORDER BY ino", symlink_row},
		{"SELECT ino, name, value FROM xattr WHERE ino >= ?1 ORDER BY ino", xattr_row},
	};
	int ret = keys_check(c);
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]) && ret == 0; i++) {
		struct scan s = {.a = 1};
		ret = table_scan(c, &s, tables[i].sql, tables[i].row);
	}
	return ret;
}

/* ---- blocks of two ---- */

struct owner {
	uint64_t ino, end; /* of the volume, up to here */
};

static int shared_row(struct check *c, struct owner *o, sqlite3_stmt *stmt)
{
	uint64_t at = (uint64_t)sqlite3_column_int64(stmt, 0);
	uint64_t blocks = (uint64_t)sqlite3_column_int64(stmt, 1);
	uint64_t ino = (uint64_t)sqlite3_column_int64(stmt, 2);
	uint64_t file_block = (uint64_t)sqlite3_column_int64(stmt, 3);
	struct owner before = *o;
	if (at >= c->volume_blocks || !blocks || blocks > c->volume_blocks - at)
		return 0; /* named already */
	if (at + blocks > o->end)
		*o = (struct owner){ino, at + blocks};
	if (at >= before.end)
		return 0;
	check_found(c, CHECK_SHARED, ino, "cut out of this one: a hole is left",
		"%llu blocks from block %llu of the file on are those of inode %llu too: what"
		" they hold may be either's",
		(unsigned long long)(min_u64(before.end, at + blocks) - at),
		(unsigned long long)file_block, (unsigned long long)before.ino);
	return fixes_add(c, FIX_EXTENT_SHARED, ino, file_block, before.end);
}

/* In order of the volume. What is cut is not looked at again: it ends where the other one does. */
int check_shared(struct check *c)
{
	sqlite3_stmt *stmt = NULL;
	struct owner owner = {0};
	int ret = check_prepare(c,
		"SELECT volume_block, blocks, ino, file_block FROM extent"
		" ORDER BY volume_block, ino, file_block",
		&stmt);
	while (ret == 0 && (ret = check_next(c, stmt)) > 0) {
		ret = shared_row(c, &owner, stmt);
		if (ret == 0)
			ret = check_step(c);
	}
	sqlite3_finalize(stmt);
	return ret;
}
