/* SPDX-License-Identifier: MIT */
/* One stripe as a whole: what is wrong with it, and putting it right. Scrub, resync, healing after
 * a bad read, and mending after a refused write are all made of this.
 *
 *	check_begin	read every chunk that is there
 *	chunks_read	a chunk with a medium error is read again row by row
 *	examine		guards, mirrors, parity: what is wrong	check_tag.c
 *	mend		(not CHECK) what is right, row by row?	check_mend.c, check_rebuild.c
 *	write_back	under a marked region, like any write
 *	check_end
 *	check_again	a member fails and leaves: when it is out, from the start without it
 *
 * Owner thread: the engine's; the stripe is held exclusively. */
#include "stripe/check.h"

#include <stdlib.h>
#include "stripe/doubt.h"

static void chunks_read(struct check_op *op);
static void rows_read(struct check_op *op);
static void examine(struct check_op *op);
static void mend(struct check_op *op);
static void write_back(struct intent_wait *wait, int err);
static void check_end(struct check_op *op, int err);

static uint32_t blocks_bytes(const struct check_op *op)
{
	return op->eng->slots * check_rows(op) * BLOCK_BYTES;
}

/* ---- read every chunk that is there ---- */

/* Tuples that cannot be read count as never written: no check, and nothing to compare with. */
static int allocate(struct check_op *op)
{
	struct stripe_engine *eng = op->eng;
	unsigned blocks = eng->slots * check_rows(op);
	op->blocks = op->check->data ? op->check->data : arena_get(eng->arena, blocks_bytes(op));
	op->spare = arena_get(eng->arena, BLOCK_BYTES);
	op->tuples = eng->tuple_bytes ? op->check->tuples : NULL;
	if (!op->tuples && eng->tuple_bytes)
		op->tuples = malloc((size_t)blocks * eng->tuple_bytes);
	if (!op->blocks || !op->spare || (!op->tuples && eng->tuple_bytes))
		return -ENOMEM;
	pi_fill_escape(eng->config.pi, blocks, op->tuples);
	return 0;
}

static int allocate_xfers(struct check_op *op, unsigned count)
{
	free(op->xfers);
	op->xfer_count = 0;
	op->xfers = calloc(count, sizeof(*op->xfers));
	return op->xfers ? 0 : -ENOMEM;
}

static struct slot_xfer *next_xfer(struct check_op *op, unsigned slot, unsigned row, unsigned rows,
	void (*done)(struct member_xfer *, int))
{
	struct slot_xfer *x = &op->xfers[op->xfer_count++];
	slot_xfer_init(op->eng, x, &op->view, slot, row, rows);
	x->op = op;
	x->one = (struct iovec){check_block_at(op, slot, row), (size_t)rows * BLOCK_BYTES};
	x->xfer.tuples = check_tuple_at(op, slot, row);
	x->xfer.done = done;
	op->pending++;
	return x;
}

static void chunk_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct check_op *op = x->op;
	x->err = err;
	if (--op->pending == 0)
		chunks_read(op);
}

static void check_begin(struct check_op *op)
{
	int err = allocate(op);
	if (op->check->mode != STRIPE_CHECK)
		stripe_cache_forget(op->eng, op->check->stripe);
	if (!err)
		err = allocate_xfers(op, op->eng->slots);
	if (err) {
		check_end(op, err);
		return;
	}
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (check_is_present(op, slot))
			member_read(&next_xfer(op, slot, 0, check_rows(op), chunk_read)->xfer);
	if (--op->pending == 0)
		chunks_read(op);
}

/* A RESYNC of a stripe that is not in doubt, a REBUILD where the member has it. */
static bool nothing_to_do(const struct stripe_engine *eng, const struct stripe_check *check)
{
	if (check->mode == STRIPE_RESYNC)
		return !doubt_is_open(eng, check->stripe);
	return check->mode == STRIPE_REBUILD &&
	       !stripe_set_has(&eng->membership.stale[check->member], check->stripe);
}

