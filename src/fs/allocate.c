/* SPDX-License-Identifier: MIT */
/* Blocks into a file's map and out of it; its size. */
#include "fs/internal.h"

#include <errno.h>
#include <limits.h>

/* Where the blocks of a hole best begin: behind those of the extent before it. */
static uint64_t goal_of(const struct inode *inode, uint64_t file_block)
{
	struct extent before;
	if (!extent_map_find_before(&inode->map, file_block, &before))
		return ALLOCATOR_NO_GOAL;
	if (extent_end(&before) != file_block)
		return ALLOCATOR_NO_GOAL;
	return before.volume_block + before.blocks;
}

static int hole_fill(struct fs *fs, struct inode *inode, uint64_t *first, uint64_t end,
	const struct extent *like, unsigned *extents)
{
	for (; *first<end && * extents> 0; --*extents) {
		struct extent e = *like;
		e.file_block = *first;
		e.blocks = allocator_take(
			fs->allocator, goal_of(inode, *first), end - *first, &e.volume_block);
		if (e.blocks == 0)
			return -ENOSPC;
		int ret = extent_map_insert(&inode->map, &e);
		if (ret < 0) {
			allocator_release(fs->allocator, e.volume_block, e.blocks);
			return ret;
		}
		*first += e.blocks;
	}
	return 0;
}

static int holes_fill(struct fs *fs, struct inode *inode, uint64_t *first, uint64_t end,
	const struct extent *like, unsigned extents)
{
	while (*first < end && extents > 0) {
		struct extent e;
		bool found = extent_map_find(&inode->map, *first, &e);
		if (found && e.file_block <= *first) {
			*first = extent_end(&e);
			continue;
		}
		if (atomic_load(&fs->database_full))
			return -ENOSPC;
		uint64_t hole_end = found ? min_u64(e.file_block, end) : end;
		int ret = hole_fill(fs, inode, first, hole_end, like, &extents);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int inode_allocate(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end,
	enum extent_state state, uint64_t tag)
{
	struct extent like = {.state = state, .tag = tag};
	return holes_fill(fs, inode, &first, end, &like, UINT_MAX);
}

int inode_preallocate(
	struct fs *fs, struct inode *inode, uint64_t *first, uint64_t end, unsigned extents)
{
	struct extent like = {.state = EXTENT_UNWRITTEN};
	return holes_fill(fs, inode, first, end, &like, extents);
}

static void part_removed(void *ctx, const struct extent *part)
{
	struct fs *fs = ctx;
	allocator_defer(fs->allocator, part->volume_block, part->blocks);
}

int inode_deallocate(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end)
{
	range_set_add(&inode->changed, first, end);
	inode->cut = inode->transaction = atomic_load(&fs->transaction);
	int ret = extent_map_remove(&inode->map, first, end - first, part_removed, fs);
	if (ret == 0)
		ret = replaced_drop(fs, inode, first, end);
	inode_mark_dirty(fs, inode);
	return ret;
}

void inode_grow(struct inode *inode, uint64_t size, uint64_t epoch)
{
	if (size <= inode->attr.size)
		return;
	if (inode->size_epoch != epoch) {
		inode->size_epoch = epoch;
		inode->size_before = inode->attr.size;
	}
	inode->attr.size = size;
	inode->attr_dirty = true;
}

void inode_set_size(struct fs *fs, struct inode *inode, uint64_t size)
{
	inode->attr.size = inode->size_before = size;
	inode->size_epoch = 0;
	inode->attr_dirty = true;
	inode->transaction = atomic_load(&fs->transaction);
	inode_mark_dirty(fs, inode);
}
