/* SPDX-License-Identifier: MIT */
/* What a verb is pointed at: a volume's members, or the mount point of one that is mounted. The
 * same questions go to either: through the control directory, or to the volume opened here. */
#ifndef STABLEFS_CLI_TARGET_H
#define STABLEFS_CLI_TARGET_H

#include <stdbool.h>
#include "base/errmsg.h"
#include "cli/service.h"

/* True where @path is the root of a mounted stablefs. */
bool target_is_mount(const char *path);

/* Open a control file that takes a line, and give it one; works on read-only mounts, too. The
 * descriptor, or -errno. */
int target_say(const char *file, const char *line);

/* Ask the daemon at @mountpoint: *@reply is its JSON document (the caller's, free()). -errno and
 * @why where it cannot be asked or answers with an error. */
int target_query(const char *mountpoint, const char *line, char **reply, struct errmsg *why);

/* What the mount says of itself (status.json); the caller's, free(). Anybody may ask who may use
 * the mount. */
int target_status(const char *mountpoint, char **text, struct errmsg *why);

/* A volume opened by this process. */
struct target_volume {
	struct volume *volume;
	struct fs *fs; /* NULL where the file system cannot be read */
	struct service service;
};

/* @write: for repair; else read-only. */
int target_open(char *const *args, unsigned count, bool write, struct target_volume *out,
	struct errmsg *why);
int target_close(struct target_volume *t);

/* Ask whatever @args are: a mount point (one argument) or a volume. */
int target_ask(
	char *const *args, unsigned count, const char *line, char **reply, struct errmsg *why);

#endif
