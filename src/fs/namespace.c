/* SPDX-License-Identifier: MIT */
/* Names that come and go: lookup, create, link, unlink. (rename.c moves them.)
 *
 * An operation changes the rows of entries at once and inodes in memory only; the inodes' rows
 * follow in the same transaction (commit.c), so both are committed together or not at all. What can
 * fail comes first: memory changes when nothing can fail any more. */
#include "fs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry, an inode's row, attributes of the directory, and the splits of their trees. */
#define CREATE_PAGES 14u

static uint32_t mode_of(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	uint32_t mode = inode->attr.mode;
	pthread_mutex_unlock(&inode->lock);
	return mode;
}

/* A directory that entries may be put into. db_lock held. */
static int directory_get(struct fs *fs, uint64_t ino, struct inode **out)
{
	int ret = inode_get_locked(fs, ino, out);
	if (ret < 0)
		return ret;
	if (S_ISDIR(mode_of(*out)))
		return 0;
	inode_unpin(fs, *out);
	*out = NULL;
	return -ENOTDIR;
}

int directory_has_room(struct inode *dir, int more)
{
	pthread_mutex_lock(&dir->lock);
	bool full = more > 0 && dir->attr.nlink >= FS_LINK_MAX;
	pthread_mutex_unlock(&dir->lock);
	return full ? -EMLINK : 0;
}

static void directory_changed(struct fs *fs, struct inode *dir, int links)
{
	pthread_mutex_lock(&dir->lock);
	dir->attr.nlink = (uint32_t)((int)dir->attr.nlink + links);
	if (links)
		dir->attr_dirty = true;
	inode_touch(dir, true, true, time_now_ns());
	dir->transaction = atomic_load(&fs->transaction);
	inode_mark_dirty(fs, dir);
	pthread_mutex_unlock(&dir->lock);
}

static void stat_of(struct inode *inode, struct stat *st)
{
	pthread_mutex_lock(&inode->lock);
	inode_stat(inode, st);
	pthread_mutex_unlock(&inode->lock);
}

/* It has a name still. */
static int inode_alive(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool alive = inode->attr.nlink > 0;
	pthread_mutex_unlock(&inode->lock);
	return alive ? 0 : -ENOENT;
}

/* ---- lookup ---- */

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0;
}

/* Who comes by a number alone finds only what has a name. */
static int number_resolve(struct fs *fs, uint64_t ino, struct inode **out)
{
	int ret = inode_get_locked(fs, ino, out);
	return ret < 0 ? ret : inode_alive(*out);
}

/* Where a name leads from @parent. */
static int name_resolve(struct fs *fs, uint64_t parent, const char *name, struct inode **out)
{
	cleanup(inode_unpinp) struct inode *dir = NULL;
	int ret = directory_get(fs, parent, &dir);
	if (ret < 0)
		return ret;
	if (strcmp(name, "..") == 0) {
		pthread_mutex_lock(&dir->lock);
		uint64_t up = dir->attr.parent;
		pthread_mutex_unlock(&dir->lock);
		return inode_get_locked(fs, up, out);
	}
	struct dirent_row entry;
	ret = dirent_find(fs, parent, name, &entry);
	if (ret == 0)
		ret = dirent_inode(fs, parent, &entry, out);
	return ret;
}

static int lookup_locked(struct fs *fs, uint64_t parent, const char *name, struct stat *st)
{
	cleanup(inode_unpinp) struct inode *inode = NULL;
	int ret = is_dot(name) ? number_resolve(fs, parent, &inode)
			       : name_resolve(fs, parent, name, &inode);
	if (ret < 0)
		return ret;
	inode_reference(fs, inode);
	stat_of(inode, st);
	return 0;
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st)
{
	if (strlen(name) > FS_NAME_MAX)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&fs->db_lock);
	int ret = lookup_locked(fs, parent, name, st);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

uint64_t fs_names_version(struct fs *fs)
{
	return atomic_load(&fs->names_version);
}

static int reference_locked(struct fs *fs, uint64_t ino, struct stat *st)
{
	struct inode *inode;
	int ret = inode_get_locked(fs, ino, &inode);
	if (ret < 0)
		return ret;
	inode_reference(fs, inode);
	stat_of(inode, st);
	inode_unpin(fs, inode);
	return 0;
}

