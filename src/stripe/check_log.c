/* SPDX-License-Identifier: MIT */
/* RESYNC with the partial-write log (journal.h): what the log knows of a row is what its newest
 * partial writes were about to store, data and parity. It is taken for what the members hold, and
 * the row is as if these writes had been done; the rest of the row is at rest, and the parity fits
 * it. A slot whose member is missing needs no storing: the parity has it.
 *
 * Owner thread: the engine's. */
#include "stripe/check.h"

/* In memory @slot holds @block now, whatever was read. */
static void slot_becomes(struct check_op *op, unsigned slot, unsigned row, const uint8_t *block)
{
	struct stripe_check *check = op->check;
	uint8_t *read = check_block_at(op, slot, row);
	if (!check_is_present(op, slot))
		return;
	if (!check_is_bad(op, slot, row) && check_blocks_equal(read, block))
		return;
	memcpy(read, block, BLOCK_BYTES);
	rows_remove(&check->guard_bad[slot], row);
	rows_remove(&check->unreadable[slot], row);
	check_set_right(op, slot, row);
}

static bool row_disagrees(struct check_op *op, unsigned row)
{
	unsigned parity = op->eng->data_slots;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (check_is_bad(op, slot, row))
			return false;
	return !check_blocks_equal(check_solve(op, row, parity), check_block_at(op, parity, row));
}

void check_log_replay(struct check_op *op, unsigned row)
{
	const struct stripe_engine *eng = op->eng;
	unsigned parity = eng->data_slots;
	struct journal_found found;
	if (op->check->mode != STRIPE_RESYNC || !eng->config.journal ||
		!check_is_present(op, parity))
		return;
	unsigned member = geometry_member(&eng->config.geometry, op->check->stripe, parity);
	if (!journal_find(eng->config.journal, member, op->check->stripe, row, &found))
		return;
	for (unsigned slot = 0; slot < parity; slot++)
		if (found.data[slot])
			slot_becomes(op, slot, row, found.data[slot]);
	slot_becomes(op, parity, row, found.parity);
	if (row_disagrees(op, row)) /* full writes before, of which something was lost */
		rows_add(&op->check->parity_bad, row);
	else
		rows_remove(&op->check->parity_bad, row);
}
