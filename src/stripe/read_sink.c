/* SPDX-License-Identifier: MIT */
/* The second half of a zero-copy read: its blocks are verified where the reader has them.
 *
 *	want_place		good blocks -> sink_place	by a sampler's thread
 *	placed			hold
 *	hold_over		the read was kept open for that long -> sink_view	the same
 *	viewed			our memory holds what the reader's held: checked against the
 *				tuples again
 *	want_misled		(read.c) a block that fails here, and did not before
 *
 * What is viewed takes the place of what the member gave: what is checked is what is given (I4). A
 * block without a tuple (never written, or rebuilt for a missing member) is placed all the same,
 * and passes. Where the reader's memory cannot be reached, the blocks that were read are given.
 *
 * Owner thread: the engine's. */
#include <stdlib.h>
#include "stripe/read.h"

/* A run of rows: the part of it that the request asks for. */
struct run {
	struct placing *placing;
	unsigned row, rows;
	struct sink_move move;
};

struct placing {
	struct want *want;
	struct io_req alarm;
	_Atomic unsigned moving; /* runs that other threads have; the last of them posts the call */
	struct engine_call moved; /* all have been */
	unsigned count;
	struct run runs[];
};

static struct sink *sink_of(const struct want *w)
{
	return w->op->part->req->sink;
}

/* In our memory, and in the sink. */
static void aim(const struct want *w, unsigned row, unsigned rows, struct sink_move *move)
{
	const struct read_op *op = w->op;
	const struct stripe_part *part = op->part;
	uint32_t first = (w->slot * op->eng->config.geometry.chunk_blocks + row) * BLOCK_BYTES;
	uint32_t end = first + rows * BLOCK_BYTES, part_end = part->offset_bytes + part->len_bytes;
	first = first > part->offset_bytes ? first : part->offset_bytes;
	end = end < part_end ? end : part_end;
	move->bytes = op->blocks + (first - op->first_block * BLOCK_BYTES);
	move->offset_bytes =
		part->req->sink_offset + part->req_offset + (first - part->offset_bytes);
	move->len_bytes = end - first;
}

/* ---- moving: by other threads, the engine never waits for it ---- */

static void one_moved(struct placing *p)
{
	if (atomic_fetch_sub(&p->moving, 1) == 1)
		engine_call_post(p->want->op->eng, &p->moved);
}

static void run_moved(struct sink_move *move)
{
	one_moved(container_of(move, struct run, move)->placing);
}

/* Then @moved, on the engine thread. */
static void move_all(struct placing *p, void (*move)(struct sink *sink, struct sink_move *move),
	void (*moved)(struct engine_call *call))
{
	p->moved.run = moved;
	atomic_store(&p->moving, 1);
	for (unsigned i = 0; i < p->count; i++) {
		atomic_fetch_add(&p->moving, 1);
		move(sink_of(p->want), &p->runs[i].move);
	}
	one_moved(p);
}

/* ---- viewing ---- */

static bool passes_check(const struct want *w, unsigned row)
{
	const struct stripe_engine *eng = w->op->eng;
	unsigned i = row - w->row;
	uint64_t block = geometry_member_block(&eng->config.geometry, w->op->view.stripe, row);
	enum pi_verdict v = pi_verify(eng->config.pi, w->dest + (size_t)i * BLOCK_BYTES, block,
		w->tuples + (size_t)i * eng->tuple_bytes);
	return v == PI_GOOD || v == PI_ESCAPED;
}

static void check_row(struct want *w, unsigned row)
{
	struct sink_move block;
	if (passes_check(w, row))
		return;
	aim(w, row, 1, &block);
	counter_add(&w->op->eng->count.false_pi_errors, 1);
	sink_note_changed(sink_of(w), block.offset_bytes);
	want_misled(w, row);
}

/* Where a run could not be viewed, our memory has what was placed. */
static void viewed(struct engine_call *call)
{
	struct placing *p = container_of(call, struct placing, moved);
	struct want *w = p->want;
	assert_engine_thread(w->op->eng);
	for (unsigned i = 0; i < p->count; i++) {
		const struct run *run = &p->runs[i];
		if (!sink_accept_viewed(sink_of(w), &run->move))
			continue;
		for (unsigned row = run->row; row < run->row + run->rows; row++)
			check_row(w, row);
	}
	want_done(w);
}

static void hold_over(struct io_req *alarm, int err)
{
	(void)err; /* the blocks have been read */
	move_all(container_of(alarm, struct placing, alarm), sink_view, viewed);
}

/* ---- placing ---- */

static void hold(struct placing *p)
{
	struct io_engine *io = p->want->op->eng->config.io;
	uint64_t hold_ns = p->want->op->part->req->hold_ns;
	p->alarm = (struct io_req){
		.kind = IO_ALARM, .due_ns = io_now_ns(io) + hold_ns, .done = hold_over};
	if (hold_ns)
		io_submit(io, &p->alarm);
	else
		hold_over(&p->alarm, 0);
}

static void placed(struct engine_call *call)
{
	struct placing *p = container_of(call, struct placing, moved);
	bool reached = true;
	assert_engine_thread(p->want->op->eng);
	for (unsigned i = 0; i < p->count; i++)
		reached &= sink_accept_placed(sink_of(p->want), &p->runs[i].move);
	if (reached)
		hold(p);
	else
		want_done(p->want);
}

static struct placing *placing_new(struct want *w, const struct rows *rows)
{
	unsigned runs = rows_runs(rows), at = 0;
	struct placing *p = calloc(1, sizeof(*p) + runs * sizeof(p->runs[0]));
	if (!p)
		return NULL;
	p->want = w;
	for (struct run *run = p->runs; rows_next_run(rows, &at, &run->row, &run->rows); run++) {
		run->placing = p;
		run->move.done = run_moved;
		aim(w, run->row, run->rows, &run->move);
		if (++p->count == runs)
			break;
	}
	return p;
}

void want_place(struct want *w, struct rows rows)
{
	if (rows_empty(&rows) || sink_of(w)->found.failed) {
		want_done(w);
		return;
	}
	w->placing = placing_new(w, &rows);
	if (w->placing) {
		move_all(w->placing, sink_place, placed);
	} else {
		sink_of(w)->found.failed = true;
		want_done(w);
	}
}
