/* SPDX-License-Identifier: MIT */
/* The write pipeline. Read it from top to bottom:
 *
 *	stripe_write_start	the stripe is ours; cut the writes into spans
 *	plan_and_read		what must be read? read it			plan.h
 *	old_data_read		check its PI; on damage mend the stripe, plan anew
 *	guards_sampled		sample(GUARD) -> tuples
 *	parity_sampled		sample(PARITY) -> parity and its tuples
 *	region_marked		I2: nothing is written before the intent log says so durably
 *	hold_over		`hold=`: the write was kept open for that long
 *	send_data		sample(DATA), once for each member that stores it -> members
 *	data_written		on refusal or error: mend the stripe (I5)
 *	write_finish		complete, release
 *
 * A policy shows only in what the samples give: the same bytes each time (bounce), or whatever the
 * writer's memory holds by then (live). No step stages anything.
 *
 * Owner thread: the engine's. Deliberately not done here: choosing (plan.c), locking (lock.c), repair of
 * what was read (check.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "raid/parity.h"
#include "stripe/span.h"

/* The ways to go on after old data could not be read: as it comes; the same after the stripe was
 * mended; without the old data of what is written; without the others' data. */
static const enum plan_preference attempts[] = {PLAN_FEWEST_IOS, PLAN_FEWEST_IOS,
	PLAN_PREFER_RCW, PLAN_PREFER_RMW};
#define ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

struct write_op {
	struct stripe_engine *eng;
	struct stripe_state *state;
	uint64_t stripe;
	struct list parts;
	struct span *spans; /* owned */
	unsigned span_count;
	struct span **span_at; /* owned: [data slot][row - row_first], NULL where nothing is written */
	unsigned row_first, row_count; /* the rows that the operation touches lie in there */
	struct plan plan;
	unsigned attempt;
	uint8_t *old[RAID_MAX_SLOTS]; /* owned by the arena: row_count blocks each, where read */
	uint8_t *old_tuples;	      /* owned: [slot][row - row_first] */
	uint8_t *tuples;	      /* owned, the same for new blocks */
	uint8_t *parity;	      /* arena: row_count blocks */
	struct slot_xfer *xfers;      /* owned: of the current phase */
	struct iovec *iovs;	      /* owned */
	unsigned xfer_count, pending;
	int read_err; /* why old data could not be had */
	uint64_t hold_ns;
	struct intent_wait intent;
	struct io_req alarm;
	struct stripe_check check; /* to mend the stripe */
};

static void plan_and_read(struct write_op *op);
static void old_data_read(struct write_op *op);
static void guards_sampled(struct write_op *op);
static void parity_sampled(struct write_op *op);
static void region_marked(struct intent_wait *wait, int err);
static void hold_over(struct io_req *alarm, int err);
static void send_data(struct write_op *op);
static void data_written(struct write_op *op);
static void write_finish(struct write_op *op, int err);

/* ---- the stripe is ours ---- */

static struct span **span_slot(struct write_op *op, unsigned slot, unsigned row)
{
	return &op->span_at[slot * op->row_count + row - op->row_first];
}

static uint8_t *tuple_of(struct write_op *op, uint8_t *tuples, unsigned slot, unsigned row)
{
	return tuples ? tuples + (slot * op->row_count + row - op->row_first) * op->eng->tuple_bytes
		      : NULL;
}

static uint8_t *block_of(const struct write_op *op, uint8_t *blocks, unsigned row)
{
	return blocks + (size_t)(row - op->row_first) * BLOCK_BYTES;
}

static int cut_spans(struct write_op *op)
{
	const struct geometry *g = &op->eng->config.geometry;
	unsigned max = 0;
	list_for_each (n, &op->parts)
		max += span_count_max(g, container_of(n, struct stripe_part, node));
	op->spans = calloc(max, sizeof(*op->spans));
	if (!op->spans)
		return -ENOMEM;
	unsigned first = ROWS_MAX, end = 0;
	list_for_each (n, &op->parts) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		op->span_count += span_cut(g, part, op->spans + op->span_count);
		op->hold_ns = max_u64(op->hold_ns, part->req->hold_ns);
	}
	for (unsigned i = 0; i < op->span_count; i++) {
		const struct span *s = &op->spans[i];
		first = s->row < first ? s->row : first;
		end = s->row + s->rows > end ? s->row + s->rows : end;
	}
	op->row_first = first;
	op->row_count = end - first;
	return 0;
}

