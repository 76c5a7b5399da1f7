/* SPDX-License-Identifier: MIT */
/* The namespace: names of the root that belong to the control directory are looked up there, and
 * cannot be made, removed or moved; all others are the file system's. */
#include "fuse/internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>

static struct fs_owner owner_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	return (struct fs_owner){.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
}

/* The name, or the directory that it stands in, is the control directory's. */
static bool is_reserved(uint64_t parent, const char *name)
{
	return control_owns(parent) || control_is_root_name(parent, name);
}

static void lookup_control(fuse_req_t req, uint64_t parent, const char *name)
{
	struct stat st;
	int err = control_lookup(front_of(req)->control, parent, name, &st);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	struct fuse_entry_param e = reply_entry_param(front_of(req), &st);
	e.attr_timeout = 0; /* sizes and contents change by themselves */
	fuse_reply_entry(req, &e);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (is_reserved(parent, name)) {
		lookup_control(req, parent, name);
		return;
	}
	struct stat st;
	int err = fs_lookup(front_of(req)->fs, parent, name, &st);
	if (err == -ENOENT)
		reply_no_entry(req);
	else
		reply_entry(req, err, &st);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	if (!control_owns(ino))
		fs_forget(front_of(req)->fs, ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		if (!control_owns(forgets[i].ino))
			fs_forget(front_of(req)->fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1];
	int err = control_owns(ino) ? -EINVAL
				    : fs_readlink(front_of(req)->fs, ino, target, sizeof(target));
	if (err < 0)
		reply_err(req, err);
	else
		fuse_reply_readlink(req, target);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fs_owner owner = owner_of(req);
	struct stat st;
	int err = is_reserved(parent, name)
			  ? -EPERM
			  : fs_mknod(front_of(req)->fs, parent, name, mode, rdev, &owner, &st);
	reply_entry(req, err, &st);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	op_mknod(req, parent, name, S_IFDIR | (mode & ~S_IFMT), 0);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs_owner owner = owner_of(req);
	struct stat st;
	int err = is_reserved(parent, name)
			  ? -EPERM
			  : fs_symlink(front_of(req)->fs, parent, name, target, &owner, &st);
	reply_entry(req, err, &st);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct stat st;
	int err = control_owns(ino) || is_reserved(new_parent, new_name)
			  ? -EPERM
			  : fs_link(front_of(req)->fs, ino, new_parent, new_name, &st);
	reply_entry(req, err, &st);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_err(req,
		is_reserved(parent, name) ? -EPERM : fs_unlink(front_of(req)->fs, parent, name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	reply_err(req,
		is_reserved(parent, name) ? -EPERM : fs_rmdir(front_of(req)->fs, parent, name));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct fs *fs = front_of(req)->fs;
	struct fs_owner owner = owner_of(req);
	int err;
	if (is_reserved(parent, name) || is_reserved(new_parent, new_name))
		err = -EPERM;
	else if (flags & RENAME_WHITEOUT)
		err = fs_rename_whiteout(fs, parent, name, new_parent, new_name, flags, &owner);
	else
		err = fs_rename(fs, parent, name, new_parent, new_name, flags);
	reply_err(req, err);
}
