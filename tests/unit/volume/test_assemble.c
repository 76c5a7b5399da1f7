/* SPDX-License-Identifier: MIT */
/* Which members make a volume, and how the others are refused. */
#include "rig.h"

#include "volume/generation.h"

static const struct volume_open_options plain;

static void members_in_any_order_are_put_in_their_places(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_T10);
	rig_open(rig);
	assert_int_equal(rig_write(rig, 0, 200000, 1), 0);
	assert_int_equal(rig_close(rig), 0);
	char *const mixed[] = {rig_names[2], rig_names[0], rig_names[1]};
	assert_int_equal(
		rig_open_with(rig, (struct volume_open_options){.paths = mixed, .count = 3}), 0);
	assert_true(rig_reads(rig, 0, 200000, 1));
	assert_string_equal(volume_member(rig->v, 2).path, "d2");
	rig_free(rig);
}

static void a_disk_that_is_no_member_is_refused_by_name(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	rig_disk(rig, "blank", 32 * MIB);
	char *const paths[] = {rig_names[0], (char *)"blank"};
	struct volume_open_options o = {.paths = paths, .count = 2};
	rig_refuses(rig, o, -EINVAL, "blank", "not a member");
	o.degraded = true;
	assert_int_equal(rig_open_with(rig, o), 0);
	assert_int_equal(volume_missing(rig->v), 1);
	rig_free(rig);
}

static void a_path_that_is_not_there_is_refused_by_name(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	char *const paths[] = {rig_names[0], (char *)"nowhere"};
	struct volume_open_options o = {.paths = paths, .count = 2};
	rig_refuses(rig, o, -ENOENT, "nowhere", "");
	o.degraded = true;
	assert_int_equal(rig_open_with(rig, o), 0);
	rig_free(rig);
}

static void a_member_of_another_volume_is_refused_with_both_names(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	char *const others[] = {(char *)"e0", (char *)"e1"};
	assert_int_equal(volume_create(&rig->factory, others, 2, &rig->create, &rig->why), 0);
	char *const paths[] = {rig_names[0], (char *)"e1"};
	struct volume_open_options o = {.paths = paths, .count = 2};
	rig_refuses(rig, o, -EINVAL, "e1 belongs to volume", "d0 belongs to volume");
	o.degraded = true;
	rig_refuses(rig, o, -EINVAL, "e1 belongs to volume", "d0");
	rig_free(rig);
}

static void a_path_given_twice_is_refused(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	char *const paths[] = {rig_names[1], rig_names[1]};
	rig_refuses(rig, (struct volume_open_options){.paths = paths, .count = 2}, -EINVAL, "d1",
		"given twice");
	rig_free(rig);
}

static void a_copy_of_a_member_is_refused_with_its_index(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_NONE);
	rig_disk(rig, "copy", rig_member_bytes(rig, "d1"));
	rig_put(rig, "copy", rig_save(rig, "d1"));
	char *const paths[] = {rig_names[0], rig_names[1], (char *)"copy"};
	rig_refuses(rig, (struct volume_open_options){.paths = paths, .count = 3}, -EINVAL,
		"d1 and copy", "both member 1");
	rig_free(rig);
}

static void too_few_members_are_refused_and_the_missing_named(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 4, PI_NONE);
	struct volume_open_options o = {.paths = rig_names + 1, .count = 1};
	rig_refuses(rig, o, -ENODEV, "1 of 4", "missing: 0, 2, 3");
	o.degraded = true;
	rig_refuses(rig, o, -ENODEV, "raid5 needs 3", "missing: 0, 2, 3");
	o.count = 0;
	rig_refuses(rig, o, -ENODEV, "none of the 0", "");
	rig_free(rig);
}

/* d0 stays away for one mount. */
static void mount_without_first(struct rig *rig)
{
	struct volume_open_options without = {.paths = rig_names + 1, .count = rig->members - 1};
	assert_int_equal(rig_open_with(rig, without), 0);
	assert_int_equal(rig_write(rig, 0, 4096, 42), 0);
	assert_int_equal(rig_close(rig), 0);
}

/* With all members there the volume opens, and @index comes back as one to be rebuilt. */
static void comes_back(struct rig *rig, unsigned index)
{
	rig_open(rig);
	assert_int_equal(volume_member(rig->v, index).state, VOLUME_MEMBER_REBUILDING);
	assert_int_equal(volume_missing(rig->v), 1);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(volume_member(rig->v, index).state, VOLUME_MEMBER_ACTIVE);
}

static void a_member_that_was_away_comes_back_and_is_rebuilt(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_T10);
	mount_without_first(rig);
	comes_back(rig, 0);
	assert_int_equal(volume_fail_member(rig->v, 1, "test", &rig->why), 0);
	assert_true(rig_reads(rig, 0, 4096, 42));
	rig_free(rig);
}

/* As a snapshot of a disk that was put back: the others had not gone on without it. */
static void an_old_image_of_a_member_is_rebuilt_wholly(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	struct rig_image old = rig_save(rig, "d1");
	rig_open(rig);
	assert_int_equal(rig_write(rig, 0, 4096, 5), 0);
	assert_int_equal(rig_close(rig), 0);
	rig_put(rig, "d1", old);
	rig_open(rig);
	assert_int_equal(volume_member(rig->v, 1).stale_stripes, volume_geometry(rig->v)->stripes);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(volume_fail_member(rig->v, 0, "test", &rig->why), 0);
	assert_true(rig_reads(rig, 0, 4096, 5));
	rig_free(rig);
}

