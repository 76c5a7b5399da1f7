/* SPDX-License-Identifier: MIT */
/* The write pipeline. Read it from top to bottom:
 *
 *	stripe_write_start	rows of the stripe are ours; cut the writes into spans
 *	plan_and_read		what must be read? read it			plan.h
 *				what is in memory is not read			write_cache.c
 *	old_data_read		check its PI; on damage mend the stripe		write_mend.c
 *				what is rebuilt must fit its row tag		write_tag.c
 *	guards_fetched		sample(GUARD) -> tuples
 *	parity_fetched		sample(PARITY) -> parity and its tuples
 *	promise			I2: nothing is written before the intent log says so durably; nor
 *				in part, before the partial-write log has it	write_log.c
 *	write_log_answer	what is in the log may be answered here		write_log.c
 *	hold_over		`hold=`: the write was kept open for that long
 *	slot_fetched		sample(DATA), once for each member that stores it -> members
 *	data_written		do the writers' memories hold what was sampled?	write_confirm.c
 *				where not: again from the guards on, from the copy
 *	write_confirmed		a member failed: wait until it is out, and count it as missing
 *				on refusal or error: mend the stripe (I5)	write_mend.c
 *	write_finish		complete, release
 *
 * Where sampling means reading another process's memory, fetch() has that done by other threads
 * before each of the three, and the engine goes on. A policy shows only in what the samples give:
 * the same bytes each time (bounce), or what the writer's memory holds by then. Nothing is staged.
 *
 * Owner thread: the engine's. Deliberately not done here: choosing (plan.c), locking (lock.c),
 * repair of what was read (check.c). */
#include "stripe/write.h"

#include <stdlib.h>
#include <string.h>

static void plan_and_read(struct write_op *op);
static void old_data_read(struct write_op *op);
static void guards_fetched(struct write_op *op);
static void sample_parity(struct write_op *op);
static void parity_fetched(struct write_op *op);
static void promise(struct write_op *op);
static void region_marked(struct intent_wait *wait, int err);
static void hold(struct write_op *op, void (*over)(struct io_req *alarm, int err));
static void hold_over(struct io_req *alarm, int err);
static void send_data(struct write_op *op);
static void send_slots(struct write_op *op);
static void slot_fetched(struct write_op *op);
static void next_mirror_due(struct io_req *alarm, int err);
static void data_written(struct write_op *op);
static void op_free(struct write_op *op);

/* ---- the rows are ours ---- */

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
		struct span *s = &op->spans[i];
		s->op = op;
		first = s->row < first ? s->row : first;
		end = s->row + s->rows > end ? s->row + s->rows : end;
	}
	op->row_first = first;
	op->row_count = end - first;
	return 0;
}

static int allocate_tables(struct write_op *op)
{
	size_t cells = (size_t)op->eng->slots * op->row_count, tuple_bytes = op->eng->tuple_bytes;
	op->tables = calloc(cells, sizeof(*op->span_at) + 2 * tuple_bytes);
	if (!op->tables)
		return -ENOMEM;
	op->span_at = op->tables;
	if (tuple_bytes) {
		op->tuples = (uint8_t *)(op->span_at + cells);
		op->old_tuples = op->tuples + cells * tuple_bytes;
	}
	return 0;
}

/* Everything whose size does not depend on the plan. */
static int allocate(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	if (allocate_tables(op) < 0)
		return -ENOMEM;
	unsigned copies = write_has_parity(op) ? 1 : eng->slots;
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		if (span_prepare(eng, s, copies) < 0)
			return -ENOMEM;
		for (unsigned row = s->row; row < s->row + s->rows; row++)
			*write_span_at(op, s->slot, row) = s;
	}
	if (!write_has_parity(op))
		return 0;
	op->parity = arena_get(eng->arena, write_parity_bytes(op));
	return op->parity ? 0 : -ENOMEM;
}

static void parts_finish(struct stripe_engine *eng, struct list *parts, int err)
{
	struct list_node *n;
	while ((n = list_pop_front(parts))) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		part->err = err < 0 ? err : part->err;
		part_finish(eng, part);
	}
}

