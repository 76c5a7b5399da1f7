/* SPDX-License-Identifier: MIT */
/* Requests as tests of the I/O engines write them: made in one line, their results remembered. */
#ifndef STABLEFS_TESTS_IO_RIG_H
#define STABLEFS_TESTS_IO_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/io.h"

#define OP_PENDING 1

/* A request with its only iovec and its result. */
struct op {
	struct io_req req;
	struct iovec iov;
	int err;          /* OP_PENDING until done() ran */
	unsigned times;   /* that done() ran */
	uint64_t place;   /* 1: the first of all ops to be done */
	uint64_t done_ns; /* engine time then */
	struct io_engine *io;
};

static uint64_t ops_done;

static inline void op_done(struct io_req *req, int err)
{
	struct op *op = container_of(req, struct op, req);
	op->err = err;
	op->times++;
	op->place = ++ops_done;
	op->done_ns = io_now_ns(op->io);
}

static inline void op_submit(struct io_engine *io, struct op *op)
{
	op->err = OP_PENDING;
	op->io = io;
	op->req.done = op_done;
	io_submit(io, &op->req);
}

static inline void op_transfer(struct op *op, enum io_kind kind, struct io_file *file,
	uint64_t offset_bytes, void *buf, size_t len_bytes)
{
	*op = (struct op){.iov = {.iov_base = buf, .iov_len = len_bytes}};
	op->req.kind = kind;
	op->req.file = file;
	op->req.offset_bytes = offset_bytes;
	op->req.iov = &op->iov;
	op->req.iov_count = kind == IO_FLUSH ? 0 : 1;
	op_submit(file->engine, op);
}

static inline void op_alarm(struct op *op, struct io_engine *io, uint64_t due_ns)
{
	*op = (struct op){.req = {.kind = IO_ALARM, .due_ns = due_ns}};
	op_submit(io, op);
}

/* Run the engine until the op is done; its result. */
static inline int op_wait(struct op *op)
{
	while (op->err == OP_PENDING)
		assert_true(io_run(op->io, true) >= 0);
	return op->err;
}

static inline void ops_wait(struct op *ops, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		op_wait(&ops[i]);
}

/* One transfer, waited for. */
static inline int op_now(
	enum io_kind kind, struct io_file *file, uint64_t offset_bytes, void *buf, size_t len_bytes)
{
	struct op op;
	op_transfer(&op, kind, file, offset_bytes, buf, len_bytes);
	return op_wait(&op);
}

/* Bytes that tell which 512-byte sector of which generation they are. */
static inline void fill_sectors(void *buf, size_t len_bytes, uint64_t first_sector, uint64_t tag)
{
	uint64_t *word = buf;
	for (size_t i = 0; i < len_bytes / sizeof(*word); i++)
		word[i] =
			(first_sector + i / 64) * UINT64_C(0x9E3779B97F4A7C15) + tag * 131 + i % 64;
}

static inline bool holds_sectors(
	const void *buf, size_t len_bytes, uint64_t first_sector, uint64_t tag)
{
	cleanup(cleanup_freep) void *want = mem_alloc_blocks(len_bytes);
	fill_sectors(want, len_bytes, first_sector, tag);
	return memcmp(buf, want, len_bytes) == 0;
}

static inline bool is_zeros(const void *buf, size_t len_bytes)
{
	const unsigned char *byte = buf;
	for (size_t i = 0; i < len_bytes; i++) {
		if (byte[i])
			return false;
	}
	return true;
}

#endif
