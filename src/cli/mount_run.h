/* SPDX-License-Identifier: MIT */
/* A mount from its words to its end: what the verb mount and the helper of mount(8) share. */
#ifndef STABLEFS_CLI_MOUNT_RUN_H
#define STABLEFS_CLI_MOUNT_RUN_H

#include <limits.h>
#include "cli/mount_options.h"
#include "volume/volume.h"

extern const char mount_usage[];

struct mount_job {
	struct mount_options options;
	bool foreground;
	bool check_only; /* mount -f: all but the mount itself */
	char mountpoint[PATH_MAX];
	struct volume_paths paths; /* owned */
};
void mount_job_release(struct mount_job *j);

/* Find the volume of @words and the place, and see that they can be put together. 0, or -errno and
 * @why: the mount point is none, would hide a member, has a stablefs; the volume is mounted. */
int mount_job_find(struct mount_job *j, char *const *words, unsigned count, const char *mountpoint,
	struct errmsg *why);

/* One word that stands for a volume, as fstab has it: a directory, a member, or members with colons
 * between them ("\:" is a colon of a name). *@words: @count of them, the caller's (free() each, and
 * the array). -ENOMEM. */
int mount_split_source(const char *source, char ***words, unsigned *count);

/* Serve it, in the background unless @foreground: returns when it is usable (or, in the foreground,
 * when it is over). An enum cli_status; messages are on stderr. */
int mount_job_run(struct mount_job *j);

/* Change the mount at @mountpoint to what @list says, as mount(8) hands it over: all flags of the
 * new state, and what is to change of our own options. By root. -errno and @why; then all is as it
 * was, but for a mount that was to become read-only and could not write back. */
int mount_remount(const char *mountpoint, const char *list, struct errmsg *why);

/* The same as a person says it: what @list does not say stays. */
int mount_remount_some(const char *mountpoint, const char *list, struct errmsg *why);

#endif