/* Everything whose size does not depend on the plan. */
static int allocate(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	size_t cells = (size_t)eng->slots * op->row_count;
	op->span_at = calloc(cells, sizeof(*op->span_at));
	op->tuples = eng->tuple_bytes ? calloc(2 * cells, eng->tuple_bytes) : NULL;
	if (!op->span_at || (eng->tuple_bytes && !op->tuples))
		return -ENOMEM;
	op->old_tuples = op->tuples ? op->tuples + cells * eng->tuple_bytes : NULL;
	unsigned copies = geometry_has_parity(&eng->config.geometry) ? 1 : eng->slots;
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		if (span_prepare(eng, s, copies) < 0)
			return -ENOMEM;
		for (unsigned row = s->row; row < s->row + s->rows; row++)
			*span_slot(op, s->slot, row) = s;
	}
	if (!geometry_has_parity(&eng->config.geometry))
		return 0;
	op->parity = arena_get(eng->arena, op->row_count * BLOCK_BYTES);
	return op->parity ? 0 : -ENOMEM;
}

void stripe_write_start(struct stripe_engine *eng, struct stripe_state *state, struct list *parts)
{
	struct write_op *op = calloc(1, sizeof(*op));
	if (!op) {
		struct list_node *n;
		while ((n = list_pop_front(parts))) {
			struct stripe_part *part = container_of(n, struct stripe_part, node);
			part->err = -ENOMEM;
			part_finish(eng, part);
		}
		stripe_lock_release(eng, state);
		return;
	}
	op->eng = eng;
	op->state = state;
	op->stripe = state->stripe;
	list_init(&op->parts);
	list_splice_back(&op->parts, parts);
	int err = cut_spans(op);
	if (!err)
		err = allocate(op);
	if (err)
		write_finish(op, err);
	else
		plan_and_read(op);
}

/* ---- what must be read? ---- */

static int make_plan(struct write_op *op)
{
	struct plan_input in = {.geometry = &op->eng->config.geometry,
		.missing_slots = missing_slots(op->eng, op->stripe),
		.preference = attempts[op->attempt]};
	for (unsigned i = 0; i < op->span_count; i++) {
		const struct span *s = &op->spans[i];
		rows_add_range(&in.write[s->slot], s->row, s->rows);
		if (s->partial && !span_is_fresh(s))
			rows_add(&in.partial[s->slot], s->row);
	}
	return plan_write(&in, &op->plan);
}

static void count_plan(struct write_op *op)
{
	struct engine_counters *c = &op->eng->count;
	if (!geometry_has_parity(&op->eng->config.geometry))
		counter_add(&c->plan_copy, 1);
	else if (missing_slots(op->eng, op->stripe))
		counter_add(&c->plan_degraded, 1);
	else if (!op->plan.read_ios)
		counter_add(&c->plan_full, 1);
	else if (op->plan.row[op->spans[0].row] == PLAN_ROW_RMW)
		counter_add(&c->plan_rmw, 1);
	else
		counter_add(&c->plan_rcw, 1);
}

/* Old blocks are read where the plan says, and rebuilt for a missing slot. */
static int allocate_old(struct write_op *op)
{
	uint32_t missing = missing_slots(op->eng, op->stripe);
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		if (op->old[slot] || (rows_empty(&op->plan.read[slot]) && !(missing >> slot & 1)))
			continue;
		op->old[slot] = arena_get(op->eng->arena, op->row_count * BLOCK_BYTES);
		if (!op->old[slot])
			return -ENOMEM;
	}
	return 0;
}

/* Fresh transfers for a phase, of @count runs with @iov_count pieces in all. */
static int allocate_xfers(struct write_op *op, unsigned count, unsigned iov_count)
{
	free(op->xfers);
	free(op->iovs);
	op->xfer_count = 0;
	op->xfers = calloc(count, sizeof(*op->xfers));
	op->iovs = calloc(iov_count, sizeof(*op->iovs));
	return op->xfers && op->iovs ? 0 : -ENOMEM;
}

static void old_run_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct write_op *op = x->op;
	x->err = err;
	if (--op->pending == 0)
		old_data_read(op);
}

