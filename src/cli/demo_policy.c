/* SPDX-License-Identifier: MIT */
/* What a policy leaves of everybody's data: the mutator's file lies between idle files, as in the
 * experiment "victims"; the layout and the looking back are done under the bounce buffer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/demo.h"

const char *const demo_policies[] = {
	"zerocopy", "bounce", "buffered", "refuse", "detect", "verify", "adaptive", NULL};

bool demo_policy_exists(const char *name)
{
	for (unsigned i = 0; demo_policies[i]; i++)
		if (!strcmp(demo_policies[i], name))
			return true;
	return false;
}

static int count_named(struct demo_world *w, unsigned *named, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *doc = NULL;
	int err = demo_control(w, "processes.json", &doc, why);
	json_for_each(row, json_get(doc, "processes"))
	{
		*named += json_get_u64(row, "mutated", 0) > 0;
	}
	return err;
}

static int begin(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, const struct demo_users *users, struct errmsg *why)
{
	char options[64];
	snprintf(options, sizeof(options), "dio=bounce,hold=%s", setup->hold);
	int err = demo_trial_create(w, e, setup, why);
	if (!err)
		err = demo_mount(w, options, why);
	if (!err)
		err = demo_strangers_write(w, setup, why);
	if (!err && (users->busy || users->idle))
		err = demo_strangers_give(w, users->busy, users->idle, why);
	return err;
}

static int mutate(struct demo_world *w, const struct demo_setup *setup, const char *policy,
	struct demo_aftermath *out, struct errmsg *why)
{
	int err = demo_trial_set_policy(w, policy, why);
	if (!err)
		err = demo_trial_mutate(w, setup, &out->writes, why);
	if (!err)
		err = demo_trial_take_stats(w, &out->writes, why);
	if (!err)
		err = count_named(w, &out->processes_named, why);
	return err < 0 ? err : demo_trial_set_policy(w, "bounce", why);
}

static int look(struct demo_world *w, const struct demo_setup *setup, struct demo_aftermath *out,
	struct errmsg *why)
{
	/* Not the cell whose victims are drawn. */
	const enum demo_cell cell = DEMO_BOUNCE;
	struct demo_outcome back = {0}, idle = {0};
	cleanup(json_value_freep) struct json_value *scrub = NULL;
	int err = demo_measure_readback(w, setup, cell, &back, why);
	if (!err)
		err = demo_trial_scrub(w, &scrub, why);
	if (!err)
		err = demo_strangers_measure(w, setup, cell, &idle, why);
	out->own_unreadable = back.cells[cell].wrong;
	out->parity_rows = json_get_u64(scrub, "parity_mismatches", 0);
	out->lost_blocks = json_get_u64(scrub, "lost", 0);
	out->idle = idle.cells[cell];
	return err;
}

int demo_policy_run(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *base, const struct demo_users *users, const char *policy,
	struct demo_aftermath *out, struct errmsg *why)
{
	struct demo_setup setup = *base;
	*out = (struct demo_aftermath){0};
	setup.uid = users->busy;
	setup.may_be_refused = !strcmp(policy, "refuse");
	int err = begin(w, e, &setup, users, why);
	if (!err)
		err = mutate(w, &setup, policy, out, why);
	if (!err)
		err = look(w, &setup, out, why);
	int unmounted = demo_unmount(w, why);
	if (!err && demo_interrupted())
		err = errmsg_set(why, -EINTR, "interrupted");
	return err < 0 ? err : unmounted;
}

uint64_t demo_policy_damage(const struct demo_aftermath *a)
{
	return a->own_unreadable + a->parity_rows + a->lost_blocks + a->idle.wrong;
}

bool demo_policy_is_cure(const char *policy)
{
	return strcmp(policy, "zerocopy") != 0;
}
