/* SPDX-License-Identifier: MIT */
/* The protocol where it shows through libfuse. Which request a reply belongs to needs no table: a
 * reply that we change leaves from the thread that handles its request. */
#include "fuse/internal.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Since protocol 7.39, newer than the headers of many systems. */
#define INIT_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)

/* Since protocol 7.37 and 7.39; opcodes and structures as in <linux/fuse.h> of Linux 6.6. */
#define OP_TMPFILE 51u
#define OP_STATX   52u

struct statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct statx_out {
	uint64_t valid_sec;
	uint32_t valid_nsec, flags;
	uint64_t spare[2];
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
_Static_assert(sizeof(struct statx_out) == WIRE_STATX_BYTES, "as the kernel has it");

_Static_assert(
	sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in) == WIRE_WRITE_HEADER_BYTES,
	"a write's payload starts behind 80 bytes");

static _Thread_local struct {
	const struct fuse_in_header *request;
	unsigned opcode; /* as it came */
	bool kills_privs, fills_cache, drops_sgid;
	bool parallel;
} here;

static bool kills_privs(const void *body)
{
	switch (wire_opcode()) {
	case FUSE_WRITE:
		return ((const struct fuse_write_in *)body)->write_flags & FUSE_WRITE_KILL_SUIDGID;
	case FUSE_SETATTR:
		return ((const struct fuse_setattr_in *)body)->valid & FATTR_KILL_SUIDGID;
	default:
		return false;
	}
}

/* Direct reads name their owner, in all kernels that have the flag (2.6.25); reads of pages have
 * none. */
static bool fills_cache(const void *body)
{
	return wire_opcode() == FUSE_READ &&
	       !(((const struct fuse_read_in *)body)->read_flags & FUSE_READ_LOCKOWNER);
}

/* Its extended form (FUSE_SETXATTR_EXT) is unknown to libfuse 3.14 and older: the name begins
 * behind the first eight bytes for it. So what is more is taken out. */
static void shorten_setxattr(struct fuse_in_header *head)
{
	struct fuse_setxattr_in *in = (void *)(head + 1);
	uint8_t *name = (uint8_t *)in + FUSE_COMPAT_SETXATTR_IN_SIZE;
	size_t more = sizeof(*in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	if (head->len < sizeof(*head) + sizeof(*in))
		return;
	here.drops_sgid = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	memmove(name, name + more, head->len - sizeof(*head) - sizeof(*in));
	head->len -= (uint32_t)more;
}

/* What is laid out as a request that libfuse knows, up to where it looks, and answered as that or
 * through fuse_reply_buf(). */
static void translate(struct fuse_in_header *head)
{
	if (head->opcode == OP_TMPFILE)
		head->opcode = FUSE_CREATE;
	else if (head->opcode == OP_STATX)
		head->opcode = FUSE_GETATTR;
}

/* Looked at now: libfuse edits requests while it decodes them. */
void wire_request_set(const struct wire_caps *caps, void *mem)
{
	here.request = mem;
	here.opcode = mem ? here.request->opcode : 0;
	here.kills_privs = mem && kills_privs(here.request + 1);
	here.fills_cache = mem && fills_cache(here.request + 1);
	here.drops_sgid = false;
	if (wire_opcode() == FUSE_SETXATTR && caps->setxattr_ext)
		shorten_setxattr(mem);
	if (mem)
		translate(mem);
}

unsigned wire_opcode(void)
{
	return here.opcode < WIRE_OPCODES ? here.opcode : WIRE_OPCODES - 1;
}

bool wire_request_is_tmpfile(void)
{
	return here.opcode == OP_TMPFILE;
}

bool wire_request_is_statx(void)
{
	return here.opcode == OP_STATX;
}

bool wire_request_kills_privs(void)
{
	return here.kills_privs;
}

bool wire_request_drops_sgid(void)
{
	return here.drops_sgid;
}

bool wire_request_fills_cache(void)
{
	return here.fills_cache;
}

void wire_mark_parallel(bool on)
{
	here.parallel = on;
}

static void mark_init(struct wire_caps *caps, struct fuse_init_out *out)
{
	const struct fuse_init_in *in = (const void *)(here.request + 1);
	uint64_t offered = in->flags;
	if (in->flags & FUSE_INIT_EXT)
		offered |= (uint64_t)in->flags2 << 32;
	caps->ready = true;
	caps->coherent_direct = offered & INIT_DIRECT_IO_ALLOW_MMAP;
	caps->kill_privs = offered & FUSE_HANDLE_KILLPRIV_V2;
	/* With lists the kernel says when the setgid bit goes: it knows the caller's groups. */
	caps->setxattr_ext = offered & FUSE_SETXATTR_EXT;
	if (caps->setxattr_ext)
		out->flags |= FUSE_SETXATTR_EXT;
	if (caps->coherent_direct) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= INIT_DIRECT_IO_ALLOW_MMAP >> 32;
	}
	if (caps->kill_privs)
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
}

/* Of the calling thread's request. */
static bool is_success(const struct iovec *iov)
{
	if (!here.request || iov[0].iov_len != sizeof(struct fuse_out_header))
		return false;
	const struct fuse_out_header *head = iov[0].iov_base;
	return head->unique == here.request->unique && !head->error;
}

