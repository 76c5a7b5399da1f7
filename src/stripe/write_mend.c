/* SPDX-License-Identifier: MIT */
/* What a write does about damage, found before it begins or made by what failed.
 *
 *	write_mend_old_data	old data or parity cannot be used: mend the stripe (check.c), then
 * take
 *		--> old_data_mended	from its image what the plan wants, by the first way that
 *					wants nothing lost
 *	write_mend_stripe	refused or failed transfers: old blocks here, new ones there
 *		--> stripe_mended	healthy stripe: check.c makes parity and mirrors agree
 *		--> stripe_seen --> parities_anew --> parity_written
 *					data slots are missing, and only the parities know their
 *					blocks: they are made of these and of what the members
 *					hold now
 *
 * Both look at the whole stripe, so they wait until they have it (stripe_lock_alone()).
 *
 * Owner thread: the engine's. Deliberately not done: a degraded
 * stripe in which a block besides the missing one cannot be read stays as it is. */
#include "stripe/write.h"

#include <stdlib.h>
#include <string.h>
#include "raid/parity.h"

static void stripe_mended(struct stripe_check *check, int err);

struct write_mend {
	struct write_op *op;
	struct stripe_check check;
	uint8_t *image;  /* arena: the whole stripe, [slot][row of the chunk] */
	uint8_t *tuples; /* owned: the same; NULL without PI */
	int err;         /* what to say where nothing helps */
};

static uint32_t image_bytes(const struct stripe_engine *eng)
{
	return eng->slots * eng->config.geometry.chunk_blocks * BLOCK_BYTES;
}

static uint8_t *image_at(const struct write_mend *mend, unsigned slot, unsigned row)
{
	unsigned chunk = mend->op->eng->config.geometry.chunk_blocks;
	return mend->image + ((size_t)slot * chunk + row) * BLOCK_BYTES;
}

static uint8_t *image_tuple_at(const struct write_mend *mend, unsigned slot, unsigned row)
{
	const struct stripe_engine *eng = mend->op->eng;
	size_t at = (size_t)slot * eng->config.geometry.chunk_blocks + row;
	return mend->tuples + at * eng->tuple_bytes;
}

void write_mend_free(struct write_op *op)
{
	if (!op->mend)
		return;
	free(op->mend->tuples);
	arena_put(op->eng->arena, op->mend->image, image_bytes(op->eng));
	free(op->mend);
}

static void stripe_is_ours(struct stripe_alone *alone)
{
	struct write_op *op = container_of(alone, struct write_op, alone);
	stripe_check_held(op->eng, &op->view, &op->mend->check);
}

/* Look at the whole stripe, of which the image is kept. What was written in part goes before what
 * was not begun. */
static void mend_start(struct write_op *op, enum stripe_check_mode mode, int err,
	void (*done)(struct stripe_check *, int))
{
	write_mend_free(op);
	struct write_mend *mend = op->mend = calloc(1, sizeof(*mend));
	size_t tuples = (size_t)image_bytes(op->eng) / BLOCK_BYTES * op->eng->tuple_bytes;
	if (mend) {
		mend->op = op;
		mend->image = arena_get(op->eng->arena, image_bytes(op->eng));
		mend->tuples = tuples ? malloc(tuples) : NULL;
	}
	if (!mend || !mend->image || (tuples && !mend->tuples)) {
		write_finish(op, -ENOMEM);
		return;
	}
	mend->err = err;
	mend->check = (struct stripe_check){.mode = mode,
		.stripe = op->view.stripe,
		.data_counts = done == stripe_mended,
		.data = mend->image,
		.tuples = mend->tuples,
		.done = done};
	op->alone.run = stripe_is_ours;
	stripe_lock_alone(op->eng, op->state, &op->alone, op->sent);
}

static struct rows bad_rows(const struct stripe_check *check, unsigned slot)
{
	return rows_or(check->unreadable[slot], check->guard_bad[slot]);
}

