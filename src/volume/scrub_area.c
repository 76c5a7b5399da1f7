/* SPDX-License-Identifier: MIT */
/* The part of a scrub that is not about stripes: whoever knows the pages of the system area
 * compares its copies, step by step. */
#include <errno.h>
#include "base/clock.h"
#include "volume/internal.h"

#define STEP_BYTES (UINT64_C(256) << 10) /* of each copy, about */
#define BUSY_NS    NS_PER_MS

void volume_set_area_scrub(struct volume *v, const struct volume_area_scrub *how)
{
	pthread_mutex_lock(&v->area_lock);
	v->area_scrub = how ? *how : (struct volume_area_scrub){0};
	pthread_mutex_unlock(&v->area_lock);
}

/* 1: there is more. Nobody to ask: 0. */
static int step(struct volume *v, bool repair, uint64_t *at, struct scrub_area *found)
{
	pthread_mutex_lock(&v->area_lock);
	int ret = v->area_scrub.step ? v->area_scrub.step(v->area_scrub.ctx, repair, at, found) : 0;
	pthread_mutex_unlock(&v->area_lock);
	return ret;
}

int scrub_area(struct volume *v, bool repair, struct scrub_area *found)
{
	uint64_t at = 0;
	int ret = 1;
	while (ret == 1 || ret == -EBUSY) {
		if (ret == -EBUSY)
			engine_sleep_until(v, io_now_ns(v->io) + BUSY_NS);
		ret = step(v, repair, &at, found);
	}
	return ret;
}

int scrub_area_work(struct volume *v, bool repair, uint64_t *at, struct scrub_area *found)
{
	for (;;) {
		if (work_pace(v, VOLUME_SCRUB, STEP_BYTES, 0) != SWEEP_GO)
			return 1;
		int ret = step(v, repair, at, found);
		if (ret == -EBUSY)
			engine_sleep_until(v, io_now_ns(v->io) + BUSY_NS);
		else if (ret <= 0)
			return ret;
		work_piece_done(v);
	}
}
