/* SPDX-License-Identifier: MIT */
/* The part of the cache of old blocks (block_cache.h) in a write:
 *
 *	write_cache_look	before the plan: which old blocks are there?
 *	write_cache_fill	the plan is made: those that it takes and does not load
 *	write_cache_keep_old	what was loaded passed its check, and stays on the members
 *	write_cache_take_out	what is about to be written
 *	write_cache_keep_new	it was written, all of it, as it was given: the new blocks
 *
 * A cached block stands for a read of the member, so it may stand only where that read would give
 * the same bytes. What goes in came from a source that cannot change, and was stored without any
 * error; everything else takes out: a write from live memory (what it sampled for the parity need
 * not be what a member got), a write that was refused or failed, a stripe that is mended, resynced
 * or rebuilt (check.c), members that go or come, and a flush that failed, behind which a member may
 * hold older bytes. Nothing is looked for where it would hide what is to be seen or mended: a write
 * that distrusts the parity (STRIPE_MEND), a stripe that lacks a member. So crashes know nothing of
 * it: the parity that is logged and written is the one that reads would have led to.
 *
 * Rows that are written in full go out and stay out: nobody who writes whole rows needs old blocks,
 * and a file that is written from end to end would push out what small writes come back to.
 *
 * Owner thread: the engine's; the rows are held exclusively. */
#include "stripe/write.h"

#include <string.h>

static uint64_t stripe_numbers(const struct stripe_engine *eng)
{
	return (uint64_t)eng->slots * eng->config.geometry.chunk_blocks;
}

static uint64_t number_of(const struct write_op *op, unsigned slot, unsigned row)
{
	const struct stripe_engine *eng = op->eng;
	uint64_t first = op->view.stripe * stripe_numbers(eng);
	return first + (uint64_t)slot * eng->config.geometry.chunk_blocks + row;
}

void stripe_cache_forget(struct stripe_engine *eng, uint64_t stripe)
{
	if (eng->cache)
		block_cache_drop(eng->cache, stripe * stripe_numbers(eng), stripe_numbers(eng));
}

void stripe_cache_forget_all(struct stripe_engine *eng)
{
	assert_engine_thread(eng);
	if (eng->cache)
		block_cache_clear(eng->cache);
}

/* ---- what is there ---- */

/* Its old blocks are of use: it is written, and not in full. */
static bool row_wants(const struct write_op *op, unsigned row)
{
	bool any = false, full = true;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		const struct span *s = *write_span_at(op, slot, row);
		any = any || s;
		full = full && s && !s->partial;
	}
	return any && !full;
}

void write_cache_look(const struct write_op *op, struct rows *cached)
{
	const struct stripe_engine *eng = op->eng;
	if (!eng->cache || !write_has_parity(op) || op->view.missing)
		return;
	for (unsigned row = op->row_first; row < op->row_first + op->row_count; row++) {
		if (!row_wants(op, row))
			continue;
		for (unsigned slot = 0; slot < eng->slots; slot++)
			if (block_cache_has(eng->cache, number_of(op, slot, row)))
				rows_add(&cached[slot], row);
	}
}

void write_cache_fill(struct write_op *op)
{
	struct block_cache *cache = op->eng->cache;
	if (!cache || !write_has_parity(op))
		return;
	counter_add(&op->eng->count.cache_hits, op->plan.old_blocks - op->plan.read_blocks);
	counter_add(&op->eng->count.cache_misses, op->plan.read_blocks);
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		struct rows found = rows_without(op->plan.read[slot], op->plan.load[slot]);
		unsigned at = 0, first, rows;
		while (rows_next_run(&found, &at, &first, &rows))
			for (unsigned row = first; row < first + rows; row++) {
				bool there = block_cache_get(cache, number_of(op, slot, row),
					write_block_at(op, op->old[slot], row),
					write_tuple_at(op, op->old_tuples, slot, row));
				assert(there); /* nothing has run since write_cache_look() */
				(void)there;
			}
	}
}

/* ---- what goes in and out ---- */

void write_cache_keep_old(struct write_op *op)
{
	struct block_cache *cache = op->eng->cache;
	if (!cache || !write_has_parity(op) || op->view.missing)
		return;
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		struct rows kept = rows_without(op->plan.load[slot], op->plan.write[slot]);
		unsigned at = 0, first, rows;
		while (rows_next_run(&kept, &at, &first, &rows))
			for (unsigned row = first; row < first + rows; row++)
				block_cache_put(cache, number_of(op, slot, row),
					write_block_at(op, op->old[slot], row),
					write_tuple_at(op, op->old_tuples, slot, row));
	}
}

void write_cache_take_out(struct write_op *op)
{
	struct block_cache *cache = op->eng->cache;
	op->sent = true;
	for (unsigned slot = 0; cache && slot < op->eng->slots; slot++) {
		unsigned at = 0, first, rows;
		while (rows_next_run(&op->plan.write[slot], &at, &first, &rows))
			block_cache_drop(cache, number_of(op, slot, first), rows);
	}
}

static bool all_is_stored(const struct write_op *op, int err)
{
	if (err || op->mend || op->view.missing)
		return false;
	list_for_each (n, &op->parts) {
		const struct stripe_part *part = container_of(n, struct stripe_part, node);
		const struct source *source = part->req->source;
		if (part->err || !source->stable || source->ops->confirm)
			return false;
	}
	return true;
}

static const uint8_t *stored_block(struct write_op *op, unsigned slot, unsigned row)
{
	if (slot >= op->eng->data_slots)
		return write_parity_at(op, slot, row);
	const struct span *s = *write_span_at(op, slot, row);
	return s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES;
}

static void keep_run(struct write_op *op, unsigned slot, unsigned first, unsigned rows)
{
	for (unsigned row = first; row < first + rows; row++)
		if (op->plan.row[row] != PLAN_ROW_FULL)
			block_cache_put(op->eng->cache, number_of(op, slot, row),
				stored_block(op, slot, row),
				write_tuple_at(op, op->tuples, slot, row));
}

void write_cache_keep_new(struct write_op *op, int err)
{
	if (!op->eng->cache || !op->sent || !write_has_parity(op))
		return;
	if (!all_is_stored(op, err)) {
		stripe_cache_forget(op->eng, op->view.stripe);
		return;
	}
	for (unsigned slot = 0; slot < op->eng->slots; slot++) {
		unsigned at = 0, first, rows;
		while (rows_next_run(&op->plan.write[slot], &at, &first, &rows))
			keep_run(op, slot, first, rows);
	}
}
