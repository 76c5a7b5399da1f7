/* SPDX-License-Identifier: MIT */
/* After an unclean end: the stripes that are in doubt are brought into agreement, in the
 * background. A stripe that somebody wants is settled before its turn; the engine says what is
 * left. Marks of regions whose stripes are all settled go by themselves; of others they stay for
 * the next open. */
#include <errno.h>
#include <inttypes.h>
#include "base/log.h"
#include "volume/internal.h"

bool resync_is_wanted(struct volume *v)
{
	return !v->work.resync_failed && stripe_engine_in_doubt(v->eng) > 0;
}

static uint64_t next_stripe(struct sweep *sweep, uint64_t from)
{
	return stripe_engine_next_open(sweep->volume->eng, -1, from);
}

static enum sweep_step step(struct sweep *sweep, unsigned under_way)
{
	uint64_t bytes = (uint64_t)sweep->volume->geometry.chunk_blocks * BLOCK_BYTES;
	return work_pace(sweep->volume, VOLUME_RESYNC, bytes, under_way);
}

/* A stripe that cannot be settled is no reason to stop: the engine counts it. */
static int take_result(struct sweep *sweep, const struct stripe_check *check, int err)
{
	work_piece_done(sweep->volume);
	work_count_blocks(sweep->volume, VOLUME_RESYNC, check);
	return err == -ESHUTDOWN || err == -ENOMEM ? err : 0;
}

void resync_announce(struct volume *v)
{
	uint64_t stripes = stripe_engine_in_doubt(v->eng);
	if (!stripes)
		return;
	log_info("the volume was not closed cleanly: %" PRIu64
		 " stripes are brought into agreement",
		stripes);
	work_begun(v, VOLUME_RESYNC, stripes);
}

static void tell(struct volume *v, int err)
{
	struct volume_work_info info = volume_work_info(v, VOLUME_RESYNC);
	uint64_t unsettled = stripe_engine_unsettled(v->eng);
	log_info("marked regions are in agreement again: %" PRIu64 " stripes, %" PRIu64
		 " blocks written anew, %" PRIu64 " lost",
		info.total, info.repaired, info.lost);
	if (unsettled)
		log_warn("%" PRIu64 " stripes could not be brought into agreement: they are "
			 "examined again at the next open",
			unsettled);
	work_ended(v, VOLUME_RESYNC, err ? err : unsettled ? -EIO : 0);
}

void resync_run(struct volume *v)
{
	struct sweep sweep = {.volume = v,
		.mode = STRIPE_RESYNC,
		.next = next_stripe,
		.step = step,
		.result = take_result,
		.wait = volume_wait_working};
	int err = sweep_run(&sweep);
	if (err == 0 && !work_may_go_on(v, VOLUME_RESYNC) && stripe_engine_in_doubt(v->eng))
		return; /* later */
	v->work.resync_failed = err < 0 || stripe_engine_in_doubt(v->eng) > 0;
	if (err == 0)
		err = work_flush(v);
	tell(v, err);
}
