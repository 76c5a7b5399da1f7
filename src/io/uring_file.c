/* SPDX-License-Identifier: MIT */
/* A member of the io_uring engine: a regular file or a block device, opened, locked, sized, zeroed.
 *
 * Invariants: I1 nothing of an existing file is changed before its lock is held. I2 a file that we
 * made and could not finish is removed again; one that was there is not.
 * A lock is flock(2), which belongs to the open file: two opens of one process exclude each other
 * too. A device is also claimed with O_EXCL, which keeps mount(8) and mkfs away.
 * Owning thread: whoever opens; all here is blocking. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/uring_internal.h"

#define LOCK_RETRY_NS    (20 * NS_PER_MS)
#define ZERO_CHUNK_BYTES (UINT64_C(1) << 20)

/* The arguments of an open, and what it found on its way. */
struct opening {
	const char *path;
	unsigned flags; /* enum io_open_flags */
	uint64_t size_bytes;
	uint64_t deadline_ns; /* until then a lock is waited for */
	struct errmsg *why;
	bool is_device;
	bool made; /* the file was not there before */
};

/* Wait a little for whoever holds the lock; false: waited long enough. */
static bool nap_before(uint64_t deadline_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	if (now_ns >= deadline_ns)
		return false;
	uint64_t nap_ns = min_u64(LOCK_RETRY_NS, deadline_ns - now_ns);
	struct timespec ts = {.tv_nsec = (long)nap_ns};
	nanosleep(&ts, NULL);
	return true;
}

static int explain_busy(const struct opening *o)
{
	return errmsg_set(o->why, -EBUSY,
		"%s is in use%s: another program (or another part of this one) has it locked",
		o->path, o->is_device ? " (mounted, part of an array, or held)" : "");
}

static int explain_open_error(const struct opening *o, int err)
{
	if (err == -EEXIST)
		return errmsg_set(o->why, err, "%s exists already", o->path);
	if (err == -EBUSY)
		return explain_busy(o);
	return errmsg_set(o->why, err, "cannot open %s: %s", o->path, strerror(-err));
}

static int open_flags_of(const struct opening *o)
{
	int flags = O_CLOEXEC | (o->flags & IO_OPEN_READONLY ? O_RDONLY : O_RDWR);
	if (!(o->flags & IO_OPEN_BUFFERED))
		flags |= O_DIRECT;
	if (o->made)
		flags |= O_CREAT | O_EXCL;
	else if (o->is_device && o->flags & IO_OPEN_LOCK)
		flags |= O_EXCL; /* without O_CREAT: claim the device */
	return flags;
}

/* Open, with O_DIRECT unless the file system has none. A descriptor or -errno. */
static int open_once(const struct opening *o)
{
	int flags = open_flags_of(o);
	int fd = open(o->path, flags, 0600);
	if (fd >= 0 || errno != EINVAL || !(flags & O_DIRECT))
		return fd >= 0 ? fd : -errno;
	/* Some file systems refuse O_DIRECT only after they have made the file. */
	if (o->made && access(o->path, F_OK) == 0)
		flags &= ~(O_CREAT | O_EXCL);
	fd = open(o->path, flags & ~O_DIRECT, 0600);
	return fd >= 0 ? fd : -errno;
}

static int open_patiently(const struct opening *o)
{
	int fd;
	do {
		fd = open_once(o);
	} while (fd == -EBUSY && o->flags & IO_OPEN_LOCK && nap_before(o->deadline_ns));
	return fd >= 0 ? fd : explain_open_error(o, fd);
}

static int lock_patiently(const struct opening *o, int fd)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return errmsg_set(
				o->why, -errno, "cannot lock %s: %s", o->path, strerror(errno));
		if (!nap_before(o->deadline_ns))
			return explain_busy(o);
	}
	return 0;
}