/* ---- old data that cannot be used ---- */

/* The rows of @slot that the image has not got right after a repair: data that is lost, and parity
 * that was bad beside it. */
static struct rows rows_lost(const struct write_mend *mend, unsigned slot)
{
	const struct write_op *op = mend->op;
	if (!write_has_parity(op) || slot < op->eng->data_slots)
		return mend->check.lost[slot];
	struct rows lost = {0};
	for (unsigned i = 0; i < op->eng->data_slots; i++)
		rows_add_all(&lost, &mend->check.lost[i]);
	return rows_and(lost, bad_rows(&mend->check, slot));
}

/* The plan rebuilds missing blocks of which the repair said that they are lost. */
static bool plan_rebuilds_lost(const struct write_mend *mend)
{
	const struct write_op *op = mend->op;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		unsigned at = 0, row, rows;
		while (slot_missing(&op->view, slot) &&
			rows_next_run(&mend->check.lost[slot], &at, &row, &rows))
			for (unsigned i = row; i < row + rows; i++)
				if (op->plan.row[i] == PLAN_ROW_REBUILD)
					return true;
	}
	return false;
}

static bool plan_reads_lost(const struct write_mend *mend)
{
	for (unsigned slot = 0; slot < mend->op->eng->slots; slot++) {
		struct rows lost = rows_and(rows_lost(mend, slot), mend->op->plan.read[slot]);
		if (!rows_empty(&lost))
			return true;
	}
	return write_has_parity(mend->op) && plan_rebuilds_lost(mend);
}

static void old_data_copy(const struct write_mend *mend)
{
	struct write_op *op = mend->op;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->plan.read[slot], &at, &row, &rows)) {
			memcpy(write_block_at(op, op->old[slot], row), image_at(mend, slot, row),
				(size_t)rows * BLOCK_BYTES);
			if (mend->tuples)
				memcpy(write_tuple_at(op, op->old_tuples, slot, row),
					image_tuple_at(mend, slot, row),
					(size_t)rows * op->eng->tuple_bytes);
		}
	}
}

/* A repair that could not write back has the right bytes in its image all the same. */
static void old_data_mended(struct stripe_check *check, int err)
{
	static const enum plan_preference ways[] = {
		PLAN_FEWEST_IOS, PLAN_PREFER_RCW, PLAN_PREFER_RMW};
	struct write_mend *mend = container_of(check, struct write_mend, check);
	struct write_op *op = mend->op;
	if (err == -ESHUTDOWN || err == -ENOMEM) {
		write_finish(op, err);
		return;
	}
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (write_plan(op, ways[i], NULL) < 0 || plan_reads_lost(mend))
			continue;
		if (write_allocate_old(op) < 0) {
			write_finish(op, -ENOMEM);
			return;
		}
		old_data_copy(mend);
		write_old_data_ready(op);
		return;
	}
	if (list_first(&op->parts)->next != &op->parts.head)
		write_split(op);
	else
		write_finish(op, mend->err);
}

void write_mend_old_data(struct write_op *op, int err)
{
	mend_start(op, STRIPE_REPAIR, err, old_data_mended);
}

/* ---- who hears of a failed transfer ---- */

static void emit_write_failure(
	struct write_op *op, const struct slot_xfer *x, const struct stripe_req *req)
{
	const struct geometry *g = &op->eng->config.geometry;
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
	event.stripe = op->view.stripe;
	if (!write_has_parity(op) || x->slot < op->eng->data_slots)
		event.volume_block = geometry_volume_block(
			g, event.stripe, write_has_parity(op) ? x->slot : 0, x->row);
	event.what = x->err == -EILSEQ ? "guard" : "write error";
	event_emit(op->eng->config.events, &event);
}

static bool span_in_xfer(const struct write_op *op, const struct span *s, const struct slot_xfer *x)
{
	if (write_has_parity(op) && x->slot >= op->eng->data_slots)
		return true;
	bool rows_meet = s->row < x->row + x->xfer.blocks && s->row + s->rows > x->row;
	return rows_meet && (!write_has_parity(op) || s->slot == x->slot);
}

