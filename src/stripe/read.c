/* SPDX-License-Identifier: MIT */
/* Reads: verified, from another copy or rebuilt from parity where a block is missing or damaged.
 *
 *	stripe_read_start	cut the range into wants: one run of rows of one slot each
 *	want_start --> want_read		verified: done; a row that fails becomes a want of its own
 *	want_start --> want_rebuild --> others_read	D_m = P ^ xor of the others, compared with D_m's tuple
 *	want_lost		nothing verifies: the request fails, an event says which block
 *	want_done --> read_finish	the last one: copy out, heal what was found damaged, release
 *
 * I4: no byte of a block that failed its check is given, unless the rebuilt block equals it (then it is
 * the tuple that is damaged). What is written back is check.c's work, posted when a rebuild succeeded.
 * Owner thread: the engine's; the stripe is held shared. */
#include "stripe/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "raid/parity.h"

struct read_op;

/* A run of rows of one data slot that somebody wants. */
struct want {
	struct read_op *op;
	unsigned slot, row, rows;
	uint8_t *dest;	/* rows blocks, in op->blocks */
	uint32_t avoid; /* slots (raid1: copies) that are missing or gave bad blocks */
	bool suspect;	/* dest and tuples hold what the medium gave and failed its check */
	int err;	/* what it failed with */
	uint8_t *tuples; /* owned: rows tuples */
	struct slot_xfer *xfers; /* owned */
	unsigned xfer_count, pending;
	uint8_t *others; /* arena: the other slots' rows, to rebuild from */
};

struct read_op {
	struct stripe_engine *eng;
	struct stripe_state *state;
	struct stripe_part *part;
	uint64_t stripe;
	unsigned first_block, block_count; /* in the data of the stripe */
	uint8_t *blocks;		   /* where whole blocks go: the request's memory, or bounce */
	uint8_t *bounce;		   /* arena, for ranges that are not whole blocks */
	unsigned wants;			   /* under way */
	bool heal;
	int err;
};

static void want_start(struct want *w);
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
	free(w->xfers);
	free(w);
}

static void want_done(struct want *w)
{
	struct read_op *op = w->op;
	want_free(w);
	if (--op->wants == 0)
		read_finish(op);
}

static void want_fail(struct want *w, int err)
{
	if (!w->op->err)
		w->op->err = err;
	want_done(w);
}

static void want_lost(struct want *w)
{
	struct read_op *op = w->op;
	const struct geometry *g = &op->eng->config.geometry;
	struct event event = event_new(EVENT_UNREPAIRABLE);
	event.ino = op->part->req->ino;
	event.file_offset_bytes = op->part->req->file_offset_bytes;
	event.len_bytes = op->part->req->len_bytes;
	event.stripe = op->stripe;
	event.member = (int)geometry_member(g, op->stripe, w->slot);
	event.member_block = geometry_member_block(g, op->stripe, w->row);
	event.volume_block = geometry_volume_block(g, op->stripe, w->slot, w->row);
	event.volume_blocks = w->rows;
	event.error = w->err ? w->err : -EIO;
	event.what = w->err == -EILSEQ ? "guard" : "unreadable";
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
	w->avoid = missing_slots(op->eng, op->stripe);
	w->tuples = calloc(rows, op->eng->tuple_bytes ? op->eng->tuple_bytes : 1);
	w->xfers = calloc(op->eng->slots, sizeof(*w->xfers));
	if (!w->tuples || !w->xfers) {
		want_free(w);
		return NULL;
	}
	op->wants++;
	return w;
}

/* ---- rebuild: raid5 ---- */

/* The rebuilt row is at @rebuilt; the medium's doubtful one, if any, at its destination. */
static bool rebuilt_is_right(const struct want *w, unsigned i, const uint8_t *rebuilt)
{
	const struct stripe_engine *eng = w->op->eng;
	if (!w->suspect || !eng->tuple_bytes)
		return true; /* no tuple to compare with: the others have passed their checks */
	uint64_t block = geometry_member_block(&eng->config.geometry, w->op->stripe, w->row + i);
	enum pi_verdict v = pi_verify(eng->config.pi, rebuilt, block, w->tuples + i * eng->tuple_bytes);
	return v == PI_GOOD || memcmp(rebuilt, w->dest + (size_t)i * BLOCK_BYTES, BLOCK_BYTES) == 0;
}

static bool xor_rows(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	uint8_t *rebuilt = w->others + (size_t)w->slot * w->rows * BLOCK_BYTES;
	for (unsigned i = 0; i < w->rows; i++) {
		const void *sources[RAID_MAX_SLOTS];
		unsigned n = 0;
		for (unsigned slot = 0; slot < eng->slots; slot++)
			if (slot != w->slot)
				sources[n++] = w->others + ((size_t)slot * w->rows + i) * BLOCK_BYTES;
		uint8_t *row = rebuilt + (size_t)i * BLOCK_BYTES;
		parity_xor(sources, n, row, BLOCK_BYTES);
		if (!rebuilt_is_right(w, i, row))
			return false;
		memcpy(w->dest + (size_t)i * BLOCK_BYTES, row, BLOCK_BYTES);
	}
	return true;
}

static void others_read(struct want *w)
{
	struct rows bad = {0};
	for (unsigned i = 0; i < w->xfer_count; i++) {
		if (slot_xfer_bad_rows(w->op->eng, &w->xfers[i], &bad))
			w->err = w->err		      ? w->err
				 : w->xfers[i].err < 0 ? -EIO
						       : -EILSEQ;
	}
	if (!rows_empty(&bad) || !xor_rows(w)) {
		want_lost(w);
		return;
	}
	if (slot_member(w->op->eng, w->op->stripe, w->slot))
		w->op->heal = true;
	else
		counter_add(&w->op->eng->count.degraded_reads, 1);
	want_done(w);
}

