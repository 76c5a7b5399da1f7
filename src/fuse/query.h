/* SPDX-License-Identifier: MIT */
/* One open of the control file query: a line goes in, an answer comes out, and so on.
 *
 *	IDLE --query_ask--> RUNNING --answer (its thread)--> READY --query_read to the end--> IDLE
 *
 * A read while it is RUNNING is parked: answered when the answer is there, or with EINTR when the
 * reader is interrupted. */
#ifndef STABLEFS_FUSE_QUERY_H
#define STABLEFS_FUSE_QUERY_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse3/fuse_lowlevel.h>
#include <stdio.h>

struct query;
struct query_group;

#define QUERY_LINE_BYTES  8192u
#define QUERY_MAX_RUNNING 16u

/* What answers (front_options.query); runs on a thread of its own. */
typedef int query_fn(void *ctx, const char *line, FILE *out);

/* All the queries of a mount. NULL: out of memory. */
struct query_group *query_group_new(query_fn *fn, void *ctx);
void query_group_wait(struct query_group *g); /* until no answer is under way */
void query_group_free(struct query_group *g); /* accepts NULL; waited for */

struct query *query_new(struct query_group *g); /* NULL: out of memory */

/* Does not wait: an answer under way is dropped when it is there. Accepts NULL. A parked read is
 * answered with EIO. */
void query_free(struct query *q);

/* Begin. -EBUSY: one runs, or QUERY_MAX_RUNNING in all; -EINVAL: no line, or too long; -EOPNOTSUPP:
 * nothing answers. An answer that was not read to its end is dropped. */
int query_ask(struct query *q, const char *data, size_t len_bytes);

/* The next part of the answer, at most @size bytes, nothing at its end. Replies, now or later. */
void query_read(struct query *q, fuse_req_t req, size_t size);

#endif
