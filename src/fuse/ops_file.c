/* SPDX-License-Identifier: MIT */
/* Open files, and what is done to them beside reading and writing.
 *
 * With the write-back cache the kernel reads through descriptors that were opened for writing only,
 * and places appended bytes itself: so nothing here depends on the access mode or on O_APPEND.
 * Locks, and copying ranges, are left to it. */
#include "fuse/internal.h"

#include <errno.h>
#include "base/log.h"
#include "fuse/caller.h"
#include "fuse/times.h"

/* By the policy that it is opened under. One that begins to count later is obeyed by each read and
 * write. */
static int open_direct(struct front *f, struct coherence_file *file, pid_t tid)
{
	enum dio_policy policy = front_policy_of(f, file, tid);
	file->as_buffered = policy == DIO_BUFFERED;
	if (policy != DIO_REFUSE)
		return 0;
	stats_add(&f->stats.refused_open, 1);
	return -EINVAL;
}

/* Only where the kernel looks after its pages. */
static bool goes_around_cache(const struct front *f, const struct coherence_file *file, int flags)
{
	bool reads_only = (flags & O_ACCMODE) == O_RDONLY;
	return file->direct && !file->as_buffered &&
	       (front_goes_around_cache(f) || (reads_only && f->caps.coherent_direct));
}

/* What is opened holds its inode in the file system, then in the coherence table. */
static int file_open(fuse_req_t req, uint64_t ino, int flags, struct coherence_file **out)
{
	struct front *f = front_of(req);
	int err = fs_file_open(f->fs, ino);
	if (err < 0)
		return err;
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	struct coherence_file *file = coherence_open(f->coherence, ino, flags & O_DIRECT, writes);
	err = file ? policy_load(f, file) : -ENOMEM;
	if (!err && file->direct)
		err = open_direct(f, file, fuse_req_ctx(req)->pid);
	if (!err) {
		if (goes_around_cache(f, file, flags))
			coherence_set_around_cache(f->coherence, file);
		fs_heard_init(f->fs, ino, &file->heard);
		*out = file;
		return 0;
	}
	if (file)
		coherence_release(f->coherence, file);
	fs_file_release(f->fs, ino);
	return err;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_open(f->control, req, ino, fi);
		return;
	}
	struct coherence_file *file;
	int err = file_open(req, ino, fi->flags, &file);
	if (err < 0)
		reply_err(req, err);
	else if (!times_open(req, fi, file))
		reply_open(req, fi, file);
}

/* With its name, or without one (O_TMPFILE). */
static int make_file(
	fuse_req_t req, uint64_t parent, const char *name, mode_t mode, struct stat *st)
{
	struct front *f = front_of(req);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct fs_owner owner = {.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
	bool nameless = wire_request_is_tmpfile();
	if (control_owns(parent) || (!nameless && control_is_root_name(parent, name)))
		return -EPERM;
	if (nameless)
		return fs_tmpfile(f->fs, parent, mode, &owner, st);
	return fs_mknod(f->fs, parent, name, S_IFREG | (mode & ~S_IFMT), 0, &owner, st);
}

/* The kernel believes that there is no such file, and goes on to where its creation failed. */
static void create_undo(struct front *f, uint64_t parent, const char *name, uint64_t ino)
{
	int err = wire_request_is_tmpfile() ? 0 : fs_unlink(f->fs, parent, name);
	if (err < 0)
		log_warn("%s, which could not be opened, stays: %s", name, strerror(-err));
	fs_forget(f->fs, ino, 1);
}

void op_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	struct stat st;
	int err = make_file(req, parent, name, mode, &st);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	struct coherence_file *file;
	err = file_open(req, st.st_ino, fi->flags, &file);
	if (err < 0) {
		create_undo(f, parent, name, st.st_ino);
		reply_err(req, err);
		return;
	}
	times_created(f, file);
	reply_create(req, &st, fi, file);
}

/* ---- closing ---- */

struct stale {
	struct coherence_drop drop;
	fuse_req_t req; /* a flush that waits; NULL: none */
	struct front *f;
};

static void inode_dropped(struct coherence_drop *drop)
{
	struct stale *s = container_of(drop, struct stale, drop);
	struct front *f = s->f;
	if (s->req)
		reply_err(s->req, 0);
	free(s);
	front_transfer_end(f);
}