static void a_read_only_open_leaves_a_member_out_that_is_out_of_date(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_T10);
	mount_without_first(rig);
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.read_only = true}), 0);
	assert_false(volume_member(rig->v, 0).present);
	assert_string_equal(volume_member(rig->v, 0).reason, "out of date");
	assert_true(rig_reads(rig, 0, 4096, 42));
	rig_free(rig);
}

static void stale_members_do_not_count_towards_enough(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_NONE);
	mount_without_first(rig);
	char *const paths[] = {rig_names[0], rig_names[1]};
	rig_refuses(rig, (struct volume_open_options){.paths = paths, .count = 2, .degraded = true},
		-ENODEV, "1 of 3", "missing: 0, 2; out of date: d0 (member 0");
	rig_free(rig);
}

/* Each mirror was written without the other: neither is newer. */
static void mirrors_that_went_apart_are_not_put_together(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	for (unsigned i = 0; i < 2; i++) {
		struct volume_open_options one = {.paths = rig_names + i, .count = 1};
		assert_int_equal(rig_open_with(rig, one), 0);
		assert_int_equal(rig_write(rig, 0, 4096, i), 0);
		assert_int_equal(rig_close(rig), 0);
	}
	rig_refuses(rig, plain, -ESTALE, "d1 (member 1)", "written without d0");
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.degraded = true}), 0);
	assert_true(rig_reads(rig, 0, 4096, 0));
	rig_free(rig);
}

static void one_damaged_superblock_copy_is_repaired_by_opening(void **unused)
{
	(void)unused;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
		uint64_t b = super_b_offset(rig_member_bytes(rig, "d1"));
		rig_spoil(rig, "d1", copy ? b : SUPER_A_OFFSET);
		log_set_level(LOG_LEVEL_ERROR);
		rig_open(rig);
		assert_int_equal(rig_close(rig), 0);
		rig_spoil(
			rig, "d1", copy ? SUPER_A_OFFSET : b); /* now the other one has to serve */
		rig_open(rig);
		rig_free(rig);
	}
}

static void a_member_with_both_copies_damaged_is_refused_or_left_out(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	rig_spoil(rig, "d1", SUPER_A_OFFSET);
	rig_spoil(rig, "d1", super_b_offset(rig_member_bytes(rig, "d0")));
	rig_refuses(rig, plain, -EUCLEAN, "d1", "damaged");
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.degraded = true}), 0);
	assert_int_equal(volume_missing(rig->v), 1);
	rig_free(rig);
}

static void members_that_disagree_about_the_shape_are_refused(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	struct super s = rig_super(rig, "d1");
	uint8_t block[SUPER_BYTES];
	s.stripes--;
	super_encode(&s, block);
	assert_int_equal(sim_disk_poke(rig->world, "d1", SUPER_A_OFFSET, block, sizeof(block)), 0);
	assert_int_equal(sim_disk_poke(rig->world, "d1",
				 super_b_offset(rig_member_bytes(rig, "d0")), block, sizeof(block)),
		0);
	rig_refuses(rig, plain, -EUCLEAN, "d0 and d1", "shape");
	rig_free(rig);
}

static void a_refusal_writes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_NONE);
	mount_without_first(rig);
	char *const paths[] = {rig_names[0], rig_names[1]};
	uint64_t before = sim_world_writes(rig->world);
	rig_refuses(
		rig, (struct volume_open_options){.paths = paths, .count = 2}, -ENODEV, "d0", "");
	assert_int_equal(sim_world_writes(rig->world), before);
	rig_free(rig);
}

/* ---- the rule itself, as a table ---- */

static void a_member_is_up_to_date_that_is_at_most_one_generation_behind(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t generation, newest;
		bool missing, stale;
	} rows[] = {
		{6, 6, false, false},
		{5, 6, false, false}, /* the commit was cut short */
		{4, 6, false, true},  /* it was away */
		{6, 7, false, false}, /* the announcement was cut short */
		{6, 7, true, false},  /* nothing is written under an announcement */
		{5, 7, false, true},
		{6, 6, true, true}, /* the others went on without it */
		{2, 100, false, true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct super s = {.index = 1, .generation = rows[i].generation};
		struct super newest = {.index = 0, .generation = rows[i].newest};
		newest.states[0] = SUPER_MEMBER_ACTIVE;
		newest.states[1] = rows[i].missing ? SUPER_MEMBER_MISSING : SUPER_MEMBER_ACTIVE;
		assert_int_equal(generation_is_stale(&s, &newest), rows[i].stale);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_in_any_order_are_put_in_their_places),
		cmocka_unit_test(a_disk_that_is_no_member_is_refused_by_name),
		cmocka_unit_test(a_path_that_is_not_there_is_refused_by_name),
		cmocka_unit_test(a_member_of_another_volume_is_refused_with_both_names),
		cmocka_unit_test(a_path_given_twice_is_refused),
		cmocka_unit_test(a_copy_of_a_member_is_refused_with_its_index),
		cmocka_unit_test(too_few_members_are_refused_and_the_missing_named),
		cmocka_unit_test(a_member_that_was_away_comes_back_and_is_rebuilt),
		cmocka_unit_test(an_old_image_of_a_member_is_rebuilt_wholly),
		cmocka_unit_test(a_read_only_open_leaves_a_member_out_that_is_out_of_date),
		cmocka_unit_test(stale_members_do_not_count_towards_enough),
		cmocka_unit_test(mirrors_that_went_apart_are_not_put_together),
		cmocka_unit_test(one_damaged_superblock_copy_is_repaired_by_opening),
		cmocka_unit_test(a_member_with_both_copies_damaged_is_refused_or_left_out),
		cmocka_unit_test(members_that_disagree_about_the_shape_are_refused),
		cmocka_unit_test(a_refusal_writes_nothing),
		cmocka_unit_test(a_member_is_up_to_date_that_is_at_most_one_generation_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
