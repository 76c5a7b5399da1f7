/* SPDX-License-Identifier: MIT */
/* Space without data, holes, and where they are. */
#include "fs/internal.h"

#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>
#include <stdlib.h>

#define PUNCH_EXTENTS 8192u

#define STEP_EXTENTS 64u

/* A hole inside an extent makes two of it. */
#define PUNCH_PAGES 6u

static const uint8_t zeros[BLOCK_BYTES] __attribute__((aligned(4096)));

/* ---- preallocation ---- */

static uint64_t blocks_missing(const struct inode *inode, uint64_t first, uint64_t end)
{
	struct extent e;
	uint64_t missing = end - first, at = first;
	while (at < end && extent_map_find(&inode->map, at, &e) && e.file_block < end) {
		missing -= min_u64(extent_end(&e), end) - max_u64(e.file_block, first);
		at = extent_end(&e);
	}
	return missing;
}

/* A few extents, after which a commit may be wanted. */
static int allocate_step(struct fs *fs, struct inode *inode, uint64_t *first, uint64_t end)
{
	uint64_t from = *first;
	pthread_mutex_lock(&inode->lock);
	uint64_t before = inode->map.extents;
	int ret = inode_preallocate(fs, inode, first, end, STEP_EXTENTS);
	fs_note_extents(fs, inode, inode->map.extents - min_u64(before, inode->map.extents));
	range_set_add(&inode->changed, from, max_u64(*first, from + 1));
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	return ret;
}

/* All of it or nothing where too little is free; what was had before the database was full stays.
 */
static int allocate_unwritten(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end)
{
	pthread_mutex_lock(&inode->lock);
	uint64_t missing = blocks_missing(inode, first, end);
	pthread_mutex_unlock(&inode->lock);
	int ret = missing > allocator_free_blocks(fs->allocator) ? -ENOSPC : 0;
	while (ret == 0 && first < end) {
		if (fs_must_commit(fs))
			ret = fs_commit(fs);
		if (ret == 0)
			ret = allocate_step(fs, inode, &first, end);
	}
	return ret;
}

static int preallocate(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end)
{
	int ret = allocate_unwritten(fs, inode, first, end);
	if (ret != -ENOSPC)
		return ret;
	inodes_reap_now(fs);
	if (!fs_commit_frees(fs) || fs_commit(fs) < 0)
		return ret;
	return allocate_unwritten(fs, inode, first, end);
}

/* ---- holes ---- */

/* Zero [from, to), inside one block, where bytes of the file are stored (what is behind its end may
 * come back with a truncation that is not committed: resize.c). A barrier holds. */
static int zero_part(struct fs *fs, struct inode *inode, uint64_t from, uint64_t to)
{
	struct extent e;
	uint64_t block = from >> BLOCK_SHIFT;
	pthread_mutex_lock(&inode->lock);
	to = min_u64(to, inode->attr.size);
	bool stored = from < to && extent_map_find(&inode->map, block, &e) &&
		      e.file_block <= block &&
		      (e.state == EXTENT_CLEAN || e.state == EXTENT_WRITTEN);
	pthread_mutex_unlock(&inode->lock);
	if (!stored)
		return 0;
	uint64_t at =
		((e.volume_block + (block - e.file_block)) << BLOCK_SHIFT) + from % BLOCK_BYTES;
	atomic_store(&fs->unflushed, true);
	return volume_write(fs->volume, at, zeros, (uint32_t)(to - from));
}

/* Where to stop, so that no more than PUNCH_EXTENTS go in one transaction. */
static uint64_t punch_end(const struct inode *inode, uint64_t first, uint64_t end)
{
	struct extent e;
	uint64_t at = first;
	for (unsigned i = 0; i < PUNCH_EXTENTS; i++) {
		if (at >= end || !extent_map_find(&inode->map, at, &e))
			return end;
		at = extent_end(&e);
	}
	return min_u64(at, end);
}

/* Does a part remain on both sides? That takes room in the database; other holes give it back. */
static bool punch_divides(struct inode *inode, uint64_t first, uint64_t end)
{
	struct extent e;
	pthread_mutex_lock(&inode->lock);
	bool found = extent_map_find(&inode->map, first, &e);
	pthread_mutex_unlock(&inode->lock);
	return found && e.file_block < first && extent_end(&e) > end;
}

/* Whole blocks; a barrier holds. */
static int punch_blocks(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end)
{
	while (first < end) {
		int ret = fs_begin(fs, punch_divides(inode, first, end) ? PUNCH_PAGES : 0);
		if (ret < 0)
			return ret;
		pthread_mutex_lock(&inode->lock);
		uint64_t stop = punch_end(inode, first, end);
		ret = inode_deallocate(fs, inode, first, stop);
		pthread_mutex_unlock(&inode->lock);
		fs_end(fs);
		if (ret == 0 && stop < end)
			ret = fs_commit(fs);
		if (ret < 0)
			return ret;
		first = stop;
	}
	return 0;
}

