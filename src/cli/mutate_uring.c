/* SPDX-License-Identifier: MIT */
/* The mutator's writes and reads through io_uring. */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/mutate_internal.h"

#define SQPOLL_IDLE_MS 100u

static int register_buffers(struct mutator *m, struct io_uring *ring, struct errmsg *why)
{
	struct iovec all[MUTATE_MAX_DEPTH];
	for (unsigned i = 0; i < m->depth; i++)
		all[i] = (struct iovec){m->slots[i].buffer, m->options->block_bytes};
	int err = io_uring_register_buffers(ring, all, m->depth);
	return err < 0 ? errmsg_set(why, err, "cannot register the buffers: %s (ulimit -l)",
				 strerror(-err))
		       : 0;
}

static int open_ring(struct mutator *m, struct errmsg *why)
{
	cleanup(cleanup_freep) struct io_uring *ring = calloc(1, sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	struct io_uring_params params = {0};
	if (m->options->sqpoll) {
		params.flags = IORING_SETUP_SQPOLL;
		params.sq_thread_idle = SQPOLL_IDLE_MS;
	}
	int err = io_uring_queue_init_params(m->depth, ring, &params);
	if (err < 0)
		return errmsg_set(why, err, "there is no io_uring here: %s", strerror(-err));
	if (m->options->fixed)
		err = register_buffers(m, ring, why);
	if (err < 0) {
		io_uring_queue_exit(ring);
		return err;
	}
	m->engine_state = take_ptr(&ring);
	return 0;
}

static void prepare(struct mutator *m, struct io_uring_sqe *sqe, struct mutate_slot *slot)
{
	uint64_t offset = slot->transfer->offset_bytes;
	unsigned len = (unsigned)m->options->block_bytes;
	int index = (int)(slot - m->slots);
	if (m->options->fixed && m->reading)
		io_uring_prep_read_fixed(sqe, m->fd, slot->buffer, len, offset, index);
	else if (m->options->fixed)
		io_uring_prep_write_fixed(sqe, m->fd, slot->buffer, len, offset, index);
	else if (m->options->vectored && m->reading)
		io_uring_prep_readv(sqe, m->fd, slot->iov, slot->pieces, offset);
	else if (m->options->vectored)
		io_uring_prep_writev(sqe, m->fd, slot->iov, slot->pieces, offset);
	else if (m->reading)
		io_uring_prep_read(sqe, m->fd, slot->buffer, len, offset);
	else
		io_uring_prep_write(sqe, m->fd, slot->buffer, len, offset);
	io_uring_sqe_set_data(sqe, slot);
}

/* The ring has an entry for each slot; under SQPOLL the kernel's thread frees it some time after
 * the transfer's end. */
static int submit(struct mutator *m, struct mutate_slot *slot)
{
	struct io_uring *ring = m->engine_state;
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(ring)))
		io_uring_sqring_wait(ring);
	prepare(m, sqe, slot);
	int n = io_uring_submit(ring);
	return n < 0 ? n : 0;
}

static int reap(struct mutator *m)
{
	struct io_uring *ring = m->engine_state;
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		struct mutate_slot *slot = io_uring_cqe_get_data(cqe);
		slot->result = cqe->res;
		slot->ended = true;
		io_uring_cqe_seen(ring, cqe);
	}
	return 0;
}

static void close_ring(struct mutator *m)
{
	io_uring_queue_exit(m->engine_state);
	free(m->engine_state);
}

const struct mutate_engine_ops mutate_uring = {.name = "uring",
	.vectored = true,
	.fixed = true,
	.deep = true,
	.open = open_ring,
	.submit = submit,
	.reap = reap,
	.close = close_ring};
