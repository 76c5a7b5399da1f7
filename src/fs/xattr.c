/* SPDX-License-Identifier: MIT */
/* Extended attributes: rows, changed at once within the transaction. Access control lists are kept
 * as attributes too, and have rules of their own (acl_store.c). */
#include "fs/internal.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#define VALUE_MAX    ROW_XATTR_MAX
#define NAME_MAX_LEN 255u

static int xattr_name_check(const char *name)
{
	size_t len = strlen(name);
	return len == 0 || len > NAME_MAX_LEN ? -ERANGE : 0;
}

/* ---- reading ---- */

/* Most files have none, and are asked often (security.capability before each write). */
static bool has_none(struct fs *fs, struct inode *inode)
{
	if (!inode->no_xattrs) {
		int any = db_exec(&fs->db, DB_XATTR_LIST, "u", inode->ino);
		inode->no_xattrs = any == 0;
	}
	return inode->no_xattrs;
}

static ssize_t value_copy(struct fs *fs, uint64_t ino, void *value, size_t size)
{
	struct row_reader row = {.stmt = db_row(&fs->db, DB_XATTR_GET)};
	size_t len;
	const void *bytes = row_blob(&row, 0, "xattr value", 0, VALUE_MAX, &len);
	if (row.bad)
		return fs_damaged(fs, ino, row.bad);
	if (size == 0)
		return (ssize_t)len;
	if (size < len)
		return -ERANGE;
	if (len)
		memcpy(value, bytes, len);
	return (ssize_t)len;
}

ssize_t xattr_read(struct fs *fs, struct inode *inode, const char *name, void *value, size_t size)
{
	if (has_none(fs, inode))
		return -ENODATA;
	ssize_t ret = db_run(&fs->db, DB_XATTR_GET, "ub", inode->ino, name, strlen(name));
	if (ret == 0)
		return -ENODATA;
	if (ret > 0)
		ret = value_copy(fs, inode->ino, value, size);
	db_end(&fs->db, DB_XATTR_GET);
	return ret;
}

/* The name that the statement stands at, behind @done bytes of @list. */
static int name_add(struct fs *fs, uint64_t ino, char *list, size_t size, size_t *done)
{
	struct row_reader row = {.stmt = db_row(&fs->db, DB_XATTR_LIST)};
	size_t len;
	const void *name = row_blob(&row, 0, "xattr name", 1, NAME_MAX_LEN, &len);
	if (!name || memchr(name, '\0', len))
		return fs_damaged(fs, ino, "xattr name");
	if (*done + len + 1 > (size ? size : XATTR_LIST_MAX))
		return size ? -ERANGE : -E2BIG;
	if (size) {
		memcpy(list + *done, name, len);
		list[*done + len] = '\0';
	}
	*done += len + 1;
	return 0;
}

static ssize_t names_read(struct fs *fs, struct inode *inode, char *list, size_t size)
{
	if (has_none(fs, inode))
		return 0;
	size_t done = 0;
	int ret = db_run(&fs->db, DB_XATTR_LIST, "u", inode->ino);
	while (ret > 0) {
		ret = name_add(fs, inode->ino, list, size, &done);
		if (ret == 0)
			ret = db_next(&fs->db, DB_XATTR_LIST);
	}
	db_end(&fs->db, DB_XATTR_LIST);
	return ret < 0 ? ret : (ssize_t)done;
}

ssize_t fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size)
{
	struct inode *inode;
	ssize_t ret = xattr_name_check(name);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&fs->db_lock);
	ret = inode_get_locked(fs, ino, &inode);
	if (ret == 0) {
		ret = xattr_read(fs, inode, name, value, size);
		inode_unpin(fs, inode);
	}
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

