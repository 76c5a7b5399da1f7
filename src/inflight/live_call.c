/* SPDX-License-Identifier: MIT */
/* A table of calls, and the arithmetic from a request to a place in the call's buffer. */
#include "inflight/live_call.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef RWF_NOAPPEND /* Linux 6.9 */
#define RWF_NOAPPEND 0x20
#endif

/* pwritev(2) splits its offset into two longs: with 64-bit ones the first holds all of it. */
_Static_assert(sizeof(long) == sizeof(uint64_t), "needs a 64-bit system call interface");

static const struct live_call calls[] = {
	{SYS_write, "write", .writes = true},
	{SYS_pwrite64, "pwrite64", .writes = true, .has_offset = true},
	{SYS_writev, "writev", .writes = true, .vectored = true},
	{SYS_pwritev, "pwritev", .writes = true, .vectored = true, .has_offset = true},
	{SYS_pwritev2, "pwritev2", .writes = true, .vectored = true, .has_offset = true,
		.has_flags = true},
	{SYS_read, "read", .reads = true},
	{SYS_pread64, "pread64", .reads = true, .has_offset = true},
	{SYS_readv, "readv", .reads = true, .vectored = true},
	{SYS_preadv, "preadv", .reads = true, .vectored = true, .has_offset = true},
	{SYS_preadv2, "preadv2", .reads = true, .vectored = true, .has_offset = true,
		.has_flags = true},
	{SYS_io_submit, "io_submit"},
	{SYS_io_getevents, "io_getevents"},
	{SYS_io_pgetevents, "io_pgetevents"},
	{SYS_io_uring_enter, "io_uring_enter"},
};

const struct live_call *live_call_find(long nr)
{
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i].nr == nr)
			return &calls[i];
	}
	return NULL;
}

bool live_call_is_foreign(const struct procfs_syscall *now)
{
	/* x32 numbers carry bit 30. A 32-bit program has code and stack below 4 GiB, a 64-bit one
	 * has its stack far above. */
	bool x32 = now->nr > 0 && (now->nr & 1L << 30);
	return x32 || (now->sp && now->sp <= UINT32_MAX && now->pc <= UINT32_MAX);
}

static bool call_appends(const struct live_call *call, const struct procfs_syscall *now,
	const struct procfs_fd *fd, const struct live_request *req)
{
	uint64_t flags = call->has_flags ? now->args[5] : 0;
	if (call->reads || (flags & RWF_NOAPPEND))
		return false;
	return req->append || (fd->flags & O_APPEND) || (flags & RWF_APPEND);
}

bool live_call_is_at_position(const struct live_call *call, const struct procfs_syscall *now)
{
	return !call->has_offset || (call->has_flags && (int64_t)now->args[3] == -1);
}

static uint64_t call_offset(
	const struct live_call *call, const struct procfs_syscall *now, const struct procfs_fd *fd)
{
	return live_call_is_at_position(call, now) ? (uint64_t)fd->pos : now->args[3];
}

bool live_call_match(const struct live_call *call, const struct procfs_syscall *now,
	const struct procfs_fd *fd, const struct live_request *req, uint64_t total_bytes,
	uint64_t *skip_bytes)
{
	*skip_bytes = 0;
	if (call_appends(call, now, fd, req))
		return req->len_bytes == total_bytes;
	uint64_t begin = call_offset(call, now, fd);
	if (req->offset_bytes < begin)
		return false;
	*skip_bytes = req->offset_bytes - begin;
	return *skip_bytes <= total_bytes && req->len_bytes <= total_bytes - *skip_bytes;
}