/* Look what is at the path, and decide whether this open makes it. */
static int look(struct opening *o)
{
	struct stat st;
	if (stat(o->path, &st) < 0) {
		if (errno != ENOENT || !(o->flags & IO_OPEN_CREATE))
			return explain_open_error(o, -errno);
		o->made = true;
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return errmsg_set(o->why, -ENOTBLK,
			"%s is neither a regular file nor a block device", o->path);
	if (o->flags & IO_OPEN_CREATE && !(o->flags & IO_OPEN_REPLACE))
		return explain_open_error(o, -EEXIST);
	o->is_device = S_ISBLK(st.st_mode);
	return 0;
}

static int read_size(const struct opening *o, struct uring_file *f)
{
	struct stat st;
	if (o->is_device) {
		if (ioctl(f->fd, BLKGETSIZE64, &f->size_bytes) < 0)
			return errmsg_set(o->why, -errno, "cannot read the size of %s: %s", o->path,
				strerror(errno));
		return 0;
	}
	if (fstat(f->fd, &st) < 0)
		return errmsg_set(o->why, -errno, "cannot stat %s: %s", o->path, strerror(errno));
	f->size_bytes = (uint64_t)st.st_size;
	return 0;
}

/* Make the name of a new file durable. */
static int sync_parent(const char *path)
{
	cleanup(cleanup_freep) char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	cleanup(cleanup_closep) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

static int resize_file(const struct opening *o, int fd)
{
	if (!o->made && ftruncate(fd, 0) < 0)
		return -errno;
	if (ftruncate(fd, (off_t)o->size_bytes) < 0 || fsync(fd) < 0)
		return -errno;
	return o->made ? sync_parent(o->path) : 0;
}

/* Give a file that is created or replaced its size; a device must have it. */
static int set_size(const struct opening *o, struct uring_file *f)
{
	if (o->is_device) {
		if (o->size_bytes <= f->size_bytes)
			return 0;
		return errmsg_set(o->why, -ENOSPC,
			"%s has %llu bytes, fewer than the %llu that are wanted", o->path,
			(unsigned long long)f->size_bytes, (unsigned long long)o->size_bytes);
	}
	int ret = resize_file(o, f->fd);
	if (ret < 0)
		return errmsg_set(o->why, ret, "cannot make %s %llu bytes long: %s", o->path,
			(unsigned long long)o->size_bytes, strerror(-ret));
	f->size_bytes = o->size_bytes;
	return 0;
}

/* Some file systems take O_DIRECT at open, but not for units as small as a block. */
static void drop_coarse_direct(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx sx;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || !(flags & O_DIRECT) ||
		statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) < 0 ||
		!(sx.stx_mask & STATX_DIOALIGN))
		return;
	bool fits = sx.stx_dio_offset_align && sx.stx_dio_offset_align <= BLOCK_BYTES &&
		    sx.stx_dio_mem_align <= BLOCK_ALIGN;
	if (!fits)
		(void)fcntl(fd, F_SETFL, flags & ~O_DIRECT);
#else
	(void)fd;
#endif
}

