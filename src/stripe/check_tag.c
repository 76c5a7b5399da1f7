/* SPDX-License-Identifier: MIT */
/* Row tags in a look at a stripe (row_tag.h): which blocks of a row belong together?
 *
 * Where all blocks of a row pass their checks and yet do not agree, the tag decides. If it fits the
 * data, the parity is of other bytes than the members stored. Else, if there is one data slot with
 * which the tag would fit if the slot held what the others say of it, that member has missed a
 * write, data and tuple. With one parity a parity's member that has missed a write of a single
 * block looks the same: both are as likely then, but of a write of several blocks of the row only
 * the data slot can look so. With two parities there is no doubt.
 *
 * Owner thread: the engine's. */
#include "stripe/check.h"
#include "stripe/row_tag.h"

/* Blocks that were bad are right in memory, or their guards do not matter. */
static uint64_t guard_of(const struct check_op *op, unsigned slot, unsigned row)
{
	enum pi_type pi = op->eng->config.pi;
	if (check_is_bad(op, slot, row))
		return pi_guard(pi, check_block_at(op, slot, row), BLOCK_BYTES);
	return row_tag_guard(pi, check_tuple_at(op, slot, row));
}

static uint16_t tag_of_data(const struct check_op *op, unsigned row)
{
	uint16_t tag = 0;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		tag = row_tag_with(tag, slot, guard_of(op, slot, row));
	return tag;
}

static uint16_t tag_of_parity(const struct check_op *op, unsigned slot, unsigned row)
{
	return row_tag_get(op->eng->config.pi, op->eng->data_slots, check_tuple_at(op, slot, row));
}

bool check_tag_fits(struct check_op *op, unsigned slot, unsigned row)
{
	return !op->tuples || tag_of_parity(op, slot, row) == tag_of_data(op, row);
}

void check_tag_renew(struct check_op *op, unsigned slot, unsigned row)
{
	if (op->tuples)
		pi_set_app_tag(
			op->eng->config.pi, tag_of_data(op, row), check_tuple_at(op, slot, row));
}

static bool any_data_lost(const struct check_op *op, unsigned row)
{
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++)
		if (rows_has(&op->check->lost[slot], row))
			return true;
	return false;
}

void check_tag_fill(struct check_op *op, unsigned slot, unsigned row)
{
	check_tag_renew(op, slot, row);
	for (unsigned p = op->eng->data_slots; op->tuples && p < op->eng->slots; p++)
		if (p != slot && !check_is_bad(op, p, row) && any_data_lost(op, row))
			pi_set_app_tag(op->eng->config.pi, tag_of_parity(op, p, row),
				check_tuple_at(op, slot, row));
}

/* With what the others say of the @bad slots. */
static uint16_t tag_of_solution(struct check_op *op, unsigned row, uint32_t bad)
{
	uint16_t tag = 0;
	for (unsigned slot = 0; slot < op->eng->data_slots; slot++) {
		uint64_t guard = bad >> slot & 1 ? pi_guard(op->eng->config.pi,
							   check_solve_without(op, row, slot, bad),
							   BLOCK_BYTES)
						 : guard_of(op, slot, row);
		tag = row_tag_with(tag, slot, guard);
	}
	return tag;
}

bool check_solution_fits(struct check_op *op, unsigned slot, unsigned row, uint32_t bad)
{
	const struct parity_code code = check_code(op);
	uint32_t sources = parity_sources(&code, bad) >> code.data;
	if (!op->tuples || rows_has(&op->vouched, row))
		return true;
	if (op->check->mode == STRIPE_RESYNC && check_names_lost(op, row))
		return false; /* nothing tells whether the rest belongs together */
	uint16_t tag = tag_of_solution(op, row, bad);
	check_solve_without(op, row, slot, bad);
	for (unsigned p = 0; p < code.parities; p++)
		if (sources >> p & 1 &&
			!row_tag_allows(tag_of_parity(op, code.data + p, row), tag, 1u << slot))
			return false;
	return true;
}

void check_tag_set_lost(struct check_op *op, uint32_t lost, unsigned row)
{
	uint16_t tag = row_tag_of_lost((unsigned)__builtin_ctz(lost));
	if (lost & (lost - 1)) /* nothing more can be lost: what fits nothing says it */
		tag = row_tag_with(tag_of_data(op, row), 0, 1);
	for (unsigned p = op->eng->data_slots; p < op->eng->slots; p++) {
		if (!check_is_present(op, p))
			continue;
		pi_set_app_tag(op->eng->config.pi, tag, check_tuple_at(op, p, row));
		rows_add(&op->rewrite[p], row);
	}
}

bool check_names_lost(const struct check_op *op, unsigned row)
{
	for (unsigned p = op->eng->data_slots; op->tuples && p < op->eng->slots; p++)
		if (check_is_present(op, p) && row_tag_lost(tag_of_parity(op, p, row)) >= 0)
			return true;
	return false;
}

/* Would all tags fit if @slot held what the others say? */
static bool all_would_fit(struct check_op *op, unsigned slot, unsigned row)
{
	uint16_t tag = tag_of_solution(op, row, 1u << slot);
	for (unsigned p = op->eng->data_slots; p < op->eng->slots; p++)
		if (tag_of_parity(op, p, row) != tag)
			return false;
	return true;
}

static bool any_fits(struct check_op *op, unsigned row)
{
	for (unsigned p = op->eng->data_slots; p < op->eng->slots; p++)
		if (check_tag_fits(op, p, row))
			return true;
	return false;
}

int check_find_stale(struct check_op *op, unsigned row)
{
	const struct parity_code code = check_code(op);
	void *blocks[RAID_MAX_SLOTS];
	int found = -1;
	if (!op->tuples || check_bad_slots(op, row) || any_fits(op, row))
		return -1;
	check_row(op, row, blocks);
	if (code.parities > 1) {
		found = parity_locate_error(&code, blocks, BLOCK_BYTES);
		bool data = found >= 0 && found < (int)code.data;
		return data && all_would_fit(op, (unsigned)found, row) ? found : -1;
	}
	for (unsigned slot = 0; slot < code.data; slot++) {
		if (!all_would_fit(op, slot, row))
			continue;
		if (found >= 0)
			return -1;
		found = (int)slot;
	}
	return found;
}
