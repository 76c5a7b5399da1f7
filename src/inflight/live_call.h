/* SPDX-License-Identifier: MIT */
/* The system calls that write or read synchronously, and where a request lies in one. Private to
 * src/inflight; pure values, no I/O. */
#ifndef STABLEFS_INFLIGHT_LIVE_CALL_H
#define STABLEFS_INFLIGHT_LIVE_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include "inflight/live.h"
#include "inflight/live_procfs.h"

struct live_call {
	long nr;
	const char *name;
	bool writes;     /* from a buffer of the caller */
	bool reads;      /* into one; what does neither only names what a thread waits in */
	bool vectored;   /* (fd, iovec, count, ...), else (fd, buffer, length, ...) */
	bool has_offset; /* the fourth argument is the offset, else the file's position is */
	bool has_flags;  /* the sixth argument is RWF_*, and offset -1 means the file's position */
};

/* NULL: not one of ours. */
const struct live_call *live_call_find(long nr);

/* True where the call begins at the file's position. */
bool live_call_is_at_position(const struct live_call *call, const struct procfs_syscall *now);

/* True where the thread is no native 64-bit one, so that its numbers mean other calls. */
bool live_call_is_foreign(const struct procfs_syscall *now);

/* Does @req lie in the call @now of @total_bytes on the file @fd? @skip_bytes: how far into the
 * call's buffer it begins.
 *
 * With O_APPEND nobody outside of the kernel knows where in the file the call began (the position
 * in fdinfo is where the thread's last write ended, and others append too). So a request is then
 * found only if it is the whole call: a guess would compare the wrong bytes, and report a
 * mutation that never was. */
bool live_call_match(const struct live_call *call, const struct procfs_syscall *now,
	const struct procfs_fd *fd, const struct live_request *req, uint64_t total_bytes,
	uint64_t *skip_bytes);

#endif
