/* SPDX-License-Identifier: MIT */
/* Background work: what is to be done now, how fast, and what is told of it.
 *
 *	work_thread: members_run() -> choose(): a spare, resync, rebuild, scrub -> its run()
 *		run(): a sweep over stripes; work_pace() before each: may it go on, and when?
 *
 * Others use the volume when the engine began a request of theirs within ACTIVE_NS. Then one stripe
 * is looked at a time, and after it there is a pause as long as it took: half of the time is
 * theirs.
 */
#include "volume/work.h"

#include <errno.h>
#include "base/clock.h"
#include "volume/internal.h"

#define ACTIVE_NS   (50 * NS_PER_MS)
#define REST_MAX_NS (100 * NS_PER_MS)
#define RATE_LAG_NS (20 * NS_PER_MS) /* what a late start may catch up */
#define IDLE_NS     (600 * NS_PER_S)
#define RETIRE_NS   NS_PER_MS /* until a former member is asked for again */

enum choice { CHOOSE_SPARE = VOLUME_WORK_KINDS, CHOOSE_NOTHING };

/* ---- what is to be done ---- */

static bool is_paused(struct volume *v, enum volume_work_kind kind)
{
	pthread_mutex_lock(&v->work.lock);
	bool paused = v->work.paused[kind];
	pthread_mutex_unlock(&v->work.lock);
	return paused;
}

static unsigned choose(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	bool stop = v->work.stop, spare = members_wants_spare(v);
	pthread_mutex_unlock(&v->lock);
	if (stop)
		return CHOOSE_NOTHING;
	if (spare)
		return CHOOSE_SPARE;
	if (!is_paused(v, VOLUME_RESYNC) && resync_is_wanted(v))
		return VOLUME_RESYNC;
	if (!is_paused(v, VOLUME_REBUILD) && rebuild_next(v) >= 0)
		return VOLUME_REBUILD;
	pthread_mutex_lock(&v->work.lock);
	bool scrub = !v->work.paused[VOLUME_SCRUB] && scrub_is_wanted(v);
	pthread_mutex_unlock(&v->work.lock);
	return scrub ? VOLUME_SCRUB : CHOOSE_NOTHING;
}

bool work_may_go_on(struct volume *v, enum volume_work_kind kind)
{
	return choose(v) == kind;
}

/* False: there is nothing to do. */
static bool do_once(struct volume *v)
{
	switch (choose(v)) {
	case CHOOSE_SPARE:
		return members_use_spare(v);
	case VOLUME_RESYNC:
		resync_run(v);
		return true;
	case VOLUME_REBUILD:
		rebuild_run(v, (unsigned)rebuild_next(v));
		return true;
	case VOLUME_SCRUB:
		scrub_run(v);
		return true;
	default:
		return false;
	}
}

