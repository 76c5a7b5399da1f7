/* SPDX-License-Identifier: MIT */
/* The mutator's writes and reads through the C library's asynchronous I/O (aio_write(3)): threads
 * that call pwrite. glibc serves the requests of one descriptor one after the other, so each slot
 * has a descriptor of its own. */
#include <aio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/mutate_internal.h"

static void close_blocks(struct mutator *m)
{
	struct aiocb *blocks = m->engine_state;
	for (unsigned i = 0; i < m->depth; i++)
		cleanup_closep(&blocks[i].aio_fildes);
	free(blocks);
}

static int open_blocks(struct mutator *m, struct errmsg *why)
{
	struct aiocb *blocks = calloc(m->depth, sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	for (unsigned i = 0; i < m->depth; i++)
		blocks[i].aio_fildes = -1;
	m->engine_state = blocks;
	for (unsigned i = 0; i < m->depth; i++) {
		blocks[i].aio_fildes = dup(m->fd);
		if (blocks[i].aio_fildes < 0)
			return errmsg_set(why, -errno, "a descriptor for each of %u: %s", m->depth,
				strerror(errno));
	}
	struct aioinit init = {
		.aio_threads = (int)m->depth, .aio_num = (int)m->depth, .aio_idle_time = 1};
	aio_init(&init);
	return 0;
}

static int submit(struct mutator *m, struct mutate_slot *slot)
{
	struct aiocb *block = (struct aiocb *)m->engine_state + (slot - m->slots);
	block->aio_buf = slot->buffer;
	block->aio_nbytes = m->options->block_bytes;
	block->aio_offset = (off_t)slot->transfer->offset_bytes;
	block->aio_sigevent.sigev_notify = SIGEV_NONE;
	return (m->reading ? aio_read(block) : aio_write(block)) < 0 ? -errno : 0;
}

static int reap(struct mutator *m)
{
	for (unsigned i = 0; i < m->depth; i++) {
		struct mutate_slot *slot = &m->slots[i];
		struct aiocb *block = (struct aiocb *)m->engine_state + i;
		if (!slot->transfer || slot->ended)
			continue;
		int err = aio_error(block);
		if (err == EINPROGRESS)
			continue;
		ssize_t n = aio_return(block);
		slot->result = err ? -err : n;
		slot->ended = true;
	}
	return 0;
}

const struct mutate_engine_ops mutate_posixaio = {.name = "posixaio",
	.deep = true,
	.open = open_blocks,
	.submit = submit,
	.reap = reap,
	.close = close_blocks};
