/* SPDX-License-Identifier: MIT */
/* Faults and mutations that a mount can be told to have: who resolves names of members, areas and
 * files to byte ranges, and knows what is armed.
 *
 *	injection_new -> a factory for volume_open -> injection_serve -> injection_command ...
 */
#ifndef STABLEFS_CLI_INJECTION_H
#define STABLEFS_CLI_INJECTION_H

#include <stdio.h>
#include "base/errmsg.h"
#include "fs/fs.h"
#include "inflight/flip.h"
#include "io/io.h"
#include "volume/volume.h"

struct injection;

/* @inner: where members come from; borrowed. -ENOMEM. */
int injection_new(const struct io_factory *inner, struct injection **out);
void injection_free(struct injection *i); /* accepts NULL; the volume is closed before */

const struct io_factory *injection_factory(struct injection *i);
struct flip_set *injection_flips(struct injection *i);

/* The volume and its files are there; NULL: they are about to go. */
void injection_serve(struct injection *i, struct volume *v, struct fs *fs);

/* One line: a fault (io/fault_text.h), "disarm N", "disarm all", "seed N". When it returns 0 what
 * begins from now on meets it; *@id (may be NULL) is what it is listed as. -EINVAL, -ENOENT (no
 * such file, or id), -ENODEV (no such member), -ENODATA (nothing of the file is on the members),
 * -E2BIG (it is in too many pieces). Any thread that may wait for the file system. */
int injection_command(struct injection *i, const char *line, int *id, struct errmsg *why);

/* What is armed, as JSON, malloc'd; NULL: out of memory. */
char *injection_json(struct injection *i, size_t *len);

/* A query (front_options.query): nothing: the listing; else a command, answered with {"id": N}, 0
 * where it arms nothing; or {"error": "..."} and -errno. */
int injection_query(struct injection *i, const char *line, FILE *out);

#endif