void write_note_failure(struct write_op *op, const struct slot_xfer *x)
{
	emit_write_failure(op, x, NULL);
}

void write_blame(struct write_op *op, const struct slot_xfer *x)
{
	const struct stripe_req *first = NULL;
	for (unsigned i = 0; i < op->span_count; i++) {
		struct stripe_part *part = op->spans[i].part;
		if (!span_in_xfer(op, &op->spans[i], x))
			continue;
		first = first ? first : part->req;
		if (part->err)
			continue;
		if (x->err == -EILSEQ)
			counter_add(&op->eng->count.refused_writes, 1);
		part->err = x->err;
	}
	emit_write_failure(op, x, first);
}

/* ---- a stripe that was written in part ---- */

/* The block of the row as it was before the write; NULL where it was not read and has changed. */
static uint8_t *block_before(const struct write_mend *mend, unsigned slot, unsigned row)
{
	const struct write_op *op = mend->op;
	bool rebuilt = op->plan.row[row] == PLAN_ROW_REBUILD && slot < op->eng->data_slots;
	if (rows_has(&op->plan.read[slot], row) || (rebuilt && slot_missing(&op->view, slot)))
		return write_block_at(op, op->old[slot], row);
	if (slot >= op->eng->data_slots || slot_missing(&op->view, slot) ||
		*write_span_at(op, slot, row))
		return NULL;
	return image_at(mend, slot, row);
}

/* Into the image: what the missing data slots held before the write, of those that it does not
 * write. Read while the member was there, or by the old parities. */
static void missing_blocks_before(const struct write_mend *mend, unsigned row, uint32_t wanted)
{
	const struct write_op *op = mend->op;
	const struct parity_code code = write_code(op);
	void *blocks[RAID_MAX_SLOTS];
	uint32_t unknown = 0;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		blocks[slot] = block_before(mend, slot, row);
		if (!blocks[slot]) {
			unknown |= 1u << slot;
			blocks[slot] = image_at(mend, slot, row);
		} else if (wanted >> slot & 1) {
			memcpy(image_at(mend, slot, row), blocks[slot], BLOCK_BYTES);
		}
	}
	int ret = parity_rebuild(&code, blocks, unknown, wanted & unknown, BLOCK_BYTES);
	assert(ret == 0 || !(wanted & unknown));
	(void)ret;
}

/* Into the image: what the missing data slots should hold now. */
static void missing_blocks(const struct write_mend *mend, unsigned row)
{
	const struct write_op *op = mend->op;
	uint32_t not_written = 0;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		const struct span *s = *write_span_at(op, slot, row);
		if (!slot_missing(&op->view, slot))
			continue;
		if (s)
			memcpy(image_at(mend, slot, row),
				s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES, BLOCK_BYTES);
		else
			not_written |= 1u << slot;
	}
	if (not_written)
		missing_blocks_before(mend, row, not_written);
}

/* The tuples that the row's tag is made of become those of what the members hold now. */
static void tuples_now(const struct write_mend *mend, unsigned row)
{
	struct write_op *op = mend->op;
	for (unsigned slot = 0; mend->tuples && slot < op->eng->data_slots; slot++) {
		bool written = *write_span_at(op, slot, row) != NULL;
		uint8_t *tuple =
			write_tuple_at(op, written ? op->tuples : op->old_tuples, slot, row);
		if (!slot_missing(&op->view, slot))
			memcpy(tuple, image_tuple_at(mend, slot, row), op->eng->tuple_bytes);
		else if (!written)
			pi_generate(op->eng->config.pi, image_at(mend, slot, row), 1,
				geometry_member_block(
					&op->eng->config.geometry, op->view.stripe, row),
				tuple);
	}
}

