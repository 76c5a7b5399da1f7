/* SPDX-License-Identifier: MIT */
/* Stale regions: durable before a write that a missing member does not see, kept until they are
 * current, whatever the power does. */
#include "array.h"

#define SEED    17u
#define STRIPES 64u

/* The members' superblocks say that some member is not up to date, or that all are. */
static void set_stale_since(struct array *a, uint64_t generation)
{
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++) {
		member_super(a->members[i])->stale_since = generation;
		assert_int_equal(member_super_write(a->members[i]), 0);
	}
}

static void setup(struct array *a, uint64_t seed)
{
	array_init(a, seed, STRIPES, 16);
	set_stale_since(a, 1);
}

/* Member 2 goes, and what it misses is collected. */
static void lose_member(struct array *a)
{
	a->away[2] = true;
	intent_set_member(a->log, 2, NULL);
	intent_stale_collect(a->log, false);
}

/* Member 0 has no other to help it. */
static void leave_alone(struct array *a)
{
	for (unsigned i = 1; i < ARRAY_MEMBERS; i++) {
		a->away[i] = true;
		intent_set_member(a->log, i, NULL);
	}
}

static void end_and_flush(struct array *a, uint64_t region)
{
	intent_write_ended(a->log, region);
	array_flushed(a);
}

static void tick_twice(struct array *a)
{
	for (unsigned i = 0; i < 2; i++) {
		intent_idle_tick(a->log);
		array_settle(a);
	}
}

struct sync {
	struct intent_sync sync;
	bool ended;
	int err;
};

static void synced(struct intent_sync *sync, int err)
{
	struct sync *s = container_of(sync, struct sync, sync);
	assert_false(s->ended);
	s->ended = true;
	s->err = err;
}

static int sync_wait(struct array *a)
{
	struct sync s = {.sync = {.done = synced}};
	intent_sync(a->log, &s.sync);
	assert_false(s.ended);
	rig_run_until(&a->rig, &s.ended);
	return s.err;
}

static void a_region_is_stale_durably_before_the_write_goes_on(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 5), 0);
	end_and_flush(&a, 5);
	tick_twice(&a);
	array_reboot(&a);
	assert_false(intent_is_marked(a.log, 5));
	assert_true(intent_is_stale(a.log, 5));
	assert_int_equal(intent_stale_count(a.log), 1);
	array_fini(&a);
}

static void a_mark_that_is_durable_waits_until_its_region_is_stale_too(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	setup(&a, SEED);
	assert_int_equal(array_mark(&a, 5), 0);
	lose_member(&a);
	assert_false(array_begin(&a, &w, 5));
	rig_run_until(&a.rig, &w.ended);
	assert_int_equal(w.err, 0);
	assert_true(array_begin(&a, &w, 5)); /* and after that it is free */
	array_fini(&a);
}

static void a_writer_whose_round_began_before_the_loss_waits_for_the_next(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	setup(&a, SEED);
	assert_false(array_begin(&a, &w, 5));
	lose_member(&a);
	rig_run_until(&a.rig, &w.ended);
	assert_int_equal(w.err, 0);
	assert_true(array_begin(&a, &w, 5)); /* for both, mark and stale region, are durable now */
	intent_write_ended(a.log, 5);
	end_and_flush(&a, 5);
	tick_twice(&a);
	array_reboot(&a);
	assert_true(intent_is_stale(a.log, 5));
	array_fini(&a);
}

static void what_is_marked_when_the_member_goes_is_stale_at_once(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	assert_int_equal(array_mark(&a, 5), 0);
	lose_member(&a);
	assert_true(intent_is_stale(a.log, 5));
	assert_int_equal(sync_wait(&a), 0);
	end_and_flush(&a, 5);
	tick_twice(&a);
	array_reboot(&a);
	assert_false(intent_is_marked(a.log, 5));
	assert_true(intent_is_stale(a.log, 5));
	array_fini(&a);
}

