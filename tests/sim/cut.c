/* SPDX-License-Identifier: MIT */
/* What is looked at behind a power cut:
 *	1. perhaps the power goes once more while the volume recovers;
 *	2. blocks are read while others are still in doubt, then the rest is brought into agreement;
 *	3. every block is judged by the history;
 *	4. a member that was being rebuilt is rebuilt; one that was out may come back, and is;
 *	5. scrub finds nothing;
 *	6. it goes on working: writes are read back;
 *	7. started once more, it holds the same; and the same again without another member. */
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
	uint8_t *found;  /* owned; what the volume held when it was first read in full */
	uint8_t *again;  /* owned */
	uint8_t *lost;   /* owned; by block: it may not be readable, and was not */
	uint8_t *spoilt; /* owned; by block: scrub found damage in its row, as documented */
	uint32_t absent; /* members that were not, or not wholly, there after the cut */
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
	const struct rig *rig = cut->life->rig;
	uint32_t half = rig->failing | rig->rebuilding, missing = rig->missing | half;
	unsigned losses = spare_redundancy(cut, missing);
	if (random_below(&r, 3) == 0)
		losses = 0;
	cut->lost = random_below(&r, 3) == 0 ? half : 0;
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
		assert_true(rig_run(rig, true) >= 0);
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
	return geometry_has_parity(g) && k->absent >> geometry_member(g, p.stripe, p.slot) & 1;
}

/* Was the row written so that nothing protects a missing member's block of it? Without the log any
 * write does that, with it one of the whole row. */
static bool row_is_unprotected(const struct look *k, uint64_t block)
{
	unsigned slots = history_row_slots(k->history, block);
	return slots >=
	       (k->cut->life->config.journal ? geometry_data_slots(&k->history->geometry) : 1);
}

/* What docs/reliability.md says can be lost when the power and a member go together: of a row that
 * was being written the missing member's block; with the log only one that was being written
 * itself, with the whole of its row. */
static bool may_be_wrong(const struct look *k, uint64_t block, enum history_verdict verdict)
{
	return was_on_missing(k, block) && row_is_unprotected(k, block) &&
	       (verdict == HISTORY_IN_FLIGHT || !k->cut->life->config.journal);
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
	if (may_be_wrong(k, block, v)) {
		k->out.unprotected++;
		k->out.silent += !k->lost[block] && k->cut->life->config.rig.pi != PI_NONE;
	} else if (k->lost[block])
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
		if (!lost[b] && !k->spoilt[b] &&
			(k->lost[b] || memcmp(k->found + at, k->again + at, BLOCK_BYTES)))
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
	for (uint64_t stripe = stripe_engine_next_open(rig->eng, -1, 0);
		stripe < rig->config.stripes;
		stripe = stripe_engine_next_open(rig->eng, -1, stripe + 1)) {
		struct stripe_check check;
		int err = rig_check(rig, STRIPE_RESYNC, stripe, &check);
		if (sim_world_power_is_cut(rig->world))
			return;
		if (err)
			problem_at(k, "is where a stripe could not be brought into agreement",
				geometry_volume_block(&rig->geometry, stripe, 0, 0));
	}
}

static void cut_again(struct look *k)
{
	rig_power_cut_after(k->rig, k->cut->second - 1);
	settle_doubt(k);
	k->out.cut_twice = sim_world_power_is_cut(k->rig->world);
	rig_settle(k->rig);
	k->rig->on_demand = true;
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
		if (k->lost[block] || k->spoilt[block])
			continue;
		rig_fill_block(data, block, 77 + i);
		if (rig_write(k->rig, block * BLOCK_BYTES, data, BLOCK_BYTES))
			problem_at(k, "cannot be written any more", block);
	}
}

static void lose_another(struct look *k)
{
	unsigned index = random_below(&k->random, members_of(k->cut));
	uint32_t absent = k->rig->missing | k->rig->rebuilding;
	if (absent >> index & 1 || !spare_redundancy(k->cut, absent))
		return;
	rig_remove_member(k->rig, index);
	same_again(k, "is another without one more member");
}

/* Damage is as documented where a member was away while the row was in doubt. */
static void row_damaged(struct look *k, uint64_t stripe, unsigned row)
{
	const struct geometry *g = &k->history->geometry;
	uint64_t first = geometry_volume_block(g, stripe, 0, row);
	if (!geometry_has_parity(g) || !k->absent || !row_is_unprotected(k, first)) {
		problem_at(k, "is in a row where scrub finds damage", first);
		return;
	}
	for (unsigned slot = 0; slot < geometry_data_slots(g); slot++)
		k->spoilt[geometry_volume_block(g, stripe, slot, row)] = 1;
	k->out.unprotected++;
}

static bool row_is_clean(const struct stripe_check *c, unsigned slots, unsigned row)
{
	bool bad = rows_has(&c->mirror_bad, row) || rows_has(&c->parity_bad, row);
	for (unsigned slot = 0; slot < slots; slot++)
		bad |= rows_has(&c->guard_bad[slot], row) || rows_has(&c->unreadable[slot], row);
	return !bad;
}

