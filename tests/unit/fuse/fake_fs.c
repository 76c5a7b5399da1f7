/* SPDX-License-Identifier: MIT */
/* The file system that the front end's tests stand on. */
#include "fake_fs.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
	char name[FS_NAME_MAX + 1]; /* "": free */
	struct stat st;
	uint8_t *data;
	struct {
		char name[32]; /* "": free */
		char value[32];
		size_t size;
	} xattrs[FAKE_XATTRS];
};

struct fs {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct file files[FAKE_FILES];
	struct fs_io *held[64];
	unsigned held_count;
	struct fs_io *sampled; /* its bytes have been taken */
	bool hold;
	struct fake_syncs syncs;
	int sync_err;
	uint64_t free_bytes;
	unsigned opens;
	int64_t references;
};

struct fs *fake_fs_new(void)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->changed, NULL);
	return fs;
}

void fake_fs_free(struct fs *fs)
{
	for (unsigned i = 0; i < FAKE_FILES; i++)
		free(fs->files[i].data);
	pthread_cond_destroy(&fs->changed);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

static struct file *file_of(struct fs *fs, uint64_t ino)
{
	bool there = ino >= 2 && ino < 2 + FAKE_FILES && fs->files[ino - 2].name[0];
	return there ? &fs->files[ino - 2] : NULL;
}

static struct file *file_named(struct fs *fs, const char *name)
{
	for (unsigned i = 0; i < FAKE_FILES; i++)
		if (!strcmp(fs->files[i].name, name))
			return &fs->files[i];
	return NULL;
}

/* ---- transfers ---- */

static void take_bytes(struct fs *fs, struct fs_io *io)
{
	struct file *f = file_of(fs, io->ino);
	uint8_t *to = f->data + io->offset_bytes;
	const void *from = source_sample(io->source, SAMPLE_DATA, 0, io->len_bytes, to);
	if (from != to)
		memcpy(to, from, io->len_bytes);
}

static void transfer(struct fs *fs, struct fs_io *io, int err)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, io->ino);
	uint64_t size = (uint64_t)f->st.st_size;
	io->done_bytes = io->len_bytes;
	if (!err && io->kind == STRIPE_WRITE) {
		if (fs->sampled != io)
			take_bytes(fs, io);
		io->allocated = io->offset_bytes + io->len_bytes > size;
		f->st.st_size = (off_t)max_u64(size, io->offset_bytes + io->len_bytes);
	} else if (!err && io->kind == STRIPE_READ) {
		uint64_t left = size > io->offset_bytes ? size - io->offset_bytes : 0;
		io->done_bytes = (uint32_t)min_u64(io->len_bytes, left);
		memcpy(io->data, f->data + io->offset_bytes, io->done_bytes);
	}
	if (fs->sampled == io)
		fs->sampled = NULL;
	pthread_mutex_unlock(&fs->lock);
	io->done(io, err);
}

void fake_fs_sample(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	fs->sampled = fs->held[0];
	take_bytes(fs, fs->sampled);
	pthread_mutex_unlock(&fs->lock);
}

const uint8_t *fake_fs_data(struct fs *fs, uint64_t ino)
{
	pthread_mutex_lock(&fs->lock);
	const uint8_t *data = file_of(fs, ino)->data;
	pthread_mutex_unlock(&fs->lock);
	return data;
}

void fs_submit(struct fs *fs, struct fs_io *io)
{
	pthread_mutex_lock(&fs->lock);
	bool hold = fs->hold;
	if (hold)
		fs->held[fs->held_count++] = io;
	pthread_cond_broadcast(&fs->changed);
	pthread_mutex_unlock(&fs->lock);
	if (!hold)
		transfer(fs, io, 0);
}

void fs_submit_rest(struct fs *fs, struct fs_io *io)
{
	fs_submit(fs, io);
}

/* Nobody asks: there is no engine's thread. */
bool fs_submit_now(struct fs *fs, struct fs_io *io)
{
	(void)fs;
	(void)io;
	return false;
}

void fake_fs_hold(struct fs *fs, bool on)
{
	pthread_mutex_lock(&fs->lock);
	fs->hold = on;
	pthread_mutex_unlock(&fs->lock);
}

