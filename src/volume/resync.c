/* SPDX-License-Identifier: MIT */
/* After an unclean end: the stripes of every region that was marked are made consistent.
 *
 * Which regions they are is read before the engine thread owns the log. A region's mark goes when
 * the last of its stripes was checked without an error (on the engine thread, as the log demands);
 * until then a second crash finds it again. */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "base/log.h"

struct resync_region {
	bool marked;
	uint32_t left; /* stripes to check; the engine thread's once the sweep runs */
};

struct resync {
	struct sweep sweep;
	uint64_t region_count;
	uint64_t region_stripes; /* of a whole region: regions end with stripes (member/super.h) */
	uint64_t stripes, rebuilt, lost, failed;
	int first_err;
	struct resync_region regions[];
};

static struct resync *resync_of(struct sweep *sweep)
{
	return container_of(sweep, struct resync, sweep);
}

static uint64_t next_stripe(struct sweep *sweep, uint64_t from)
{
	const struct resync *r = resync_of(sweep);
	uint64_t region = from / r->region_stripes;
	while (region < r->region_count && !r->regions[region].marked)
		from = ++region * r->region_stripes;
	return from;
}

static void stripe_checked(struct sweep *sweep, const struct stripe_check *check, int err)
{
	struct resync *r = resync_of(sweep);
	uint64_t region = check->stripe / r->region_stripes;
	if (err == 0 && --r->regions[region].left == 0)
		intent_region_synced(sweep->volume->intent, region);
}

static int take_result(struct sweep *sweep, const struct stripe_check *check, int err)
{
	struct resync *r = resync_of(sweep);
	r->stripes++;
	for (unsigned slot = 0; slot < RAID_MAX_SLOTS; slot++) {
		r->rebuilt += rows_count(&check->rebuilt[slot]);
		r->lost += rows_count(&check->lost[slot]);
	}
	if (err != -EIO && err != -EILSEQ)
		return err;
	r->failed++;
	r->first_err = r->first_err ? r->first_err : err;
	return 0;
}

int resync_collect(struct volume *v, struct resync **out)
{
	*out = NULL;
	if (intent_marked_count(v->intent) == 0)
		return 0;
	if (v->read_only) {
		log_warn("the volume was not closed cleanly: %" PRIu64
			 " regions may be inconsistent until it is opened for writing",
			intent_marked_count(v->intent));
		return 0;
	}
	uint64_t count = intent_regions(v->intent);
	struct resync *r = calloc(1, sizeof(*r) + count * sizeof(r->regions[0]));
	if (!r)
		return -ENOMEM;
	r->sweep = (struct sweep){.volume = v,
		.mode = STRIPE_RESYNC,
		.next = next_stripe,
		.checked = stripe_checked,
		.result = take_result};
	r->region_count = count;
	r->region_stripes = volume_super(v)->region_blocks / v->geometry.chunk_blocks;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t left = v->geometry.stripes - i * r->region_stripes;
		r->regions[i].marked = intent_is_marked(v->intent, i);
		r->regions[i].left = (uint32_t)min_u64(left, r->region_stripes);
	}
	*out = r;
	return 0;
}

int resync_run(struct resync *r, struct errmsg *why)
{
	struct volume *v = r->sweep.volume;
	int err = sweep_run(&r->sweep);
	if (err == 0)
		err = volume_flush(v);
	if (err < 0)
		return errmsg_set(why, err, "cannot bring the marked regions into agreement: %s",
			strerror(-err));
	log_info("the volume was not closed cleanly: %" PRIu64 " stripes examined, %" PRIu64
		 " blocks written anew, %" PRIu64 " lost",
		r->stripes, r->rebuilt, r->lost);
	if (r->failed) {
		log_warn("%" PRIu64 " stripes could not be brought into agreement (%s): they are "
			 "examined again at the next open",
			r->failed, strerror(-r->first_err));
		v->resync_failed = true;
	}
	return 0;
}
