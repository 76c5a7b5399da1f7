/* SPDX-License-Identifier: MIT */
/* What atomic writes replaced: blocks that a file's map has left and its rows have not.
 *
 * An atomic write that ends in epoch E puts its blocks into the map in the place of others. Until a
 * commit has flushed E the rows go on pointing to the others, so that a crash finds them whole:
 *
 *	the map --replaced_add--> sealed --replaced_advance--> stored --its successor's row--> free
 *	            `-- its row may exist already --------------^
 *
 * Two versions are enough beside the map. A commit that runs flushed all epochs but the present
 * one: of what was written in an earlier one and replaced in this, it must store the last version
 * (sealed), for an fsync may wait for it; of what was written and replaced in the same epoch no
 * row will ever tell, and its blocks are free at once.
 *
 * Invariants: R1 no block of the file is in `stored` or `sealed` that is a hole in the map. R2 what
 * they hold lies in the inode's `changed` ranges, or in one that a commit is about to write. R3
 * blocks are given back by the transaction whose rows leave them (I2 of fs.h). */
#include "fs/internal.h"

void replaced_init(struct replaced *r)
{
	extent_map_init(&r->stored);
	extent_map_init(&r->sealed);
}

void replaced_clear(struct replaced *r)
{
	extent_map_clear(&r->stored);
	extent_map_clear(&r->sealed);
}

static void part_given_back(void *ctx, const struct extent *part)
{
	struct fs *fs = ctx;
	atomic_fetch_sub(&fs->replaced_blocks, part->blocks);
	allocator_defer(fs->allocator, part->volume_block, part->blocks);
}

/* Keep @e in the place of what @map may still hold there: nothing, unless a commit has failed. */
static int keep(struct fs *fs, struct extent_map *map, const struct extent *e)
{
	int ret = extent_map_remove(map, e->file_block, e->blocks, part_given_back, fs);
	if (ret == 0)
		ret = extent_map_insert(map, e);
	if (ret == 0)
		atomic_fetch_add(&fs->replaced_blocks, e->blocks);
	return ret;
}

int replaced_add(struct fs *fs, struct inode *inode, const struct extent *part, uint64_t epoch)
{
	struct extent e = *part;
	if (e.state == EXTENT_WRITTEN && e.tag < epoch)
		return keep(fs, &inode->replaced.sealed, &e);
	if (e.state == EXTENT_CLEAN || e.state == EXTENT_UNWRITTEN)
		return keep(fs, &inode->replaced.stored, &e);
	if (!e.reserved) {
		allocator_release(fs->allocator, e.volume_block, e.blocks);
		return 0;
	}
	e.state = EXTENT_UNWRITTEN;
	e.tag = 0;
	e.reserved = false;
	return keep(fs, &inode->replaced.stored, &e);
}

int replaced_drop(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end)
{
	struct replaced *r = &inode->replaced;
	int ret = extent_map_remove(&r->sealed, first, end - first, part_given_back, fs);
	if (ret == 0)
		ret = extent_map_remove(&r->stored, first, end - first, part_given_back, fs);
	return ret;
}

/* Where the map's own data is durable, its row takes the place of all before it. */
static int drop_succeeded(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch)
{
	struct extent e;
	uint64_t at = range.first;
	int ret = 0;
	while (ret == 0 && at < range.end && extent_map_find(&inode->map, at, &e) &&
		e.file_block < range.end) {
		struct extent part = extent_clip(&e, at, range.end);
		at = extent_end(&part);
		if (extent_is_durable(&e, epoch))
			ret = replaced_drop(fs, inode, part.file_block, at);
	}
	return ret;
}

/* What is left of `sealed` becomes what rows point to. */
static int store_sealed(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch)
{
	struct replaced *r = &inode->replaced;
	struct extent e;
	uint64_t at = range.first;
	int ret = 0;
	while (ret == 0 && at < range.end && extent_map_find(&r->sealed, at, &e) &&
		e.file_block < range.end) {
		struct extent part = extent_clip(&e, at, range.end);
		at = extent_end(&part);
		if (!extent_is_durable(&part, epoch))
			continue;
		ret = extent_map_remove(&r->sealed, part.file_block, part.blocks, NULL, NULL);
		atomic_fetch_sub(&fs->replaced_blocks, part.blocks);
		part.state = EXTENT_CLEAN;
		part.tag = 0;
		part.reserved = false;
		if (ret == 0)
			ret = keep(fs, &r->stored, &part);
	}
	return ret;
}

int replaced_advance(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch)
{
	if (inode->replaced.stored.extents == 0 && inode->replaced.sealed.extents == 0)
		return 0;
	int ret = drop_succeeded(fs, inode, range, epoch);
	return ret < 0 ? ret : store_sealed(fs, inode, range, epoch);
}

bool fs_commit_frees(struct fs *fs)
{
	return allocator_deferred_blocks(fs->allocator) > 0 ||
	       atomic_load(&fs->replaced_blocks) > 0;
}
