/* SPDX-License-Identifier: MIT */
/* Directories: read from the file system's cookie on, with attributes where the kernel asks. */
#include "fuse/internal.h"

#include <errno.h>
#include <linux/fuse.h>
#include "base/cleanup.h"

/* A page or two of entries on their way to the kernel. */
struct listing {
	fuse_req_t req;
	struct front *f;
	uint64_t ino; /* the directory */
	char *buf;    /* owned */
	size_t size, used;
	bool plus;
	uint64_t names; /* fs_names_version() before the listing */
};

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static struct stat stat_of(const struct fs_dirent *entry)
{
	return (struct stat){.st_ino = entry->ino, .st_mode = entry->type};
}

static bool add_plain(void *ctx, const struct fs_dirent *entry)
{
	struct listing *l = ctx;
	struct stat st = stat_of(entry);
	size_t room = l->size - l->used;
	size_t need = fuse_add_direntry(
		l->req, l->buf + l->used, room, entry->name, &st, (off_t)entry->cookie);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

/* First without a node: looking up needs the lock that the listing holds. */
static bool add_plus(void *ctx, const struct fs_dirent *entry)
{
	struct listing *l = ctx;
	struct fuse_entry_param e = {.attr = stat_of(entry)};
	size_t room = l->size - l->used;
	size_t need = fuse_add_direntry_plus(
		l->req, l->buf + l->used, room, entry->name, &e, (off_t)entry->cookie);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static struct fuse_direntplus *plus_at(const struct listing *l, size_t at)
{
	return at < l->used ? (struct fuse_direntplus *)(l->buf + at) : NULL;
}

/* Each entry but the dots becomes a lookup, which takes a reference. What was removed meanwhile
 * stays without a node: the kernel looks it up by itself then. */
static void lookup_listed(struct listing *l)
{
	struct fuse_direntplus *d;
	for (size_t at = 0; (d = plus_at(l, at)); at += FUSE_DIRENTPLUS_SIZE(d)) {
		char name[FS_NAME_MAX + 1];
		size_t len = min_u64(d->dirent.namelen, FS_NAME_MAX);
		memcpy(name, d->dirent.name, len);
		name[len] = '\0';
		struct stat st;
		if (is_dot(name) ||
			fs_lookup_listed(l->f->fs, l->ino, name, d->dirent.ino, l->names, &st) < 0)
			continue;
		struct fuse_entry_param e = reply_entry_param(l->f, &st);
		fuse_add_direntry_plus(
			l->req, (char *)d, l->used - at, name, &e, (off_t)d->dirent.off);
	}
}

/* The references of a reply that nobody took. */
static void forget_listed(const struct listing *l)
{
	struct fuse_direntplus *d;
	for (size_t at = 0; (d = plus_at(l, at)); at += FUSE_DIRENTPLUS_SIZE(d))
		if (d->entry_out.nodeid)
			fs_forget(l->f->fs, d->entry_out.nodeid, 1);
}

/* Entries of the control directory are looked up one by one. */
static void list(struct listing *l, uint64_t cookie)
{
	int err;
	l->names = fs_names_version(l->f->fs);
	if (control_owns(l->ino))
		err = control_readdir(
			l->f->control, l->ino, cookie, l->plus ? add_plus : add_plain, l);
	else
		err = fs_readdir(l->f->fs, l->ino, cookie, l->plus ? add_plus : add_plain, l);
	/* What fits was found before the error: it is given first, the error next time. */
	if (err < 0 && !l->used) {
		reply_err(l->req, err);
		return;
	}
	if (l->plus && !control_owns(l->ino))
		lookup_listed(l);
	if (fuse_reply_buf(l->req, l->buf, l->used) < 0 && l->plus)
		forget_listed(l);
}

static void readdir_any(fuse_req_t req, uint64_t ino, size_t size, off_t offset, bool plus)
{
	cleanup(cleanup_freep) char *buf = malloc(size);
	if (!buf) {
		reply_err(req, -ENOMEM);
		return;
	}
	struct listing l = {
		.req = req, .f = front_of(req), .ino = ino, .buf = buf, .size = size, .plus = plus};
	list(&l, (uint64_t)offset);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fuse_reply_open(req, fi);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fi;
	reply_err(req, 0);
}

void op_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	readdir_any(req, ino, size, offset, false);
}

void op_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	readdir_any(req, ino, size, offset, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	(void)data_only, (void)fi;
	reply_err(req, control_owns(ino) ? 0 : fs_sync(front_of(req)->fs));
}
