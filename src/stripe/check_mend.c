/* SPDX-License-Identifier: MIT */
/* Putting a stripe right (REPAIR, RESYNC), row by row, in memory.
 *
 * What counts as right, in this order: a block that passes its check; a rebuilt block that matches
 * the tuple of the damaged one, or equals the damaged one (then its tuple is at fault); after a
 * crash (RESYNC) also a block that had been overwritten when the power went: it fails its old
 * tuple, cannot be rebuilt, and gets a new one. Without PI the first mirror counts as right against
 * the others, and data against parity; but where two parities agree that one block alone is wrong,
 * it is that block. (Not after a crash, which leaves blocks that nobody was told of: data counts.)
 * A row with a lost block keeps its parities: they may be all that is left.
 *
 * Owner thread: the engine's. */
#include "stripe/check.h"

/* ---- what is right? ---- */

void check_set_right(struct check_op *op, unsigned slot, unsigned row)
{
	const struct stripe_engine *eng = op->eng;
	if (!check_is_present(op, slot))
		return;
	if (op->tuples)
		pi_generate(eng->config.pi, check_block_at(op, slot, row), 1,
			geometry_member_block(&eng->config.geometry, op->check->stripe, row),
			check_tuple_at(op, slot, row));
	rows_add(&op->rewrite[slot], row);
}

/* Is the rebuilt block in op->spare what @slot should hold? Where no tuple could be read, the
 * others have passed their checks. */
static bool rebuilt_is_right(const struct check_op *op, unsigned slot, unsigned row)
{
	const struct stripe_engine *eng = op->eng;
	if (!op->tuples)
		return true;
	uint64_t block = geometry_member_block(&eng->config.geometry, op->check->stripe, row);
	enum pi_verdict v =
		pi_verify(eng->config.pi, op->spare, block, check_tuple_at(op, slot, row));
	if (v == PI_GOOD || v == PI_ESCAPED)
		return true;
	return !rows_has(&op->check->unreadable[slot], row) &&
	       check_blocks_equal(op->spare, check_block_at(op, slot, row));
}

/* After a crash: a block that can be read counts, whatever its old tuple says. */
static bool accept_as_read(struct check_op *op, unsigned slot, unsigned row)
{
	if (op->check->mode != STRIPE_RESYNC || !check_is_present(op, slot) ||
		rows_has(&op->check->unreadable[slot], row))
		return false;
	check_set_right(op, slot, row);
	return true;
}

/* op->spare is what @slot should hold, by the others without the @bad ones. After a crash old and
 * new blocks lie side by side, and a short guard fits now and then what was made of both: what the
 * parities can tell beyond the block must fit as well. */
static bool rest_agrees(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	uint32_t others = bad & ~(1u << slot);
	if (!others) {
		check_row(op, row, blocks);
		blocks[slot] = op->spare;
		return parity_is_consistent(&code, blocks, BLOCK_BYTES);
	}
	unsigned other = (unsigned)__builtin_ctz(others);
	check_solve_without(op, row, other, bad);
	bool right = rebuilt_is_right(op, other, row);
	check_solve_without(op, row, slot, bad);
	return right;
}

/* The block is on a missing member, and of the others only parities are bad. What the rest says of
 * it counts: whether that is what it was or not, the row must come to agree, or its blocks at rest
 * would be lost with the next member. */
static bool is_alone_away(const struct check_op *op, unsigned slot, uint32_t bad)
{
	uint32_t data = (1u << op->eng->data_slots) - 1;
	return (bad & data) == 1u << slot && !check_is_present(op, slot);
}

/* Into op->spare: what the others say without the @bad slots, and where that is not right and
 * parities are left, without one of those. */
static bool solve_rightly(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	if (!check_can_solve(op, bad))
		return false;
	check_solve_without(op, row, slot, bad);
	bool right = rebuilt_is_right(op, slot, row);
	if (op->check->mode == STRIPE_RESYNC)
		return right && (check_code(op).parities == 1 || is_alone_away(op, slot, bad) ||
					rest_agrees(op, slot, row, bad));
	for (unsigned p = op->eng->data_slots; !right && p < op->eng->slots; p++) {
		uint32_t without = bad | 1u << p;
		if (without == bad || !check_can_solve(op, without))
			continue;
		check_solve_without(op, row, slot, without);
		right = rebuilt_is_right(op, slot, row);
	}
	return right;
}

