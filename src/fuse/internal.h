/* SPDX-License-Identifier: MIT */
/* What the files of this module share: the front, its handlers, its replies.
 * Nobody outside src/fuse includes it. */
#ifndef STABLEFS_FUSE_INTERNAL_H
#define STABLEFS_FUSE_INTERNAL_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuse/buffer.h"
#include "fuse/coherence.h"
#include "fuse/control.h"
#include "fuse/events.h"
#include "fuse/front.h"
#include "fuse/guard.h"
#include "fuse/later.h"
#include "fuse/policy.h"
#include "fuse/stats.h"
#include "fuse/syncer.h"
#include "fuse/wire.h"
#include "inflight/live.h"
#include "inflight/process.h"
#include "inflight/sampler.h"
#include "inflight/tree.h"

/* We are the only owner: what the kernel has cached stays true. Seconds. */
#define FRONT_CACHE_TIMEOUT 86400.0

/* Transfers under way, so that the end can wait for them. */
struct outstanding {
	pthread_mutex_t lock;
	pthread_cond_t none;
	uint64_t count;
};

struct front {
	const struct front_options *options; /* borrowed for the run */
	struct fs *fs;                       /* borrowed */
	struct volume *volume;               /* borrowed; NULL in tests without one */
	struct fuse_session *session;        /* owned */
	struct buffer_pool *buffers;         /* owned */
	struct coherence *coherence;         /* owned */
	struct later *later;                 /* owned */
	struct syncer *syncer;               /* owned */
	struct control *control;             /* owned */
	struct live *live;                   /* owned */
	struct sampler *sampler;             /* owned */
	struct trees *trees;                 /* owned, unless it is options->trees */
	struct processes *processes;         /* owned */
	struct syncer *pusher;               /* owned: tells the kernel of times (times.h) */
	struct patience *patience;           /* owned: of those who ask for times */
	struct receiver *receiver;           /* borrowed, while the session is served */
	struct {
		_Atomic pid_t thread;
		_Atomic uint64_t since_ns; /* what it does now began then; 0: nothing */
		atomic_bool impossible;
	} push;
	struct wire_caps caps;
	struct stats stats;
	struct outstanding outstanding;
	atomic_uint taken_writes; /* answered, and not stored yet (write.c) */
	_Atomic enum dio_policy policy;
	_Atomic uint64_t hold_ns;
	_Atomic unsigned dio_align, event_rate;
	atomic_bool dio_weaken;
	atomic_ulong mount_flags;  /* MS_SYNCHRONOUS, MS_DIRSYNC: the rest is the kernel's */
	char mountpoint[PATH_MAX]; /* absolute */
	struct guard guard;        /* from mount_attach() to mount_sever() */
	uint64_t mount_dev;        /* its st_dev; 0: unknown */
	uint64_t started_ns;       /* CLOCK_REALTIME */
};

static inline struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* front.c: everything but mount and session. */
int front_init(struct front *f, const struct front_options *options);
void front_fini(struct front *f);
void front_transfer_begin(struct front *f);
void front_transfer_end(struct front *f);
void front_wait_transfers(struct front *f);
/* Where the kernel believes an old st_blocks of @ino, have it ask again. Waits for nothing of ours.
 */
void front_tell_blocks(struct front *f, uint64_t ino);

/* Direct opens that write go around the kernel's page cache (FOPEN_DIRECT_IO), side by side. */
static inline bool front_goes_around_cache(const struct front *f)
{
	return f->caps.coherent_direct && (f->options->write_through || !f->options->exact_times);
}

/* With its write-back cache the kernel keeps files' times itself, and does not notice a direct
 * write that went around the cache: its times are corrected when the file is closed. */
static inline bool front_leaves_times_stale(const struct front *f)
{
	return front_goes_around_cache(f) && !f->options->write_through;
}

/* ops.c: the table. */
extern const struct fuse_lowlevel_ops front_ops;

/* reply.c: replies that hand a reference to the kernel, and take it back where the kernel does not
 * want it any more (the request was interrupted). @err: 0 or -errno. */
void reply_err(fuse_req_t req, int err);
void reply_entry(fuse_req_t req, int err, const struct stat *st);
/* A name that is not there is remembered as well: whoever makes it comes through the kernel. */
void reply_no_entry(fuse_req_t req);
void reply_attr(fuse_req_t req, int err, const struct stat *st);
void reply_stat(fuse_req_t req, const struct stat *st, double timeout); /* a getattr's or statx's */
void reply_open(fuse_req_t req, struct fuse_file_info *fi, struct coherence_file *file);
void reply_create(fuse_req_t req, const struct stat *st, struct fuse_file_info *fi,
	struct coherence_file *file);
struct fuse_entry_param reply_entry_param(const struct front *f, const struct stat *st);

/* ops_name.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);

/* ops_attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *values, int to_set, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* The request changes a file's content or owner: that takes capabilities away, and suid and sgid
 * where its caller has no right to keep them (@with_bits). Errors are logged. */
void attr_kill_privs(fuse_req_t req, uint64_t ino, bool with_bits);

/* ops_xattr.c */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ops_dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

/* ops_file.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *fi);
/* Answer a flush; stale times are corrected by having the kernel forget the inode. */
void flush_by_drop(fuse_req_t req, struct coherence_file *file);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len,
	struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_size, size_t out_size);

/* policy.c: the policy that a read or a write is under. What the kernel transfers for its page
 * cache is under none: it is stable, and counts as DIO_BOUNCE. 0, or -EINVAL where the policy
 * refuses all direct I/O, or the range is not aligned (dio-align=; DIO_BUFFERED takes any).
 * Counted. */
int front_policy_classify(fuse_req_t req, const struct fuse_file_info *fi, size_t size,
	off_t offset, enum dio_policy *policy);

/* read.c, write.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	struct fuse_file_info *fi);

static inline struct coherence_file *file_of(const struct fuse_file_info *fi)
{
	return (struct coherence_file *)(uintptr_t)fi->fh;
}

/* Direct I/O as its caller asked for it: not what the kernel does for its page cache. */
static inline bool is_direct(const struct fuse_file_info *fi)
{
	return (fi->flags & O_DIRECT) && !fi->writepage;
}

/* mount.c */
int mount_check(const char *path, struct errmsg *why);
/* Make the session's arguments, mount, prepare for wire_writev(). */
int mount_attach(struct front *f, struct errmsg *why);
/* What is cached is written back, then the mount is detached; others may still use it. */
void mount_detach(struct front *f);
/* Whoever still uses it gets ENOTCONN from now on. Ends the session's descriptor. */
void mount_sever(struct front *f);
/* Log lines of libfuse go to @why (its first line) until NULL is set, then to the log. */
void mount_capture_log(struct errmsg *why);

/* cache_limits.c: what the kernel's page cache may do for the mount, once its handshake is over. */
void cache_limits_set(const struct front *f);

/* session.c: serve the mounted session until it ends. 0, or why it could not start. */
int session_serve(struct front *f, struct errmsg *why);

/* receive.c: the buffer that the calling thread's request was received in: the caller's to put.
 * Once a request; not before its handler runs. */
struct buffer *receiver_take_buffer(void);
/* The calling thread is the engine's, and must not wait (R1 of receive.h): what has to goes on with
 * @go_on, on a worker. @b was taken. */
bool receiver_is_engine(void);
void receiver_hand(struct front *f, struct buffer *b, void (*go_on)(struct buffer *b));

#endif
