/* SPDX-License-Identifier: MIT */
/* Sweep: one member at a time fails and lies while a random workload runs. Each round arms one kind
 * of fault for the data or the tuples of a member; afterwards everything is read anew.
 *	Within the redundancy no request fails, every read is right, and a repair leaves it clean.
 *	Beyond it (more members lie, or there is one only) a read is right or fails: never wrong,
 *	but where wrong bytes have the guard of the right ones (one of 65,536 has, with 16 bits).
 *	Without PI some lies cannot be seen: what was read wrong then is counted, and no failure.
 *
 *	sweep_faults [--json] [SEED [ROUNDS [CASE]]] */
#include <string.h>
#include "base/mem.h"
#include "sweep.h"
#include "workload.h"

/* What a member can do. @silent: nothing says so, except a tuple. */
struct misdeed {
	enum sim_fault_kind kind;
	bool silent;
};

static const struct misdeed misdeeds[] = {{SIM_READ_ERROR, false}, {SIM_LATENCY, false},
	{SIM_BIT_FLIP, true}, {SIM_TORN_WRITE, true}, {SIM_LOST_WRITE, true},
	{SIM_MISDIRECTED, true}, {SIM_STALE_READ, true}};
#define MISDEEDS (sizeof(misdeeds) / sizeof(misdeeds[0]))

struct totals {
	uint64_t rounds, bytes, unseen, refused, violations;
	uint64_t collisions; /* wrong bytes that have the guard of the right ones */
	uint64_t fired[FAULT_KINDS];
};

/* ---- arming ---- */

