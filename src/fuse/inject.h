/* SPDX-License-Identifier: MIT */
/* The control file inject: faults are armed by lines, and listed as JSON. */
#ifndef STABLEFS_FUSE_INJECT_H
#define STABLEFS_FUSE_INJECT_H

#include <stddef.h>

struct front;

/* What was written: lines, the first that fails ends it. Acknowledged: what begins after the return
 * meets the fault. 0, -EINVAL, -EOPNOTSUPP (a mount that does not inject), or why not. */
int inject_write(struct front *f, const char *data, size_t len_bytes);

/* The listing, the caller's to free; "{}" where the mount does not inject. NULL: out of memory. */
char *inject_text(struct front *f, size_t *len_bytes);

#endif
