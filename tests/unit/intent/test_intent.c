/* SPDX-License-Identifier: MIT */
/* Marks: durable before the write, gone only after the flush, whatever the power does. */
#include "array.h"

#define SEED    3u
#define STRIPES 64u

static void a_mark_is_durable_before_the_write_goes_on(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(intent_regions(a.log), STRIPES);
	assert_int_equal(intent_region_of(a.log, 16 * 5 + 3), 5);
	assert_int_equal(array_mark(&a, 5), 0);
	array_reboot(&a);
	assert_true(intent_is_marked(a.log, 5));
	assert_int_equal(intent_marked_count(a.log), 1);
	array_fini(&a);
}

static void a_marked_region_costs_no_second_write(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(array_mark(&a, 5), 0);
	uint64_t writes = sim_world_writes(a.rig.world);
	assert_true(array_begin(&a, &w, 5));
	intent_write_ended(a.log, 5);
	intent_write_ended(a.log, 5);
	array_flushed(&a);
	/* Unmarked in memory, but the mark is still there: free again. */
	assert_true(array_begin(&a, &w, 5));
	assert_int_equal(sim_world_writes(a.rig.world), writes);
	array_fini(&a);
}

static void writers_that_wait_share_one_write(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w[40];
	array_init(&a, SEED, STRIPES, 16);
	uint64_t writes = sim_world_writes(a.rig.world);
	for (unsigned i = 0; i < 40; i++)
		assert_false(array_begin(&a, &w[i], i));
	for (unsigned i = 0; i < 40; i++) {
		rig_run_until(&a.rig, &w[i].ended);
		assert_int_equal(w[i].err, 0);
	}
	assert_true(sim_world_writes(a.rig.world) <= writes + 2 * ARRAY_MEMBERS);
	array_fini(&a);
}

static void a_mark_stays_until_its_write_is_flushed_and_the_tick_comes(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(array_mark(&a, 5), 0);
	uint64_t early = intent_epoch(a.log);
	intent_write_ended(a.log, 5);
	intent_flushed(a.log, early); /* that flush began before the write ended */
	intent_idle_tick(a.log);
	array_settle(&a);
	array_reboot(&a);
	assert_true(intent_is_marked(a.log, 5));
	array_fini(&a);

	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(array_mark(&a, 5), 0);
	intent_write_ended(a.log, 5);
	array_flushed(&a);
	assert_true(intent_is_marked(a.log, 5));
	intent_idle_tick(a.log);
	array_settle(&a);
	assert_int_equal(intent_marked_count(a.log), 0);
	assert_int_equal(array_mark(&a, 6), 0); /* its flush carries the unmark too */
	array_reboot(&a);
	assert_false(intent_is_marked(a.log, 5));
	assert_true(intent_is_marked(a.log, 6));
	array_fini(&a);
}

static void a_busy_region_is_never_unmarked(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(array_mark(&a, 5), 0);
	intent_write_ended(a.log, 5);
	assert_true(array_begin(&a, &w, 5));
	array_flushed(&a);
	intent_idle_tick(a.log);
	array_settle(&a);
	array_reboot(&a);
	assert_true(intent_is_marked(a.log, 5));
	array_fini(&a);
}

static void a_write_during_the_unmark_waits_for_a_new_mark(void **unused)
{
	(void)unused;
	for (unsigned steps = 0; steps < 12; steps++) {
		struct array a;
		array_init(&a, SEED + steps, STRIPES, 16);
		assert_int_equal(array_mark(&a, 5), 0);
		intent_write_ended(a.log, 5);
		array_flushed(&a);
		intent_idle_tick(a.log);
		for (unsigned i = 0; i < steps; i++)
			io_run(a.rig.io, false);
		assert_int_equal(array_mark(&a, 5), 0);
		array_reboot(&a);
		assert_true(intent_is_marked(a.log, 5));
		array_fini(&a);
	}
}

static void clear_all_leaves_no_marks(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	for (uint64_t r = 0; r < 10; r++)
		assert_int_equal(array_mark(&a, r), 0);
	for (uint64_t r = 0; r < 10; r++)
		intent_write_ended(a.log, r);
	intent_idle_tick(a.log);
	assert_int_equal(intent_clear_all(a.log), 0);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 0);
	array_fini(&a);
}