static void other_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct want *w = x->op;
	x->err = err;
	if (--w->pending == 0)
		others_read(w);
}

/* Each other slot's rows and their tuples, in a buffer of slots * rows blocks. */
static bool allocate_others(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	w->others = arena_get(eng->arena, eng->slots * w->rows * BLOCK_BYTES);
	uint8_t *tuples = realloc(w->tuples, (size_t)(eng->slots + 1) * w->rows * eng->tuple_bytes + 1);
	if (tuples)
		w->tuples = tuples;
	return w->others && tuples;
}

static void want_rebuild(struct want *w)
{
	struct stripe_engine *eng = w->op->eng;
	if (w->avoid & ~(1u << w->slot)) {
		want_lost(w);
		return;
	}
	if (!allocate_others(w)) {
		want_fail(w, -ENOMEM);
		return;
	}
	w->xfer_count = 0;
	w->pending = 1;
	for (unsigned slot = 0; slot < eng->slots; slot++) {
		if (slot == w->slot)
			continue;
		struct slot_xfer *x = &w->xfers[w->xfer_count++];
		slot_xfer_init(eng, x, w->op->stripe, slot, w->row, w->rows);
		x->op = w;
		x->one = (struct iovec){w->others + (size_t)slot * w->rows * BLOCK_BYTES,
			(size_t)w->rows * BLOCK_BYTES};
		if (eng->tuple_bytes)
			x->xfer.tuples = w->tuples + (size_t)(slot + 1) * w->rows * eng->tuple_bytes;
		x->xfer.done = other_read;
		w->pending++;
		member_read(&x->xfer);
	}
	if (--w->pending == 0)
		others_read(w);
}

/* ---- a plain read ---- */

/* @row failed in @w: wanted anew, elsewhere. */
static void want_again(struct want *w, unsigned row, unsigned tried, int err)
{
	struct read_op *op = w->op;
	struct want *one = want_new(op, w->slot, row, 1);
	if (!one) {
		op->err = -ENOMEM;
		return;
	}
	one->avoid = w->avoid | 1u << tried;
	one->suspect = err == -EILSEQ;
	one->err = err;
	memcpy(one->tuples, w->tuples + (row - w->row) * op->eng->tuple_bytes, op->eng->tuple_bytes);
	want_start(one);
}

static void want_read(struct member_xfer *xfer, int err)
{
	struct slot_xfer *x = container_of(xfer, struct slot_xfer, xfer);
	struct want *w = x->op;
	struct rows bad = {0};
	x->err = err;
	if (slot_xfer_bad_rows(w->op->eng, x, &bad)) {
		for (unsigned row = rows_find(&bad, 0, true); row < ROWS_MAX;
			row = rows_find(&bad, row + 1, true))
			want_again(w, row, x->slot, err < 0 ? -EIO : -EILSEQ);
	} else if (w->suspect || w->err) {
		w->op->heal = true; /* another copy was good */
	}
	want_done(w);
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
	struct slot_xfer *x = &w->xfers[0];
	slot_xfer_init(eng, x, w->op->stripe, slot, w->row, w->rows);
	x->op = w;
	x->one = (struct iovec){w->dest, (size_t)w->rows * BLOCK_BYTES};
	x->xfer.tuples = eng->tuple_bytes ? w->tuples : NULL;
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

void stripe_read_start(struct stripe_engine *eng, struct stripe_state *state,
	struct stripe_part *part)
{
	struct read_op *op = calloc(1, sizeof(*op));
	if (!op) {
		part->err = -ENOMEM;
		part_finish(eng, part);
		stripe_lock_release(eng, state);
		return;
	}
	uint32_t end = part->offset_bytes + part->len_bytes;
	uint8_t *data = part->req->data + part->req_offset;
	*op = (struct read_op){.eng = eng, .state = state, .part = part, .stripe = state->stripe};
	op->first_block = part->offset_bytes / BLOCK_BYTES;
	op->block_count = (end + BLOCK_BYTES - 1) / BLOCK_BYTES - op->first_block;
	if (part->offset_bytes % BLOCK_BYTES || end % BLOCK_BYTES || (uintptr_t)data % 512)
		op->bounce = arena_get(eng->arena, op->block_count * BLOCK_BYTES);
	op->blocks = op->bounce ? op->bounce : data;
	if (!op->bounce && op->block_count * BLOCK_BYTES != part->len_bytes) {
		op->err = -ENOMEM;
		read_finish(op);
		return;
	}
	start_wants(op);
}

/* A check that nobody waits for: the stripe is mended after the reads that found the damage. */
static void healed(struct stripe_check *check, int err)
{
	(void)err;
	free(check);
}

static void heal_later(struct read_op *op)
{
	struct stripe_check *check = calloc(1, sizeof(*check));
	struct stripe_part *part = calloc(1, sizeof(*part));
	if (!check || !part || op->eng->config.read_only) {
		free(check);
		free(part);
		return;
	}
	check->mode = STRIPE_REPAIR;
	check->stripe = op->stripe;
	check->done = healed;
	part->check = check;
	op->eng->busy++;
	stripe_lock_enqueue(op->eng, op->stripe, part);
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
	stripe_lock_release(eng, op->state);
	part->err = op->err;
	free(op);
	part_finish(eng, part);
}
