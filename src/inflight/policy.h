/* SPDX-License-Identifier: MIT */
/* Policies: what a volume does with a direct write. A policy is a choice of source plus checks;
 * the stripe code knows none. Pure values. */
#ifndef STABLEFS_INFLIGHT_POLICY_H
#define STABLEFS_INFLIGHT_POLICY_H

#include <stdbool.h>

enum dio_policy {
	DIO_BOUNCE,   /* one copy at submission; guard, parity and data come from it */
	DIO_ZEROCOPY, /* guard, parity and data are sampled from live memory */
};

const char *dio_policy_name(enum dio_policy policy);
bool dio_policy_parse(const char *name, enum dio_policy *out);
const char *dio_policy_names(void); /* "bounce, zerocopy": for messages and help */

#endif
