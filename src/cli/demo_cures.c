/* SPDX-License-Identifier: MIT */
/* The study "cures": every policy on the same writes. What it costs a program that keeps its buffer
 * still, and what is left of everybody's data when a program does not.
 *
 * Cost: one mount, without hold; the policies take turns in short slices, round after round, and
 * for each policy the least disturbed one is shown: other work on the machine makes slices slower,
 * never faster. Harm: each policy has a volume of its own (demo_policy.c). */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/demo.h"

#define ROUNDS       15u
#define FEW_WRITES   200u /* below: a look, not a measurement, in fewer rounds */
#define FEW_ROUNDS   3u
#define SLICE_PASSES 2u
#define POLICIES     7u

static const struct demo_experiment volumes[] = {
	{.name = "none", .title = "RAID5, no PI", DEMO_RAID5("none", "none")},
	{.name = "metadata", .title = "RAID5, PI (t10) as metadata", DEMO_RAID5("t10", "none")},
};

static const struct demo_sheet_column columns[] = {{"policy", "policy", 'l'},
	{"throughput", "MB/s to zerocopy's", 'r'}, {"cpu_us_per_mib", "CPU us/MiB", 'r'},
	{"daemon_us_per_mib", "daemon's", 'r'}, {"p50_us", "p50 us", 'r'},
	{"p99_us", "p99 us", 'r'}, {"changed", "changed", 'r'}, {"seen", "seen", 'r'},
	{"writes_failed", "failed", 'r'}, {"parity_rows", "parity rows wrong", 'r'},
	{"own_unreadable", "own writes unreadable", 'r'}, {"idle_wrong", "idle blocks lost", 'r'},
	{"named", "processes named", 'r'}, {"still_damage", "damage, still", 'r'}, {0}};

/* ---- cost ---- */

struct cost {
	double throughput;           /* bytes in a nanosecond of the calls */
	double writer_ns, daemon_ns; /* of a CPU, a byte */
	double p50_ns, p99_ns;
};
#define COST_FIGURES (sizeof(struct cost) / sizeof(double))

/* The daemon's clock of CPU time. */
static int daemon_clock(struct demo_world *w, clockid_t *clock, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *status = NULL;
	int err = demo_control(w, "status.json", &status, why);
	if (err < 0)
		return err;
	err = clock_getcpuclockid((pid_t)json_get_u64(status, "daemon_pid", 0), clock);
	return err ? errmsg_set(why, -err, "the daemon's CPU time: %s", strerror(err)) : 0;
}

static int run_slice(struct demo_world *w, const struct demo_setup *setup, const char *policy,
	clockid_t clock, struct cost *out, struct errmsg *why)
{
	struct demo_count c = {0};
	int err = demo_trial_set_policy(w, policy, why);
	uint64_t before_ns = clock_read_ns(clock);
	if (!err)
		err = demo_trial_mutate(w, setup, &c, why);
	double daemon_ns = (double)(clock_read_ns(clock) - before_ns), bytes = (double)c.bytes;
	if (!err && c.bytes)
		*out = (struct cost){.throughput = bytes / (double)c.time_ns,
			.writer_ns = (double)c.cpu_ns / bytes,
			.daemon_ns = daemon_ns / bytes,
			.p50_ns = (double)c.p50_ns,
			.p99_ns = (double)c.p99_ns};
	return err;
}

/* The best of each figure. */
static void keep_best(struct cost *best, const struct cost *c)
{
	double *figures = (double *)best;
	if (!best->throughput)
		*best = *c;
	best->throughput = c->throughput > best->throughput ? c->throughput : best->throughput;
	for (unsigned f = 1; f < COST_FIGURES; f++)
		if (((const double *)c)[f] < figures[f])
			figures[f] = ((const double *)c)[f];
}

static int run_round(struct demo_world *w, const struct demo_setup *setup, clockid_t clock,
	struct cost *best, struct errmsg *why)
{
	int err = 0;
	for (unsigned p = 0; !err && demo_policies[p]; p++) {
		struct cost c = {0};
		/* zerocopy is what the others are compared with; refuse has nothing to time. */
		if (p && (!strcmp(demo_policies[p], "refuse") ||
				 !demo_part_is_chosen(setup, demo_policies[p])))
			continue;
		err = run_slice(w, setup, demo_policies[p], clock, &c, why);
		if (!err)
			keep_best(&best[p], &c);
	}
	if (!err && demo_interrupted())
		err = errmsg_set(why, -EINTR, "interrupted");
	return err;
}

static int run_rounds(struct demo_world *w, const struct demo_setup *setup, clockid_t clock,
	const char *title, struct cost *best, struct errmsg *why)
{
	struct cost warm;
	int err = run_slice(w, setup, "bounce", clock, &warm, why); /* allocates the file */
	unsigned rounds = setup->count < FEW_WRITES ? FEW_ROUNDS : ROUNDS;
	for (unsigned r = 0; !err && r < rounds; r++) {
		demo_trial_say("%s, cost, round %u of %u", title, r + 1, rounds);
		err = run_round(w, setup, clock, best, why);
	}
	double base = best[0].throughput;
	for (unsigned p = 0; p < POLICIES && base; p++)
		best[p].throughput /= base;
	return err;
}