int fs_lookup_listed(struct fs *fs, uint64_t parent, const char *name, uint64_t ino,
	uint64_t version, struct stat *st)
{
	pthread_mutex_lock(&fs->db_lock);
	int ret = atomic_load(&fs->names_version) == version ? reference_locked(fs, ino, st)
							     : lookup_locked(fs, parent, name, st);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

/* ---- create ---- */

struct creation {
	uint64_t parent;
	const char *name; /* NULL: none */
	mode_t mode;
	dev_t rdev;
	const struct fs_owner *owner;
	const char *target; /* symlink */
};

/* The attributes of a new inode; the group and the setgid bit come from a setgid directory. */
static struct inode_attr attr_of(const struct creation *c, struct inode *dir)
{
	int64_t now = time_now_ns();
	struct inode_attr a = {
		.mode = c->mode,
		.nlink = !c->name           ? 0
			 : S_ISDIR(c->mode) ? 2
					    : 1,
		.uid = c->owner->uid,
		.gid = c->owner->gid,
		.rdev = S_ISCHR(c->mode) || S_ISBLK(c->mode) ? c->rdev : 0,
		.size = c->target ? strlen(c->target) : 0,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};
	pthread_mutex_lock(&dir->lock);
	if (dir->attr.mode & S_ISGID) {
		a.gid = dir->attr.gid;
		a.mode |= S_ISDIR(c->mode) ? S_ISGID : 0;
	}
	pthread_mutex_unlock(&dir->lock);
	return a;
}

/* The rows: all or none. */
static int rows_create(struct fs *fs, const struct creation *c, struct inode *dir,
	struct inode *inode, const struct acl_inherited *lists)
{
	bool inherits = S_ISREG(c->mode) || S_ISDIR(c->mode);
	int ret = inherits ? xattr_inherit(fs, dir, inode) : 0;
	if (ret == 0)
		ret = acl_store(fs, inode, lists);
	if (ret == 0 && c->target)
		ret = db_exec(
			&fs->db, DB_SYMLINK_PUT, "ub", inode->ino, c->target, strlen(c->target));
	if (ret == 0 && c->name)
		ret = dirent_insert(fs, c->parent, c->name, inode);
	if (ret < 0 && c->target)
		(void)db_exec(&fs->db, DB_SYMLINK_DELETE, "u", inode->ino);
	if (ret < 0 && !inode->no_xattrs)
		(void)db_exec(&fs->db, DB_XATTR_DELETE_ALL, "u", inode->ino);
	return ret;
}

static int create_locked(struct fs *fs, const struct creation *c, struct stat *st)
{
	cleanup(inode_unpinp) struct inode *dir = NULL;
	int ret = directory_get(fs, c->parent, &dir);
	if (ret == 0)
		ret = inode_alive(dir);
	if (ret == 0)
		ret = directory_has_room(dir, S_ISDIR(c->mode) ? 1 : 0);
	if (ret < 0)
		return ret;
	struct inode *inode;
	struct acl_inherited lists;
	struct inode_attr attr = attr_of(c, dir);
	ret = acl_plan(fs, dir, c->owner->umask, &attr.mode, &lists);
	if (ret == 0)
		ret = inode_new(fs, &attr, &inode);
	if (ret < 0)
		return ret;
	ret = rows_create(fs, c, dir, inode, &lists);
	if (ret < 0) {
		inode_discard(fs, inode);
		return ret;
	}
	inode_reference(fs, inode);
	if (c->name)
		directory_changed(fs, dir, S_ISDIR(c->mode) ? 1 : 0);
	else
		inode_set_orphan(fs, inode, true);
	stat_of(inode, st);
	inode_unpin(fs, inode);
	return 0;
}

static int create(struct fs *fs, const struct creation *c, uint64_t pages, struct stat *st)
{
	int ret = c->name ? name_check(c->name) : 0;
	if (ret == 0)
		ret = fs_begin(fs, pages);
	if (ret == -ENOSPC) {
		/* Files that are to be reclaimed hold pages too. */
		inodes_reap_now(fs);
		ret = fs_begin(fs, pages);
	}
	if (ret < 0)
		return ret;
	ret = create_locked(fs, c, st);
	fs_end(fs);
	return ret;
}

int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	const struct fs_owner *owner, struct stat *st)
{
	if ((mode & S_IFMT) == 0)
		mode |= S_IFREG;
	struct creation c = {parent, name, mode, rdev, owner, NULL};
	return S_ISLNK(mode) ? -EINVAL : create(fs, &c, CREATE_PAGES, st);
}

int fs_tmpfile(
	struct fs *fs, uint64_t parent, mode_t mode, const struct fs_owner *owner, struct stat *st)
{
	struct creation c = {parent, NULL, S_IFREG | (mode & ~S_IFMT), 0, owner, NULL};
	return create(fs, &c, CREATE_PAGES, st);
}

int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	const struct fs_owner *owner, struct stat *st)
{
	struct creation c = {parent, name, S_IFLNK | 0777, 0, owner, target};
	if (strlen(target) >= 4096)
		return -ENAMETOOLONG;
	return create(fs, &c, CREATE_PAGES + 2, st);
}

/* @there: the row is. An empty target, or one with a NUL, is none. */
static int target_copy(struct fs *fs, uint64_t ino, bool there, char *target, size_t size)
{
	struct row_reader row = {.stmt = db_row(&fs->db, DB_SYMLINK_GET)};
	size_t len = 0;
	const void *bytes = there ? row_blob(&row, 0, "target", 1, ROW_TARGET_MAX, &len) : NULL;
	if (!bytes || memchr(bytes, '\0', len))
		return fs_damaged(fs, ino, "target");
	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(target, bytes, len);
	target[len] = '\0';
	return 0;
}