/* Have the kernel forget what it believes of the inode, its times with it. False: out of memory. */
static bool inode_drop(struct front *f, uint64_t ino, fuse_req_t req)
{
	struct stale *s = malloc(sizeof(*s));
	if (!s)
		return false;
	*s = (struct stale){
		.req = req, .f = f, .drop = {.ino = ino, .inode = true, .done = inode_dropped}};
	front_transfer_begin(f);
	coherence_drop(f->coherence, &s->drop);
	return true;
}

void flush_by_drop(fuse_req_t req, struct coherence_file *file)
{
	struct front *f = front_of(req);
	if (!coherence_take_stale_times(f->coherence, file) || !inode_drop(f, file->ino, req))
		reply_err(req, 0);
}

/* Each close of a descriptor; the kernel has written dirty pages back. Nothing is left to do, but
 * where stale times are to be corrected before close(2) returns. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (!front_leaves_times_stale(f)) {
		reply_err(req, -ENOSYS); /* and is not asked again */
		return;
	}
	if (control_owns(ino))
		reply_err(req, 0);
	else if (!times_flush(req, file_of(fi)))
		flush_by_drop(req, file_of(fi));
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		control_release(f->control, ino, fi);
	} else {
		bool stale = coherence_release(f->coherence, file_of(fi));
		fs_file_release(f->fs, ino);
		if (stale)
			inode_drop(f, ino, NULL);
	}
	reply_err(req, 0);
}

/* The kernel tells each open file of what it could not write back; we, of what failed behind an
 * answer of ours. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct front *f = front_of(req);
	if (control_owns(ino)) {
		reply_err(req, 0);
		return;
	}
	int err = fs_fsync(f->fs, ino, data_only);
	int late = fs_heard_check(f->fs, ino, &file_of(fi)->heard);
	front_tell_blocks(f, ino);
	(void)coherence_take_no_space(f->coherence, ino); /* the kernel tells it now */
	reply_err(req, err < 0 ? err : late);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len,
	struct fuse_file_info *fi)
{
	int err = -EOPNOTSUPP;
	if (!control_owns(ino) && coherence_may_have_privs(file_of(fi)))
		attr_kill_privs(req, ino, !caller_is_capable(req, CAP_FSETID));
	if (!control_owns(ino))
		err = fs_fallocate(front_of(req)->fs, ino, mode, (uint64_t)offset, (uint64_t)len);
	reply_err(req, err);
}

/* ---- SEEK_DATA and SEEK_HOLE ----
 * The kernel asks without writing dirty pages back, and data that only it has would be taken for a
 * hole. It is made to write them first; by the thread for that, since it waits for our workers. */

struct seek {
	struct coherence_drop drop;
	fuse_req_t req;
	uint64_t ino, offset;
	int whence;
};

static void seek_now(struct seek *s)
{
	int64_t at = fs_seek(front_of(s->req)->fs, s->ino, s->offset, s->whence);
	if (at < 0)
		reply_err(s->req, (int)at);
	else
		fuse_reply_lseek(s->req, at);
}

static void dirty_pages_written(struct coherence_drop *drop)
{
	struct seek *s = container_of(drop, struct seek, drop);
	struct front *f = front_of(s->req);
	seek_now(s);
	free(s);
	front_transfer_end(f);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	(void)fi;
	struct front *f = front_of(req);
	struct seek now = {.req = req, .ino = ino, .offset = (uint64_t)offset, .whence = whence};
	if (control_owns(ino)) {
		reply_err(req, -EINVAL);
		return;
	}
	if (!coherence_may_be_dirty(f->coherence, ino)) {
		seek_now(&now);
		return;
	}
	struct seek *later = malloc(sizeof(*later));
	if (!later) {
		reply_err(req, -ENOMEM);
		return;
	}
	*later = now;
	later->drop = (struct coherence_drop){.ino = ino, .done = dirty_pages_written};
	front_transfer_begin(f);
	coherence_drop(f->coherence, &later->drop);
}

/* Of the control directory alone: files have none. */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	struct front *f = front_of(req);
	if (control_owns(ino) && cmd == FRONT_IOC_LINE && !(flags & FUSE_IOCTL_DIR))
		control_line(f->control, req, ino, in, in_size, fi);
	else
		reply_err(req, -ENOTTY);
}
