/* SPDX-License-Identifier: MIT */
/* Blocking transfers over any engine: submit, then run the engine until done.
 *
 * The requests live on the heap: should the engine itself fail, they are still its, and are left
 * behind rather than pulled from under it. Owning thread: the engine's. */
#include <errno.h>
#include <stdlib.h>
#include "io/io.h"

struct sync_batch {
	struct iovec iov; /* the same bytes for all */
	unsigned pending;
	struct sync_req {
		struct io_req req;
		struct sync_batch *batch;
		int err;
	} reqs[];
};

static void request_done(struct io_req *req, int err)
{
	struct sync_req *r = container_of(req, struct sync_req, req);
	r->err = err;
	r->batch->pending--;
}

/* A wake that a wait used up was meant for the owner's own loop: it is called again. */
static int wait_for(struct io_engine *io, const struct sync_batch *batch)
{
	bool woken = false;
	int ret = 0;
	while (batch->pending && ret >= 0) {
		ret = io_run(io, true);
		woken |= ret == 0;
	}
	if (woken)
		io_wake(io);
	return batch->pending ? ret : 0;
}

static struct io_engine *submit_all(struct sync_batch *batch, struct io_file *const *files,
	unsigned count, const struct io_req *pattern)
{
	struct io_engine *io = NULL;
	for (unsigned i = 0; i < count; i++) {
		struct sync_req *r = &batch->reqs[i];
		r->err = -ENODEV;
		if (!files[i])
			continue;
		io = files[i]->engine;
		r->batch = batch;
		r->req = *pattern;
		r->req.file = files[i];
		r->req.iov = &batch->iov;
		r->req.iov_count = pattern->kind == IO_FLUSH ? 0 : 1;
		r->req.done = request_done;
		batch->pending++;
		io_submit(io, &r->req);
	}
	return io;
}

static void fill_errs(int *errs, unsigned count, int err)
{
	for (unsigned i = 0; i < count; i++)
		errs[i] = err;
}

/* Do what @pattern (kind, offset) says with @iov on each file. */
static void run_all(struct io_file *const *files, unsigned count, const struct io_req *pattern,
	struct iovec iov, int *errs)
{
	struct sync_batch *batch = calloc(1, sizeof(*batch) + count * sizeof(batch->reqs[0]));
	if (!batch) {
		fill_errs(errs, count, -ENOMEM);
		return;
	}
	batch->iov = iov;
	struct io_engine *io = submit_all(batch, files, count, pattern);
	int ret = wait_for(io, batch);
	if (ret < 0) {
		fill_errs(errs, count, ret);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		errs[i] = batch->reqs[i].err;
	free(batch);
}

static int run_one(struct io_file *file, const struct io_req *pattern, struct iovec iov)
{
	int err;
	run_all(&file, 1, pattern, iov, &err);
	return err;
}

int io_sync_read(struct io_file *file, uint64_t offset_bytes, void *buf, uint64_t len_bytes)
{
	struct io_req pattern = {.kind = IO_READ, .offset_bytes = offset_bytes};
	return run_one(file, &pattern, (struct iovec){.iov_base = buf, .iov_len = len_bytes});
}

int io_sync_write(struct io_file *file, uint64_t offset_bytes, const void *buf, uint64_t len_bytes)
{
	struct io_req pattern = {.kind = IO_WRITE, .offset_bytes = offset_bytes};
	return run_one(
		file, &pattern, (struct iovec){.iov_base = (void *)buf, .iov_len = len_bytes});
}

int io_sync_flush(struct io_file *file)
{
	struct io_req pattern = {.kind = IO_FLUSH};
	return run_one(file, &pattern, (struct iovec){0});
}

void io_sync_write_all(struct io_file *const *files, unsigned count, uint64_t offset_bytes,
	const void *buf, uint64_t len_bytes, int *errs)
{
	struct io_req pattern = {.kind = IO_WRITE, .offset_bytes = offset_bytes};
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len_bytes};
	run_all(files, count, &pattern, iov, errs);
}

void io_sync_flush_all(struct io_file *const *files, unsigned count, int *errs)
{
	struct io_req pattern = {.kind = IO_FLUSH};
	run_all(files, count, &pattern, (struct iovec){0}, errs);
}
