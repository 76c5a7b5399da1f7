/* SPDX-License-Identifier: MIT */
/* Bringing a member up to date.
 *
 *	rebuild_run(): its copy of the system area -> its stale stripes -> members_rebuilt()
 *	now and then, where no member is missing: flush -> regions that everybody has are current
 *
 * Invariants: R1 a region is said to be current only after a flush that began when no member had a
 *   stale stripe in it. R2 a member is ACTIVE only after such a flush of everything, and of its
 *   copy of the system area. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "volume/internal.h"
#include "volume/sysarea_open.h"

#define REPORT_NS (5 * NS_PER_S)   /* between two looks for regions that are current */
#define RETRY_NS  (300 * NS_PER_S) /* until stripes that could not be rebuilt are tried again */

static bool is_rebuilding(const struct place *p)
{
	return p->state == VOLUME_MEMBER_REBUILDING && !p->failing;
}

int rebuild_next(struct volume *v)
{
	int found = -1;
	uint64_t now = io_now_ns(v->io);
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members && found < 0; i++) {
		if (is_rebuilding(&v->set.places[i]) && v->members[i])
			found = (int)i;
		if (found >= 0 && v->work.retry_ns[i] > now)
			found = -1;
	}
	pthread_mutex_unlock(&v->lock);
	return found;
}

/* ---- regions that are current (R1) ---- */

struct report {
	struct engine_errand errand;
	uint64_t regions;
	uint8_t *current; /* owned: by region */
};

static bool everybody_has(struct volume *v, uint64_t region)
{
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (stripe_engine_stale_in_region(v->eng, i, region))
			return false;
	}
	return true;
}

static int find_current(struct engine_errand *errand)
{
	struct report *r = container_of(errand, struct report, errand);
	struct volume *v = errand->volume;
	for (uint64_t i = 0; i < r->regions; i++)
		r->current[i] = intent_is_stale(v->intent, i) && everybody_has(v, i);
	return 0;
}

static int say_current(struct engine_errand *errand)
{
	struct report *r = container_of(errand, struct report, errand);
	struct volume *v = errand->volume;
	for (uint64_t i = 0; i < r->regions; i++) {
		if (r->current[i] && everybody_has(v, i))
			intent_region_current(v->intent, i);
	}
	return 0;
}

static bool none_is_missing(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	bool none = members_missing(v) == 0;
	pthread_mutex_unlock(&v->lock);
	return none;
}

/* The log ignores it while a member is missing: its stale regions are not known one by one. */
static void report_regions(struct volume *v)
{
	struct report r = {.errand.run = find_current, .regions = intent_regions(v->intent)};
	if (!none_is_missing(v))
		return;
	cleanup(cleanup_freep) uint8_t *current = calloc(r.regions, 1);
	r.current = current;
	if (!current)
		return;
	(void)engine_errand_run(v, &r.errand);
	if (work_flush(v) < 0)
		return;
	r.errand.run = say_current;
	(void)engine_errand_run(v, &r.errand);
}

/* ---- the stripes ---- */

struct rebuild {
	struct sweep sweep;
	uint64_t reported_ns;
	uint64_t failed;
	bool interrupted;
};

static uint64_t next_stripe(struct sweep *sweep, uint64_t from)
{
	return stripe_engine_next_open(sweep->volume->eng, (int)sweep->member, from);
}

static enum sweep_step step(struct sweep *sweep, unsigned under_way)
{
	struct rebuild *r = container_of(sweep, struct rebuild, sweep);
	struct volume *v = sweep->volume;
	uint64_t bytes = (uint64_t)v->geometry.chunk_blocks * BLOCK_BYTES;
	enum sweep_step s = rebuild_next(v) == (int)sweep->member
				    ? work_pace(v, VOLUME_REBUILD, bytes, under_way)
				    : SWEEP_END;
	r->interrupted = s == SWEEP_END;
	return s;
}

