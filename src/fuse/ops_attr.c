/* SPDX-License-Identifier: MIT */
/* Attributes. Permissions are the kernel's to check (default_permissions). */
#include "fuse/internal.h"

#include <errno.h>
#include "base/log.h"
#include "fuse/caller.h"
#include "fuse/times.h"

/* Less than that counts as none: pages that were accepted before have a claim to it. */
#define SPACE_BYTES (UINT64_C(1) << 20)

/* A file whose pages found no space: the kernel would go on to take more of them for as long as a
 * program writes. Before each write through its cache it asks for what it does not know of the
 * file, by an open, which nobody does for stat(2); and an error of that is the write's. */
static bool is_write_without_space(
	struct front *f, uint64_t ino, const struct fuse_file_info *open_file)
{
	struct statvfs st;
	if (!open_file || !coherence_take_no_space(f->coherence, ino))
		return false;
	return fs_statfs(f->fs, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < SPACE_BYTES;
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	struct stat st;
	if (is_write_without_space(f, ino, fi)) {
		reply_err(req, -ENOSPC);
		return;
	}
	if (!control_owns(ino)) {
		if (!times_getattr(req, ino)) {
			int ret = fs_getattr(f->fs, ino, &st);
			reply_attr(req, ret, &st);
		}
		return;
	}
	int err = control_getattr(f->control, ino, &st);
	if (err < 0)
		reply_err(req, err);
	else
		reply_stat(req, &st, 0);
}

static unsigned set_of(int to_set)
{
	static const struct {
		int fuse;
		unsigned fs;
	} map[] = {
		{FUSE_SET_ATTR_MODE, FS_SET_MODE},
		{FUSE_SET_ATTR_UID, FS_SET_UID},
		{FUSE_SET_ATTR_GID, FS_SET_GID},
		{FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, FS_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, FS_SET_MTIME},
		{FUSE_SET_ATTR_CTIME, FS_SET_CTIME},
		{FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
	};
	unsigned set = 0;
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (to_set & map[i].fuse)
			set |= map[i].fs;
	return set;
}

/* Where the kernel means "now" it says so, and sends its own: so all times of a call are one. */
static unsigned set_now(unsigned set, struct stat *values)
{
	unsigned both = FS_SET_ATIME | FS_SET_ATIME_NOW;
	bool access = (set & both) == both;
	both = FS_SET_MTIME | FS_SET_MTIME_NOW;
	bool change = (set & both) == both;
	if (access)
		set &= ~(unsigned)FS_SET_ATIME_NOW;
	if (change)
		set &= ~(unsigned)FS_SET_MTIME_NOW;
	if (!(access || change) || (set & FS_SET_CTIME))
		return set;
	values->st_ctim = access ? values->st_atim : values->st_mtim;
	return set | FS_SET_CTIME;
}

/* setgid marks a program only where the group may execute it; else it is taken from those who could
 * not have given it. */
static mode_t bits_to_lose(fuse_req_t req, const struct stat *st)
{
	mode_t bits = st->st_mode & S_ISUID;
	if (!(st->st_mode & S_ISGID))
		return bits;
	bool stays = !(st->st_mode & S_IXGRP) &&
		     (caller_is_in_group(req, st->st_gid) || caller_is_capable(req, CAP_FSETID));
	return stays ? bits : bits | S_ISGID;
}

/* The kernel does not look at the mode again by itself. */
static int bits_clear(struct front *f, uint64_t ino, struct stat *st, mode_t bits)
{
	st->st_mode &= ~bits;
	int err = fs_setattr(f->fs, ino, FS_SET_MODE, st, st);
	if (!err && f->session)
		fuse_lowlevel_notify_inval_inode(f->session, ino, -1, 0);
	return err;
}

/* Most files have none: that is found out without a transaction. */
static int capability_drop(struct fs *fs, uint64_t ino)
{
	static const char name[] = "security.capability";
	if (fs_getxattr(fs, ino, name, NULL, 0) == -ENODATA)
		return 0;
	int err = fs_removexattr(fs, ino, name);
	return err == -ENODATA ? 0 : err;
}

void attr_kill_privs(fuse_req_t req, uint64_t ino, bool with_bits)
{
	struct front *f = front_of(req);
	struct stat st;
	int err = fs_getattr(f->fs, ino, &st);
	if (err < 0 || S_ISDIR(st.st_mode))
		return;
	mode_t bits = with_bits ? bits_to_lose(req, &st) : 0;
	if (bits)
		err = bits_clear(f, ino, &st, bits);
	int gone = capability_drop(f->fs, ino);
	if (gone < 0)
		err = gone;
	if (err < 0)
		log_error("inode %lu: cannot clear its privileges: %s", ino, strerror(-err));
	else if (!(st.st_mode & (S_ISUID | S_ISGID)))
		coherence_set_privs(f->coherence, ino, false);
}

/* With its write-back cache the kernel sends the times of a truncation, but of one to the size that
 * the file has: it leaves them as they are. */
static unsigned set_kept(struct front *f, uint64_t ino, unsigned set, struct stat *values)
{
	struct stat st;
	if (!(set & FS_SET_SIZE) || (set & (FS_SET_MTIME | FS_SET_CTIME)) ||
		fs_getattr(f->fs, ino, &st) < 0)
		return set;
	values->st_mtim = st.st_mtim;
	values->st_ctim = st.st_ctim;
	return set | FS_SET_MTIME | FS_SET_CTIME;
}

/* chown(2) to nobody is a chown, too. The kernel sends the ctime alone then, and has not looked who
 * asks, since it leaves the bits to us. */
static int chown_to_nobody(fuse_req_t req, uint64_t ino)
{
	struct stat st;
	int err = fs_getattr(front_of(req)->fs, ino, &st);
	if (err < 0 || !S_ISREG(st.st_mode) || !bits_to_lose(req, &st))
		return err;
	if (fuse_req_ctx(req)->uid != st.st_uid && !caller_is_capable(req, CAP_FOWNER))
		return -EPERM;
	attr_kill_privs(req, ino, true);
	return 0;
}

void op_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *values, int to_set, struct fuse_file_info *fi)
{
	(void)fi;
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		struct stat st;
		int err = control_setattr(f->control, ino, to_set, &st);
		if (err < 0)
			reply_err(req, err);
		else
			fuse_reply_attr(req, &st, 0);
		return;
	}
	unsigned set = set_now(set_of(to_set), values);
	bool push = times_is_push(req);
	/* It has the mtime from us, and another write may have moved it since. */
	if (push)
		set &= ~(unsigned)FS_SET_MTIME;
	else if (!f->options->write_through)
		set = set_kept(f, ino, set, values);
	bool chown = set & (FS_SET_UID | FS_SET_GID);
	if (f->caps.kill_privs && (wire_request_kills_privs() || chown))
		attr_kill_privs(req, ino, true);
	if (set & FS_SET_MODE)
		coherence_set_privs(f->coherence, ino, true);
	struct stat st;
	int err = set == FS_SET_CTIME && !push ? chown_to_nobody(req, ino) : 0;
	if (!err)
		err = fs_setattr(f->fs, ino, set, values, &st);
	if (err < 0 || !times_symlink_set(req, &st))
		reply_attr(req, err, &st);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	struct statvfs st;
	int err = fs_statfs(front_of(req)->fs, &st);
	if (err < 0)
		reply_err(req, err);
	else
		fuse_reply_statfs(req, &st);
}
