/* SPDX-License-Identifier: MIT */
/* Reads: verified, from another copy or rebuilt from parity where a block is missing or damaged.
 *
 *	stripe_read_start	cut the range into wants: one run of rows of one slot each
 *	want_start -> want_read		verified: done; a failed row becomes its own want
 *	want_start -> want_rebuild -> others_read
 *				from the others (raid/parity.h), compared with its tuple, or
 *				where that went with the member, with the row tag;
 *				where that fails, each row becomes a want of its own, and a
 *				single row is tried again without what failed it
 *	want_lost		nothing verifies: the request fails, an event says where
 *	want_found		plain: that was it; with a sink: into the reader's memory and
 *				verified there as well (read_sink.c), a row that fails becomes
 *				a want of its own, as above
 *	want_done -> read_finish	the last one: copy out, heal what was damaged, release
 *
 * I4: no byte of a block that failed its check is given, unless the rebuilt block equals it (then
 * it is the tuple that is damaged). What is written back is check.c's work, posted when a rebuild
 * succeeded. Owner thread: the engine's; the stripe is held shared. */
#include "stripe/read.h"

#include <stdlib.h>
#include <string.h>
#include "raid/parity.h"
#include "stripe/row_tag.h"

static void want_start(struct want *w);
static void want_rebuild(struct want *w);
static void read_finish(struct read_op *op);

static bool has_parity(const struct read_op *op)
{
	return geometry_has_parity(&op->eng->config.geometry);
}

static void want_free(struct want *w)
{
	uint32_t others = (uint32_t)(w->op->eng->slots * w->rows * BLOCK_BYTES);
	arena_put(w->op->eng->arena, w->others, others);
	free(w->tuples);
	free(w->others_tuples);
	free(w->others_xfers);
	free(w->placing);
	free(w);
}

void want_done(struct want *w)
{
	struct read_op *op = w->op;
	want_free(w);
	if (--op->wants == 0)
		read_finish(op);
}

static void want_fail(struct want *w, int err)
{
	w->op->err = worse_error(w->op->err, err);
	want_done(w);
}

/* The stripe is to be looked at, and put right, when the read is over. */
static void want_heal(struct want *w)
{
	w->op->heal = true;
	w->op->misled |= w->misled;
}

static void want_lost(struct want *w)
{
	struct read_op *op = w->op;
	if (w->misled) { /* the members have it */
		want_fail(w, -EILSEQ);
		return;
	}
	const struct geometry *g = &op->eng->config.geometry;
	struct event event = event_new(EVENT_UNREPAIRABLE);
	event.ino = op->part->req->ino;
	event.file_offset_bytes = op->part->req->file_offset_bytes;
	event.len_bytes = op->part->req->len_bytes;
	event.stripe = op->view.stripe;
	event.member = (int)geometry_member(g, event.stripe, w->slot);
	event.member_block = geometry_member_block(g, event.stripe, w->row);
	event.volume_block = geometry_volume_block(g, event.stripe, w->slot, w->row);
	event.volume_blocks = w->rows;
	event.error = w->err ? w->err : -EIO;
	event.what = w->untagged ? "row tag" : w->err == -EILSEQ ? "guard" : "unreadable";
	event_emit(op->eng->config.events, &event);
	counter_add(&op->eng->count.unrepairable_blocks, w->rows);
	want_fail(w, event.error);
}

static struct want *want_new(struct read_op *op, unsigned slot, unsigned row, unsigned rows)
{
	struct want *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	unsigned block = slot * op->eng->config.geometry.chunk_blocks + row;
	w->op = op;
	w->slot = slot;
	w->row = row;
	w->rows = rows;
	w->dest = op->blocks + (size_t)(block - op->first_block) * BLOCK_BYTES;
	w->avoid = op->view.missing;
	if (op->eng->tuple_bytes) {
		w->tuples = malloc((size_t)rows * op->eng->tuple_bytes);
		if (!w->tuples) {
			want_free(w);
			return NULL;
		}
		pi_fill_escape(op->eng->config.pi, rows, w->tuples);
	}
	op->wants++;
	return w;
}