static void read_run(struct write_op *op, unsigned slot, unsigned row, unsigned rows)
{
	struct slot_xfer *x = &op->xfers[op->xfer_count++];
	slot_xfer_init(op->eng, x, op->stripe, slot, row, rows);
	x->op = op;
	x->one = (struct iovec){block_of(op, op->old[slot], row), (size_t)rows * BLOCK_BYTES};
	x->xfer.tuples = tuple_of(op, op->old_tuples, slot, row);
	x->xfer.done = old_run_read;
	op->pending++;
	member_read(&x->xfer);
}

static void plan_and_read(struct write_op *op)
{
	int err = make_plan(op);
	if (!err)
		err = allocate_old(op);
	if (!err)
		err = allocate_xfers(op, op->plan.read_ios + 1, 1);
	if (err) {
		write_finish(op, err);
		return;
	}
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->plan.read[slot], &at, &row, &rows))
			read_run(op, slot, row, rows);
	}
	if (--op->pending == 0)
		old_data_read(op);
}

/* ---- check what was read ---- */

static void stripe_mended_for_reading(struct stripe_check *check, int err)
{
	struct write_op *op = container_of(check, struct write_op, check);
	(void)err; /* the next attempt finds out what is readable now */
	plan_and_read(op);
}

/* Old data or parity is damaged. Mend the stripe once; then try to do without what is unreadable. */
static void old_data_damaged(struct write_op *op)
{
	if (++op->attempt == ATTEMPTS) {
		write_finish(op, op->read_err);
	} else if (op->attempt == 1) {
		op->check = (struct stripe_check){.mode = STRIPE_REPAIR,
			.stripe = op->stripe,
			.done = stripe_mended_for_reading};
		stripe_check_held(op->eng, &op->check);
	} else {
		plan_and_read(op);
	}
}

static bool reads_are_good(struct write_op *op)
{
	struct rows bad = {0};
	bool good = true;
	for (unsigned i = 0; i < op->xfer_count; i++) {
		struct slot_xfer *x = &op->xfers[i];
		if (!slot_xfer_bad_rows(op->eng, x, &bad))
			continue;
		op->read_err = x->err < 0 ? -EIO : -EILSEQ;
		good = false;
	}
	return good;
}

/* D_m = P ^ xor of the others, into old[m]. */
static void rebuild_missing(struct write_op *op, unsigned row)
{
	uint32_t missing = missing_slots(op->eng, op->stripe);
	unsigned lost = (unsigned)__builtin_ctz(missing), n = 0;
	const void *sources[RAID_MAX_SLOTS];
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (slot != lost)
			sources[n++] = block_of(op, op->old[slot], row);
	parity_xor(sources, n, block_of(op, op->old[lost], row), BLOCK_BYTES);
}

/* The old block under a partial span: of its own slot, or (raid1) of the copy that was read. */
static const uint8_t *old_block_under(struct write_op *op, const struct span *s)
{
	if (span_is_fresh(s))
		return NULL;
	if (op->plan.row[s->row] == PLAN_ROW_REBUILD || geometry_has_parity(&op->eng->config.geometry))
		return block_of(op, op->old[s->slot], s->row);
	for (unsigned copy = 0; copy < op->eng->slots; copy++)
		if (rows_has(&op->plan.read[copy], s->row))
			return block_of(op, op->old[copy], s->row);
	return NULL;
}

static void old_data_read(struct write_op *op)
{
	assert_engine_thread(op->eng);
	if (!reads_are_good(op)) {
		old_data_damaged(op);
		return;
	}
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++)
		if (op->plan.row[row] == PLAN_ROW_REBUILD)
			rebuild_missing(op, row);
	for (unsigned i = 0; i < op->span_count; i++)
		if (op->spans[i].partial)
			op->spans[i].under = old_block_under(op, &op->spans[i]);
	count_plan(op);
	guards_sampled(op);
}

/* ---- sample(GUARD) -> tuples ---- */

static void guards_sampled(struct write_op *op)
{
	const struct geometry *g = &op->eng->config.geometry;
	for (unsigned i = 0; op->tuples && i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		const uint8_t *blocks = span_sample(s, SAMPLE_GUARD, 0);
		pi_generate(op->eng->config.pi, blocks, s->rows,
			geometry_member_block(g, op->stripe, s->row),
			tuple_of(op, op->tuples, s->slot, s->row));
	}
	parity_sampled(op);
}

/* ---- sample(PARITY) -> parity ---- */

static const void *new_block(struct write_op *op, unsigned slot, unsigned row)
{
	const struct span *s = *span_slot(op, slot, row);
	return s ? s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES : NULL;
}