ssize_t fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size)
{
	struct inode *inode;
	pthread_mutex_lock(&fs->db_lock);
	ssize_t ret = inode_get_locked(fs, ino, &inode);
	if (ret == 0) {
		ret = names_read(fs, inode, list, size);
		inode_unpin(fs, inode);
	}
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

/* ---- handing down ---- */

void fs_inherit_xattrs(struct fs *fs, const char *const *names)
{
	fs->inherited = names;
}

int xattr_inherit(struct fs *fs, struct inode *dir, struct inode *inode)
{
	int ret = 0;
	if (!fs->inherited || has_none(fs, dir))
		return 0;
	inode->no_xattrs = false;
	for (const char *const *name = fs->inherited; *name && ret == 0; name++)
		ret = db_exec(
			&fs->db, DB_XATTR_COPY, "uub", inode->ino, dir->ino, *name, strlen(*name));
	return ret;
}

/* ---- changing ---- */

void xattr_changed(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->transaction = atomic_load(&fs->transaction);
	inode_touch(inode, false, true, time_now_ns());
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
}

int xattr_exists(struct fs *fs, struct inode *inode, const char *name)
{
	if (has_none(fs, inode))
		return 0;
	return db_exec(&fs->db, DB_XATTR_GET, "ub", inode->ino, name, strlen(name));
}

/* May another name be added? Nobody could list what does not fit any more. */
static int list_grows(struct fs *fs, struct inode *inode, const char *name)
{
	if (!inode->xattr_list_bytes) {
		ssize_t bytes = names_read(fs, inode, NULL, 0);
		if (bytes < 0)
			return (int)bytes;
		inode->xattr_list_bytes = (uint32_t)bytes;
	}
	size_t more = strlen(name) + 1;
	return inode->xattr_list_bytes + more > XATTR_LIST_MAX ? -ENOSPC : 0;
}

int xattr_write(
	struct fs *fs, struct inode *inode, const char *name, const void *value, size_t size)
{
	int there = xattr_exists(fs, inode, name);
	int ret = there < 0 ? there : there ? 0 : list_grows(fs, inode, name);
	if (ret == 0)
		ret = db_exec(
			&fs->db, DB_XATTR_PUT, "ubb", inode->ino, name, strlen(name), value, size);
	if (ret < 0)
		return ret;
	inode->no_xattrs = false;
	if (!there)
		inode->xattr_list_bytes += (uint32_t)strlen(name) + 1;
	return 0;
}

int xattr_delete(struct fs *fs, struct inode *inode, const char *name)
{
	int there = xattr_exists(fs, inode, name);
	if (there <= 0)
		return there < 0 ? there : -ENODATA;
	inode->xattr_list_bytes = 0;
	return db_exec(&fs->db, DB_XATTR_DELETE, "ub", inode->ino, name, strlen(name));
}

/* XATTR_CREATE, XATTR_REPLACE. */
static int check_flags(struct fs *fs, struct inode *inode, const char *name, int flags)
{
	int there = flags & (XATTR_CREATE | XATTR_REPLACE) ? xattr_exists(fs, inode, name) : 0;
	if (there < 0)
		return there;
	if (there && (flags & XATTR_CREATE))
		return -EEXIST;
	return !there && (flags & XATTR_REPLACE) ? -ENODATA : 0;
}

static int set_locked(struct fs *fs, struct inode *inode, const char *name, const void *value,
	size_t size, int flags)
{
	int ret = check_flags(fs, inode, name, flags);
	if (ret == 0 && acl_owns_xattr(name))
		ret = acl_set(fs, inode, name, value, size, flags & FS_XATTR_DROP_SGID);
	else if (ret == 0)
		ret = xattr_write(fs, inode, name, value, size);
	if (ret == 0)
		xattr_changed(fs, inode);
	return ret;
}

int fs_setxattr(
	struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	struct inode *inode;
	int ret = xattr_name_check(name);
	if (ret == 0 && size > VALUE_MAX)
		ret = -E2BIG;
	if (ret == 0)
		ret = fs_begin(fs, 8 + size / 4000);
	if (ret < 0)
		return ret;
	ret = inode_get_locked(fs, ino, &inode);
	if (ret == 0) {
		ret = set_locked(fs, inode, name, value, size, flags);
		inode_unpin(fs, inode);
	}
	fs_end(fs);
	return ret;
}

int fs_removexattr(struct fs *fs, uint64_t ino, const char *name)
{
	struct inode *inode;
	int ret = xattr_name_check(name);
	if (ret == 0)
		ret = fs_begin(fs, 0);
	if (ret < 0)
		return ret;
	ret = inode_get_locked(fs, ino, &inode);
	if (ret == 0) {
		ret = xattr_delete(fs, inode, name);
		if (ret == 0)
			xattr_changed(fs, inode);
		inode_unpin(fs, inode);
	}
	fs_end(fs);
	return ret;
}