struct fs_io *fake_fs_wait_held(struct fs *fs, unsigned count)
{
	pthread_mutex_lock(&fs->lock);
	while (fs->held_count < count)
		pthread_cond_wait(&fs->changed, &fs->lock);
	struct fs_io *io = fs->held[fs->held_count - 1];
	pthread_mutex_unlock(&fs->lock);
	return io;
}

void fake_fs_finish_one(struct fs *fs, struct fs_io *io, int err)
{
	pthread_mutex_lock(&fs->lock);
	unsigned i = 0;
	while (fs->held[i] != io)
		i++;
	memmove(fs->held + i, fs->held + i + 1, (--fs->held_count - i) * sizeof(fs->held[0]));
	pthread_mutex_unlock(&fs->lock);
	transfer(fs, io, err);
}

void fake_fs_finish(struct fs *fs, int err)
{
	pthread_mutex_lock(&fs->lock);
	struct fs_io *oldest = fs->held[0];
	pthread_mutex_unlock(&fs->lock);
	fake_fs_finish_one(fs, oldest, err);
}

struct fs_io *fake_fs_held(struct fs *fs, uint64_t ino)
{
	struct fs_io *found = NULL;
	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < fs->held_count; i++) {
		if (fs->held[i]->ino != ino)
			continue;
		assert(!found);
		found = fs->held[i];
	}
	pthread_mutex_unlock(&fs->lock);
	assert(found);
	return found;
}

/* ---- names ---- */

int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	const struct fs_owner *owner, struct stat *st)
{
	(void)parent, (void)rdev;
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_named(fs, name) ? NULL : file_named(fs, "");
	if (f) {
		strcpy(f->name, name);
		f->data = calloc(1, FAKE_FILE_BYTES);
		f->st = (struct stat){.st_ino = 2 + (ino_t)(f - fs->files),
			.st_mode = mode,
			.st_nlink = 1,
			.st_uid = owner->uid,
			.st_gid = owner->gid};
		*st = f->st;
		fs->references++;
	}
	pthread_mutex_unlock(&fs->lock);
	return f ? 0 : -EEXIST;
}

int fs_tmpfile(
	struct fs *fs, uint64_t parent, mode_t mode, const struct fs_owner *owner, struct stat *st)
{
	int err = fs_mknod(fs, parent, FAKE_NAMELESS, S_IFREG | mode, 0, owner, st);
	st->st_nlink = 0;
	return err;
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st)
{
	(void)parent;
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_named(fs, name);
	if (f) {
		*st = f->st;
		fs->references++;
	}
	pthread_mutex_unlock(&fs->lock);
	return f ? 0 : -ENOENT;
}

uint64_t fs_names_version(struct fs *fs)
{
	(void)fs;
	return 0;
}

int fs_lookup_listed(struct fs *fs, uint64_t parent, const char *name, uint64_t ino,
	uint64_t version, struct stat *st)
{
	(void)ino, (void)version;
	return fs_lookup(fs, parent, name, st);
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	(void)ino;
	pthread_mutex_lock(&fs->lock);
	fs->references -= (int64_t)count;
	pthread_mutex_unlock(&fs->lock);
}

int fs_getattr(struct fs *fs, uint64_t ino, struct stat *st)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	*st = f ? f->st : (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0755};
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

int fs_setattr(
	struct fs *fs, uint64_t ino, unsigned set, const struct stat *values, struct stat *out)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	if (set & FS_SET_MODE)
		f->st.st_mode = values->st_mode;
	if (set & FS_SET_SIZE)
		f->st.st_size = values->st_size;
	*out = f->st;
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