void stripe_write_start(struct stripe_engine *eng, struct stripe_state *state, struct list *parts,
	const struct rows *rows)
{
	struct write_op *op = calloc(1, sizeof(*op));
	if (!op) {
		stripe_lock_release_rows(eng, state, rows);
		parts_finish(eng, parts, -ENOMEM);
		return;
	}
	op->eng = eng;
	op->state = state;
	op->rows = *rows;
	stripe_view_begin(eng, &op->view, state->stripe, true);
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

int write_plan(struct write_op *op, enum plan_preference preference, const struct rows *cached)
{
	struct plan_input in = {.geometry = &op->eng->config.geometry,
		.missing_slots = op->view.missing,
		.preference = preference};
	if (cached)
		memcpy(in.cached, cached, sizeof(in.cached));
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
	if (!write_has_parity(op))
		counter_add(&c->plan_copy, 1);
	else if (op->view.missing)
		counter_add(&c->plan_degraded, 1);
	else if (op->plan.old_blocks == 0)
		counter_add(&c->plan_full, 1);
	else if (!rows_empty(&op->plan.read[op->eng->data_slots]))
		counter_add(&c->plan_rmw, 1);
	else
		counter_add(&c->plan_rcw, 1);
}

static bool plan_rebuilds(const struct write_op *op)
{
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++)
		if (op->plan.row[row] == PLAN_ROW_REBUILD)
			return true;
	return false;
}

/* Old blocks are read where the plan says, and rebuilt for missing data slots. */
int write_allocate_old(struct write_op *op)
{
	uint32_t rebuilt = plan_rebuilds(op) ? write_missing_data(op) : 0;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		bool wanted = !rows_empty(&op->plan.read[slot]) || rebuilt >> slot & 1;
		if (op->old[slot] || !wanted)
			continue;
		op->old[slot] = arena_get(op->eng->arena, op->row_count * BLOCK_BYTES);
		if (!op->old[slot])
			return -ENOMEM;
	}
	return 0;
}

int write_allocate_xfers(struct write_op *op, unsigned count, unsigned iov_count)
{
	free(op->xfers);
	op->xfer_count = 0;
	op->xfers = calloc(1, count * sizeof(*op->xfers) + iov_count * sizeof(*op->iovs));
	op->iovs = (struct iovec *)(op->xfers + count);
	return op->xfers ? 0 : -ENOMEM;
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
	slot_xfer_init(op->eng, x, &op->view, slot, row, rows);
	x->op = op;
	x->one = (struct iovec){write_block_at(op, op->old[slot], row), (size_t)rows * BLOCK_BYTES};
	x->xfer.tuples = write_tuple_at(op, op->old_tuples, slot, row);
	x->xfer.done = old_run_read;
	op->pending++;
	member_read(&x->xfer);
}

/* A read-modify-write would carry parity that is wrong along. */
static bool distrusts_parity(const struct write_op *op)
{
	for (unsigned i = 0; i < op->span_count; i++)
		if (op->spans[i].part->req->flags & STRIPE_MEND)
			return true;
	return false;
}

static int plan(struct write_op *op)
{
	struct rows cached[RAID_MAX_SLOTS] = {0};
	if (distrusts_parity(op))
		return write_plan(op, PLAN_PREFER_RCW, NULL);
	write_cache_look(op, cached);
	return write_plan(op, PLAN_FEWEST_IOS, cached);
}

static void plan_and_read(struct write_op *op)
{
	int err = plan(op);
	if (!err)
		err = write_allocate_old(op);
	if (!err && op->plan.read_ios)
		err = write_allocate_xfers(op, op->plan.read_ios, 0);
	if (err) {
		write_finish(op, err);
		return;
	}
	write_cache_fill(op);
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->plan.load[slot], &at, &row, &rows))
			read_run(op, slot, row, rows);
	}
	if (--op->pending == 0)
		old_data_read(op);
}

/* ---- check what was read ---- */

static int reads_judge(struct write_op *op)
{
	struct rows bad = {0};
	int err = 0;
	for (unsigned i = 0; i < op->xfer_count; i++)
		err = worse_error(err, slot_xfer_judge(op->eng, &op->xfers[i], &bad));
	return err;
}

