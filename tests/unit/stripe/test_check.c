/* SPDX-License-Identifier: MIT */
/* Checks of whole stripes: what is found, and what is taken for right. */
#include "script.h"

#include <errno.h>

#define SEED 777

static struct rig *new_rig(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 3,
		.pi = pi,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static bool all_old(struct rig *rig)
{
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		if (!rig_reads(rig, b, 'o'))
			return false;
	return true;
}

static struct stripe_check check_stripe(struct rig *rig, enum stripe_check_mode mode)
{
	struct stripe_check check;
	assert_int_equal(rig_check(rig, mode, 1, &check), 0);
	return check;
}

static bool only(const struct rows *rows, unsigned row)
{
	return rows_count(rows) == 1 && rows_has(rows, row);
}

/* ---- CHECK ---- */

static void a_look_says_what_is_wrong_and_writes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10);
	rig_rot_data(rig, 1, 2, 3);
	rig_arm(rig, SIM_READ_ERROR, 1, 0, 1, 1, 0);
	rig_settle(rig);
	uint64_t writes = sim_world_writes(rig->world);
	struct stripe_check c = check_stripe(rig, STRIPE_CHECK);
	assert_true(only(&c.guard_bad[2], 3));
	assert_true(only(&c.unreadable[0], 1)); /* its chunk was read again row by row */
	assert_true(only(&c.parity_bad, 3));
	assert_int_equal(rows_count(&c.mirror_bad), 0);
	for (unsigned slot = 0; slot < 4; slot++)
		assert_int_equal(rows_count(&c.rebuilt[slot]) + rows_count(&c.lost[slot]), 0);
	rig_settle(rig);
	assert_int_equal(sim_world_writes(rig->world), writes);
	rig_free(rig);
}

static void a_look_gives_the_bytes_and_tuples_of_the_stripe(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 3, PI_T10);
	static _Alignas(BLOCK_ALIGN) uint8_t data[3 * 4 * BLOCK_BYTES];
	static uint8_t tuples[3 * 4 * 8];
	uint8_t medium[BLOCK_BYTES];
	struct stripe_check check = {
		.mode = STRIPE_CHECK, .stripe = 1, .data = data, .tuples = tuples};
	assert_int_equal(rig_check_run(rig, &check), 0);
	for (unsigned slot = 0; slot < 3; slot++) {
		for (unsigned row = 0; row < 4; row++) {
			unsigned at = slot * 4 + row;
			rig_peek(rig, 1, slot, row, medium);
			assert_memory_equal(data + at * BLOCK_BYTES, medium, BLOCK_BYTES);
			assert_int_equal(
				pi_verify(PI_T10, medium, 4 + row, tuples + at * 8), PI_GOOD);
		}
	}
	rig_free(rig);
}

static void copies_are_compared_also_where_one_of_three_is_missing(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID1, 3, PI_NONE);
	rig_rot_data(rig, 1, 2, 0);
	rig_remove_member(rig, 0);
	struct stripe_check c = check_stripe(rig, STRIPE_CHECK);
	assert_true(only(&c.mirror_bad, 0));
	c = check_stripe(rig, STRIPE_REPAIR);
	assert_true(only(&c.rebuilt[2], 0));
	assert_true(all_old(rig));
	rig_free(rig);
}

/* ---- REPAIR ---- */

static void without_pi_data_counts_against_parity(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, PI_NONE);
		rig_rot_data(rig, 1, slot, 2);
		struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
		assert_true(only(&c.parity_bad, 2));
		assert_true(only(&c.rebuilt[3], 2));
		assert_true(rig_is_clean(rig));
		assert_int_equal(all_old(rig), slot == 3); /* nobody can tell that data was wrong */
		rig_free(rig);
	}
}

static void with_pi_the_wrong_block_is_rebuilt_whichever_it_is(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, PI_CRC32C);
		rig_rot_data(rig, 1, slot, 2);
		struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
		assert_true(only(&c.rebuilt[slot], 2));
		assert_string_equal(rig_event(rig, EVENT_REPAIRED)->what, "guard");
		assert_true(rig_is_clean(rig));
		assert_true(all_old(rig));
		rig_free(rig);
	}
}

