/* SPDX-License-Identifier: MIT */
/* The mutator's writes and reads through the kernel's asynchronous I/O, by the calls that libaio
 * wraps (io_submit(2)); its control blocks are visible in memory only while io_submit runs. */
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/mutate_internal.h"

struct aio_state {
	aio_context_t context;
	struct iocb blocks[MUTATE_MAX_DEPTH]; /* by slot */
};

static int open_context(struct mutator *m, struct errmsg *why)
{
	cleanup(cleanup_freep) struct aio_state *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (syscall(SYS_io_setup, (unsigned)m->depth, &s->context) < 0)
		return errmsg_set(why, -errno, "io_setup: %s", strerror(errno));
	m->engine_state = take_ptr(&s);
	return 0;
}

static int submit(struct mutator *m, struct mutate_slot *slot)
{
	struct aio_state *s = m->engine_state;
	struct iocb *block = &s->blocks[slot - m->slots], *list[] = {block};
	*block = (struct iocb){.aio_data = (uint64_t)(uintptr_t)slot,
		.aio_lio_opcode = m->reading ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)m->fd,
		.aio_buf = (uint64_t)(uintptr_t)slot->buffer,
		.aio_nbytes = m->options->block_bytes,
		.aio_offset = (int64_t)slot->transfer->offset_bytes};
	if (m->options->vectored) {
		block->aio_lio_opcode = m->reading ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV;
		block->aio_buf = (uint64_t)(uintptr_t)slot->iov;
		block->aio_nbytes = slot->pieces;
	}
	long n = syscall(SYS_io_submit, s->context, 1L, list);
	return n < 0 ? -errno : 0;
}

static int reap(struct mutator *m)
{
	struct aio_state *s = m->engine_state;
	struct io_event events[MUTATE_MAX_DEPTH];
	struct timespec at_once = {0};
	long n = syscall(SYS_io_getevents, s->context, 0L, (long)m->depth, events, &at_once);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (long i = 0; i < n; i++) {
		struct mutate_slot *slot = (struct mutate_slot *)(uintptr_t)events[i].data;
		slot->result = (ssize_t)events[i].res;
		slot->ended = true;
	}
	return 0;
}

static void close_context(struct mutator *m)
{
	struct aio_state *s = m->engine_state;
	syscall(SYS_io_destroy, s->context);
	free(s);
}

const struct mutate_engine_ops mutate_aio = {.name = "aio",
	.vectored = true,
	.deep = true,
	.open = open_context,
	.submit = submit,
	.reap = reap,
	.close = close_context};
