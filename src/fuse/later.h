/* SPDX-License-Identifier: MIT */
/* Work for a thread that may wait: one after the other, in the order in which it was posted. The
 * front has one for what a completion wants to start anew (fs_submit() is not for the engine's
 * thread); the dropper (coherence.h) is one, and each syncer has one. */
#ifndef STABLEFS_FUSE_LATER_H
#define STABLEFS_FUSE_LATER_H

#include "base/list.h"

struct later;

/* Embedded in another; the caller's again when run() begins. */
struct later_job {
	struct list_node node;
	void (*run)(struct later_job *job);
};

int later_new(struct later **out);
void later_free(struct later *l); /* runs what was posted; accepts NULL */

void later_post(struct later *l, struct later_job *job); /* any thread */

#endif
