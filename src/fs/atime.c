/* SPDX-License-Identifier: MIT */
/* Times of access: moved in memory by whoever reads, and written by the next commit; under lazytime
 * by the next one that has something else to do, or after a day. Nothing here waits or fails. */
#include "fs/internal.h"

#define LAZY_NS  (UINT64_C(86400) * NS_PER_S)
#define LAZY_MAX 32768u /* inodes whose rows are out of date in their atime alone */

void fs_set_atime(struct fs *fs, const struct fs_atime_options *options)
{
	atomic_store(&fs->atime.rule, options->rule);
	atomic_store(&fs->atime.no_directories, options->no_directories);
	atomic_store(&fs->atime.lazy, options->lazy);
}

enum fs_atime fs_atime_rule(struct fs *fs)
{
	return atomic_load(&fs->atime.rule);
}

/* Under inode->lock. */
static bool is_due(struct fs *fs, const struct inode *inode, int64_t now)
{
	const struct inode_attr *a = &inode->attr;
	struct times t = {.atime = a->atime, .mtime = a->mtime, .ctime = a->ctime};
	if (fs_check_writable(fs) < 0 ||
		(S_ISDIR(a->mode) && atomic_load(&fs->atime.no_directories)))
		return false;
	return times_atime_is_due(atomic_load(&fs->atime.rule), &t, now);
}

/* Until the first of them is a day old, or there are too many, that is no reason to commit. */
static void mark_lazily(struct fs *fs, struct inode *inode)
{
	uint64_t none = 0;
	size_t dirty = inode_mark_accessed(fs, inode);
	atomic_compare_exchange_strong(&fs->atime.lazy_since_ns, &none, clock_monotonic_ns());
	if (dirty > LAZY_MAX)
		atomic_store(&fs->urgent, true);
}

void inode_accessed(struct fs *fs, struct inode *inode)
{
	int64_t now = time_now_ns();
	if (!is_due(fs, inode, now))
		return;
	inode->attr.atime = now;
	inode->times_dirty = true;
	if (atomic_load(&fs->atime.lazy))
		mark_lazily(fs, inode);
	else
		inode_mark_dirty(fs, inode);
}

bool fs_commit_is_due(struct fs *fs)
{
	uint64_t since = atomic_load(&fs->atime.lazy_since_ns);
	return atomic_load(&fs->changes) || atomic_load(&fs->unflushed) ||
	       atomic_load(&fs->urgent) || (since && clock_monotonic_ns() - since >= LAZY_NS);
}

bool fs_cache_hides_read(struct fs *fs, uint64_t ino, bool reads)
{
	struct inode *inode;
	if (inode_get(fs, ino, &inode) < 0)
		return false;
	pthread_mutex_lock(&inode->lock);
	bool hides = reads && !inode->not_cached && is_due(fs, inode, time_now_ns());
	inode->not_cached = false;
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	return hides;
}
