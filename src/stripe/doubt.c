/* SPDX-License-Identifier: MIT */
/* Stripes in doubt. Owner thread: the engine's. */
#include "stripe/doubt.h"

#include <stdlib.h>

static bool is_in_doubt(void *ctx, uint64_t stripe)
{
	return doubt_has(ctx, stripe);
}

int doubt_init(struct stripe_engine *eng)
{
	uint64_t stripes = eng->config.geometry.stripes;
	if (stripe_set_init(&eng->doubt, stripes, eng->region_stripes) < 0 ||
		stripe_set_init(&eng->unsettled, stripes, eng->region_stripes) < 0)
		return -ENOMEM;
	for (uint64_t region = 0; region < eng->doubt.regions && !eng->config.read_only; region++)
		if (intent_is_marked(eng->config.intent, region))
			stripe_set_add_region(&eng->doubt, region);
	if (eng->config.journal)
		journal_forget_unless(eng->config.journal, is_in_doubt, eng);
	return 0;
}

void doubt_fini(struct stripe_engine *eng)
{
	stripe_set_fini(&eng->doubt);
	stripe_set_fini(&eng->unsettled);
}

void doubt_settle(struct stripe_engine *eng, uint64_t stripe, int err)
{
	uint64_t region = stripe_set_region_of(&eng->doubt, stripe);
	if (err == -ENOMEM)
		return;
	stripe_set_remove(&eng->doubt, stripe);
	if (err)
		stripe_set_add(&eng->unsettled, stripe);
	else
		stripe_set_remove(&eng->unsettled, stripe);
	if (!stripe_set_region_count(&eng->doubt, region) &&
		!stripe_set_region_count(&eng->unsettled, region))
		intent_region_synced(eng->config.intent, region);
}

/* ---- on demand ---- */

struct resync {
	struct stripe_check check;
	struct stripe_engine *eng;
};

/* The stripe is free again, and nobody has started. */
static void resynced(struct stripe_check *check, int err)
{
	struct resync *resync = container_of(check, struct resync, check);
	if (err == -ENOMEM)
		stripe_lock_fail(resync->eng, check->stripe, err);
	free(resync);
}

void doubt_resync(struct stripe_engine *eng, struct stripe_state *state)
{
	struct resync *resync = calloc(1, sizeof(*resync));
	struct stripe_part *part = calloc(1, sizeof(*part));
	if (!resync || !part) {
		free(resync);
		free(part);
		stripe_lock_release(eng, state);
		stripe_lock_fail(eng, state->stripe, -ENOMEM);
		return;
	}
	resync->eng = eng;
	resync->check = (struct stripe_check){
		.mode = STRIPE_RESYNC, .stripe = state->stripe, .done = resynced};
	part->check = &resync->check;
	eng->busy++;
	stripe_check_start(eng, state, part);
}

/* ---- what others see ---- */

uint64_t stripe_engine_in_doubt(const struct stripe_engine *eng)
{
	return stripe_set_count(&eng->doubt);
}

uint64_t stripe_engine_unsettled(const struct stripe_engine *eng)
{
	return stripe_set_count(&eng->unsettled);
}

uint64_t stripe_engine_next_open(const struct stripe_engine *eng, int member, uint64_t from)
{
	return stripe_set_next(member < 0 ? &eng->doubt : &eng->membership.stale[member], from);
}
