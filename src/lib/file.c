/* SPDX-License-Identifier: MIT */
/* Files by path. The lookup's reference on the inode is the open file's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/internal.h"

#define PATH_BYTES 4096u

/* @path cut into its directory's inode and its last name, which points into @buf. */
static int split(struct stablefs *v, const char *path, char buf[PATH_BYTES], uint64_t *parent,
	const char **name)
{
	size_t len = strlen(path);
	if (path[0] != '/')
		return -EINVAL;
	if (len >= PATH_BYTES)
		return -ENAMETOOLONG;
	memcpy(buf, path, len + 1);
	char *slash = strrchr(buf, '/');
	if (!slash[1])
		return -EISDIR;
	*slash = '\0';
	*name = slash + 1;
	return fs_resolve(v->fs, slash == buf ? "/" : buf, parent);
}

static struct fs_owner owner(void)
{
	return (struct fs_owner){.uid = geteuid(), .gid = getegid()};
}

static int look_or_make(
	struct stablefs *v, uint64_t parent, const char *name, unsigned flags, struct stat *st)
{
	struct fs_owner me = owner();
	int err = flags & STABLEFS_EXCL ? -ENOENT : fs_lookup(v->fs, parent, name, st);
	if (err != -ENOENT || !(flags & STABLEFS_CREATE))
		return err;
	err = fs_mknod(v->fs, parent, name, S_IFREG | 0644, 0, &me, st);
	/* Somebody else was quicker. */
	return err == -EEXIST && !(flags & STABLEFS_EXCL) ? fs_lookup(v->fs, parent, name, st)
							  : err;
}

static int resize(struct stablefs *v, uint64_t ino, uint64_t size_bytes)
{
	struct stat st = {.st_size = (off_t)size_bytes};
	if (size_bytes > INT64_MAX)
		return -EFBIG;
	return fs_setattr(v->fs, ino, FS_SET_SIZE, &st, &st);
}

static int open_inode(
	struct stablefs *v, const struct stat *st, unsigned flags, struct stablefs_file **out)
{
	if (!S_ISREG(st->st_mode))
		return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
	int err = flags & STABLEFS_TRUNCATE ? resize(v, st->st_ino, 0) : 0;
	if (!err)
		err = fs_file_open(v->fs, st->st_ino);
	if (err < 0)
		return err;
	struct stablefs_file *f = calloc(1, sizeof(*f));
	if (!f) {
		fs_file_release(v->fs, st->st_ino);
		return -ENOMEM;
	}
	f->v = v;
	f->ino = st->st_ino;
	fs_heard_init(v->fs, f->ino, &f->heard);
	atomic_fetch_add(&v->files, 1);
	*out = f;
	return 0;
}

int stablefs_file_open(
	struct stablefs *v, const char *path, unsigned flags, struct stablefs_file **out)
{
	char buf[PATH_BYTES];
	const char *name;
	uint64_t parent;
	struct stat st;
	if (flags & ~(unsigned)(STABLEFS_CREATE | STABLEFS_EXCL | STABLEFS_TRUNCATE) ||
		(flags & STABLEFS_EXCL && !(flags & STABLEFS_CREATE)))
		return -EINVAL;
	int err = split(v, path, buf, &parent, &name);
	if (!err)
		err = look_or_make(v, parent, name, flags, &st);
	if (err < 0)
		return err;
	err = open_inode(v, &st, flags, out);
	if (err < 0)
		fs_forget(v->fs, st.st_ino, 1);
	return err;
}

int stablefs_file_close(struct stablefs_file *f)
{
	struct stablefs *v = f->v;
	if (atomic_load(&f->under_way))
		return -EBUSY;
	fs_file_release(v->fs, f->ino);
	fs_forget(v->fs, f->ino, 1);
	free(f);
	atomic_fetch_sub(&v->files, 1);
	return 0;
}

int stablefs_file_size(struct stablefs_file *f, uint64_t *size_bytes)
{
	struct stat st;
	int err = fs_getattr(f->v->fs, f->ino, &st);
	if (err == 0)
		*size_bytes = (uint64_t)st.st_size;
	return err;
}

int stablefs_file_resize(struct stablefs_file *f, uint64_t size_bytes)
{
	return resize(f->v, f->ino, size_bytes);
}

int stablefs_file_sync(struct stablefs_file *f)
{
	int err = fs_fsync(f->v->fs, f->ino, false);
	int late = fs_heard_check(f->v->fs, f->ino, &f->heard);
	return err < 0 ? err : late;
}

int stablefs_mkdir(struct stablefs *v, const char *path)
{
	char buf[PATH_BYTES];
	const char *name;
	uint64_t parent;
	struct stat st;
	struct fs_owner me = owner();
	int err = split(v, path, buf, &parent, &name);
	if (!err)
		err = fs_mknod(v->fs, parent, name, S_IFDIR | 0755, 0, &me, &st);
	if (!err)
		fs_forget(v->fs, st.st_ino, 1);
	return err;
}

int stablefs_unlink(struct stablefs *v, const char *path)
{
	char buf[PATH_BYTES];
	const char *name;
	uint64_t parent;
	int err = split(v, path, buf, &parent, &name);
	return err < 0 ? err : fs_unlink(v->fs, parent, name);
}
