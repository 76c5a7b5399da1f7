/* SPDX-License-Identifier: MIT */
/* Rename: one entry moves, another may give way or change places with it. The rows change inside a
 * savepoint; memory follows when they have. */
#include "fs/internal.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#define RENAME_PAGES 16u

#define ALL_FLAGS (RENAME_NOREPLACE | RENAME_EXCHANGE)

struct side {
	uint64_t parent;
	const char *name;
	struct inode *dir; /* pinned */
	struct dirent_row entry;
	struct inode *inode; /* pinned; NULL: no such entry */
};

struct move {
	struct side from, to;
	bool exchange, no_replace;
	const struct fs_owner *owner; /* of a whiteout; NULL: none is wanted */
	struct inode *whiteout;       /* pinned; NULL: none */
};

static void side_release(struct fs *fs, struct side *s)
{
	if (s->inode)
		inode_unpin(fs, s->inode);
	if (s->dir)
		inode_unpin(fs, s->dir);
}

static int side_find(struct fs *fs, struct side *s)
{
	int ret = inode_get_locked(fs, s->parent, &s->dir);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&s->dir->lock);
	bool is_dir = S_ISDIR(s->dir->attr.mode), alive = s->dir->attr.nlink > 0;
	pthread_mutex_unlock(&s->dir->lock);
	if (!is_dir || !alive)
		return is_dir ? -ENOENT : -ENOTDIR;
	ret = dirent_find(fs, s->parent, s->name, &s->entry);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	return dirent_inode(fs, s->parent, &s->entry, &s->inode);
}

static bool is_dir(const struct side *s)
{
	return s->inode && S_ISDIR(s->entry.type);
}

/* Is @ino the directory @dir, or above it? A database can lead in a circle: `seen` is where the way
 * was after 1, 2, 4, 8, ... steps. */
static int is_above(struct fs *fs, uint64_t ino, uint64_t dir)
{
	uint64_t seen = 0, steps = 0, next = 1;
	while (dir != ino && dir != FS_ROOT_INO) {
		struct inode *inode;
		int ret = inode_get_locked(fs, dir, &inode);
		if (ret < 0)
			return ret;
		pthread_mutex_lock(&inode->lock);
		dir = inode->attr.parent;
		pthread_mutex_unlock(&inode->lock);
		inode_unpin(fs, inode);
		if (dir == 0)
			return 0;
		if (dir == seen)
			return fs_damaged(fs, dir, "a directory inside itself");
		if (++steps == next) {
			seen = dir;
			next *= 2;
		}
	}
	return dir == ino;
}

/* A directory must not move into itself. */
static int check_loop(struct fs *fs, const struct side *what, uint64_t into)
{
	if (!is_dir(what))
		return 0;
	int above = is_above(fs, what->entry.ino, into);
	return above > 0 ? -EINVAL : above;
}

static int check_replaced(struct fs *fs, const struct move *m)
{
	if (!m->to.inode)
		return 0;
	if (m->no_replace)
		return -EEXIST;
	if (is_dir(&m->from) && !is_dir(&m->to))
		return -ENOTDIR;
	if (!is_dir(&m->from) && is_dir(&m->to))
		return -EISDIR;
	if (!is_dir(&m->to))
		return 0;
	int any = dirent_any(fs, m->to.entry.ino);
	return any > 0 ? -ENOTEMPTY : any;
}

/* Subdirectories that the target's directory has more, where they are not the same. */
static int links_of(const struct move *m)
{
	return m->from.dir == m->to.dir ? 0 : is_dir(&m->from) - is_dir(&m->to);
}

static int move_check(struct fs *fs, const struct move *m)
{
	if (!m->from.inode || (m->exchange && !m->to.inode))
		return -ENOENT;
	int ret = check_loop(fs, &m->from, m->to.parent);
	if (ret == 0 && m->exchange)
		ret = check_loop(fs, &m->to, m->from.parent);
	if (ret == 0 && !m->exchange)
		ret = check_replaced(fs, m);
	if (ret == 0)
		ret = directory_has_room(m->to.dir, links_of(m));
	return ret;
}

/* ---- rows ---- */

static int rows_move(struct fs *fs, const struct move *m)
{
	int ret = dirent_delete(fs, m->from.parent, m->from.entry.cookie);
	if (ret == 0 && m->to.inode)
		ret = dirent_delete(fs, m->to.parent, m->to.entry.cookie);
	if (ret == 0)
		ret = dirent_insert(fs, m->to.parent, m->to.name, m->from.inode);
	struct inode *follows = m->exchange ? m->to.inode : m->whiteout;
	if (ret == 0 && follows)
		ret = dirent_insert(fs, m->from.parent, m->from.name, follows);
	return ret;
}

