/* SPDX-License-Identifier: MIT */
/* Blocking flushes and transfers. */
#include <errno.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "volume/internal.h"

#define PIECE_BYTES 1048576u

struct blocking {
	struct volume *volume;
	struct volume_waiter waiter;
	struct stripe_req req;
	struct stripe_flush flush;
};

static void transfer_done(struct stripe_req *req, int err)
{
	struct blocking *b = container_of(req, struct blocking, req);
	volume_signal(b->volume, &b->waiter, err);
}

static void flush_done(struct stripe_flush *flush, int err)
{
	struct blocking *b = container_of(flush, struct blocking, flush);
	volume_signal(b->volume, &b->waiter, err);
}

static int flush(struct volume *v, void (*wait)(struct volume *v, struct volume_waiter *waiter))
{
	struct blocking b = {.volume = v, .flush.done = flush_done};
	stripe_flush(v->eng, &b.flush);
	wait(v, &b.waiter);
	return b.waiter.err;
}

int volume_flush(struct volume *v)
{
	return flush(v, volume_wait);
}

int work_flush(struct volume *v)
{
	return flush(v, volume_wait_working);
}

/* @data is aligned; at most PIECE_BYTES. */
static int transfer_piece(
	struct volume *v, enum stripe_kind kind, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct source source;
	struct blocking b = {.volume = v,
		.req = {.kind = kind,
			.offset_bytes = offset,
			.len_bytes = len,
			.done = transfer_done}};
	if (kind == STRIPE_WRITE) {
		source_init_bounce(&source, data, len);
		b.req.source = &source;
	} else {
		b.req.data = data;
	}
	stripe_submit(v->eng, &b.req);
	volume_wait(v, &b.waiter);
	return b.waiter.err;
}

int volume_read(struct volume *v, uint64_t offset_bytes, void *buf, uint32_t len_bytes)
{
	cleanup(cleanup_freep) uint8_t *bounce = mem_alloc_blocks(PIECE_BYTES);
	if (!bounce)
		return -ENOMEM;
	for (uint32_t done = 0; done < len_bytes;) {
		uint32_t len = (uint32_t)min_u64(len_bytes - done, PIECE_BYTES);
		int err = transfer_piece(v, STRIPE_READ, offset_bytes + done, bounce, len);
		if (err < 0)
			return err;
		memcpy((uint8_t *)buf + done, bounce, len);
		done += len;
	}
	return 0;
}

int volume_write(struct volume *v, uint64_t offset_bytes, const void *buf, uint32_t len_bytes)
{
	cleanup(cleanup_freep) uint8_t *bounce = mem_alloc_blocks(PIECE_BYTES);
	if (!bounce)
		return -ENOMEM;
	for (uint32_t done = 0; done < len_bytes;) {
		uint32_t len = (uint32_t)min_u64(len_bytes - done, PIECE_BYTES);
		memcpy(bounce, (const uint8_t *)buf + done, len);
		int err = transfer_piece(v, STRIPE_WRITE, offset_bytes + done, bounce, len);
		if (err < 0)
			return err;
		done += len;
	}
	return 0;
}
