/* SPDX-License-Identifier: MIT */
/* The names of the policies. */
#include "inflight/policy.h"

#include <string.h>

static const char *const names[] = {
	[DIO_BOUNCE] = "bounce",
	[DIO_ZEROCOPY] = "zerocopy",
};

#define POLICY_COUNT (sizeof(names) / sizeof(names[0]))

const char *dio_policy_name(enum dio_policy policy)
{
	return names[policy];
}

bool dio_policy_parse(const char *name, enum dio_policy *out)
{
	for (unsigned i = 0; i < POLICY_COUNT; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum dio_policy)i;
			return true;
		}
	}
	return false;
}

const char *dio_policy_names(void)
{
	return "bounce, zerocopy";
}