static void arm(struct rig *rig, const struct misdeed *m, unsigned member, bool tuples)
{
	struct random *r = &rig->random;
	static const unsigned chances[] = {1000, 300, 50};
	const struct super *super = member_super(rig->members[member]);
	struct super_area area = tuples ? super->tuples : super->data;
	uint64_t last = tuples ? 0 : 2ull * rig->config.chunk_blocks * BLOCK_BYTES;
	struct sim_fault fault = {.kind = m->kind,
		.name = rig_disk(member),
		.offset_bytes = area.offset_bytes,
		.len_bytes = area.len_bytes - last, /* none goes astray beyond the area */
		.per_mille = chances[random_below(r, 3)],
		.count = random_below(r, 2) ? 0 : 1 + random_below(r, 8),
		.latency_ns = 1000000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

static void disarm(struct rig *rig, struct totals *totals)
{
	struct fault_listed listed[4];
	unsigned count = fault_set_list(sim_world_faults(rig->world), listed, 4);
	for (unsigned i = 0; i < count && i < 4; i++)
		totals->fired[listed[i].fault.kind] += listed[i].fired;
	sim_world_disarm_all(rig->world);
}

/* No cache knows better than the media. */
static void forget_caches(struct rig *rig)
{
	rig_flush(rig);
	rig_reopen(rig);
}

/* ---- within the redundancy ---- */

/* Every block twice, so that nothing was "never written", also before its last write. */
static void fill(struct workload *w)
{
	for (unsigned i = 0; i < 2; i++) {
		random_fill(&w->rig->random, w->model, 4096);
		for (uint64_t at = 4096; at < w->rig->volume_bytes; at += 4096) {
			memcpy(w->model + at, w->model + at - 4096, 4096);
			memcpy(w->model + at, &at, sizeof(at));
		}
		rig_write(w->rig, 0, w->model, (uint32_t)w->rig->volume_bytes);
		rig_flush(w->rig);
	}
}

/* True where the lies of the round could be seen. */
static bool round_run(struct workload *w, struct totals *totals)
{
	struct rig *rig = w->rig;
	struct random *r = &rig->random;
	const struct misdeed *m = &misdeeds[random_below(r, MISDEEDS)];
	arm(rig, m, random_below(r, rig->config.members),
		rig->config.pi && random_below(r, 3) == 0);
	for (unsigned i = 10 + random_below(r, 30); i; i--) {
		workload_step(w);
		if (random_below(r, 10) == 0)
			rig_flush(rig);
	}
	workload_drain(w);
	forget_caches(rig);
	disarm(rig, totals);
	unsigned before = w->mismatches;
	workload_verify(w);
	if (w->collisions && w->mismatches == before)
		w->mismatches = 0; /* what was read of such a block */
	totals->rounds++;
	totals->bytes += rig->volume_bytes;
	return !m->silent || rig->config.pi != PI_NONE;
}

static void round_judge(struct workload *w, struct totals *totals, bool visible)
{
	struct rig *rig = w->rig;
	rig_settle(rig);
	if (!visible) {
		totals->unseen += w->mismatches;
		w->mismatches = 0;
		fill(w);
		return;
	}
	rig_scrub(rig, STRIPE_REPAIR);
	if (w->collisions)
		fill(w);
	totals->collisions += w->collisions;
	totals->violations += w->errors + w->mismatches + !rig_is_clean(rig) +
			      (stripe_engine_stats(rig->eng).unrepairable_blocks != 0);
	if (w->errors || w->mismatches)
		printf("# %u requests failed, %u gave other bytes\n", w->errors, w->mismatches);
	w->errors = w->mismatches = w->collisions = 0;
}

static void run_within(const struct rig_config *config, unsigned rounds, struct totals *totals)
{
	struct workload w;
	struct rig *rig = rig_new(config);
	workload_init(&w, rig);
	fill(&w);
	for (unsigned i = 0; i < rounds && !totals->violations; i++)
		round_judge(&w, totals, round_run(&w, totals));
	workload_fini(&w);
	rig_free(rig);
}

/* ---- beyond it: one request at a time, whole blocks ---- */

struct beyond {
	struct workload w; /* its model only */
	bool *unknown;     /* owned; by block: the last write of it failed */
	struct totals *totals;
};

static void beyond_write(struct beyond *b, uint64_t block, uint32_t blocks)
{
	struct rig *rig = b->w.rig;
	uint8_t data[4 * BLOCK_BYTES];
	for (uint32_t i = 0; i < blocks; i++)
		rig_fill_block(
			data + i * BLOCK_BYTES, block + i, (unsigned)random_u64(&rig->random));
	int err = rig_write(rig, block * BLOCK_BYTES, data, blocks * BLOCK_BYTES);
	memcpy(b->w.model + block * BLOCK_BYTES, data, blocks * BLOCK_BYTES);
	for (uint32_t i = 0; i < blocks; i++)
		b->unknown[block + i] = err != 0;
	b->totals->refused += err != 0;
}

static void beyond_read(struct beyond *b, uint64_t block)
{
	uint8_t data[BLOCK_BYTES];
	int err = rig_read(b->w.rig, block * BLOCK_BYTES, data, BLOCK_BYTES);
	b->totals->bytes += BLOCK_BYTES;
	b->totals->refused += err != 0;
	const uint8_t *wanted = b->w.model + block * BLOCK_BYTES;
	if (err || b->unknown[block] || memcmp(data, wanted, BLOCK_BYTES) == 0)
		return;
	enum pi_type pi = b->w.rig->config.pi;
	if (pi_guard(pi, data, BLOCK_BYTES) == pi_guard(pi, wanted, BLOCK_BYTES))
		b->totals->collisions++;
	else
		b->totals->violations++;
}

static void beyond_round(struct beyond *b)
{
	struct rig *rig = b->w.rig;
	struct random *r = &rig->random;
	unsigned members = rig->config.members;
	uint64_t blocks = rig->volume_bytes / BLOCK_BYTES;
	unsigned liars = geometry_redundancy(&rig->geometry) + 1;
	for (unsigned i = 0, first = random_below(r, members); i < liars; i++)
		arm(rig, &misdeeds[random_below(r, MISDEEDS)], (first + i) % members, false);
	for (unsigned i = 60; i; i--) {
		uint64_t block = random_u64(r) % blocks;
		if (random_below(r, 2))
			beyond_read(b, block);
		else
			beyond_write(b, block,
				(uint32_t)min_u64(1 + random_below(r, 4), blocks - block));
	}
	forget_caches(rig);
	disarm(rig, b->totals);
	for (uint64_t block = 0; block < blocks; block++)
		beyond_read(b, block);
	fill(&b->w);
	memset(b->unknown, 0, blocks);
	b->totals->rounds++;
}

static void run_beyond(const struct rig_config *config, unsigned rounds, struct totals *totals)
{
	struct rig *rig = rig_new(config);
	struct beyond b = {.totals = totals};
	workload_init(&b.w, rig);
	b.unknown = calloc(1, rig->volume_bytes / BLOCK_BYTES);
	assert_non_null(b.unknown);
	fill(&b.w);
	for (unsigned i = 0; i < rounds && !totals->violations; i++)
		beyond_round(&b);
	free(b.unknown);
	workload_fini(&b.w);
	rig_free(rig);
}

/* ---- cases ---- */

static void report_json(
	const struct sweep *sweep, const struct rig_config *c, bool beyond, const struct totals *t)
{
	printf("{\"sweep\":\"faults\",\"case\":%d,\"level\":\"%s\",\"members\":%u,\"pi\":\"%s\","
	       "\"beyond\":%s,\"rounds\":%llu,\"bytes\":%llu,\"unseen\":%llu,\"refused\":%llu,"
	       "\"collisions\":%llu,\"violations\":%llu,\"fired\":{",
		sweep->cases, raid_level_name(c->level), c->members, pi_name(c->pi),
		beyond ? "true" : "false", (unsigned long long)t->rounds,
		(unsigned long long)t->bytes, (unsigned long long)t->unseen,
		(unsigned long long)t->refused, (unsigned long long)t->collisions,
		(unsigned long long)t->violations);
	for (unsigned k = 0; k < FAULT_KINDS; k++)
		printf("%s\"%s\":%llu", k ? "," : "", fault_kind_name((enum fault_kind)k),
			(unsigned long long)t->fired[k]);
	printf("}}\n");
	fflush(stdout);
}

static void run_case(struct sweep *sweep, unsigned volume, enum pi_type pi, bool beyond)
{
	struct totals totals = {0};
	char name[160];
	struct rig_config c = {.level = sweep_volumes[volume].level,
		.members = sweep_volumes[volume].members,
		.chunk_blocks = 1u << (volume + pi) % 4,
		.stripes = 8,
		.pi = pi,
		.cache_bytes = (volume + pi + beyond) % 2 * 16 * BLOCK_BYTES,
		.seed = sweep->seed + volume * 10 + pi + beyond * 1000};
	if (!sweep_next(sweep))
		return;
	(beyond ? run_beyond : run_within)(&c, sweep->rounds, &totals);
	sweep_name(name, sizeof(name), &c,
		beyond ? "more members lie than it bears" : "a member lies under the requests");
	if (sweep->json)
		report_json(sweep, &c, beyond, &totals);
	sweep_report(sweep, totals.violations == 0, name);
}

/* What no tuple protects is read wrong; else the sweep arms nothing. */
static void control(struct sweep *sweep)
{
	struct totals totals = {0};
	struct rig_config c = {.level = RAID_RAID5,
		.members = 4,
		.chunk_blocks = 4,
		.stripes = 8,
		.seed = sweep->seed};
	if (!sweep_next(sweep))
		return;
	run_within(&c, 20, &totals);
	sweep_report(sweep, totals.unseen > 0, "lies are told: without PI they are read");
}

int main(int argc, char **argv)
{
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	struct sweep sweep = sweep_start("sweep_faults", argc, argv, 40);
	for (unsigned v = 0; v < SWEEP_VOLUMES; v++) {
		for (unsigned t = 0; t < 3; t++) {
			if (sweep_volumes[v].level != RAID_SINGLE)
				run_case(&sweep, v, types[t], false);
			if (types[t] != PI_NONE)
				run_case(&sweep, v, types[t], true);
		}
	}
	control(&sweep);
	return sweep_end(&sweep);
}
