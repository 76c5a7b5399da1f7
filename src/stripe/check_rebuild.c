/* SPDX-License-Identifier: MIT */
/* Filling a stale member's slot of one stripe (REBUILD), in memory: every row of it, from what the
 * other slots hold. A row that was never written on any of them was never written; one that cannot
 * be made, or is not what the row tag says, is lost, and the stripe stays stale.
 *
 * Owner thread: the engine's. */
#include "stripe/check.h"

static bool never_written(const struct check_op *op, unsigned slot, unsigned row)
{
	return op->tuples && pi_is_escape(op->eng->config.pi, check_tuple_at(op, slot, row));
}

/* A row of zeros, without a tuple on any member. */
static void fill_never_written(struct check_op *op, unsigned slot, unsigned row)
{
	memset(check_block_at(op, slot, row), 0, BLOCK_BYTES);
	pi_fill_escape(op->eng->config.pi, 1, check_tuple_at(op, slot, row));
	rows_add(&op->rewrite[slot], row);
}

/* From the other slots that are right: as many as the parities ask for. Data are in memory, where
 * mending the row has found them. */
static bool fill_from_parity(struct check_op *op, unsigned slot, unsigned row)
{
	bool is_data = slot < op->eng->data_slots;
	uint32_t missing = check_bad_slots(op, row) | 1u << slot;
	bool written = !op->tuples;
	if (!check_can_solve(op, missing))
		return false;
	for (unsigned other = 0; other < op->eng->slots; other++)
		written = written || (!(missing >> other & 1) && !never_written(op, other, row));
	if (!written) {
		fill_never_written(op, slot, row);
		return true;
	}
	if (!is_data)
		memcpy(check_block_at(op, slot, row), check_solve_without(op, row, slot, missing),
			BLOCK_BYTES);
	check_set_right(op, slot, row);
	if (!is_data)
		check_tag_fill(op, slot, row);
	return true;
}

/* From the first copy that is right, as all others are after mending. */
static bool fill_from_copy(struct check_op *op, unsigned slot, unsigned row)
{
	unsigned copy = 0;
	while (copy < op->eng->slots && (copy == slot || check_is_bad(op, copy, row)))
		copy++;
	if (copy == op->eng->slots)
		return false;
	if (never_written(op, copy, row)) {
		fill_never_written(op, slot, row);
	} else {
		memcpy(check_block_at(op, slot, row), check_block_at(op, copy, row), BLOCK_BYTES);
		check_set_right(op, slot, row);
	}
	return true;
}

/* The slot counts as present from here on, so that it is written. */
void check_rebuild_rows(struct check_op *op)
{
	unsigned slot =
		geometry_slot(&op->eng->config.geometry, op->check->stripe, op->check->member);
	check_mend_rows(op);
	struct rows unknown = check_with_parity(op) ? op->check->lost[slot] : (struct rows){0};
	op->view.missing &= ~(1u << slot);
	op->check->lost[slot] = (struct rows){0};
	for (unsigned row = 0; row < check_rows(op); row++) {
		bool filled = !rows_has(&unknown, row) &&
			      (check_with_parity(op) ? fill_from_parity(op, slot, row)
						     : fill_from_copy(op, slot, row));
		if (!filled)
			rows_add(&op->check->lost[slot], row);
	}
	op->rebuild_failed = !rows_empty(&op->check->lost[slot]);
}