/* Nothing was sampled yet: the parts run anew. */
static void read_again(struct engine_parked *parked)
{
	struct write_op *op = container_of(parked, struct write_op, parked);
	stripe_lock_requeue_all(op->state, &op->parts);
	stripe_lock_release_rows(op->eng, op->state, &op->rows);
	op_free(op);
}

/* A member that holds old data is gone, and will be out. */
static bool read_met_leaver(const struct write_op *op)
{
	for (unsigned i = 0; i < op->xfer_count; i++) {
		const struct slot_xfer *x = &op->xfers[i];
		if (member_error_is_final(x->err) &&
			engine_member_fate(op->eng, x->xfer.member) != MEMBER_STAYS)
			return true;
	}
	return false;
}

static void old_data_read(struct write_op *op)
{
	assert_engine_thread(op->eng);
	int err = reads_judge(op);
	if (!err && !write_rebuilt_fit(op))
		err = -EILSEQ;
	if (err == -EIO && read_met_leaver(op)) {
		write_park(op, read_again);
	} else if (err == -EIO || err == -EILSEQ) {
		write_mend_old_data(op, err);
	} else if (err) {
		write_finish(op, err);
	} else {
		write_cache_keep_old(op);
		write_old_data_ready(op);
	}
}

void write_rebuild_missing(struct write_op *op, unsigned row)
{
	const struct parity_code code = write_code(op);
	void *blocks[RAID_MAX_SLOTS];
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		blocks[slot] = op->old[slot] ? write_block_at(op, op->old[slot], row) : NULL;
	int ret = parity_rebuild(
		&code, blocks, op->view.missing, write_missing_data(op), BLOCK_BYTES);
	assert(ret == 0); /* the plan says that it can be done */
	(void)ret;
}

/* The old block under a partial span: of its own slot, or (raid1) of the copy that was read. */
static const uint8_t *old_block_under(struct write_op *op, const struct span *s)
{
	if (span_is_fresh(s))
		return NULL;
	if (write_has_parity(op))
		return write_block_at(op, op->old[s->slot], s->row);
	unsigned copy = 0;
	while (!rows_has(&op->plan.read[copy], s->row))
		copy++;
	return write_block_at(op, op->old[copy], s->row);
}

void write_old_data_ready(struct write_op *op)
{
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++)
		if (op->plan.row[row] == PLAN_ROW_REBUILD)
			write_rebuild_missing(op, row);
	for (unsigned i = 0; i < op->span_count; i++)
		if (op->spans[i].partial)
			op->spans[i].under = old_block_under(op, &op->spans[i]);
	count_plan(op);
	write_sample(op);
}

/* ---- fetching: live memory is read by other threads, the engine never waits for it ---- */

static void fetch_noted(struct engine_call *call)
{
	struct write_op *op = container_of(call, struct write_op, call);
	assert_engine_thread(op->eng);
	op->fetched(op);
}

static void fetch_ended(struct write_op *op)
{
	if (atomic_fetch_sub(&op->fetching, 1) == 1)
		engine_call_post(op->eng, &op->call);
}

static void span_fetched(struct source_fetch *fetch)
{
	struct span *s = container_of(fetch, struct span, fetch);
	fetch_ended(s->op);
}

void write_fetch(struct write_op *op, bool (*wanted)(const struct span *s), unsigned copy,
	void (*next)(struct write_op *op))
{
	bool any = false;
	for (unsigned i = 0; i < op->span_count; i++)
		any = any || wanted(&op->spans[i]);
	if (!any) {
		next(op);
		return;
	}
	op->fetched = next;
	op->call.run = fetch_noted;
	atomic_store(&op->fetching, 1);
	for (unsigned i = 0; i < op->span_count; i++) {
		if (!wanted(&op->spans[i]))
			continue;
		atomic_fetch_add(&op->fetching, 1);
		span_fetch(&op->spans[i], copy, span_fetched);
	}
	fetch_ended(op);
}

/* Go on with @next when every source can give the sample for @copy at once. */
static void fetch(struct write_op *op, unsigned copy, void (*next)(struct write_op *op))
{
	write_fetch(op, span_must_fetch, copy, next);
}

/* ---- sample(GUARD) -> tuples ---- */

