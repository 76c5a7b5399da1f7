/* SPDX-License-Identifier: MIT */
/* From a number or a path to a member, and requests about it. */
#include "cli/members.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/target.h"
#include "report/size.h"

const struct json_value *members_get(const struct json_value *status, unsigned index)
{
	json_for_each(m, json_get(status, "members"))
	{
		if (json_get_u64(m, "index", UINT64_MAX) == index)
			return m;
	}
	return NULL;
}

static bool is_same_file(const char *a, const char *b)
{
	cleanup(cleanup_freep) char *x = realpath(a, NULL);
	cleanup(cleanup_freep) char *y = realpath(b, NULL);
	return !strcmp(x ? x : a, y ? y : b);
}

static int find_by_path(const struct json_value *status, const char *name, unsigned *index)
{
	json_for_each(m, json_get(status, "members"))
	{
		const char *path = json_get_string(m, "path", "");
		if (!*path || !is_same_file(path, name))
			continue;
		*index = (unsigned)json_get_u64(m, "index", 0);
		return 0;
	}
	return -ENOENT;
}

int members_find(
	const struct json_value *status, const char *name, unsigned *index, struct errmsg *why)
{
	uint64_t n;
	uint64_t count = json_get_u64(status, "members_count", 0);
	if (count_parse(name, &n, NULL) == 0 && n < count) {
		*index = (unsigned)n;
		return 0;
	}
	if (find_by_path(status, name, index) == 0)
		return 0;
	return errmsg_set(why, -EINVAL,
		"there is no member '%s': its number, 0 to %llu, or its path as status has it",
		name, (unsigned long long)(count ? count - 1 : 0));
}

int members_absolute_path(const char *path, char out[PATH_MAX], struct errmsg *why)
{
	char dir[PATH_MAX], full[PATH_MAX];
	const char *name = strrchr(path, '/');
	if (strchr(path, '\n'))
		return errmsg_set(why, -EINVAL, "a path with a newline in it cannot be asked for");
	if (realpath(path, out))
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", name ? (int)(name - path) + 1 : 1, name ? path : ".");
	name = name ? name + 1 : path;
	if (!*name)
		return errmsg_set(why, -ENOENT, "%s: %s", path, strerror(ENOENT));
	if (!realpath(dir, full))
		return errmsg_set(why, -errno, "%s: %s", dir, strerror(errno));
	if (snprintf(out, PATH_MAX, "%s/%s", strcmp(full, "/") ? full : "", name) >= PATH_MAX)
		return errmsg_set(why, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
	return 0;
}

int members_status(const char *mountpoint, struct json_value **status, struct errmsg *why)
{
	cleanup(cleanup_freep) char *text = NULL;
	if (!target_is_mount(mountpoint))
		return errmsg_set(why, -ENODEV,
			"%s is not the mount point of a stablefs: mount the volume first",
			mountpoint);
	int err = target_status(mountpoint, &text, why);
	return err < 0 ? err : json_parse(text, strlen(text), status, why);
}

int members_request(const char *mountpoint, const char *line, struct errmsg *why)
{
	char *reply = NULL;
	int err = target_query(mountpoint, line, &reply, why);
	free(reply);
	return err;
}
