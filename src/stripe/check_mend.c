/* SPDX-License-Identifier: MIT */
/* Putting a stripe right (REPAIR, RESYNC), row by row, in memory.
 *
 * What counts as right, in this order: a block that passes its check; a rebuilt block that matches
 * the tuple of the damaged one, or equals the damaged one (then its tuple is at fault), or, where
 * the tuple went with its member, fits the row tag; after a
 * crash (RESYNC) also a block that had been overwritten when the power went: it fails its old
 * tuple, cannot be rebuilt, and gets a new one. Without PI the first mirror counts as right against
 * the others, and data against parity; but where two parities agree that one block alone is wrong,
 * it is that block. (Not after a crash, which leaves blocks that nobody was told of: data counts.)
 * A row with a lost block keeps its parities: they may be all that is left.
 *
 * Owner thread: the engine's. */
#include "stripe/check.h"
#include "stripe/row_tag.h"

/* ---- what is right? ---- */

void check_set_right(struct check_op *op, unsigned slot, unsigned row)
{
	const struct stripe_engine *eng = op->eng;
	uint8_t *tuple = check_tuple_at(op, slot, row);
	if (!check_is_present(op, slot))
		return;
	uint16_t tag = PI_APP_WRITTEN;
	if (tuple && check_with_parity(op) && slot >= eng->data_slots)
		tag = row_tag_get(eng->config.pi, eng->data_slots, tuple);
	if (tuple) {
		pi_generate(eng->config.pi, check_block_at(op, slot, row), 1,
			geometry_member_block(&eng->config.geometry, op->check->stripe, row),
			tuple);
		pi_set_app_tag(eng->config.pi, tag, tuple);
	}
	rows_add(&op->rewrite[slot], row);
}

/* Is the rebuilt block in op->spare what @slot should hold? Where no tuple could be read, the
 * others have passed their checks, and the row tag must say so (check_solution_fits()). */
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

/* The block is on a missing member, and of the others only parities are bad. */
static bool is_alone_away(const struct check_op *op, unsigned slot, uint32_t bad)
{
	uint32_t data = (1u << op->eng->data_slots) - 1;
	return (bad & data) == 1u << slot && !check_is_present(op, slot);
}

/* Into op->spare: what the others say without the @bad slots. */
static bool solution_is_right(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	const uint8_t *tuple = check_tuple_at(op, slot, row);
	check_solve_without(op, row, slot, bad);
	bool known = tuple && !pi_is_escape(op->eng->config.pi, tuple);
	return known ? rebuilt_is_right(op, slot, row) : check_solution_fits(op, slot, row, bad);
}

/* After a crash all parities may be of before a write whose one block is stored: without that block
 * both tags fit, and tell what the missing one was. */
static bool solve_beside_new(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	for (unsigned other = 0; other < op->eng->data_slots; other++) {
		uint32_t without = bad | 1u << other;
		if (without != bad && op->tuples && check_can_solve(op, without) &&
			check_solution_fits(op, slot, row, without)) {
			check_solve_without(op, row, slot, without);
			return true;
		}
	}
	return false;
}

/* And where that is not right and parities are left, without one of those. After a crash that is of
 * use only where the row tags can tell. */
bool check_solve_rightly(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	if (!check_can_solve(op, bad))
		return false;
	bool resync = op->check->mode == STRIPE_RESYNC, alone = is_alone_away(op, slot, bad);
	bool right = solution_is_right(op, slot, row, bad);
	if (right && resync)
		right = check_code(op).parities == 1 || alone || rest_agrees(op, slot, row, bad);
	for (unsigned p = op->eng->data_slots; !right && p < op->eng->slots; p++) {
		uint32_t without = bad | 1u << p;
		if (without == bad || !check_can_solve(op, without) || (resync && !alone))
			continue;
		right = solution_is_right(op, slot, row, without);
	}
	return right || (resync && alone && solve_beside_new(op, slot, row, bad));
}

/* A bad block of a data slot. */
static bool mend_data_block(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	if (check_solve_rightly(op, slot, row, bad)) {
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
		!check_is_bad(op, slot, row) && check_tag_fits(op, slot, row))
		return;
	memcpy(check_block_at(op, slot, row), op->spare, BLOCK_BYTES);
	check_set_right(op, slot, row);
	check_tag_renew(op, slot, row);
}

static void mend_stale(struct check_op *op, unsigned slot, unsigned row)
{
	memcpy(check_block_at(op, slot, row), check_solve(op, row, slot), BLOCK_BYTES);
	check_set_right(op, slot, row);
}

/* Nothing but the parities says what is wrong in a row of which all blocks were read: where they,
 * or their row tags, agree on a data block, it is rebuilt. */
static void mend_by_vote(struct check_op *op, unsigned row)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		if (rows_has(&op->check->stale[slot], row))
			mend_stale(op, slot, row);
	if (op->tuples || op->check->mode == STRIPE_RESYNC)
		return;
	check_row(op, row, blocks);
	int wrong = parity_locate_error(&code, blocks, BLOCK_BYTES);
	if (wrong < 0 || wrong >= (int)op->eng->data_slots)
		return;
	mend_stale(op, (unsigned)wrong, row);
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

/* Missing blocks are lost, since old and new lie side by side and nothing tells them apart. The
 * row comes to agree all the same, and its tags say so: its other blocks are not to be lost with
 * the next member. (With one parity there is no next one.) */
static void agree_without_lost(struct check_op *op, unsigned row, uint32_t bad)
{
	uint32_t data = (1u << op->eng->data_slots) - 1, lost = bad & data;
	if (!op->tuples || check_code(op).parities < 2 || !check_can_solve(op, bad) || !lost ||
		lost & ~op->view.missing)
		return;
	if (lost & (lost - 1)) {
		if (check_names_lost(op, row))
			check_tag_set_lost(op, lost, row);
		return;
	}
	unsigned slot = (unsigned)__builtin_ctz(lost);
	memcpy(check_block_at(op, slot, row), check_solve_without(op, row, slot, bad), BLOCK_BYTES);
	for (unsigned p = op->eng->data_slots; p < op->eng->slots; p++)
		mend_parity_block(op, p, row);
	check_tag_set_lost(op, lost, row);
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
	if (!data_right && op->check->mode == STRIPE_RESYNC)
		agree_without_lost(op, row, bad);
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
