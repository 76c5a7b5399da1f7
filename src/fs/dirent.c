/* SPDX-License-Identifier: MIT */
/* Directory entries. An entry's cookie is a hash of its name and a number among those of equal
 * hash:
 *
 *	bit 61 ... 16: hash (never 0)	bit 15 ... 0: number
 *
 * so one tree finds names and lists them in an order that does not change. Cookies 1 and 2 are "."
 * and "..". */
#include "fs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COOKIE_NUMBERS ROW_COOKIE_NUMBERS
#define COOKIE_HASHES  (UINT64_C(1) << 46)
#define COOKIE_DOT     1u
#define COOKIE_DOTDOT  2u
#define LIST_BATCH     64u

int name_check(const char *name)
{
	size_t len = strlen(name);
	if (len > FS_NAME_MAX)
		return -ENAMETOOLONG;
	if (len == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
		return -EINVAL;
	return 0;
}

/* FNV-1a from a key of the file system, finished by a multiplication that stirs the upper bits. */
uint64_t dirent_first_cookie(uint64_t hash_key, const char *name, size_t len)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325) ^ hash_key;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001B3);
	hash ^= hash >> 32;
	hash = (hash * UINT64_C(0x9E3779B97F4A7C15)) >> 18;
	hash &= COOKIE_HASHES - 1;
	return (hash ? hash : 1) * COOKIE_NUMBERS;
}

int dirent_row_read(struct fs *fs, enum db_statement s, uint64_t parent, struct row_dirent *out)
{
	const char *bad = row_dirent(db_row(&fs->db, s), 0, out);
	return bad ? fs_damaged(fs, parent, bad) : 0;
}

/* 1: found; 0: not, and *free is a cookie for the name; or -errno. */
static int dirent_search(
	struct fs *fs, uint64_t parent, const char *name, struct dirent_row *out, uint64_t *free)
{
	size_t len = strlen(name);
	uint64_t first = dirent_first_cookie(fs->hash_key, name, len), before = 0;
	int ret = db_run(&fs->db, DB_DIRENT_GET, "uuu", parent, first, first + COOKIE_NUMBERS - 1);
	*free = first;
	while (ret > 0) {
		struct row_dirent row;
		ret = dirent_row_read(fs, DB_DIRENT_GET, parent, &row);
		if (ret == 0 && row.cookie <= before)
			ret = fs_damaged(fs, parent, "entries out of order");
		if (ret < 0)
			break;
		if (row.name_len == len && memcmp(row.name, name, len) == 0) {
			*out = (struct dirent_row){row.cookie, row.ino, row.type};
			ret = 1;
			break;
		}
		before = row.cookie;
		if (row.cookie == *free)
			(*free)++;
		ret = db_next(&fs->db, DB_DIRENT_GET);
	}
	db_end(&fs->db, DB_DIRENT_GET);
	if (ret == 0 && *free == first + COOKIE_NUMBERS)
		return -ENOSPC;
	return ret;
}

int dirent_find(struct fs *fs, uint64_t parent, const char *name, struct dirent_row *out)
{
	uint64_t unused;
	int ret = dirent_search(fs, parent, name, out, &unused);
	return ret > 0 ? 0 : ret < 0 ? ret : -ENOENT;
}

int dirent_inode(struct fs *fs, uint64_t parent, const struct dirent_row *entry, struct inode **out)
{
	int ret = inode_get_locked(fs, entry->ino, out);
	if (ret == -ENOENT)
		return fs_damaged(fs, parent, "an entry leads to no inode");
	if (ret < 0)
		return ret;
	struct inode *inode = *out;
	pthread_mutex_lock(&inode->lock);
	uint32_t type = inode->attr.mode & S_IFMT;
	bool away = type == S_IFDIR && inode->attr.parent != parent;
	bool good = type == entry->type && inode->attr.nlink > 0 && !away;
	pthread_mutex_unlock(&inode->lock);
	if (good && entry->ino != FS_ROOT_INO)
		return 0;
	inode_unpin(fs, inode);
	*out = NULL;
	return fs_damaged(fs, entry->ino, "an entry says something else than the inode");
}

