/* SPDX-License-Identifier: MIT */
/* Inodes that no name leads to and nothing refers to: their blocks and rows are given back.
 *
 * A file with many extents goes in steps, its inode's row last: after a crash between two steps it
 * is found by its link count of 0 and reclaimed at the next open. Rows and blocks go together in
 * each step, so no committed row ever points to a block that is free. */
#include "fs/internal.h"

#include <errno.h>

/* The last rows of the file, and what they point to. 1: there may be more. */
static int rows_cut(struct fs *fs, struct inode *inode)
{
	uint64_t first = FS_MAX_BLOCKS, most = fs_extents_at_once(fs), n = 0;
	int ret = db_run(&fs->db, DB_EXTENT_TAIL, "uu", inode->ino, most);
	while (ret > 0) {
		struct row_extent row;
		ret = extent_row_read(fs, DB_EXTENT_TAIL, &row);
		if (ret == 0 && row.file_block + row.blocks > first)
			ret = fs_damaged(fs, inode->ino, "extents that overlap in the file");
		if (ret < 0)
			break;
		first = row.file_block;
		allocator_defer(fs->allocator, row.volume_block, row.blocks);
		n++;
		ret = db_next(&fs->db, DB_EXTENT_TAIL);
	}
	db_end(&fs->db, DB_EXTENT_TAIL);
	if (ret == 0 && n > 0)
		ret = db_exec(&fs->db, DB_EXTENT_DELETE, "uuu", inode->ino, first, FS_MAX_BLOCKS);
	return ret < 0 ? ret : n == most;
}

static void extent_defer(void *ctx, const struct extent *part)
{
	struct fs *fs = ctx;
	allocator_defer(fs->allocator, part->volume_block, part->blocks);
}

/* The first extents of a map, and whatever rows there are up to where they end: also those that no
 * commit has brought up to date. 1: there are more. */
static int map_cut(struct fs *fs, struct inode *inode)
{
	struct extent e;
	uint64_t end = 0;
	for (uint64_t n = fs_extents_at_once(fs); n > 0 && extent_map_find(&inode->map, end, &e);
		n--)
		end = extent_end(&e);
	bool more = extent_map_find(&inode->map, end, &e);
	if (!more)
		end = FS_MAX_BLOCKS;
	range_set_clear(&inode->changed);
	int ret = extent_map_remove(&inode->map, 0, end, extent_defer, fs);
	if (ret == 0)
		ret = replaced_drop(fs, inode, 0, end);
	if (ret == 0)
		ret = db_exec(&fs->db, DB_EXTENT_DELETE, "uuu", inode->ino, UINT64_C(0), end);
	return ret < 0 ? ret : more;
}

/* A map that was read is the truth. 1: there is more to do. */
static int extents_drop(struct fs *fs, struct inode *inode)
{
	return inode->map_loaded ? map_cut(fs, inode) : rows_cut(fs, inode);
}

static int rows_drop(struct fs *fs, struct inode *inode)
{
	int ret = 0;
	if (!inode->no_xattrs)
		ret = db_exec(&fs->db, DB_XATTR_DELETE_ALL, "u", inode->ino);
	if (ret == 0 && S_ISLNK(inode->attr.mode))
		ret = db_exec(&fs->db, DB_SYMLINK_DELETE, "u", inode->ino);
	if (ret == 0)
		ret = db_exec(&fs->db, DB_INODE_DELETE, "u", inode->ino);
	return ret;
}

/* Nothing refers to it, so nobody else touches it (db_lock keeps others from finding it). 1: there
 * is more to do. */
static int inode_reclaim(struct fs *fs, struct inode *inode)
{
	int ret = S_ISREG(inode->attr.mode) ? extents_drop(fs, inode) : 0;
	if (ret == 0)
		ret = rows_drop(fs, inode);
	if (ret < 0)
		fs_fail(fs, ret);
	return ret;
}

static struct inode *reclaim_next(struct fs *fs)
{
	struct inode *inode = NULL;
	pthread_mutex_lock(&fs->table.lock);
	struct list_node *n = list_pop_front(&fs->table.reclaim);
	if (n) {
		inode = container_of(n, struct inode, reclaim);
		bool idle = inode->lookups == 0 && inode->opens == 0 && inode->pins == 0;
		if (!idle || !inode->orphan)
			inode = NULL; /* found again meanwhile; comes back when it is given up */
		else
			inode->pins++;
	}
	pthread_mutex_unlock(&fs->table.lock);
	return inode;
}

static bool reclaim_pending(struct fs *fs)
{
	pthread_mutex_lock(&fs->table.lock);
	bool pending = !list_empty(&fs->table.reclaim);
	pthread_mutex_unlock(&fs->table.lock);
	return pending;
}

/* One step: as many whole inodes as are small, or a part of a large one. */
static int reap_step(struct fs *fs)
{
	int ret = 0;
	for (unsigned i = 0; i < 64 && ret == 0; i++) {
		struct inode *inode = reclaim_next(fs);
		if (!inode)
			break;
		ret = inode_reclaim(fs, inode);
		if (ret != 0) {
			inode_unpin(fs, inode);
			break;
		}
		inode_discard(fs, inode);
	}
	return ret < 0 ? ret : 0;
}

void inodes_reap_now(struct fs *fs)
{
	while (reclaim_pending(fs)) {
		if (fs_begin(fs, 0) < 0)
			return;
		int ret = reap_step(fs);
		fs_end(fs);
		if (ret < 0)
			return;
	}
}

/* The first of those that an earlier mount left behind. 1: there is one. */
static int orphan_find(struct fs *fs, uint64_t *ino)
{
	int ret = db_run(&fs->db, DB_INODE_ORPHANS, "");
	struct row_reader row = {.stmt = db_row(&fs->db, DB_INODE_ORPHANS)};
	if (ret > 0) {
		*ino = row_u64(&row, 0, "ino", FS_ROOT_INO + 1, FS_INO_MAX);
		ret = row.bad ? fs_damaged(fs, 0, "the number of an orphan") : 1;
	}
	db_end(&fs->db, DB_INODE_ORPHANS);
	return ret;
}

/* An index that says what the table does not would have the reaper try for ever. */
static int orphan_get(struct fs *fs, uint64_t ino, struct inode **out)
{
	int ret = inode_get_locked(fs, ino, out);
	if (ret == -ENOENT || (ret == 0 && !(*out)->orphan)) {
		if (*out)
			inode_unpin(fs, *out);
		*out = NULL;
		ret = fs_damaged(fs, ino, "called an orphan, and is none");
	}
	return ret;
}

/* At open: what an earlier mount left behind. */
int inodes_reap_orphans(struct fs *fs)
{
	for (;;) {
		pthread_mutex_lock(&fs->db_lock);
		struct inode *inode = NULL;
		uint64_t ino;
		int ret = orphan_find(fs, &ino);
		if (ret > 0)
			ret = orphan_get(fs, ino, &inode);
		pthread_mutex_unlock(&fs->db_lock);
		if (!inode)
			return ret;
		inode_unpin(fs, inode);
		inodes_reap_now(fs);
		if (atomic_load(&fs->error))
			return atomic_load(&fs->error);
	}
}