void write_sample(struct write_op *op)
{
	if (op->tuples)
		fetch(op, 0, guards_fetched);
	else
		sample_parity(op);
}

static void guards_fetched(struct write_op *op)
{
	const struct geometry *g = &op->eng->config.geometry;
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		const uint8_t *blocks = span_sample(s, SAMPLE_GUARD, 0);
		pi_generate(op->eng->config.pi, blocks, s->rows,
			geometry_member_block(g, op->view.stripe, s->row),
			write_tuple_at(op, op->tuples, s->slot, s->row));
	}
	sample_parity(op);
}

/* ---- sample(PARITY) -> parity ---- */

static const void *new_block(struct write_op *op, unsigned slot, unsigned row)
{
	const struct span *s = *write_span_at(op, slot, row);
	return s ? s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES : NULL;
}

static void make_parity_tuple(struct write_op *op, unsigned slot, unsigned row)
{
	uint8_t *tuple = write_tuple_at(op, op->tuples, slot, row);
	pi_generate(op->eng->config.pi, write_parity_at(op, slot, row), 1,
		geometry_member_block(&op->eng->config.geometry, op->view.stripe, row), tuple);
	pi_set_app_tag(op->eng->config.pi, write_row_tag(op, slot, row), tuple);
}

void write_make_parities(
	struct write_op *op, unsigned row, const struct parity_term *terms, unsigned count)
{
	const struct parity_code code = write_code(op);
	void *dests[PARITY_MAX] = {NULL};
	for (unsigned p = 0; p < code.parities; p++)
		if (rows_has(&op->plan.write[code.data + p], row))
			dests[p] = write_parity_at(op, code.data + p, row);
	parity_sum(&code, terms, count, dests, BLOCK_BYTES);
	for (unsigned p = 0; p < code.parities; p++)
		if (dests[p] && op->tuples)
			make_parity_tuple(op, code.data + p, row);
}

/* The new parities of one row, in the notation of plan.h. */
static void make_parities(struct write_op *op, unsigned row)
{
	struct parity_term terms[PARITY_MAX_SOURCES];
	unsigned n = 0, data = op->eng->data_slots;
	bool rmw = op->plan.row[row] == PLAN_ROW_RMW;
	write_missing_tuples(op, row);
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		const void *new = slot < data ? new_block(op, slot, row) : NULL;
		bool old = slot < data ? rmw == (new != NULL)
				       : rmw && rows_has(&op->plan.read[slot], row);
		if (new)
			terms[n++] = (struct parity_term){slot, new};
		if (old)
			terms[n++] =
				(struct parity_term){slot, write_block_at(op, op->old[slot], row)};
	}
	write_make_parities(op, row, terms, n);
}

static void sample_parity(struct write_op *op)
{
	struct rows rows = write_parity_rows(op);
	if (write_has_parity(op) && !rows_empty(&rows))
		fetch(op, 0, parity_fetched);
	else
		promise(op);
}

static void parity_fetched(struct write_op *op)
{
	struct rows wanted = write_parity_rows(op);
	for (unsigned i = 0; i < op->span_count; i++)
		op->spans[i].at_parity = span_sample(&op->spans[i], SAMPLE_PARITY, 0);
	unsigned at = 0, row, rows;
	while (rows_next_run(&wanted, &at, &row, &rows))
		for (unsigned i = row; i < row + rows; i++)
			make_parities(op, i);
	promise(op);
}

/* ---- I2: the region is marked, and what is to be stored is logged; hold ---- */

static void mark_region(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	op->intent.region = intent_region_of(eng->config.intent,
		geometry_member_block(&eng->config.geometry, op->view.stripe, 0));
	op->intent.marked = region_marked;
	op->marking = true;
	op->marked = intent_write_begin(eng->config.intent, &op->intent);
	if (op->marked)
		op->pending--;
}

/* Mark and record go to the members side by side. */
static void promise(struct write_op *op)
{
	op->promise_err = 0;
	op->pending = 2;
	int logging = write_log_start(op);
	if (logging == -E2BIG && !op->again) {
		write_split(op);
		return;
	}
	if (op->marking)
		op->pending--;
	else
		mark_region(op);
	if (logging <= 0)
		write_promised(op, logging);
}

