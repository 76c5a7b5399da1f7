/* SPDX-License-Identifier: MIT */
/* The write planner: the notation of plan.h, as algebra on sets of rows.
 *
 * A plan takes three steps, each a few lines of set algebra:
 *
 *	1. ways	   which rows go which way? full, rmw, rcw, rebuild and noparity divide the touched
 *		   rows among them. What is missing decides where it must, the cost elsewhere.
 *	2. reads   the ways say which rows of each slot are needed.
 *	3. writes  every written slot and the parities, unless they are missing.
 *
 * With W_i the rows written in slot i, H_i <= W_i those of them that are covered whole, and m the
 * missing data slots, of which there are none, one or two:
 *
 *	full	    = the intersection of all H_i
 *	rmw works   = all but full, without every W_m: what is missing stays folded in the parities
 *	rcw works   = all but full, within every H_m: nothing of the old blocks is missing
 *	rebuild	    = all but full where neither works
 *	read D_i    = (rmw and W_i) or (rcw without H_i) or rebuild or (noparity, W_i without H_i)
 *	read parity = rmw, or rebuild where it is one of the sources
 *
 * With nothing missing both ways work everywhere, and the cheaper one is taken; with a missing slot
 * no row is in both sets, since H_m <= W_m. So one piece of algebra serves the healthy stripe and
 * any loss, and one parity or two. I4 holds by itself: a partly covered block is in W_i and not in
 * H_i, so every way but full reads or rebuilds it, and full has none.
 *
 * Deliberately not done: on a healthy stripe one way serves all rows that are not full. A mixture
 * would pay only for scattered writes whose rows differ much; within a run of rows, which is what a
 * write of one extent is, it cuts the reads into more I/Os. And a degraded row is not rebuilt where
 * rmw works, although of raid6 that would save a block where every present data slot is written. */
#include "stripe/plan.h"

#include <errno.h>
#include <string.h>
#include "raid/parity.h"

/* The touched rows, divided. No row is in two of them. */
struct plan_ways {
	struct rows full, rmw, rcw, rebuild, noparity;
};

static bool slot_missing(const struct plan_input *in, unsigned slot)
{
	return in->missing_slots >> slot & 1;
}

static bool parities_missing(const struct plan_input *in)
{
	uint32_t parities = (UINT32_C(1) << geometry_parity_slots(in->geometry)) - 1;
	return (in->missing_slots >> geometry_data_slots(in->geometry)) == parities;
}

static struct rows rows_touched(const struct plan_input *in)
{
	struct rows touched = {0};
	for (unsigned i = 0; i < geometry_data_slots(in->geometry); i++)
		touched = rows_or(touched, in->write[i]);
	return touched;
}

/* H_i: the rows of @slot that are covered whole. */
static struct rows rows_whole(const struct plan_input *in, unsigned slot)
{
	return rows_without(in->write[slot], in->partial[slot]);
}

static struct rows rows_full(const struct plan_input *in)
{
	struct rows full = rows_whole(in, 0);
	for (unsigned i = 1; i < geometry_data_slots(in->geometry); i++)
		full = rows_and(full, rows_whole(in, i));
	return full;
}

/* Of each run of @needed rows: from the first that is not cached to the last (I6). */
static struct rows rows_to_load(const struct rows *needed, const struct rows *cached)
{
	const struct rows lacking = rows_without(*needed, *cached);
	struct rows load = lacking;
	unsigned at = 0, first, count;
	while (!rows_empty(&lacking) && rows_next_run(needed, &at, &first, &count)) {
		unsigned from = rows_find(&lacking, first, true), end = first + count;
		while (from < end && !rows_has(&lacking, end - 1))
			end--;
		if (from < end)
			rows_add_range(&load, from, end - from);
	}
	return load;
}

/* What is read and written: one slot, and what it adds to the cost. */
static void plan_add_read(
	struct plan *out, const struct plan_input *in, unsigned slot, struct rows rows)
{
	out->read[slot] = rows;
	out->old_blocks += rows_count(&rows);
	out->load[slot] = rows_to_load(&rows, &in->cached[slot]);
	out->read_ios += rows_runs(&out->load[slot]);
	out->read_blocks += rows_count(&out->load[slot]);
}

static void plan_add_write(struct plan *out, unsigned slot, struct rows rows)
{
	out->write[slot] = rows;
	out->write_ios += rows_runs(&rows);
	out->write_blocks += rows_count(&rows);
}

static void plan_set_row(struct plan *out, const struct rows *rows, enum plan_row row)
{
	unsigned at = 0, first, count;
	while (rows_next_run(rows, &at, &first, &count))
		memset(out->row + first, row, count);
}

static void plan_set_rows(struct plan *out, const struct plan_ways *ways)
{
	plan_set_row(out, &ways->full, PLAN_ROW_FULL);
	plan_set_row(out, &ways->rmw, PLAN_ROW_RMW);
	plan_set_row(out, &ways->rcw, PLAN_ROW_RCW);
	plan_set_row(out, &ways->rebuild, PLAN_ROW_REBUILD);
	plan_set_row(out, &ways->noparity, PLAN_ROW_NOPARITY);
}

/* The old data of @slot that its ways need. */
static struct rows data_needed(
	const struct plan_input *in, const struct plan_ways *ways, unsigned slot)
{
	struct rows needed = ways->rebuild;
	needed = rows_or(needed, rows_and(ways->rmw, in->write[slot]));
	needed = rows_or(needed, rows_without(ways->rcw, rows_whole(in, slot)));
	return rows_or(needed, rows_and(ways->noparity, in->partial[slot]));
}