static int nothing_err(const struct stripe_engine *eng, const struct stripe_check *check)
{
	bool gone = check->mode == STRIPE_REBUILD && !eng->config.members[check->member];
	return gone ? -ENODEV : 0;
}

void stripe_check_start(
	struct stripe_engine *eng, struct stripe_state *state, struct stripe_part *part)
{
	bool nothing = nothing_to_do(eng, part->check);
	struct check_op *op = nothing ? NULL : calloc(1, sizeof(*op));
	if (!op) {
		part->err = nothing ? nothing_err(eng, part->check) : -ENOMEM;
		stripe_lock_release(eng, state);
		part_finish(eng, part);
		return;
	}
	*op = (struct check_op){.eng = eng, .check = part->check, .state = state, .part = part};
	stripe_view_begin(eng, &op->view, state->stripe, true);
	check_begin(op);
}

void stripe_check_held(
	struct stripe_engine *eng, const struct stripe_view *view, struct stripe_check *check)
{
	struct check_op *op = calloc(1, sizeof(*op));
	if (!op) {
		check->done(check, -ENOMEM);
		return;
	}
	*op = (struct check_op){.eng = eng, .check = check, .view = *view};
	check_begin(op);
}

/* ---- a member fails ---- */

static void op_free(struct check_op *op)
{
	struct stripe_check *check = op->check;
	if (op->blocks != check->data)
		arena_put(op->eng->arena, op->blocks, blocks_bytes(op));
	if (op->tuples != check->tuples)
		free(op->tuples);
	arena_put(op->eng->arena, op->spare, BLOCK_BYTES);
	free(op->xfers);
	if (op->state)
		stripe_view_end(&op->view);
	free(op);
}

/* From the start, with the members as they are now. */
static void check_again(struct engine_parked *parked)
{
	struct check_op *op = container_of(parked, struct check_op, parked);
	struct stripe_engine *eng = op->eng;
	struct stripe_check *check = op->check;
	struct stripe_state *state = op->state;
	struct stripe_part *part = op->part;
	if (op->marking)
		intent_write_ended(eng->config.intent, op->intent.region);
	op_free(op);
	*check = (struct stripe_check){.mode = check->mode,
		.stripe = check->stripe,
		.data_counts = check->data_counts,
		.member = check->member,
		.done = check->done,
		.data = check->data,
		.tuples = check->tuples};
	stripe_lock_requeue(state, part);
	stripe_lock_release(eng, state);
}

/* True: @x met a member that leaves, or has left: the check is to be run again. A writer's check
 * is not: the writer itself meets the member next. */
static bool must_run_again(struct check_op *op, const struct slot_xfer *x)
{
	return engine_member_failed(op->eng, x->xfer.member, x->err) != MEMBER_STAYS && op->state;
}

/* ---- a chunk with a medium error is read again row by row ---- */

static void row_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct check_op *op = x->op;
	if (err < 0)
		rows_add(&op->check->unreadable[x->slot], x->row);
	op->power_lost |= err == -ESHUTDOWN;
	if (--op->pending == 0)
		rows_read(op);
}

static bool met_final_error(struct check_op *op)
{
	bool again = false;
	for (unsigned i = 0; i < op->xfer_count; i++)
		again |= member_error_is_final(op->xfers[i].err) &&
			 must_run_again(op, &op->xfers[i]);
	return again;
}

static void chunks_read(struct check_op *op)
{
	bool failed[RAID_MAX_SLOTS] = {false};
	unsigned failures = 0;
	for (unsigned i = 0; i < op->xfer_count; i++) {
		failed[op->xfers[i].slot] = op->xfers[i].err < 0;
		failures += op->xfers[i].err < 0;
		if (member_error_is_its_own(op->xfers[i].err))
			engine_read_failed(op->eng, op->xfers[i].xfer.member, op->xfers[i].err);
		op->power_lost |= op->xfers[i].err == -ESHUTDOWN;
	}
	if (op->power_lost || !failures) {
		rows_read(op);
		return;
	}
	if (met_final_error(op)) {
		op->parked.resume = check_again;
		engine_park(op->eng, &op->parked);
		return;
	}
	if (allocate_xfers(op, failures * check_rows(op)) < 0) {
		check_end(op, -ENOMEM);
		return;
	}
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		for (unsigned row = 0; failed[slot] && row < check_rows(op); row++)
			member_read(&next_xfer(op, slot, row, 1, row_read)->xfer);
	if (--op->pending == 0)
		rows_read(op);
}