static void region_marked(struct intent_wait *wait, int err)
{
	struct write_op *op = container_of(wait, struct write_op, intent);
	op->marked = !err;
	write_log_answer(op);
	write_promised(op, err);
}

void write_promised(struct write_op *op, int err)
{
	assert_engine_thread(op->eng);
	op->promise_err = op->promise_err ? op->promise_err : err;
	if (--op->pending)
		return;
	if (op->promise_err < 0)
		write_finish(op, op->promise_err);
	else
		hold(op, hold_over);
}

/* Go on with @over after hold_ns; at once where there is none. */
static void hold(struct write_op *op, void (*over)(struct io_req *alarm, int err))
{
	op->alarm = (struct io_req){.kind = IO_ALARM,
		.due_ns = io_now_ns(op->eng->config.io) + op->hold_ns,
		.done = over};
	if (op->hold_ns)
		io_submit(op->eng->config.io, &op->alarm);
	else
		over(&op->alarm, 0);
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
		struct span *s = *write_span_at(op, data_slot, row);
		assert(s && s->row == row);
		const uint8_t *blocks = span_sample(s, SAMPLE_DATA, copy);
		iov[n++] = (struct iovec){(void *)(uintptr_t)blocks, (size_t)s->rows * BLOCK_BYTES};
		row += s->rows;
	}
	return n;
}

/* Returns how many entries of @iov the run took. */
static unsigned send_run(
	struct write_op *op, unsigned slot, unsigned row, unsigned rows, struct iovec *iov)
{
	bool has_parity = write_has_parity(op);
	struct slot_xfer *x = &op->xfers[op->xfer_count++];
	slot_xfer_init(op->eng, x, &op->view, slot, row, rows);
	x->op = op;
	x->xfer.iov = iov;
	x->xfer.done = run_written;
	if (has_parity && slot >= op->eng->data_slots) {
		iov[0] = (struct iovec){write_parity_at(op, slot, row), (size_t)rows * BLOCK_BYTES};
		x->xfer.iov_count = 1;
	} else {
		x->xfer.iov_count =
			sample_run(op, has_parity ? slot : 0, has_parity ? 0 : slot, x, iov);
	}
	/* Mirrors store the same tuples; with parity each slot has its own. */
	x->xfer.tuples = write_tuple_at(op, op->tuples, has_parity ? slot : 0, row);
	op->pending++;
	member_write(&x->xfer);
	op->eng->unpushed_bytes += (uint64_t)rows * BLOCK_BYTES;
	return x->xfer.iov_count;
}

/* Once more with those of the first time: a stripe that was written is not left for want of memory.
 */
static int allocate_writes(struct write_op *op)
{
	unsigned pieces = op->span_count * (write_has_parity(op) ? 1 : op->eng->slots);
	op->xfer_count = 0;
	return op->again
		       ? 0
		       : write_allocate_xfers(op, op->plan.write_ios, pieces + op->plan.write_ios);
}

static void send_data(struct write_op *op)
{
	assert_engine_thread(op->eng);
	if (allocate_writes(op) < 0) {
		write_finish(op, -ENOMEM);
		return;
	}
	write_cache_take_out(op);
	write_log_answer(op);
	op->pending = 1;
	op->next_slot = 0;
	op->next_iov = op->iovs;
	if (write_has_parity(op)) /* one sample for all slots: they store different bytes */
		fetch(op, 0, send_slots);
	else
		send_slots(op);
}

static void send_slots(struct write_op *op)
{
	unsigned slots = op->eng->slots;
	while (op->next_slot < slots && rows_empty(&op->plan.write[op->next_slot]))
		op->next_slot++;
	if (op->next_slot < slots) {
		if (write_has_parity(op))
			slot_fetched(op);
		else
			fetch(op, op->next_slot, slot_fetched);
	} else if (--op->pending == 0) {
		data_written(op);
	}
}

/* Mirrors store the same bytes, each at its own time: a held write keeps its samples of them apart,
 * as it keeps those of parity and data apart. */
