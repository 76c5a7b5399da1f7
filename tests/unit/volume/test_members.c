/* SPDX-License-Identifier: MIT */
/* Members that fail, go and come, while writes go on. What should be there is said by a model: an
 * array of bytes. */
#include "rig.h"

#include "model.h"

/* ---- failing ---- */

static void a_member_that_fails_a_write_is_out_before_the_write_is_acknowledged(void **unused)
{
	(void)unused;
	static const struct model_shape shapes[] = {MODEL_SHAPES};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct model m = model_new(&shapes[i]);
		model_write_some(&m, 10);
		model_arm(&m, SIM_WRITE_ERROR, "d1");
		model_write_some(&m, 10);
		assert_int_equal(volume_member(m.rig->v, 1).state, VOLUME_MEMBER_FAILED);
		assert_string_equal(volume_member(m.rig->v, 1).reason, "Input/output error");
		assert_int_equal(rig_super(m.rig, "d0").states[1], SUPER_MEMBER_MISSING);
		assert_int_not_equal(rig_super(m.rig, "d0").stale_since, 0);
		model_disarm(&m);
		model_compare(&m);
		model_free(&m);
	}
}

static void the_last_good_member_is_never_failed(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID5, 3, PI_T10});
	model_write_some(&m, 5);
	assert_int_equal(volume_fail_member(m.rig->v, 0, "test", &m.rig->why), 0);
	assert_int_equal(volume_fail_member(m.rig->v, 0, "test", &m.rig->why), -ENODEV);
	m.rig->why.text[0] = '\0';
	assert_int_equal(volume_fail_member(m.rig->v, 1, "test", &m.rig->why), -EBUSY);
	assert_non_null(strstr(m.rig->why.text, "cannot do without member 1"));
	model_arm(&m, SIM_WRITE_ERROR, "d2");
	assert_int_not_equal(rig_write(m.rig, 0, 65536, 3), 0);
	assert_int_equal(volume_member(m.rig->v, 2).state, VOLUME_MEMBER_ACTIVE);
	model_disarm(&m);
	assert_int_equal(rig_write(m.rig, 0, 65536, 3), 0);
	assert_true(rig_reads(m.rig, 0, 65536, 3));
	model_free(&m);
}

static void a_member_that_is_gone_fails_by_a_read_alone(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	model_write_some(&m, 5);
	model_arm(&m, SIM_GONE, "d0");
	for (unsigned i = 0; i < 4; i++)
		model_compare(&m);
	assert_int_equal(volume_member(m.rig->v, 0).state, VOLUME_MEMBER_FAILED);
	model_free(&m);
}

static void a_member_fails_after_so_many_errors_that_were_made_good(void **unused)
{
	(void)unused;
	struct model m = model_closed(&(struct model_shape){RAID_RAID5, 3, PI_T10});
	assert_int_equal(rig_open_with(m.rig, (struct volume_open_options){.max_errors = 5}), 0);
	model_write_some(&m, 10);
	struct sim_fault rot = {
		.kind = SIM_READ_ERROR, .name = "d1", .count = 4, .per_mille = 1000};
	sim_world_arm(m.rig->world, &rot);
	model_compare(&m);
	struct volume_member_info info = volume_member(m.rig->v, 1);
	assert_int_equal(info.state, VOLUME_MEMBER_ACTIVE);
	assert_int_equal(info.read_errors, 4);
	sim_world_arm(m.rig->world, &rot);
	model_compare(&m);
	assert_int_equal(volume_work(m.rig->v), 0);
	info = volume_member(m.rig->v, 1);
	assert_int_equal(info.state, VOLUME_MEMBER_FAILED);
	assert_string_equal(info.reason, "too many errors");
	model_compare(&m);
	model_free(&m);
}

static void a_member_that_hangs_is_failed_when_its_time_is_over(void **unused)
{
	(void)unused;
	struct model m = model_closed(&(struct model_shape){RAID_RAID5, 3, PI_NONE});
	struct volume_open_options o = {.member_timeout_ns = 500000000};
	assert_int_equal(rig_open_with(m.rig, o), 0);
	model_write_some(&m, 5);
	model_arm(&m, SIM_HANG, "d2");
	model_write_some(&m, 5);
	model_compare(&m);
	assert_int_equal(volume_member(m.rig->v, 2).state, VOLUME_MEMBER_FAILED);
	model_disarm(&m);
	model_free(&m);
}

