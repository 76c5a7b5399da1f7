/* SPDX-License-Identifier: MIT */
/* Background work: progress, rate, pause, room for others; and all of it on threads and real files.
 */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "real.h"
#include "model.h"

/* ---- scrub ---- */

static void a_scrub_in_the_background_keeps_what_it_found(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID5, 3, PI_NONE});
	const struct geometry *g = volume_geometry(m.rig->v);
	uint64_t at = volume_super(m.rig->v)->data.offset_bytes;
	struct scrub_result found;
	model_write_some(&m, 5);
	assert_int_equal(
		sim_disk_poke(m.rig->world, rig_names[geometry_member(g, 0, 2)], at, "wrong", 5),
		0);
	assert_int_equal(volume_scrub_stop(m.rig->v), -ESRCH);
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), 0);
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), -EBUSY);
	assert_int_equal(volume_work(m.rig->v), 0);
	struct volume_work_info info = volume_work_info(m.rig->v, VOLUME_SCRUB);
	assert_int_equal(info.state, VOLUME_WORK_IDLE);
	assert_int_equal(info.done, g->stripes);
	assert_int_equal(info.total, g->stripes);
	assert_true(info.ended_ns >= info.started_ns && info.started_ns);
	assert_int_equal(volume_scrub_found(m.rig->v, &found), 0);
	assert_int_equal(found.parity_mismatches, 1);
	assert_int_equal(found.damage_count, 1);
	assert_int_equal(found.damage[0].stripe, 0);
	scrub_result_free(&found);
	assert_int_equal(volume_scrub_start(m.rig->v, true, 0, &m.rig->why), 0);
	assert_int_equal(volume_work(m.rig->v), 0);
	info = volume_work_info(m.rig->v, VOLUME_SCRUB);
	assert_true(info.repair);
	assert_int_equal(info.repaired, 1);
	model_free(&m);
}

/* Half of the stripes are left when this pauses the scrub. */
struct pauser {
	struct engine_call call;
	struct volume *v;
	uint64_t after;
};

static void look(struct engine_call *call)
{
	struct pauser *p = container_of(call, struct pauser, call);
	if (volume_work_info(p->v, VOLUME_SCRUB).done < p->after)
		engine_call_post(volume_engine(p->v), call);
	else
		assert_int_equal(volume_work_pause(p->v, VOLUME_SCRUB), 0);
}

static void a_scrub_that_was_paused_goes_on_where_it_was(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	uint64_t stripes = volume_geometry(m.rig->v)->stripes;
	struct pauser p = {.call.run = look, .v = m.rig->v, .after = stripes / 2};
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), 0);
	engine_call_post(volume_engine(m.rig->v), &p.call);
	assert_int_equal(volume_work(m.rig->v), 0);
	struct volume_work_info info = volume_work_info(m.rig->v, VOLUME_SCRUB);
	assert_int_equal(info.state, VOLUME_WORK_PAUSED);
	assert_in_range(info.done, stripes / 2, stripes - 1);
	assert_int_equal(volume_work_resume(m.rig->v, VOLUME_SCRUB), 0);
	assert_int_equal(volume_work(m.rig->v), 0);
	struct scrub_result found;
	assert_int_equal(volume_scrub_found(m.rig->v, &found), 0);
	assert_int_equal(found.stripes, stripes); /* none twice */
	scrub_result_free(&found);
	model_free(&m);
}

static void a_scrub_that_was_paused_can_be_stopped(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	struct pauser p = {.call.run = look, .v = m.rig->v, .after = 10};
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), 0);
	engine_call_post(volume_engine(m.rig->v), &p.call);
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_int_equal(volume_scrub_stop(m.rig->v), 0);
	assert_int_equal(volume_work_resume(m.rig->v, VOLUME_SCRUB), 0);
	assert_int_equal(volume_work_info(m.rig->v, VOLUME_SCRUB).state, VOLUME_WORK_IDLE);
	assert_int_equal(volume_work_info(m.rig->v, VOLUME_SCRUB).err, -ECANCELED);
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), 0);
	assert_int_equal(volume_work(m.rig->v), 0);
	model_free(&m);
}

