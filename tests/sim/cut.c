/* SPDX-License-Identifier: MIT */
/* What is looked at behind a power cut:
 *	1. perhaps the power goes once more while the volume recovers;
 *	2. blocks are read while others are still in doubt, then the rest is brought into agreement;
 *	3. every block is judged by the history;
 *	4. scrub finds nothing;
 *	5. it goes on working: writes are read back;
 *	6. started once more, it holds the same; and the same again without another member. */
#include "cut.h"

#include <string.h>
#include "base/mem.h"
#include "io/sim_snapshot.h"

/* One cut being looked at. Buffers are kept from one to the next. */
struct look {
	const struct cut *cut;
	const struct history *history;
	struct rig *rig;
	struct random random;
	uint8_t *found; /* owned; what the volume held when it was first read in full */
	uint8_t *again; /* owned */
	uint8_t *lost;  /* owned; by block: it may not be readable, and was not */
	struct cut_found out;
};

static uint64_t seed_of(const struct cut *cut)
{
	struct random r = {cut->life->config.rig.seed};
	r.state = random_u64(&r) ^ cut->number;
	r.state = random_u64(&r) ^ cut->fate;
	return random_u64(&r);
}

static unsigned members_of(const struct cut *cut)
{
	return cut->life->config.rig.members;
}

static unsigned spare_redundancy(const struct cut *cut, uint32_t missing)
{
	unsigned can = geometry_redundancy(&cut->life->rig->geometry);
	unsigned gone = (unsigned)__builtin_popcount(missing);
	return can > gone ? can - gone : 0;
}

void cut_choose(struct cut *cut)
{
	struct random r = {seed_of(cut) ^ 1};
	uint32_t missing = cut->life->rig->missing;
	unsigned losses = spare_redundancy(cut, missing);
	if (random_below(&r, 3) == 0)
		losses = 0;
	cut->lost = 0;
	while (losses) {
		uint32_t bit = 1u << random_below(&r, members_of(cut));
		if ((missing | cut->lost) & bit)
			continue;
		cut->lost |= bit;
		losses--;
	}
	cut->second = random_below(&r, 4) == 0 ? 1 + random_below(&r, 12) : 0;
}

/* ---- requests with memory that stays ---- */

struct simple_req {
	struct stripe_req req;
	bool ended;
	int err;
};

static void simple_done(struct stripe_req *req, int err)
{
	struct simple_req *s = container_of(req, struct simple_req, req);
	s->ended = true;
	s->err = err;
}

static int read_into(struct rig *rig, uint64_t offset_bytes, uint8_t *data, uint32_t len_bytes)
{
	struct simple_req s = {.req = {.kind = STRIPE_READ,
				       .offset_bytes = offset_bytes,
				       .len_bytes = len_bytes,
				       .data = data,
				       .done = simple_done}};
	stripe_submit(rig->eng, &s.req);
	while (!s.ended)
		assert_true(stripe_engine_run(rig->eng, true) >= 0);
	return s.err;
}

/* Read everything; blocks that cannot be read are noted in @lost. */
static void read_all(struct look *k, uint8_t *to)
{
	uint32_t len = (uint32_t)k->rig->volume_bytes;
	memset(k->lost, 0, k->history->blocks);
	if (read_into(k->rig, 0, to, len) == 0)
		return;
	for (uint64_t b = 0; b < k->history->blocks; b++)
		k->lost[b] =
			read_into(k->rig, b * BLOCK_BYTES, to + b * BLOCK_BYTES, BLOCK_BYTES) != 0;
}

/* ---- verdicts ---- */

static void problem_at(struct look *k, const char *what, uint64_t block)
{
	if (k->cut->verbose)
		printf("# block %llu: %s\n", (unsigned long long)block, what);
	if (k->out.problem)
		return;
	k->out.problem = what;
	k->out.block = block;
}

/* The block was to be rebuilt from what a cut had left of its row. */
static bool was_on_missing(const struct look *k, uint64_t block)
{
	const struct geometry *g = &k->history->geometry;
	struct geometry_place p = geometry_locate(g, block);
	return geometry_has_parity(g) &&
	       k->rig->missing >> geometry_member(g, p.stripe, p.slot) & 1;
}

/* What docs/reliability.md says can be lost when the power and a member go together: without the
 * log every block of the member whose row was being written; with it those that were being written
 * themselves, where other blocks of the row were as well. */
static bool may_be_wrong(const struct look *k, uint64_t block, enum history_verdict verdict)
{
	unsigned slots = history_row_slots(k->history, block);
	if (!was_on_missing(k, block))
		return false;
	if (!k->cut->life->config.journal)
		return slots > 0;
	return verdict == HISTORY_IN_FLIGHT && slots > 1;
}

