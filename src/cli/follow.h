/* SPDX-License-Identifier: MIT */
/* Following a program's libaio submissions: a seccomp filter (seccomp(2)) makes each io_submit(2)
 * of a process and of all that descend from it wait until a supervisor here has copied its control
 * blocks into a table (inflight/aio_table.h), and then go on as if nothing were.
 * Owner thread: whoever made it starts and frees it; inside, one thread supervises, and one looks
 *   after that one.
 * Invariants: I1 a submission always goes on, be it understood or not. I2 nothing is recorded of a
 *   process that has ended meanwhile. I3 the program can hold up nobody but itself: reading its
 *   memory may wait (userfaultfd(2), a mmap lock); after FOLLOW_STALL_NS another thread supervises,
 *   and that one is left to itself.
 * May use: inflight. Must not know: volumes, FUSE.
 *
 * The filter lets all other calls pass, and all calls of 32-bit programs (their libaio is not
 * followed). When the supervisor is gone, io_submit fails with ENOSYS in what is left of the
 * program: so it must outlive it. */
#ifndef STABLEFS_CLI_FOLLOW_H
#define STABLEFS_CLI_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"

#define FOLLOW_STALL_NS    (100 * NS_PER_MS)
#define FOLLOW_MAX_STALLED 16u /* threads; then all submissions wait for one of them */

/* In the process that is to be followed, with one thread: install the filter. The listener, which
 * is the supervisor's, or -errno: -EBUSY (somebody follows it already), -EACCES or -EPERM
 * (refused), -ENOSYS (the kernel or the processor cannot). Where the process lacks CAP_SYS_ADMIN
 * it gives up the right to gain privileges (prctl(2), PR_SET_NO_NEW_PRIVS). */
int follow_install(void);

struct follower;

/* Makes the table; *@memfd is borrowed from the follower, to be passed on to daemons. */
int follower_new(int *memfd, struct follower **out);

/* Takes @listener in every case. 0 or -errno. Once. */
int follower_start(struct follower *f, int listener);

/* Accepts NULL. The program should have ended. */
void follower_free(struct follower *f);

struct follow_stats {
	uint64_t submissions; /* calls of io_submit */
	uint64_t recorded;    /* control blocks of reads and writes */
	uint64_t unreadable;  /* submissions or blocks that could not be read */
	unsigned stalled;     /* threads that hang in the program's memory */
};
struct follow_stats follower_stats(struct follower *f); /* any thread */

#endif
