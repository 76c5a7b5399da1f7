/* SPDX-License-Identifier: MIT */
/* Process trees that somebody runs under stablefs (`stablefs run`, `stablefs check`): a root
 * process with all that descend from it, what it says of direct I/O, and the libaio submissions
 * that its supervisor saw.
 * Owner thread: any; one lock. Invariants: I1 a tree speaks for its own processes only: what its
 *   table says of others is not believed. I2 a tree is removed when its owner goes; and a process
 *   that got the pid of a dead root is no root.
 * May use: base, procfs. Must not know: FUSE, seccomp.
 *
 * Whoever adds a tree for somebody else makes sure that the root is his to speak for.
 *
 * The root is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), so that every descendant's chain of
 * parents leads to it for as long as it lives. */
#ifndef STABLEFS_INFLIGHT_TREE_H
#define STABLEFS_INFLIGHT_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "inflight/aio_table.h"
#include "inflight/policy.h"

#define TREES_MAX 64u /* at a time */

struct trees;

int trees_new(struct trees **out);
void trees_free(struct trees *t); /* accepts NULL; removes all */

struct tree_config {
	pid_t root;            /* its descendants, not itself; in our pid namespace */
	struct dio_say say;    /* its policy; !said: none */
	struct aio_table *aio; /* takes it, also where it fails; NULL: none */
	/* Whose table it is: believed of this user's processes alone, and of none that has gained
	 * rights by its program (setuid), so that nobody points us at memory that is not his. 0:
	 * believed of the whole tree. */
	uid_t aio_owner;
};
/* The number of the tree, above 0; -ENOMEM, -ENOSPC (too many), -ESRCH (no such root). */
int trees_add(struct trees *t, const struct tree_config *config);
void trees_remove(struct trees *t, int number); /* unknown numbers are ignored */

/* What the innermost tree of thread @tid says; !said where it is in none. Who descends from whom is
 * remembered for up to a tenth of a second. @t may be NULL. */
struct dio_say trees_say(struct trees *t, pid_t tid);

/* Look a submission of the process of @tid up in the tables of its trees, from the innermost
 * outwards. @wanted->tgid: its process; @out as in aio_table_find(). @t may be NULL. */
enum aio_found trees_find_aio(
	struct trees *t, pid_t tid, const struct aio_wanted *wanted, struct aio_entry *out);

bool trees_empty(const struct trees *t); /* cheap; accepts NULL */

#endif