static int measure_cost(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *base, struct cost *out, struct errmsg *why)
{
	struct demo_setup setup = *base;
	setup.still = true;
	setup.passes = SLICE_PASSES;
	clockid_t clock;
	int err = demo_trial_create(w, e, &setup, why);
	if (!err)
		err = demo_mount(w, "dio=bounce", why);
	if (!err)
		err = daemon_clock(w, &clock, why);
	if (!err)
		err = run_rounds(w, &setup, clock, e->title, out, why);
	int unmounted = demo_unmount(w, why);
	return err < 0 ? err : unmounted;
}

/* ---- the table ---- */

static void add_cost(struct demo_report *r, struct demo_sheet *s, const struct cost *c)
{
	const double mib = 1 << 20;
	if (!c->throughput) { /* refused */
		for (unsigned i = 0; i < COST_FIGURES; i++)
			demo_sheet_none(r, s);
		return;
	}
	demo_sheet_number(r, s, c->throughput, 2);
	demo_sheet_number(r, s, (c->writer_ns + c->daemon_ns) * mib / 1e3, 0);
	demo_sheet_number(r, s, c->daemon_ns * mib / 1e3, 0);
	demo_sheet_number(r, s, c->p50_ns / 1e3, 0);
	demo_sheet_number(r, s, c->p99_ns / 1e3, 0);
}

static void add_row(struct demo_report *r, struct demo_sheet *s, const char *policy,
	const struct cost *cost, const struct demo_aftermath *mutated,
	const struct demo_aftermath *still)
{
	demo_sheet_text(r, s, "%s", policy);
	add_cost(r, s, cost);
	demo_sheet_count(r, s, mutated->writes.changed);
	demo_sheet_count(r, s, mutated->writes.seen);
	if (mutated->writes.open_refused)
		demo_sheet_text(r, s, "open refused");
	else
		demo_sheet_count(r, s, mutated->writes.writes_failed);
	demo_sheet_count(r, s, mutated->parity_rows);
	demo_sheet_count(r, s, mutated->own_unreadable);
	demo_sheet_share(r, s, mutated->idle.wrong, mutated->idle.of);
	demo_sheet_count(r, s, mutated->processes_named);
	demo_sheet_count(r, s, demo_policy_damage(still));
	if (demo_policy_damage(still) || still->writes.writes_failed)
		demo_report_damage(
			r, "%s, %s: damage with a still buffer", s ? s->title : "", policy);
	if (demo_policy_is_cure(policy) && demo_policy_damage(mutated))
		demo_report_damage(r, "%s, %s: damage under a cure", s ? s->title : "", policy);
}

static int run_volume(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *base, struct demo_report *r, struct errmsg *why)
{
	static const struct demo_users ours = {0};
	struct demo_sheet *s = demo_report_add(r, e->name, e->title, columns);
	struct cost costs[POLICIES] = {0};
	int err = measure_cost(w, e, base, costs, why);
	for (unsigned p = 0; !err && demo_policies[p]; p++) {
		struct demo_aftermath after[2];
		if (!demo_part_is_chosen(base, demo_policies[p]))
			continue;
		for (unsigned still = 0; !err && still < 2; still++) {
			struct demo_setup setup = *base;
			setup.still = still;
			demo_trial_say("%s, %s%s", e->title, demo_policies[p],
				still ? ", still buffer" : ", mutator");
			err = demo_policy_run(
				w, e, &setup, &ours, demo_policies[p], &after[still], why);
		}
		if (!err)
			add_row(r, s, demo_policies[p], &costs[p], &after[0], &after[1]);
	}
	return err;
}

static int run(struct demo_world *w, const struct demo_setup *setup, struct demo_report *r,
	struct errmsg *why)
{
	int err = 0;
	for (unsigned i = 0; !err && i < sizeof(volumes) / sizeof(volumes[0]); i++)
		err = run_volume(w, &volumes[i], setup, r, why);
	return err;
}

const struct demo_study demo_cures = {.name = "cures",
	.summary = "every policy on the same writes",
	.run = run,
	.draw = demo_cures_draw,
	.has_part = demo_policy_exists,
	.notes =
		"Cost: a still buffer, no hold, the least disturbed of 15 rounds in turn (3 for a "
		"count below 200);\nCPU is the writing thread's and the daemon's. Harm: a mutator; "
		"then a member fails. On a mount,\nzerocopy, verify and adaptive fetch the bytes "
		"from the writer's memory: an emulation, which costs\nmore than the copy that it "
		"models doing without.\n"};
