/* SPDX-License-Identifier: MIT */
/* Members that say "done" and did nothing, or give back what was there before: which of these lies
 * the tuples show, and which only scrub sees, and cannot decide. docs/reliability.md says it in
 * words; this is what it says. */
#include <string.h>
#include "base/block.h"
#include "rig.h"

#define OLD 1u
#define NEW 2u

/* raid5 of 3, two blocks a chunk; block 0 is slot 0, row 0 of stripe 0. Everything holds OLD. */
static struct rig *rig_of_old(void)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = 3,
		.chunk_blocks = 2,
		.stripes = 8,
		.pi = PI_T10,
		.seed = 7});
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		assert_int_equal(rig_write_block(rig, b, OLD), 0);
	assert_int_equal(rig_flush(rig), 0);
	return rig;
}

static unsigned victim(const struct rig *rig)
{
	return geometry_member(&rig->geometry, 0, 0);
}

static void lie(struct rig *rig, enum sim_fault_kind kind, struct super_area area)
{
	struct sim_fault fault = {.kind = kind,
		.name = rig_disk(victim(rig)),
		.offset_bytes = area.offset_bytes,
		.len_bytes = area.len_bytes,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

static struct super_area data_area(const struct rig *rig)
{
	return member_super(rig->members[victim(rig)])->data;
}

static struct super_area tuple_area(const struct rig *rig)
{
	return member_super(rig->members[victim(rig)])->tuples;
}

/* Everything is written down, the lies end, and no cache knows better. */
static void start_again(struct rig *rig)
{
	assert_int_equal(rig_flush(rig), 0);
	sim_world_disarm_all(rig->world);
	rig_reopen(rig);
	rig_events_forget(rig);
}

static void assert_repaired(struct rig *rig)
{
	rig_settle(rig);
	assert_true(rig_is_clean(rig));
	start_again(rig);
	assert_true(rig_reads(rig, 0, NEW));
	assert_int_equal(rig_events(rig, EVENT_REPAIRED), 0);
	rig_free(rig);
}

/* A write that the member says it has stored in @area, and has not. */
static void lose_a_write(struct rig *rig, struct super_area area)
{
	lie(rig, SIM_LOST_WRITE, area);
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	start_again(rig);
	assert_true(rig_reads(rig, 0, NEW));
	assert_repaired(rig);
}

static void a_lost_write_of_data_is_seen_by_its_tuple_and_repaired(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old();
	lose_a_write(rig, data_area(rig));
}

static void a_lost_write_of_tuples_is_seen_and_the_tuple_renewed(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old();
	lose_a_write(rig, tuple_area(rig));
}

static void a_stale_read_of_data_is_seen_by_its_tuple(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old();
	lie(rig, SIM_STALE_READ, data_area(rig));
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	assert_true(rig_reads(rig, 0, NEW));
	start_again(rig);
	assert_repaired(rig);
}

static void a_stale_read_of_tuples_is_seen_by_the_data(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old();
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	start_again(rig);
	lie(rig, SIM_STALE_READ, tuple_area(rig));
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	assert_true(rig_reads(rig, 0, NEW));
	start_again(rig);
	assert_repaired(rig);
}

static void a_member_that_loses_data_and_tuple_is_named_by_the_row_tag(void **unused)
{
	(void)unused;
	struct rig *rig = rig_of_old();
	struct stripe_check check;
	lie(rig, SIM_LOST_WRITE, data_area(rig));
	lie(rig, SIM_LOST_WRITE, tuple_area(rig));
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	start_again(rig);
	assert_true(rig_reads(rig, 0, OLD)); /* a valid block with its valid tuple */
	assert_int_equal(rig_check(rig, STRIPE_CHECK, 0, &check), 0);
	assert_int_equal(rows_count(&check.parity_bad), 1);
	assert_int_equal(rows_count(&check.guard_bad[0]), 0);
	assert_int_equal(rows_count(&check.stale[0]), 1); /* by the row tag */
	assert_int_equal(rig_check(rig, STRIPE_REPAIR, 0, &check), 0);
	assert_repaired(rig);
}

static void a_mirror_that_loses_data_and_tuple_is_seen_only_by_scrub(void **unused)
{
	(void)unused;
	struct stripe_check check;
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID1,
		.members = 2,
		.chunk_blocks = 1,
		.stripes = 8,
		.pi = PI_T10,
		.seed = 7});
	assert_int_equal(rig_write_block(rig, 0, OLD), 0);
	assert_int_equal(rig_flush(rig), 0);
	lie(rig, SIM_LOST_WRITE, data_area(rig));
	lie(rig, SIM_LOST_WRITE, tuple_area(rig));
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	start_again(rig);
	assert_int_equal(rig_check(rig, STRIPE_CHECK, 0, &check), 0);
	assert_int_equal(rows_count(&check.mirror_bad), 1);
	assert_int_equal(rows_count(&check.guard_bad[0]) + rows_count(&check.guard_bad[1]), 0);
	rig_free(rig);
}

/* The first tuples of 512 blocks are lost: the blocks count as never written. */
static void a_lost_first_write_of_tuples_reads_as_zeros_and_is_seen_by_scrub(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = 3,
		.chunk_blocks = 2,
		.stripes = 8,
		.pi = PI_T10,
		.seed = 7});
	uint8_t block[BLOCK_BYTES];
	struct stripe_check check;
	lie(rig, SIM_LOST_WRITE, tuple_area(rig));
	assert_int_equal(rig_write_block(rig, 0, NEW), 0);
	start_again(rig);
	assert_int_equal(rig_read(rig, 0, block, BLOCK_BYTES), 0);
	assert_int_equal(block[0], 0);
	assert_int_equal(rig_check(rig, STRIPE_CHECK, 0, &check), 0);
	assert_int_equal(rows_count(&check.parity_bad), 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_write_of_data_is_seen_by_its_tuple_and_repaired),
		cmocka_unit_test(a_lost_write_of_tuples_is_seen_and_the_tuple_renewed),
		cmocka_unit_test(a_stale_read_of_data_is_seen_by_its_tuple),
		cmocka_unit_test(a_stale_read_of_tuples_is_seen_by_the_data),
		cmocka_unit_test(a_member_that_loses_data_and_tuple_is_named_by_the_row_tag),
		cmocka_unit_test(a_mirror_that_loses_data_and_tuple_is_seen_only_by_scrub),
		cmocka_unit_test(a_lost_first_write_of_tuples_reads_as_zeros_and_is_seen_by_scrub),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
