/* SPDX-License-Identifier: MIT */
/* Reads: what is damaged or missing is found elsewhere, mended, or refused; never given. */
#include "script.h"

#include <errno.h>

#define SEED 4711

static struct rig *full_rig(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 4,
		.pi = pi,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static bool all_old_but(struct rig *rig, uint64_t except)
{
	bool good = true;
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		good = good && (b == except || rig_reads(rig, b, 'o'));
	return good;
}

static bool all_old(struct rig *rig)
{
	return all_old_but(rig, UINT64_MAX);
}

static int read_block(struct rig *rig, uint64_t volume_block)
{
	uint8_t block[BLOCK_BYTES];
	return rig_read(rig, volume_block * BLOCK_BYTES, block, BLOCK_BYTES);
}

static void blocks_never_written_read_as_zeros(void **unused)
{
	(void)unused;
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
			.members = 3,
			.chunk_blocks = 2,
			.stripes = 3,
			.pi = types[i],
			.seed = SEED});
		uint8_t zeros[9000] = {0}, got[9000];
		assert_int_equal(rig_read(rig, 100, got, sizeof(got)), 0);
		assert_memory_equal(got, zeros, sizeof(got));
		rig_remove_member(rig, 0);
		assert_int_equal(rig_read(rig, 100, got, sizeof(got)), 0);
		assert_memory_equal(got, zeros, sizeof(got));
		rig_free(rig);
	}
}

