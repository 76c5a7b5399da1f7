/* SPDX-License-Identifier: MIT */
/* Reading control blocks out of a process that waits in io_submit(2). */
#include "cli/follow_blocks.h"

#include <errno.h>
#include <stddef.h>

static void *remote(uint64_t address)
{
	return (void *)(uintptr_t)address; /* in the other process */
}

static int read_memory(pid_t tid, uint64_t address, void *out, size_t len)
{
	struct iovec here = {out, len}, there = {remote(address), len};
	ssize_t n = process_vm_readv(tid, &here, 1, &there, 1, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int follow_read_blocks(
	pid_t tid, uint64_t address, uint64_t count, struct iocb blocks[FOLLOW_MAX_BLOCKS])
{
	uint64_t pointers[FOLLOW_MAX_BLOCKS];
	struct iovec there[FOLLOW_MAX_BLOCKS];
	if (count > FOLLOW_MAX_BLOCKS)
		count = FOLLOW_MAX_BLOCKS;
	if (!count)
		return 0;
	int err = read_memory(tid, address, pointers, count * sizeof(pointers[0]));
	if (err < 0)
		return err;
	for (uint64_t i = 0; i < count; i++)
		there[i] = (struct iovec){remote(pointers[i]), sizeof(blocks[0])};
	struct iovec here = {blocks, count * sizeof(blocks[0])};
	ssize_t n = process_vm_readv(tid, &here, 1, there, count, 0);
	return n < 0 ? -errno : (int)((size_t)n / sizeof(blocks[0]));
}

bool follow_block_is_vectored(const struct iocb *block)
{
	return block->aio_lio_opcode == IOCB_CMD_PREADV ||
	       block->aio_lio_opcode == IOCB_CMD_PWRITEV;
}

bool follow_block_range(const struct iocb *block, struct aio_entry *out)
{
	switch (block->aio_lio_opcode) {
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PREADV:
		out->is_read = true;
		break;
	case IOCB_CMD_PWRITE:
	case IOCB_CMD_PWRITEV:
		out->is_read = false;
		break;
	default:
		return false;
	}
	out->offset_bytes = (uint64_t)block->aio_offset;
	out->len_bytes = 0;
	out->piece_count = 0;
	if (!follow_block_is_vectored(block)) {
		out->len_bytes = block->aio_nbytes;
		out->piece_count = 1;
		out->pieces[0] = (struct iovec){remote(block->aio_buf), block->aio_nbytes};
	}
	return block->aio_offset >= 0;
}

int follow_join_vector(unsigned count, struct aio_entry *out)
{
	unsigned used = 0;
	out->len_bytes = 0;
	out->piece_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct iovec piece = out->pieces[i];
		if (piece.iov_len > INT64_MAX - out->len_bytes)
			return -EINVAL;
		out->len_bytes += piece.iov_len;
		struct iovec *last = used ? &out->pieces[used - 1] : NULL;
		if (last && (uintptr_t)last->iov_base + last->iov_len == (uintptr_t)piece.iov_base)
			last->iov_len += piece.iov_len;
		else if (piece.iov_len)
			out->pieces[used++] = piece;
	}
	out->piece_count = used;
	return 0;
}

int follow_read_vector(pid_t tid, const struct iocb *block, struct aio_entry *out)
{
	if (!block->aio_nbytes || block->aio_nbytes > AIO_MAX_PIECES)
		return -EINVAL;
	unsigned count = (unsigned)block->aio_nbytes;
	int err = read_memory(tid, block->aio_buf, out->pieces, count * sizeof(out->pieces[0]));
	return err < 0 ? err : follow_join_vector(count, out);
}