/* Where an inode says that it is, for a way back. */
static void place_restore(const struct side *s)
{
	if (!s->inode)
		return;
	pthread_mutex_lock(&s->inode->lock);
	s->inode->attr.parent = s->parent;
	s->inode->attr.cookie = s->entry.cookie;
	pthread_mutex_unlock(&s->inode->lock);
}

static int rows_move_atomic(struct fs *fs, const struct move *m)
{
	int ret = db_exec(&fs->db, DB_SAVEPOINT, "");
	if (ret < 0)
		return ret;
	ret = rows_move(fs, m);
	if (ret < 0 && db_exec(&fs->db, DB_ROLLBACK_TO, "") < 0)
		fs_fail(fs, ret);
	if (ret < 0) {
		place_restore(&m->from);
		place_restore(&m->to);
	}
	(void)db_exec(&fs->db, DB_RELEASE, "");
	return ret;
}

/* ---- memory ---- */

static void dir_changed(struct fs *fs, struct inode *dir, int links)
{
	pthread_mutex_lock(&dir->lock);
	dir->attr.nlink = (uint32_t)((int)dir->attr.nlink + links);
	dir->attr_dirty |= links != 0;
	dir->transaction = atomic_load(&fs->transaction);
	inode_touch(dir, true, true, time_now_ns());
	inode_mark_dirty(fs, dir);
	pthread_mutex_unlock(&dir->lock);
}

static void moved(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->transaction = atomic_load(&fs->transaction);
	inode_touch(inode, false, true, time_now_ns());
	inode_mark_dirty(fs, inode);
	pthread_mutex_unlock(&inode->lock);
}

static void memory_move(struct fs *fs, const struct move *m)
{
	int from_links = -is_dir(&m->from), to_links = is_dir(&m->from);
	if (m->exchange) {
		from_links += is_dir(&m->to);
		to_links -= is_dir(&m->to);
		moved(fs, m->to.inode);
	} else if (m->to.inode) {
		to_links -= is_dir(&m->to);
		inode_drop_link(fs, m->to.inode);
	}
	moved(fs, m->from.inode);
	dir_changed(fs, m->from.dir, from_links);
	dir_changed(fs, m->to.dir, to_links);
}

/* What says "there is nothing", to those who lay one tree over another. */
static int whiteout_new(struct fs *fs, struct move *m)
{
	int64_t now = time_now_ns();
	struct inode_attr a = {.mode = S_IFCHR,
		.nlink = 1,
		.uid = m->owner->uid,
		.gid = m->owner->gid,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now};
	pthread_mutex_lock(&m->from.dir->lock);
	if (m->from.dir->attr.mode & S_ISGID)
		a.gid = m->from.dir->attr.gid;
	pthread_mutex_unlock(&m->from.dir->lock);
	return inode_new(fs, &a, &m->whiteout);
}

static int rename_locked(struct fs *fs, struct move *m)
{
	int ret = side_find(fs, &m->from);
	if (ret == 0)
		ret = side_find(fs, &m->to);
	if (ret == 0)
		ret = move_check(fs, m);
	if (ret < 0)
		return ret;
	if (m->from.inode == m->to.inode)
		return 0; /* two links to one file: POSIX wants nothing to happen */
	if (m->owner)
		ret = whiteout_new(fs, m);
	if (ret == 0)
		ret = rows_move_atomic(fs, m);
	if (ret == 0)
		memory_move(fs, m);
	if (m->whiteout && ret < 0)
		inode_discard(fs, m->whiteout);
	else if (m->whiteout)
		inode_unpin(fs, m->whiteout);
	return ret;
}

static int rename_any(struct fs *fs, struct move *m, unsigned flags)
{
	m->exchange = flags & RENAME_EXCHANGE;
	m->no_replace = flags & RENAME_NOREPLACE;
	if ((flags & ~ALL_FLAGS) || (m->exchange && (m->no_replace || m->owner)))
		return -EINVAL;
	int ret = name_check(m->from.name);
	if (ret == 0)
		ret = name_check(m->to.name);
	if (ret == 0)
		ret = fs_begin(fs, RENAME_PAGES);
	if (ret < 0)
		return ret;
	ret = rename_locked(fs, m);
	side_release(fs, &m->from);
	side_release(fs, &m->to);
	fs_end(fs);
	inodes_reap_now(fs);
	return ret;
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags)
{
	struct move m = {.from = {.parent = parent, .name = name},
		.to = {.parent = new_parent, .name = new_name}};
	return rename_any(fs, &m, flags);
}

int fs_rename_whiteout(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags, const struct fs_owner *owner)
{
	struct move m = {.from = {.parent = parent, .name = name},
		.to = {.parent = new_parent, .name = new_name},
		.owner = owner};
	return rename_any(fs, &m, flags & ~RENAME_WHITEOUT);
}