static void a_new_member_lacks_every_region(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	intent_stale_collect(a.log, true);
	assert_int_equal(sync_wait(&a), 0);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), STRIPES);
	assert_int_equal(intent_marked_count(a.log), 0);
	array_fini(&a);
}

static void while_nobody_is_missing_a_mark_costs_what_it_did(void **unused)
{
	(void)unused;
	struct array a;
	array_init(&a, SEED, STRIPES, 16);
	uint64_t writes = sim_world_writes(a.rig.world);
	assert_int_equal(array_mark(&a, 5), 0);
	end_and_flush(&a, 5);
	tick_twice(&a);
	assert_int_equal(sim_world_writes(a.rig.world), writes + 2 * ARRAY_MEMBERS);
	struct intent_stats stats = intent_stats(a.log);
	assert_int_equal(stats.rounds, 2);
	assert_int_equal(stats.waits, 1);
	assert_int_equal(stats.written_bytes, 2 * ARRAY_MEMBERS * BLOCK_BYTES);
	assert_int_equal(intent_stale_count(a.log), 0);
	array_fini(&a);
}

static void a_mark_makes_nothing_stale_when_no_member_is_missing_any_more(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 5), 0);
	intent_stale_collect_end(a.log);
	assert_int_equal(array_mark(&a, 6), 0);
	assert_true(intent_is_stale(a.log, 5));
	assert_false(intent_is_stale(a.log, 6));
	array_fini(&a);
}

static void a_region_that_is_current_is_no_longer_stale_after_a_restart(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 5), 0);
	assert_int_equal(array_mark(&a, 6), 0);
	intent_region_current(a.log, 5); /* while a member is missing: ignored */
	assert_true(intent_is_stale(a.log, 5));
	end_and_flush(&a, 5);
	end_and_flush(&a, 6);
	intent_stale_collect_end(a.log);
	intent_region_current(a.log, 5);
	assert_false(intent_is_stale(a.log, 5));
	tick_twice(&a);
	array_reboot(&a);
	assert_false(intent_is_stale(a.log, 5));
	assert_true(intent_is_stale(a.log, 6));
	array_fini(&a);
}

static void a_clean_end_keeps_what_is_stale(void **unused)
{
	(void)unused;
	for (unsigned sync_first = 0; sync_first < 2; sync_first++) {
		struct array a;
		setup(&a, SEED);
		assert_int_equal(array_mark(&a, 5), 0);
		lose_member(&a);
		if (sync_first)
			assert_int_equal(sync_wait(&a), 0);
		intent_write_ended(a.log, 5);
		assert_int_equal(intent_clear_all(a.log), 0);
		array_reboot(&a);
		assert_int_equal(intent_marked_count(a.log), 0);
		assert_true(intent_is_stale(a.log, 5));
		assert_int_equal(intent_stale_count(a.log), 1);
		array_fini(&a);
	}
}

static void when_all_are_up_to_date_the_map_is_emptied(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	intent_stale_collect(a.log, true);
	assert_int_equal(sync_wait(&a), 0);
	set_stale_since(&a, 0);
	intent_stale_clear(a.log);
	assert_int_equal(intent_stale_count(a.log), 0);
	tick_twice(&a);
	set_stale_since(&a, 1);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), 0);
	array_fini(&a);
}

static void what_a_crash_left_of_the_map_means_nothing_when_all_are_up_to_date(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	intent_stale_collect(a.log, true);
	assert_int_equal(sync_wait(&a), 0);
	set_stale_since(&a, 0);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), 0);
	/* And the next loss begins anew: with the first round all members hold the empty map. */
	assert_int_equal(sync_wait(&a), 0);
	set_stale_since(&a, 2);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 9), 0);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), 1);
	assert_true(intent_is_stale(a.log, 9));
	array_fini(&a);
}

static void marks_found_while_a_member_is_out_of_date_are_stale_too(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	/* The power goes between the superblocks and the first stale region. */
	assert_int_equal(array_mark(&a, 5), 0);
	array_reboot(&a);
	assert_true(intent_is_marked(a.log, 5));
	assert_true(intent_is_stale(a.log, 5));
	assert_int_equal(intent_stale_count(a.log), 1);
	array_fini(&a);
}

