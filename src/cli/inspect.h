/* SPDX-License-Identifier: MIT */
/* Looking at a volume: its state, a superblock, a stripe with its tuples, where a file lies and who
 * shares its stripes. Each writes one JSON document; on an error nothing was written. */
#ifndef STABLEFS_CLI_INSPECT_H
#define STABLEFS_CLI_INSPECT_H

#include "cli/service.h"

int inspect_status(struct service *s, FILE *out);

/* The superblock of each present member. */
int inspect_super(struct service *s, FILE *out);

/* @number: of the stripe, as text. Its blocks: member, tuple, guard computed, owner. */
int inspect_stripe(struct service *s, const char *number, FILE *out, struct errmsg *why);

/* @path: absolute, in the file system (or below the mount point). Its extents with stripes and
 * members; with @shares also the other files in these stripes. */
int inspect_file(struct service *s, const char *path, bool shares, FILE *out, struct errmsg *why);

#endif
