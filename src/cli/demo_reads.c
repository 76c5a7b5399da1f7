/* SPDX-License-Identifier: MIT */
/* The study "reads": a program stores into its buffer while a read fills it. Where data is verified
 * in the reader's memory, as zero-copy does, the guard does not match: a PI error, and a repair,
 * though the medium is right. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/demo.h"

static const struct demo_experiment volumes[] = {
	{.title = "one PI disk",
		.level = "single",
		.members = "1",
		.pi = "t10",
		.pi_check = "none"},
	{.title = "RAID1, PI", DEMO_RAID1("t10", "none")},
	{.title = "RAID5, PI", DEMO_RAID5("t10", "none")},
};
static const char *const policies[] = {"zerocopy", "verify", "bounce"};

static const struct demo_sheet_column columns[] = {{"volume", "volume", 'l'},
	{"policy", "policy", 'l'}, {"buffer", "reader's buffer", 'l'}, {"reads", "reads", 'r'},
	{"changed", "changed in flight", 'r'}, {"failed", "EILSEQ", 'r'},
	{"false_errors", "of right blocks", 'r'}, {"seen", "seen as changed", 'r'},
	{"read_again", "read again", 'r'}, {"unneeded_repairs", "unneeded repairs", 'r'},
	{"medium_wrong", "medium wrong", 'r'}, {0}};

struct read_trial {
	struct demo_count count;
	uint64_t seen, again, repairs, medium_wrong;
};

static int ask(struct demo_world *w, struct read_trial *t, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *stats = NULL, *scrub = NULL;
	int err = demo_control(w, "stats.json", &stats, why);
	const struct json_value *reads = json_get(stats, "direct_reads");
	t->seen = json_get_u64(reads, "mutated", 0);
	t->again = json_get_u64(reads, "bounced_again", 0);
	t->repairs = json_get_u64(json_get(stats, "array"), "repairs_unneeded", 0);
	if (!err)
		err = demo_trial_scrub(w, &scrub, why);
	t->medium_wrong = json_get_u64(scrub, "remaining", 0);
	return err;
}

static int run_trial(struct demo_world *w, const struct demo_experiment *e, const char *policy,
	const struct demo_setup *setup, struct read_trial *t, struct errmsg *why)
{
	char options[64];
	snprintf(options, sizeof(options), "dio=%s,hold=%s", policy, setup->hold);
	int err = demo_trial_create(w, e, setup, why);
	if (!err)
		err = demo_mount(w, options, why);
	if (!err)
		err = demo_trial_mutate(w, setup, &t->count, why);
	if (!err)
		err = ask(w, t, why);
	int unmounted = demo_unmount(w, why);
	if (!err && demo_interrupted())
		err = errmsg_set(why, -EINTR, "interrupted");
	return err < 0 ? err : unmounted;
}

static void add_row(struct demo_report *r, struct demo_sheet *s, const struct demo_experiment *e,
	const char *policy, bool still, const struct read_trial *t)
{
	demo_sheet_text(r, s, "%s", e->title);
	demo_sheet_text(r, s, "%s", policy);
	demo_sheet_text(r, s, "%s", still ? "still" : "stored into");
	demo_sheet_count(r, s, t->count.reads);
	demo_sheet_count(r, s, t->count.changed);
	demo_sheet_count(r, s, t->count.reads_failed);
	demo_sheet_count(r, s, t->count.false_errors);
	demo_sheet_count(r, s, t->seen);
	demo_sheet_count(r, s, t->again);
	demo_sheet_count(r, s, t->repairs);
	demo_sheet_count(r, s, t->medium_wrong);
	if (t->medium_wrong)
		demo_report_damage(r, "%s, %s: reads have damaged the medium", e->title, policy);
	/* verify reads once more, through the kernel's copy, where the reader's memory differs. */
	bool noticed = t->seen || t->repairs, may_notice = strcmp(policy, "bounce") != 0 && !still;
	if ((t->count.reads_failed && (still || demo_policy_is_cure(policy))) ||
		(noticed && !may_notice))
		demo_report_damage(r, "%s, %s%s: reads fail under the cure or in the control",
			e->title, policy, still ? ", still buffer" : "");
}

static int run(struct demo_world *w, const struct demo_setup *base, struct demo_report *r,
	struct errmsg *why)
{
	struct demo_sheet *s = demo_report_add(
		r, "reads", "A program stores into its buffer while a read fills it", columns);
	int err = 0;
	/* The control comes last in each run of two. */
	for (unsigned i = 0; !err && i < 3 * 3 * 2; i++) {
		const struct demo_experiment *e = &volumes[i / 6];
		const char *policy = policies[i / 2 % 3];
		struct read_trial t = {0};
		if (!demo_part_is_chosen(base, policy))
			continue;
		struct demo_setup setup = *base;
		setup.read = true;
		setup.still = i % 2;
		demo_trial_say("%s, %s%s", e->title, policy, setup.still ? ", still buffer" : "");
		err = run_trial(w, e, policy, &setup, &t, why);
		if (!err)
			add_row(r, s, e, policy, setup.still, &t);
	}
	return err;
}

static bool has_part(const char *name)
{
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (!strcmp(policies[i], name))
			return true;
	return false;
}

const struct demo_study demo_reads = {.name = "reads",
	.summary = "readers that store into their buffer",
	.run = run,
	.has_part = has_part,
	.notes = "\"Of right blocks\": the same block is read without an error from a still "
		 "buffer.\n"};