int fs_file_open(struct fs *fs, uint64_t ino)
{
	(void)ino;
	pthread_mutex_lock(&fs->lock);
	fs->opens++;
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

void fs_file_release(struct fs *fs, uint64_t ino)
{
	(void)ino;
	pthread_mutex_lock(&fs->lock);
	fs->opens--;
	pthread_mutex_unlock(&fs->lock);
}

struct fake_syncs fake_fs_syncs(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	struct fake_syncs syncs = fs->syncs;
	pthread_mutex_unlock(&fs->lock);
	return syncs;
}

void fake_fs_fail_syncs(struct fs *fs, int err)
{
	pthread_mutex_lock(&fs->lock);
	fs->sync_err = err;
	pthread_mutex_unlock(&fs->lock);
}

unsigned fake_fs_opens(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	unsigned n = fs->opens;
	pthread_mutex_unlock(&fs->lock);
	return n;
}

int64_t fake_fs_references(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	int64_t n = fs->references;
	pthread_mutex_unlock(&fs->lock);
	return n;
}

void fake_fs_set_mode(struct fs *fs, uint64_t ino, mode_t mode)
{
	pthread_mutex_lock(&fs->lock);
	file_of(fs, ino)->st.st_mode = mode;
	pthread_mutex_unlock(&fs->lock);
}

mode_t fake_fs_mode(struct fs *fs, uint64_t ino)
{
	pthread_mutex_lock(&fs->lock);
	mode_t mode = file_of(fs, ino)->st.st_mode;
	pthread_mutex_unlock(&fs->lock);
	return mode;
}

int fs_path(struct fs *fs, uint64_t ino, char *path, size_t size)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	if (f)
		snprintf(path, size, "/%s", f->name);
	pthread_mutex_unlock(&fs->lock);
	return f ? 0 : -ENOENT;
}

int fs_resolve(struct fs *fs, const char *path, uint64_t *ino)
{
	(void)fs, (void)path;
	*ino = FS_ROOT_INO;
	return 0;
}

/* ---- attributes ---- */

/* The place of @name, a free one for "", or FAKE_XATTRS. */
static unsigned xattr_find(const struct file *f, const char *name)
{
	unsigned i = 0;
	while (f && i < FAKE_XATTRS && strcmp(f->xattrs[i].name, name))
		i++;
	return f ? i : FAKE_XATTRS;
}

ssize_t fs_getxattr(struct fs *fs, uint64_t ino, const char *name, void *value, size_t size)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	unsigned i = xattr_find(f, name);
	ssize_t len = i < FAKE_XATTRS ? (ssize_t)f->xattrs[i].size : -ENODATA;
	if (len > (ssize_t)size)
		len = -ERANGE;
	if (len > 0)
		memcpy(value, f->xattrs[i].value, (size_t)len);
	pthread_mutex_unlock(&fs->lock);
	return len;
}

int fs_setxattr(
	struct fs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	(void)flags;
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	unsigned i = xattr_find(f, name);
	if (i == FAKE_XATTRS)
		i = xattr_find(f, "");
	bool fits = i < FAKE_XATTRS && size <= sizeof(f->xattrs[i].value) &&
		    strlen(name) < sizeof(f->xattrs[i].name);
	if (fits) {
		strcpy(f->xattrs[i].name, name);
		memcpy(f->xattrs[i].value, value, size);
		f->xattrs[i].size = size;
	}
	pthread_mutex_unlock(&fs->lock);
	return fits ? 0 : -ENOSPC;
}

int fs_removexattr(struct fs *fs, uint64_t ino, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_of(fs, ino);
	unsigned i = xattr_find(f, name);
	if (i < FAKE_XATTRS)
		f->xattrs[i].name[0] = '\0';
	pthread_mutex_unlock(&fs->lock);
	return i < FAKE_XATTRS ? 0 : -ENODATA;
}

int fs_birth_time(struct fs *fs, uint64_t ino, struct timespec *out)
{
	(void)fs;
	*out = (struct timespec){.tv_sec = FAKE_BIRTH_S, .tv_nsec = (long)ino};
	return 0;
}

uint32_t fs_generation(const struct fs *fs, uint64_t ino)
{
	(void)fs, (void)ino;
	return FAKE_GENERATION;
}

/* ---- what the tests do not look at ---- */

int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	const struct fs_owner *owner, struct stat *st)
{
	(void)fs, (void)parent, (void)name, (void)target, (void)owner, (void)st;
	return -EPERM;
}

