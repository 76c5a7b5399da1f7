/* SPDX-License-Identifier: MIT */
/* A sweep over stripes: a ring of checks under way, whose results are taken in the order in which
 * they were posted. The window is bounded by memory: a check holds all chunks of its stripe. */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include "base/cleanup.h"

#define WINDOW_MAX   64u
#define WINDOW_BYTES (UINT64_C(16) << 20)

struct sweep_slot {
	struct stripe_check check;
	struct volume_waiter waiter;
	struct sweep *sweep;
};

static unsigned window_size(const struct geometry *g)
{
	uint64_t stripe_bytes = (uint64_t)geometry_slots(g) * g->chunk_blocks * BLOCK_BYTES;
	return (unsigned)min_u64(max_u64(WINDOW_BYTES / stripe_bytes, 1), WINDOW_MAX);
}

static void slot_checked(struct stripe_check *check, int err)
{
	struct sweep_slot *slot = container_of(check, struct sweep_slot, check);
	if (slot->sweep->checked)
		slot->sweep->checked(slot->sweep, check, err);
	volume_signal(slot->sweep->volume, &slot->waiter, err);
}

static void slot_start(struct sweep_slot *slot, struct sweep *sweep, uint64_t stripe)
{
	*slot = (struct sweep_slot){.sweep = sweep,
		.check = {.mode = sweep->mode, .stripe = stripe, .done = slot_checked}};
	stripe_check(sweep->volume->eng, &slot->check);
}

int sweep_run(struct sweep *sweep)
{
	struct volume *v = sweep->volume;
	unsigned window = window_size(&v->geometry), oldest = 0, under_way = 0;
	cleanup(cleanup_freep) struct sweep_slot *slots = calloc(window, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	uint64_t stripe = 0;
	int err = 0;
	for (;;) {
		while (err == 0 && under_way < window) {
			stripe = sweep->next(sweep, stripe);
			if (stripe >= v->geometry.stripes)
				break;
			slot_start(&slots[(oldest + under_way++) % window], sweep, stripe++);
		}
		if (under_way == 0)
			return err;
		struct sweep_slot *slot = &slots[oldest];
		volume_wait(v, &slot->waiter);
		if (err == 0)
			err = sweep->result(sweep, &slot->check, slot->waiter.err);
		oldest = (oldest + 1) % window;
		under_way--;
	}
}
