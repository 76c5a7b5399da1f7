/* SPDX-License-Identifier: MIT */
/* Telling the kernel of an mtime. It has no notification for that: with its write-back cache it
 * believes its own, and misses direct writes that went around the cache. So they are set as any
 * program would set them, through the mount, by a thread for that: the call waits for the inode's
 * lock, which direct writers hold until they are answered.
 *
 * Owner thread: times_push() is the pusher's (a syncer's thread); the rest are workers'. */
#include "fuse/times.h"

#include <errno.h>
#include "base/cleanup.h"

/* What the kernel makes of an inode's number and generation (fs/fuse/inode.c). */
#define HANDLE_TYPE  0x81 /* FILEID_INO64_GEN */
#define HANDLE_BYTES 12u

/* ---- the pusher ---- */

/* The mount's root; kept open, it would keep the mount busy. */
static int mount_open(const struct front *f)
{
	struct stat st;
	cleanup(cleanup_closep) int fd = open(f->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Detached, or of another namespace: something else is seen there. */
	if (fstat(fd, &st) < 0 || st.st_dev != f->mount_dev)
		return -ESTALE;
	return take_fd(&fd);
}

static int inode_open(const struct front *f, int mount_fd, uint64_t ino)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + HANDLE_BYTES];
	} handle = {.head = {.handle_bytes = HANDLE_BYTES, .handle_type = HANDLE_TYPE}};
	uint32_t words[] = {(uint32_t)(ino >> 32), (uint32_t)ino, fs_generation(f->fs, ino)};
	memcpy(handle.head.f_handle, words, sizeof(words));
	int fd = open_by_handle_at(mount_fd, &handle.head, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_later(const struct timespec *a, const struct statx_timestamp *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > (long)b->tv_nsec;
}

/* Where the kernel's is not later: it notices those who write through its page cache. -ESTALE: it
 * believes that the file is shorter, as after a write that failed and was stored all the same; it
 * has to forget the inode. */
static int mtime_set(int fd, const struct stat *st)
{
	const unsigned mask = STATX_MTIME | STATX_SIZE;
	struct statx kernels;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &kernels) < 0)
		return -errno;
	const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
	if (is_later(&st->st_mtim, &kernels.stx_mtime) &&
		utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
		return -errno;
	return kernels.stx_size < (uint64_t)st->st_size ? -ESTALE : 0;
}

static int push(struct front *f, uint64_t ino)
{
	struct stat st;
	int err = fs_getattr(f->fs, ino, &st);
	if (err < 0)
		return err;
	cleanup(cleanup_closep) int mount_fd = mount_open(f);
	if (mount_fd < 0)
		return mount_fd;
	cleanup(cleanup_closep) int fd = inode_open(f, mount_fd, ino);
	return fd < 0 ? fd : mtime_set(fd, &st);
}

int times_push(void *ctx, uint64_t ino, bool unused)
{
	struct front *f = ctx;
	(void)unused;
	f->push.thread = gettid();
	f->push.since_ns = clock_monotonic_ns();
	int err = push(f, ino);
	f->push.since_ns = 0;
	if (err == -EPERM || err == -EOPNOTSUPP || err == -EINVAL)
		f->push.impossible = true;
	return err;
}

bool times_is_push(fuse_req_t req)
{
	pid_t pid = fuse_req_ctx(req)->pid; /* 0: of another pid namespace */
	return pid && pid == front_of(req)->push.thread;
}

/* ---- who waits for it ---- */

struct late {
	struct sync_job job;
	struct patience_wait wait; /* a getattr's */
	struct front *f;
	fuse_req_t req;
	struct coherence_file *file; /* a flush's */
	atomic_uint holders;
};

static void late_put(struct late *late)
{
	if (--late->holders == 0)
		free(late);
}

static bool is_patient(const struct front *f)
{
	uint64_t since = f->push.since_ns;
	return !f->push.impossible && (!since || clock_monotonic_ns() - since < TIMES_PATIENCE_NS);
}

/* NULL: there is nothing to wait for. */
static struct late *late_new(
	fuse_req_t req, uint64_t ino, void (*done)(struct sync_job *job, int err))
{
	struct front *f = front_of(req);
	if (!front_leaves_times_stale(f) || !is_patient(f) ||
		!coherence_take_times(f->coherence, ino))
		return NULL;
	struct late *late = malloc(sizeof(*late));
	if (!late) {
		coherence_leave_times(f->coherence, ino);
		return NULL;
	}
	*late = (struct late){.job = {.ino = ino, .done = done}, .f = f, .req = req, .holders = 1};
	return late;
}

/* The kernel may have been told, or will be: it is to remember nothing of this answer. */
static void getattr_answer(struct late *late)
{
	struct stat st;
	int ret = fs_getattr(late->f->fs, late->job.ino, &st);
	if (ret < 0)
		reply_attr(late->req, ret, &st);
	else
		reply_stat(late->req, &st, 0);
	late_put(late);
}

static void getattr_over(struct patience_wait *wait)
{
	getattr_answer(container_of(wait, struct late, wait));
}

static void getattr_pushed(struct sync_job *job, int err)
{
	struct late *late = container_of(job, struct late, job);
	if (err < 0)
		coherence_leave_times(late->f->coherence, job->ino);
	if (patience_end(late->f->patience, &late->wait))
		getattr_answer(late);
	late_put(late);
}

/* Not for ever: who asks may hold the inode's lock (setxattr(2) asks for permissions with it),
 * which the pusher waits for. */
bool times_getattr(fuse_req_t req, uint64_t ino)
{
	struct late *late = late_new(req, ino, getattr_pushed);
	if (!late)
		return false;
	late->wait = (struct patience_wait){.over = getattr_over};
	late->holders = 2;
	patience_begin(late->f->patience, &late->wait);
	syncer_post(late->f->pusher, &late->job);
	return true;
}

static void flush_pushed(struct sync_job *job, int err)
{
	struct late *late = container_of(job, struct late, job);
	if (err < 0) {
		coherence_leave_times(late->f->coherence, job->ino);
		flush_by_drop(late->req, late->file);
	} else {
		reply_err(late->req, 0);
	}
	late_put(late);
}

bool times_flush(fuse_req_t req, struct coherence_file *file)
{
	struct late *late = late_new(req, file->ino, flush_pushed);
	if (!late)
		return false;
	late->file = file;
	syncer_post(late->f->pusher, &late->job);
	return true;
}