static void an_unreadable_block_is_written_anew(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, slot % 2 ? PI_NONE : PI_T10);
		rig_arm(rig, SIM_READ_ERROR, 1, slot, 2, 1, 0);
		struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
		assert_true(only(&c.rebuilt[slot], 2));
		sim_world_disarm_all(rig->world);
		assert_true(rig_is_clean(rig));
		assert_true(all_old(rig));
		rig_free(rig);
	}
}

static void two_bad_blocks_of_a_row_are_lost_and_left_alone(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10);
	rig_rot_data(rig, 1, 0, 2);
	rig_rot_data(rig, 1, 1, 2);
	rig_settle(rig);
	uint64_t writes = sim_world_writes(rig->world);
	struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
	assert_true(only(&c.lost[0], 2));
	assert_true(only(&c.lost[1], 2));
	rig_settle(rig);
	assert_int_equal(sim_world_writes(rig->world), writes);
	rig_free(rig);
}

static void bad_parity_beside_a_bad_block_loses_only_the_block(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10);
	rig_rot_data(rig, 1, 0, 2);
	rig_rot_data(rig, 1, 3, 2);
	struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
	assert_true(only(&c.lost[0], 2));
	for (unsigned slot = 0; slot < 4; slot++)
		assert_int_equal(rows_count(&c.rebuilt[slot]), 0);
	rig_free(rig);
}

static void with_pi_the_good_copy_counts_without_it_the_first(void **unused)
{
	(void)unused;
	for (unsigned pi = 0; pi < 2; pi++) {
		for (unsigned copy = 0; copy < 2; copy++) {
			struct rig *rig = new_rig(RAID_RAID1, 2, pi ? PI_T10 : PI_NONE);
			rig_rot_data(rig, 1, copy, 3);
			struct stripe_check c = check_stripe(rig, STRIPE_REPAIR);
			assert_true(only(&c.mirror_bad, 3));
			assert_true(only(&c.rebuilt[pi ? copy : 1], 3));
			assert_true(rig_is_clean(rig));
			assert_int_equal(all_old(rig), pi || copy == 1);
			rig_free(rig);
		}
	}
}

static void a_healthy_stripe_with_a_missing_member_is_left_alone(void **unused)
{
	(void)unused;
	for (unsigned missing = 0; missing < 3; missing++) {
		struct rig *rig = new_rig(RAID_RAID5, 3, missing ? PI_T10 : PI_NONE);
		rig_settle(rig);
		rig_remove_member(rig, missing);
		uint64_t writes = sim_world_writes(rig->world);
		struct rig_scrub s = rig_scrub(rig, STRIPE_REPAIR);
		assert_int_equal(s.err, 0);
		assert_int_equal(s.lost + s.rebuilt + s.guard_bad + s.parity_bad, 0);
		assert_int_equal(sim_world_writes(rig->world), writes);
		assert_true(all_old(rig));
		rig_free(rig);
	}
}

static void tuples_that_cannot_be_read_cost_no_data(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 3, PI_T10);
	rig_reopen(rig); /* the tuples are on the medium alone */
	struct sim_fault fault = {.kind = SIM_READ_ERROR,
		.name = rig_disk(0),
		.offset_bytes = member_super(rig->members[0])->tuples.offset_bytes,
		.len_bytes = BLOCK_BYTES,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	assert_true(all_old(rig));
	assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
	struct stripe_check c = check_stripe(rig, STRIPE_CHECK);
	assert_int_equal(rows_count(&c.unreadable[geometry_slot(&rig->geometry, 1, 0)]), 4);
	sim_world_disarm_all(rig->world);
	assert_true(all_old(rig));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_repair_that_cannot_write_says_so(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 3, PI_T10);
	struct stripe_check check;
	rig_rot_data(rig, 1, 0, 2);
	rig_arm(rig, SIM_WRITE_ERROR, 1, 0, 2, 1, 0);
	assert_int_equal(rig_check(rig, STRIPE_REPAIR, 1, &check), -EIO);
	assert_int_equal(rows_count(&check.rebuilt[0]), 0);
	assert_true(all_old(rig)); /* rebuilt for each reader */
	rig_free(rig);
}

/* ---- RESYNC ---- */

