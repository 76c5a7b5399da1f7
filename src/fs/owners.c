/* SPDX-License-Identifier: MIT */
/* Who owns what: from blocks of the volume back to files, from files to paths. */
#include "fs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_DEPTH_MAX 4096u

/* ---- extents ---- */

struct parts {
	struct fs_extent *parts; /* owned */
	size_t count, capacity;
};

static int parts_add(struct parts *p, const struct fs_extent *part)
{
	if (p->count == p->capacity) {
		size_t capacity = p->capacity ? p->capacity * 2 : 16;
		struct fs_extent *bigger = realloc(p->parts, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		p->parts = bigger;
		p->capacity = capacity;
	}
	p->parts[p->count++] = *part;
	return 0;
}

/* Add the part of @e that lies in the volume's range. */
static int parts_clip(struct parts *p, const struct fs_extent *e, uint64_t first, uint64_t end)
{
	uint64_t from = max_u64(e->volume_block, first);
	uint64_t to = min_u64(e->volume_block + e->blocks, end);
	if (from >= to)
		return 0;
	struct fs_extent part = {e->ino, e->file_block + (from - e->volume_block), from, to - from};
	return parts_add(p, &part);
}

static int map_parts(struct inode *inode, struct parts *out, uint64_t first, uint64_t end)
{
	int ret = 0;
	uint64_t at = 0;
	struct extent e;
	pthread_mutex_lock(&inode->lock);
	while (ret == 0 && extent_map_find(&inode->map, at, &e)) {
		struct fs_extent x = {inode->ino, e.file_block, e.volume_block, e.blocks};
		ret = parts_clip(out, &x, first, end);
		at = extent_end(&e);
	}
	pthread_mutex_unlock(&inode->lock);
	return ret;
}

int fs_file_extents(struct fs *fs, uint64_t ino,
	bool (*each)(void *ctx, const struct fs_extent *extent), void *ctx)
{
	struct inode *inode;
	struct parts parts = {0};
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	ret = inode_load_map(fs, inode);
	if (ret == 0)
		ret = map_parts(inode, &parts, 0, UINT64_MAX);
	inode_unpin(fs, inode);
	for (size_t i = 0; i < parts.count && ret == 0; i++) {
		if (!each(ctx, &parts.parts[i]))
			break;
	}
	free(parts.parts);
	return ret;
}

/* ---- owners ---- */

/* Files whose rows are out of date: their maps are asked instead. Pinned. */
struct changed_inodes {
	struct inode **inodes; /* owned */
	size_t count;
};

static int changed_collect(struct fs *fs, struct changed_inodes *out)
{
	pthread_mutex_lock(&fs->table.lock);
	out->inodes = calloc(fs->table.dirty_count + 1, sizeof(struct inode *));
	list_for_each (n, &fs->table.dirty) {
		struct inode *inode = container_of(n, struct inode, dirty);
		if (!out->inodes || !inode->map_loaded || out->count == fs->table.dirty_count)
			continue;
		inode->pins++;
		out->inodes[out->count++] = inode;
	}
	pthread_mutex_unlock(&fs->table.lock);
	return out->inodes ? 0 : -ENOMEM;
}

static bool changed_has(const struct changed_inodes *c, uint64_t ino)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->inodes[i]->ino == ino)
			return true;
	}
	return false;
}

/* From the last extent that begins at or before the range. */
static int rows_first(struct fs *fs, uint64_t first, uint64_t *from)
{
	int ret = db_run(&fs->db, DB_EXTENT_AT, "u", first);
	struct row_reader row = {.stmt = db_row(&fs->db, DB_EXTENT_AT)};
	*from = ret > 0 ? row_u64(&row, 0, "volume_block", 0, first) : first;
	db_end(&fs->db, DB_EXTENT_AT);
	return ret < 0 ? ret : 0;
}

static int rows_parts(struct fs *fs, const struct changed_inodes *changed, struct parts *out,
	uint64_t first, uint64_t end)
{
	uint64_t from;
	int ret = rows_first(fs, first, &from);
	if (ret < 0)
		return ret;
	ret = db_run(&fs->db, DB_EXTENT_FROM, "uu", from, end);
	uint64_t at = from;
	while (ret > 0) {
		struct row_extent row;
		ret = extent_row_read(fs, DB_EXTENT_FROM, &row);
		if (ret == 0 && row.volume_block < at)
			ret = fs_damaged(fs, row.ino, "extents that overlap in the volume");
		at = row.volume_block + row.blocks;
		struct fs_extent e = {row.ino, row.file_block, row.volume_block, row.blocks};
		if (ret == 0)
			ret = changed_has(changed, e.ino) ? 0 : parts_clip(out, &e, first, end);
		if (ret == 0)
			ret = db_next(&fs->db, DB_EXTENT_FROM);
	}
	db_end(&fs->db, DB_EXTENT_FROM);
	return ret;
}

static int by_volume_block(const void *a, const void *b)
{
	const struct fs_extent *x = a, *y = b;
	return x->volume_block < y->volume_block ? -1 : x->volume_block > y->volume_block;
}

