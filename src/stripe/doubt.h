/* SPDX-License-Identifier: MIT */
/* Stripes in doubt: those of the regions that were marked when the intent log was loaded. Whoever
 * wants one has it resynced first (I6 of stripe.h); when the last one of a region is settled, the
 * region is synced. Engine thread.
 *
 *	in doubt --RESYNC: done--> settled
 *	   |  ^                       ^
 *	   |  +-- -ENOMEM             | RESYNC: done
 *	   +------RESYNC: failed--> unsettled: requests see what the members give; the mark stays */
#ifndef STABLEFS_STRIPE_DOUBT_H
#define STABLEFS_STRIPE_DOUBT_H

#include "stripe/internal.h"

int doubt_init(struct stripe_engine *eng);
void doubt_fini(struct stripe_engine *eng); /* also of a zeroed one */

static inline bool doubt_has(const struct stripe_engine *eng, uint64_t stripe)
{
	return stripe_set_has(&eng->doubt, stripe);
}

/* A RESYNC of @stripe would find something to do. */
static inline bool doubt_is_open(const struct stripe_engine *eng, uint64_t stripe)
{
	return doubt_has(eng, stripe) || stripe_set_has(&eng->unsettled, stripe);
}

/* A RESYNC of @stripe, which was open, has ended with @err; the stripe is still held. */
void doubt_settle(struct stripe_engine *eng, uint64_t stripe, int err);

/* Resync a stripe, held exclusively, before those who wait for it. Releases it. */
void doubt_resync(struct stripe_engine *eng, struct stripe_state *state);

#endif
