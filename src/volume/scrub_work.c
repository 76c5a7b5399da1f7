/* SPDX-License-Identifier: MIT */
/* Scrub as background work: begun, stopped and looked at by others, done by the work thread. What
 * it has found so far, or the last one found, is kept: work.lock protects it. */
#include <errno.h>
#include <stdlib.h>
#include "volume/internal.h"

static struct scrub *scrub_of(struct sweep *sweep)
{
	return container_of(sweep, struct scrub, sweep);
}

bool scrub_is_wanted(struct volume *v)
{
	const struct work *w = &v->work;
	return w->scrub_wanted && (w->info[VOLUME_SCRUB].state == VOLUME_WORK_RUNNING ||
					  io_now_ns(v->io) >= w->scrub_due_ns);
}

static uint64_t next_stripe(struct sweep *sweep, uint64_t from)
{
	(void)sweep;
	return from;
}

static enum sweep_step step(struct sweep *sweep, unsigned under_way)
{
	uint64_t bytes = (uint64_t)sweep->volume->geometry.chunk_blocks * BLOCK_BYTES;
	return work_pace(sweep->volume, VOLUME_SCRUB, bytes, under_way);
}

static int take_result(struct sweep *sweep, const struct stripe_check *check, int err)
{
	struct volume *v = sweep->volume;
	work_piece_done(v);
	struct volume_work_info *info = work_info_begin(v, VOLUME_SCRUB);
	err = scrub_take(scrub_of(sweep), check, err);
	info->done = v->work.found.stripes;
	info->repaired = v->work.found.repaired;
	info->lost = v->work.found.lost;
	work_info_end(v);
	return err;
}

/* The first stripe, or where the last interruption was. */
static bool begin(struct volume *v)
{
	struct volume_work_info *info = work_info_begin(v, VOLUME_SCRUB);
	bool repair = info->repair, goes_on = info->state == VOLUME_WORK_RUNNING;
	v->work.scrub_active = true;
	if (!goes_on)
		scrub_result_free(&v->work.found);
	work_info_end(v);
	if (goes_on)
		return repair;
	v->work.scrub_from = v->work.scrub_room = v->work.area_at = 0;
	work_begun(v, VOLUME_SCRUB, v->geometry.stripes);
	work_info_begin(v, VOLUME_SCRUB)->repair = repair;
	work_info_end(v);
	return repair;
}

static void end(struct volume *v, int err)
{
	work_ended(v, VOLUME_SCRUB, err);
	pthread_mutex_lock(&v->work.lock);
	v->work.scrub_wanted = v->work.scrub_wanted && v->work.scrub_every_ns;
	v->work.scrub_due_ns = io_now_ns(v->io) + v->work.scrub_every_ns;
	pthread_mutex_unlock(&v->work.lock);
}

/* The sweep has ended. */
static bool is_stopped(struct volume *v)
{
	pthread_mutex_lock(&v->work.lock);
	bool stopped = !v->work.scrub_wanted;
	v->work.scrub_active = false;
	pthread_mutex_unlock(&v->work.lock);
	return stopped;
}

/* Before the stripes. 1: interrupted. */
static int scrub_the_area(struct volume *v, bool repair)
{
	struct scrub_area found = v->work.found.area;
	if (v->work.area_at == UINT64_MAX)
		return 0;
	int ret = scrub_area_work(v, repair, &v->work.area_at, &found);
	if (ret == 0)
		v->work.area_at = UINT64_MAX;
	(void)work_info_begin(v, VOLUME_SCRUB);
	v->work.found.area = found;
	work_info_end(v);
	return ret;
}

void scrub_run(struct volume *v)
{
	bool repair = begin(v);
	int area = scrub_the_area(v, repair);
	struct scrub s = {.sweep = {.volume = v,
				  .mode = repair ? STRIPE_REPAIR : STRIPE_CHECK,
				  .from = v->work.scrub_from,
				  .next = next_stripe,
				  .step = step,
				  .result = take_result,
				  .wait = volume_wait_working},
		.out = &v->work.found,
		.room = v->work.scrub_room};
	int err = area ? (area < 0 ? area : 0) : sweep_run(&s.sweep);
	v->work.scrub_from = s.sweep.from;
	v->work.scrub_room = s.room;
	bool stopped = is_stopped(v);
	if (err == 0 && stopped)
		err = -ECANCELED;
	if (err == 0 && s.sweep.from < v->geometry.stripes)
		return; /* interrupted: it goes on later */
	if (err == 0 && repair)
		err = work_flush(v);
	end(v, err);
}

/* ---- asked for ---- */

int volume_scrub_start(struct volume *v, bool repair, uint64_t every_ns, struct errmsg *why)
{
	if (v->read_only && repair)
		return errmsg_set(why, -EROFS, "the volume is open read-only");
	struct volume_work_info *info = work_info_begin(v, VOLUME_SCRUB);
	bool busy = info->state != VOLUME_WORK_IDLE ||
		    (v->work.scrub_wanted && !v->work.scrub_every_ns);
	if (!busy) {
		v->work.scrub_wanted = true;
		v->work.scrub_every_ns = every_ns;
		v->work.scrub_due_ns = 0;
		info->repair = repair;
	}
	work_info_end(v);
	if (busy)
		return errmsg_set(why, -EBUSY, "a scrub is under way already");
	work_wake(v);
	return 0;
}

/* Where nobody is at it (a pause, a rebuild, it has not begun), nobody else would say that it has
 * ended. */
int volume_scrub_stop(struct volume *v)
{
	struct volume_work_info *info = work_info_begin(v, VOLUME_SCRUB);
	bool wanted = v->work.scrub_wanted;
	bool under_way = info->state == VOLUME_WORK_RUNNING || scrub_is_wanted(v);
	v->work.scrub_wanted = false;
	if (!v->work.scrub_active && under_way) {
		info->state = VOLUME_WORK_IDLE;
		info->ended_ns = clock_read_ns(CLOCK_REALTIME);
		info->err = -ECANCELED;
	}
	work_info_end(v);
	work_wake(v);
	return wanted ? 0 : -ESRCH;
}

int volume_scrub_found(struct volume *v, struct scrub_result *out)
{
	pthread_mutex_lock(&v->work.lock);
	const struct scrub_result *found = &v->work.found;
	*out = *found;
	uint64_t listed = min_u64(found->damage_count, SCRUB_MAX_DAMAGE);
	out->damage = listed ? malloc(listed * sizeof(*out->damage)) : NULL;
	if (out->damage)
		memcpy(out->damage, found->damage, listed * sizeof(*out->damage));
	pthread_mutex_unlock(&v->work.lock);
	if (!listed || out->damage)
		return 0;
	*out = (struct scrub_result){0};
	return -ENOMEM;
}