/* P' of one row, in the notation of plan.h. */
static void make_parity(struct write_op *op, unsigned row)
{
	const void *sources[PARITY_MAX_SOURCES];
	unsigned n = 0, parity_slot = op->eng->data_slots;
	bool rmw = op->plan.row[row] == PLAN_ROW_RMW;
	if (rmw)
		sources[n++] = block_of(op, op->old[parity_slot], row);
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		const void *new = new_block(op, slot, row);
		if (new)
			sources[n++] = new;
		if (rmw ? new != NULL : new == NULL)
			sources[n++] = block_of(op, op->old[slot], row);
	}
	uint8_t *parity = block_of(op, op->parity, row);
	parity_xor(sources, n, parity, BLOCK_BYTES);
	if (op->tuples)
		pi_generate(op->eng->config.pi, parity, 1,
			geometry_member_block(&op->eng->config.geometry, op->stripe, row),
			tuple_of(op, op->tuples, parity_slot, row));
}

static void parity_sampled(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	bool has_parity = geometry_has_parity(&eng->config.geometry) &&
			  !rows_empty(&op->plan.write[eng->data_slots]);
	for (unsigned i = 0; has_parity && i < op->span_count; i++)
		op->spans[i].at_parity = span_sample(&op->spans[i], SAMPLE_PARITY, 0);
	unsigned row = 0, at = 0, rows;
	while (has_parity && rows_next_run(&op->plan.write[eng->data_slots], &at, &row, &rows))
		for (unsigned i = 0; i < rows; i++)
			make_parity(op, row + i);
	op->intent.region = intent_region_of(eng->config.intent,
		geometry_member_block(&eng->config.geometry, op->stripe, 0));
	op->intent.marked = region_marked;
	if (intent_write_begin(eng->config.intent, &op->intent))
		region_marked(&op->intent, 0);
}

/* ---- the region is marked; hold ---- */

static void region_marked(struct intent_wait *wait, int err)
{
	struct write_op *op = container_of(wait, struct write_op, intent);
	assert_engine_thread(op->eng);
	if (err < 0) {
		intent_write_ended(op->eng->config.intent, op->intent.region);
		write_finish(op, err);
	} else if (op->hold_ns) {
		op->alarm = (struct io_req){.kind = IO_ALARM,
			.due_ns = io_now_ns(op->eng->config.io) + op->hold_ns,
			.done = hold_over};
		io_submit(op->eng->config.io, &op->alarm);
	} else {
		send_data(op);
	}
}

static void hold_over(struct io_req *alarm, int err)
{
	(void)err; /* an engine that lost its power fails the writes themselves */
	send_data(container_of(alarm, struct write_op, alarm));
}

/* ---- sample(DATA), once for each member that stores it ---- */

static void run_written(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct write_op *op = x->op;
	x->err = err;
	if (--op->pending == 0)
		data_written(op);
}

/* The pieces of a run of data rows, each sampled for this copy. Returns how many. */
static unsigned sample_run(struct write_op *op, unsigned data_slot, unsigned copy,
	const struct slot_xfer *x, struct iovec *iov)
{
	unsigned n = 0, end = x->row + x->xfer.blocks;
	for (unsigned row = x->row; row < end;) {
		struct span *s = *span_slot(op, data_slot, row);
		assert(s && s->row == row);
		const uint8_t *blocks = span_sample(s, SAMPLE_DATA, copy);
		iov[n++] = (struct iovec){(void *)(uintptr_t)blocks, (size_t)s->rows * BLOCK_BYTES};
		row += s->rows;
	}
	return n;
}

/* Returns how many entries of @iov the run took. */
static unsigned send_run(struct write_op *op, unsigned slot, unsigned row, unsigned rows,
	struct iovec *iov)
{
	bool has_parity = geometry_has_parity(&op->eng->config.geometry);
	struct slot_xfer *x = &op->xfers[op->xfer_count++];
	slot_xfer_init(op->eng, x, op->stripe, slot, row, rows);
	x->op = op;
	x->xfer.iov = iov;
	x->xfer.done = run_written;
	if (has_parity && slot == op->eng->data_slots) {
		iov[0] = (struct iovec){block_of(op, op->parity, row), (size_t)rows * BLOCK_BYTES};
		x->xfer.iov_count = 1;
	} else {
		x->xfer.iov_count = sample_run(op, has_parity ? slot : 0, has_parity ? 0 : slot, x, iov);
	}
	/* Mirrors store the same tuples; with parity each slot has its own. */
	x->xfer.tuples = tuple_of(op, op->tuples, has_parity ? slot : 0, row);
	op->pending++;
	member_write(&x->xfer);
	return x->xfer.iov_count;
}

