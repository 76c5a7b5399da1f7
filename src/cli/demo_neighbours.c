/* SPDX-License-Identifier: MIT */
/* The study "neighbours": two users, whose files share stripes. One writes and stores into its
 * buffer meanwhile; the other has written its files long ago. What does the idle one lose? */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "cli/demo.h"

/* Nobody's: a user needs no entry in passwd to own files. */
#define BUSY_UID 60001u
#define IDLE_UID 60002u

static const struct demo_experiment volumes[] = {
	{.name = "none", .title = "RAID5, no PI", DEMO_RAID5("none", "none")},
	{.name = "metadata", .title = "RAID5, PI as metadata", DEMO_RAID5("t10", "none")},
	{.name = "device", .title = "RAID5 of PI disks", DEMO_RAID5("t10", "device")},
};

static const struct demo_sheet_column columns[] = {{"volume", "volume", 'l'},
	{"policy", "policy", 'l'}, {"writes_failed", "busy user: writes failed", 'r'},
	{"idle_wrong", "idle user: 4K blocks lost", 'r'}, {"idle_silent", "silently wrong", 'r'},
	{"idle_unreadable", "unreadable", 'r'}, {"still", "busy user's buffer still", 'r'}, {0}};

static void add_row(struct demo_report *r, struct demo_sheet *s, const struct demo_experiment *e,
	const char *policy, const struct demo_aftermath *mutated,
	const struct demo_aftermath *still)
{
	const struct demo_count *idle = &mutated->idle;
	demo_sheet_text(r, s, "%s", e->title);
	demo_sheet_text(r, s, "%s", policy);
	if (mutated->writes.open_refused)
		demo_sheet_text(r, s, "open refused");
	else
		demo_sheet_share(r, s, mutated->writes.writes_failed, mutated->writes.writes);
	demo_sheet_share(r, s, idle->wrong, idle->of);
	demo_sheet_count(r, s, idle->wrong - idle->unreadable);
	demo_sheet_count(r, s, idle->unreadable);
	demo_sheet_share(r, s, still->idle.wrong, still->idle.of);
	if (demo_policy_damage(still))
		demo_report_damage(r, "%s, %s: damage with a still buffer", e->title, policy);
	if (demo_policy_is_cure(policy) && demo_policy_damage(mutated))
		demo_report_damage(r, "%s, %s: damage under a cure", e->title, policy);
}

static int run_row(struct demo_world *w, const struct demo_experiment *e, const char *policy,
	const struct demo_setup *base, struct demo_report *r, struct demo_sheet *s,
	struct errmsg *why)
{
	static const struct demo_users users = {.busy = BUSY_UID, .idle = IDLE_UID};
	struct demo_aftermath after[2];
	int err = 0;
	for (unsigned still = 0; !err && still < 2; still++) {
		struct demo_setup setup = *base;
		setup.still = still;
		demo_trial_say("%s, %s%s", e->title, policy, still ? ", still buffer" : "");
		err = demo_policy_run(w, e, &setup, &users, policy, &after[still], why);
	}
	if (!err)
		add_row(r, s, e, policy, &after[0], &after[1]);
	return err;
}

static int run(struct demo_world *w, const struct demo_setup *setup, struct demo_report *r,
	struct errmsg *why)
{
	if (geteuid() != 0)
		return errmsg_set(why, -EPERM, "neighbours needs root: it runs as two users");
	struct demo_sheet *s = demo_report_add(r, "neighbours",
		"Two users' files in the same stripes: one user changes its buffer, then a member "
		"fails",
		columns);
	int err = demo_open_to_others(w, why);
	for (unsigned v = 0; !err && v < sizeof(volumes) / sizeof(volumes[0]); v++)
		for (unsigned p = 0; !err && demo_policies[p]; p++)
			if (demo_part_is_chosen(setup, demo_policies[p]))
				err = run_row(w, &volumes[v], demo_policies[p], setup, r, s, why);
	return err;
}

const struct demo_study demo_neighbours = {.name = "neighbours",
	.summary = "what an idle user loses by another's writes",
	.run = run,
	.has_part = demo_policy_exists,
	.notes = "Counted are the idle user's blocks on the failed member, in rows that were "
		 "written to.\n"};