/* @row of @w, wanted by itself. @avoid: where it is not to be read again. */
static struct want *want_split(struct want *w, unsigned row, uint32_t avoid)
{
	struct read_op *op = w->op;
	size_t tuple_bytes = op->eng->tuple_bytes;
	struct want *one = want_new(op, w->slot, row, 1);
	if (!one) {
		op->err = worse_error(op->err, -ENOMEM);
		return NULL;
	}
	one->avoid = w->avoid | avoid;
	one->misled = w->misled;
	one->gone = w->gone;
	one->err = w->err;
	if (tuple_bytes)
		memcpy(one->tuples, w->tuples + (row - w->row) * tuple_bytes, tuple_bytes);
	return one;
}

/* @row failed in @w. */
static void want_again(struct want *w, unsigned row, uint32_t avoid, int err)
{
	struct want *one = want_split(w, row, avoid);
	if (!one)
		return;
	one->suspect = err == -EILSEQ;
	one->err = w->err == -EILSEQ ? w->err : err;
	want_start(one);
}

void want_misled(struct want *w, unsigned row)
{
	if (w->rebuilt) {
		w->op->err = worse_error(w->op->err, -EILSEQ);
		return;
	}
	struct want *one = want_split(w, row, 1u << w->plain.slot);
	if (!one)
		return;
	one->misled = true;
	one->err = -EILSEQ;
	want_start(one);
}

/* All rows of @w but the @bad ones hold what is to be given. */
static void want_found(struct want *w, const struct rows *bad)
{
	if (!want_has_sink(w)) {
		want_done(w);
		return;
	}
	struct rows good = {0};
	rows_add_range(&good, w->row, w->rows);
	want_place(w, rows_without(good, *bad));
}

/* ---- rebuild: levels with parity ---- */

static struct parity_code code_of(const struct want *w)
{
	return parity_code_of(&w->op->eng->config.geometry);
}

static uint8_t *other_at(const struct want *w, unsigned slot)
{
	return w->others + (size_t)slot * w->rows * BLOCK_BYTES;
}

/* What is not to be used, and what is wanted. */
static uint32_t missing_for(const struct want *w)
{
	return w->avoid | 1u << w->slot;
}

static uint32_t missing_data(const struct want *w)
{
	return missing_for(w) & ((1u << w->op->eng->data_slots) - 1);
}

static const uint8_t *other_tuple(const struct want *w, unsigned slot, unsigned i)
{
	return w->others_tuples + ((size_t)slot * w->rows + i) * w->op->eng->tuple_bytes;
}

/* Does the @i-th row of what was rebuilt, with the tuples of what it was rebuilt from, fit the row
 * tags of the parities that were used? */
static bool fits_row_tag(const struct want *w, unsigned i)
{
	const struct parity_code code = code_of(w);
	enum pi_type pi = w->op->eng->config.pi;
	uint32_t sources = parity_sources(&code, missing_for(w));
	uint16_t tag = 0;
	for (unsigned slot = 0; slot < code.data; slot++) {
		bool rebuilt = missing_data(w) >> slot & 1;
		const uint8_t *block = other_at(w, slot) + (size_t)i * BLOCK_BYTES;
		tag = row_tag_with(tag, slot,
			rebuilt ? pi_guard(pi, block, BLOCK_BYTES)
				: row_tag_guard(pi, other_tuple(w, slot, i)));
	}
	for (unsigned slot = code.data; slot < code.data + code.parities; slot++)
		if (sources >> slot & 1 &&
			!row_tag_allows(row_tag_get(pi, code.data, other_tuple(w, slot, i)), tag,
				1u << w->slot))
			return false;
	return true;
}