/* A stripe that cannot be rebuilt stays stale, and is no reason to stop. */
static int take_result(struct sweep *sweep, const struct stripe_check *check, int err)
{
	struct rebuild *r = container_of(sweep, struct rebuild, sweep);
	struct volume *v = sweep->volume;
	work_piece_done(v);
	work_count_blocks(v, VOLUME_REBUILD, check);
	if (err == -ESHUTDOWN || err == -ENOMEM)
		return err;
	r->failed += err < 0;
	uint64_t now = io_now_ns(v->io);
	if (now - r->reported_ns > REPORT_NS) {
		report_regions(v);
		r->reported_ns = now;
	}
	return 0;
}

static int rebuild_stripes(struct volume *v, struct rebuild *r)
{
	int err = sweep_run(&r->sweep);
	if (err == 0)
		report_regions(v);
	return err;
}

/* ---- the whole member ---- */

static int fill_sysarea(struct volume *v, unsigned index, bool *interrupted)
{
	int err = 0;
	while (err == 0 && sysarea_is_filling(v->sysarea, index)) {
		*interrupted = rebuild_next(v) != (int)index ||
			       work_pace(v, VOLUME_REBUILD, SYSAREA_PIECE_BYTES, 0) == SWEEP_END;
		if (*interrupted)
			return 0;
		err = sysarea_fill(v->sysarea, index);
		work_piece_done(v);
	}
	return err;
}

static void begin(struct volume *v, unsigned index)
{
	const struct volume_work_info *info = work_info_begin(v, VOLUME_REBUILD);
	bool goes_on = info->member == (int)index && info->state == VOLUME_WORK_RUNNING;
	work_info_end(v);
	if (goes_on)
		return; /* after an interruption */
	uint64_t stale = stripe_engine_stale(v->eng, index);
	work_begun(v, VOLUME_REBUILD, stale);
	work_info_begin(v, VOLUME_REBUILD)->member = (int)index;
	work_info_end(v);
	log_info("member %u is rebuilt: %" PRIu64 " of %" PRIu64 " stripes", index, stale,
		v->geometry.stripes);
}

static int finish(struct volume *v, unsigned index)
{
	int err = work_flush(v);
	if (err == 0)
		err = sysarea_flush(v->sysarea);
	return err < 0 ? err : members_rebuilt(v, index); /* R2 */
}

/* Not all could be rebuilt: tried again later, as what is in the way may be overwritten. A member
 * that has gone has its turn when it, or another in its place, is there. */
static void end(struct volume *v, unsigned index, int err)
{
	struct volume_work_info *info = work_info_begin(v, VOLUME_REBUILD);
	info->done = info->total - min_u64(stripe_engine_stale(v->eng, index), info->total);
	work_info_end(v);
	pthread_mutex_lock(&v->lock);
	v->work.retry_ns[index] = err < 0 && err != -ENODEV ? io_now_ns(v->io) + RETRY_NS : 0;
	pthread_mutex_unlock(&v->lock);
	work_ended(v, VOLUME_REBUILD, err);
	if (err < 0)
		log_warn("member %u is not up to date: %" PRIu64 " stripes are left (%s)", index,
			stripe_engine_stale(v->eng, index), strerror(-err));
}

static bool still_rebuilding(struct volume *v, unsigned index)
{
	pthread_mutex_lock(&v->lock);
	bool still = is_rebuilding(&v->set.places[index]);
	pthread_mutex_unlock(&v->lock);
	return still;
}

void rebuild_run(struct volume *v, unsigned index)
{
	struct rebuild r = {.sweep = {.volume = v,
				    .mode = STRIPE_REBUILD,
				    .member = index,
				    .next = next_stripe,
				    .step = step,
				    .result = take_result,
				    .wait = volume_wait_working},
		.reported_ns = io_now_ns(v->io)};
	bool interrupted = false;
	begin(v, index);
	int err = fill_sysarea(v, index, &interrupted);
	if (err == 0 && !interrupted)
		err = rebuild_stripes(v, &r);
	if (err == 0 && (interrupted || r.interrupted) && still_rebuilding(v, index))
		return;
	if (!still_rebuilding(v, index))
		err = -ENODEV;
	if (err == 0 && stripe_engine_stale(v->eng, index))
		err = -EIO;
	if (err == 0)
		err = finish(v, index);
	end(v, index, err);
}
