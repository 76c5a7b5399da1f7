/* SPDX-License-Identifier: MIT */
/* Members of a mounted volume as the verbs' arguments name them, and a request about one. */
#ifndef STABLEFS_CLI_MEMBERS_H
#define STABLEFS_CLI_MEMBERS_H

#include <limits.h>
#include <stdint.h>
#include "base/errmsg.h"
#include "report/json_read.h"

/* The member that @name stands for, by its number or its path, in the status of a mount. -EINVAL
 * and @why, which lists what there is. */
int members_find(
	const struct json_value *status, const char *name, unsigned *index, struct errmsg *why);

/* What the status says of member @index; NULL where it has none. */
const struct json_value *members_get(const struct json_value *status, unsigned index);

/* @path as it is for a process that works elsewhere; it need not be there, its directory must. */
int members_absolute_path(const char *path, char out[PATH_MAX], struct errmsg *why);

/* The argument MOUNTPOINT of a verb that changes a volume: its status, or why there is none. */
int members_status(const char *mountpoint, struct json_value **status, struct errmsg *why);

/* Ask for a change; its reply says no more than that it is done. */
int members_request(const char *mountpoint, const char *line, struct errmsg *why);

#endif