static void clear_all_tells_of_a_member_that_failed(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	array_arm(&a, SIM_WRITE_ERROR, 2, 1);
	assert_int_equal(intent_clear_all(a.log), -EIO);
	assert_int_equal(intent_failed_members(a.log), 4);
	array_fini(&a);
}

static void one_member_that_fails_does_not_stop_marks(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	array_arm(&a, SIM_WRITE_ERROR, 1, 1);
	assert_int_equal(array_mark(&a, 5), 0);
	assert_int_equal(intent_failed_members(a.log), 2);
	/* Its next write carries what it missed. */
	assert_int_equal(array_mark(&a, 6), 0);
	array_reboot(&a);
	struct member *alone[ARRAY_MEMBERS] = {NULL, a.members[1], NULL};
	struct intent_log *log;
	assert_int_equal(intent_load(a.rig.io, alone, ARRAY_MEMBERS, &log, NULL), 0);
	assert_true(intent_is_marked(log, 5) && intent_is_marked(log, 6));
	intent_free(log);
	array_fini(&a);
}

static void where_every_member_fails_the_write_is_told(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		array_arm(&a, SIM_WRITE_ERROR, i, 1);
	assert_int_equal(array_mark(&a, 5), -EIO);
	intent_write_ended(a.log, 5);
	assert_int_equal(array_mark(&a, 5), 0);
	array_reboot(&a);
	assert_true(intent_is_marked(a.log, 5));
	array_fini(&a);
}

static void without_members_a_write_is_told(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		intent_set_member(a.log, i, NULL);
	assert_int_equal(array_mark(&a, 5), -EIO);
	array_fini(&a);
}

static void a_member_that_comes_gets_the_whole_log(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	intent_set_member(a.log, 2, NULL);
	assert_int_equal(array_mark(&a, 5), 0);
	assert_int_equal(array_mark(&a, 60), 0);
	intent_set_member(a.log, 2, a.members[2]);
	array_settle(&a);
	array_reboot(&a);
	struct member *alone[ARRAY_MEMBERS] = {NULL, NULL, a.members[2]};
	struct intent_log *log;
	assert_int_equal(intent_load(a.rig.io, alone, ARRAY_MEMBERS, &log, NULL), 0);
	assert_true(intent_is_marked(log, 5) && intent_is_marked(log, 60));
	intent_free(log);
	array_fini(&a);
}

static void members_come_and_go_during_a_round(void **unused)
{
	(void)unused;
	for (unsigned steps = 0; steps < 8; steps++) {
		struct array a;
		struct array_wait w;
		array_init(&a, SEED + steps, STRIPES, 16);
		assert_false(array_begin(&a, &w, 9));
		intent_set_member(a.log, 1, NULL);
		for (unsigned i = 0; i < steps; i++)
			io_run(a.rig.io, false);
		intent_set_member(a.log, 1, a.members[1]);
		rig_run_until(&a.rig, &w.ended);
		assert_int_equal(w.err, 0);
		array_settle(&a);
		array_reboot(&a);
		struct member *alone[ARRAY_MEMBERS] = {NULL, a.members[1], NULL};
		struct intent_log *log;
		assert_int_equal(intent_load(a.rig.io, alone, ARRAY_MEMBERS, &log, NULL), 0);
		assert_true(intent_is_marked(log, 9));
		intent_free(log);
		array_fini(&a);
	}
}

static void a_member_that_has_gone_is_not_one_that_failed(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	array_init(&a, SEED, STRIPES, 16);
	array_arm(&a, SIM_WRITE_ERROR, 1, 1);
	assert_false(array_begin(&a, &w, 9));
	intent_set_member(a.log, 1, NULL);
	rig_run_until(&a.rig, &w.ended);
	assert_int_equal(w.err, 0);
	assert_int_equal(intent_failed_members(a.log), 0);
	array_fini(&a);
}

static void a_mark_found_after_a_crash_stays_until_it_is_synced(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	assert_int_equal(array_mark(&a, 5), 0);
	array_reboot(&a);
	/* A new write to the region, flushed, says nothing of its other stripes. */
	assert_int_equal(array_mark(&a, 5), 0);
	intent_write_ended(a.log, 5);
	array_flushed(&a);
	intent_idle_tick(a.log);
	array_settle(&a);
	assert_true(intent_is_marked(a.log, 5));
	intent_region_synced(a.log, 5);
	intent_idle_tick(a.log);
	array_settle(&a);
	assert_true(intent_is_marked(a.log, 5)); /* what the sync wrote is not flushed yet */
	array_flushed(&a);
	intent_idle_tick(a.log);
	array_settle(&a);
	assert_false(intent_is_marked(a.log, 5));
	array_fini(&a);
}