/* After a crash blocks that fail their check are what is to be expected. */
static void tell_errors(struct check_op *op)
{
	const struct stripe_check *check = op->check;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		if (!rows_empty(&check->guard_bad[slot]) && check->mode != STRIPE_RESYNC)
			engine_member_erred(op->eng, op->view.member[slot], -EILSEQ);
	}
}

static void rows_read(struct check_op *op)
{
	if (op->power_lost) {
		check_end(op, -ESHUTDOWN);
		return;
	}
	examine(op);
	tell_errors(op);
	if (op->check->mode == STRIPE_CHECK)
		check_end(op, 0);
	else
		mend(op);
}

/* ---- what is wrong? ---- */

static void examine_guards(struct check_op *op, unsigned slot)
{
	const struct stripe_engine *eng = op->eng;
	for (unsigned row = 0; op->tuples && row < check_rows(op); row++) {
		uint64_t block =
			geometry_member_block(&eng->config.geometry, op->check->stripe, row);
		enum pi_verdict v = pi_verify(eng->config.pi, check_block_at(op, slot, row), block,
			check_tuple_at(op, slot, row));
		if (v >= PI_BAD_REF && !rows_has(&op->check->unreadable[slot], row))
			rows_add(&op->check->guard_bad[slot], row);
	}
}

static bool is_readable(const struct check_op *op, unsigned slot, unsigned row)
{
	return check_is_present(op, slot) && !rows_has(&op->check->unreadable[slot], row);
}

const uint8_t *check_solve_without(
	struct check_op *op, unsigned row, unsigned slot, uint32_t missing)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	check_row(op, row, blocks);
	blocks[slot] = op->spare;
	int ret = parity_rebuild(&code, blocks, missing, 1u << slot, BLOCK_BYTES);
	assert(ret == 0);
	(void)ret;
	return op->spare;
}

/* Of the copies that could be read. */
static bool mirrors_agree(const struct check_op *op, unsigned row)
{
	const uint8_t *first = NULL;
	for (unsigned copy = 0; copy < op->eng->slots; copy++) {
		if (!is_readable(op, copy, row))
			continue;
		const uint8_t *block = check_block_at(op, copy, row);
		first = first ? first : block;
		if (block != first && !check_blocks_equal(first, block))
			return false;
	}
	return true;
}

/* Block and row tag; the latter where nothing else is wrong. */
static bool one_parity_agrees(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	uint32_t data = (1u << op->eng->data_slots) - 1;
	return check_blocks_equal(check_solve(op, row, slot), check_block_at(op, slot, row)) &&
	       (bad & (data | 1u << slot) || check_tag_fits(op, slot, row));
}

/* Every parity that could be read, where all data could be. */
static bool parity_agrees(struct check_op *op, unsigned row)
{
	unsigned data = op->eng->data_slots;
	uint32_t bad = check_bad_slots(op, row);
	for (unsigned slot = 0; slot < data; slot++)
		if (!is_readable(op, slot, row))
			return true;
	for (unsigned slot = data; slot < op->eng->slots; slot++)
		if (is_readable(op, slot, row) && !one_parity_agrees(op, slot, row, bad))
			return false;
	return true;
}

/* Of a row that was read as a whole, and whose parities do not fit. */
static void examine_parity(struct check_op *op, unsigned row)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	rows_add(&op->check->parity_bad, row);
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (!is_readable(op, slot, row))
			return;
	check_row(op, row, blocks);
	int wrong = parity_locate_error(&code, blocks, BLOCK_BYTES);
	if (wrong >= 0)
		rows_add(&op->check->wrong[wrong], row);
}

