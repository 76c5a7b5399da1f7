/* SPDX-License-Identifier: MIT */
/* An oracle for the write planner that knows none of its algebra: it carries plans out.
 *
 * A model is one stripe of real bytes, a block being CELL_BYTES of them. It gives the plan the old
 * blocks that it reads and no others, computes the parities as the mode of each row says, stores
 * what the plan writes and nothing else, and then looks whether the stripe holds what was written:
 * every data block that is there, and in every parity that is there the sum of all data, those of
 * missing members included. Costs are counted row by row.
 *
 * The checks return NULL, or what is wrong. */
#ifndef STABLEFS_TESTS_STRIPE_PLAN_MODEL_H
#define STABLEFS_TESTS_STRIPE_PLAN_MODEL_H

#include <string.h>
#include "../random.h"
#include "raid/parity.h"
#include "stripe/plan.h"

#define CELL_BYTES 8u
#define HALF_BYTES 4u /* a partly covered block is covered in its first half */

struct cell {
	uint8_t bytes[CELL_BYTES];
};

struct model {
	struct geometry g;
	struct cell old[RAID_MAX_SLOTS][ROWS_MAX];     /* parity or mirrors consistent */
	struct cell payload[RAID_MAX_SLOTS][ROWS_MAX]; /* what is written, where it is */
};

struct model_cost {
	unsigned ios, blocks;
};

/* One row on its way through a plan. */
struct model_row {
	const struct model *m;
	const struct plan_input *in;
	const struct plan *plan;
	unsigned row;
	bool used[RAID_MAX_SLOTS];         /* old blocks that the execution needed */
	struct cell known[RAID_MAX_SLOTS]; /* new contents of the written data slots */
	struct cell parity[PARITY_MAX];
	const char *wrong;
};

static inline unsigned model_data(const struct model *m)
{
	return geometry_data_slots(&m->g);
}

static inline unsigned model_parities(const struct model *m)
{
	return geometry_parity_slots(&m->g);
}

static inline uint64_t cell_load(struct cell c)
{
	uint64_t word;
	memcpy(&word, c.bytes, sizeof(word));
	return word;
}

static inline struct cell cell_xor(struct cell a, struct cell b)
{
	uint64_t sum = cell_load(a) ^ cell_load(b);
	memcpy(a.bytes, &sum, sizeof(sum));
	return a;
}

/* Every byte times 2: where a bit 7 goes out, 0x1d comes in. */
static inline struct cell cell_double(struct cell a)
{
	uint64_t word = cell_load(a), out = word & UINT64_C(0x8080808080808080);
	word = ((word ^ out) << 1) ^ (out >> 7) * 0x1d;
	memcpy(a.bytes, &word, sizeof(word));
	return a;
}

/* Parity @p of @count data cells, by Horner's scheme. */
static inline struct cell cells_parity(const struct cell *data, unsigned count, unsigned p)
{
	struct cell sum = {{0}};
	while (count-- > 0)
		sum = cell_xor(p ? cell_double(sum) : sum, data[count]);
	return sum;
}

static inline bool cells_equal(struct cell a, struct cell b)
{
	return memcmp(a.bytes, b.bytes, CELL_BYTES) == 0;
}

static inline struct cell cell_merge(struct cell payload, struct cell old, bool partial)
{
	if (partial)
		memcpy(payload.bytes + HALF_BYTES, old.bytes + HALF_BYTES, CELL_BYTES - HALF_BYTES);
	return payload;
}

static inline void model_init(struct model *m, struct geometry g, struct random *r)
{
	*m = (struct model){.g = g};
	random_fill(r, m->old, sizeof(m->old));
	random_fill(r, m->payload, sizeof(m->payload));
	for (unsigned row = 0; row < g.chunk_blocks; row++) {
		struct cell data[RAID_MAX_SLOTS];
		for (unsigned i = 0; i < g.members; i++)
			data[i] = m->old[i][row];
		for (unsigned i = 1; !geometry_has_parity(&g) && i < g.members; i++)
			m->old[i][row] = m->old[0][row];
		for (unsigned p = 0; p < model_parities(m); p++)
			m->old[model_data(m) + p][row] = cells_parity(data, model_data(m), p);
	}
}