static void parities_anew(const struct write_mend *mend, unsigned row)
{
	struct write_op *op = mend->op;
	struct parity_term terms[RAID_MAX_SLOTS];
	missing_blocks(mend, row);
	tuples_now(mend, row);
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		terms[slot] = (struct parity_term){slot, image_at(mend, slot, row)};
	write_make_parities(op, row, terms, op->eng->data_slots);
}

static void stripe_left(struct write_op *op);

static void stripe_left_without(struct engine_parked *parked)
{
	stripe_left(container_of(parked, struct write_op, parked));
}

/* The stripe is as consistent as it will be. A transfer is refused as a whole: whose bytes did not
 * fit their guards is not known where several writers had theirs in it. */
static void stripe_left(struct write_op *op)
{
	if (op->eng->membership.leaving) { /* perhaps it met the mending too (I8) */
		write_park(op, stripe_left_without);
		return;
	}
	struct list anew;
	list_init(&anew);
	bool shared = list_first(&op->parts)->next != &op->parts.head;
	list_for_each_safe (n, &op->parts) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		if (!shared || part->err != -EILSEQ)
			continue;
		part->err = 0;
		part_unlogged(part);
		list_remove(n);
		list_push_back(&anew, n);
	}
	stripe_lock_split(op->state, &anew);
	write_finish(op, 0);
}

static void parity_written(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct write_op *op = x->op;
	/* The writers hear of the first failure; scrub shows the rest. */
	if (member_error_is_its_own(err))
		(void)engine_member_failed(op->eng, xfer->member, err);
	if (--op->pending == 0)
		stripe_left(op);
}

/* The rows whose parities can be made: all present data of them can be read and is right. */
static struct rows rows_to_mend(const struct write_mend *mend)
{
	const struct write_op *op = mend->op;
	struct rows rows = write_parity_rows(op);
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		rows = rows_without(rows, bad_rows(&mend->check, slot));
	return rows;
}

static void send_parity(struct write_op *op, unsigned slot, const struct rows *mendable)
{
	unsigned at = 0, row, rows;
	while (rows_next_run(mendable, &at, &row, &rows)) {
		struct slot_xfer *x = &op->xfers[op->xfer_count++];
		slot_xfer_init(op->eng, x, &op->view, slot, row, rows);
		x->op = op;
		x->one = (struct iovec){write_parity_at(op, slot, row), (size_t)rows * BLOCK_BYTES};
		x->xfer.tuples = write_tuple_at(op, op->tuples, slot, row);
		x->xfer.done = parity_written;
		op->pending++;
		member_write(&x->xfer);
	}
}

static void stripe_seen(struct stripe_check *check, int err)
{
	struct write_mend *mend = container_of(check, struct write_mend, check);
	struct write_op *op = mend->op;
	struct rows mendable = rows_to_mend(mend);
	unsigned runs = write_code(op).parities * rows_runs(&mendable);
	if (err < 0 || write_allocate_xfers(op, runs + 1, 0) < 0) {
		stripe_left(op);
		return;
	}
	op->pending = 1;
	unsigned at = 0, row, rows;
	while (rows_next_run(&mendable, &at, &row, &rows))
		for (unsigned i = row; i < row + rows; i++)
			parities_anew(mend, i);
	for (unsigned slot = op->eng->data_slots; slot < op->eng->slots; slot++)
		if (!slot_missing(&op->view, slot))
			send_parity(op, slot, &mendable);
	if (--op->pending == 0)
		stripe_left(op);
}

static void stripe_mended(struct stripe_check *check, int err)
{
	(void)err; /* what stays wrong is visible to scrub; the writers hear their error */
	stripe_left(container_of(check, struct write_mend, check)->op);
}

void write_mend_stripe(struct write_op *op)
{
	if (op->xfer_count < 2)
		stripe_left(op);
	else if (write_has_parity(op) && write_missing_data(op))
		mend_start(op, STRIPE_CHECK, 0, stripe_seen);
	else
		mend_start(op, STRIPE_REPAIR, 0, stripe_mended);
}