static void damage(struct array *a, unsigned member, enum intent_map_kind map)
{
	uint32_t number = intent_disk_sector_number(map, 0, 1);
	assert_int_equal(
		sim_disk_poke(a->rig.world, array_names[member],
			array_area(a) + intent_disk_sector_offset(number) + 40, "damage", 6),
		0);
}

static void damage_of_one_member_is_covered_by_another(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 5), 0);
	damage(&a, 0, INTENT_STALE);
	damage(&a, 1, INTENT_MARKS);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), 1);
	assert_int_equal(intent_marked_count(a.log), 1);
	array_fini(&a);
}

static void what_is_stale_unknown_is_all_stale_while_a_member_is_out_of_date(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		damage(&a, i, INTENT_STALE);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), STRIPES);
	assert_int_equal(intent_marked_count(a.log), 0);
	array_fini(&a);

	array_init(&a, SEED, STRIPES, 16);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		damage(&a, i, INTENT_STALE);
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), 0);
	array_fini(&a);
}

static void a_sector_of_marks_does_not_pass_for_one_of_stale_regions(void **unused)
{
	(void)unused;
	struct array a;
	uint8_t sector[INTENT_SECTOR_BYTES];
	setup(&a, SEED);
	assert_int_equal(array_mark(&a, 5), 0);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++) {
		uint64_t at = array_area(&a) + BLOCK_BYTES;
		sim_disk_peek(a.rig.world, array_names[i], at, sector, sizeof(sector));
		sim_disk_poke(
			a.rig.world, array_names[i], at + sizeof(sector), sector, sizeof(sector));
	}
	array_reboot(&a);
	assert_int_equal(intent_stale_count(a.log), STRIPES); /* unknown, thus all */
	assert_int_equal(intent_marked_count(a.log), 1);
	array_fini(&a);
}

static void a_member_that_comes_gets_the_stale_regions_too(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	lose_member(&a);
	assert_int_equal(array_mark(&a, 5), 0);
	intent_set_member(a.log, 2, a.members[2]);
	array_settle(&a);
	a.away[0] = a.away[1] = true;
	a.away[2] = false;
	array_reboot(&a);
	assert_true(intent_is_stale(a.log, 5));
	array_fini(&a);
}

static void a_sync_tells_that_no_member_took_the_log(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a, SEED);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		array_arm(&a, SIM_WRITE_ERROR, i, 1);
	intent_stale_collect(a.log, true);
	assert_int_equal(sync_wait(&a), 0); /* a round later it goes well */
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		intent_set_member(a.log, i, NULL);
	array_settle(&a);
	assert_int_equal(sync_wait(&a), -EIO);
	array_fini(&a);
}

/* The unmark and the stale bit of one region stand in different sectors of one block: whatever of
 * that block arrives, one of the two must be there. One member alone, so that no other helps. */
static void no_torn_write_loses_both_the_mark_and_the_stale_region(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct array a;
		setup(&a, seed);
		assert_int_equal(array_mark(&a, 5), 0);
		array_reboot(&a); /* a mark that is found is stale, in memory only as yet */
		leave_alone(&a);
		intent_region_synced(a.log, 5);
		array_flushed(&a);
		sim_world_cut_power_after(a.rig.world, seed % 2);
		tick_twice(&a);
		array_reboot(&a);
		assert_true(intent_is_stale(a.log, 5));
		array_fini(&a);
	}
}

/* A run of everything that happens to a log, drawn from a seed, on one member or on all. missed[r]:
 * a write to region r has gone on that the missing member did not see. */
struct story {
	struct array a;
	struct array_wait waits[8];
	bool waiting[8], busy[8]; /* slot i writes region regions[i] */
	uint64_t regions[8];
	bool dirty[STRIPES], missed[STRIPES], collecting;
};

static void story_write(struct story *s, unsigned i)
{
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
	if (!s->busy[i])
		return;
	s->dirty[s->regions[i]] = true;
	s->missed[s->regions[i]] |= s->collecting;
}