static inline bool model_missing(const struct plan_input *in, unsigned slot)
{
	return in->missing_slots & 1u << slot;
}

/* An old block, if the plan reads it. */
static inline const struct cell *row_take(struct model_row *r, unsigned slot)
{
	if (!rows_has(&r->plan->read[slot], r->row))
		r->wrong = "I1: a block is needed that is not read";
	r->used[slot] = true;
	return &r->m->old[slot][r->row];
}

static inline bool row_writes(const struct model_row *r, unsigned slot)
{
	return rows_has(&r->in->write[slot], r->row);
}

/* The new contents of the written slots. The old half of a block is @rebuilt for a missing slot,
 * else it must have been read. */
static inline void row_merge(struct model_row *r, const struct cell *rebuilt)
{
	for (unsigned i = 0; i < model_data(r->m); i++) {
		if (!row_writes(r, i))
			continue;
		struct cell old = {{0}};
		bool partial = rows_has(&r->in->partial[i], r->row);
		if (partial)
			old = rebuilt && model_missing(r->in, i) ? rebuilt[i] : *row_take(r, i);
		r->known[i] = cell_merge(r->m->payload[i][r->row], old, partial);
	}
}

static inline void row_run_rmw(struct model_row *r)
{
	unsigned data = model_data(r->m);
	struct cell delta[RAID_MAX_SLOTS] = {0};
	row_merge(r, NULL);
	for (unsigned i = 0; i < data; i++)
		if (row_writes(r, i))
			delta[i] = cell_xor(*row_take(r, i), r->known[i]);
	for (unsigned p = 0; p < model_parities(r->m); p++)
		if (!model_missing(r->in, data + p))
			r->parity[p] =
				cell_xor(*row_take(r, data + p), cells_parity(delta, data, p));
}

static inline void row_run_rcw(struct model_row *r, const struct cell *rebuilt)
{
	struct cell all[RAID_MAX_SLOTS];
	row_merge(r, rebuilt);
	for (unsigned i = 0; i < model_data(r->m); i++) {
		if (row_writes(r, i))
			all[i] = r->known[i];
		else if (rebuilt && model_missing(r->in, i))
			all[i] = rebuilt[i];
		else
			all[i] = *row_take(r, i);
	}
	for (unsigned p = 0; p < model_parities(r->m); p++)
		r->parity[p] = cells_parity(all, model_data(r->m), p);
}

#define CODE_BYTES 64u /* of a block for parity_rebuild(): a cell, and zeros */

/* All data that are there, and as many parities, the first ones, as data are missing. */
static inline void row_run_rebuild(struct model_row *r)
{
	_Alignas(64) uint8_t bytes[RAID_MAX_SLOTS][CODE_BYTES] = {0};
	struct parity_code code = parity_code_of(&r->m->g);
	struct cell rebuilt[RAID_MAX_SLOTS];
	void *blocks[RAID_MAX_SLOTS] = {NULL};
	unsigned lost = 0, parities = 0;
	for (unsigned i = 0; i < r->m->g.members; i++) {
		bool missing = model_missing(r->in, i);
		lost += missing && i < code.data;
		if (!missing && (i < code.data || parities++ < lost))
			memcpy(bytes[i], row_take(r, i)->bytes, CELL_BYTES);
		blocks[i] = bytes[i];
	}
	uint32_t wanted = r->in->missing_slots & ((1u << code.data) - 1);
	if (parity_rebuild(&code, blocks, r->in->missing_slots, wanted, CODE_BYTES) < 0)
		r->wrong = "too many slots are missing";
	for (unsigned i = 0; i < code.data; i++)
		memcpy(rebuilt[i].bytes, bytes[i], CELL_BYTES);
	row_run_rcw(r, rebuilt);
}

/* As row_run_rcw(), with nothing to take. */
static inline void row_run_full(struct model_row *r)
{
	for (unsigned i = 0; i < geometry_data_slots(&r->m->g); i++) {
		if (!row_writes(r, i) || rows_has(&r->in->partial[i], r->row))
			r->wrong = "a full row is not full";
	}
	row_run_rcw(r, NULL);
}

