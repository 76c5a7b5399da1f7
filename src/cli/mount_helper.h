/* SPDX-License-Identifier: MIT */
/* The program under the names by which mount(8) and umount(8) call it: mount.stablefs,
 * mount.fuse.stablefs, umount.stablefs, umount.fuse.stablefs.
 *
 *	mount.TYPE SOURCE DIRECTORY [-sfnv] [-o LIST] [-N NAMESPACE] [-t TYPE]
 *	umount.TYPE DIRECTORY [-flnrv] [-N NAMESPACE] [-t TYPE]
 *
 * (mount(8) and umount(8), "external helpers"; util-linux 2.38.) Exit status as theirs: 0 done,
 * 1 usage or permissions, 2 the system has no memory or process to give, 32 it failed. */
#ifndef STABLEFS_CLI_MOUNT_HELPER_H
#define STABLEFS_CLI_MOUNT_HELPER_H

#include <stdbool.h>

/* Is @program (argv[0]) such a name? */
bool mount_helper_is_name(const char *program);
int mount_helper_main(int argc, char **argv);

/* What umount.TYPE does (umount_helper.c). */
struct umount_request {
	const char *mountpoint;
	bool force, lazy, read_only_instead;
};
int umount_helper_run(const struct umount_request *r);

enum mount_helper_status {
	HELPER_DONE = 0,
	HELPER_USAGE = 1,
	HELPER_SYSTEM = 2,
	HELPER_FAILED = 32
};

#endif