int fs_owners(struct fs *fs, uint64_t volume_block, uint64_t blocks,
	bool (*each)(void *ctx, const struct fs_extent *part), void *ctx)
{
	struct parts parts = {0};
	struct changed_inodes changed = {0};
	uint64_t end = blocks > UINT64_MAX - volume_block ? UINT64_MAX : volume_block + blocks;
	pthread_mutex_lock(&fs->db_lock);
	int ret = changed_collect(fs, &changed);
	if (ret == 0)
		ret = rows_parts(fs, &changed, &parts, volume_block, min_u64(end, INT64_MAX));
	pthread_mutex_unlock(&fs->db_lock);
	for (size_t i = 0; i < changed.count; i++) {
		if (ret == 0)
			ret = map_parts(changed.inodes[i], &parts, volume_block, end);
		inode_unpin(fs, changed.inodes[i]);
	}
	free(changed.inodes);
	if (parts.count)
		qsort(parts.parts, parts.count, sizeof(struct fs_extent), by_volume_block);
	for (size_t i = 0; i < parts.count && ret == 0; i++) {
		if (!each(ctx, &parts.parts[i]))
			break;
	}
	free(parts.parts);
	return ret;
}

/* ---- paths: db_lock held ---- */

/* The entry that the inode remembers, if it still leads there. 1: yes. */
static int entry_remembered(struct fs *fs, const struct inode_attr *a, uint64_t ino, char *name)
{
	struct row_dirent row = {0};
	int ret = db_run(&fs->db, DB_DIRENT_AT, "uu", a->parent, a->cookie);
	if (ret > 0)
		ret = dirent_row_read(fs, DB_DIRENT_AT, a->parent, &row) < 0 ? -EUCLEAN : 1;
	if (ret > 0 && row.ino == ino) {
		memcpy(name, row.name, row.name_len);
		name[row.name_len] = '\0';
	} else if (ret > 0) {
		ret = 0;
	}
	db_end(&fs->db, DB_DIRENT_AT);
	return ret;
}

/* Any entry that leads to the inode: a link that it remembered has gone. */
static int entry_search(struct fs *fs, struct inode_attr *a, uint64_t ino, char *name)
{
	struct row_reader row = {.stmt = db_row(&fs->db, DB_DIRENT_OF)};
	int ret = db_run(&fs->db, DB_DIRENT_OF, "u", ino);
	if (ret > 0) {
		a->parent = row_u64(&row, 0, "parent", 0, FS_INO_MAX);
		a->cookie = row_u64(&row, 1, "cookie", 0, ROW_COOKIE_MAX);
	}
	db_end(&fs->db, DB_DIRENT_OF);
	return ret > 0 ? entry_remembered(fs, a, ino, name) : ret;
}

/* One step towards the root: the name of @ino and its directory. -ENOENT: no link. */
static int step_up(struct fs *fs, uint64_t ino, char *name, uint64_t *parent)
{
	struct inode *inode;
	int ret = inode_get_locked(fs, ino, &inode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	struct inode_attr a = inode->attr;
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	if (a.nlink == 0)
		return -ENOENT;
	ret = entry_remembered(fs, &a, ino, name);
	if (ret == 0)
		ret = entry_search(fs, &a, ino, name);
	*parent = a.parent;
	return ret > 0 ? 0 : ret < 0 ? ret : -ENOENT;
}

/* Built from the end of @path backwards; returns where it begins. */
static int path_build(struct fs *fs, uint64_t ino, char *path, size_t size, size_t *start)
{
	size_t at = size - 1;
	path[at] = '\0';
	for (unsigned depth = 0; ino != FS_ROOT_INO; depth++) {
		char name[FS_NAME_MAX + 1];
		uint64_t parent;
		int ret = step_up(fs, ino, name, &parent);
		if (ret < 0)
			return ret;
		size_t len = strlen(name);
		if (at < len + 1 || depth > PATH_DEPTH_MAX)
			return -ENAMETOOLONG;
		at -= len + 1;
		path[at] = '/';
		memcpy(path + at + 1, name, len);
		ino = parent;
	}
	if (path[at] == '\0') {
		if (at == 0)
			return -ENAMETOOLONG;
		path[--at] = '/';
	}
	*start = at;
	return 0;
}

int fs_path(struct fs *fs, uint64_t ino, char *path, size_t size)
{
	size_t start;
	if (size == 0)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&fs->db_lock);
	int ret = path_build(fs, ino, path, size, &start);
	pthread_mutex_unlock(&fs->db_lock);
	if (ret == 0)
		memmove(path, path + start, size - start);
	else if (ret == -ENOENT)
		ret = snprintf(path, size, "(unlinked inode %llu)", (unsigned long long)ino) <
				      (int)size
			      ? 0
			      : -ENAMETOOLONG;
	return ret;
}

static int resolve_locked(struct fs *fs, const char *path, uint64_t *ino)
{
	*ino = FS_ROOT_INO;
	while (*path) {
		char name[FS_NAME_MAX + 1];
		size_t len = strcspn(path, "/");
		if (len > FS_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, len);
		name[len] = '\0';
		path += len;
		path += strspn(path, "/");
		struct dirent_row entry;
		if (len == 0 || strcmp(name, ".") == 0)
			continue;
		int ret = dirent_find(fs, *ino, name, &entry);
		if (ret < 0)
			return ret;
		*ino = entry.ino;
	}
	return 0;
}

int fs_resolve(struct fs *fs, const char *path, uint64_t *ino)
{
	if (path[0] != '/')
		return -EINVAL;
	pthread_mutex_lock(&fs->db_lock);
	int ret = resolve_locked(fs, path + 1, ino);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}