static void a_member_that_fails_a_flush_is_out_before_the_flush_is_acknowledged(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_T10});
	model_write_some(&m, 5);
	model_arm(&m, SIM_FLUSH_ERROR, "d0");
	assert_int_equal(volume_flush(m.rig->v), 0);
	assert_int_equal(volume_member(m.rig->v, 0).state, VOLUME_MEMBER_FAILED);
	assert_int_equal(rig_super(m.rig, "d1").states[0], SUPER_MEMBER_MISSING);
	model_disarm(&m);
	model_power_cut(&m);
	rig_open(m.rig);
	model_compare(&m);
	model_free(&m);
}

/* ---- coming back ---- */

static void a_member_that_was_failed_comes_back_and_only_what_it_lacks_is_rebuilt(void **unused)
{
	(void)unused;
	static const struct model_shape shapes[] = {MODEL_SHAPES};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct model m = model_new(&shapes[i]);
		model_write_some(&m, 20);
		assert_int_equal(volume_flush(m.rig->v), 0);
		assert_int_equal(volume_fail_member(m.rig->v, 1, "test", &m.rig->why), 0);
		model_write_at(&m, 0, 9000);
		assert_int_equal(volume_replace_member(m.rig->v, 1, "d1", false, &m.rig->why), 0);
		uint64_t stale = volume_member(m.rig->v, 1).stale_stripes;
		assert_in_range(stale, 1, volume_geometry(m.rig->v)->stripes / 2);
		model_write_some(&m, 5);
		assert_int_equal(volume_work(m.rig->v), 0);
		assert_int_equal(volume_work_info(m.rig->v, VOLUME_REBUILD).total, stale);
		assert_int_equal(volume_missing(m.rig->v), 0);
		assert_int_equal(rig_super(m.rig, "d1").stale_since, 0);
		model_compare_without(&m, 0);
		model_free(&m);
	}
}

static void a_member_comes_back_over_a_restart_too(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID5, 4, PI_T10});
	model_write_some(&m, 20);
	assert_int_equal(volume_fail_member(m.rig->v, 2, "test", &m.rig->why), 0);
	model_write_some(&m, 3);
	assert_int_equal(rig_close(m.rig), 0);
	rig_open(m.rig);
	assert_int_equal(volume_member(m.rig->v, 2).state, VOLUME_MEMBER_REBUILDING);
	assert_in_range(volume_member(m.rig->v, 2).stale_stripes, 1,
		volume_geometry(m.rig->v)->stripes - 1);
	model_compare(&m);
	assert_int_equal(volume_work(m.rig->v), 0);
	model_compare_without(&m, 0);
	model_free(&m);
}

static void a_rebuild_that_was_interrupted_goes_on_where_it_was(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	model_write_some(&m, 20);
	rig_disk(m.rig, "new", rig_member_bytes(m.rig, "d1"));
	assert_int_equal(volume_replace_member(m.rig->v, 1, "new", false, &m.rig->why), 0);
	uint64_t all = volume_geometry(m.rig->v)->stripes;
	assert_int_equal(volume_member(m.rig->v, 1).stale_stripes, all);
	model_rebuild_in_part(&m, 1, all / 2);
	uint64_t left = volume_member(m.rig->v, 1).stale_stripes;
	assert_in_range(left, 1, all / 2);
	assert_int_equal(rig_close(m.rig), 0);
	char *const paths[] = {rig_names[0], (char *)"new"};
	struct volume_open_options o = {.paths = paths, .count = 2};
	assert_int_equal(rig_open_with(m.rig, o), 0);
	assert_in_range(volume_member(m.rig->v, 1).stale_stripes, left, left + 70); /* a region */
	model_compare(&m);
	assert_int_equal(volume_work(m.rig->v), 0);
	model_compare_without(&m, 0);
	model_free(&m);
}

static void what_a_member_misses_while_it_is_rebuilt_and_fails_again_is_known(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID5, 3, PI_NONE});
	model_write_some(&m, 20);
	for (unsigned round = 0; round < 4; round++) {
		assert_int_equal(volume_fail_member(m.rig->v, 0, "test", &m.rig->why), 0);
		model_write_some(&m, 4);
		assert_int_equal(volume_replace_member(m.rig->v, 0, NULL, false, &m.rig->why), 0);
		model_write_some(&m, 4);
		model_rebuild_in_part(&m, 0, 10);
		model_write_some(&m, 4);
	}
	assert_int_equal(volume_work(m.rig->v), 0);
	model_compare_without(&m, 2);
	model_free(&m);
}