static void slot_fetched(struct write_op *op)
{
	unsigned at = 0, row, rows, slot = op->next_slot++;
	while (rows_next_run(&op->plan.write[slot], &at, &row, &rows))
		op->next_iov += send_run(op, slot, row, rows, op->next_iov);
	if (op->hold_ns && !write_has_parity(op) && op->next_slot < op->eng->slots)
		hold(op, next_mirror_due);
	else
		send_slots(op);
}

static void next_mirror_due(struct io_req *alarm, int err)
{
	(void)err;
	send_slots(container_of(alarm, struct write_op, alarm));
}

/* ---- stored, refused or failed ---- */

static void data_written(struct write_op *op)
{
	assert_engine_thread(op->eng);
	for (unsigned i = 0; i < op->xfer_count; i++) {
		struct slot_xfer *x = &op->xfers[i];
		if (x->err == -ESHUTDOWN) {
			write_finish(op, -ESHUTDOWN);
			return;
		}
		x->leaves = member_error_is_its_own(x->err) &&
			    engine_member_failed(op->eng, x->xfer.member, x->err) != MEMBER_STAYS;
		if (x->leaves)
			write_note_failure(op, x);
		else if (x->err < 0)
			write_blame(op, x);
	}
	write_confirm(op);
}

void write_park(struct write_op *op, void (*resume)(struct engine_parked *parked))
{
	op->parked.resume = resume;
	engine_park(op->eng, &op->parked);
}

static void members_are_out(struct engine_parked *parked)
{
	write_confirmed(container_of(parked, struct write_op, parked));
}

/* What the other members took is the stripe without those that failed: parity was made of the same
 * samples. Slots of members that are out count as missing from here on. True: wait for one. */
static bool leavers_settle(struct write_op *op)
{
	for (unsigned i = 0; i < op->xfer_count; i++) {
		struct slot_xfer *x = &op->xfers[i];
		if (!x->leaves)
			continue;
		enum member_fate fate = engine_member_fate(op->eng, x->xfer.member);
		if (fate == MEMBER_LEAVES)
			return true;
		if (fate == MEMBER_OUT) {
			op->view.missing |= 1u << x->slot;
			x->leaves = false;
			x->err = 0;
		} else {
			x->leaves = false;
			write_blame(op, x);
		}
	}
	return false;
}

void write_confirmed(struct write_op *op)
{
	bool failed = false;
	if (leavers_settle(op)) {
		write_park(op, members_are_out);
		return;
	}
	unsigned missing = (unsigned)__builtin_popcount(op->view.missing);
	for (unsigned i = 0; i < op->xfer_count; i++)
		failed = failed || op->xfers[i].err < 0;
	if (missing > geometry_redundancy(&op->eng->config.geometry))
		write_finish(op, -EIO);
	else if (failed)
		write_mend_stripe(op);
	else
		write_finish(op, 0);
}

/* ---- complete, release ---- */

/* The stripe is as consistent as it will be: its region may be unmarked after a flush. */
static void op_free(struct write_op *op)
{
	struct stripe_engine *eng = op->eng;
	if (op->marking)
		intent_write_ended(eng->config.intent, op->intent.region);
	for (unsigned i = 0; i < op->span_count; i++)
		span_release(eng, &op->spans[i]);
	for (unsigned slot = 0; slot < eng->slots; slot++)
		arena_put(eng->arena, op->old[slot], op->row_count * BLOCK_BYTES);
	arena_put(eng->arena, op->parity, write_parity_bytes(op));
	write_mend_free(op);
	write_log_end(op);
	stripe_view_end(&op->view);
	free(op->spans);
	free(op->tables);
	free(op->xfers);
	free(op);
}

/* Release first: who is answered may find the stripe free for the next request. */
void write_finish(struct write_op *op, int err)
{
	struct stripe_engine *eng = op->eng;
	if (write_log_cancel(op, err))
		return;
	write_cache_keep_new(op, err);
	struct list parts;
	list_init(&parts);
	list_splice_back(&parts, &op->parts);
	stripe_lock_release_rows(eng, op->state, &op->rows);
	op_free(op);
	parts_finish(eng, &parts, err);
}

void write_split(struct write_op *op)
{
	stripe_lock_split(op->state, &op->parts);
	stripe_lock_release_rows(op->eng, op->state, &op->rows);
	op_free(op);
}