/* A bad block of a data slot. */
static bool mend_data_block(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	if (solve_rightly(op, slot, row, bad)) {
		memcpy(check_block_at(op, slot, row), op->spare, BLOCK_BYTES);
		check_set_right(op, slot, row);
		return true;
	}
	if (accept_as_read(op, slot, row))
		return true;
	rows_add(&op->check->lost[slot], row);
	return false;
}

/* From data that are right. */
static void mend_parity_block(struct check_op *op, unsigned slot, unsigned row)
{
	if (!check_is_present(op, slot))
		return;
	if (check_blocks_equal(check_solve(op, row, slot), check_block_at(op, slot, row)) &&
		!check_is_bad(op, slot, row))
		return;
	memcpy(check_block_at(op, slot, row), op->spare, BLOCK_BYTES);
	check_set_right(op, slot, row);
}

/* Nothing but the parities says what is wrong in a row of which all blocks were read: where they
 * agree on a data block, it is rebuilt. */
static void mend_by_vote(struct check_op *op, unsigned row)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	if (op->tuples || op->check->mode == STRIPE_RESYNC)
		return;
	check_row(op, row, blocks);
	int wrong = parity_locate_error(&code, blocks, BLOCK_BYTES);
	if (wrong < 0 || wrong >= (int)op->eng->data_slots)
		return;
	check_solve(op, row, (unsigned)wrong);
	memcpy(check_block_at(op, (unsigned)wrong, row), op->spare, BLOCK_BYTES);
	check_set_right(op, (unsigned)wrong, row);
}

/* Those of members that are present, or of missing ones; after a crash the former are right then,
 * as they are. */
static bool mend_data_blocks(struct check_op *op, unsigned row, uint32_t *bad, bool present)
{
	bool right = true;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		if (!(*bad >> slot & 1) || check_is_present(op, slot) != present)
			continue;
		if (!mend_data_block(op, slot, row, *bad))
			right = false;
		else if (op->check->mode == STRIPE_RESYNC && present)
			*bad &= ~(1u << slot);
	}
	return right;
}

static void mend_parity_row(struct check_op *op, unsigned row)
{
	uint32_t bad = check_bad_slots(op, row);
	if (!bad && !rows_has(&op->check->parity_bad, row))
		return;
	if (!bad)
		mend_by_vote(op, row);
	bool data_right = mend_data_blocks(op, row, &bad, true);
	data_right = mend_data_blocks(op, row, &bad, false) && data_right;
	for (unsigned slot = op->eng->data_slots; data_right && slot < op->eng->slots; slot++)
		mend_parity_block(op, slot, row);
}

/* The copy that counts: the first that passes its check; after a crash also the first that can be
 * read. slots where there is none. */
static unsigned right_copy(struct check_op *op, unsigned row)
{
	unsigned copy = 0;
	while (copy < op->eng->slots && check_is_bad(op, copy, row))
		copy++;
	for (unsigned i = 0; copy == op->eng->slots && i < op->eng->slots; i++)
		if (accept_as_read(op, i, row))
			return i;
	return copy;
}

static void mend_mirror_row(struct check_op *op, unsigned row)
{
	bool any_bad = rows_has(&op->check->mirror_bad, row);
	for (unsigned copy = 0; copy < op->eng->slots; copy++)
		any_bad |= check_is_present(op, copy) && check_is_bad(op, copy, row);
	if (!any_bad)
		return;
	unsigned right = right_copy(op, row);
	for (unsigned copy = 0; copy < op->eng->slots; copy++) {
		if (!check_is_present(op, copy) || copy == right)
			continue;
		if (right == op->eng->slots) {
			rows_add(&op->check->lost[copy], row);
		} else if (check_is_bad(op, copy, row) ||
			   !check_blocks_equal(
				   check_block_at(op, right, row), check_block_at(op, copy, row))) {
			memcpy(check_block_at(op, copy, row), check_block_at(op, right, row),
				BLOCK_BYTES);
			check_set_right(op, copy, row);
		}
	}
}

void check_mend_rows(struct check_op *op)
{
	for (unsigned row = 0; row < check_rows(op); row++) {
		if (check_with_parity(op)) {
			check_log_replay(op, row);
			mend_parity_row(op, row);
		} else {
			mend_mirror_row(op, row);
		}
	}
}
