/* SPDX-License-Identifier: MIT */
/* Names that the checker gives: to entries that are out of order, and to inodes without one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fs/check_internal.h"

#define LOST_FOUND "lost+found"
#define TRIES      1000u

/* A cookie for the name. -EEXIST: there is such a name; -ENOSPC: all cookies are taken. */
static int cookie_find(
	struct check *c, uint64_t parent, const char *name, size_t len, uint64_t *cookie)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t first = dirent_first_cookie(c->hash_key, name, len);
	int ret = check_prepare(c,
		"SELECT " ROW_DIRENT " FROM dirent WHERE parent = ?1 AND cookie BETWEEN ?2 AND ?3"
		" ORDER BY cookie",
		&stmt);
	if (ret == 0)
		ret = check_bind(stmt, "uuu", parent, first, first + ROW_COOKIE_NUMBERS - 1);
	*cookie = first;
	while (ret == 0 && (ret = check_next(c, stmt)) > 0) {
		struct row_dirent row;
		(void)row_dirent(stmt, 0, &row);
		bool same = row.name_len == len && memcmp(row.name, name, len) == 0;
		*cookie += row.cookie == *cookie;
		ret = same ? -EEXIST : 0;
	}
	sqlite3_finalize(stmt);
	return ret == 0 && *cookie >= first + ROW_COOKIE_NUMBERS ? -ENOSPC : ret;
}

static int entry_insert(
	struct check *c, uint64_t parent, const char *name, size_t len, uint64_t ino)
{
	uint64_t cookie, mode = 0;
	int ret = check_run(c, &mode, "SELECT mode FROM inode WHERE ino = ?1", "u", ino);
	if (ret <= 0)
		return ret < 0 ? ret : -ENOENT;
	ret = cookie_find(c, parent, name, len, &cookie);
	if (ret < 0)
		return ret;
	ret = check_run(c, NULL, "INSERT INTO dirent VALUES(?1, ?2, ?3, ?4, ?5)", "uubuu", parent,
		cookie, name, len, ino, mode & S_IFMT);
	if (ret == 0 && S_ISDIR(mode))
		ret = check_run(c, NULL, "UPDATE inode SET parent = ?2, cookie = ?3 WHERE ino = ?1",
			"uuu", ino, parent, cookie);
	return ret;
}

int names_put(struct check *c, uint64_t parent, const char *name, size_t len, uint64_t ino)
{
	int ret = name ? entry_insert(c, parent, name, len, ino) : -EEXIST;
	for (unsigned i = 0; i < TRIES && ret == -EEXIST; i++) {
		char own[64];
		int n = snprintf(
			own, sizeof(own), i ? "#%llu.%u" : "#%llu", (unsigned long long)ino, i);
		ret = entry_insert(c, parent, own, (size_t)n, ino);
	}
	return ret;
}

/* ---- lost+found ---- */

static int lost_found_find(struct check *c)
{
	uint64_t first = dirent_first_cookie(c->hash_key, LOST_FOUND, strlen(LOST_FOUND));
	int ret = check_run(c, &c->lost_found,
		"SELECT d.ino FROM dirent d JOIN inode i ON i.ino = d.ino WHERE d.parent = 1"
		" AND d.cookie BETWEEN ?1 AND ?2 AND d.name = ?3 AND d.type = 16384"
		" AND (i.mode & 61440) = 16384 AND i.parent = 1",
		"uub", first, first + ROW_COOKIE_NUMBERS - 1, LOST_FOUND, strlen(LOST_FOUND));
	return ret < 0 ? ret : ret > 0;
}

/* Numbers are given out once, unless none is left: then it is the first that no inode has. */
static int number_new(struct check *c, uint64_t *ino)
{
	uint64_t last = 0, promised = 0;
	int ret = check_run(c, &last, "SELECT max(ino) FROM inode", "");
	if (ret >= 0)
		ret = check_run(c, &promised, "SELECT value FROM meta WHERE key = 'next_ino'", "");
	if (ret < 0)
		return ret;
	*ino = max_u64(last + 1, row_next_ino_is_legal(last, promised) ? promised : 0);
	if (*ino <= FS_INO_MAX)
		return 0;
	ret = check_run(c, ino,
		"SELECT min(ino) + 1 FROM inode i"
		" WHERE NOT EXISTS (SELECT 1 FROM inode WHERE ino = i.ino + 1)",
		"");
	return ret < 0 ? ret : 0;
}

static int lost_found_make(struct check *c)
{
	uint64_t ino = 0;
	int64_t now = time_now_ns();
	int ret = number_new(c, &ino);
	if (ret < 0)
		return ret;
	ret = check_run(c, NULL,
		"INSERT INTO inode(ino, mode, nlink, uid, gid, rdev, size, blocks, atime, mtime,"
		" ctime, parent, cookie, btime)"
		" VALUES(?1, ?2, 2, 0, 0, 0, 0, 0, ?3, ?3, ?3, 1, 0, ?3)",
		"uui", ino, (uint64_t)(S_IFDIR | 0700), now);
	if (ret == 0)
		ret = names_put(c, FS_ROOT_INO, LOST_FOUND, strlen(LOST_FOUND), ino);
	if (ret == 0)
		c->lost_found = ino;
	return ret;
}

int names_connect(struct check *c, uint64_t ino)
{
	int ret = c->lost_found ? 1 : lost_found_find(c);
	if (ret == 0)
		ret = lost_found_make(c);
	return ret < 0 ? ret : names_put(c, c->lost_found, NULL, 0, ino);
}

/* ---- an entry anew ---- */

/* It goes; and where there is an inode behind it, another one comes. */
int names_renew(struct check *c, uint64_t parent, uint64_t cookie)
{
	sqlite3_stmt *stmt = NULL;
	struct row_dirent row = {0};
	char name[FS_NAME_MAX];
	int ret = check_prepare(
		c, "SELECT " ROW_DIRENT " FROM dirent WHERE parent = ?1 AND cookie = ?2", &stmt);
	if (ret == 0)
		ret = check_bind(stmt, "uu", parent, cookie);
	if (ret == 0)
		ret = check_next(c, stmt);
	if (ret > 0)
		(void)row_dirent(stmt, 0, &row);
	bool legal = row.name && row_name_is_legal(row.name, row.name_len);
	size_t len = legal ? row.name_len : 0;
	if (legal)
		memcpy(name, row.name, len);
	sqlite3_finalize(stmt);
	if (ret <= 0)
		return ret;
	ret = check_run(c, NULL, "DELETE FROM dirent WHERE parent = ?1 AND cookie = ?2", "uu",
		parent, cookie);
	if (ret == 0)
		ret = names_put(c, parent, legal ? name : NULL, len, row.ino);
	return ret == -ENOENT ? 0 : ret;
}
