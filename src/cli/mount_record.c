/* SPDX-License-Identifier: MIT */
/* What libmount keeps of a mount: written by mount(8) itself, since the form is its own affair. */
#include "cli/mount_record.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER "/sbin/umount.stablefs"
#define MOUNT  "/bin/mount"

/* -i: without its helper, which is us. Quiet: whatever goes wrong is no failure of the mount. */
static int spawn_mount(pid_t *pid, char *const *argv)
{
	char *const env[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	int err = posix_spawn(pid, MOUNT, &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

void mount_record_helper(const char *source, const char *type, const char *mountpoint)
{
	char full_type[80];
	snprintf(full_type, sizeof(full_type), "fuse%s%s", *type ? "." : "", type);
	const char *argv[] = {"mount", "-f", "-i", "-t", full_type, "-o", "uhelper=stablefs", "--",
		source, mountpoint, NULL};
	pid_t pid;
	int status;
	if (geteuid() != 0 || access(HELPER, X_OK) != 0 || spawn_mount(&pid, (char **)argv) != 0)
		return;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}