/* Steps 2 and 3 for a level with parity. */
static struct plan plan_stripe(const struct plan_input *in, const struct plan_ways *ways)
{
	struct plan out = {0};
	const struct parity_code code = parity_code_of(in->geometry);
	uint32_t sources = parity_sources(&code, in->missing_slots);
	const struct rows none = {0};
	plan_set_rows(&out, ways);
	for (unsigned slot = 0; slot < geometry_slots(in->geometry); slot++) {
		if (slot_missing(in, slot))
			continue;
		if (slot < code.data) {
			plan_add_read(&out, in, slot, data_needed(in, ways, slot));
			plan_add_write(&out, slot, in->write[slot]);
		} else {
			bool source = sources >> slot & 1;
			plan_add_read(
				&out, in, slot, rows_or(ways->rmw, source ? ways->rebuild : none));
			plan_add_write(&out, slot, rows_touched(in));
		}
	}
	return out;
}

/* Fewer I/Os, then fewer blocks (I3). The writes are the same either way. */
static bool plan_is_cheaper(const struct plan *a, const struct plan *b)
{
	if (a->read_ios != b->read_ios)
		return a->read_ios < b->read_ios;
	return a->read_blocks < b->read_blocks;
}

/* Step 1, with rows where both ways work going the @prefer way. Of a row that has no parity left
 * nothing is computed, not even where it is full. */
static struct plan_ways divide_rows(const struct plan_input *in, enum plan_preference prefer)
{
	if (parities_missing(in))
		return (struct plan_ways){.noparity = rows_touched(in)};
	struct plan_ways ways = {.full = rows_full(in)};
	struct rows rest = rows_without(rows_touched(in), ways.full);
	ways.rmw = ways.rcw = rest;
	for (unsigned m = 0; m < geometry_data_slots(in->geometry); m++) {
		if (!slot_missing(in, m))
			continue;
		ways.rmw = rows_without(ways.rmw, in->write[m]);
		ways.rcw = rows_and(ways.rcw, rows_whole(in, m));
	}
	ways.rebuild = rows_without(rows_without(rest, ways.rmw), ways.rcw);
	if (prefer == PLAN_PREFER_RMW)
		ways.rcw = rows_without(ways.rcw, ways.rmw);
	else
		ways.rmw = rows_without(ways.rmw, ways.rcw);
	return ways;
}

static struct plan plan_preferring(const struct plan_input *in, enum plan_preference prefer)
{
	struct plan_ways ways = divide_rows(in, prefer);
	return plan_stripe(in, &ways);
}

/* At equal cost rcw, since it makes the parities anew, where rmw would carry a wrong one along. */
static struct plan plan_parity_level(const struct plan_input *in)
{
	if (in->preference != PLAN_FEWEST_IOS)
		return plan_preferring(in, in->preference);
	struct plan rmw = plan_preferring(in, PLAN_PREFER_RMW);
	struct plan rcw = plan_preferring(in, PLAN_PREFER_RCW);
	return plan_is_cheaper(&rmw, &rcw) ? rmw : rcw;
}

/* raid1 and single: every copy that is present is written, the first one serves the reads. */
static struct plan plan_copies(const struct plan_input *in)
{
	struct plan out = {0};
	plan_set_row(&out, &in->write[0], PLAN_ROW_NOPARITY);
	plan_add_read(&out, in, (unsigned)__builtin_ctz(~in->missing_slots), in->partial[0]);
	for (unsigned i = 0; i < geometry_slots(in->geometry); i++) {
		if (!slot_missing(in, i))
			plan_add_write(&out, i, in->write[0]);
	}
	return out;
}

/* Only data slots are written, within the chunk, and in part only where at all. */
static bool slot_valid(const struct plan_input *in, unsigned slot)
{
	struct rows outside = in->write[slot];
	if (slot < geometry_data_slots(in->geometry)) {
		struct rows chunk = {0};
		rows_add_range(&chunk, 0, in->geometry->chunk_blocks);
		outside = rows_without(outside, chunk);
	}
	struct rows stray = rows_without(in->partial[slot], in->write[slot]);
	return rows_empty(&outside) && rows_empty(&stray);
}

static int input_check(const struct plan_input *in)
{
	struct rows touched = rows_touched(in);
	if (rows_empty(&touched) || in->missing_slots >> geometry_slots(in->geometry))
		return -EINVAL;
	for (unsigned i = 0; i < RAID_MAX_SLOTS; i++) {
		if (!slot_valid(in, i))
			return -EINVAL;
	}
	unsigned missing = (unsigned)__builtin_popcount(in->missing_slots);
	return missing > geometry_redundancy(in->geometry) ? -EIO : 0;
}

int plan_write(const struct plan_input *in, struct plan *out)
{
	int ret = input_check(in);
	if (ret < 0)
		return ret;
	*out = geometry_has_parity(in->geometry) ? plan_parity_level(in) : plan_copies(in);
	return 0;
}

const char *plan_row_name(enum plan_row row)
{
	static const char *const names[] = {
		[PLAN_ROW_UNTOUCHED] = "untouched",
		[PLAN_ROW_FULL] = "full",
		[PLAN_ROW_RMW] = "rmw",
		[PLAN_ROW_RCW] = "rcw",
		[PLAN_ROW_REBUILD] = "rebuild",
		[PLAN_ROW_NOPARITY] = "noparity",
	};
	return (unsigned)row < sizeof(names) / sizeof(names[0]) ? names[row] : "unknown";
}
