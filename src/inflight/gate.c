/* SPDX-License-Identifier: MIT */
/* Gates, over futex(2).
 *
 *	CLOSED --gate_wait--> ASLEEP --gate_open--> OPEN --gate_wait goes on--> CLOSED
 *	CLOSED ----------------gate_open----------> OPEN	nobody sleeps: no system call */
#include "inflight/gate.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"

enum { CLOSED, ASLEEP, OPEN };

#define SPINS_PER_LOOK 32u /* at the clock */

static void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

void gate_init(struct gate *gate)
{
	atomic_init(&gate->state, CLOSED);
}

void gate_open(struct gate *gate)
{
	if (atomic_exchange(&gate->state, OPEN) == ASLEEP)
		syscall(SYS_futex, &gate->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool is_open(struct gate *gate)
{
	return atomic_load_explicit(&gate->state, memory_order_acquire) == OPEN;
}

static void spin(struct gate *gate, uint64_t spin_ns)
{
	uint64_t end_ns = clock_monotonic_ns() + spin_ns;
	while (!is_open(gate) && clock_monotonic_ns() < end_ns)
		for (unsigned i = 0; i < SPINS_PER_LOOK && !is_open(gate); i++)
			cpu_relax();
}

/* Until it is open, or until @due_ns. */
static void await_open(struct gate *gate, uint64_t due_ns)
{
	struct timespec due = {
		.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
	uint32_t closed = CLOSED;
	atomic_compare_exchange_strong(&gate->state, &closed, ASLEEP);
	while (!is_open(gate)) {
		long ret = syscall(SYS_futex, &gate->state, FUTEX_WAIT_BITSET_PRIVATE, ASLEEP,
			due_ns == GATE_NO_LIMIT ? NULL : &due, NULL, FUTEX_BITSET_MATCH_ANY);
		if (ret < 0 && errno == ETIMEDOUT)
			return;
	}
}

void gate_wait(struct gate *gate, uint64_t spin_ns)
{
	if (spin_ns)
		spin(gate, spin_ns);
	await_open(gate, GATE_NO_LIMIT);
	atomic_store(&gate->state, CLOSED);
}

bool gate_wait_for(struct gate *gate, uint64_t limit_ns)
{
	bool for_ever = limit_ns == GATE_NO_LIMIT;
	await_open(gate, for_ever ? GATE_NO_LIMIT : clock_monotonic_ns() + limit_ns);
	return atomic_exchange(&gate->state, CLOSED) == OPEN;
}