static void send_data(struct write_op *op)
{
	assert_engine_thread(op->eng);
	unsigned copies = op->eng->slots;
	if (allocate_xfers(op, op->plan.write_ios, op->span_count * copies + op->plan.write_ios) < 0) {
		intent_write_ended(op->eng->config.intent, op->intent.region);
		write_finish(op, -ENOMEM);
		return;
	}
	struct iovec *iov = op->iovs;
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->plan.write[slot], &at, &row, &rows))
			iov += send_run(op, slot, row, rows, iov);
	}
	if (--op->pending == 0)
		data_written(op);
}

/* ---- stored, refused or failed ---- */

static void emit_write_failure(struct write_op *op, const struct slot_xfer *x,
	const struct stripe_req *req)
{
	struct event event = event_new(x->err == -EILSEQ ? EVENT_REFUSED : EVENT_MEMBER_ERROR);
	if (req) {
		event.writer = req->source->writer;
		event.ino = req->ino;
		event.file_offset_bytes = req->file_offset_bytes;
		event.len_bytes = req->len_bytes;
	}
	event.error = x->err;
	event.member = (int)member_super(x->xfer.member)->index;
	event.member_block = x->xfer.block;
	event.volume_blocks = x->xfer.blocks;
	event.stripe = op->stripe;
	event.what = x->err == -EILSEQ ? "guard" : "write error";
	event_emit(op->eng->config.events, &event);
}

/* The writers whose bytes were in a failed transfer hear of it; of a failed parity all do. */
static void blame(struct write_op *op, const struct slot_xfer *x)
{
	bool has_parity = geometry_has_parity(&op->eng->config.geometry);
	bool all = has_parity && x->slot == op->eng->data_slots;
	const struct stripe_req *first = NULL;
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		bool inside = s->row < x->row + x->xfer.blocks && s->row + s->rows > x->row;
		if (!all && (!inside || (has_parity && s->slot != x->slot)))
			continue;
		first = first ? first : s->part->req;
		if (!s->part->err && x->err == -EILSEQ)
			counter_add(&op->eng->count.refused_writes, 1);
		if (!s->part->err)
			s->part->err = x->err;
	}
	emit_write_failure(op, x, first);
}

static void stripe_mended(struct stripe_check *check, int err)
{
	(void)err; /* what could not be mended stays visible to scrub; the writers hear their error */
	write_finish(container_of(check, struct write_op, check), 0);
}

static void data_written(struct write_op *op)
{
	assert_engine_thread(op->eng);
	bool failed = false;
	for (unsigned i = 0; i < op->xfer_count; i++) {
		if (op->xfers[i].err < 0) {
			blame(op, &op->xfers[i]);
			failed = true;
		}
	}
	intent_write_ended(op->eng->config.intent, op->intent.region);
	if (failed && op->xfer_count > 1) {
		op->check = (struct stripe_check){.mode = STRIPE_REPAIR,
			.stripe = op->stripe,
			.done = stripe_mended};
		stripe_check_held(op->eng, &op->check);
		return;
	}
	write_finish(op, 0);
}

/* ---- complete, release ---- */

static void op_free(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	for (unsigned i = 0; i < op->span_count; i++)
		span_release(eng, &op->spans[i]);
	for (unsigned slot = 0; slot < eng->slots; slot++)
		arena_put(eng->arena, op->old[slot], op->row_count * BLOCK_BYTES);
	arena_put(eng->arena, op->parity, op->row_count * BLOCK_BYTES);
	free(op->spans);
	free(op->span_at);
	free(op->tuples);
	free(op->xfers);
	free(op->iovs);
	free(op);
}

static void write_finish(struct write_op *op, int err)
{
	struct stripe_engine *eng = op->eng;
	struct stripe_state *state = op->state;
	struct list parts;
	list_init(&parts);
	list_splice_back(&parts, &op->parts);
	op_free(op);
	/* Release first: who is answered may find the stripe free for the next request. */
	stripe_lock_release(eng, state);
	struct list_node *n;
	while ((n = list_pop_front(&parts))) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		part->err = err < 0 ? err : part->err;
		part_finish(eng, part);
	}
}
