/* SPDX-License-Identifier: MIT */
/* Sweep: random workloads over all levels and kinds of PI, healthy and with a member missing. Every
 * read gives the model's bytes, every request succeeds, and at the end scrub finds nothing. */
#include "sweep.h"
#include "workload.h"

#include <string.h>

static bool run_healthy(struct workload *w, unsigned rounds)
{
	struct rig *rig = w->rig;
	for (unsigned i = 0; i < rounds; i++) {
		workload_step(w);
		if (random_below(&rig->random, 100) == 0)
			rig_flush(rig);
	}
	workload_verify(w);
	return rig_is_clean(rig);
}

/* Without the member everything still reads and writes; scrub has nothing that it could compare. */
static bool run_degraded(struct workload *w, unsigned rounds)
{
	struct rig *rig = w->rig;
	rig_remove_member(rig, random_below(&rig->random, rig->config.members));
	workload_verify(w);
	for (unsigned i = 0; i < rounds; i++)
		workload_step(w);
	workload_verify(w);
	struct rig_scrub s = rig_scrub(rig, STRIPE_REPAIR);
	workload_verify(w);
	return !s.err && !s.guard_bad && !s.lost && !s.rebuilt;
}

static bool run_reopened(struct workload *w, unsigned rounds)
{
	rig_flush(w->rig);
	rig_reopen(w->rig);
	return run_healthy(w, rounds);
}

static bool run_case(const struct rig_config *config, unsigned rounds, bool degraded)
{
	struct workload w;
	struct rig *rig = rig_new(config);
	workload_init(&w, rig);
	bool good = run_healthy(&w, rounds);
	good = (degraded ? run_degraded(&w, rounds) : run_reopened(&w, rounds)) && good;
	if (w.errors || w.mismatches)
		printf("# %u requests failed, %u gave other bytes\n", w.errors, w.mismatches);
	good = good && !w.errors && !w.mismatches;
	workload_fini(&w);
	rig_free(rig);
	return good;
}

/* A disk that drops writes without saying so must be noticed, else the sweep proves nothing. */
static bool notices_lost_writes(uint64_t seed)
{
	struct workload w;
	struct rig *rig = rig_new(&(struct rig_config){
		.level = RAID_RAID5, .members = 3, .chunk_blocks = 2, .stripes = 10, .seed = seed});
	workload_init(&w, rig);
	for (unsigned i = 0; i < 50; i++)
		workload_step(&w);
	workload_drain(&w);
	rig_arm(rig, SIM_LOST_WRITE, 0, 0, 0, 20, 0);
	for (unsigned i = 0; i < 50; i++)
		workload_step(&w);
	workload_verify(&w);
	bool noticed = w.mismatches || !rig_is_clean(rig);
	workload_fini(&w);
	rig_free(rig);
	return noticed;
}

int main(int argc, char **argv)
{
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	static const unsigned chunks[] = {1, 4, 16};
	struct sweep sweep = sweep_start("sweep_workload", argc, argv, 1500);
	struct rig_config c;
	char name[128];
	for (unsigned v = 0; v < SWEEP_VOLUMES; v++) {
		for (unsigned t = 0; t < 3; t++) {
			for (unsigned degraded = 0; degraded < 2; degraded++) {
				c = (struct rig_config){.level = sweep_volumes[v].level,
					.members = sweep_volumes[v].members,
					.chunk_blocks = chunks[(v + t + degraded) % 3],
					.stripes = 20,
					.pi = types[t],
					.pi_check = v % 2 ? PI_CHECK_DEVICE : PI_CHECK_NONE,
					.cache_bytes = (t + degraded) % 2 * 24 * BLOCK_BYTES,
					.seed = sweep.seed + v * 100 + t * 10 + degraded};
				if ((degraded && c.level == RAID_SINGLE) || !sweep_next(&sweep))
					continue;
				sweep_name(name, sizeof(name), &c,
					degraded ? "then a member missing" : "healthy");
				sweep_report(&sweep, run_case(&c, sweep.rounds, degraded), name);
			}
		}
	}
	if (sweep_next(&sweep))
		sweep_report(&sweep, notices_lost_writes(sweep.seed), "lost writes are noticed");
	return sweep_end(&sweep);
}