void wire_mark_reply(struct wire_caps *caps, const struct iovec *iov, int count)
{
	if (count < 2 || !is_success(iov))
		return;
	if (wire_opcode() == FUSE_INIT && iov[1].iov_len >= sizeof(struct fuse_init_out))
		mark_init(caps, iov[1].iov_base);
	bool opens = wire_opcode() == FUSE_OPEN || wire_opcode() == FUSE_CREATE ||
		     wire_opcode() == OP_TMPFILE;
	if (opens && here.parallel && iov[1].iov_len >= sizeof(struct fuse_open_out)) {
		/* A create reply is an entry followed by what an open reply is. */
		uint8_t *end = (uint8_t *)iov[1].iov_base + iov[1].iov_len;
		struct fuse_open_out *out = (void *)(end - sizeof(*out));
		out->open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
	}
}

static struct statx_time statx_time_of(struct timespec ts)
{
	return (struct statx_time){.sec = ts.tv_sec, .nsec = (uint32_t)ts.tv_nsec};
}

void wire_statx(uint8_t out[WIRE_STATX_BYTES], const struct stat *st, const struct timespec *born,
	uint32_t valid_s)
{
	struct statx_out s = {
		.valid_sec = valid_s,
		.mask = STATX_BASIC_STATS | (born ? STATX_BTIME : 0),
		.blksize = (uint32_t)st->st_blksize,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = (uint16_t)st->st_mode,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = statx_time_of(st->st_atim),
		.ctime = statx_time_of(st->st_ctim),
		.mtime = statx_time_of(st->st_mtim),
		.rdev_major = major(st->st_rdev),
		.rdev_minor = minor(st->st_rdev),
	};
	if (born)
		s.btime = statx_time_of(*born);
	memcpy(out, &s, sizeof(s));
}

ssize_t wire_read(int fd, void *buf, size_t len_bytes, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len_bytes);
}

/* Mounts with dirsync or sync: what was changed is durable before the answer leaves. Data through
 * the page cache is the kernel's to sync then, direct writes go to the syncer. */
static int settle_change(struct front *front)
{
	switch (wire_opcode()) {
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_CREATE:
		return front->mount_flags & (MS_SYNCHRONOUS | MS_DIRSYNC) ? fs_sync(front->fs) : 0;
	case FUSE_SETATTR:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
	case FUSE_FALLOCATE:
		return front->mount_flags & MS_SYNCHRONOUS ? fs_sync(front->fs) : 0;
	default:
		return 0;
	}
}

ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct front *front = userdata;
	wire_mark_reply(&front->caps, iov, count);
	int err = is_success(iov) ? settle_change(front) : 0;
	if (err == 0)
		return writev(fd, iov, count);
	const struct fuse_out_header *head = iov[0].iov_base;
	struct fuse_out_header failed = {
		.len = sizeof(failed), .error = err, .unique = head->unique};
	return write(fd, &failed, sizeof(failed));
}

const char *wire_opcode_name(unsigned opcode)
{
	static const char *const names[WIRE_OPCODES] = {
		[FUSE_LOOKUP] = "lookup",
		[FUSE_FORGET] = "forget",
		[FUSE_GETATTR] = "getattr",
		[FUSE_SETATTR] = "setattr",
		[FUSE_READLINK] = "readlink",
		[FUSE_SYMLINK] = "symlink",
		[FUSE_MKNOD] = "mknod",
		[FUSE_MKDIR] = "mkdir",
		[FUSE_UNLINK] = "unlink",
		[FUSE_RMDIR] = "rmdir",
		[FUSE_RENAME] = "rename",
		[FUSE_LINK] = "link",
		[FUSE_OPEN] = "open",
		[FUSE_READ] = "read",
		[FUSE_WRITE] = "write",
		[FUSE_STATFS] = "statfs",
		[FUSE_RELEASE] = "release",
		[FUSE_FSYNC] = "fsync",
		[FUSE_SETXATTR] = "setxattr",
		[FUSE_GETXATTR] = "getxattr",
		[FUSE_LISTXATTR] = "listxattr",
		[FUSE_REMOVEXATTR] = "removexattr",
		[FUSE_FLUSH] = "flush",
		[FUSE_INIT] = "init",
		[FUSE_OPENDIR] = "opendir",
		[FUSE_READDIR] = "readdir",
		[FUSE_RELEASEDIR] = "releasedir",
		[FUSE_FSYNCDIR] = "fsyncdir",
		[FUSE_ACCESS] = "access",
		[FUSE_CREATE] = "create",
		[FUSE_IOCTL] = "ioctl",
		[FUSE_INTERRUPT] = "interrupt",
		[FUSE_BATCH_FORGET] = "forget_multi",
		[FUSE_FALLOCATE] = "fallocate",
		[FUSE_READDIRPLUS] = "readdirplus",
		[FUSE_RENAME2] = "rename2",
		[FUSE_LSEEK] = "lseek",
		[FUSE_COPY_FILE_RANGE] = "copy_file_range",
		[FUSE_SYNCFS] = "syncfs",
		[OP_TMPFILE] = "tmpfile",
		[OP_STATX] = "statx",
		[WIRE_OPCODES - 1] = "other",
	};
	return opcode < WIRE_OPCODES ? names[opcode] : NULL;
}
