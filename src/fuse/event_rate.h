/* SPDX-License-Identifier: MIT */
/* How many mutation events a process may have in a second, and what is to be said of the rest.
 *
 * A second is a process's own: it begins with its first event after the last one was over. What is
 * above the limit is counted by process until it is taken, which it is from the end of that second
 * on. Beyond EVENT_RATE_PROCESSES at a time, processes share one limit and one count (pid 0). The
 * caller's lock is the only one; nothing waits. Times are CLOCK_MONOTONIC. */
#ifndef STABLEFS_FUSE_EVENT_RATE_H
#define STABLEFS_FUSE_EVENT_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EVENT_RATE_PROCESSES 256u

struct event_rate {
	unsigned limit;  /* events a second */
	uint64_t due_ns; /* when something is to be said, or before; UINT64_MAX: never */
	struct event_rate_second {
		pid_t pid;
		uint64_t begun_ns; /* 0: never used */
		unsigned passed;
		uint64_t dropped; /* and not said yet */
		uint64_t due_ns;  /* when they are to be said */
	} seconds[EVENT_RATE_PROCESSES], shared;
};

void event_rate_init(struct event_rate *r, unsigned limit);

/* False: it is above the limit, and was counted. */
bool event_rate_admit(struct event_rate *r, pid_t pid, uint64_t now_ns);

/* One process's count that is due, or any (@all). False: none. */
struct event_rate_drop {
	pid_t pid;
	uint64_t count;
};
bool event_rate_take(struct event_rate *r, uint64_t now_ns, bool all, struct event_rate_drop *out);

#endif
