/* SPDX-License-Identifier: MIT */
/* An error that people read: it names the thing and the way out.
 *
 * Functions that can fail for a reason a user must understand take a `struct errmsg *why`
 * (may be NULL) beside the -errno that they return. The first message wins. */
#ifndef STABLEFS_BASE_ERRMSG_H
#define STABLEFS_BASE_ERRMSG_H

#include <stddef.h>

struct errmsg {
	char text[512]; /* one line, without a full stop or newline; "" where nothing was said */
};

/* Say why, unless something was said already, and return @err: `return errmsg_set(why, -EINVAL,
 * "...")`. */
int errmsg_set(struct errmsg *why, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "WHERE: " in front of what was said; says strerror(-@err) first where nothing was. */
int errmsg_prefix(struct errmsg *why, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
