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
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	if (check_bad_slots(op, row))
		return false;
	for (unsigned slot = code.data; slot < op->eng->slots; slot++)
		if (!check_tag_fits(op, slot, row))
			return true;
	check_row(op, row, blocks);
	return !parity_is_consistent(&code, blocks, BLOCK_BYTES);
}

/* Of several rings any: they agree (journal.h, I6). */
static bool find(const struct check_op *op, unsigned row, struct journal_found *out)
{
	const struct stripe_engine *eng = op->eng;
	for (unsigned slot = eng->data_slots; slot < eng->slots; slot++) {
		unsigned member = geometry_member(&eng->config.geometry, op->check->stripe, slot);
		if (check_is_present(op, slot) &&
			journal_find(eng->config.journal, member, op->check->stripe, row, out))
			return true;
	}
	return false;
}

void check_log_replay(struct check_op *op, unsigned row)
{
	struct journal_found found;
	if (op->check->mode != STRIPE_RESYNC || !op->eng->config.journal || !find(op, row, &found))
		return;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (found.block[slot])
			slot_becomes(op, slot, row, found.block[slot]);
	if (!(check_bad_slots(op, row) & ~op->view.missing) && !check_names_lost(op, row))
		rows_add(&op->vouched, row);
	if (row_disagrees(op, row)) /* full writes before, of which something was lost */
		rows_add(&op->check->parity_bad, row);
	else
		rows_remove(&op->check->parity_bad, row);
}
