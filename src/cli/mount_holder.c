/* SPDX-License-Identifier: MIT */
/* Which mount has a member: processes of their own ask them all. */
#include "cli/mount_holder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/aside.h"
#include "cli/mounts.h"
#include "cli/target.h"
#include "report/json_read.h"

#define PATIENCE_MS 1000

static bool lists_member(const char *mountpoint, const struct stat *member)
{
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *v = NULL;
	if (target_status(mountpoint, &text, NULL) < 0 ||
		json_parse(text, strlen(text), &v, NULL) < 0)
		return false;
	json_for_each(m, json_get(v, "members"))
	{
		struct stat st;
		const char *path = json_get_string(m, "path", "");
		if (!stat(path, &st) && st.st_dev == member->st_dev && st.st_ino == member->st_ino)
			return true;
	}
	return false;
}

struct question {
	const char *mountpoint;
	struct stat member;
};

static void ask(void *ctx, int out)
{
	const struct question *q = ctx;
	bool found = lists_member(q->mountpoint, &q->member);
	ssize_t n = found ? write(out, q->mountpoint, strlen(q->mountpoint)) : 0;
	(void)n; /* nobody wants to know any more */
}

/* One asker for each mount, so that one that hangs keeps nobody else from his answer. */
bool mount_holder_find(const char *member, char where[PATH_MAX])
{
	struct mounts all = {0};
	struct question q;
	int ends[2];
	if (stat(member, &q.member) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return false;
	mounts_add_fuse(&all);
	for (unsigned i = 0; i < all.count; i++) {
		q.mountpoint = all.paths[i];
		(void)aside_start(ask, &q, ends[1]);
	}
	close(ends[1]);
	size_t len = aside_read(ends[0], where, PATH_MAX - 1, PATIENCE_MS);
	where[len] = '\0';
	close(ends[0]);
	mounts_free(&all);
	return len > 0;
}
