/* SPDX-License-Identifier: MIT */
/* Watching the background work of a mounted volume. The work does not depend on who watches. */
#ifndef STABLEFS_CLI_WORK_WAIT_H
#define STABLEFS_CLI_WORK_WAIT_H

#include "base/errmsg.h"
#include "report/json_read.h"

/* What the status says of one kind ("resync", "rebuild", "scrub"); NULL: nothing. */
const struct json_value *work_of(const struct json_value *status, const char *kind);

/* Wait until nothing of @kind is under way, with progress on stderr; what is paused is waited for,
 * too. *@status: as it was then, the caller's. The work itself may have failed: see its "error". */
int work_wait(
	const char *mountpoint, const char *kind, struct json_value **status, struct errmsg *why);

#endif
