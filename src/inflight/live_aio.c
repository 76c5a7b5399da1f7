/* SPDX-License-Identifier: MIT */
/* Submissions from a supervisor's table, or from the control blocks of a call that still lasts. */
#include "inflight/live_aio.h"

#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/syscall.h>
#include "inflight/live_buffer.h"
#include "inflight/tree.h"

#define BLOCKS_MAX 256u /* of one call; those beyond are not looked at */

static enum live_miss find_in_trees(const struct live_aio_question *q, struct aio_entry *out)
{
	if (trees_empty(q->trees))
		return LIVE_NOT_IN_CALL;
	const struct live_request *req = q->req;
	struct aio_wanted wanted = {.tgid = q->tgid,
		.ino = req->ino,
		.dev = req->dev,
		.offset_bytes = req->offset_bytes,
		.len_bytes = req->len_bytes,
		.is_read = req->is_read,
		.holds = req->bytes ? q->holds_bytes : NULL,
		.ctx = q->ctx};
	switch (trees_find_aio(q->trees, req->tid, &wanted, out)) {
	case AIO_FOUND:
		return LIVE_FOUND;
	case AIO_AMBIGUOUS:
		return LIVE_AMBIGUOUS;
	case AIO_NOT_FOUND:
		break;
	}
	return LIVE_NOT_IN_CALL;
}

/* ---- control blocks ---- */

/* Memory of the process, if reading it does not ask us. 0 or -errno; -EFAULT also where it
 * would. */
static int read_safely(struct live_handle *handle, const struct live_request *req, uint64_t addr,
	void *out, size_t len_bytes)
{
	struct iovec range = {(void *)(uintptr_t)addr, len_bytes};
	int ret = live_handle_ask_maps(handle, &range, 1, req->dev);
	if (ret)
		return ret < 0 ? ret : -EFAULT;
	return live_memory_read(req->tid, &range, 1, out, len_bytes);
}

static bool is_plain_match(const struct live_request *req, const struct iocb *cb)
{
	uint64_t begin = (uint64_t)cb->aio_offset;
	if (cb->aio_lio_opcode != (req->is_read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE) ||
		req->append || req->offset_bytes < begin)
		return false;
	uint64_t skip = req->offset_bytes - begin;
	return skip <= cb->aio_nbytes && req->len_bytes <= cb->aio_nbytes - skip;
}

static bool is_of_file(
	struct live_files *files, const struct live_aio_question *q, const struct iocb *cb)
{
	struct procfs_fd info;
	struct live_file_question file = {q->tgid, q->req->tid, (int)cb->aio_fildes, false};
	return live_file_ask(files, &file, q->req, &info) == 1;
}

static void entry_of_block(const struct iocb *cb, struct aio_entry *out)
{
	out->offset_bytes = (uint64_t)cb->aio_offset;
	out->len_bytes = cb->aio_nbytes;
	out->piece_count = 1;
	out->pieces[0] = (struct iovec){(void *)(uintptr_t)cb->aio_buf, cb->aio_nbytes};
}

/* The thread is inside io_submit(ctx, count, blocks). */
static enum live_miss find_in_submission(struct live_files *files, struct live_handle *handle,
	const struct live_aio_question *q, struct aio_entry *out)
{
	uint64_t blocks[BLOCKS_MAX];
	uint64_t count = q->now->args[1] < BLOCKS_MAX ? q->now->args[1] : BLOCKS_MAX;
	if (read_safely(handle, q->req, q->now->args[2], blocks, count * sizeof(*blocks)) < 0)
		return LIVE_AIO_UNSEEN;
	enum live_miss miss = LIVE_AIO_UNSEEN;
	for (uint64_t i = 0; i < count; i++) {
		struct iocb cb;
		if (read_safely(handle, q->req, blocks[i], &cb, sizeof(cb)) < 0 ||
			!is_plain_match(q->req, &cb) || !is_of_file(files, q, &cb))
			continue;
		if (miss == LIVE_FOUND)
			return LIVE_AMBIGUOUS;
		entry_of_block(&cb, out);
		miss = LIVE_FOUND;
	}
	return miss;
}

/* ---- either ---- */

static bool waits_for_completions(const struct procfs_syscall *now)
{
	return now->nr == SYS_io_getevents || now->nr == SYS_io_pgetevents;
}

enum live_miss live_aio_find(struct live_files *files, struct live_handle *handle,
	const struct live_aio_question *q, struct aio_entry *out)
{
	enum live_miss miss = find_in_trees(q, out);
	if (miss != LIVE_NOT_IN_CALL)
		return miss;
	if (q->now->nr == SYS_io_submit)
		return find_in_submission(files, handle, q, out);
	return q->did_before || waits_for_completions(q->now) ? LIVE_AIO_UNSEEN : LIVE_NOT_IN_CALL;
}
