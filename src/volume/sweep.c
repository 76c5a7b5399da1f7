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

struct window {
	struct sweep_slot *slots; /* owned */
	unsigned size, oldest, under_way;
};

static unsigned window_size(const struct geometry *g)
{
	uint64_t stripe_bytes = (uint64_t)geometry_slots(g) * g->chunk_blocks * BLOCK_BYTES;
	return (unsigned)min_u64(max_u64(WINDOW_BYTES / stripe_bytes, 1), WINDOW_MAX);
}

static void slot_checked(struct stripe_check *check, int err)
{
	struct sweep_slot *slot = container_of(check, struct sweep_slot, check);
	volume_signal(slot->sweep->volume, &slot->waiter, err);
}

static void slot_start(struct sweep_slot *slot, struct sweep *sweep, uint64_t stripe)
{
	*slot = (struct sweep_slot){.sweep = sweep,
		.check = {.mode = sweep->mode,
			.stripe = stripe,
			.member = sweep->member,
			.done = slot_checked}};
	stripe_check(sweep->volume->eng, &slot->check);
}

/* Start what may start. */
static enum sweep_step window_fill(struct sweep *sweep, struct window *w)
{
	while (w->under_way < w->size) {
		uint64_t stripe = sweep->next(sweep, sweep->from);
		if (stripe >= sweep->volume->geometry.stripes)
			return SWEEP_END;
		enum sweep_step step = sweep->step ? sweep->step(sweep, w->under_way) : SWEEP_GO;
		if (step != SWEEP_GO)
			return step;
		slot_start(&w->slots[(w->oldest + w->under_way++) % w->size], sweep, stripe);
		sweep->from = stripe + 1;
	}
	return SWEEP_GO;
}

int sweep_run(struct sweep *sweep)
{
	struct volume *v = sweep->volume;
	struct window w = {.size = window_size(&v->geometry)};
	cleanup(cleanup_freep) struct sweep_slot *slots = calloc(w.size, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	w.slots = slots;
	enum sweep_step step = SWEEP_GO;
	int err = 0;
	for (;;) {
		if (err == 0 && step != SWEEP_END)
			step = window_fill(sweep, &w);
		if (w.under_way == 0 && (err < 0 || step == SWEEP_END))
			return err;
		if (w.under_way == 0)
			continue;
		struct sweep_slot *slot = &slots[w.oldest];
		sweep->wait(v, &slot->waiter);
		if (err == 0)
			err = sweep->result(sweep, &slot->check, slot->waiter.err);
		w.oldest = (w.oldest + 1) % w.size;
		w.under_way--;
	}
}
