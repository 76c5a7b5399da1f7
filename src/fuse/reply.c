/* SPDX-License-Identifier: MIT */
/* Replies that carry a reference. A reply that the kernel does not take (-ENOENT: the request was
 * interrupted; -ENODEV: the mount is gone) hands over nothing, and no forget or release will come:
 * what it would have carried is given back here. */
#include "fuse/internal.h"

#include <errno.h>

void reply_err(fuse_req_t req, int err)
{
	fuse_reply_err(req, -err);
}

/* The kernel wants the root's generation to be 0. */
struct fuse_entry_param reply_entry_param(const struct front *f, const struct stat *st)
{
	bool unsure = coherence_times_unsure(f->coherence, st->st_ino);
	bool plain = st->st_ino == FS_ROOT_INO || control_owns(st->st_ino);
	return (struct fuse_entry_param){.ino = st->st_ino,
		.generation = plain ? 0 : fs_generation(f->fs, st->st_ino),
		.attr = *st,
		.attr_timeout = unsure ? 0 : FRONT_CACHE_TIMEOUT,
		.entry_timeout = FRONT_CACHE_TIMEOUT};
}

void reply_no_entry(fuse_req_t req)
{
	struct fuse_entry_param none = {.entry_timeout = FRONT_CACHE_TIMEOUT};
	fuse_reply_entry(req, &none);
}

void reply_entry(fuse_req_t req, int err, const struct stat *st)
{
	struct front *f = front_of(req);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	struct fuse_entry_param e = reply_entry_param(f, st);
	if (fuse_reply_entry(req, &e) < 0)
		fs_forget(f->fs, st->st_ino, 1);
}

/* Control files have no birth time. */
void reply_stat(fuse_req_t req, const struct stat *st, double timeout)
{
	struct timespec born;
	uint8_t out[WIRE_STATX_BYTES];
	if (!wire_request_is_statx()) {
		fuse_reply_attr(req, st, timeout);
		return;
	}
	bool known = !control_owns(st->st_ino) &&
		     fs_birth_time(front_of(req)->fs, st->st_ino, &born) == 0;
	wire_statx(out, st, known ? &born : NULL, (uint32_t)timeout);
	fuse_reply_buf(req, (const char *)out, sizeof(out));
}

void reply_attr(fuse_req_t req, int err, const struct stat *st)
{
	struct front *f = front_of(req);
	if (err < 0) {
		reply_err(req, err);
		return;
	}
	bool unsure = coherence_times_unsure(f->coherence, st->st_ino);
	reply_stat(req, st, unsure ? 0 : FRONT_CACHE_TIMEOUT);
}

/* The library's own field where it has one, else the reply is marked on its way out. */
static void mark_parallel(struct fuse_file_info *fi, bool on)
{
#ifdef HAVE_FUSE_PARALLEL_DIRECT_WRITES
	fi->parallel_direct_writes = on;
#else
	(void)fi;
	wire_mark_parallel(on);
#endif
}

static void file_undo(struct front *f, struct coherence_file *file)
{
	uint64_t ino = file->ino;
	coherence_release(f->coherence, file);
	fs_file_release(f->fs, ino);
}

/* Pages that the kernel has are true (coherence.h), so they are kept. */
static void open_flags(struct fuse_file_info *fi, const struct coherence_file *file)
{
	fi->fh = (uintptr_t)file;
	fi->keep_cache = true;
	fi->direct_io = file->around_cache;
}

void reply_open(fuse_req_t req, struct fuse_file_info *fi, struct coherence_file *file)
{
	struct front *f = front_of(req);
	open_flags(fi, file);
	mark_parallel(fi, fi->direct_io);
	int err = fuse_reply_open(req, fi);
	mark_parallel(fi, false);
	if (err < 0)
		file_undo(f, file);
}

void reply_create(fuse_req_t req, const struct stat *st, struct fuse_file_info *fi,
	struct coherence_file *file)
{
	struct front *f = front_of(req);
	struct fuse_entry_param e = reply_entry_param(f, st);
	open_flags(fi, file);
	mark_parallel(fi, fi->direct_io);
	int err = fuse_reply_create(req, &e, fi);
	mark_parallel(fi, false);
	if (err < 0) {
		file_undo(f, file);
		fs_forget(f->fs, st->st_ino, 1);
	}
}
