/* SPDX-License-Identifier: MIT */
/* Loading the log: the union of what the members say, and what damage does to it. */
#include "array.h"

#define SEED    9u
#define STRIPES 8192u /* one region a stripe: three sectors */

static void setup(struct array *a)
{
	array_init(a, SEED, STRIPES, 16);
	assert_int_equal(intent_regions(a->log), STRIPES);
	assert_int_equal(intent_disk_sectors(STRIPES), 3);
}

static void put_sector(struct array *a, unsigned member, uint32_t sector, unsigned region)
{
	uint64_t words[INTENT_SECTOR_WORDS] = {0};
	uint8_t bytes[512];
	words[region / 64] = UINT64_C(1) << region % 64;
	intent_disk_sector_encode(member_super(a->members[member]), sector, words, bytes);
	sim_disk_poke(a->rig.world, array_names[member],
		array_area(a) + intent_disk_sector_offset(sector), bytes, 512);
}

static void damage(struct array *a, unsigned member, uint64_t at)
{
	sim_disk_poke(a->rig.world, array_names[member], array_area(a) + at, "damage", 6);
}

static void a_new_log_has_no_marks(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	assert_int_equal(intent_marked_count(a.log), 0);
	array_fini(&a);
}

static void marks_of_all_members_count_together(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	put_sector(&a, 0, 0, 7);
	put_sector(&a, 1, 1, 8);
	put_sector(&a, 2, 2, 9);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 3);
	assert_true(intent_is_marked(a.log, 7));
	assert_true(intent_is_marked(a.log, 3968 + 8));
	assert_true(intent_is_marked(a.log, 2 * 3968 + 9));
	array_fini(&a);
}

static void a_mark_that_only_one_member_has_is_written_to_the_others_first(void **unused)
{
	(void)unused;
	struct array a;
	struct array_wait w;
	setup(&a);
	put_sector(&a, 0, 0, 7);
	array_reboot(&a);
	assert_false(array_begin(&a, &w, 7));
	rig_run_until(&a.rig, &w.ended);
	assert_int_equal(w.err, 0);
	array_reboot(&a);
	struct member *alone[ARRAY_MEMBERS] = {NULL, NULL, a.members[2]};
	struct intent_log *log;
	assert_int_equal(intent_load(a.rig.io, alone, ARRAY_MEMBERS, &log, NULL), 0);
	assert_true(intent_is_marked(log, 7));
	intent_free(log);
	array_fini(&a);
}

static void damage_of_one_member_is_covered_by_the_others(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	assert_int_equal(array_mark(&a, 7), 0);
	damage(&a, 0, 0); /* the header: nothing of this member counts */
	damage(&a, 1, intent_disk_sector_offset(0) + 100);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 1);
	assert_true(intent_is_marked(a.log, 7));
	/* The next mark heals both. */
	assert_int_equal(array_mark(&a, 8), 0);
	damage(&a, 2, 0);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 2);
	array_fini(&a);
}

static void what_no_member_knows_counts_as_marked(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		damage(&a, i, intent_disk_sector_offset(1) + 4);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 3968);
	assert_false(intent_is_marked(a.log, 3967));
	assert_true(intent_is_marked(a.log, 3968));
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		damage(&a, i, 8);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), STRIPES);
	assert_int_equal(intent_clear_all(a.log), 0);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 0);
	array_fini(&a);
}

static void a_log_that_cannot_be_read_is_damaged(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	assert_int_equal(array_mark(&a, 7), 0);
	array_arm(&a, SIM_READ_ERROR, 0, 1);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 1);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		array_arm(&a, SIM_READ_ERROR, i, 1);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), STRIPES);
	array_fini(&a);
}

static void bits_behind_the_last_region_mean_nothing(void **unused)
{
	(void)unused;
	struct array a;
	setup(&a);
	put_sector(&a, 0, 2, STRIPES - 2 * 3968); /* one too far */
	put_sector(&a, 1, 2, 3967);
	put_sector(&a, 2, 2, STRIPES - 2 * 3968 - 1);
	array_reboot(&a);
	assert_int_equal(intent_marked_count(a.log), 1);
	assert_true(intent_is_marked(a.log, STRIPES - 1));
	array_fini(&a);
}

static void without_members_there_is_no_log(void **unused)
{
	(void)unused;
	struct array a;
	struct member *none[ARRAY_MEMBERS] = {NULL};
	struct intent_log *log;
	struct errmsg why = {0};
	setup(&a);
	assert_int_equal(intent_load(a.rig.io, none, ARRAY_MEMBERS, &log, &why), -EINVAL);
	assert_true(why.text[0]);
	array_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_log_has_no_marks),
		cmocka_unit_test(marks_of_all_members_count_together),
		cmocka_unit_test(a_mark_that_only_one_member_has_is_written_to_the_others_first),
		cmocka_unit_test(damage_of_one_member_is_covered_by_the_others),
		cmocka_unit_test(what_no_member_knows_counts_as_marked),
		cmocka_unit_test(a_log_that_cannot_be_read_is_damaged),
		cmocka_unit_test(bits_behind_the_last_region_mean_nothing),
		cmocka_unit_test(without_members_there_is_no_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
