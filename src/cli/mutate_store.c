/* SPDX-License-Identifier: MIT */
/* The storing thread of the mutator. */
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/mutate_internal.h"

#define STORING_NICE (-15)

static void store_next(const struct mutator *m, struct mutate_slot *slot, uint64_t sector)
{
	uint64_t number = atomic_load_explicit(&slot->begun, memory_order_relaxed) + 1;
	uint64_t *word = (uint64_t *)(slot->buffer + sector * MUTATE_SECTOR);
	atomic_store_explicit(&slot->begun, number, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* begun is seen before the word */
	__atomic_store_n(word, mutate_value_of(m, number), __ATOMIC_RELAXED);
	atomic_store_explicit(&slot->done, number, memory_order_release);
}

/* On a busy machine the storing thread should not wait for a CPU while a write goes by. Needs
 * CAP_SYS_NICE; without it the race is as it comes. */
static void ask_for_cpu(void)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), STORING_NICE);
}

void *mutate_store_continuously(void *mutator)
{
	struct mutator *m = mutator;
	ask_for_cpu();
	for (uint64_t sector = 0; !m->stop; sector = (sector + 1) % m->sectors)
		for (unsigned i = 0; i < m->depth; i++)
			store_next(m, &m->slots[i], sector);
	return NULL;
}

static bool is_due(struct mutate_slot *slot)
{
	return slot->done < slot->asked && clock_monotonic_ns() >= slot->due_ns;
}

/* A slot that waits for its time makes the thread look again at once; else others may run. */
void *mutate_store_when_asked(void *mutator)
{
	struct mutator *m = mutator;
	while (!m->stop) {
		bool waiting = false;
		for (unsigned i = 0; i < m->depth; i++) {
			struct mutate_slot *slot = &m->slots[i];
			if (is_due(slot))
				store_next(m, slot, slot->random % m->sectors);
			waiting |= slot->done < slot->asked;
		}
		if (!waiting)
			sched_yield();
	}
	return NULL;
}
