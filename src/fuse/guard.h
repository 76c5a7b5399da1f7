/* SPDX-License-Identifier: MIT */
/* A small process beside the daemon that ends the connection when the daemon is killed.
 *
 * A daemon that dies closes /dev/fuse, and the kernel fails whatever waits for its answers. But a
 * thread of the daemon itself may be waiting for them: dropping pages waits until they have been
 * written back, which its fellow threads serve. When these are killed it waits for ever, cannot be
 * killed, and keeps the device open: the daemon stays as a zombie, and all who use the mount hang.
 * So the kernel tells the guard when the thread that started it dies (PR_SET_PDEATHSIG), and the
 * guard aborts the connection (Documentation/filesystems/fuse.rst, "Control filesystem"): users of
 * the mount get ECONNABORTED and ENOTCONN, as after any other death.
 *
 * Owner thread: the one that runs the front; it lives from start to stop. */
#ifndef STABLEFS_FUSE_GUARD_H
#define STABLEFS_FUSE_GUARD_H

#include <stdint.h>
#include <sys/types.h>

struct guard {
	pid_t pid; /* 0: none */
};

/* Guard the connection of the mount whose st_dev is @dev. Where that cannot be (the control
 * filesystem is neither mounted nor to be mounted by us) there is none, and umount -f is needed
 * after a kill at such a moment. */
void guard_start(struct guard *g, uint64_t dev);

/* The daemon ends in good order. */
void guard_stop(struct guard *g);

#endif
