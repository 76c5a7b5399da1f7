/* SPDX-License-Identifier: MIT */
/* Shorter and longer files.
 *
 * What a truncation cuts off in the middle of a block stays on the array: zeroing it would destroy
 * bytes that come back if the truncation is not committed. It is remembered instead (tail_stale),
 * and zeroed when the file grows across it, after that commit. */
#include "fs/internal.h"

#include <errno.h>
#include <string.h>

static const uint8_t zeros[BLOCK_BYTES] __attribute__((aligned(4096)));

bool inode_tail_in_way(const struct inode *inode, uint64_t offset)
{
	uint64_t size = inode->attr.size;
	return inode->tail_stale && size % BLOCK_BYTES != 0 && offset > size;
}

/* Zero [from, end of its block) where bytes are stored there. A barrier holds. */
static int zero_rest_of_block(struct fs *fs, struct inode *inode, uint64_t from)
{
	struct extent e;
	uint64_t block = from >> BLOCK_SHIFT, skip = from % BLOCK_BYTES;
	pthread_mutex_lock(&inode->lock);
	bool stored = extent_map_find(&inode->map, block, &e) && e.file_block <= block &&
		      (e.state == EXTENT_CLEAN || e.state == EXTENT_WRITTEN);
	bool cut = inode->cut >= atomic_load(&fs->transaction);
	pthread_mutex_unlock(&inode->lock);
	if (!stored)
		return 0;
	int ret = cut ? fs_commit(fs) : 0;
	if (ret < 0)
		return ret;
	uint64_t at = ((e.volume_block + (block - e.file_block)) << BLOCK_SHIFT) + skip;
	ret = volume_write(fs->volume, at, zeros, (uint32_t)(BLOCK_BYTES - skip));
	return ret < 0 ? ret : volume_flush(fs->volume);
}

int inode_clean_tail(struct fs *fs, struct inode *inode, uint64_t offset)
{
	for (;;) {
		pthread_mutex_lock(&inode->lock);
		bool needed = inode_tail_in_way(inode, offset);
		uint64_t block = inode->attr.size >> BLOCK_SHIFT;
		pthread_mutex_unlock(&inode->lock);
		if (!needed)
			return 0;
		struct barrier b;
		barrier_begin(fs, inode, &b, block, block + 1);
		pthread_mutex_lock(&inode->lock);
		uint64_t size = inode->attr.size;
		bool here = inode_tail_in_way(inode, offset) && size >> BLOCK_SHIFT == block;
		pthread_mutex_unlock(&inode->lock);
		int ret = here ? zero_rest_of_block(fs, inode, size) : 0;
		pthread_mutex_lock(&inode->lock);
		if (here && ret == 0)
			inode->tail_stale = false;
		pthread_mutex_unlock(&inode->lock);
		barrier_end(fs, inode, &b);
		if (ret < 0)
			return ret;
	}
}

/* The size to cut down to next: no more extents lie behind it than can go in one transaction. */
static uint64_t next_cut(const struct fs *fs, const struct inode *inode, uint64_t size)
{
	struct extent e;
	uint64_t at = UINT64_MAX, most = fs_extents_at_once(fs);
	if (inode->map.extents <= most)
		return size;
	for (uint64_t i = 0; i < most; i++) {
		if (!extent_map_find_before(&inode->map, at, &e))
			return size;
		at = e.file_block;
	}
	return max_u64(size, at << BLOCK_SHIFT);
}

/* One step of a truncation, with a barrier from the new end on. Returns the size reached. */
static int cut_step(struct fs *fs, struct inode *inode, uint64_t size, uint64_t *reached)
{
	int ret = fs_begin(fs, 0);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	*reached = next_cut(fs, inode, size);
	if (*reached < inode->attr.size) {
		inode_set_size(fs, inode, *reached);
		inode->tail_stale = *reached % BLOCK_BYTES != 0;
	}
	inode_touch(inode, true, true, time_now_ns());
	uint64_t first = (*reached + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	ret = inode_deallocate(fs, inode, first, FS_MAX_BLOCKS);
	pthread_mutex_unlock(&inode->lock);
	fs_end(fs);
	return ret;
}

static int shrink(struct fs *fs, struct inode *inode, uint64_t size)
{
	struct barrier b;
	barrier_begin(fs, inode, &b, size >> BLOCK_SHIFT, FS_MAX_BLOCKS + 1);
	uint64_t reached = UINT64_MAX;
	int ret = 0;
	while (ret == 0 && reached != size) {
		ret = cut_step(fs, inode, size, &reached);
		if (ret == 0 && reached != size)
			ret = fs_commit(fs);
	}
	barrier_end(fs, inode, &b);
	return ret;
}

/* False: the tail is in the way again. */
static bool grow_to(struct fs *fs, struct inode *inode, uint64_t size)
{
	pthread_mutex_lock(&inode->lock);
	bool clean = !inode_tail_in_way(inode, size);
	if (clean && size > inode->attr.size) {
		inode_set_size(fs, inode, size);
		inode_touch(inode, true, true, time_now_ns());
	}
	pthread_mutex_unlock(&inode->lock);
	return clean;
}

static int extend(struct fs *fs, struct inode *inode, uint64_t size)
{
	for (bool grown = false; !grown;) {
		int ret = inode_clean_tail(fs, inode, size);
		if (ret == 0)
			ret = fs_begin(fs, 0);
		if (ret < 0)
			return ret;
		grown = grow_to(fs, inode, size);
		fs_end(fs);
	}
	return 0;
}

int inode_resize(struct fs *fs, struct inode *inode, uint64_t size)
{
	if (size > FS_MAX_BYTES)
		return -EFBIG;
	pthread_mutex_lock(&inode->lock);
	uint32_t type = inode->attr.mode & S_IFMT;
	bool grows = size > inode->attr.size;
	pthread_mutex_unlock(&inode->lock);
	if (type != S_IFREG)
		return type == S_IFDIR ? -EISDIR : -EINVAL;
	int ret = inode_load_map(fs, inode);
	if (ret < 0)
		return ret;
	return grows ? extend(fs, inode, size) : shrink(fs, inode, size);
}