/* ---- new members ---- */

static void a_new_member_takes_the_place_of_an_active_one(void **unused)
{
	(void)unused;
	static const struct model_shape shapes[] = {MODEL_SHAPES};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct model m = model_new(&shapes[i]);
		model_write_some(&m, 20);
		assert_int_equal(sysarea_write(volume_sysarea(m.rig->v), 5000, "kept", 5), 0);
		rig_disk(m.rig, "new", rig_member_bytes(m.rig, "d1"));
		assert_int_equal(volume_replace_member(m.rig->v, 1, "new", false, &m.rig->why), 0);
		assert_string_equal(volume_member(m.rig->v, 1).path, "new");
		model_write_some(&m, 10);
		assert_int_equal(volume_work(m.rig->v), 0);
		model_compare_without(&m, 0);
		assert_int_equal(rig_close(m.rig), 0);
		/* On its own it has all, the system area too. */
		char *const paths[] = {(char *)"new", rig_names[2], rig_names[3]};
		struct volume_open_options o = {.paths = paths, .count = shapes[i].members - 1};
		assert_int_equal(rig_open_with(m.rig, o), 0);
		char back[5] = "";
		for (unsigned copy = 0; copy < o.count; copy++)
			assert_int_equal(
				sysarea_read_copy(volume_sysarea(m.rig->v), copy, 5000, back, 5),
				0);
		assert_string_equal(back, "kept");
		model_compare(&m);
		model_free(&m);
	}
}

static void what_cannot_become_a_member_is_refused_and_changes_nothing(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	uint64_t bytes = rig_member_bytes(m.rig, "d1");
	rig_disk(m.rig, "small", bytes - 65536);
	assert_int_equal(volume_replace_member(m.rig->v, 1, "small", false, &m.rig->why), -ENOSPC);
	char *const others[] = {(char *)"e0", (char *)"e1"};
	assert_int_equal(volume_create(&m.rig->factory, others, 2, &m.rig->create, NULL), 0);
	m.rig->why.text[0] = '\0';
	assert_int_equal(volume_replace_member(m.rig->v, 1, "e0", false, &m.rig->why), -EEXIST);
	assert_non_null(strstr(m.rig->why.text, "e0"));
	assert_int_equal(volume_replace_member(m.rig->v, 2, "e0", false, &m.rig->why), -EINVAL);
	assert_int_equal(volume_missing(m.rig->v), 0);
	assert_int_equal(volume_replace_member(m.rig->v, 1, "e0", true, &m.rig->why), 0);
	model_free(&m);
}

static void the_disk_that_was_replaced_is_left_out(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_T10});
	model_write_some(&m, 10);
	rig_disk(m.rig, "new", rig_member_bytes(m.rig, "d1"));
	assert_int_equal(volume_replace_member(m.rig->v, 1, "new", false, &m.rig->why), 0);
	assert_int_equal(volume_work(m.rig->v), 0);
	model_write_some(&m, 5);
	assert_int_equal(rig_close(m.rig), 0);
	char *const paths[] = {rig_names[1], rig_names[0], (char *)"new"};
	assert_int_equal(
		rig_open_with(m.rig, (struct volume_open_options){.paths = paths, .count = 3}), 0);
	assert_string_equal(volume_member(m.rig->v, 1).path, "new");
	assert_int_equal(volume_missing(m.rig->v), 0);
	model_compare(&m);
	model_free(&m);
}

static void mirrors_that_went_apart_meet_again_only_by_force(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	for (unsigned i = 0; i < 3; i++) {
		struct volume_open_options one = {.paths = rig_names + i % 2, .count = 1};
		assert_int_equal(rig_open_with(rig, one), 0);
		assert_int_equal(rig_write(rig, i % 2 * 65536, 4096, i), 0);
		assert_int_equal(rig_close(rig), 0);
	}
	rig_refuses(
		rig, (struct volume_open_options){0}, -ESTALE, "d1 (member 1)", "replace --force");
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.degraded = true}), 0);
	assert_int_equal(volume_replace_member(rig->v, 1, "d1", false, &rig->why), -ESTALE);
	assert_int_equal(volume_replace_member(rig->v, 1, "d1", true, &rig->why), 0);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(volume_fail_member(rig->v, 0, "test", &rig->why), 0);
	assert_true(rig_reads(rig, 0, 4096, 2));
	rig_free(rig);
}

