/* SPDX-License-Identifier: MIT */
/* Buffers in the memory of other processes, or in our own. */
#include "inflight/live_buffer.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define COMPARE_BYTES 16384u

struct live_buffer {
	_Atomic unsigned holders;
	pid_t tid; /* 0: our own process */
	unsigned piece_count;
	struct iovec pieces[]; /* in the other process */
};

/* The part [skip, skip + len) of @from, into @to, which has room for as many. How many it took. */
static unsigned iovec_cut(const struct iovec *from, unsigned count, uint64_t skip_bytes,
	uint64_t len_bytes, struct iovec *to)
{
	unsigned taken = 0;
	for (unsigned i = 0; i < count && len_bytes; i++) {
		if (skip_bytes >= from[i].iov_len) {
			skip_bytes -= from[i].iov_len;
			continue;
		}
		uint64_t part = from[i].iov_len - skip_bytes;
		part = part < len_bytes ? part : len_bytes;
		to[taken++] = (struct iovec){(char *)from[i].iov_base + skip_bytes, part};
		skip_bytes = 0;
		len_bytes -= part;
	}
	return taken;
}

/* All of @remote, one after the other, into @out. 0 or -errno. */
int live_memory_read(
	pid_t tid, const struct iovec *remote, unsigned count, void *out, size_t len_bytes)
{
	struct iovec local = {out, len_bytes};
	ssize_t n = process_vm_readv(tid, &local, 1, remote, count, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EFAULT; /* less: the rest is not mapped */
}

struct live_buffer *live_buffer_new(
	pid_t tid, const struct iovec *iov, unsigned count, uint64_t skip_bytes, uint32_t len_bytes)
{
	struct live_buffer *buffer = malloc(sizeof(*buffer) + count * sizeof(*iov));
	if (!buffer)
		return NULL;
	buffer->holders = 1;
	buffer->tid = tid;
	buffer->piece_count = iovec_cut(iov, count, skip_bytes, len_bytes, buffer->pieces);
	return buffer;
}

struct live_buffer *live_buffer_own(void *memory, uint32_t len_bytes)
{
	struct iovec all = {memory, len_bytes};
	return live_buffer_new(0, &all, 1, 0, len_bytes);
}

bool live_buffer_is_own(const struct live_buffer *buffer)
{
	return buffer->tid == 0;
}

pid_t live_buffer_tid(const struct live_buffer *buffer)
{
	return buffer->tid;
}

const struct iovec *live_buffer_pieces(const struct live_buffer *buffer, unsigned *count)
{
	*count = buffer->piece_count;
	return buffer->pieces;
}

/* The part [offset, offset + len), into @window, which has room for IOV_MAX: each reading has its
 * own, since several go on side by side. How many pieces; those beyond IOV_MAX are left out, as the
 * calls take no more, and then it ends short. */
static unsigned buffer_aim(const struct live_buffer *buffer, uint32_t offset_bytes,
	uint32_t len_bytes, struct iovec *window)
{
	unsigned count = buffer->piece_count < IOV_MAX ? buffer->piece_count : IOV_MAX;
	return iovec_cut(buffer->pieces, count, offset_bytes, len_bytes, window);
}

static uint8_t *own_memory(
	const struct live_buffer *buffer, uint32_t offset_bytes, uint32_t len_bytes)
{
	const struct iovec *all = buffer->pieces;
	if (offset_bytes > all->iov_len || len_bytes > all->iov_len - offset_bytes)
		return NULL;
	return (uint8_t *)all->iov_base + offset_bytes;
}

int live_buffer_read(
	struct live_buffer *buffer, uint32_t offset_bytes, void *out, uint32_t len_bytes)
{
	if (live_buffer_is_own(buffer)) {
		const uint8_t *from = own_memory(buffer, offset_bytes, len_bytes);
		return from ? (memcpy(out, from, len_bytes), 0) : -EFAULT;
	}
	struct iovec window[IOV_MAX];
	unsigned count = buffer_aim(buffer, offset_bytes, len_bytes, window);
	return live_memory_read(buffer->tid, window, count, out, len_bytes);
}

int live_buffer_compare(struct live_buffer *buffer, const void *bytes, uint32_t len_bytes)
{
	uint8_t now[COMPARE_BYTES];
	for (uint32_t at = 0; at < len_bytes; at += COMPARE_BYTES) {
		uint32_t part = len_bytes - at < COMPARE_BYTES ? len_bytes - at : COMPARE_BYTES;
		int ret = live_buffer_read(buffer, at, now, part);
		if (ret < 0)
			return ret;
		if (memcmp(now, (const uint8_t *)bytes + at, part) != 0)
			return 1;
	}
	return 0;
}

int live_buffer_write(
	struct live_buffer *buffer, uint32_t offset_bytes, const void *data, uint32_t len_bytes)
{
	if (live_buffer_is_own(buffer)) {
		uint8_t *to = own_memory(buffer, offset_bytes, len_bytes);
		return to ? (memcpy(to, data, len_bytes), 0) : -EFAULT;
	}
	struct iovec window[IOV_MAX];
	unsigned count = buffer_aim(buffer, offset_bytes, len_bytes, window);
	struct iovec local = {(void *)(uintptr_t)data, len_bytes};
	ssize_t n = process_vm_writev(buffer->tid, &local, 1, window, count, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EFAULT;
}

void live_buffer_hold(struct live_buffer *buffer)
{
	atomic_fetch_add(&buffer->holders, 1);
}

void live_buffer_free(struct live_buffer *buffer)
{
	if (buffer && atomic_fetch_sub(&buffer->holders, 1) == 1)
		free(buffer);
}