static void a_scrub_comes_again_when_its_time_is_there(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	assert_int_equal(volume_scrub_start(m.rig->v, false, 1, &m.rig->why), 0);
	assert_int_equal(volume_work_set_rate(m.rig->v, VOLUME_SCRUB, 0), 0);
	struct pauser p = {.call.run = look, .v = m.rig->v, .after = 1};
	assert_int_equal(volume_work_pause(m.rig->v, VOLUME_SCRUB), 0);
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_int_equal(volume_work_info(m.rig->v, VOLUME_SCRUB).done, 0);
	assert_int_equal(volume_work_resume(m.rig->v, VOLUME_SCRUB), 0);
	engine_call_post(volume_engine(m.rig->v), &p.call);
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_in_range(volume_work_info(m.rig->v, VOLUME_SCRUB).done, 1, 100);
	assert_int_equal(volume_scrub_stop(m.rig->v), 0);
	model_free(&m);
}

/* ---- how fast ---- */

static uint64_t scrub_time_ns(struct rig *rig, uint64_t rate)
{
	struct io_engine *clock = NULL;
	assert_int_equal(sim_engine_new(rig->world, &clock), 0);
	assert_int_equal(volume_work_set_rate(rig->v, VOLUME_SCRUB, rate), 0);
	assert_int_equal(volume_scrub_start(rig->v, false, 0, &rig->why), 0);
	uint64_t begin = io_now_ns(clock);
	assert_int_equal(volume_work(rig->v), 0);
	uint64_t end = io_now_ns(clock);
	io_engine_free(clock);
	return end - begin;
}

static void a_rate_is_kept(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	uint64_t bytes = volume_geometry(m.rig->v)->stripes * RIG_CHUNK;
	uint64_t free = scrub_time_ns(m.rig, 0), slow = scrub_time_ns(m.rig, MIB);
	assert_true(free < NS_PER_S);
	assert_in_range(slow, bytes * NS_PER_S / MIB * 9 / 10, bytes * NS_PER_S / MIB * 11 / 10);
	assert_int_equal(volume_work_info(m.rig->v, VOLUME_SCRUB).rate, MIB);
	model_free(&m);
}

/* A request now and then, for as long as the scrub goes on. */
struct bystander {
	struct engine_call call;
	struct volume *v;
	struct stripe_req req;
	uint8_t *buf;
	bool stop;
};

static void read_again(struct stripe_req *req, int err)
{
	struct bystander *b = container_of(req, struct bystander, req);
	assert_int_equal(err, 0);
	if (volume_work_info(b->v, VOLUME_SCRUB).state == VOLUME_WORK_RUNNING)
		stripe_submit(volume_engine(b->v), req);
	else
		b->stop = true;
}

static void others_get_half_of_the_time(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	uint64_t alone = scrub_time_ns(m.rig, 0);
	struct bystander b = {.v = m.rig->v, .buf = aligned_alloc(4096, 4096)};
	b.req = (struct stripe_req){
		.kind = STRIPE_READ, .len_bytes = 4096, .data = b.buf, .done = read_again};
	assert_int_equal(volume_scrub_start(m.rig->v, false, 0, &m.rig->why), 0);
	stripe_submit(volume_engine(m.rig->v), &b.req);
	struct io_engine *clock = NULL;
	assert_int_equal(sim_engine_new(m.rig->world, &clock), 0);
	uint64_t begin = io_now_ns(clock);
	/* The first look at the state may be before the scrub has begun. */
	assert_int_equal(volume_work(m.rig->v), 0);
	uint64_t end = io_now_ns(clock);
	io_engine_free(clock);
	assert_true(end - begin > 2 * alone);
	while (!b.stop)
		assert_int_equal(volume_flush(m.rig->v), 0);
	free(b.buf);
	model_free(&m);
}

/* ---- on threads ---- */

struct client {
	struct volume *v;
	unsigned number, rounds;
	atomic_bool stop;
	bool same;
};