static int punch(struct fs *fs, struct inode *inode, uint64_t offset, uint64_t end)
{
	uint64_t head_end = min_u64(round_up_u64(offset, BLOCK_BYTES), end);
	uint64_t tail = max_u64(round_down_u64(end, BLOCK_BYTES), head_end);
	int ret = zero_part(fs, inode, offset, head_end);
	if (ret == 0)
		ret = zero_part(fs, inode, tail, end);
	if (ret == 0)
		ret = punch_blocks(fs, inode, head_end >> BLOCK_SHIFT, tail >> BLOCK_SHIFT);
	return ret;
}

/* ---- fallocate ---- */

struct request {
	uint64_t offset, end; /* bytes */
	bool keep_size, punches, allocates;
};

static int mode_parse(int mode, uint64_t offset, uint64_t len, struct request *out)
{
	*out = (struct request){offset, offset + len, mode & FALLOC_FL_KEEP_SIZE,
		mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE),
		!(mode & FALLOC_FL_PUNCH_HOLE)};
	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (len == 0)
		return -EINVAL;
	return offset > FS_MAX_BYTES || len > FS_MAX_BYTES - offset ? -EFBIG : 0;
}

/* Is the tail in the way of the file's new end? The kernel may write pages back meanwhile. */
static bool must_clean(struct inode *inode, const struct request *r)
{
	return !r->keep_size && r->allocates && inode_tail_in_way(inode, r->end);
}

static int fallocate_settle(struct fs *fs, struct inode *inode, const struct request *r)
{
	pthread_mutex_lock(&inode->lock);
	while (must_clean(inode, r)) {
		pthread_mutex_unlock(&inode->lock);
		int ret = inode_clean_tail(fs, inode, r->end);
		if (ret < 0)
			return ret;
		pthread_mutex_lock(&inode->lock);
	}
	if (!r->keep_size && r->allocates && r->end > inode->attr.size)
		inode_set_size(fs, inode, r->end);
	inode_touch(inode, true, true, time_now_ns());
	inode->transaction = atomic_load(&fs->transaction);
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	fs_note_change(fs);
	return 0;
}

static int do_fallocate(struct fs *fs, struct inode *inode, const struct request *r)
{
	uint64_t first = r->offset >> BLOCK_SHIFT;
	uint64_t end = (r->end + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
	int ret = inode_load_map(fs, inode);
	if (ret == 0 && r->punches) {
		struct barrier b;
		barrier_begin(fs, inode, &b, first, end);
		ret = punch(fs, inode, r->offset, r->end);
		barrier_end(fs, inode, &b);
	}
	if (ret == 0 && r->allocates)
		ret = preallocate(fs, inode, first, end);
	return ret < 0 ? ret : fallocate_settle(fs, inode, r);
}

int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t len)
{
	struct request r;
	struct inode *inode;
	int ret = mode_parse(mode, offset, len, &r);
	if (ret == 0)
		ret = fs_check_writable(fs);
	if (ret == 0)
		ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	bool regular = S_ISREG(inode->attr.mode);
	pthread_mutex_unlock(&inode->lock);
	ret = regular ? do_fallocate(fs, inode, &r) : -ENODEV;
	inode_unpin(fs, inode);
	return ret;
}

/* ---- where data is ---- */

static bool has_data(const struct extent *e)
{
	return e->state != EXTENT_UNWRITTEN;
}

/* The first byte at or behind @offset that is data (or hole), @size where none is. */
static uint64_t seek_in_map(const struct inode *inode, uint64_t offset, uint64_t size, bool data)
{
	uint64_t at = offset;
	struct extent e;
	while (at < size) {
		bool found = extent_map_find(&inode->map, at >> BLOCK_SHIFT, &e);
		uint64_t start = found ? e.file_block << BLOCK_SHIFT : size;
		if (start > at && !data)
			return at;
		at = max_u64(at, start);
		if (!found || at >= size)
			break;
		if (has_data(&e) == data)
			return at;
		at = extent_end(&e) << BLOCK_SHIFT;
	}
	return size;
}

int64_t fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence)
{
	struct inode *inode;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	ret = inode_load_map(fs, inode);
	pthread_mutex_lock(&inode->lock);
	uint64_t size = inode->attr.size;
	uint64_t at = ret == 0 ? seek_in_map(inode, offset, size, whence == SEEK_DATA) : 0;
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	if (ret < 0)
		return ret;
	if (offset >= size || (whence == SEEK_DATA && at >= size))
		return -ENXIO;
	return (int64_t)at;
}