static void story_flush(struct story *s)
{
	array_flushed(&s->a);
	memset(s->dirty, 0, sizeof(s->dirty));
	for (unsigned k = 0; k < 8; k++)
		if (s->busy[k])
			s->dirty[s->regions[k]] = true;
}

static void story_lose_or_rebuild(struct story *s)
{
	if (s->collecting) {
		intent_stale_collect_end(s->a.log);
	} else {
		intent_stale_collect(s->a.log, false);
		for (unsigned r = 0; r < STRIPES; r++)
			s->missed[r] |= s->dirty[r];
	}
	s->collecting = !s->collecting;
}

static void story_step(struct story *s)
{
	story_write(s, (unsigned)(rig_random(&s->a.rig) % 8));
	uint64_t dice = rig_random(&s->a.rig) % 32, region = rig_random(&s->a.rig) % STRIPES;
	if (dice < 3)
		story_flush(s);
	else if (dice < 6)
		intent_idle_tick(s->a.log);
	else if (dice < 8)
		story_lose_or_rebuild(s);
	else if (dice < 14 && !s->collecting) {
		intent_region_current(s->a.log, region);
		s->missed[region] = false;
	}
	io_run(s->a.rig.io, dice % 2);
}

static bool story_of_a_power_cut(uint64_t seed, unsigned writes_before)
{
	static struct story s;
	memset(&s, 0, sizeof(s));
	setup(&s.a, seed);
	if (seed % 2)
		leave_alone(&s.a);
	sim_world_cut_power_after(s.a.rig.world, writes_before);
	for (unsigned n = 0; n < 300 && !sim_world_power_is_cut(s.a.rig.world); n++)
		story_step(&s);
	bool cut = sim_world_power_is_cut(s.a.rig.world);
	array_reboot(&s.a);
	for (uint64_t r = 0; r < STRIPES; r++) {
		assert_true(!s.dirty[r] || intent_is_marked(s.a.log, r));
		assert_true(!s.missed[r] || intent_is_stale(s.a.log, r));
	}
	assert_true(intent_stale_count(s.a.log) < STRIPES);
	array_fini(&s.a);
	return cut;
}

static void no_power_cut_loses_a_stale_region(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		unsigned n = 0;
		while (n < 50 && story_of_a_power_cut(seed, n))
			n++;
		assert_true(n > 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_is_stale_durably_before_the_write_goes_on),
		cmocka_unit_test(a_mark_that_is_durable_waits_until_its_region_is_stale_too),
		cmocka_unit_test(a_writer_whose_round_began_before_the_loss_waits_for_the_next),
		cmocka_unit_test(what_is_marked_when_the_member_goes_is_stale_at_once),
		cmocka_unit_test(a_new_member_lacks_every_region),
		cmocka_unit_test(while_nobody_is_missing_a_mark_costs_what_it_did),
		cmocka_unit_test(a_mark_makes_nothing_stale_when_no_member_is_missing_any_more),
		cmocka_unit_test(a_region_that_is_current_is_no_longer_stale_after_a_restart),
		cmocka_unit_test(a_clean_end_keeps_what_is_stale),
		cmocka_unit_test(when_all_are_up_to_date_the_map_is_emptied),
		cmocka_unit_test(
			what_a_crash_left_of_the_map_means_nothing_when_all_are_up_to_date),
		cmocka_unit_test(marks_found_while_a_member_is_out_of_date_are_stale_too),
		cmocka_unit_test(damage_of_one_member_is_covered_by_another),
		cmocka_unit_test(what_is_stale_unknown_is_all_stale_while_a_member_is_out_of_date),
		cmocka_unit_test(a_sector_of_marks_does_not_pass_for_one_of_stale_regions),
		cmocka_unit_test(a_member_that_comes_gets_the_stale_regions_too),
		cmocka_unit_test(a_sync_tells_that_no_member_took_the_log),
		cmocka_unit_test(no_torn_write_loses_both_the_mark_and_the_stale_region),
		cmocka_unit_test(no_power_cut_loses_a_stale_region),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