static void *client_run(void *arg)
{
	struct client *c = arg;
	struct rig rig = {.v = c->v};
	uint64_t offset = c->number * 3 * MIB;
	c->same = true;
	for (unsigned i = 0; !atomic_load(&c->stop) && c->same; i++) {
		uint64_t at = offset + i % 60 * 30000;
		c->same = rig_write(&rig, at, 30000, i) == 0 &&
			  (i % 7 || volume_flush(c->v) == 0) && rig_reads(&rig, at, 30000, i);
		c->rounds++;
	}
	return NULL;
}

static void wait_until_whole(struct real *r)
{
	for (unsigned i = 0; i < 6000 && volume_missing(r->v); i++)
		usleep(10000);
	assert_int_equal(volume_missing(r->v), 0);
}

static void members_come_and_go(struct real *r)
{
	struct errmsg why = {0};
	if (volume_fail_member(r->v, 1, "test", &why) < 0)
		fail_msg("%s", why.text);
	usleep(20000);
	if (volume_replace_member(r->v, 1, NULL, false, &why) < 0)
		fail_msg("%s", why.text);
	wait_until_whole(r);
	assert_int_equal(volume_scrub_start(r->v, false, 0, &why), 0);
	if (volume_add_spare(r->v, r->spare, false, &why) < 0)
		fail_msg("%s", why.text);
	if (volume_fail_member(r->v, 3, "test", &why) < 0)
		fail_msg("%s", why.text);
	wait_until_whole(r);
	assert_string_equal(volume_member(r->v, 3).path, r->spare);
	assert_int_equal(volume_work_pause(r->v, VOLUME_SCRUB), 0);
	(void)volume_scrub_stop(r->v);
}

static void members_go_and_come_under_many_threads(void **unused)
{
	(void)unused;
	struct real r = real_new(RAID_RAID5, 4, PI_T10, SUPER_HOLE_JOURNAL);
	struct client clients[2];
	pthread_t threads[2];
	real_open(&r);
	for (unsigned i = 0; i < 2; i++) {
		clients[i] = (struct client){.v = r.v, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, client_run, &clients[i]), 0);
	}
	members_come_and_go(&r);
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&clients[i].stop, true);
		pthread_join(threads[i], NULL);
		assert_true(clients[i].same);
		assert_true(clients[i].rounds > 0);
	}
	struct scrub_result result;
	assert_int_equal(volume_scrub(r.v, false, NULL, NULL, &result), 0);
	assert_int_equal(result.damage_count, 0);
	scrub_result_free(&result);
	assert_int_equal(volume_close(r.v), 0);
	real_free(&r);
}

static void a_volume_closes_in_the_middle_of_work(void **unused)
{
	(void)unused;
	struct real r = real_new(RAID_RAID5, 4, PI_T10, SUPER_HOLE_JOURNAL);
	struct errmsg why = {0};
	real_open(&r);
	assert_int_equal(volume_work_set_rate(r.v, VOLUME_REBUILD, 65536), 0);
	if (volume_replace_member(r.v, 0, r.spare, false, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(volume_scrub_start(r.v, false, 1, &why), 0);
	assert_int_equal(volume_close(r.v), 0);
	free(r.paths.paths[0]);
	r.paths.paths[0] = strdup(r.spare);
	real_open(&r);
	assert_int_equal(volume_member(r.v, 0).state, VOLUME_MEMBER_REBUILDING);
	wait_until_whole(&r);
	assert_int_equal(volume_close(r.v), 0);
	snprintf(r.spare, sizeof(r.spare), "%s/member-0", r.dir);
	real_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scrub_in_the_background_keeps_what_it_found),
		cmocka_unit_test(a_scrub_that_was_paused_goes_on_where_it_was),
		cmocka_unit_test(a_scrub_that_was_paused_can_be_stopped),
		cmocka_unit_test(a_scrub_comes_again_when_its_time_is_there),
		cmocka_unit_test(a_rate_is_kept),
		cmocka_unit_test(others_get_half_of_the_time),
		cmocka_unit_test(members_go_and_come_under_many_threads),
		cmocka_unit_test(a_volume_closes_in_the_middle_of_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
