/* SPDX-License-Identifier: MIT */
/* Random requests against a model. */
#include "workload.h"

#include <string.h>
#include "base/mem.h"

static const void *moving_sample(struct source *src, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, void *scratch)
{
	(void)point;
	memcpy(scratch, src->bounce + offset_bytes, len_bytes);
	return scratch;
}

static void moving_free(struct source *src)
{
	(void)src;
}

static const struct source_ops live_ops = {.sample = moving_sample, .free = moving_free};

void workload_init(struct workload *w, struct rig *rig)
{
	*w = (struct workload){.rig = rig, .end_byte = rig->volume_bytes};
	w->model = calloc(1, rig->volume_bytes);
	assert_non_null(w->model);
}

void workload_fini(struct workload *w)
{
	workload_drain(w);
	free(w->model);
}

static void op_end(struct workload *w, struct workload_op *op)
{
	struct rig_io *io = op->io;
	if (io->err)
		w->errors++;
	else if (op->wanted && memcmp(op->wanted, io->data, io->req.len_bytes) != 0)
		w->mismatches++;
	free(op->wanted);
	rig_io_free(io);
	op->wanted = NULL;
	op->io = NULL;
}

/* A place that is free, or the first whose request has ended; NULL where all are under way. */
static struct workload_op *place_find(struct workload *w)
{
	for (unsigned i = 0; i < WORKLOAD_DEPTH; i++) {
		struct workload_op *op = &w->ops[i];
		if (op->io && op->io->ended)
			op_end(w, op);
		if (!op->io)
			return op;
	}
	return NULL;
}

void workload_drain(struct workload *w)
{
	for (unsigned i = 0; i < WORKLOAD_DEPTH; i++) {
		if (!w->ops[i].io)
			continue;
		rig_io_wait(w->ops[i].io);
		op_end(w, &w->ops[i]);
	}
}

/* Of a stream: more than a stripe at a time, whole blocks. It begins anew at the end. */
static void choose_next(struct workload *w, uint64_t *offset_bytes, uint32_t *len_bytes)
{
	struct random *r = &w->rig->random;
	unsigned stripe = geometry_stripe_blocks(&w->rig->geometry);
	uint64_t len = (uint64_t)(stripe + random_below(r, stripe)) * BLOCK_BYTES;
	if (w->next_byte < w->first_byte || w->next_byte >= w->end_byte)
		w->next_byte = w->first_byte;
	*offset_bytes = w->next_byte;
	*len_bytes = (uint32_t)min_u64(len, w->end_byte - w->next_byte);
	w->next_byte += *len_bytes;
}

/* A range: whole blocks, odd bytes, or a few bytes, up to three stripes long. */
static void choose_range(struct workload *w, uint64_t *offset_bytes, uint32_t *len_bytes)
{
	struct random *r = &w->rig->random;
	uint64_t room = w->end_byte - w->first_byte;
	unsigned stripe = geometry_stripe_blocks(&w->rig->geometry) * BLOCK_BYTES;
	unsigned kind = random_below(r, 10);
	uint64_t unit = kind < 6 ? BLOCK_BYTES : kind < 7 ? stripe : 1;
	unsigned most = kind < 4 ? 4 * BLOCK_BYTES : kind == 9 ? 100 : 3 * stripe;
	uint64_t at = round_down_u64(random_u64(r) % room, unit);
	uint64_t len = round_up_u64(1 + random_below(r, most), unit);
	*offset_bytes = w->first_byte + at;
	*len_bytes = (uint32_t)min_u64(len, room - at);
}

/* What the volume holds behind the write. A fresh one pads its blocks with zeros. */
static void model_write(struct workload *w, const struct stripe_req *req, const uint8_t *data)
{
	uint64_t end = req->offset_bytes + req->len_bytes;
	if (req->flags & STRIPE_FRESH) {
		uint64_t from = round_down_u64(req->offset_bytes, BLOCK_BYTES);
		memset(w->model + from, 0, round_up_u64(end, BLOCK_BYTES) - from);
	}
	memcpy(w->model + req->offset_bytes, data, req->len_bytes);
}

static void write_start(struct workload *w, struct workload_op *op, uint64_t offset, uint32_t len)
{
	struct random *r = &w->rig->random;
	uint32_t shift = random_below(r, 4) ? 0 : random_below(r, 600);
	struct rig_io *io = op->io = rig_io_new(w->rig, STRIPE_WRITE, offset, len + shift, NULL);
	io->req.len_bytes = len;
	io->req.source_offset = shift;
	for (uint32_t i = 0; i < len + shift; i += 64)
		random_fill(r, io->data + i, min_u64(8, len + shift - i));
	if (random_below(r, 8) == 0)
		io->req.flags |= STRIPE_FRESH;
	if (random_below(r, 8) == 0)
		io->req.hold_ns = random_below(r, 100000);
	if (random_below(r, 3) == 0) {
		op->live = (struct source){
			.ops = &live_ops, .bounce = io->data, .len_bytes = len + shift};
		io->req.source = &op->live;
	}
	model_write(w, &io->req, io->data + shift);
}

static void read_start(struct workload *w, struct workload_op *op, uint64_t offset, uint32_t len)
{
	op->io = rig_io_new(w->rig, STRIPE_READ, offset, len, NULL);
	op->wanted = malloc(len);
	assert_non_null(op->wanted);
	memcpy(op->wanted, w->model + offset, len);
}

void workload_step(struct workload *w)
{
	struct random *r = &w->rig->random;
	uint64_t offset;
	uint32_t len;
	struct workload_op *op;
	while (!(op = place_find(w)))
		assert_true(rig_run(w->rig, true) >= 0);
	bool streams = random_below(r, 3) == 0;
	if (streams)
		choose_next(w, &offset, &len);
	else
		choose_range(w, &offset, &len);
	if (streams || random_below(r, 5) < 3)
		write_start(w, op, offset, len);
	else
		read_start(w, op, offset, len);
	rig_io_start(op->io);
	if (random_below(r, 3) == 0)
		rig_run(w->rig, false);
}

static void block_verify(struct workload *w, const uint8_t *got, const uint8_t *wanted)
{
	enum pi_type pi = w->rig->config.pi;
	if (memcmp(got, wanted, BLOCK_BYTES) == 0)
		return;
	if (pi != PI_NONE && pi_guard(pi, got, BLOCK_BYTES) == pi_guard(pi, wanted, BLOCK_BYTES))
		w->collisions++;
	else
		w->mismatches++;
}

void workload_verify(struct workload *w)
{
	workload_drain(w);
	uint32_t step = 64 * BLOCK_BYTES;
	uint8_t *got = malloc(step);
	assert_non_null(got);
	for (uint64_t at = w->first_byte; at < w->end_byte; at += step) {
		uint32_t len = (uint32_t)min_u64(step, w->end_byte - at);
		int err = rig_read(w->rig, at, got, len);
		w->errors += err != 0;
		for (uint32_t b = 0; !err && b < len; b += BLOCK_BYTES)
			block_verify(w, got + b, w->model + at + b);
	}
	free(got);
}