/* Of a row that does not agree. In the midst of a write that is what is to be expected. */
static void examine_stale(struct check_op *op, unsigned row)
{
	bool midst = op->check->mode == STRIPE_RESYNC || op->check->data_counts;
	int slot = midst ? -1 : check_find_stale(op, row);
	if (slot >= 0)
		rows_add(&op->check->stale[slot], row);
}

/* Missing blocks that the row tags say cannot be rebuilt. */
static void examine_missing(struct check_op *op, unsigned row, uint32_t bad)
{
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		if (!check_is_present(op, slot) && !check_solve_rightly(op, slot, row, bad))
			rows_add(&op->check->lost[slot], row);
}

/* Nothing is tried where it is only looked at: but what more is wrong, or missing, than the level
 * can make good is lost. */
static void examine_loss(struct check_op *op, unsigned row)
{
	uint32_t bad = check_bad_slots(op, row);
	bool parity = check_with_parity(op);
	unsigned copies = op->eng->slots;
	if (parity && check_can_solve(op, bad)) {
		examine_missing(op, row, bad);
		return;
	}
	if (!parity && (unsigned)__builtin_popcount(bad) < copies)
		return;
	for (unsigned slot = 0; slot < (parity ? op->eng->data_slots : copies); slot++)
		if (bad >> slot & 1 && (parity || check_is_present(op, slot)))
			rows_add(&op->check->lost[slot], row);
}

static void examine(struct check_op *op)
{
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (check_is_present(op, slot))
			examine_guards(op, slot);
	for (unsigned row = 0; row < check_rows(op); row++) {
		if (check_with_parity(op) && !parity_agrees(op, row)) {
			examine_parity(op, row);
			examine_stale(op, row);
		} else if (!check_with_parity(op) && !mirrors_agree(op, row)) {
			rows_add(&op->check->mirror_bad, row);
		}
		if (op->check->mode == STRIPE_CHECK)
			examine_loss(op, row);
	}
}

static void mend(struct check_op *op)
{
	bool any = false;
	if (op->check->mode == STRIPE_REBUILD)
		check_rebuild_rows(op);
	else
		check_mend_rows(op);
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		any |= !rows_empty(&op->rewrite[slot]);
	if (!any) {
		check_end(op, 0);
		return;
	}
	op->intent.region = intent_region_of(op->eng->config.intent,
		geometry_member_block(&op->eng->config.geometry, op->check->stripe, 0));
	op->intent.marked = write_back;
	op->marking = true;
	if (intent_write_begin(op->eng->config.intent, &op->intent))
		write_back(&op->intent, 0);
}

/* ---- write back ---- */

static void emit_repaired(struct check_op *op, const struct slot_xfer *x)
{
	const struct geometry *g = &op->eng->config.geometry;
	struct event event = event_new(EVENT_REPAIRED);
	event.stripe = op->check->stripe;
	event.member = (int)geometry_member(g, op->check->stripe, x->slot);
	event.member_block = x->xfer.block;
	event.volume_blocks = x->xfer.blocks;
	if (!check_with_parity(op) || x->slot < op->eng->data_slots)
		event.volume_block = geometry_volume_block(
			g, op->check->stripe, check_with_parity(op) ? x->slot : 0, x->row);
	event.what = rows_has(&op->check->unreadable[x->slot], x->row)  ? "unreadable"
		     : rows_has(&op->check->guard_bad[x->slot], x->row) ? "guard"
		     : rows_has(&op->check->stale[x->slot], x->row)     ? "row tag"
		     : check_with_parity(op)                            ? "parity"
									: "mirror";
	event_emit(op->eng->config.events, &event);
}

