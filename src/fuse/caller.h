/* SPDX-License-Identifier: MIT */
/* What else there is to know of the process that a request is from: its groups and capabilities, by
 * procfs. For the few rules that the kernel leaves to a file system; not on a path that is hot.
 * Owner thread: the worker that handles the request: the caller waits meanwhile. */
#ifndef STABLEFS_FUSE_CALLER_H
#define STABLEFS_FUSE_CALLER_H

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct fuse_req *fuse_req_t;

/* In its effective set. Where procfs does not say: root is, nobody else. */
bool caller_is_capable(fuse_req_t req, unsigned capability);
/* By its group or a supplementary one. */
bool caller_is_in_group(fuse_req_t req, gid_t gid);

/* Of a text as /proc/PID/status is: false where it does not say. */
bool caller_parse_capable(const char *status, unsigned capability, bool *capable);
bool caller_parse_in_group(const char *status, gid_t gid);

#endif