int dirent_insert(struct fs *fs, uint64_t parent, const char *name, struct inode *inode)
{
	struct dirent_row found;
	uint64_t cookie;
	int ret = dirent_search(fs, parent, name, &found, &cookie);
	if (ret != 0)
		return ret < 0 ? ret : -EEXIST;
	pthread_mutex_lock(&inode->lock);
	uint32_t type = inode->attr.mode & S_IFMT;
	pthread_mutex_unlock(&inode->lock);
	atomic_fetch_add(&fs->names_version, 1);
	ret = db_exec(&fs->db, DB_DIRENT_PUT, "uubuu", parent, cookie, name, strlen(name),
		inode->ino, (uint64_t)type);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	inode->attr.parent = parent;
	inode->attr.cookie = cookie;
	inode->attr_dirty = true;
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	return 0;
}

int dirent_delete(struct fs *fs, uint64_t parent, uint64_t cookie)
{
	atomic_fetch_add(&fs->names_version, 1);
	return db_exec(&fs->db, DB_DIRENT_DELETE, "uu", parent, cookie);
}

int dirent_any(struct fs *fs, uint64_t parent)
{
	return db_exec(&fs->db, DB_DIRENT_LIST, "uui", parent, UINT64_C(0), INT64_C(1));
}

/* ---- listing ---- */

struct entry {
	struct fs_dirent dirent;
	char name[FS_NAME_MAX + 1];
};

static void entry_set(
	struct entry *e, const void *name, size_t len, uint64_t ino, uint32_t type, uint64_t cookie)
{
	len = min_u64(len, FS_NAME_MAX);
	memcpy(e->name, name, len);
	e->name[len] = '\0';
	e->dirent = (struct fs_dirent){e->name, ino, type, cookie};
}

/* The next entries behind @cookie into @batch; how many, or -errno. */
static int entries_read(struct fs *fs, uint64_t ino, uint64_t cookie, struct entry *batch)
{
	int n = 0;
	int ret = db_run(&fs->db, DB_DIRENT_LIST, "uui", ino, cookie, (int64_t)LIST_BATCH);
	while (ret > 0) {
		struct row_dirent row;
		ret = dirent_row_read(fs, DB_DIRENT_LIST, ino, &row);
		if (ret == 0 && (row.cookie <= cookie || n == (int)LIST_BATCH))
			ret = fs_damaged(fs, ino, "entries out of order");
		if (ret < 0)
			break;
		entry_set(&batch[n++], row.name, row.name_len, row.ino, row.type, row.cookie);
		cookie = row.cookie;
		ret = db_next(&fs->db, DB_DIRENT_LIST);
	}
	db_end(&fs->db, DB_DIRENT_LIST);
	return ret < 0 ? ret : n;
}

/* False: @fill is full. */
static bool list_dots(uint64_t ino, uint64_t parent, uint64_t *cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx)
{
	if (*cookie < COOKIE_DOT) {
		struct fs_dirent dot = {".", ino, S_IFDIR, COOKIE_DOT};
		if (!fill(ctx, &dot))
			return false;
		*cookie = COOKIE_DOT;
	}
	if (*cookie < COOKIE_DOTDOT) {
		struct fs_dirent dotdot = {"..", parent, S_IFDIR, COOKIE_DOTDOT};
		if (!fill(ctx, &dotdot))
			return false;
		*cookie = COOKIE_DOTDOT;
	}
	return true;
}

static int list_entries(struct fs *fs, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx)
{
	struct entry *batch = calloc(LIST_BATCH, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	int n;
	do {
		pthread_mutex_lock(&fs->db_lock);
		n = entries_read(fs, ino, cookie, batch);
		pthread_mutex_unlock(&fs->db_lock);
		for (int i = 0; i < n; i++) {
			if (!fill(ctx, &batch[i].dirent))
				n = 0;
			cookie = batch[i].dirent.cookie;
		}
	} while (n == (int)LIST_BATCH);
	free(batch);
	return n < 0 ? n : 0;
}

int fs_readdir(struct fs *fs, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx)
{
	struct inode *inode;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	bool is_dir = S_ISDIR(inode->attr.mode);
	uint64_t parent = inode->attr.parent ? inode->attr.parent : ino;
	if (is_dir)
		inode_accessed(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	if (!is_dir)
		return -ENOTDIR;
	if (!list_dots(ino, parent, &cookie, fill, ctx))
		return 0;
	return list_entries(fs, ino, cookie, fill, ctx);
}