/* Of mirrors the first copy present is read. */
static inline void row_run_noparity(struct model_row *r)
{
	if (geometry_has_parity(&r->m->g)) {
		row_merge(r, NULL);
		return;
	}
	unsigned first = 0;
	while (model_missing(r->in, first))
		first++;
	bool partial = rows_has(&r->in->partial[0], r->row);
	struct cell old = {{0}};
	if (partial)
		old = *row_take(r, first);
	r->known[0] = cell_merge(r->m->payload[0][r->row], old, partial);
}

static inline void row_run(struct model_row *r)
{
	switch ((enum plan_row)r->plan->row[r->row]) {
	case PLAN_ROW_UNTOUCHED:
		return;
	case PLAN_ROW_FULL:
		row_run_full(r);
		return;
	case PLAN_ROW_RMW:
		row_run_rmw(r);
		return;
	case PLAN_ROW_RCW:
		row_run_rcw(r, NULL);
		return;
	case PLAN_ROW_REBUILD:
		row_run_rebuild(r);
		return;
	case PLAN_ROW_NOPARITY:
		row_run_noparity(r);
		return;
	}
	r->wrong = "a row has no mode";
}

/* What @slot holds once the plan has written. */
static inline struct cell row_stored(const struct model_row *r, unsigned slot)
{
	if (!rows_has(&r->plan->write[slot], r->row))
		return r->m->old[slot][r->row];
	if (!geometry_has_parity(&r->m->g))
		return r->known[0];
	return slot < model_data(r->m) ? r->known[slot] : r->parity[slot - model_data(r->m)];
}

/* What the user has a right to find in @slot. */
static inline struct cell row_wanted(const struct model_row *r, unsigned slot)
{
	if (!row_writes(r, slot))
		return r->m->old[slot][r->row];
	return cell_merge(r->m->payload[slot][r->row], r->m->old[slot][r->row],
		rows_has(&r->in->partial[slot], r->row));
}

static inline const char *row_check_parity_level(const struct model_row *r)
{
	unsigned data = model_data(r->m);
	struct cell wanted[RAID_MAX_SLOTS];
	for (unsigned i = 0; i < data; i++) {
		wanted[i] = row_wanted(r, i);
		if (!model_missing(r->in, i) && !cells_equal(row_stored(r, i), wanted[i]))
			return "a data block is wrong";
	}
	for (unsigned p = 0; p < model_parities(r->m); p++)
		if (!model_missing(r->in, data + p) &&
			!cells_equal(row_stored(r, data + p), cells_parity(wanted, data, p)))
			return "a parity is not that of the data";
	return NULL;
}

static inline const char *row_check_copies(const struct model_row *r)
{
	for (unsigned i = 0; i < r->m->g.members; i++) {
		if (!model_missing(r->in, i) && !cells_equal(row_stored(r, i), row_wanted(r, 0)))
			return "a copy is wrong";
	}
	return NULL;
}

static inline const char *row_check(struct model_row *r)
{
	row_run(r);
	if (r->wrong)
		return r->wrong;
	for (unsigned i = 0; i < r->m->g.members; i++) {
		if (rows_has(&r->plan->read[i], r->row) != r->used[i])
			return "a block is read in vain";
	}
	return geometry_has_parity(&r->m->g) ? row_check_parity_level(r) : row_check_copies(r);
}

