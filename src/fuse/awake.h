/* SPDX-License-Identifier: MIT */
/* Processors that stay awake while requests come one after the other.
 *
 * Who asks one thing after the other waits for us, and we for them: each time a thread is woken on
 * a processor that has just gone to sleep. The interrupt that it takes, and the rise from there,
 * cost more than what most requests ask for; in a guest both go through the hypervisor. So while
 * many requests come, the kernel is asked to have idle processors look for work instead of halting,
 * by the interface that it has for those who cannot wait for one (/dev/cpu_dma_latency, root's; the
 * kernel's Documentation/power/pm_qos_interface.rst). What was asked for goes with the open file,
 * and so with the process, however that ends.
 *
 * It concerns the whole machine, draws power, and slows what shares a core with an idle processor:
 * so whoever mounts has to want it, and it is given up a moment after fewer requests come.
 * Owner thread: the one that runs the clock. */
#ifndef STABLEFS_FUSE_AWAKE_H
#define STABLEFS_FUSE_AWAKE_H

#include <stdbool.h>
#include <stdint.h>

#define AWAKE_DEVICE "/dev/cpu_dma_latency"

/* So many requests in a tick of the clock are many; and so many ticks without end it. */
#define AWAKE_REQUESTS 16u
#define AWAKE_TICKS    5u

struct awake {
	int fd; /* owned; -1: it is never asked for */
	bool held;
	unsigned calm_ticks; /* in a row */
	uint64_t seen;       /* requests, at the last tick */
};

/* @device: AWAKE_DEVICE, or a test's file; NULL, or one that cannot be opened: never ask. */
void awake_init(struct awake *a, const char *device);
void awake_fini(struct awake *a);

/* A tick: there have been @requests so far. True: it was asked for just now. */
bool awake_tick(struct awake *a, uint64_t requests);

#endif
