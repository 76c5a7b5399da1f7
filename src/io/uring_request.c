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

/* What is left to transfer, as a vector: returns it, its length in *@count. */
static const struct iovec *rest_of(struct io_req *req, unsigned *count)
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

static void prepare_one(struct uring_engine *e, struct io_req *req, int fd, const struct iovec *iov,
	uint64_t offset_bytes, struct io_uring_sqe *sqe)
{
	int slot = region_slot_of(e, iov);
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

static void prepare_transfer(
	struct uring_engine *e, struct io_req *req, int fd, struct io_uring_sqe *sqe)
{
	unsigned count;
	const struct iovec *iov = rest_of(req, &count);
	uint64_t offset_bytes = req->offset_bytes + req->done_bytes;
	if (count == 1)
		prepare_one(e, req, fd, iov, offset_bytes, sqe);
	else if (req->kind == IO_READ)
		io_uring_prep_readv(sqe, fd, iov, count, offset_bytes);
	else
		io_uring_prep_writev(sqe, fd, iov, count, offset_bytes);
	if (req->kind == IO_WRITE && req->durable)
		sqe->rw_flags = RWF_DSYNC;
}

void uring_request_prepare(struct uring_engine *e, struct io_req *req, struct io_uring_sqe *sqe)
{
	struct uring_file *f = uring_file_of(req->file);
	int fd = f->slot >= 0 ? f->slot : f->fd;
	assert(req->kind != IO_ALARM);
	if (req->kind == IO_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else
		prepare_transfer(e, req, fd, sqe);
	if (f->slot >= 0)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, req);
}
