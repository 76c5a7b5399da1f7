/* SPDX-License-Identifier: MIT */
/* The daemon's half of a remount: what is asked is compared with what is, and done as a whole or
 * not at all. The other half, the kernel's flags, is with whoever asks (mount_remount()). */
#ifndef STABLEFS_CLI_REMOUNT_H
#define STABLEFS_CLI_REMOUNT_H

#include "base/errmsg.h"
#include "cli/mount_options.h"
#include "cli/serve.h"

struct remount;

/* @options: as the mount begins; copied. -ENOMEM. */
int remount_new(const struct mount_options *options, struct remount **out);
void remount_free(struct remount *r); /* accepts NULL */

/* "check LIST": could it be done? "do LIST": do it. LIST is in the form of mount_options_parse(),
 * with all flags of the new state; else what it does not say stays. "rw", "ro": that alone, for the
 * files. Becoming read-only, all is committed and durable when it returns.
 * Any thread; one at a time. -EINVAL: refused, nothing was done; -EROFS: the volume was opened for
 * reading alone; else the error of the commit, after which nothing is written any more. */
int remount_answer(
	struct remount *r, const struct serve_world *world, const char *line, struct errmsg *why);

#endif
