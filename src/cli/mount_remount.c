/* SPDX-License-Identifier: MIT */
/* A remount as the one who asks sees it: the daemon's part and the kernel's, in an order that
 * leaves nothing half done.
 *
 *	the daemon is asked whether it can be done: nothing has happened where it says no
 *	to read-only:	the kernel refuses writers from now on, and writes back (EBUSY: there are
 *			files open for writing) -> the daemon commits
 *	else:		the files become writable -> the kernel lets writers in (where it does not,
 *			the files go back)
 *	the rest, which cannot fail any more */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include "base/cleanup.h"
#include "cli/mount_run.h"
#include "cli/mounts.h"
#include "cli/target.h"
#include "report/json_read.h"

/* @list: of check and do; "" else. */
static int ask(const char *mountpoint, const char *what, const char *list, struct errmsg *why)
{
	cleanup(cleanup_freep) char *line = NULL;
	cleanup(cleanup_freep) char *reply = NULL;
	if (asprintf(&line, "remount %s%s%s", what, *list ? " " : "", list) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	return target_query(mountpoint, line, &reply, why);
}

static int tell_kernel(const char *mountpoint, const struct mount_options *o, struct errmsg *why)
{
	unsigned long flags = MS_REMOUNT | o->flags | (o->read_only ? MS_RDONLY : 0);
	if (mount("none", mountpoint, NULL, flags, NULL) == 0)
		return 0;
	int err = -errno;
	return errmsg_set(why, err, "%s: %s", mountpoint,
		err == -EBUSY ? "files are open for writing, or open and without a name"
			      : strerror(-err));
}

/* True also where it cannot be told: then nobody writes in between. */
static bool was_read_only(const char *mountpoint)
{
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *v = NULL;
	if (target_status(mountpoint, &text, NULL) < 0 ||
		json_parse(text, strlen(text), &v, NULL) < 0)
		return true;
	return json_get_bool(v, "files_read_only", true);
}

/* The files first: the kernel must not let anybody write what the daemon refuses. */
static int become_writable(
	const char *mountpoint, const struct mount_options *o, struct errmsg *why)
{
	bool goes_back = was_read_only(mountpoint);
	int err = ask(mountpoint, "rw", "", why);
	if (err < 0)
		return err;
	err = tell_kernel(mountpoint, o, why);
	if (err < 0 && goes_back)
		(void)ask(mountpoint, "ro", "", NULL);
	return err;
}

static int change(
	const char *mountpoint, const struct mount_options *o, const char *list, struct errmsg *why)
{
	int err = ask(mountpoint, "check", list, why);
	if (!err && o->read_only)
		err = tell_kernel(mountpoint, o, why);
	else if (!err)
		err = become_writable(mountpoint, o, why);
	return err < 0 ? err : ask(mountpoint, "do", list, why);
}

static int find_mount(const char *path, char full[PATH_MAX], struct errmsg *why)
{
	if (!realpath(path, full))
		return errmsg_set(why, -errno, "%s: %s%s", path, strerror(errno),
			errno == ENOTCONN ? " (its daemon has died: umount -l it)" : "");
	cleanup(cleanup_freep) char *listed = mounts_options(full);
	if (!listed || !target_is_mount(full))
		return errmsg_set(why, -EINVAL, "%s is not the mount point of a stablefs", path);
	return 0;
}

int mount_remount(const char *mountpoint, const char *list, struct errmsg *why)
{
	char full[PATH_MAX];
	cleanup(cleanup_freep) struct mount_options *o = malloc(sizeof(*o));
	int err = o ? find_mount(mountpoint, full, why) : -ENOMEM;
	if (err < 0)
		return err;
	mount_options_init(o, true);
	err = mount_options_parse(o, list, why);
	return err < 0 ? err : change(full, o, list, why);
}

int mount_remount_some(const char *mountpoint, const char *list, struct errmsg *why)
{
	char full[PATH_MAX];
	int err = find_mount(mountpoint, full, why);
	if (err < 0)
		return err;
	cleanup(cleanup_freep) char *now = mounts_options(full);
	cleanup(cleanup_freep) char *all = NULL;
	if (!now || asprintf(&all, "%s,%s", now, list) < 0) {
		all = NULL;
		return -ENOMEM;
	}
	return mount_remount(full, all, why);
}