static int readlink_locked(struct fs *fs, uint64_t ino, char *target, size_t size)
{
	cleanup(inode_unpinp) struct inode *inode = NULL;
	int ret = inode_get_locked(fs, ino, &inode);
	if (ret < 0)
		return ret;
	if (!S_ISLNK(mode_of(inode)))
		return -EINVAL;
	ret = db_run(&fs->db, DB_SYMLINK_GET, "u", ino);
	if (ret >= 0)
		ret = target_copy(fs, ino, ret > 0, target, size);
	db_end(&fs->db, DB_SYMLINK_GET);
	pthread_mutex_lock(&inode->lock);
	if (ret == 0)
		inode_accessed(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	return ret;
}

int fs_readlink(struct fs *fs, uint64_t ino, char *target, size_t size)
{
	pthread_mutex_lock(&fs->db_lock);
	int ret = readlink_locked(fs, ino, target, size);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

/* ---- link ---- */

/* May it get one name more? One without any, as long as somebody has it. */
static int linkable(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool is_dir = S_ISDIR(inode->attr.mode);
	uint32_t nlink = inode->attr.nlink;
	pthread_mutex_unlock(&inode->lock);
	if (is_dir)
		return -EPERM;
	if (nlink >= FS_LINK_MAX)
		return -EMLINK;
	return nlink > 0 || inode_is_referenced(fs, inode) ? 0 : -ENOENT;
}

static int link_locked(
	struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st)
{
	cleanup(inode_unpinp) struct inode *dir = NULL, *inode = NULL;
	int ret = directory_get(fs, parent, &dir);
	if (ret == 0)
		ret = inode_alive(dir);
	if (ret == 0)
		ret = inode_get_locked(fs, ino, &inode);
	if (ret == 0)
		ret = linkable(fs, inode);
	if (ret == 0)
		ret = dirent_insert(fs, parent, name, inode);
	if (ret < 0)
		return ret;
	directory_changed(fs, dir, 0);
	pthread_mutex_lock(&inode->lock);
	inode->attr.nlink++;
	inode->attr_dirty = true;
	inode->transaction = atomic_load(&fs->transaction);
	inode_touch(inode, false, true, time_now_ns());
	pthread_mutex_unlock(&inode->lock);
	inode_set_orphan(fs, inode, false);
	inode_reference(fs, inode);
	stat_of(inode, st);
	return 0;
}

int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st)
{
	int ret = name_check(name);
	if (ret == 0)
		ret = fs_begin(fs, CREATE_PAGES);
	if (ret < 0)
		return ret;
	ret = link_locked(fs, ino, parent, name, st);
	fs_end(fs);
	return ret;
}

/* ---- unlink ---- */

void inode_drop_link(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool is_dir = S_ISDIR(inode->attr.mode);
	inode->attr.nlink = is_dir ? 0 : inode->attr.nlink - 1;
	bool last = inode->attr.nlink == 0;
	inode->attr_dirty = true;
	inode->transaction = atomic_load(&fs->transaction);
	inode_touch(inode, false, true, time_now_ns());
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
	if (last)
		inode_set_orphan(fs, inode, true);
}

static int removable(struct fs *fs, struct inode *inode, bool want_dir)
{
	bool is_dir = S_ISDIR(mode_of(inode));
	if (want_dir && !is_dir)
		return -ENOTDIR;
	if (!want_dir && is_dir)
		return -EISDIR;
	if (!is_dir)
		return 0;
	int any = dirent_any(fs, inode->ino);
	return any > 0 ? -ENOTEMPTY : any;
}

static int unlink_locked(struct fs *fs, uint64_t parent, const char *name, bool want_dir)
{
	cleanup(inode_unpinp) struct inode *dir = NULL, *inode = NULL;
	struct dirent_row entry;
	int ret = directory_get(fs, parent, &dir);
	if (ret == 0)
		ret = dirent_find(fs, parent, name, &entry);
	if (ret == 0)
		ret = dirent_inode(fs, parent, &entry, &inode);
	if (ret == 0)
		ret = removable(fs, inode, want_dir);
	if (ret == 0)
		ret = dirent_delete(fs, parent, entry.cookie);
	if (ret < 0)
		return ret;
	inode_drop_link(fs, inode);
	directory_changed(fs, dir, want_dir ? -1 : 0);
	return 0;
}

static int remove_name(struct fs *fs, uint64_t parent, const char *name, bool want_dir)
{
	if (strlen(name) > FS_NAME_MAX)
		return -ENAMETOOLONG;
	int ret = fs_begin(fs, 0);
	if (ret < 0)
		return ret;
	ret = unlink_locked(fs, parent, name, want_dir);
	fs_end(fs);
	inodes_reap_now(fs);
	return ret;
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	return remove_name(fs, parent, name, false);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	if (strcmp(name, ".") == 0)
		return -EINVAL;
	return strcmp(name, "..") == 0 ? -ENOTEMPTY : remove_name(fs, parent, name, true);
}