/* Carry @plan out, every row of it. */
static inline const char *model_check_execution(
	const struct model *m, const struct plan_input *in, const struct plan *plan)
{
	for (unsigned row = 0; row < m->g.chunk_blocks; row++) {
		struct model_row r = {.m = m, .in = in, .plan = plan, .row = row};
		const char *wrong = row_check(&r);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static inline bool model_touched(const struct plan_input *in, unsigned row)
{
	for (unsigned i = 0; i < geometry_data_slots(in->geometry); i++) {
		if (rows_has(&in->write[i], row))
			return true;
	}
	return false;
}

static inline bool rows_behind(const struct rows *rows, unsigned chunk_blocks)
{
	return chunk_blocks < ROWS_MAX && rows_find(rows, chunk_blocks, true) < ROWS_MAX;
}

/* I2 and I5 for one slot. */
static inline const char *model_check_slot(
	const struct plan_input *in, const struct plan *plan, unsigned slot)
{
	const struct geometry *g = in->geometry;
	bool present = slot < g->members && !model_missing(in, slot);
	bool redundant = !geometry_has_parity(g) || slot >= geometry_data_slots(g);
	if (rows_behind(&plan->read[slot], present ? g->chunk_blocks : 0) ||
		rows_behind(&plan->write[slot], present ? g->chunk_blocks : 0))
		return "I2: a missing slot is read or written, or rows behind the chunk";
	for (unsigned row = 0; present && row < g->chunk_blocks; row++) {
		bool touched = model_touched(in, row);
		bool written = redundant ? touched : rows_has(&in->write[slot], row);
		if (rows_has(&plan->write[slot], row) != written)
			return "I5: not exactly what is written and the parities are written";
		if (rows_has(&plan->read[slot], row) && !touched)
			return "a row is read that is not touched";
	}
	return NULL;
}

static inline const char *model_check_bounds(const struct plan_input *in, const struct plan *plan)
{
	for (unsigned i = 0; i < RAID_MAX_SLOTS; i++) {
		const char *wrong = model_check_slot(in, plan, i);
		if (wrong)
			return wrong;
	}
	for (unsigned row = 0; row < ROWS_MAX; row++) {
		bool touched = row < in->geometry->chunk_blocks && model_touched(in, row);
		if ((plan->row[row] == PLAN_ROW_UNTOUCHED) == touched)
			return "a mode on the wrong row";
	}
	return NULL;
}

static inline struct model_cost model_count(const struct rows *sets, const struct geometry *g)
{
	struct model_cost cost = {0};
	for (unsigned i = 0; i < g->members; i++) {
		for (unsigned row = 0; row < g->chunk_blocks; row++) {
			bool in = rows_has(&sets[i], row);
			cost.blocks += in;
			cost.ios += in && (row == 0 || !rows_has(&sets[i], row - 1));
		}
	}
	return cost;
}

static inline const char *model_check_counts(const struct geometry *g, const struct plan *plan)
{
	struct model_cost read = model_count(plan->load, g);
	struct model_cost write = model_count(plan->write, g);
	bool right = plan->read_ios == read.ios && plan->read_blocks == read.blocks &&
		     plan->write_ios == write.ios && plan->write_blocks == write.blocks;
	return right ? NULL : "the counts are wrong";
}

/* I6, row by row: each row that is read and not cached is loaded; of the others only those that
 * have such rows on both sides within their run. */
static inline const char *model_check_load(
	const struct plan_input *in, const struct plan *plan, unsigned slot)
{
	const struct rows *read = &plan->read[slot], *cached = &in->cached[slot];
	for (unsigned row = 0; row < in->geometry->chunk_blocks; row++) {
		bool below = false, above = false;
		for (unsigned i = row; i < ROWS_MAX && rows_has(read, i); i++)
			above |= !rows_has(cached, i);
		for (unsigned i = row + 1; i > 0 && rows_has(read, i - 1); i--)
			below |= !rows_has(cached, i - 1);
		if (rows_has(&plan->load[slot], row) != (below && above))
			return "I6: not exactly what is not cached is loaded";
	}
	return NULL;
}

/* Whether a stripe without missing data that goes @way reads @slot in @row. */
static inline bool model_way_reads(
	const struct plan_input *in, enum plan_row way, unsigned slot, unsigned row)
{
	unsigned data = geometry_data_slots(in->geometry);
	bool touched = false, full = true;
	for (unsigned i = 0; i < data; i++) {
		touched |= rows_has(&in->write[i], row);
		full &= rows_has(&in->write[i], row) && !rows_has(&in->partial[i], row);
	}
	if (!touched || full || model_missing(in, slot))
		return false;
	if (way == PLAN_ROW_RMW)
		return slot >= data || rows_has(&in->write[slot], row);
	bool whole = rows_has(&in->write[slot], row) && !rows_has(&in->partial[slot], row);
	return slot < data && !whole;
}

static inline struct model_cost model_way_cost(const struct plan_input *in, enum plan_row way)
{
	struct model_cost cost = {0};
	for (unsigned i = 0; i < in->geometry->members; i++) {
		/* Of a run: is a block lacking; rows since the last of these. */
		bool lacking = false;
		unsigned behind = 0;
		for (unsigned row = 0; row < in->geometry->chunk_blocks; row++) {
			if (!model_way_reads(in, way, i, row)) {
				lacking = false;
				continue;
			}
			behind++;
			if (rows_has(&in->cached[i], row))
				continue;
			cost.ios += !lacking;
			cost.blocks += lacking ? behind : 1;
			lacking = true;
			behind = 0;
		}
	}
	return cost;
}

static inline bool model_cheaper(struct model_cost a, struct model_cost b)
{
	return a.ios != b.ios ? a.ios < b.ios : a.blocks < b.blocks;
}

/* The way of a row that leaves no choice; PLAN_ROW_UNTOUCHED where rmw and rcw both work. */
static inline enum plan_row model_forced(const struct plan_input *in, unsigned row)
{
	const struct geometry *g = in->geometry;
	unsigned data = geometry_data_slots(g), whole = 0, lost = 0, lost_written = 0;
	unsigned lost_whole = 0;
	for (unsigned i = 0; i < data; i++) {
		bool covered = rows_has(&in->write[i], row) && !rows_has(&in->partial[i], row);
		whole += covered;
		lost += model_missing(in, i);
		lost_written += model_missing(in, i) && rows_has(&in->write[i], row);
		lost_whole += model_missing(in, i) && covered;
	}
	if (!geometry_has_parity(g) || in->missing_slots >> data == (1u << (g->members - data)) - 1)
		return PLAN_ROW_NOPARITY;
	if (whole == data)
		return PLAN_ROW_FULL;
	if (!lost)
		return PLAN_ROW_UNTOUCHED;
	if (!lost_written)
		return PLAN_ROW_RMW;
	return lost_whole == lost ? PLAN_ROW_RCW : PLAN_ROW_REBUILD;
}

static inline enum plan_row model_preferred(const struct plan_input *in)
{
	if (in->preference == PLAN_PREFER_RMW)
		return PLAN_ROW_RMW;
	struct model_cost rmw = model_way_cost(in, PLAN_ROW_RMW);
	struct model_cost rcw = model_way_cost(in, PLAN_ROW_RCW);
	bool takes_rmw = in->preference == PLAN_FEWEST_IOS && model_cheaper(rmw, rcw);
	return takes_rmw ? PLAN_ROW_RMW : PLAN_ROW_RCW;
}

/* I3, that a preference is obeyed, and that what is missing decides. */
static inline const char *model_check_choice(const struct plan_input *in, const struct plan *plan)
{
	enum plan_row preferred = model_preferred(in);
	bool chosen = false;
	for (unsigned row = 0; row < in->geometry->chunk_blocks; row++) {
		enum plan_row want = model_forced(in, row);
		if (!model_touched(in, row))
			continue;
		chosen |= want == PLAN_ROW_UNTOUCHED;
		if (plan->row[row] != (want == PLAN_ROW_UNTOUCHED ? preferred : want))
			return "I3: a row goes another way";
	}
	struct model_cost cost = model_way_cost(in, preferred);
	if (chosen && (plan->read_ios != cost.ios || plan->read_blocks != cost.blocks))
		return "I3: the other way is cheaper, or was asked for";
	return NULL;
}

/* All of the above. */
static inline const char *model_check(
	const struct model *m, const struct plan_input *in, const struct plan *plan)
{
	const char *wrong = model_check_bounds(in, plan);
	if (!wrong)
		wrong = model_check_counts(&m->g, plan);
	for (unsigned i = 0; !wrong && i < m->g.members; i++)
		wrong = model_check_load(in, plan, i);
	if (!wrong)
		wrong = model_check_choice(in, plan);
	return wrong ? wrong : model_check_execution(m, in, plan);
}

#endif