/* The power fails while stripe 1 is written, elsewhere than in the row that the tests damage. */
static void put_in_doubt(struct rig *rig)
{
	uint64_t block = geometry_volume_block(&rig->geometry, 1, 0, 0);
	assert_int_equal(rig_write_block(rig, block, 'o'), 0);
	rig->on_demand = true;
	rig_reboot(rig);
	assert_int_not_equal(stripe_engine_in_doubt(rig->eng), 0);
}

static void after_a_crash_a_block_that_parity_contradicts_had_been_overwritten(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10);
	uint64_t block = geometry_volume_block(&rig->geometry, 1, 0, 2);
	uint8_t medium[BLOCK_BYTES], got[BLOCK_BYTES];
	rig_rot_data(rig, 1, 0, 2); /* new data, new parity, old tuples */
	rig_rot_data(rig, 1, 3, 2);
	rig_peek(rig, 1, 0, 2, medium);
	put_in_doubt(rig);
	struct stripe_check c = check_stripe(rig, STRIPE_RESYNC);
	assert_true(only(&c.rebuilt[0], 2)); /* with a new tuple */
	assert_true(only(&c.rebuilt[3], 2));
	assert_int_equal(rows_count(&c.lost[0]), 0);
	assert_true(rig_is_clean(rig));
	assert_int_equal(rig_read(rig, block * BLOCK_BYTES, got, sizeof(got)), 0);
	assert_memory_equal(got, medium, sizeof(got));
	rig_free(rig);
}

static void after_a_crash_a_write_that_had_not_arrived_is_undone_by_parity(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10);
	rig_rot_data(rig, 1, 0, 2); /* torn, but the parity is still the old one */
	put_in_doubt(rig);
	struct stripe_check c = check_stripe(rig, STRIPE_RESYNC);
	assert_true(only(&c.rebuilt[0], 2));
	assert_true(all_old(rig));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void after_a_crash_a_copy_is_chosen_even_where_none_has_its_tuple(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID1, 2, PI_T10);
	rig_arm(rig, SIM_READ_ERROR, 1, 0, 2, 1, 0);
	rig_rot_data(rig, 1, 1, 2);
	assert_int_equal(rows_count(&check_stripe(rig, STRIPE_REPAIR).lost[1]), 1);
	put_in_doubt(rig);
	struct stripe_check c = check_stripe(rig, STRIPE_RESYNC);
	assert_int_equal(rows_count(&c.lost[0]) + rows_count(&c.lost[1]), 0);
	sim_world_disarm_all(rig->world);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_stripe_that_is_not_in_doubt_is_not_resynced(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_NONE);
	rig_rot_data(rig, 1, 0, 2);
	struct stripe_check c = check_stripe(rig, STRIPE_RESYNC);
	assert_true(rows_empty(&c.parity_bad)); /* nobody looked */
	c = check_stripe(rig, STRIPE_CHECK);
	assert_true(only(&c.parity_bad, 2));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_look_says_what_is_wrong_and_writes_nothing),
		cmocka_unit_test(a_look_gives_the_bytes_and_tuples_of_the_stripe),
		cmocka_unit_test(copies_are_compared_also_where_one_of_three_is_missing),
		cmocka_unit_test(without_pi_data_counts_against_parity),
		cmocka_unit_test(with_pi_the_wrong_block_is_rebuilt_whichever_it_is),
		cmocka_unit_test(an_unreadable_block_is_written_anew),
		cmocka_unit_test(two_bad_blocks_of_a_row_are_lost_and_left_alone),
		cmocka_unit_test(bad_parity_beside_a_bad_block_loses_only_the_block),
		cmocka_unit_test(with_pi_the_good_copy_counts_without_it_the_first),
		cmocka_unit_test(a_healthy_stripe_with_a_missing_member_is_left_alone),
		cmocka_unit_test(tuples_that_cannot_be_read_cost_no_data),
		cmocka_unit_test(a_repair_that_cannot_write_says_so),
		cmocka_unit_test(
			after_a_crash_a_block_that_parity_contradicts_had_been_overwritten),
		cmocka_unit_test(after_a_crash_a_write_that_had_not_arrived_is_undone_by_parity),
		cmocka_unit_test(after_a_crash_a_copy_is_chosen_even_where_none_has_its_tuple),
		cmocka_unit_test(a_stripe_that_is_not_in_doubt_is_not_resynced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
