/* SPDX-License-Identifier: MIT */
/* One request of the io_uring engine: its entry, and what a completion means for it.
 *
 * Progress is done_bytes. The kernel may transfer less than asked for; what remains may begin in
 * the middle of an iovec. Then that iovec's rest goes alone (rest_iov), and the iovecs behind it
 * follow as a vector of their own, so nothing is allocated and the caller's vector stays as it is.
 * Owning thread: the engine's. */
#include "io/uring_internal.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>
#include "base/mem.h"

static uint64_t total_bytes(const struct io_req *req)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < req->iov_count; i++)
		total += req->iov[i].iov_len;
	return total;
}

static bool is_transfer(const struct io_req *req)
{
	return req->kind == IO_READ || req->kind == IO_WRITE;
}

bool uring_request_advance(struct io_req *req, int res)
{
	if ((res == -EAGAIN || res == -EINTR) && req->tries++ < URING_MAX_TRIES)
		return true;
	req->result = res < 0 ? res : 0;
	if (res < 0 || !is_transfer(req))
		return false;
	uint64_t total = total_bytes(req);
	req->done_bytes += (uint64_t)res;
	if (req->done_bytes >= total)
		return false;
	if (res == 0) /* the file ends here, contrary to what its size said at open */
		req->result = req->kind == IO_READ ? -EIO : -ENOSPC;
	return res > 0;
}

const struct iovec *uring_request_rest(struct io_req *req, unsigned *count)
{
	uint64_t skip = req->done_bytes;
	unsigned i = 0;
	while (i + 1 < req->iov_count && skip >= req->iov[i].iov_len)
		skip -= req->iov[i++].iov_len;
	if (skip == 0) {
		*count = req->iov_count - i;
		return req->iov + i;
	}
	req->rest_iov.iov_base = (char *)req->iov[i].iov_base + skip;
	req->rest_iov.iov_len = req->iov[i].iov_len - skip;
	*count = 1;
	return &req->rest_iov;
}

/* Above that the kernel's threads copy side by side. */
#define COPY_BYTES (64u << 10)

/* And what is read beyond that in one turn, of which the owner has enough to do: it checks all of
 * it and hands it on. Bytes that are written somebody else has copied before. */
#define COPY_TURN_BYTES (256u << 10)

bool uring_request_is_copy(const struct uring_engine *e, const struct io_req *req)
{
	if (!uring_file_of(req->file)->in_memory || total_bytes(req) > COPY_BYTES)
		return false;
	return req->kind != IO_READ || e->copied_bytes < COPY_TURN_BYTES;
}

static ssize_t copy_rest(struct io_req *req, int fd)
{
	unsigned count;
	const struct iovec *iov = uring_request_rest(req, &count);
	off_t offset_bytes = (off_t)(req->offset_bytes + req->done_bytes);
	if (req->kind == IO_READ)
		return preadv(fd, iov, (int)count, offset_bytes);
	return pwritev(fd, iov, (int)count, offset_bytes);
}

void uring_request_copy(struct uring_engine *e, struct io_req *req)
{
	int fd = uring_file_of(req->file)->fd;
	ssize_t res;
	do {
		res = is_transfer(req) ? copy_rest(req, fd) : fdatasync(fd);
	} while (uring_request_advance(req, res < 0 ? -errno : (int)res));
	e->copied_bytes += req->done_bytes;
}

/* The slot of the registered region that holds all of @iov, -1: none does. */
static int region_slot_of(const struct uring_engine *e, const struct iovec *iov)
{
	const char *start = iov->iov_base;
	for (unsigned i = 0; i < e->region_count; i++) {
		const struct uring_region *r = &e->regions[i];
		if (start >= r->base && iov->iov_len <= r->len_bytes &&
			(uint64_t)(start - r->base) <= r->len_bytes - iov->iov_len)
			return r->slot;
	}
	return -1;
}

/* An entry's length has 32 bits; one call transfers less anyway, and the rest follows. */
static unsigned entry_len(size_t len_bytes)
{
	const size_t most = 1u << 30;
	return (unsigned)(len_bytes < most ? len_bytes : most);
}

static void prepare_one(const struct io_req *req, int fd, int slot, const struct iovec *iov,
	uint64_t offset_bytes, struct io_uring_sqe *sqe)
{
	unsigned len = entry_len(iov->iov_len);
	if (req->kind == IO_READ && slot >= 0)
		io_uring_prep_read_fixed(sqe, fd, iov->iov_base, len, offset_bytes, slot);
	else if (req->kind == IO_READ)
		io_uring_prep_read(sqe, fd, iov->iov_base, len, offset_bytes);
	else if (slot >= 0)
		io_uring_prep_write_fixed(sqe, fd, iov->iov_base, len, offset_bytes, slot);
	else
		io_uring_prep_write(sqe, fd, iov->iov_base, len, offset_bytes);
}

/* A read that may be out of time, and not into registered memory (the ways are in uring_flight.c).
 * True: it goes into memory of ours. */
static bool prepare_staged(const struct io_req *req, struct uring_flight *flight, int fd,
	uint64_t offset_bytes, struct io_uring_sqe *sqe)
{
	flight->nowait = !flight->file->no_nowait && !req->record;
	if (flight->nowait)
		return false;
	struct iovec iov = {.iov_len = total_bytes(req) - req->done_bytes};
	iov.iov_base = flight->staging = mem_alloc_blocks(iov.iov_len);
	if (flight->staging) {
		prepare_one(req, fd, -1, &iov, offset_bytes, sqe);
	} else {
		flight->err = -ENOMEM;
		io_uring_prep_nop(sqe);
	}
	return true;
}

static void prepare_transfer(struct uring_engine *e, struct io_req *req,
	struct uring_flight *flight, int fd, struct io_uring_sqe *sqe)
{
	unsigned count;
	const struct iovec *iov = uring_request_rest(req, &count);
	uint64_t offset_bytes = req->offset_bytes + req->done_bytes;
	int slot = count == 1 ? region_slot_of(e, iov) : -1;
	bool guarded = flight && req->kind == IO_READ && slot < 0;
	if (guarded && prepare_staged(req, flight, fd, offset_bytes, sqe))
		return;
	if (count == 1)
		prepare_one(req, fd, slot, iov, offset_bytes, sqe);
	else if (req->kind == IO_READ)
		io_uring_prep_readv(sqe, fd, iov, count, offset_bytes);
	else
		io_uring_prep_writev(sqe, fd, iov, count, offset_bytes);
	if (req->kind == IO_WRITE && req->durable)
		sqe->rw_flags = RWF_DSYNC;
	if (guarded)
		sqe->rw_flags = RWF_NOWAIT;
}

void uring_request_prepare(struct uring_engine *e, struct io_req *req, struct uring_flight *flight,
	struct io_uring_sqe *sqe)
{
	struct uring_file *f = uring_file_of(req->file);
	int fd = f->slot >= 0 ? f->slot : f->fd;
	assert(req->kind != IO_ALARM);
	if (req->kind == IO_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else
		prepare_transfer(e, req, flight, fd, sqe);
	if (f->slot >= 0 && sqe->opcode != IORING_OP_NOP)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	sqe->user_data = flight ? uring_flight_tag(flight) : (uint64_t)(uintptr_t)req;
}
