/* SPDX-License-Identifier: MIT */
/* Starting a program (CMD), following its libaio submissions (follow.h), passing signals on to it,
 * and waiting for it and for all that descend from it.
 *
 *	launch_new -> launch_go -> launch_next ... -> launch_free
 *
 * Owner thread: one at a time; launch_new() is called before the process has other threads, since
 *   it forks, and blocks signals in all that are made later.
 * Invariants: I1 every process that descends from CMD is waited for here: this process is made a
 *   subreaper (prctl(2)), and must have no other children meanwhile. I2 what is ended here is a
 *   child that was not waited for yet: its pid is nobody else's.
 * May use: inflight. Must not know: volumes, FUSE. */
#ifndef STABLEFS_CLI_LAUNCH_H
#define STABLEFS_CLI_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>
#include "base/errmsg.h"
#include "cli/follow.h"

struct launch_config {
	char *const *argv; /* NULL-terminated; a relative path in argv[0] counts from here */
	const char *dir;   /* its working directory, entered by launch_go(); NULL: ours */
	int out_fd;        /* becomes its stdout; -1: ours */
};

struct launch;

/* The process is made, and waits. SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGCHLD are blocked here
 * from now on. Borrows @config's strings until launch_go(). */
int launch_new(const struct launch_config *config, struct launch **out, struct errmsg *why);

/* Its table of submissions (a memfd; borrowed), for aio_table_map() or for a daemon. */
int launch_table(const struct launch *l);

/* Run the program. -errno: it cannot be run (-ENOENT, -EACCES, ..); it has ended then. */
int launch_go(struct launch *l, struct errmsg *why);

/* After launch_go(): why its libaio submissions are not followed; NULL: they are. */
const char *launch_unfollowed(const struct launch *l);
struct follow_stats launch_follow_stats(const struct launch *l);

enum launch_event {
	LAUNCH_TIMEOUT,
	LAUNCH_SIGNALED,  /* one of the signals above came; it was passed on */
	LAUNCH_CMD_ENDED, /* once; others that descend from it live */
	LAUNCH_ALL_ENDED, /* nobody is left */
};
/* Wait for the next event, up to @timeout_ms (-1: for ever). A signal that the terminal sent went
 * to CMD, too, and is not sent again; others are passed on to it, or, where it has ended, to all of
 * our children. */
enum launch_event launch_next(struct launch *l, int timeout_ms);

/* Of CMD when it has ended, as a shell has it: its exit status, or 128 and the signal. */
int launch_status(const struct launch *l);

/* End all that is left by SIGKILL, waiting for up to @timeout_ms. True: nobody is left. */
bool launch_kill(struct launch *l, int timeout_ms);

/* Accepts NULL. A program that still waits to be run, or runs, is ended. */
void launch_free(struct launch *l);

#endif