int fs_readlink(struct fs *fs, uint64_t ino, char *target, size_t size)
{
	(void)fs, (void)ino, (void)target, (void)size;
	return -EINVAL;
}

int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st)
{
	(void)fs, (void)ino, (void)parent, (void)name, (void)st;
	return -EPERM;
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	(void)parent;
	pthread_mutex_lock(&fs->lock);
	struct file *f = file_named(fs, name);
	if (f) {
		free(f->data);
		*f = (struct file){.name = ""};
	}
	pthread_mutex_unlock(&fs->lock);
	return f ? 0 : -ENOENT;
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	(void)fs, (void)parent, (void)name;
	return -EPERM;
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags)
{
	(void)fs, (void)parent, (void)name, (void)new_parent, (void)new_name, (void)flags;
	return -EPERM;
}

int fs_rename_whiteout(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	const char *new_name, unsigned flags, const struct fs_owner *owner)
{
	(void)owner;
	return fs_rename(fs, parent, name, new_parent, new_name, flags);
}

int fs_readdir(struct fs *fs, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx)
{
	(void)fs, (void)ino, (void)cookie, (void)fill, (void)ctx;
	return 0;
}

ssize_t fs_listxattr(struct fs *fs, uint64_t ino, char *list, size_t size)
{
	(void)fs, (void)ino, (void)list, (void)size;
	return 0;
}

void fs_inherit_xattrs(struct fs *fs, const char *const *names)
{
	(void)fs, (void)names;
}

int fs_statfs(struct fs *fs, struct statvfs *st)
{
	memset(st, 0, sizeof(*st));
	pthread_mutex_lock(&fs->lock);
	st->f_bsize = st->f_frsize = 4096;
	st->f_bfree = st->f_bavail = fs->free_bytes / 4096;
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

void fake_fs_set_free(struct fs *fs, uint64_t bytes)
{
	pthread_mutex_lock(&fs->lock);
	fs->free_bytes = bytes;
	pthread_mutex_unlock(&fs->lock);
}

int fs_fsync(struct fs *fs, uint64_t ino, bool data_only)
{
	(void)ino;
	pthread_mutex_lock(&fs->lock);
	fs->syncs.full += !data_only;
	fs->syncs.data += data_only;
	int err = fs->sync_err;
	pthread_mutex_unlock(&fs->lock);
	return err;
}

void fs_heard_init(struct fs *fs, uint64_t ino, struct fs_heard *heard)
{
	(void)fs, (void)ino;
	*heard = (struct fs_heard){0};
}

int fs_heard_check(struct fs *fs, uint64_t ino, struct fs_heard *heard)
{
	(void)fs, (void)ino, (void)heard;
	return 0;
}

int fs_sync(struct fs *fs)
{
	(void)fs;
	return 0;
}

int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t len)
{
	(void)fs, (void)ino, (void)mode, (void)offset, (void)len;
	return -EOPNOTSUPP;
}

int64_t fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence)
{
	(void)fs, (void)ino, (void)offset, (void)whence;
	return -ENXIO;
}

int fs_owners(struct fs *fs, uint64_t volume_block, uint64_t blocks,
	bool (*each)(void *ctx, const struct fs_extent *part), void *ctx)
{
	(void)fs, (void)volume_block, (void)blocks, (void)each, (void)ctx;
	return 0;
}

int fs_file_extents(struct fs *fs, uint64_t ino,
	bool (*each)(void *ctx, const struct fs_extent *extent), void *ctx)
{
	(void)fs, (void)ino, (void)each, (void)ctx;
	return 0;
}

struct fs_stats fs_stats(struct fs *fs)
{
	(void)fs;
	return (struct fs_stats){0};
}

void fs_set_atime(struct fs *fs, const struct fs_atime_options *options)
{
	(void)fs, (void)options;
}

bool fs_cache_hides_read(struct fs *fs, uint64_t ino, bool reads)
{
	(void)fs, (void)ino, (void)reads;
	return false;
}

bool fs_is_read_only(struct fs *fs)
{
	(void)fs;
	return false;
}

enum fs_atime fs_atime_rule(struct fs *fs)
{
	(void)fs;
	return FS_ATIME_RELATIVE;
}
