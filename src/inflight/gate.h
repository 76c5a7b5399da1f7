/* SPDX-License-Identifier: MIT */
/* A gate: one thread waits until another opens it. Private to src/inflight.
 *
 * Like a semaphore of one, but it costs no system call where the opener is quicker than the waiter
 * falls asleep. What was stored before gate_open() is seen after gate_wait(). The opener touches
 * the gate's memory no more once the waiter may have gone on (it only names the address). */
#ifndef STABLEFS_INFLIGHT_GATE_H
#define STABLEFS_INFLIGHT_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct gate {
	_Atomic uint32_t state;
};

#define GATE_NO_LIMIT UINT64_MAX

/* Closed; for a gate that nobody waits at. */
void gate_init(struct gate *gate);

/* Any thread, once for each wait. */
void gate_open(struct gate *gate);

/* Wait until it is open, and close it again. The first @spin_ns without sleeping. */
void gate_wait(struct gate *gate, uint64_t spin_ns);

/* The same, for at most @limit_ns (GATE_NO_LIMIT: for ever). False: it was not opened. */
bool gate_wait_for(struct gate *gate, uint64_t limit_ns);

#endif
