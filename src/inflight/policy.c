/* SPDX-License-Identifier: MIT */
/* The policies: their names and properties, by a table, and which one counts. */
#include "inflight/policy.h"

#include <string.h>

static const struct {
	const char *name;
	bool stable, samples_live, checks, reads_live, of_mount;
} policies[DIO_POLICY_COUNT] = {
	[DIO_BOUNCE] = {"bounce", .stable = true, .of_mount = true},
	[DIO_ZEROCOPY] = {"zerocopy", .samples_live = true, .reads_live = true, .of_mount = true},
	[DIO_BUFFERED] = {"buffered", .stable = true, .of_mount = true},
	[DIO_REFUSE] = {"refuse", .stable = true, .of_mount = true},
	[DIO_DETECT] = {"detect", .stable = true, .checks = true, .of_mount = true},
	[DIO_VERIFY] = {"verify", .samples_live = true, .checks = true, .reads_live = true,
		.of_mount = true},
	[DIO_ADAPTIVE] = {"adaptive", .samples_live = true, .checks = true, .of_mount = true},
	[DIO_COW] = {"cow", .stable = true},
};

const char *dio_policy_name(enum dio_policy policy)
{
	return policies[policy].name;
}

bool dio_policy_parse(const char *name, enum dio_policy *out)
{
	for (unsigned i = 0; i < DIO_POLICY_COUNT; i++) {
		if (policies[i].of_mount && strcmp(name, policies[i].name) == 0) {
			*out = (enum dio_policy)i;
			return true;
		}
	}
	return false;
}

const char *dio_policy_names(void)
{
	return "bounce, zerocopy, buffered, refuse, detect, verify, adaptive";
}

bool dio_policy_is_stable(enum dio_policy policy)
{
	return policies[policy].stable;
}

bool dio_policy_samples_live(enum dio_policy policy)
{
	return policies[policy].samples_live;
}

bool dio_policy_checks(enum dio_policy policy)
{
	return policies[policy].checks;
}

bool dio_policy_reads_live(enum dio_policy policy)
{
	return policies[policy].reads_live;
}

static bool counts(const struct dio_choice *choice, const struct dio_say *say)
{
	return say->said && (dio_policy_is_stable(say->policy) || say->by_root || choice->weaken ||
				    say->policy == choice->mount || choice->mount == DIO_ZEROCOPY);
}

enum dio_policy dio_policy_choose(const struct dio_choice *choice)
{
	if (counts(choice, &choice->tree))
		return choice->tree.policy;
	return counts(choice, &choice->file) ? choice->file.policy : choice->mount;
}
