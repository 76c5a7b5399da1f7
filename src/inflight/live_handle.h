/* SPDX-License-Identifier: MIT */
/* Descriptors of what procfs tells of a thread, kept open between its requests: to open one costs
 * five microseconds, to ask again less than one. Private to src/inflight.
 *
 * At most LIVE_HANDLES threads, two descriptors each, each for LIVE_HANDLE_NS; then they are closed
 * as others come and go. They hold nothing of the process but a few structures of the kernel.
 *
 * A descriptor of the maps shows the address space of when it was opened. After an execve(2) that
 * one is gone, which is noticed, unless another process shares it (the child of a vfork(2) that
 * writes to us, executes a program, and writes again, all within LIVE_HANDLE_NS): so a thread that
 * waits must have its program counter in an executable mapping of it. */
#ifndef STABLEFS_INFLIGHT_LIVE_HANDLE_H
#define STABLEFS_INFLIGHT_LIVE_HANDLE_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "base/clock.h"
#include "inflight/live_procfs.h"

#define LIVE_HANDLES   64u
#define LIVE_HANDLE_NS (100 * NS_PER_MS)

/* Of one request that is being looked for. */
struct live_handle {
	pid_t tid; /* 0: none */
	uint64_t opened_ns;
	int syscall_fd, maps_fd; /* -1: not open */
};

struct live_handles {
	pthread_mutex_t lock; /* protects what follows; descriptors are closed under it */
	struct live_handle slots[LIVE_HANDLES];
	unsigned swept; /* the slot that is looked at next for being old */
};

void live_handles_init(struct live_handles *t);
void live_handles_destroy(struct live_handles *t);

/* The thread's descriptors, if there are any and nobody has them now; give them back. */
void live_handle_take(struct live_handles *t, pid_t tid, struct live_handle *out);
void live_handle_give(struct live_handles *t, struct live_handle *h);

/* As procfs_read_syscall(). What it shows is checked against the maps as said above. */
int live_handle_read_syscall(
	struct live_handle *h, uint64_t patience_ns, struct procfs_syscall *out);

/* As live_maps_ask(): pieces in mappings of @dev? */
int live_handle_ask_maps(
	struct live_handle *h, const struct iovec *pieces, unsigned count, uint64_t dev);

#endif
