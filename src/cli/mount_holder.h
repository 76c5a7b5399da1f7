/* SPDX-License-Identifier: MIT */
/* Which mount has a member. */
#ifndef STABLEFS_CLI_MOUNT_HOLDER_H
#define STABLEFS_CLI_MOUNT_HOLDER_H

#include <limits.h>
#include <stdbool.h>

/* Ask the mounts that can be seen from here, each by what it says of itself, for no longer than a
 * second: one that hangs says nothing. True: @member is one of the mount at @where. Forks. */
bool mount_holder_find(const char *member, char where[PATH_MAX]);

#endif
