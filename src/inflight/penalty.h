/* SPDX-License-Identifier: MIT */
/* The processes that made somebody wait to the limit. Private to the sampler, under its lock.
 *
 * A process is in the table for SAMPLER_PENALTY_NS, and for as long as a thread hangs in it. */
#ifndef STABLEFS_INFLIGHT_PENALTY_H
#define STABLEFS_INFLIGHT_PENALTY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "inflight/sampler.h"

/* More than threads that may hang: there is always a row without one. */
#define PENALTY_ROWS (2 * SAMPLER_MAX_THREADS)

struct penalties {
	unsigned count;
	struct penalty {
		pid_t tgid;
		unsigned hanging; /* threads of ours */
		uint64_t until_ns;
	} rows[PENALTY_ROWS];
};

/* A thread hangs in the process of thread @tid. Returns the process, for penalty_unhang(). */
pid_t penalty_hang(struct penalties *p, pid_t tid, uint64_t now_ns);

/* It has come back. */
void penalty_unhang(struct penalties *p, pid_t tgid);

/* Is the process of thread @tid not to be looked at? */
bool penalty_applies(struct penalties *p, pid_t tid, uint64_t now_ns);

#endif
