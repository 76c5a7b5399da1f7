/* SPDX-License-Identifier: MIT */
/* Synchronous writes (O_SYNC, O_DSYNC, RWF_DSYNC) that went around the kernel's page cache: the
 * kernel does not ask for the sync that belongs to them. A thread does it; writes that end while it
 * is busy share the next one of their file.
 * Owner thread: any may post; sync() and done() run on the syncer's. */
#ifndef STABLEFS_FUSE_SYNCER_H
#define STABLEFS_FUSE_SYNCER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct syncer;

/* Embedded in another; the caller's again when done() begins. */
struct sync_job {
	struct list_node node;
	uint64_t ino;
	bool data_only; /* as of fdatasync(2) */
	void (*done)(struct sync_job *job, int err);
};

/* How a file is synced: what was written before it began is durable when it returns 0. */
typedef int syncer_fn(void *ctx, uint64_t ino, bool data_only);

int syncer_new(syncer_fn *sync, void *ctx, struct syncer **out);
void syncer_free(struct syncer *s); /* does what was posted; accepts NULL */

/* What is to be durable has been written. Any thread. */
void syncer_post(struct syncer *s, struct sync_job *job);

#endif
