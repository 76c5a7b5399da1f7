/* SPDX-License-Identifier: MIT */
/* What libmount keeps of a mount beside the kernel's table. */
#ifndef STABLEFS_CLI_MOUNT_RECORD_H
#define STABLEFS_CLI_MOUNT_RECORD_H

/* umount(8) learns from the kernel that a mount is one of FUSE, but not whose, and so finds no
 * helper; the word uhelper= in its own records tells it to run umount.stablefs. Asks mount(8) to
 * write that (mount -f does all but mount). Root's mounts, where that helper is installed; where it
 * does not work, umount returns before the daemon has ended, and nothing else is different. */
void mount_record_helper(const char *source, const char *type, const char *mountpoint);

#endif