/* A run of marks, ends, flushes and ticks drawn from @seed; busy[r] and dirty[r] say what must be
 * found marked if the power went now. Returns how many steps it made before the power went. */
struct story {
	struct array a;
	struct array_wait waits[16];
	bool waiting[16], busy[16]; /* slot i writes region regions[i] */
	uint64_t regions[16];
	bool dirty[STRIPES]; /* written, not flushed */
};

static void story_step(struct story *s)
{
	unsigned i = (unsigned)(rig_random(&s->a.rig) % 16);
	if (s->waiting[i] && s->waits[i].ended) {
		s->waiting[i] = false;
		s->busy[i] = s->waits[i].err == 0;
		if (!s->busy[i])
			intent_write_ended(s->a.log, s->regions[i]);
	} else if (s->busy[i]) {
		s->busy[i] = false;
		intent_write_ended(s->a.log, s->regions[i]);
	} else if (!s->waiting[i]) {
		s->regions[i] = rig_random(&s->a.rig) % STRIPES;
		s->busy[i] = array_begin(&s->a, &s->waits[i], s->regions[i]);
		s->waiting[i] = !s->busy[i];
	}
	if (s->busy[i])
		s->dirty[s->regions[i]] = true;
	uint64_t dice = rig_random(&s->a.rig) % 16;
	if (dice == 0) {
		array_flushed(&s->a);
		memset(s->dirty, 0, sizeof(s->dirty));
		for (unsigned k = 0; k < 16; k++)
			if (s->busy[k])
				s->dirty[s->regions[k]] = true;
	}
	if (dice == 1)
		intent_idle_tick(s->a.log);
	io_run(s->a.rig.io, dice < 8);
}

static bool story_of_a_power_cut(uint64_t seed, unsigned writes_before)
{
	static struct story s;
	memset(&s, 0, sizeof(s));
	array_init(&s.a, seed, STRIPES, 16);
	sim_world_cut_power_after(s.a.rig.world, writes_before);
	for (unsigned n = 0; n < 400 && !sim_world_power_is_cut(s.a.rig.world); n++)
		story_step(&s);
	bool cut = sim_world_power_is_cut(s.a.rig.world);
	array_reboot(&s.a);
	for (uint64_t r = 0; r < STRIPES; r++)
		assert_true(!s.dirty[r] || intent_is_marked(s.a.log, r));
	/* And it is not that everything counts as marked. */
	assert_true(intent_marked_count(s.a.log) < STRIPES);
	array_fini(&s.a);
	return cut;
}

static void no_power_cut_loses_a_mark_that_is_needed(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		unsigned n = 0;
		while (n < 60 && story_of_a_power_cut(seed, n))
			n++;
		assert_true(n > 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_is_durable_before_the_write_goes_on),
		cmocka_unit_test(a_marked_region_costs_no_second_write),
		cmocka_unit_test(writers_that_wait_share_one_write),
		cmocka_unit_test(a_mark_stays_until_its_write_is_flushed_and_the_tick_comes),
		cmocka_unit_test(a_busy_region_is_never_unmarked),
		cmocka_unit_test(a_write_during_the_unmark_waits_for_a_new_mark),
		cmocka_unit_test(clear_all_leaves_no_marks),
		cmocka_unit_test(clear_all_tells_of_a_member_that_failed),
		cmocka_unit_test(one_member_that_fails_does_not_stop_marks),
		cmocka_unit_test(where_every_member_fails_the_write_is_told),
		cmocka_unit_test(without_members_a_write_is_told),
		cmocka_unit_test(a_member_that_comes_gets_the_whole_log),
		cmocka_unit_test(members_come_and_go_during_a_round),
		cmocka_unit_test(a_member_that_has_gone_is_not_one_that_failed),
		cmocka_unit_test(a_mark_found_after_a_crash_stays_until_it_is_synced),
		cmocka_unit_test(no_power_cut_loses_a_mark_that_is_needed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
