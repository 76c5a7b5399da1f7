/* SPDX-License-Identifier: MIT */
/* Attributes: read from memory, changed in memory, written at the next commit. */
#include "fs/internal.h"

#include <errno.h>

int fs_getattr(struct fs *fs, uint64_t ino, struct stat *st)
{
	struct inode *inode;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	inode_stat(inode, st);
	pthread_mutex_unlock(&inode->lock);
	inode_unpin(fs, inode);
	return 0;
}

int fs_birth_time(struct fs *fs, uint64_t ino, struct timespec *out)
{
	struct inode *inode;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	*out = times_to(inode->attr.btime);
	inode_unpin(fs, inode);
	return 0;
}

/* Everything but size and mode; under inode->lock. */
static void attr_set(struct inode *inode, unsigned set, const struct stat *v)
{
	struct inode_attr *a = &inode->attr;
	int64_t now = time_now_ns();
	if (set & FS_SET_UID)
		a->uid = v->st_uid;
	if (set & FS_SET_GID)
		a->gid = v->st_gid;
	if (set & FS_SET_ATIME)
		a->atime = times_from(v->st_atim);
	if (set & FS_SET_ATIME_NOW)
		a->atime = now;
	if (set & FS_SET_MTIME)
		a->mtime = times_from(v->st_mtim);
	if (set & FS_SET_MTIME_NOW)
		a->mtime = now;
	a->ctime = set & FS_SET_CTIME ? times_from(v->st_ctim) : now;
	if (set & (FS_SET_UID | FS_SET_GID))
		inode->attr_dirty = true;
	inode->times_dirty = true;
}

static int setattr_inode(struct fs *fs, struct inode *inode, unsigned set,
	const struct stat *values, struct stat *out)
{
	int ret = 0;
	if (set & FS_SET_SIZE)
		ret = values->st_size < 0 ? -EINVAL
					  : inode_resize(fs, inode, (uint64_t)values->st_size);
	if (ret == 0 && (set & FS_SET_MODE))
		ret = acl_set_mode(fs, inode, values->st_mode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&inode->lock);
	if (set != FS_SET_SIZE) {
		attr_set(inode, set, values);
		inode_mark_dirty(fs, inode);
	}
	inode_stat(inode, out);
	pthread_mutex_unlock(&inode->lock);
	fs_note_change(fs);
	return 0;
}

int fs_setattr(
	struct fs *fs, uint64_t ino, unsigned set, const struct stat *values, struct stat *out)
{
	struct inode *inode;
	int ret = fs_check_writable(fs);
	if (ret == 0 && fs_must_commit(fs))
		ret = fs_commit(fs);
	if (ret == 0)
		ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	ret = setattr_inode(fs, inode, set, values, out);
	inode_unpin(fs, inode);
	return ret;
}
