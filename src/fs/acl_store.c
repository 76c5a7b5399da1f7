/* SPDX-License-Identifier: MIT */
/* Access control lists of inodes: rows of the attributes, and what binds them to the mode.
 * Owner thread: whoever holds db_lock: a list and its mode change under it, in one transaction. */
#include "fs/internal.h"

#include <errno.h>
#include <string.h>

#define MODE_BITS 07777u

/* The rows of two lists, and the tree around them. */
#define LIST_PAGES 6u

bool acl_owns_xattr(const char *name)
{
	return strcmp(name, ACL_XATTR_ACCESS) == 0 || strcmp(name, ACL_XATTR_DEFAULT) == 0;
}

/* ---- rows ---- */

/* No entries: there is none. */
static int list_read(struct fs *fs, struct inode *inode, const char *name, struct acl *out)
{
	uint8_t bytes[ACL_MAX_BYTES];
	out->count = 0;
	ssize_t size = xattr_read(fs, inode, name, bytes, sizeof(bytes));
	if (size == -ENODATA)
		return 0;
	if (size < 0 && size != -ERANGE)
		return (int)size;
	if (size <= 0 || acl_decode(bytes, (size_t)size, out) < 0)
		return fs_damaged(fs, inode->ino, "access control list");
	return 0;
}

static int list_write(struct fs *fs, struct inode *inode, const char *name, const struct acl *acl)
{
	uint8_t bytes[ACL_MAX_BYTES];
	return xattr_write(fs, inode, name, bytes, acl_encode(acl, bytes));
}

static int list_drop(struct fs *fs, struct inode *inode, const char *name)
{
	int ret = xattr_delete(fs, inode, name);
	return ret == -ENODATA ? 0 : ret;
}

/* ---- the mode ---- */

static mode_t mode_get(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	mode_t mode = inode->attr.mode;
	pthread_mutex_unlock(&inode->lock);
	return mode;
}

static void mode_set(struct fs *fs, struct inode *inode, mode_t mode)
{
	pthread_mutex_lock(&inode->lock);
	inode->attr.mode = (inode->attr.mode & S_IFMT) | (mode & MODE_BITS);
	inode->attr_dirty = true;
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
}

/* ---- setting ---- */

static int access_set(struct fs *fs, struct inode *inode, const struct acl *acl, bool drop_sgid)
{
	mode_t mode = acl_mode(acl, mode_get(inode));
	int ret = acl_is_mode(acl) ? list_drop(fs, inode, ACL_XATTR_ACCESS)
				   : list_write(fs, inode, ACL_XATTR_ACCESS, acl);
	if (ret == 0)
		mode_set(fs, inode, drop_sgid ? mode & ~(mode_t)S_ISGID : mode);
	return ret;
}

int acl_set(struct fs *fs, struct inode *inode, const char *name, const void *value, size_t size,
	bool drop_sgid)
{
	struct acl acl;
	mode_t mode = mode_get(inode);
	bool is_default = strcmp(name, ACL_XATTR_DEFAULT) == 0;
	int ret = S_ISLNK(mode) ? -EOPNOTSUPP : acl_decode(value, size, &acl);
	if (ret < 0)
		return ret;
	if (is_default && !S_ISDIR(mode))
		return -EACCES;
	if (acl.count == 0)
		return list_drop(fs, inode, name);
	return is_default ? list_write(fs, inode, name, &acl)
			  : access_set(fs, inode, &acl, drop_sgid);
}

/* ---- chmod ---- */

static int listed_set_mode(struct fs *fs, struct inode *inode, mode_t mode)
{
	struct acl acl;
	int ret = fs_begin(fs, 0);
	if (ret < 0)
		return ret;
	ret = list_read(fs, inode, ACL_XATTR_ACCESS, &acl);
	if (ret == 0 && acl.count) {
		acl_chmod(&acl, mode);
		ret = list_write(fs, inode, ACL_XATTR_ACCESS, &acl);
	}
	if (ret == 0)
		mode_set(fs, inode, mode);
	fs_end(fs);
	return ret;
}

int acl_set_mode(struct fs *fs, struct inode *inode, mode_t mode)
{
	pthread_mutex_lock(&fs->db_lock);
	int listed = xattr_exists(fs, inode, ACL_XATTR_ACCESS);
	if (listed == 0)
		mode_set(fs, inode, mode);
	pthread_mutex_unlock(&fs->db_lock);
	return listed > 0 ? listed_set_mode(fs, inode, mode) : listed;
}

/* ---- what is new ---- */

int acl_plan(
	struct fs *fs, struct inode *dir, mode_t umask, uint32_t *mode, struct acl_inherited *out)
{
	out->access.count = out->dflt.count = 0;
	if (S_ISLNK(*mode))
		return 0;
	int ret = list_read(fs, dir, ACL_XATTR_DEFAULT, &out->dflt);
	if (ret < 0)
		return ret;
	if (out->dflt.count == 0) {
		*mode &= ~(umask & 0777);
		return 0;
	}
	out->access = out->dflt;
	*mode = acl_inherit(&out->access, *mode);
	if (acl_is_mode(&out->access))
		out->access.count = 0;
	if (!S_ISDIR(*mode))
		out->dflt.count = 0;
	return out->access.count || out->dflt.count ? db_reserve(&fs->db, LIST_PAGES) : 0;
}

int acl_store(struct fs *fs, struct inode *inode, const struct acl_inherited *lists)
{
	int ret = 0;
	if (lists->access.count)
		ret = list_write(fs, inode, ACL_XATTR_ACCESS, &lists->access);
	if (ret == 0 && lists->dflt.count)
		ret = list_write(fs, inode, ACL_XATTR_DEFAULT, &lists->dflt);
	return ret;
}
