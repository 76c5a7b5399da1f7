/* SPDX-License-Identifier: MIT */
/* Which mount has a member: a process of its own asks them all, and is ended where it hangs. */
#include "cli/mount_holder.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
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

/* In a process of its own. */
static void look(const char *mountpoint, const struct stat *member, int out)
{
	bool found = lists_member(mountpoint, member);
	ssize_t n = found ? write(out, mountpoint, strlen(mountpoint)) : 0;
	_exit(n < 0);
}

/* One asker for each mount, so that one that hangs keeps nobody else from his answer. */
static unsigned ask_all(
	const struct mounts *all, const struct stat *member, int out, pid_t askers[MOUNTS_MAX])
{
	unsigned count = 0;
	fflush(NULL);
	for (unsigned i = 0; i < all->count; i++) {
		pid_t child = fork();
		if (child == 0)
			look(all->paths[i], member, out);
		if (child > 0)
			askers[count++] = child;
	}
	return count;
}

static bool read_answer(int fd, char where[PATH_MAX])
{
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	if (poll(&answer, 1, PATIENCE_MS) <= 0)
		return false;
	ssize_t n = read(fd, where, PATH_MAX - 1);
	where[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool mount_holder_find(const char *member, char where[PATH_MAX])
{
	struct mounts all = {0};
	pid_t askers[MOUNTS_MAX];
	struct stat st;
	int ends[2];
	if (stat(member, &st) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return false;
	mounts_add_fuse(&all);
	unsigned count = ask_all(&all, &st, ends[1], askers);
	close(ends[1]);
	bool found = read_answer(ends[0], where);
	close(ends[0]);
	for (unsigned i = 0; i < count; i++)
		kill(askers[i], SIGKILL);
	for (unsigned i = 0; i < count; i++)
		waitpid(askers[i], NULL, 0);
	mounts_free(&all);
	return found;
}
