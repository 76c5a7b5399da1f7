/* SPDX-License-Identifier: MIT */
/* A write's part in the row tag (row_tag.h): the tag of the parities that it makes, and the check
 * of the blocks that it rebuilds.
 *
 * A way that knows all data of a row makes its tag anew from their guards: where some of them were
 * rebuilt, they were checked before. A read-modify-write carries the tag along by what changes in
 * the written slots: a tag that did not fit still does not, and a missing block that it gave up
 * stays lost. Owner thread: the engine's. */
#include "stripe/row_tag.h"
#include "stripe/write.h"

static uint64_t guard_of(const struct write_op *op, uint8_t *tuples, unsigned slot, unsigned row)
{
	return row_tag_guard(op->eng->config.pi, write_tuple_at(op, tuples, slot, row));
}

static uint16_t tag_before(const struct write_op *op, unsigned slot, unsigned row)
{
	return row_tag_get(op->eng->config.pi, op->eng->data_slots,
		write_tuple_at(op, op->old_tuples, slot, row));
}

static void make_tuple(
	struct write_op *op, const uint8_t *block, uint8_t *tuples, unsigned slot, unsigned row)
{
	pi_generate(op->eng->config.pi, block, 1,
		geometry_member_block(&op->eng->config.geometry, op->view.stripe, row),
		write_tuple_at(op, tuples, slot, row));
}

/* A rebuilt row may have a lost slot besides, which the write leaves as it is. */
static bool keeps_lost(const struct write_op *op, uint16_t tag, unsigned row)
{
	int lost = row_tag_lost(tag);
	return lost >= 0 && !*write_span_at(op, (unsigned)lost, row);
}

uint16_t write_row_tag(const struct write_op *op, unsigned slot, unsigned row)
{
	bool rmw = op->plan.row[row] == PLAN_ROW_RMW;
	uint16_t tag = rmw ? tag_before(op, slot, row) : 0;
	if (op->plan.row[row] == PLAN_ROW_REBUILD && keeps_lost(op, tag_before(op, slot, row), row))
		return tag_before(op, slot, row);
	for (unsigned i = 0; i < op->eng->data_slots; i++) {
		bool written = *write_span_at(op, i, row) != NULL;
		if (rmw && !written)
			continue;
		if (rmw)
			tag = row_tag_without(tag, i, guard_of(op, op->old_tuples, i, row));
		tag = row_tag_with(
			tag, i, guard_of(op, written ? op->tuples : op->old_tuples, i, row));
	}
	return tag;
}

void write_missing_tuples(struct write_op *op, unsigned row)
{
	uint32_t missing = op->tuples ? write_missing_data(op) : 0;
	for (; missing; missing &= missing - 1) {
		unsigned slot = (unsigned)__builtin_ctz(missing);
		const struct span *s = *write_span_at(op, slot, row);
		if (s)
			make_tuple(op, s->at_parity + (size_t)(row - s->row) * BLOCK_BYTES,
				op->tuples, slot, row);
	}
}

static void make_rebuilt_tuples(struct write_op *op, unsigned row)
{
	uint32_t rebuilt = write_missing_data(op);
	for (; rebuilt; rebuilt &= rebuilt - 1) {
		unsigned slot = (unsigned)__builtin_ctz(rebuilt);
		make_tuple(op, write_block_at(op, op->old[slot], row), op->old_tuples, slot, row);
	}
}

static bool row_fits(struct write_op *op, unsigned row)
{
	const struct parity_code code = write_code(op);
	uint32_t sources = parity_sources(&code, op->view.missing) >> code.data;
	uint16_t tag = 0;
	write_rebuild_missing(op, row);
	make_rebuilt_tuples(op, row);
	for (unsigned i = 0; i < op->eng->data_slots; i++)
		tag = row_tag_with(tag, i, guard_of(op, op->old_tuples, i, row));
	uint32_t kept = 0; /* slots of which the write keeps old bytes */
	for (unsigned i = 0; i < op->eng->data_slots; i++) {
		const struct span *s = *write_span_at(op, i, row);
		kept |= s && s->partial ? 1u << i : 0;
	}
	for (unsigned p = 0; p < code.parities; p++)
		if (sources >> p & 1 &&
			!row_tag_allows(tag_before(op, code.data + p, row), tag, kept))
			return false;
	return true;
}

bool write_rebuilt_fit(struct write_op *op)
{
	for (unsigned row = op->row_first; op->tuples && row < op->row_first + op->row_count; row++)
		if (op->plan.row[row] == PLAN_ROW_REBUILD && !row_fits(op, row))
			return false;
	return true;
}
