/* SPDX-License-Identifier: MIT */
/* The memory of another process's rings: where it is, and reading it. Private to src/inflight.
 *
 * Two ways, of which the first that works is used:
 *  - Through the process's own mapping, with process_vm_readv(2): Linux 6.11 and later (6.10 maps
 *    rings by pages that others may read; 6.11 has PROCMAP_QUERY). Nothing of the process is held,
 *    so it ends, and its files are closed, when it likes; a ring whose descriptor was closed or
 *    registered is seen, too. The mapping is looked at each time before it is read: it may be gone,
 *    and a file of ours be in its place.
 *  - Through a duplicate of the ring's descriptor (pidfd_getfd(2), Linux 5.6) and a mapping of our
 *    own. Duplicate and mapping last for one reading: a ring that is held keeps the files open that
 *    its process registered, and the mount busy. That costs some microseconds more each time, on
 *    kernels that will not get faster. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_MEMORY_H
#define STABLEFS_INFLIGHT_LIVE_RING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum ring_way { RING_BY_MAPPING, RING_BY_DESCRIPTOR };

struct ring_memory {
	enum ring_way way;
	pid_t pid;
	uint64_t ino;  /* of the ring's anonymous file: which ring it is */
	int remote_fd; /* its number in that process, -1: not looked for */
	/* In the process, or in ours while attached by descriptor. There may be less behind
	 * them. */
	uint64_t ring, ring_bytes;
	uint64_t sqes, sqes_bytes;
};

/* Ready to be read, until detached. 0; -ENOENT: the ring is not there any more; -EFAULT: it cannot
 * be read; -ENOTTY: the kernel is too old for this way; -ESRCH, -EPERM. @maps_fd: of
 * /proc/PID/maps; -1 by descriptor. */
int ring_memory_attach(struct ring_memory *m, int maps_fd);
void ring_memory_detach(struct ring_memory *m);

/* Ranges of ring and entries (addresses from @m, attached) one after the other into @out. */
int ring_memory_read(
	const struct ring_memory *m, const struct iovec *ranges, unsigned count, void *out);

#define RING_MAX_RINGS 256u /* of one process; more are not seen */

/* The rings of process @pid, at most RING_MAX_RINGS, into @out. How many, or -errno. */
int ring_memory_scan(pid_t pid, enum ring_way way, struct ring_memory *out);

/* True where the process has a ring among its descriptors that is not among the @count numbers. */
bool ring_memory_has_other(pid_t pid, const uint64_t *inos, unsigned count);

#endif
