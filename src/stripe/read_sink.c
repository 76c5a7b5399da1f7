/* SPDX-License-Identifier: MIT */
/* The second half of a zero-copy read: its blocks are verified where the reader has them.
 *
 *	want_place		good blocks -> sink_place
 *	hold_over		the read was kept open for that long
 *	view_run		sink_view -> our memory -> checked against the tuples again
 *	want_misled		(read.c) a block that fails here, and did not before
 *
 * What is viewed takes the place of what the member gave: what is checked is what is given (I4). A
 * block without a tuple (never written, or rebuilt for a missing member) is placed all the same,
 * and passes. Where the reader's memory cannot be reached, the blocks that were read are given.
 *
 * Owner thread: the engine's. */
#include <stdlib.h>
#include "stripe/read.h"

struct placing {
	struct want *want;
	struct rows rows;
	struct io_req alarm;
};

/* The part of a run of rows that the request asks for, in our memory and in the sink. */
struct piece {
	uint8_t *bytes;
	uint32_t sink_offset, len_bytes;
};

static struct piece piece_of(const struct want *w, unsigned row, unsigned rows)
{
	const struct read_op *op = w->op;
	const struct stripe_part *part = op->part;
	uint32_t first = (w->slot * op->eng->config.geometry.chunk_blocks + row) * BLOCK_BYTES;
	uint32_t end = first + rows * BLOCK_BYTES, part_end = part->offset_bytes + part->len_bytes;
	first = first > part->offset_bytes ? first : part->offset_bytes;
	end = end < part_end ? end : part_end;
	return (struct piece){
		.bytes = op->blocks + (first - op->first_block * BLOCK_BYTES),
		.sink_offset =
			part->req->sink_offset + part->req_offset + (first - part->offset_bytes),
		.len_bytes = end - first,
	};
}

static bool passes_check(const struct want *w, unsigned row)
{
	const struct stripe_engine *eng = w->op->eng;
	unsigned i = row - w->row;
	uint64_t block = geometry_member_block(&eng->config.geometry, w->op->view.stripe, row);
	enum pi_verdict v = pi_verify(eng->config.pi, w->dest + (size_t)i * BLOCK_BYTES, block,
		w->tuples + (size_t)i * eng->tuple_bytes);
	return v == PI_GOOD || v == PI_ESCAPED;
}

/* False: the reader's memory cannot be reached. */
static bool view_run(struct want *w, unsigned row, unsigned rows)
{
	struct sink *sink = w->op->part->req->sink;
	struct piece p = piece_of(w, row, rows);
	if (!sink_view(sink, p.sink_offset, p.bytes, p.len_bytes))
		return false;
	for (unsigned i = row; i < row + rows; i++) {
		if (passes_check(w, i))
			continue;
		counter_add(&w->op->eng->count.false_pi_errors, 1);
		sink_note_changed(sink, piece_of(w, i, 1).sink_offset);
		want_misled(w, i);
	}
	return true;
}

static void hold_over(struct io_req *alarm, int err)
{
	struct placing *placing = container_of(alarm, struct placing, alarm);
	struct want *w = placing->want;
	unsigned at = 0, row, rows;
	(void)err; /* the blocks have been read */
	assert_engine_thread(w->op->eng);
	while (rows_next_run(&placing->rows, &at, &row, &rows))
		if (!view_run(w, row, rows))
			break;
	want_done(w);
}

static void hold(struct want *w)
{
	struct io_engine *io = w->op->eng->config.io;
	uint64_t hold_ns = w->op->part->req->hold_ns;
	struct io_req *alarm = &w->placing->alarm;
	*alarm = (struct io_req){
		.kind = IO_ALARM, .due_ns = io_now_ns(io) + hold_ns, .done = hold_over};
	if (hold_ns)
		io_submit(io, alarm);
	else
		hold_over(alarm, 0);
}

static bool place_all(struct want *w, const struct rows *rows)
{
	unsigned at = 0, row, count;
	while (rows_next_run(rows, &at, &row, &count)) {
		struct piece p = piece_of(w, row, count);
		if (!sink_place(w->op->part->req->sink, p.sink_offset, p.bytes, p.len_bytes))
			return false;
	}
	return true;
}

void want_place(struct want *w, struct rows rows)
{
	if (rows_empty(&rows)) {
		want_done(w);
		return;
	}
	w->placing = calloc(1, sizeof(*w->placing));
	if (!w->placing || !place_all(w, &rows)) {
		w->op->part->req->sink->found.failed = true;
		want_done(w);
		return;
	}
	w->placing->want = w;
	w->placing->rows = rows;
	hold(w);
}