static void scrub(struct look *k)
{
	const struct geometry *g = &k->history->geometry;
	for (uint64_t stripe = 0; stripe < g->stripes; stripe++) {
		struct stripe_check check;
		if (rig_check(k->rig, STRIPE_CHECK, stripe, &check))
			problem_at(k, "is in a stripe that cannot be scrubbed",
				geometry_volume_block(g, stripe, 0, 0));
		for (unsigned row = 0; row < g->chunk_blocks; row++) {
			if (!row_is_clean(&check, geometry_slots(g), row))
				row_damaged(k, stripe, row);
		}
	}
}

static void rebuild(struct look *k, unsigned index)
{
	if (rig_rebuild(k->rig, index) && !k->out.unprotected)
		problem_at(k, "is before a stripe that cannot be rebuilt", 0);
}

/* What was under rebuild is rebuilt; what was out and is still there may come back. */
static void make_whole(struct look *k)
{
	uint32_t out = k->rig->missing & ~k->out.lost;
	bool returns = random_below(&k->random, 2);
	for (unsigned i = 0; i < members_of(k->cut); i++) {
		if (returns && out >> i & 1)
			rig_return_member(k->rig, i);
		if (k->rig->rebuilding >> i & 1)
			rebuild(k, i);
	}
}

static void look_closely(struct look *k)
{
	if (k->cut->second)
		cut_again(k);
	k->absent = k->rig->missing | k->rig->rebuilding;
	read_early(k);
	settle_doubt(k);
	read_all(k, k->found);
	for (uint64_t b = 0; b < k->history->blocks; b++)
		judge(k, b);
	make_whole(k);
	scrub(k);
	write_on(k);
	if (rig_flush(k->rig))
		problem_at(k, "is before a flush that fails", 0);
	if (random_below(&k->random, 2)) {
		rig_reopen(k->rig);
		same_again(k, "is another when started again");
	}
	lose_another(k);
}

/* Members of which some superblock says that they are not up to date. */
static uint32_t half_there(const struct cut *cut, struct sim_world *world)
{
	uint32_t half = 0;
	for (unsigned i = 0; i < members_of(cut); i++) {
		uint64_t b = super_b_offset(member_super(cut->life->rig->members[i])->member_bytes);
		for (unsigned copy = 0; copy < 2; copy++) {
			uint8_t bytes[SUPER_BYTES];
			struct super super;
			sim_disk_peek(
				world, rig_disk(i), copy ? b : SUPER_A_OFFSET, bytes, SUPER_BYTES);
			if (super_decode(bytes, UINT64_MAX, &super, NULL) < 0)
				continue;
			for (unsigned k = 0; k < members_of(cut); k++)
				half |= (super.states[k] != SUPER_MEMBER_ACTIVE) << k;
		}
	}
	return half;
}

/* Whoever is not wholly there may go; of the others as many as the level bears without them. */
static uint32_t losses_borne(const struct cut *cut, struct sim_world *world)
{
	const struct rig *rig = cut->life->rig;
	uint32_t half = half_there(cut, world) | rig->missing | rig->failing | rig->rebuilding;
	uint32_t lost = cut->lost & half, others = cut->lost & ~half;
	for (unsigned n = spare_redundancy(cut, half); n && others; n--) {
		lost |= others & -others;
		others &= others - 1;
	}
	return lost;
}

/* A member that is lost takes its superblock along: what it says must not count. */
static void forget_super(const struct cut *cut, struct sim_world *world, unsigned index)
{
	uint64_t b = super_b_offset(member_super(cut->life->rig->members[index])->member_bytes);
	const uint8_t *super = cut->life->supers[index];
	assert_int_equal(
		sim_disk_poke(world, rig_disk(index), SUPER_A_OFFSET, super, SUPER_BYTES), 0);
	assert_int_equal(sim_disk_poke(world, rig_disk(index), b, super, SUPER_BYTES), 0);
}

/* Controls. */
static void be_careless(struct look *k)
{
	struct rig *rig = k->rig;
	if (k->cut->how == CUT_NO_RESYNC)
		rig_reopen(rig); /* as if it had been closed in order */
	if (k->cut->how != CUT_BELIEVE_STALE)
		return;
	for (unsigned i = 0; i < members_of(k->cut); i++) {
		if (!((rig->missing & ~k->out.lost) >> i & 1))
			continue;
		rig->missing &= ~(1u << i);
		intent_set_member(rig->intent, i, rig->members[i]);
		stripe_engine_set_member(rig->eng, i, rig->members[i], false, NULL);
	}
}

struct cut_found cut_look(const struct cut *cut)
{
	struct sim_world *world = sim_world_snapshot(cut->life->rig->world, seed_of(cut));
	struct look k = {.cut = cut,
		.history = &cut->life->history,
		.random = {seed_of(cut) ^ 2},
		.found = aligned_alloc(BLOCK_ALIGN, cut->life->rig->volume_bytes),
		.again = aligned_alloc(BLOCK_ALIGN, cut->life->rig->volume_bytes),
		.lost = calloc(1, cut->life->history.blocks),
		.spoilt = calloc(1, cut->life->history.blocks)};
	assert_true(world && k.found && k.again && k.lost && k.spoilt);
	k.out.lost = losses_borne(cut, world);
	for (unsigned i = 0; i < members_of(cut); i++) {
		if (k.out.lost >> i & 1)
			forget_super(cut, world, i);
	}
	k.rig = rig_adopt(&cut->life->config.rig, world, k.out.lost);
	be_careless(&k);
	look_closely(&k);
	rig_free(k.rig);
	free(k.found);
	free(k.again);
	free(k.lost);
	free(k.spoilt);
	return k.out;
}