/* The rebuilt row is in the place of its slot among the others; the medium's doubtful one, if any,
 * at its destination. Without PI, the others have passed their checks. */
static bool rebuilt_is_right(struct want *w, unsigned i)
{
	const struct stripe_engine *eng = w->op->eng;
	const uint8_t *rebuilt = other_at(w, w->slot) + (size_t)i * BLOCK_BYTES;
	if (!eng->tuple_bytes)
		return true;
	uint64_t block =
		geometry_member_block(&eng->config.geometry, w->op->view.stripe, w->row + i);
	enum pi_verdict v =
		pi_verify(eng->config.pi, rebuilt, block, w->tuples + i * eng->tuple_bytes);
	if (v == PI_ESCAPED)
		w->untagged = !fits_row_tag(w, i);
	if (v == PI_GOOD || v == PI_ESCAPED)
		return !w->untagged;
	return w->suspect && memcmp(rebuilt, w->dest + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == 0;
}

static bool rebuild_rows(struct want *w)
{
	const struct parity_code code = code_of(w);
	const uint8_t *rebuilt = other_at(w, w->slot);
	uint32_t wanted = w->op->eng->tuple_bytes ? missing_data(w) : 1u << w->slot;
	void *blocks[RAID_MAX_SLOTS];
	for (unsigned slot = 0; slot < w->op->eng->slots; slot++)
		blocks[slot] = other_at(w, slot);
	if (parity_rebuild(&code, blocks, missing_for(w), wanted, w->rows * BLOCK_BYTES) < 0)
		return false;
	for (unsigned i = 0; i < w->rows; i++) {
		size_t at = (size_t)i * BLOCK_BYTES;
		if (!rebuilt_is_right(w, i))
			return false;
		memcpy(w->dest + at, rebuilt + at, BLOCK_BYTES);
	}
	return true;
}

/* Where the blocks that were read gave a wrong one, one of them is at fault although it passed its
 * check: a parity is what can be left out. */
static uint32_t parity_to_suspect(const struct want *w)
{
	const struct parity_code code = code_of(w);
	uint32_t parities = parity_sources(&code, missing_for(w)) >> code.data << code.data;
	return parities & -parities;
}

/* @failed: the slots that failed it. */
static void rebuild_failed(struct want *w, int err, uint32_t failed)
{
	if (err && err != -EIO && err != -EILSEQ) {
		want_fail(w, err);
	} else if (w->rows == 1) {
		w->err = w->err == -EILSEQ || !err ? -EILSEQ : err;
		w->avoid |= err ? failed : parity_to_suspect(w);
		want_rebuild(w);
	} else {
		for (unsigned row = w->row; row < w->row + w->rows; row++)
			want_again(w, row, 0, 0); /* to lose no more of them than must be */
		want_done(w);
	}
}

static void others_read(struct want *w)
{
	struct read_op *op = w->op;
	struct rows bad = {0};
	uint32_t failed = 0;
	int err = 0;
	for (unsigned i = 0; i < w->others_count; i++) {
		const struct slot_xfer *x = &w->others_xfers[i];
		int failure = slot_xfer_judge(op->eng, x, &bad);
		err = worse_error(err, failure);
		failed |= failure ? 1u << x->slot : 0;
	}
	if (err || !rebuild_rows(w)) {
		rebuild_failed(w, err, failed);
		return;
	}
	if (slot_missing(&op->view, w->slot) || w->gone)
		counter_add(&op->eng->count.degraded_reads, 1);
	if (w->avoid & ~op->view.missing && !w->gone)
		want_heal(w);
	w->rebuilt = true;
	want_found(w, &(struct rows){0});
}

static void other_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct want *w = x->op;
	x->err = err;
	if (--w->pending == 0)
		others_read(w);
}

