/* SPDX-License-Identifier: MIT */
/* Making a buffer of what was located. Private to src/inflight; the rest of it is in live.h. */
#ifndef STABLEFS_INFLIGHT_LIVE_BUFFER_H
#define STABLEFS_INFLIGHT_LIVE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "inflight/live.h"

/* All of @remote, one after the other, into @out. 0 or -errno; -EFAULT: a part is not mapped. */
int live_memory_read(
	pid_t tid, const struct iovec *remote, unsigned count, void *out, size_t len_bytes);

/* The part [skip, skip + len) of these pieces of memory of thread @tid's process. NULL: out of
 * memory. */
struct live_buffer *live_buffer_new(pid_t tid, const struct iovec *iov, unsigned count,
	uint64_t skip_bytes, uint32_t len_bytes);

/* 0: it holds these bytes now; 1: others; -errno as live_buffer_read(). */
int live_buffer_compare(struct live_buffer *buffer, const void *bytes, uint32_t len_bytes);

/* Its pieces. */
const struct iovec *live_buffer_pieces(const struct live_buffer *buffer, unsigned *count);

#endif
