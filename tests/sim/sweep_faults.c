/* SPDX-License-Identifier: MIT */
/* Sweep: blocks rot and media fail to read while a random workload runs, never more of a row than
 * the redundancy bears. No request fails, every read gives the model's bytes, and after a repair
 * scrub finds nothing. */
#include "sweep.h"
#include "workload.h"

/* Damage some rows of a stripe, one block each. Without PI only what the medium itself reports. */
static void damage_stripe(struct rig *rig, uint64_t stripe, unsigned blocks_a_row)
{
	struct random *r = &rig->random;
	unsigned members = rig->config.members;
	for (unsigned row = 0; row < rig->config.chunk_blocks; row++) {
		unsigned slot = random_below(r, members);
		for (unsigned i = 0; i < blocks_a_row; i++, slot = (slot + 1) % members) {
			if (rig->config.pi && random_below(r, 2))
				rig_rot_data(rig, stripe, slot, row);
			else
				rig_arm(rig, SIM_READ_ERROR, stripe, slot, row, 1,
					random_below(r, 4));
		}
	}
}

/* Requests to the damaged stripe and its neighbours. */
static void use_stripe(struct workload *w, uint64_t stripe)
{
	struct rig *rig = w->rig;
	uint64_t bytes = (uint64_t)geometry_stripe_blocks(&rig->geometry) * BLOCK_BYTES;
	w->first_byte = stripe ? (stripe - 1) * bytes : 0;
	w->end_byte = min_u64((stripe + 2) * bytes, rig->volume_bytes);
	for (unsigned i = 2 + random_below(&rig->random, 8); i; i--)
		workload_step(w);
	workload_drain(w);
	w->first_byte = 0;
	w->end_byte = rig->volume_bytes;
}

static bool run_case(const struct rig_config *config, unsigned rounds, unsigned blocks_a_row)
{
	struct workload w;
	struct rig *rig = rig_new(config);
	workload_init(&w, rig);
	for (unsigned i = 0; i < 100; i++)
		workload_step(&w);
	workload_drain(&w);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t stripe = random_below(&rig->random, (unsigned)config->stripes);
		damage_stripe(rig, stripe, blocks_a_row);
		use_stripe(&w, stripe);
		rig_settle(rig);
		rig_scrub(rig, STRIPE_REPAIR); /* so that the next round is the only damage */
		sim_world_disarm_all(rig->world);
	}
	workload_verify(&w);
	bool good = !w.errors && !w.mismatches && rig_is_clean(rig) &&
		    stripe_engine_stats(rig->eng).unrepairable_blocks == 0;
	if (!good && blocks_a_row == geometry_redundancy(&rig->geometry))
		printf("# %u requests failed, %u gave other bytes\n", w.errors, w.mismatches);
	workload_fini(&w);
	rig_free(rig);
	return good;
}

int main(int argc, char **argv)
{
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	struct sweep sweep = sweep_start("sweep_faults", argc, argv, 300);
	struct rig_config c;
	char name[128];
	for (unsigned v = 1; v < SWEEP_VOLUMES; v++) {
		for (unsigned t = 0; t < 3; t++) {
			c = (struct rig_config){.level = sweep_volumes[v].level,
				.members = sweep_volumes[v].members,
				.chunk_blocks = 1u << (v + t) % 4,
				.stripes = 8,
				.pi = types[t],
				.pi_check = t == 1 ? PI_CHECK_DEVICE : PI_CHECK_NONE,
				.seed = sweep.seed + v * 10 + t};
			struct geometry g = {.level = c.level, .members = c.members};
			if (!sweep_next(&sweep))
				continue;
			sweep_name(name, sizeof(name), &c, "blocks damaged under the requests");
			sweep_report(
				&sweep, run_case(&c, sweep.rounds, geometry_redundancy(&g)), name);
		}
	}
	c = (struct rig_config){.level = RAID_RAID5,
		.members = 4,
		.chunk_blocks = 4,
		.stripes = 8,
		.pi = PI_T10,
		.seed = sweep.seed};
	if (sweep_next(&sweep))
		sweep_report(
			&sweep, !run_case(&c, 20, 2), "more damage than parity bears is noticed");
	return sweep_end(&sweep);
}
