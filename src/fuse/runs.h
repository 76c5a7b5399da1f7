/* SPDX-License-Identifier: MIT */
/* The control file run: process trees that say of themselves how their direct I/O is to be done,
 * for as long as they keep the file open (`stablefs run`, `stablefs check`, or a shell script).
 *
 *	root=PID [dio=POLICY] [aio=FD]
 *
 * All that descends from process PID has that policy. PID is the one that writes the line or one
 * that descends from it, of the same user unless that is root; numbers are those of the daemon's
 * pid namespace. FD is a descriptor of the process that writes the line: an aio_table.h of the
 * libaio submissions in the tree.
 *
 * Any thread; one lock, held for the list alone. */
#ifndef STABLEFS_FUSE_RUNS_H
#define STABLEFS_FUSE_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "inflight/policy.h"
#include "inflight/tree.h"

#define RUNS_LINE_BYTES 128u

struct runs;
int runs_new(struct trees *trees, struct runs **out); /* borrowed, outlives it */
void runs_free(struct runs *r);                       /* accepts NULL; nothing is registered */

/* A line, taken apart. -EINVAL: none of that form. */
struct runs_line {
	pid_t root;
	bool has_policy;
	enum dio_policy policy;
	int aio_fd; /* -1: none */
};
int runs_parse(const char *data, size_t len_bytes, struct runs_line *out);

struct runs_asker {
	pid_t tid; /* who writes the line, waiting for the answer */
	/* Its own, and whose the file was opened by. Root's word counts where both are 0: nobody
	 * gets it by handing the descriptor to a program of root's. */
	uid_t uid, opener_uid;
	enum dio_policy mount;
	bool weaken; /* as dio_choice has them */
};

/* One registration, by a line. *@out is for runs_remove(). -EINVAL: not of the form, or FD is no
 * such table; -EPERM: PID is no process of the asker's, FD cannot be taken from it, or the policy
 * is not stable and would not count (dio_policy_choose()); -ESRCH: there is no process PID;
 * -EBADF: no descriptor FD; -ENOSPC: too many; -ENOMEM. */
struct run;
int runs_add(struct runs *r, const struct runs_asker *asker, const char *data, size_t len_bytes,
	struct run **out);
void runs_remove(struct runs *r, struct run *run); /* accepts NULL */

/* {"runs": [{"root", "uid", "policy", "aio"}]}, in order of registration. NULL: out of memory. */
char *runs_json(struct runs *r, size_t *len_bytes);

#endif
