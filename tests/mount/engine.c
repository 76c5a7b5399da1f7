/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <errno.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cases.h"

#define THREADS 16u

static void op_done(struct op *op, ssize_t result)
{
	op->result = result;
	atomic_store(&op->is_done, true);
}

/* ---- threads and system calls ---- */

struct pool {
	struct op *ops;
	unsigned count;
	atomic_uint next;
};

static void *call_all(void *arg)
{
	struct pool *p = arg;
	unsigned i;
	while ((i = atomic_fetch_add(&p->next, 1)) < p->count) {
		struct op *op = &p->ops[i];
		ssize_t n = op->write ? pwritev2(op->fd, op->iov, op->iovs, op->offset, op->rwf)
				      : preadv2(op->fd, op->iov, op->iovs, op->offset, op->rwf);
		op_done(op, n < 0 ? -errno : n);
	}
	return NULL;
}

static void psync_run(
	const struct engine *e, struct op *ops, unsigned count, struct engine_memory memory)
{
	(void)e, (void)memory;
	struct pool pool = {.ops = ops, .count = count};
	unsigned threads = count < THREADS ? count : THREADS;
	pthread_t ids[THREADS];
	for (unsigned i = 1; i < threads; i++)
		must(!pthread_create(&ids[i], NULL, call_all, &pool), "pthread_create");
	call_all(&pool);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
}

/* ---- libaio ---- */

static void aio_fill(struct iocb *cb, struct op *op)
{
	*cb = (struct iocb){.aio_data = (uintptr_t)op,
		.aio_lio_opcode = op->write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_fildes = (uint32_t)op->fd,
		.aio_buf = (uintptr_t)op->iov,
		.aio_nbytes = (uint64_t)op->iovs,
		.aio_offset = op->offset,
		.aio_rw_flags = op->rwf};
	if (op->iovs > 1)
		return;
	cb->aio_lio_opcode = op->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	cb->aio_buf = (uintptr_t)op->iov->iov_base;
	cb->aio_nbytes = op->iov->iov_len;
}

/* What the call itself refuses has the error for its result. */
static unsigned aio_submit(aio_context_t ctx, struct iocb **list, unsigned count)
{
	unsigned started = 0;
	for (unsigned i = 0; i < count;) {
		long n = syscall(SYS_io_submit, ctx, (long)(count - i), list + i);
		if (n > 0) {
			i += (unsigned)n;
			started += (unsigned)n;
			continue;
		}
		op_done((struct op *)(uintptr_t)list[i]->aio_data, n < 0 ? -errno : -EAGAIN);
		i++;
	}
	return started;
}

static void aio_run(
	const struct engine *e, struct op *ops, unsigned count, struct engine_memory memory)
{
	(void)e, (void)memory;
	aio_context_t ctx = 0;
	struct iocb blocks[ENGINE_DEPTH], *list[ENGINE_DEPTH];
	must(!syscall(SYS_io_setup, ENGINE_DEPTH, &ctx), "io_setup: %s", strerror(errno));
	for (unsigned i = 0; i < count; i++) {
		aio_fill(&blocks[i], &ops[i]);
		list[i] = &blocks[i];
	}
	unsigned left = aio_submit(ctx, list, count);
	while (left) {
		struct io_event events[64];
		long n = syscall(SYS_io_getevents, ctx, 1L, 64L, events, NULL);
		must(n > 0, "io_getevents: %s", strerror(errno));
		for (long i = 0; i < n; i++)
			op_done((struct op *)(uintptr_t)events[i].data, (ssize_t)events[i].res);
		left -= (unsigned)n;
	}
	syscall(SYS_io_destroy, ctx);
}

/* ---- io_uring ---- */

static bool lies_in(const struct op *op, struct engine_memory memory)
{
	uintptr_t at = (uintptr_t)op->iov->iov_base, base = (uintptr_t)memory.at;
	return op->iovs == 1 && memory.at && at >= base &&
	       at + op->iov->iov_len <= base + memory.len_bytes;
}

static void uring_fill(struct io_uring_sqe *sqe, struct op *op, struct engine_memory memory)
{
	unsigned len = (unsigned)op->iov->iov_len;
	void *at = op->iov->iov_base;
	if (lies_in(op, memory) && op->write)
		io_uring_prep_write_fixed(sqe, op->fd, at, len, (uint64_t)op->offset, 0);
	else if (lies_in(op, memory))
		io_uring_prep_read_fixed(sqe, op->fd, at, len, (uint64_t)op->offset, 0);
	else if (op->iovs > 1 && op->write)
		io_uring_prep_writev(
			sqe, op->fd, op->iov, (unsigned)op->iovs, (uint64_t)op->offset);
	else if (op->iovs > 1)
		io_uring_prep_readv(sqe, op->fd, op->iov, (unsigned)op->iovs, (uint64_t)op->offset);
	else if (op->write)
		io_uring_prep_write(sqe, op->fd, at, len, (uint64_t)op->offset);
	else
		io_uring_prep_read(sqe, op->fd, at, len, (uint64_t)op->offset);
	sqe->rw_flags = op->rwf;
	io_uring_sqe_set_data(sqe, op);
}

/* Registered by its place in @files. */
static void file_use(struct io_uring_sqe *sqe, int *files, unsigned *count)
{
	unsigned i = 0;
	while (i < *count && files[i] != sqe->fd)
		i++;
	if (i == *count)
		files[(*count)++] = sqe->fd;
	sqe->fd = (int)i;
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void uring_run(
	const struct engine *e, struct op *ops, unsigned count, struct engine_memory memory)
{
	struct io_uring ring;
	int files[ENGINE_DEPTH];
	unsigned file_count = 0;
	struct iovec registered = {memory.at, memory.len_bytes};
	must(!io_uring_queue_init(ENGINE_DEPTH, &ring, 0), "io_uring_queue_init");
	if (!e->registered)
		memory.at = NULL;
	for (unsigned i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		uring_fill(sqe, &ops[i], memory);
		if (e->registered)
			file_use(sqe, files, &file_count);
	}
	if (e->registered)
		must(!io_uring_register_files(&ring, files, file_count), "register files");
	if (memory.at)
		must(!io_uring_register_buffers(&ring, &registered, 1), "register buffers");
	must(io_uring_submit(&ring) == (int)count, "io_uring_submit");
	for (unsigned i = 0; i < count; i++) {
		struct io_uring_cqe *cqe;
		must(!io_uring_wait_cqe(&ring, &cqe), "io_uring_wait_cqe");
		op_done(io_uring_cqe_get_data(cqe), cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
	io_uring_queue_exit(&ring);
}

const struct engine engines[] = {
	{"psync", false, psync_run},
	{"libaio", false, aio_run},
	{"io_uring", false, uring_run},
	{"io_uring registered", true, uring_run},
	{0},
};

ssize_t engine_one(
	const struct engine *e, bool write, int fd, void *data, size_t len_bytes, off_t offset)
{
	struct iovec iov = {data, len_bytes};
	struct op op = {.write = write, .fd = fd, .iov = &iov, .iovs = 1, .offset = offset};
	engine_run(e, &op, 1);
	return op.result;
}