static void run_is_right(struct check_op *op, const struct slot_xfer *x)
{
	const struct geometry *g = &op->eng->config.geometry;
	rows_add_range(&op->check->rebuilt[x->slot], x->row, x->xfer.blocks);
	if (op->check->mode == STRIPE_REBUILD &&
		geometry_member(g, op->check->stripe, x->slot) == op->check->member)
		return; /* it was not damaged */
	counter_add(&op->eng->count.repaired_blocks, x->xfer.blocks);
	emit_repaired(op, x);
}

static void all_written(struct check_op *op)
{
	int err = 0;
	bool again = false;
	for (unsigned i = 0; i < op->xfer_count; i++) {
		const struct slot_xfer *x = &op->xfers[i];
		err = x->err < 0 ? worse_error(err, x->err) : err;
		if (member_error_is_its_own(x->err))
			again |= must_run_again(op, x);
		else if (!x->err)
			run_is_right(op, x);
	}
	if (again && err != -ESHUTDOWN) {
		op->parked.resume = check_again;
		engine_park(op->eng, &op->parked);
		return;
	}
	check_end(op, err);
}

/* A flush that failed: what was written to that slot may be lost. */
static void resync_flushed(struct member_flush *flush, int err)
{
	struct check_op *op = flush->owner;
	unsigned slot = (unsigned)(flush - op->flushes);
	for (unsigned i = 0; err < 0 && i < op->xfer_count; i++) {
		if (op->xfers[i].slot == slot)
			op->xfers[i].err = worse_error(op->xfers[i].err, err);
	}
	if (--op->pending == 0)
		all_written(op);
}

/* A stripe whose doubt ends is as it is for good: whoever has seen it must not see older bytes
 * after another crash, where the copies that disagreed would be weighed anew. */
static void resync_flush(struct check_op *op)
{
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		if (rows_empty(&op->rewrite[slot]))
			continue;
		op->pending++;
		op->flushes[slot] = (struct member_flush){
			.member = op->view.member[slot], .done = resync_flushed, .owner = op};
		member_flush(&op->flushes[slot]);
	}
	if (--op->pending == 0)
		all_written(op);
}

static void run_written(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct check_op *op = x->op;
	x->err = err;
	if (--op->pending)
		return;
	if (op->check->mode == STRIPE_RESYNC)
		resync_flush(op);
	else
		all_written(op);
}

static void write_back(struct intent_wait *wait, int err)
{
	struct check_op *op = container_of(wait, struct check_op, intent);
	if (err < 0) {
		check_end(op, err);
		return;
	}
	unsigned runs = 0;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		runs += rows_runs(&op->rewrite[slot]);
	if (allocate_xfers(op, runs) < 0) {
		check_end(op, -ENOMEM);
		return;
	}
	op->pending = 1;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->rewrite[slot], &at, &row, &rows))
			member_write(&next_xfer(op, slot, row, rows, run_written)->xfer);
	}
	if (--op->pending == 0)
		all_written(op);
}

/* What the check has done to the stripe, while it is still held. */
static int stripe_settle(struct check_op *op, int err)
{
	struct stripe_engine *eng = op->eng;
	const struct stripe_check *check = op->check;
	if (check->mode == STRIPE_RESYNC)
		doubt_settle(eng, check->stripe, err);
	if (check->mode == STRIPE_RESYNC && !err && eng->config.journal)
		journal_forget(eng->config.journal, check->stripe);
	if (check->mode != STRIPE_REBUILD)
		return err;
	if (!err && op->rebuild_failed)
		err = -EIO;
	if (!err)
		stripe_set_remove(&eng->membership.stale[check->member], check->stripe);
	return err;
}

static void check_end(struct check_op *op, int err)
{
	struct stripe_engine *eng = op->eng;
	struct stripe_check *check = op->check;
	struct stripe_part *part = op->part;
	if (op->marking)
		intent_write_ended(eng->config.intent, op->intent.region);
	err = stripe_settle(op, err);
	if (op->state)
		stripe_lock_release(eng, op->state);
	op_free(op);
	if (!part) {
		check->done(check, err);
		return;
	}
	part->err = err;
	part_finish(eng, part);
}