/* ---- spares ---- */

static void a_spare_takes_the_place_of_a_member_that_fails(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID5, 3, PI_T10});
	model_write_some(&m, 20);
	rig_disk(m.rig, "s0", rig_member_bytes(m.rig, "d1"));
	assert_int_equal(volume_add_spare(m.rig->v, "s0", false, &m.rig->why), 0);
	assert_int_equal(volume_add_spare(m.rig->v, "s0", false, &m.rig->why), -EBUSY);
	char paths[2][4096];
	assert_int_equal(volume_spares(m.rig->v, paths, 2), 1);
	assert_string_equal(paths[0], "s0");
	model_arm(&m, SIM_GONE, "d1");
	model_write_some(&m, 5);
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_int_equal(volume_missing(m.rig->v), 0);
	assert_string_equal(volume_member(m.rig->v, 1).path, "s0");
	assert_int_equal(volume_spares(m.rig->v, NULL, 0), 0);
	model_disarm(&m);
	model_compare_without(&m, 0);
	model_free(&m);
}

static void a_spare_is_kept_over_a_restart_and_takes_over_then(void **unused)
{
	(void)unused;
	struct model m = model_new(&(struct model_shape){RAID_RAID1, 2, PI_NONE});
	model_write_some(&m, 20);
	rig_disk(m.rig, "s0", rig_member_bytes(m.rig, "d1"));
	assert_int_equal(volume_add_spare(m.rig->v, "s0", false, &m.rig->why), 0);
	assert_int_equal(rig_close(m.rig), 0);
	char *const paths[] = {rig_names[0], (char *)"s0", rig_names[1]};
	struct volume_open_options o = {.paths = paths, .count = 2};
	assert_int_equal(rig_open_with(m.rig, o), 0); /* d1 is only away: perhaps forgotten */
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_int_equal(volume_spares(m.rig->v, NULL, 0), 1);
	assert_int_equal(volume_missing(m.rig->v), 1);
	assert_int_equal(rig_close(m.rig), 0);
	assert_int_equal(rig_open_with(m.rig, o), 0); /* it was not there before either */
	assert_int_equal(volume_work(m.rig->v), 0);
	assert_int_equal(volume_spares(m.rig->v, NULL, 0), 0);
	assert_int_equal(volume_missing(m.rig->v), 0);
	model_compare_without(&m, 0);
	model_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_member_that_fails_a_write_is_out_before_the_write_is_acknowledged),
		cmocka_unit_test(the_last_good_member_is_never_failed),
		cmocka_unit_test(a_member_that_is_gone_fails_by_a_read_alone),
		cmocka_unit_test(a_member_fails_after_so_many_errors_that_were_made_good),
		cmocka_unit_test(a_member_that_hangs_is_failed_when_its_time_is_over),
		cmocka_unit_test(
			a_member_that_fails_a_flush_is_out_before_the_flush_is_acknowledged),
		cmocka_unit_test(
			a_member_that_was_failed_comes_back_and_only_what_it_lacks_is_rebuilt),
		cmocka_unit_test(a_member_comes_back_over_a_restart_too),
		cmocka_unit_test(a_rebuild_that_was_interrupted_goes_on_where_it_was),
		cmocka_unit_test(what_a_member_misses_while_it_is_rebuilt_and_fails_again_is_known),
		cmocka_unit_test(a_new_member_takes_the_place_of_an_active_one),
		cmocka_unit_test(what_cannot_become_a_member_is_refused_and_changes_nothing),
		cmocka_unit_test(the_disk_that_was_replaced_is_left_out),
		cmocka_unit_test(mirrors_that_went_apart_meet_again_only_by_force),
		cmocka_unit_test(a_spare_takes_the_place_of_a_member_that_fails),
		cmocka_unit_test(a_spare_is_kept_over_a_restart_and_takes_over_then),
	};
	print_message("seed %#llx\n", (unsigned long long)RIG_SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
