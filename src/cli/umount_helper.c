/* SPDX-License-Identifier: MIT */
/* Unmount, and wait for the daemon: umount(2) returns when the kernel has handed over what it had,
 * and the daemon commits after that. When umount(8) returns here, all is on the members. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/aside.h"
#include "cli/cli.h"
#include "cli/mount_helper.h"
#include "cli/mount_run.h"
#include "cli/target.h"
#include "report/json_read.h"

#define PATIENCE_MS 2000
#define LOOK_MS     50
#define GIVE_UP     12000 /* looks, ten minutes: a namespace that nobody sees may still have it */
#define CONTROLS    "/sys/fs/fuse/connections"

/* Who serves a mount point, as it is before the end. */
struct server {
	int pidfd; /* owned; -1: not known, or not to be seen from here */
	pid_t pid;
	dev_t dev;
};

static void server_release(struct server *s)
{
	cleanup_closep(&s->pidfd);
}

/* What the mount says of itself, as a struct server. */
static void ask(void *ctx, int out)
{
	const char *mountpoint = ctx;
	struct server s = {.pidfd = -1};
	struct stat st;
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *v = NULL;
	if (target_status(mountpoint, &text, NULL) < 0 ||
		json_parse(text, strlen(text), &v, NULL) < 0 || stat(mountpoint, &st) < 0)
		return;
	s.pid = (pid_t)json_get_i64(v, "daemon_pid", 0);
	s.dev = st.st_dev;
	ssize_t n = write(out, &s, sizeof(s));
	(void)n; /* nobody wants to know any more */
}

static void server_find(const char *mountpoint, struct server *s)
{
	struct server said;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	(void)aside_start(ask, (void *)mountpoint, ends[1]);
	close(ends[1]);
	if (aside_read(ends[0], &said, sizeof(said), PATIENCE_MS) == sizeof(said) && said.pid > 0) {
		*s = said;
		s->pidfd = pidfd_open(s->pid, 0);
	}
	close(ends[0]);
}

static bool is_listed(const char *mountinfo, dev_t dev)
{
	cleanup(cleanup_freep) char *line = NULL;
	size_t room = 0;
	bool listed = false;
	FILE *f = fopen(mountinfo, "re");
	while (f && !listed && getline(&line, &room, f) >= 0) {
		unsigned major, minor;
		listed = sscanf(line, "%*d %*d %u:%u", &major, &minor) == 2 &&
			 makedev(major, minor) == dev;
	}
	if (f)
		fclose(f);
	return listed;
}

/* It has another mount point, here or where the daemon lives; or somewhere, where the kernel shows
 * its connections. */
static bool still_serves(const struct server *s)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", s->pid);
	if (is_listed("/proc/self/mountinfo", s->dev) || is_listed(path, s->dev))
		return true;
	snprintf(path, sizeof(path), CONTROLS "/%u", minor(s->dev));
	return access(path, F_OK) == 0;
}

static void server_wait(const struct server *s)
{
	struct pollfd ended = {.fd = s->pidfd, .events = POLLIN};
	for (unsigned looks = 0; looks < GIVE_UP; looks++)
		if (poll(&ended, 1, LOOK_MS) > 0 || still_serves(s))
			break;
}

static int unmount(const struct umount_request *r, struct errmsg *why)
{
	int flags = UMOUNT_NOFOLLOW | (r->force ? MNT_FORCE : 0) | (r->lazy ? MNT_DETACH : 0);
	if (umount2(r->mountpoint, flags) == 0)
		return 0;
	int err = -errno;
	if (err == -EBUSY && r->read_only_instead)
		return mount_remount_some(r->mountpoint, "remount,ro", why);
	return errmsg_set(why, err, "%s: %s", r->mountpoint,
		err == -EBUSY    ? "target is busy"
		: err == -EINVAL ? "not mounted"
		: err == -EPERM  ? "only root may unmount it (users: fusermount3 -u)"
				 : strerror(-err));
}

/* Asked to hurry, nobody waits: the daemon may hang, or be in use. */
int umount_helper_run(const struct umount_request *r)
{
	struct errmsg why = {0};
	bool hurries = r->force || r->lazy;
	cleanup(server_release) struct server server = {.pidfd = -1};
	if (!hurries)
		server_find(r->mountpoint, &server);
	int err = unmount(r, &why);
	if (err < 0) {
		cli_fail(err, &why);
		return err == -EPERM ? HELPER_USAGE : HELPER_FAILED;
	}
	if (server.pidfd >= 0)
		server_wait(&server);
	return HELPER_DONE;
}