static bool allocate_others(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	if (w->others_xfers)
		return true;
	w->others = arena_get(eng->arena, eng->slots * w->rows * BLOCK_BYTES);
	w->others_xfers = calloc(eng->slots, sizeof(*w->others_xfers));
	if (eng->tuple_bytes)
		w->others_tuples = malloc((size_t)eng->slots * w->rows * eng->tuple_bytes);
	return w->others && w->others_xfers && (w->others_tuples || !eng->tuple_bytes);
}

static void read_other(struct want *w, unsigned slot)
{
	struct stripe_engine *eng = w->op->eng;
	struct slot_xfer *x = &w->others_xfers[w->others_count++];
	slot_xfer_init(eng, x, &w->op->view, slot, w->row, w->rows);
	x->op = w;
	x->one = (struct iovec){other_at(w, slot), (size_t)w->rows * BLOCK_BYTES};
	if (eng->tuple_bytes)
		x->xfer.tuples = w->others_tuples + (size_t)slot * w->rows * eng->tuple_bytes;
	x->xfer.done = other_read;
	w->pending++;
	member_read(&x->xfer);
}

static void want_rebuild(struct want *w)
{
	const struct parity_code code = code_of(w);
	uint32_t sources = parity_sources(&code, missing_for(w));
	if (!sources) {
		want_lost(w);
		return;
	}
	if (!allocate_others(w)) {
		want_fail(w, -ENOMEM);
		return;
	}
	w->others_count = 0;
	w->pending = 1;
	for (; sources; sources &= sources - 1)
		read_other(w, (unsigned)__builtin_ctz(sources));
	if (--w->pending == 0)
		others_read(w);
}

/* ---- a plain read ---- */

/* The member is gone: all of @w from the others. */
static void want_elsewhere(struct want *w)
{
	w->avoid |= 1u << w->plain.slot;
	w->err = w->err == -EILSEQ ? w->err : -EIO;
	w->gone = true;
	want_start(w);
}

static void want_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct want *w = x->op;
	struct rows bad = {0};
	x->err = err;
	err = slot_xfer_judge(w->op->eng, x, &bad);
	if (err && err != -EIO && err != -EILSEQ) {
		want_fail(w, err);
		return;
	}
	if (member_error_is_final(x->err)) {
		want_elsewhere(w);
		return;
	}
	/* A medium does not say which of several rows it cannot read. */
	bool which_row = err == -EIO && w->rows > 1;
	unsigned at = 0, row, rows;
	while (rows_next_run(&bad, &at, &row, &rows))
		for (unsigned i = row; i < row + rows; i++)
			want_again(w, i, which_row ? 0 : 1u << x->slot, which_row ? 0 : err);
	if (which_row || (!err && w->err && !w->gone)) /* another copy was good, or may be */
		want_heal(w);
	want_found(w, &bad);
}

/* The slot to read from: the wanted one, or for mirrors a copy that is not to be avoided, in turn.
 * eng->slots where there is none. */
static unsigned choose_slot(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	if (has_parity(w->op))
		return w->avoid >> w->slot & 1 ? eng->slots : w->slot;
	for (unsigned i = 0; i < eng->slots; i++) {
		unsigned copy = (eng->next_copy + i) % eng->slots;
		if (w->avoid >> copy & 1)
			continue;
		eng->next_copy = copy + 1;
		return copy;
	}
	return eng->slots;
}

static void want_start(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	unsigned slot = choose_slot(w);
	if (slot == eng->slots && has_parity(w->op)) {
		want_rebuild(w);
		return;
	}
	if (slot == eng->slots) {
		want_lost(w);
		return;
	}
	struct slot_xfer *x = &w->plain;
	slot_xfer_init(eng, x, &w->op->view, slot, w->row, w->rows);
	x->op = w;
	x->one = (struct iovec){w->dest, (size_t)w->rows * BLOCK_BYTES};
	x->xfer.tuples = w->tuples;
	x->xfer.done = want_read;
	member_read(&x->xfer);
}

/* ---- the operation ---- */

