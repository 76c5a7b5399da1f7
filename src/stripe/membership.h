/* SPDX-License-Identifier: MIT */
/* Members that fail, go and come, as the operations meet them. Engine thread.
 *
 *	an operation meets a failure --> engine_member_failed(): the volume is asked
 *		--> MEMBER_STAYS	who asked gets the error
 *		--> MEMBER_LEAVES	engine_park(): the operation keeps its stripe and waits
 *					(I8); meanwhile no write and no check begins
 *	stripe_engine_set_member() --> membership_run(): the parked ones go on without the member
 *
 * What an operation knows of the members is its view, taken at its start; views are kept in order,
 * so that a change knows when the last one that is older has ended. */
#ifndef STABLEFS_STRIPE_MEMBERSHIP_H
#define STABLEFS_STRIPE_MEMBERSHIP_H

#include <errno.h>
#include "base/list.h"
#include "stripe/stripe.h"
#include "stripe/stripe_set.h"

/* An operation that waits until the members that are leaving are out. */
struct engine_parked {
	struct list_node node;
	void (*resume)(struct engine_parked *parked);
};

struct membership {
	struct stripe_set stale[RAID_MAX_MEMBERS]; /* by member: stripes that it has not got */
	struct list views;    /* of stripe_view, those of reads too, oldest first */
	uint64_t changes;     /* of members, so far */
	struct list changing; /* of stripe_member_change: not quiet yet */
	uint32_t leaving;     /* bit i: hooks->failed() said that member i will be taken out */
	uint32_t told;        /* bit i: that member i failed the logs was told */
	struct list parked;   /* of engine_parked */
};

/* How an operation meets an error: is it of the member as such? What the caller or the PI disk did
 * wrong is not, nor is a power cut. */
static inline bool member_error_is_its_own(int err)
{
	return err < 0 && err != -EILSEQ && err != -ESHUTDOWN && err != -ENOMEM;
}

/* An error after which nothing more is to be expected of the member. */
static inline bool member_error_is_final(int err)
{
	return err == -ENODEV || err == -ETIMEDOUT;
}

enum member_fate {
	MEMBER_STAYS,
	MEMBER_LEAVES, /* wait */
	MEMBER_OUT,    /* is out already: go on without it */
};

int membership_init(struct stripe_engine *eng);
void membership_fini(struct stripe_engine *eng); /* also of a zeroed one */

/* @m failed a write or flush, or is gone (@err): tell the volume, unless it knows. */
enum member_fate engine_member_failed(struct stripe_engine *eng, const struct member *m, int err);

/* The same without telling. */
enum member_fate engine_member_fate(const struct stripe_engine *eng, const struct member *m);

/* @m gave an error that redundancy makes good, or could not read (@err). */
void engine_member_erred(struct stripe_engine *eng, const struct member *m, int err);
void engine_read_failed(struct stripe_engine *eng, const struct member *m, int err);

/* Go on with @parked->resume() when nobody is leaving any more, from the run loop. */
void engine_park(struct stripe_engine *eng, struct engine_parked *parked);

/* Ask about members that failed the logs; run what may go on; end changes that are quiet. Run loop
 * only. */
void membership_run(struct stripe_engine *eng);
bool membership_is_due(struct stripe_engine *eng); /* it would find something to run or end */

/* Nothing parked, no change that is not quiet. */
static inline bool membership_is_idle(const struct membership *ms)
{
	return list_empty(&ms->parked) && list_empty(&ms->changing);
}

#endif