static void a_rotten_block_is_rebuilt_from_parity_and_written_back(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
	uint64_t block = geometry_volume_block(&rig->geometry, 1, 2, 3);
	uint8_t wanted[BLOCK_BYTES], medium[BLOCK_BYTES];
	rig_rot_data(rig, 1, 2, 3);
	assert_true(rig_reads(rig, block, 'o'));
	rig_settle(rig);
	const struct event *e = rig_event(rig, EVENT_REPAIRED);
	assert_int_equal(e->stripe, 1);
	assert_int_equal(e->volume_block, block);
	assert_int_equal(e->member, geometry_member(&rig->geometry, 1, 2));
	assert_string_equal(e->what, "guard");
	rig_peek(rig, 1, 2, 3, medium);
	rig_fill_block(wanted, block, 'o');
	assert_memory_equal(medium, wanted, BLOCK_BYTES);
	assert_int_equal(stripe_engine_stats(rig->eng).repaired_blocks, 1);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_block_that_the_medium_cannot_read_is_rebuilt(void **unused)
{
	(void)unused;
	static const enum pi_type types[] = {PI_NONE, PI_CRC32C};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = full_rig(RAID_RAID5, 3, types[i]);
		rig_arm(rig, SIM_READ_ERROR, 2, 0, 1, 1, 0);
		assert_true(all_old(rig));
		assert_true(rig_events(rig, EVENT_MEMBER_ERROR) > 0);
		assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
		rig_settle(rig);
		sim_world_disarm_all(rig->world);
		assert_true(all_old(rig));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void a_rotten_copy_is_never_given_and_gets_healed(void **unused)
{
	(void)unused;
	for (unsigned copy = 0; copy < 3; copy++) {
		struct rig *rig = full_rig(RAID_RAID1, 3, PI_T10);
		rig_rot_data(rig, 1, copy, 2);
		for (unsigned i = 0; i < 6; i++) /* mirrors take turns */
			assert_true(all_old(rig));
		rig_settle(rig);
		assert_int_equal(rig_events(rig, EVENT_REPAIRED), 1);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void the_last_good_copy_serves_where_the_others_are_bad(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID1, 3, PI_T10);
	rig_rot_data(rig, 0, 0, 1);
	rig_arm(rig, SIM_READ_ERROR, 0, 1, 1, 1, 0);
	assert_true(all_old(rig));
	rig_settle(rig);
	sim_world_disarm_all(rig->world);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_rotten_tuple_costs_no_data_and_gets_a_new_one(void **unused)
{
	(void)unused;
	static const struct sweep_level {
		enum raid_level level;
		unsigned members;
	} levels[] = {{RAID_RAID5, 3}, {RAID_RAID1, 2}};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = full_rig(levels[i].level, levels[i].members, PI_T10);
		rig_reopen(rig);
		rig_rot_tuple(rig, 0, 0, 1);
		for (unsigned n = 0; n < 3; n++) {
			assert_true(all_old(rig));
			assert_true(rig_reads(rig, 0, 'o')); /* so that mirrors change turns */
		}
		rig_settle(rig);
		assert_int_equal(rig_events(rig, EVENT_REPAIRED), 1);
		assert_int_equal(rig_flush(rig), 0);
		rig_reopen(rig);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void two_rotten_blocks_of_a_row_fail_alone(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
	uint64_t lost = geometry_volume_block(&rig->geometry, 0, 1, 2);
	rig_rot_data(rig, 0, 1, 2);
	rig_rot_data(rig, 0, 3, 2); /* the parity */
	assert_int_equal(read_block(rig, lost), -EILSEQ);
	const struct event *e = rig_event(rig, EVENT_UNREPAIRABLE);
	assert_int_equal(e->volume_block, lost);
	assert_int_equal(e->volume_blocks, 1);
	assert_int_equal(e->error, -EILSEQ);
	assert_true(all_old_but(rig, lost));
	assert_int_equal(stripe_engine_stats(rig->eng).unrepairable_blocks, 1);
	rig_free(rig);
}

static void two_unreadable_blocks_of_a_row_are_an_io_error(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_NONE);
	uint64_t lost = geometry_volume_block(&rig->geometry, 0, 1, 2);
	rig_arm(rig, SIM_READ_ERROR, 0, 1, 2, 1, 0);
	rig_arm(rig, SIM_READ_ERROR, 0, 3, 2, 1, 0);
	assert_int_equal(read_block(rig, lost), -EIO);
	assert_true(all_old_but(rig, lost));
	assert_int_equal(rig_event(rig, EVENT_UNREPAIRABLE)->error, -EIO);
	rig_settle(rig);
	rig_free(rig);
}

static void a_rebuilt_block_that_its_tuple_contradicts_is_not_given(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 3, PI_T10);
	assert_int_equal(script_write(rig, 0, 1, 0, "aba"), 0); /* parity of other bytes */
	assert_true(rig_reads(rig, 0, 'a'));
	rig_arm(rig, SIM_READ_ERROR, 0, 0, 0, 1, 0);
	assert_int_equal(read_block(rig, 0), -EILSEQ);
	rig_free(rig);
}

static void all_copies_bad_is_a_damage_not_a_guess(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID1, 2, PI_CRC32C);
	rig_rot_data(rig, 0, 0, 1);
	rig_rot_data(rig, 0, 1, 1);
	rig_arm(rig, SIM_READ_ERROR, 0, 0, 2, 1, 0);
	rig_rot_data(rig, 0, 1, 2);
	assert_int_equal(read_block(rig, 1), -EILSEQ);
	assert_int_equal(read_block(rig, 2), -EILSEQ);
	assert_true(rig_reads(rig, 0, 'o'));
	assert_true(rig_reads(rig, 3, 'o'));
	rig_free(rig);
}

static void a_missing_member_is_rebuilt_wherever_it_held_data(void **unused)
{
	(void)unused;
	for (unsigned missing = 0; missing < 4; missing++) {
		struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
		rig_remove_member(rig, missing);
		assert_true(all_old(rig));
		assert_int_equal(stripe_engine_stats(rig->eng).degraded_reads, 12);
		assert_int_equal(rig_events(rig, EVENT_REPAIRED), 0);
		rig_free(rig);
	}
}

static void a_degraded_read_loses_only_the_rows_that_must_be_lost(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
	uint8_t chunk[4 * BLOCK_BYTES];
	uint64_t first = geometry_volume_block(&rig->geometry, 0, 1, 0);
	rig_rot_data(rig, 0, 2, 3);
	rig_remove_member(rig, geometry_member(&rig->geometry, 0, 1));
	assert_int_equal(rig_read(rig, first * BLOCK_BYTES, chunk, sizeof(chunk)), -EILSEQ);
	assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 1);
	assert_int_equal(rig_event(rig, EVENT_UNREPAIRABLE)->volume_block, first + 3);
	for (unsigned row = 0; row < 3; row++)
		assert_true(rig_reads(rig, first + row, 'o'));
	rig_free(rig);
}

static void two_missing_members_fail_what_they_held_and_no_more(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
	rig_remove_member(rig, geometry_member(&rig->geometry, 0, 0));
	rig_remove_member(rig, geometry_member(&rig->geometry, 0, 1));
	assert_int_equal(read_block(rig, geometry_volume_block(&rig->geometry, 0, 0, 0)), -EIO);
	assert_int_equal(read_block(rig, geometry_volume_block(&rig->geometry, 0, 1, 0)), -EIO);
	uint64_t there = geometry_volume_block(&rig->geometry, 0, 2, 0);
	assert_true(rig_reads(rig, there, 'o'));
	assert_int_equal(rig_write_block(rig, there, 'n'), -EIO);
	rig_free(rig);
}

static void damage_in_one_block_leaves_the_rest_of_a_long_read_right(void **unused)
{
	(void)unused;
	struct rig *rig = full_rig(RAID_RAID5, 4, PI_T10);
	uint32_t len = (uint32_t)rig->volume_bytes - 700;
	uint8_t *got = malloc(len), *wanted = malloc(rig->volume_bytes);
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		rig_fill_block(wanted + b * BLOCK_BYTES, b, 'o');
	rig_rot_data(rig, 0, 0, 0);
	rig_rot_data(rig, 1, 1, 1);
	rig_arm(rig, SIM_READ_ERROR, 2, 2, 0, 4, 0);
	rig_rot_data(rig, 3, 3, 0);
	assert_int_equal(rig_read(rig, 350, got, len), 0);
	assert_memory_equal(got, wanted + 350, len);
	free(got);
	free(wanted);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_never_written_read_as_zeros),
		cmocka_unit_test(a_rotten_block_is_rebuilt_from_parity_and_written_back),
		cmocka_unit_test(a_block_that_the_medium_cannot_read_is_rebuilt),
		cmocka_unit_test(a_rotten_copy_is_never_given_and_gets_healed),
		cmocka_unit_test(the_last_good_copy_serves_where_the_others_are_bad),
		cmocka_unit_test(a_rotten_tuple_costs_no_data_and_gets_a_new_one),
		cmocka_unit_test(two_rotten_blocks_of_a_row_fail_alone),
		cmocka_unit_test(two_unreadable_blocks_of_a_row_are_an_io_error),
		cmocka_unit_test(a_rebuilt_block_that_its_tuple_contradicts_is_not_given),
		cmocka_unit_test(all_copies_bad_is_a_damage_not_a_guess),
		cmocka_unit_test(a_missing_member_is_rebuilt_wherever_it_held_data),
		cmocka_unit_test(a_degraded_read_loses_only_the_rows_that_must_be_lost),
		cmocka_unit_test(two_missing_members_fail_what_they_held_and_no_more),
		cmocka_unit_test(damage_in_one_block_leaves_the_rest_of_a_long_read_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
