/* SPDX-License-Identifier: MIT */
/* Waiting for background work, by its status. */
#include "cli/work_wait.h"

#include <string.h>
#include <time.h>
#include "cli/members.h"
#include "cli/progress.h"

const struct json_value *work_of(const struct json_value *status, const char *kind)
{
	return json_get(json_get(status, "work"), kind);
}

/* A member whose turn has not come yet is waited for; one that cannot be rebuilt is not. */
static bool is_over(const struct json_value *status, const char *kind)
{
	const struct json_value *work = work_of(status, kind);
	if (strcmp(json_get_string(work, "state", "idle"), "idle") != 0)
		return false;
	if (strcmp(kind, "rebuild") != 0 || json_get(work, "error"))
		return true;
	json_for_each(m, json_get(status, "members"))
	{
		if (!strcmp(json_get_string(m, "state", ""), "rebuilding"))
			return false;
	}
	return true;
}

int work_wait(
	const char *mountpoint, const char *kind, struct json_value **status, struct errmsg *why)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	struct progress progress = {.what = kind};
	int err;
	while ((err = members_status(mountpoint, status, why)) == 0 && !is_over(*status, kind)) {
		const struct json_value *work = work_of(*status, kind);
		progress_step(
			&progress, json_get_u64(work, "done", 0), json_get_u64(work, "total", 0));
		json_value_free(*status);
		*status = NULL;
		nanosleep(&pause, NULL);
	}
	progress_end(&progress);
	return err;
}
