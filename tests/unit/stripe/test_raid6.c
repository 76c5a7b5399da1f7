/* SPDX-License-Identifier: MIT */
/* The engine with two parities: every pair of members may go, of every row two blocks may rot. */
#include "script.h"

#include <errno.h>
#include "workload.h"

#define SEED    66006
#define MEMBERS 5u
#define DATA    (MEMBERS - 2)
#define ROWS    4u

static struct rig *new_rig(unsigned members, enum pi_type pi, enum pi_check pi_check)
{
	return rig_new(&(struct rig_config){.level = RAID_RAID6,
		.members = members,
		.chunk_blocks = ROWS,
		.stripes = 6,
		.pi = pi,
		.pi_check = pi_check,
		.seed = SEED + members});
}

static struct rig *old_rig(enum pi_type pi)
{
	struct rig *rig = new_rig(MEMBERS, pi, PI_CHECK_NONE);
	script_fill_volume(rig);
	return rig;
}

static bool others_are_old(struct rig *rig, uint64_t first, uint64_t count)
{
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		if ((b < first || b >= first + count) && !rig_reads(rig, b, 'o'))
			return false;
	return true;
}

static bool all_old(struct rig *rig)
{
	return others_are_old(rig, 0, 0);
}

static void remove_slot(struct rig *rig, uint64_t stripe, unsigned slot)
{
	rig_remove_member(rig, geometry_member(&rig->geometry, stripe, slot));
}

/* ---- members that go ---- */

static void work(struct workload *w, unsigned steps, const char *what, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < steps; i++)
		workload_step(w);
	workload_verify(w);
	if (w->errors || w->mismatches)
		fail_msg("%s, members %u and %u: %u errors, %u mismatches", what, a, b, w->errors,
			w->mismatches);
}

/* Random requests with all members, without one, without two; a restart in between. */
static void lose_two(unsigned members, enum pi_type pi, unsigned a, unsigned b)
{
	struct workload w;
	struct rig *rig = new_rig(members, pi, pi ? PI_CHECK_DEVICE : PI_CHECK_NONE);
	workload_init(&w, rig);
	work(&w, 60, "healthy", a, b);
	assert_true(rig_is_clean(rig));
	rig_remove_member(rig, a);
	work(&w, 60, "one missing", a, b);
	rig_remove_member(rig, b);
	work(&w, 60, "two missing", a, b);
	assert_int_equal(rig_flush(rig), 0);
	rig_reopen(rig);
	work(&w, 20, "reopened", a, b);
	struct rig_scrub s = rig_scrub(rig, STRIPE_REPAIR);
	assert_int_equal(s.guard_bad + s.unreadable + s.parity_bad + s.rebuilt + s.lost, 0);
	workload_fini(&w);
	rig_free(rig);
}

static void any_two_members_may_go(void **unused)
{
	(void)unused;
	for (unsigned members = 4; members <= 6; members++)
		for (unsigned a = 0; a < members; a++)
			for (unsigned b = 0; b < members; b++)
				if (a != b)
					lose_two(members, (a + b) % 2 ? PI_T10 : PI_NONE, a, b);
}

static void a_third_loss_is_an_io_error_and_no_wrong_data(void **unused)
{
	(void)unused;
	struct rig *rig = old_rig(PI_T10);
	uint8_t block[BLOCK_BYTES];
	for (unsigned slot = 0; slot < 3; slot++)
		remove_slot(rig, 0, slot);
	assert_int_equal(rig_read(rig, 0, block, BLOCK_BYTES), -EIO);
	assert_int_equal(rig_write_block(rig, 0, 'n'), -EIO);
	rig_free(rig);
}

/* With data that change meanwhile; then what was filled must serve without two others. */
static void a_member_that_returns_is_brought_up_to_date(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < MEMBERS; a++) {
		unsigned b = (a + 1) % MEMBERS;
		struct workload w;
		struct rig *rig = new_rig(MEMBERS, a % 2 ? PI_T10 : PI_NONE, PI_CHECK_NONE);
		workload_init(&w, rig);
		work(&w, 40, "healthy", a, b);
		rig_fail_member(rig, a);
		rig_fail_member(rig, b);
		work(&w, 40, "two failed", a, b);
		rig_replace_member(rig, a);
		work(&w, 40, "one replaced", a, b);
		rig_return_member(rig, b);
		work(&w, 40, "both back", a, b);
		assert_int_equal(rig_rebuild(rig, a), 0);
		assert_int_equal(rig_rebuild(rig, b), 0);
		assert_true(rig_is_clean(rig));
		rig_remove_member(rig, (b + 1) % MEMBERS);
		rig_remove_member(rig, (b + 2) % MEMBERS);
		work(&w, 40, "two others gone", a, b);
		workload_fini(&w);
		rig_free(rig);
	}
}

/* ---- blocks that rot ---- */

static void any_two_blocks_of_a_row_may_rot_where_tuples_tell(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < MEMBERS; a++) {
		for (unsigned b = a + 1; b < MEMBERS; b++) {
			struct rig *rig = old_rig(PI_CRC32C);
			rig_rot_data(rig, 1, a, 2);
			rig_rot_data(rig, 1, b, 2);
			assert_true(all_old(rig));
			rig_settle(rig);
			rig_scrub(rig, STRIPE_REPAIR); /* parities are met by no read */
			assert_true(rig_is_clean(rig));
			assert_true(all_old(rig));
			rig_free(rig);
		}
	}
}

