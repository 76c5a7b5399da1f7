/* SPDX-License-Identifier: MIT */
/* Waits that have an end: what is to be told when something has happened, or when it has not for so
 * long, by whoever of the two comes first. A clock of its own, since what is waited for may hang.
 * Owner thread: any may begin and end waits; over() runs on the clock's. */
#ifndef STABLEFS_FUSE_PATIENCE_H
#define STABLEFS_FUSE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct patience;

/* Embedded in another; the caller's again when over() begins, or patience_end() was true. */
struct patience_wait {
	struct list_node node;
	uint64_t due_ns;
	void (*over)(struct patience_wait *wait);
};

/* All waits end after @ns. */
int patience_new(uint64_t ns, struct patience **out);
void patience_free(struct patience *p); /* what waits is over at once; accepts NULL */

/* wait->over() runs once, unless it is ended before. */
void patience_begin(struct patience *p, struct patience_wait *wait);
/* False: it is over, or just about to be. */
bool patience_end(struct patience *p, struct patience_wait *wait);

#endif