static bool is_in_memory(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* Lock and size what f->fd refers to. */
static int settle(const struct opening *o, struct uring_file *f)
{
	int ret = 0;
	if (o->flags & IO_OPEN_LOCK)
		ret = lock_patiently(o, f->fd);
	if (ret < 0)
		return ret;
	f->locked = o->flags & IO_OPEN_LOCK;
	ret = read_size(o, f);
	if (ret == 0 && o->flags & IO_OPEN_CREATE)
		ret = set_size(o, f);
	return ret;
}

void uring_file_free(struct uring_file *f)
{
	/* The ring may keep the open file for a moment longer, and the lock with it. */
	if (f->locked)
		flock(f->fd, LOCK_UN);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static void file_freep(struct uring_file **f)
{
	if (*f)
		uring_file_free(*f);
}

static int check_flags(const struct opening *o)
{
	if (o->flags & IO_OPEN_CREATE && o->flags & IO_OPEN_READONLY)
		return errmsg_set(
			o->why, -EINVAL, "%s: cannot create a file to read only", o->path);
	if (o->flags & IO_OPEN_CREATE && (o->size_bytes % 512 || o->size_bytes > INT64_MAX))
		return errmsg_set(o->why, -EINVAL, "%s: a size of %llu bytes is not possible",
			o->path, (unsigned long long)o->size_bytes);
	return 0;
}

int uring_file_open(struct io_engine *io, const char *path, unsigned flags, uint64_t size_bytes,
	struct io_file **out, struct errmsg *why)
{
	struct uring_engine *e = uring_engine_of(io);
	struct opening o = {.path = path, .flags = flags, .size_bytes = size_bytes, .why = why};
	o.deadline_ns = clock_monotonic_ns() + e->lock_wait_ns;
	int ret = check_flags(&o);
	if (ret == 0)
		ret = look(&o);
	if (ret < 0)
		return ret;
	cleanup(file_freep) struct uring_file *f = calloc(1, sizeof(*f));
	if (!f)
		return errmsg_set(why, -ENOMEM, "out of memory");
	f->base.engine = io;
	list_node_init(&f->timed_node);
	list_init(&f->flights);
	f->fd = open_patiently(&o);
	if (f->fd < 0)
		return f->fd;
	f->is_device = o.is_device;
	f->in_memory = !o.is_device && is_in_memory(f->fd);
	ret = settle(&o, f);
	if (ret < 0) {
		if (o.made)
			unlink(path); /* I2 */
		return ret;
	}
	drop_coarse_direct(f->fd);
	uring_ring_add_file(e, f);
	*out = &take_ptr(&f)->base;
	return 0;
}

void uring_file_close(struct io_file *file)
{
	struct uring_file *f = uring_file_of(file);
	assert(f->under_way == 0);
	uring_ring_remove_file(uring_engine_of(file->engine), f);
	list_remove(&f->timed_node);
	f->closed = true;
	/* What the kernel still has of it may write: nobody else gets the lock before. */
	if (f->orphan_count == 0)
		uring_file_free(f);
}

uint64_t uring_file_size_bytes(const struct io_file *file)
{
	return uring_file_of(file)->size_bytes;
}

static int write_zeros(int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t chunk_bytes = min_u64(ZERO_CHUNK_BYTES, round_up_u64(len_bytes, BLOCK_BYTES));
	cleanup(cleanup_freep) char *zeros = mem_alloc_blocks(chunk_bytes);
	if (!zeros)
		return -ENOMEM;
	while (len_bytes) {
		uint64_t part_bytes = min_u64(len_bytes, chunk_bytes);
		ssize_t n = pwrite(fd, zeros, part_bytes, (off_t)offset_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		offset_bytes += (uint64_t)n;
		len_bytes -= (uint64_t)n;
	}
	return 0;
}

static bool zero_without_writing(
	const struct uring_file *f, uint64_t offset_bytes, uint64_t len_bytes)
{
	static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	for (unsigned i = 0; i < 2; i++) {
		int ret;
		do {
			ret = fallocate(f->fd, modes[i], (off_t)offset_bytes, (off_t)len_bytes);
		} while (ret < 0 && errno == EINTR);
		if (ret == 0)
			return true;
	}
	uint64_t range[2] = {offset_bytes, len_bytes};
	return f->is_device && ioctl(f->fd, BLKZEROOUT, range) == 0;
}

int uring_file_zero(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct uring_file *f = uring_file_of(file);
	if (offset_bytes > f->size_bytes || len_bytes > f->size_bytes - offset_bytes)
		return -ENOSPC;
	if (len_bytes == 0 || zero_without_writing(f, offset_bytes, len_bytes))
		return 0;
	return write_zeros(f->fd, offset_bytes, len_bytes);
}
