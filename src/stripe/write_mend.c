/* SPDX-License-Identifier: MIT */
/* What a write does about damage, found before it begins or made by what failed.
 *
 *	write_mend_old_data	old data or parity cannot be used: mend the stripe (check.c), then
 * take
 *		--> old_data_mended	from its image what the plan wants, by the first way that
 *					wants nothing lost
 *	write_mend_stripe	refused or failed transfers: old blocks here, new ones there
 *		--> stripe_mended	healthy stripe: check.c makes parity and mirrors agree
 *		--> stripe_seen --> parity_anew --> parity_written
 *					a data slot is missing, and only the parity knows its block:
 *					P' = D_m ^ xor of what the members hold now
 *
 * Owner thread: the engine's; the stripe is held exclusively. Deliberately not done: a degraded
 * stripe in which a block besides the missing one cannot be read stays as it is. */
#include "stripe/write.h"

#include <stdlib.h>
#include <string.h>
#include "raid/parity.h"

struct write_mend {
	struct write_op *op;
	struct stripe_check check;
	uint8_t *image; /* arena: the whole stripe, [slot][row of the chunk] */
	int err;        /* what to say where nothing helps */
};

static uint32_t image_bytes(const struct stripe_engine *eng)
{
	return eng->slots * eng->config.geometry.chunk_blocks * BLOCK_BYTES;
}

static const uint8_t *image_at(const struct write_mend *mend, unsigned slot, unsigned row)
{
	unsigned chunk = mend->op->eng->config.geometry.chunk_blocks;
	return mend->image + ((size_t)slot * chunk + row) * BLOCK_BYTES;
}

void write_mend_free(struct write_op *op)
{
	if (!op->mend)
		return;
	arena_put(op->eng->arena, op->mend->image, image_bytes(op->eng));
	free(op->mend);
}

/* Look at the whole stripe, of which the image is kept. */
static void mend_start(struct write_op *op, enum stripe_check_mode mode, int err,
	void (*done)(struct stripe_check *, int))
{
	write_mend_free(op);
	struct write_mend *mend = op->mend = calloc(1, sizeof(*mend));
	if (mend)
		mend->image = arena_get(op->eng->arena, image_bytes(op->eng));
	if (!mend || !mend->image) {
		write_finish(op, -ENOMEM);
		return;
	}
	mend->op = op;
	mend->err = err;
	mend->check = (struct stripe_check){
		.mode = mode, .stripe = op->view.stripe, .data = mend->image, .done = done};
	stripe_check_held(op->eng, &op->view, &mend->check);
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

static bool plan_reads_lost(const struct write_mend *mend)
{
	for (unsigned slot = 0; slot < mend->op->eng->slots; slot++) {
		struct rows lost = rows_and(rows_lost(mend, slot), mend->op->plan.read[slot]);
		if (!rows_empty(&lost))
			return true;
	}
	return false;
}

static void old_data_copy(const struct write_mend *mend)
{
	struct write_op *op = mend->op;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, row, rows;
		while (rows_next_run(&op->plan.read[slot], &at, &row, &rows))
			memcpy(write_block_at(op, op->old[slot], row), image_at(mend, slot, row),
				(size_t)rows * BLOCK_BYTES);
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
		if (write_plan(op, ways[i]) < 0 || plan_reads_lost(mend))
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
	if (write_has_parity(op) && x->slot == op->eng->data_slots)
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

/* D_m of one row, into @out: what the writer wants there, else what it was: read while the member
 * was there, or by the old parity. */
static void missing_block(
	const struct write_mend *mend, unsigned missing, unsigned row, uint8_t *out)
{
	const struct write_op *op = mend->op;
	const struct span *s = *write_span_at(op, missing, row);
	if (s) {
		memcpy(out, s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES, BLOCK_BYTES);
		return;
	}
	if (rows_has(&op->plan.read[missing], row)) {
		memcpy(out, write_block_at(op, op->old[missing], row), BLOCK_BYTES);
		return;
	}
	const void *sources[RAID_MAX_SLOTS];
	unsigned n = 0, parity = op->eng->data_slots;
	sources[n++] = write_block_at(op, op->old[parity], row);
	for (unsigned slot = 0; slot < parity; slot++)
		if (slot != missing)
			sources[n++] = *write_span_at(op, slot, row)
					       ? write_block_at(op, op->old[slot], row)
					       : image_at(mend, slot, row);
	parity_xor(sources, n, out, BLOCK_BYTES);
}

static void parity_anew(const struct write_mend *mend, unsigned missing, unsigned row)
{
	struct write_op *op = mend->op;
	uint8_t *parity = write_block_at(op, op->parity, row);
	const void *sources[RAID_MAX_SLOTS];
	unsigned n = 0;
	missing_block(mend, missing, row, parity);
	sources[n++] = parity;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		if (slot != missing)
			sources[n++] = image_at(mend, slot, row);
	parity_xor(sources, n, parity, BLOCK_BYTES);
	write_parity_tuple(op, row);
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

/* The rows whose parity can be made: all present data of them can be read and is right. */
static struct rows rows_to_mend(const struct write_mend *mend)
{
	const struct write_op *op = mend->op;
	struct rows rows = op->plan.write[op->eng->data_slots];
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		rows = rows_without(rows, bad_rows(&mend->check, slot));
	return rows;
}

static void stripe_seen(struct stripe_check *check, int err)
{
	struct write_mend *mend = container_of(check, struct write_mend, check);
	struct write_op *op = mend->op;
	unsigned missing = (unsigned)__builtin_ctz(op->view.missing), parity = op->eng->data_slots;
	struct rows mendable = rows_to_mend(mend);
	if (err < 0 || write_allocate_xfers(op, rows_runs(&mendable) + 1, 0) < 0) {
		stripe_left(op);
		return;
	}
	op->pending = 1;
	unsigned at = 0, row, rows;
	while (rows_next_run(&mendable, &at, &row, &rows)) {
		struct slot_xfer *x = &op->xfers[op->xfer_count++];
		for (unsigned i = row; i < row + rows; i++)
			parity_anew(mend, missing, i);
		slot_xfer_init(op->eng, x, &op->view, parity, row, rows);
		x->op = op;
		x->one = (struct iovec){
			write_block_at(op, op->parity, row), (size_t)rows * BLOCK_BYTES};
		x->xfer.tuples = write_tuple_at(op, op->tuples, parity, row);
		x->xfer.done = parity_written;
		op->pending++;
		member_write(&x->xfer);
	}
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
	else if (op->view.missing && write_has_parity(op) &&
		 !slot_missing(&op->view, op->eng->data_slots))
		mend_start(op, STRIPE_CHECK, 0, stripe_seen);
	else
		mend_start(op, STRIPE_REPAIR, 0, stripe_mended);
}