static void set_working(struct volume *v, bool working)
{
	pthread_mutex_lock(&v->lock);
	v->work.working = working;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

/* What begins before work_stop() is waited for by that. */
static bool work_once(struct volume *v)
{
	set_working(v, true);
	bool did = do_once(v);
	set_working(v, false);
	return did;
}

/* ---- how fast ---- */

static uint64_t rate_of(struct volume *v, enum volume_work_kind kind)
{
	pthread_mutex_lock(&v->work.lock);
	uint64_t rate = v->work.info[kind].rate;
	pthread_mutex_unlock(&v->work.lock);
	return rate;
}

static bool others_are_active(const struct volume *v, uint64_t now_ns)
{
	uint64_t last = stripe_engine_last_request_ns(v->eng);
	return last && now_ns - last < ACTIVE_NS;
}

static void charge(struct work *w, uint64_t now_ns, uint64_t bytes, uint64_t rate)
{
	w->last_post_ns = now_ns;
	if (!rate)
		return;
	uint64_t earliest = now_ns - min_u64(now_ns, RATE_LAG_NS);
	w->due_ns = max_u64(w->due_ns, earliest) +
		    (uint64_t)((double)bytes * (double)NS_PER_S / (double)rate);
}

enum sweep_step work_pace(
	struct volume *v, enum volume_work_kind kind, uint64_t bytes, unsigned under_way)
{
	struct work *w = &v->work;
	for (;;) {
		members_run(v);
		if (!work_may_go_on(v, kind))
			return SWEEP_END;
		uint64_t now = io_now_ns(v->io), rate = rate_of(v, kind);
		uint64_t due = rate ? w->due_ns : 0;
		if (others_are_active(v, now)) {
			if (under_way)
				return SWEEP_DRAIN;
			uint64_t rest = min_u64(w->last_cost_ns, REST_MAX_NS);
			due = max_u64(due, w->last_post_ns + w->last_cost_ns + rest);
		}
		if (due <= now) {
			charge(w, now, bytes, rate);
			return SWEEP_GO;
		}
		engine_sleep_until(v, due);
	}
}

void work_piece_done(struct volume *v)
{
	v->work.last_cost_ns = io_now_ns(v->io) - v->work.last_post_ns;
}

/* ---- what is told ---- */

struct volume_work_info *work_info_begin(struct volume *v, enum volume_work_kind kind)
{
	pthread_mutex_lock(&v->work.lock);
	return &v->work.info[kind];
}

void work_info_end(struct volume *v)
{
	pthread_mutex_unlock(&v->work.lock);
}

void work_begun(struct volume *v, enum volume_work_kind kind, uint64_t total)
{
	struct volume_work_info *info = work_info_begin(v, kind);
	*info = (struct volume_work_info){.state = VOLUME_WORK_RUNNING,
		.member = -1,
		.total = total,
		.started_ns = clock_read_ns(CLOCK_REALTIME),
		.rate = info->rate};
	work_info_end(v);
}

void work_ended(struct volume *v, enum volume_work_kind kind, int err)
{
	struct volume_work_info *info = work_info_begin(v, kind);
	info->state = VOLUME_WORK_IDLE;
	info->ended_ns = clock_read_ns(CLOCK_REALTIME);
	info->err = err;
	work_info_end(v);
}

void work_count_blocks(
	struct volume *v, enum volume_work_kind kind, const struct stripe_check *check)
{
	struct volume_work_info *info = work_info_begin(v, kind);
	for (unsigned slot = 0; slot < RAID_MAX_SLOTS; slot++) {
		info->repaired += rows_count(&check->rebuilt[slot]);
		info->lost += rows_count(&check->lost[slot]);
	}
	work_info_end(v);
}

/* What is wanted is under way, though the work thread has not come to it: what was before is over.
 * */
static void tell_as_begun(struct volume *v, struct volume_work_info *info, int member)
{
	*info = (struct volume_work_info){.state = VOLUME_WORK_RUNNING,
		.member = member,
		.repair = info->repair,
		.total = member < 0 ? v->geometry.stripes
				    : stripe_engine_stale(v->eng, (unsigned)member),
		.rate = info->rate};
}

struct volume_work_info volume_work_info(struct volume *v, enum volume_work_kind kind)
{
	int member = kind == VOLUME_REBUILD ? rebuild_next(v) : -1;
	pthread_mutex_lock(&v->work.lock);
	struct volume_work_info info = v->work.info[kind];
	bool paused = v->work.paused[kind];
	bool scrub = kind == VOLUME_SCRUB && scrub_is_wanted(v);
	pthread_mutex_unlock(&v->work.lock);
	if (info.state == VOLUME_WORK_IDLE && (scrub || member >= 0))
		tell_as_begun(v, &info, member);
	uint64_t open = 0;
	if (kind == VOLUME_RESYNC)
		open = stripe_engine_in_doubt(v->eng);
	else if (kind == VOLUME_REBUILD && info.member >= 0)
		open = stripe_engine_stale(v->eng, (unsigned)info.member);
	if (kind != VOLUME_SCRUB && info.state == VOLUME_WORK_RUNNING)
		info.done = info.total - min_u64(open, info.total);
	if (paused && info.state == VOLUME_WORK_RUNNING)
		info.state = VOLUME_WORK_PAUSED;
	return info;
}

static int set_paused(struct volume *v, enum volume_work_kind kind, bool paused)
{
	if (kind >= VOLUME_WORK_KINDS)
		return -EINVAL;
	pthread_mutex_lock(&v->work.lock);
	v->work.paused[kind] = paused;
	pthread_mutex_unlock(&v->work.lock);
	pthread_mutex_lock(&v->lock);
	if (kind == VOLUME_REBUILD && !paused)
		memset(v->work.retry_ns, 0, sizeof(v->work.retry_ns));
	pthread_mutex_unlock(&v->lock);
	work_wake(v);
	return 0;
}

int volume_work_pause(struct volume *v, enum volume_work_kind kind)
{
	return set_paused(v, kind, true);
}

int volume_work_resume(struct volume *v, enum volume_work_kind kind)
{
	return set_paused(v, kind, false);
}

int volume_work_set_rate(struct volume *v, enum volume_work_kind kind, uint64_t bytes_per_second)
{
	if (kind >= VOLUME_WORK_KINDS)
		return -EINVAL;
	pthread_mutex_lock(&v->work.lock);
	v->work.info[kind].rate = bytes_per_second;
	v->work.due_ns = 0;
	pthread_mutex_unlock(&v->work.lock);
	work_wake(v);
	return 0;
}

/* ---- the thread ---- */

void work_wake(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	v->work.wake = true;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

bool work_is_disturbed(const struct volume *v)
{
	return v->work.wake || v->work.stop || v->work.end;
}

/* When there may be something to do again, though nobody says so. */
static uint64_t next_look_ns(struct volume *v)
{
	uint64_t now = clock_monotonic_ns(), due = now + IDLE_NS;
	pthread_mutex_lock(&v->work.lock);
	if (v->work.scrub_wanted)
		due = min_u64(due, v->work.scrub_due_ns);
	pthread_mutex_unlock(&v->work.lock);
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (v->work.retry_ns[i] > now)
			due = min_u64(due, v->work.retry_ns[i]);
	}
	pthread_mutex_unlock(&v->lock);
	return due;
}

static struct timespec as_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void wait_for_work(struct volume *v)
{
	uint64_t due = next_look_ns(v);
	pthread_mutex_lock(&v->lock);
	while (!v->work.wake && !v->work.end && !members_pending_locked(v, true)) {
		bool retiring = members_pending_locked(v, false);
		struct timespec until =
			as_timespec(retiring ? clock_monotonic_ns() + RETIRE_NS : due);
		if (pthread_cond_timedwait(&v->ready, &v->lock, &until) || retiring)
			break;
	}
	v->work.wake = false;
	pthread_mutex_unlock(&v->lock);
}

static bool is_ended(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	bool end = v->work.end;
	pthread_mutex_unlock(&v->lock);
	return end;
}

static void *work_thread(void *arg)
{
	struct volume *v = arg;
	while (!is_ended(v)) {
		members_run(v);
		if (!work_once(v))
			wait_for_work(v);
	}
	return NULL;
}

int volume_work(struct volume *v)
{
	if (v->threaded)
		return -EBUSY;
	do
		members_run(v);
	while (work_once(v));
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++) {
		if (v->work.info[kind].err)
			return v->work.info[kind].err;
	}
	return 0;
}

/* ---- life ---- */

void work_init(struct volume *v, const struct volume_open_options *options)
{
	pthread_mutex_init(&v->work.lock, NULL);
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++)
		v->work.info[kind] =
			(struct volume_work_info){.member = -1, .rate = options->background_rate};
}

void work_fini(struct volume *v)
{
	scrub_result_free(&v->work.found);
	pthread_mutex_destroy(&v->work.lock);
}

int work_start(struct volume *v)
{
	int err = volume_thread_start(&v->work.thread, work_thread, v, "stablefs-work");
	v->work.has_thread = err == 0;
	return err;
}

void work_stop(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	v->work.stop = true;
	pthread_cond_broadcast(&v->ready);
	while (v->work.has_thread && v->work.working)
		pthread_cond_wait(&v->ready, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

void work_end(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	v->work.stop = v->work.end = true;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
	if (v->work.has_thread)
		pthread_join(v->work.thread, NULL);
	v->work.has_thread = false;
}