static void start_wants(struct read_op *op)
{
	unsigned chunk = op->eng->config.geometry.chunk_blocks;
	unsigned block = op->first_block, end = block + op->block_count;
	op->wants = 1;
	while (block < end && !op->err) {
		unsigned row = block % chunk;
		unsigned rows = (unsigned)min_u64(chunk - row, end - block);
		struct want *w = want_new(op, block / chunk, row, rows);
		block += rows;
		if (w)
			want_start(w);
		else
			op->err = -ENOMEM;
	}
	if (--op->wants == 0)
		read_finish(op);
}

void stripe_read_start(
	struct stripe_engine *eng, struct stripe_state *state, struct stripe_part *part)
{
	struct read_op *op = calloc(1, sizeof(*op));
	if (!op) {
		part->err = -ENOMEM;
		stripe_lock_release(eng, state);
		part_finish(eng, part);
		return;
	}
	uint32_t end = part->offset_bytes + part->len_bytes;
	uint8_t *data = part->req->data + part->req_offset;
	*op = (struct read_op){.eng = eng, .state = state, .part = part};
	stripe_view_begin(eng, &op->view, state->stripe, false);
	op->first_block = part->offset_bytes / BLOCK_BYTES;
	op->block_count = (end + BLOCK_BYTES - 1) / BLOCK_BYTES - op->first_block;
	bool in_place = part->offset_bytes % BLOCK_BYTES == 0 && end % BLOCK_BYTES == 0 &&
			(uintptr_t)data % DIRECT_ALIGN == 0;
	if (!in_place)
		op->bounce = arena_get(eng->arena, op->block_count * BLOCK_BYTES);
	op->blocks = in_place ? data : op->bounce;
	if (op->blocks) {
		start_wants(op);
	} else {
		op->err = -ENOMEM;
		read_finish(op);
	}
}

/* A check that nobody waits for: the stripe is mended after the reads that found the damage. */
struct healing {
	struct stripe_check check;
	struct stripe_engine *eng;
	bool misled; /* what a reader's memory held was found to be damage */
};

static bool found_all_right(const struct stripe_check *check)
{
	struct rows wrong = rows_or(check->mirror_bad, check->parity_bad);
	for (unsigned slot = 0; slot < RAID_MAX_SLOTS; slot++)
		wrong = rows_or(wrong, rows_or(check->guard_bad[slot], check->unreadable[slot]));
	return rows_empty(&wrong);
}

static void healed(struct stripe_check *check, int err)
{
	struct healing *healing = container_of(check, struct healing, check);
	if (healing->misled && !err && found_all_right(check))
		counter_add(&healing->eng->count.repairs_unneeded, 1);
	free(healing);
}

static void heal_later(struct read_op *op)
{
	struct healing *healing = calloc(1, sizeof(*healing));
	struct stripe_part *part = calloc(1, sizeof(*part));
	if (!healing || !part || op->eng->config.read_only) {
		free(healing);
		free(part);
		return;
	}
	healing->eng = op->eng;
	healing->misled = op->misled;
	healing->check.mode = STRIPE_REPAIR;
	healing->check.stripe = op->view.stripe;
	healing->check.done = healed;
	part->check = &healing->check;
	op->eng->busy++;
	stripe_lock_enqueue(op->eng, healing->check.stripe, part);
}

static void read_finish(struct read_op *op)
{
	struct stripe_engine *eng = op->eng;
	struct stripe_part *part = op->part;
	if (op->bounce && !op->err)
		memcpy(part->req->data + part->req_offset,
			op->bounce + part->offset_bytes % BLOCK_BYTES, part->len_bytes);
	arena_put(eng->arena, op->bounce, op->block_count * BLOCK_BYTES);
	if (op->heal)
		heal_later(op);
	stripe_view_end(&op->view);
	stripe_lock_release(eng, op->state);
	part->err = op->err;
	free(op);
	part_finish(eng, part);
}