static void of_three_rotten_blocks_the_data_is_lost_and_nothing_else(void **unused)
{
	(void)unused;
	struct rig *rig = old_rig(PI_T10);
	struct stripe_check check;
	uint8_t block[BLOCK_BYTES];
	rig_rot_data(rig, 1, 0, 2);
	rig_rot_data(rig, 1, 2, 2);
	rig_rot_data(rig, 1, DATA + 1, 2);
	uint64_t lost = geometry_volume_block(&rig->geometry, 1, 0, 2);
	assert_int_equal(rig_read(rig, lost * BLOCK_BYTES, block, BLOCK_BYTES), -EILSEQ);
	assert_true(rig_reads(rig, geometry_volume_block(&rig->geometry, 1, 1, 2), 'o'));
	assert_true(rig_reads(rig, lost + 1, 'o'));
	assert_int_equal(rig_check(rig, STRIPE_REPAIR, 1, &check), 0);
	assert_true(rows_has(&check.lost[0], 2) && rows_has(&check.lost[2], 2));
	assert_int_equal(rows_count(&check.lost[0]) + rows_count(&check.lost[1]), 1);
	rig_free(rig);
}

static void unreadable_sources_are_gone_round(void **unused)
{
	(void)unused;
	for (unsigned bad = 1; bad < MEMBERS; bad++) {
		struct rig *rig = old_rig(bad % 2 ? PI_T10 : PI_NONE);
		remove_slot(rig, 1, 0);
		rig_arm(rig, SIM_READ_ERROR, 1, bad, 0, ROWS, 0);
		assert_true(all_old(rig));
		rig_settle(rig);
		sim_world_disarm_all(rig->world);
		rig_free(rig);
	}
}

static void without_pi_the_parities_tell_the_one_block_that_rots(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < MEMBERS; slot++) {
		struct rig *rig = old_rig(PI_NONE);
		struct stripe_check check;
		rig_rot_data(rig, 1, slot, 2);
		assert_int_equal(rig_check(rig, STRIPE_REPAIR, 1, &check), 0);
		assert_true(rows_has(&check.parity_bad, 2));
		for (unsigned s = 0; s < MEMBERS; s++)
			assert_int_equal(rows_count(&check.rebuilt[s]), s == slot);
		assert_true(rig_is_clean(rig));
		assert_true(all_old(rig));
		rig_free(rig);
	}
}

/* (Where both rot in the same way and place they look like one: raid/parity.h.) */
static void without_pi_data_counts_where_two_blocks_are_wrong(void **unused)
{
	(void)unused;
	struct rig *rig = old_rig(PI_NONE);
	uint64_t mutated = geometry_volume_block(&rig->geometry, 1, 1, 2);
	assert_int_equal(script_write(rig, mutated, 1, 0, "-ab"), 0);
	rig_rot_data(rig, 1, 0, 2);
	struct rig_scrub s = rig_scrub(rig, STRIPE_REPAIR);
	assert_int_equal(s.parity_bad, 1);
	assert_int_equal(s.rebuilt, 2); /* both parities */
	assert_true(rig_is_clean(rig));
	assert_true(rig_reads(rig, mutated, 'b'));
	assert_false(rig_reads(rig, geometry_volume_block(&rig->geometry, 1, 0, 2), 'o'));
	rig_free(rig);
}

/* ---- writers that change their bytes ---- */

static void a_mutation_behind_the_parities_is_told_by_both_of_them(void **unused)
{
	(void)unused;
	struct rig *rig = old_rig(PI_NONE);
	assert_int_equal(script_write(rig, 3, 1, 0, "-ab"), 0);
	assert_true(rig_reads(rig, 3, 'b'));
	assert_int_equal(rig_scrub(rig, STRIPE_CHECK).parity_bad, 1);
	assert_int_equal(rig_scrub(rig, STRIPE_REPAIR).rebuilt, 1);
	assert_true(rig_reads(rig, 3, 'a'));
	assert_true(rig_is_clean(rig));
	assert_true(others_are_old(rig, 3, 1));
	rig_free(rig);
}

static void a_refusal_leaves_the_stripe_consistent_whatever_is_missing(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < MEMBERS; a++) {
		for (unsigned b = a; b < MEMBERS; b++) {
			struct rig *rig = new_rig(MEMBERS, PI_T10, PI_CHECK_DEVICE);
			script_fill_volume(rig);
			remove_slot(rig, 0, a);
			if (b != a)
				remove_slot(rig, 0, b);
			int err = script_write(rig, 2, 8, 4, "abc"); /* refused on slot 1 */
			assert_int_equal(err, a == 1 || b == 1 ? 0 : -EILSEQ);
			for (uint64_t block = 2; block < 10; block++) {
				unsigned tag = block / 4 != 1 ? 'n'
					       : err          ? 'o'
					       : block == 6   ? 'b'
							      : 'n';
				assert_true(rig_reads(rig, block, tag));
			}
			assert_true(others_are_old(rig, 2, 8));
			rig_free(rig);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_two_members_may_go),
		cmocka_unit_test(a_third_loss_is_an_io_error_and_no_wrong_data),
		cmocka_unit_test(a_member_that_returns_is_brought_up_to_date),
		cmocka_unit_test(any_two_blocks_of_a_row_may_rot_where_tuples_tell),
		cmocka_unit_test(of_three_rotten_blocks_the_data_is_lost_and_nothing_else),
		cmocka_unit_test(unreadable_sources_are_gone_round),
		cmocka_unit_test(without_pi_the_parities_tell_the_one_block_that_rots),
		cmocka_unit_test(without_pi_data_counts_where_two_blocks_are_wrong),
		cmocka_unit_test(a_mutation_behind_the_parities_is_told_by_both_of_them),
		cmocka_unit_test(a_refusal_leaves_the_stripe_consistent_whatever_is_missing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