static void judge(struct look *k, uint64_t block)
{
	enum history_verdict v;
	if (k->lost[block])
		v = k->history->touched[block] ? HISTORY_IN_FLIGHT : HISTORY_AT_REST;
	else
		v = history_judge(k->history, block, k->found + block * BLOCK_BYTES);
	k->out.bytes += BLOCK_BYTES;
	if (v == HISTORY_RIGHT)
		return;
	if (may_be_wrong(k, block, v))
		k->out.unprotected++;
	else if (k->lost[block])
		problem_at(k, "cannot be read", block);
	else
		problem_at(k,
			v == HISTORY_AT_REST ? "was at rest and changed"
					     : "holds what nobody wrote",
			block);
}

static void same_again(struct look *k, const char *problem)
{
	uint8_t *lost = k->lost;
	k->lost = mem_alloc_blocks(k->history->blocks);
	assert_non_null(k->lost);
	read_all(k, k->again);
	for (uint64_t b = 0; b < k->history->blocks; b++) {
		uint64_t at = b * BLOCK_BYTES;
		k->out.bytes += BLOCK_BYTES;
		if (!lost[b] && (k->lost[b] || memcmp(k->found + at, k->again + at, BLOCK_BYTES)))
			problem_at(k, problem, b);
	}
	free(k->lost);
	k->lost = lost;
}

/* ---- the steps ---- */

/* Each stripe in doubt, one after the other, as a volume's background work does. */
static void settle_doubt(struct look *k)
{
	struct rig *rig = k->rig;
	uint64_t stripes = rig->config.stripes;
	if (k->cut->how == CUT_NO_RESYNC)
		return;
	uint64_t region_stripes =
		member_super(rig->members[0])->region_blocks / rig->config.chunk_blocks;
	for (uint64_t stripe = 0; stripe < stripes; stripe++) {
		struct stripe_check check;
		uint64_t region = stripe / region_stripes;
		if (!intent_is_marked(rig->intent, region))
			continue;
		int err = rig_check(rig, STRIPE_RESYNC, stripe, &check);
		if (sim_world_power_is_cut(rig->world))
			return;
		if (err)
			problem_at(k, "a stripe could not be brought into agreement", stripe);
		if ((stripe + 1) % region_stripes == 0 || stripe + 1 == stripes)
			intent_region_synced(rig->intent, region);
	}
}

static void cut_again(struct look *k)
{
	rig_power_cut_after(k->rig, k->cut->second - 1);
	settle_doubt(k);
	k->out.cut_twice = sim_world_power_is_cut(k->rig->world);
	rig_settle(k->rig);
	k->rig->no_resync = true;
	rig_reboot(k->rig);
}

/* Some blocks while the rest is still in doubt. */
static void read_early(struct look *k)
{
	for (unsigned i = random_below(&k->random, 4); i; i--) {
		uint64_t block = random_u64(&k->random) % k->history->blocks;
		uint8_t *to = k->found + block * BLOCK_BYTES;
		k->lost[block] = read_into(k->rig, block * BLOCK_BYTES, to, BLOCK_BYTES) != 0;
		judge(k, block);
	}
}

static void write_on(struct look *k)
{
	for (unsigned i = 2; i; i--) {
		uint64_t block = random_u64(&k->random) % k->history->blocks;
		uint8_t *data = k->found + block * BLOCK_BYTES;
		if (k->lost[block])
			continue;
		rig_fill_block(data, block, 77 + i);
		if (rig_write(k->rig, block * BLOCK_BYTES, data, BLOCK_BYTES))
			problem_at(k, "cannot be written any more", block);
	}
}

static void lose_another(struct look *k)
{
	unsigned index = random_below(&k->random, members_of(k->cut));
	if (k->rig->missing >> index & 1 || !spare_redundancy(k->cut, k->rig->missing))
		return;
	rig_remove_member(k->rig, index);
	same_again(k, "is another without one more member");
}

static void look_closely(struct look *k)
{
	if (k->cut->second)
		cut_again(k);
	read_early(k);
	settle_doubt(k);
	read_all(k, k->found);
	for (uint64_t b = 0; b < k->history->blocks; b++)
		judge(k, b);
	if (!rig_is_clean(k->rig))
		problem_at(k, "scrub finds damage", 0);
	write_on(k);
	if (rig_flush(k->rig))
		problem_at(k, "flush fails", 0);
	if (random_below(&k->random, 2)) {
		rig_reopen(k->rig);
		same_again(k, "is another when started again");
	}
	lose_another(k);
}

struct cut_found cut_look(const struct cut *cut)
{
	struct sim_world *world = sim_world_snapshot(cut->life->rig->world, seed_of(cut));
	struct look k = {.cut = cut,
		.history = &cut->life->history,
		.random = {seed_of(cut) ^ 2},
		.found = mem_alloc_blocks(cut->life->rig->volume_bytes),
		.again = mem_alloc_blocks(cut->life->rig->volume_bytes),
		.lost = calloc(1, cut->life->history.blocks)};
	assert_true(world && k.found && k.again && k.lost);
	k.rig = rig_adopt(&cut->life->config.rig, world, cut->life->rig->missing | cut->lost);
	look_closely(&k);
	rig_free(k.rig);
	free(k.found);
	free(k.again);
	free(k.lost);
	return k.out;
}
