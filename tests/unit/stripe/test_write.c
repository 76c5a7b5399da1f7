/* SPDX-License-Identifier: MIT */
/* The write pipeline with writers that change their bytes on the way, and over damage. */
#include "script.h"

#include <errno.h>
#include "base/clock.h"

#define SEED 90125

static struct rig *new_rig(
	enum raid_level level, unsigned members, enum pi_type pi, enum pi_check pi_check)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 5,
		.pi = pi,
		.pi_check = pi_check,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static struct rig *raid5_rig(unsigned members, enum pi_type pi)
{
	return new_rig(RAID_RAID5, members, pi, PI_CHECK_NONE);
}

/* All blocks of the volume but [first, first + count) read as they were. */
static bool others_are_old(struct rig *rig, uint64_t first, uint64_t count)
{
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		if ((b < first || b >= first + count) && !rig_reads(rig, b, 'o'))
			return false;
	return true;
}

static int read_block(struct rig *rig, uint64_t volume_block)
{
	uint8_t block[BLOCK_BYTES];
	return rig_read(rig, volume_block * BLOCK_BYTES, block, BLOCK_BYTES);
}

/* ---- mutation in flight, nobody checks: what the samples say is what is stored ---- */

static void without_pi_a_mutation_behind_the_parity_leaves_parity_wrong(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_NONE);
	assert_int_equal(script_write(rig, 3, 1, 0, "-ab"), 0);
	assert_true(rig_reads(rig, 3, 'b'));
	struct rig_scrub s = rig_scrub(rig, STRIPE_CHECK);
	assert_int_equal(s.parity_bad, 1);
	assert_int_equal(s.guard_bad + s.mirror_bad, 0);
	assert_true(others_are_old(rig, 3, 1));
	rig_free(rig);
}

static int write_again(struct rig *rig, uint64_t volume_block, unsigned flags)
{
	uint8_t block[BLOCK_BYTES];
	rig_fill_block(block, volume_block, 'n');
	struct rig_io *io =
		rig_io_new(rig, STRIPE_WRITE, volume_block * BLOCK_BYTES, BLOCK_BYTES, block);
	io->req.flags = flags;
	rig_io_start(io);
	int err = rig_io_wait(io);
	rig_io_free(io);
	return err;
}

static void a_write_that_mends_makes_the_parity_anew(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(5, PI_NONE); /* so that a rmw has the fewer I/Os */
	assert_int_equal(script_write(rig, 3, 1, 0, "-ab"), 0);
	assert_int_equal(write_again(rig, 3, 0), 0);
	assert_int_equal(rig_scrub(rig, STRIPE_CHECK).parity_bad, 1);
	assert_int_equal(write_again(rig, 3, STRIPE_MEND), 0);
	assert_true(rig_reads(rig, 3, 'n'));
	assert_true(rig_is_clean(rig));
	assert_true(others_are_old(rig, 3, 1));
	rig_free(rig);
}

static void wrong_parity_ruins_the_idle_block_of_a_member_that_fails(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_NONE);
	uint64_t stranger = geometry_volume_block(&rig->geometry, 0, 1, 3);
	assert_int_equal(script_write(rig, 3, 1, 0, "-ab"), 0);
	rig_remove_member(rig, geometry_member(&rig->geometry, 0, 1));
	assert_true(rig_reads(rig, 3, 'b'));
	assert_false(rig_reads(rig, stranger, 'o'));
	rig_free(rig);
}

static void the_writers_that_do_not_mutate_leave_everything_consistent(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_T10);
	assert_int_equal(script_write(rig, 3, 7, 5, "aaa"), 0);
	assert_true(rig_reads(rig, 8, 'a'));
	assert_true(rig_is_clean(rig));
	assert_true(others_are_old(rig, 3, 7));
	rig_free(rig);
}

static void data_that_left_guard_and_parity_behind_is_set_back_by_a_read(void **unused)
{
	(void)unused;
	static const enum pi_type types[] = {PI_T10, PI_CRC32C};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = raid5_rig(3, types[i]);
		assert_int_equal(script_write(rig, 2, 1, 0, "aab"), 0);
		struct rig_scrub s = rig_scrub(rig, STRIPE_CHECK);
		assert_int_equal(s.guard_bad, 1);
		assert_int_equal(s.parity_bad, 1);
		assert_true(rig_reads(rig, 2, 'a')); /* parity and tuple agree on these */
		rig_settle(rig);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void data_that_agrees_with_parity_outvotes_an_older_guard(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(3, PI_T10);
	assert_int_equal(script_write(rig, 2, 1, 0, "abb"), 0);
	assert_true(rig_reads(rig, 2, 'b'));
	rig_settle(rig);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void three_different_samples_cannot_be_read_back(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_T10);
	assert_int_equal(script_write(rig, 2, 1, 0, "abc"), 0);
	assert_int_equal(read_block(rig, 2), -EILSEQ);
	assert_true(others_are_old(rig, 2, 1));
	struct rig_scrub s = rig_scrub(rig, STRIPE_REPAIR);
	assert_int_equal(s.lost, 1);
	assert_int_equal(s.rebuilt, 0);
	assert_int_equal(rig_write_block(rig, 2, 'n'), 0); /* a whole write cures it */
	assert_true(rig_reads(rig, 2, 'n'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void mirrors_that_are_sampled_apart_differ(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID1, 2, PI_NONE, PI_CHECK_NONE);
	assert_int_equal(script_write(rig, 1, 3, 1, "--bc"), 0);
	struct rig_scrub s = rig_scrub(rig, STRIPE_CHECK);
	assert_int_equal(s.mirror_bad, 1);
	assert_int_equal(s.guard_bad + s.parity_bad, 0);
	s = rig_scrub(rig, STRIPE_REPAIR); /* the first copy counts */
	assert_int_equal(s.rebuilt, 1);
	assert_true(rig_reads(rig, 2, 'b'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void mirrors_that_both_left_the_guard_behind_are_lost(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID1, 2, PI_CRC32C, PI_CHECK_NONE);
	assert_int_equal(script_write(rig, 1, 1, 0, "a-bc"), 0);
	assert_int_equal(rig_scrub(rig, STRIPE_CHECK).guard_bad, 2);
	assert_int_equal(read_block(rig, 1), -EILSEQ);
	assert_true(others_are_old(rig, 1, 1));
	rig_free(rig);
}

static void the_mirror_that_kept_to_the_guard_wins(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID1, 2, PI_T10, PI_CHECK_NONE);
	assert_int_equal(script_write(rig, 1, 1, 0, "a-ba"), 0);
	assert_true(rig_reads(rig, 1, 'a'));
	assert_true(rig_reads(rig, 1, 'a'));
	rig_settle(rig);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* ---- a PI disk refuses ---- */

static void a_refused_write_leaves_the_old_data_and_a_consistent_stripe(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 3; slot++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10, PI_CHECK_DEVICE);
		uint64_t block = geometry_volume_block(&rig->geometry, 1, slot, 2);
		assert_int_equal(script_write(rig, block, 1, 0, "abc"), -EILSEQ);
		assert_true(others_are_old(rig, 0, 0));
		assert_true(rig_is_clean(rig));
		const struct event *e = rig_event(rig, EVENT_REFUSED);
		assert_int_equal(e->writer.pid, 77);
		assert_int_equal(e->error, -EILSEQ);
		assert_int_equal(e->volume_block, block);
		assert_int_equal(e->member, geometry_member(&rig->geometry, 1, slot));
		assert_int_equal(stripe_engine_stats(rig->eng).refused_writes, 1);
		rig_free(rig);
	}
}

static void of_a_long_write_the_refused_chunk_keeps_its_old_data(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, 4, PI_CRC32C, PI_CHECK_DEVICE);
	assert_int_equal(script_write(rig, 0, 12, 5, "aab"), -EILSEQ);
	for (uint64_t b = 0; b < 12; b++)
		assert_true(rig_reads(rig, b, b / 4 == 1 ? 'o' : 'n'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_mirror_that_refuses_is_brought_into_agreement(void **unused)
{
	(void)unused;
	static const char *const points[] = {"a-ab", "a-ba", "a-bc"};
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = new_rig(RAID_RAID1, 2, PI_T10, PI_CHECK_DEVICE);
		assert_int_equal(script_write(rig, 1, 1, 0, points[i]), -EILSEQ);
		assert_true(rig_is_clean(rig));
		assert_true(rig_reads(rig, 1, 'o') || (i < 2 && rig_reads(rig, 1, 'a')));
		assert_true(others_are_old(rig, 1, 1));
		rig_free(rig);
	}
}

static void a_refusal_on_a_degraded_stripe_spares_the_block_of_the_missing_member(void **unused)
{
	(void)unused;
	for (unsigned missing = 0; missing < 4; missing++) {
		for (uint64_t block = 0; block < 12; block++) {
			struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10, PI_CHECK_DEVICE);
			unsigned slot = (unsigned)block / 4;
			rig_remove_member(rig, geometry_member(&rig->geometry, 0, missing));
			int err = script_write(rig, block, 1, 0, "aab");
			assert_int_equal(err, slot == missing ? 0 : -EILSEQ);
			assert_true(others_are_old(rig, block, 1));
			assert_true(rig_reads(rig, block, slot == missing ? 'a' : 'o'));
			rig_free(rig);
		}
	}
}

/* Blocks 2..9: the missing slot is written, or not, or in part of the rows; slot 1 is refused. */
static void a_refusal_beside_a_missing_member_keeps_what_others_wrote(void **unused)
{
	(void)unused;
	for (unsigned missing = 0; missing < 4; missing++) {
		struct rig *rig = new_rig(RAID_RAID5, 4, PI_T10, PI_CHECK_DEVICE);
		rig_remove_member(rig, geometry_member(&rig->geometry, 0, missing));
		int err = script_write(rig, 2, 8, 4, "abc");
		assert_int_equal(err, missing == 1 ? 0 : -EILSEQ);
		for (uint64_t b = 2; b < 10; b++) {
			if (b / 4 == 1 && missing == 1)
				assert_true(rig_reads(rig, b, b == 6 ? 'b' : 'n'));
			else
				assert_true(rig_reads(rig, b, b / 4 == 1 ? 'o' : 'n'));
		}
		assert_true(others_are_old(rig, 2, 8));
		rig_free(rig);
	}
}

/* ---- hold ---- */

static void a_held_write_stays_open_in_virtual_time_and_blocks_nobody_else(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_T10);
	struct script s;
	uint64_t hold = 50 * NS_PER_MS, start = io_now_ns(rig->io);
	script_init(&s, 0, 1, 0, "aaa");
	struct rig_io *held = rig_io_new(rig, STRIPE_WRITE, 0, BLOCK_BYTES, NULL);
	struct rig_io *other = rig_io_new(rig, STRIPE_WRITE, 12 * BLOCK_BYTES, BLOCK_BYTES, NULL);
	held->req.source = &s.base;
	held->req.hold_ns = hold;
	rig_io_start(held);
	rig_io_start(other);
	assert_int_equal(rig_io_wait(other), 0);
	assert_true(io_now_ns(rig->io) - start < hold);
	assert_int_equal(s.data_samples, 0);
	assert_int_equal(rig_io_wait(held), 0);
	assert_true(io_now_ns(rig->io) - start >= hold);
	assert_int_equal(s.data_samples, 1);
	assert_int_equal(stripe_engine_stats(rig->eng).held, 1);
	rig_io_free(held);
	rig_io_free(other);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* ---- degraded ---- */

static void degraded_writes_read_back_whatever_is_missing(void **unused)
{
	(void)unused;
	for (unsigned missing = 0; missing < 4; missing++) {
		struct rig *rig = raid5_rig(4, PI_T10);
		uint32_t len = (uint32_t)rig->volume_bytes;
		uint8_t *model = malloc(len), *got = malloc(len);
		rig_remove_member(rig, missing);
		assert_int_equal(rig_read(rig, 0, model, len), 0);
		for (unsigned i = 0; i < 60; i++) {
			uint32_t at = random_below(&rig->random, len);
			uint32_t size = 1 + random_below(&rig->random, 7 * BLOCK_BYTES);
			size = (uint32_t)min_u64(size, len - at);
			random_fill(&rig->random, model + at, size);
			assert_int_equal(rig_write(rig, at, model + at, size), 0);
		}
		assert_int_equal(rig_read(rig, 0, got, len), 0);
		assert_memory_equal(got, model, len);
		free(model);
		free(got);
		rig_free(rig);
	}
}

/* ---- old data that is damaged ---- */

static void damaged_old_data_is_mended_before_it_enters_the_parity(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 5; slot++) {
		struct rig *rig = raid5_rig(5, PI_T10);
		rig_rot_data(rig, 0, slot, 1);
		uint64_t block = geometry_volume_block(&rig->geometry, 0, 0, 1);
		assert_int_equal(rig_write_block(rig, block, 'n'), 0); /* rmw reads slots 0 and 4 */
		assert_true(rig_reads(rig, block, 'n'));
		assert_true(others_are_old(rig, block, 1));
		rig_settle(rig);
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void a_partial_write_goes_over_a_block_that_can_only_be_rebuilt(void **unused)
{
	(void)unused;
	static const enum raid_level levels[] = {RAID_RAID5, RAID_RAID1};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = new_rig(levels[i], 3, PI_T10, PI_CHECK_NONE);
		uint8_t wanted[BLOCK_BYTES], got[BLOCK_BYTES];
		rig_fill_block(wanted, 1, 'o');
		memset(wanted + 50, 'x', 100);
		rig_arm(rig, SIM_READ_ERROR, 0, 0, 1, 1, 0);
		assert_int_equal(rig_write(rig, BLOCK_BYTES + 50, wanted + 50, 100), 0);
		sim_world_disarm_all(rig->world);
		for (unsigned n = 0; n < 3; n++) {
			assert_int_equal(rig_read(rig, BLOCK_BYTES, got, sizeof(got)), 0);
			assert_memory_equal(got, wanted, sizeof(got));
		}
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

static void damage_that_a_write_can_avoid_does_not_fail_it(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(5, PI_T10);
	rig_rot_data(rig, 0, 0, 1);
	rig_rot_data(rig, 0, 4, 1); /* the parity: slot 0 is lost */
	uint64_t lost = geometry_volume_block(&rig->geometry, 0, 0, 1);
	assert_int_equal(rig_write_block(rig, lost, 'n'), 0); /* rmw would read both */
	assert_true(rig_reads(rig, lost, 'n'));
	assert_true(others_are_old(rig, lost, 1));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_partial_write_over_a_lost_block_fails_and_changes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_T10);
	rig_rot_data(rig, 0, 0, 1);
	rig_rot_data(rig, 0, 1, 1);
	assert_int_equal(rig_write(rig, BLOCK_BYTES + 50, "x", 1), -EILSEQ);
	assert_int_equal(read_block(rig, 1), -EILSEQ);
	assert_int_equal(read_block(rig, 5), -EILSEQ);
	assert_int_equal(rig_scrub(rig, STRIPE_CHECK).guard_bad, 2);
	rig_free(rig);
}

static void a_merged_write_that_cannot_be_done_fails_alone(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(4, PI_T10);
	uint8_t block[BLOCK_BYTES];
	rig_rot_data(rig, 0, 0, 1);
	rig_rot_data(rig, 0, 1, 1);
	struct rig_io *bad = rig_io_new(rig, STRIPE_WRITE, BLOCK_BYTES + 50, 1, "x");
	rig_fill_block(block, 2, 'n');
	struct rig_io *good = rig_io_new(rig, STRIPE_WRITE, 2 * BLOCK_BYTES, BLOCK_BYTES, block);
	rig_fill_block(block, 3, 'm');
	struct rig_io *good2 = rig_io_new(rig, STRIPE_WRITE, 3 * BLOCK_BYTES, BLOCK_BYTES, block);
	rig_io_start(bad);
	rig_io_start(good);
	rig_io_start(good2);
	assert_int_equal(rig_io_wait(bad), -EILSEQ);
	assert_int_equal(rig_io_wait(good), 0);
	assert_int_equal(rig_io_wait(good2), 0);
	assert_true(rig_reads(rig, 2, 'n'));
	assert_true(rig_reads(rig, 3, 'm'));
	rig_io_free(bad);
	rig_io_free(good);
	rig_io_free(good2);
	rig_free(rig);
}

/* ---- members that fail a write ---- */

static void a_failed_transfer_is_reported_and_the_stripe_made_consistent(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < 4; slot++) {
		struct rig *rig = raid5_rig(4, slot % 2 ? PI_T10 : PI_NONE);
		rig_arm(rig, SIM_WRITE_ERROR, 0, slot, 1, 1, 1);
		uint8_t data[12 * BLOCK_BYTES];
		for (unsigned i = 0; i < 12; i++)
			rig_fill_block(data + i * BLOCK_BYTES, i, 'n');
		assert_int_equal(rig_write(rig, 0, data, sizeof(data)), -EIO);
		assert_int_equal(rig_event(rig, EVENT_MEMBER_ERROR)->error, -EIO);
		assert_true(rig_is_clean(rig));
		for (uint64_t b = 0; b < 12; b++)
			assert_true(rig_reads(rig, b, b / 4 == slot ? 'o' : 'n'));
		assert_true(others_are_old(rig, 0, 12));
		rig_free(rig);
	}
}

static void a_mirror_that_fails_a_write_agrees_with_the_other_afterwards(void **unused)
{
	(void)unused;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct rig *rig = new_rig(RAID_RAID1, 2, PI_T10, PI_CHECK_NONE);
		rig_arm(rig, SIM_WRITE_ERROR, 0, copy, 1, 1, 1);
		assert_int_equal(rig_write_block(rig, 1, 'n'), -EIO);
		assert_true(rig_is_clean(rig));
		assert_true(rig_reads(rig, 1, 'o') || rig_reads(rig, 1, 'n'));
		rig_free(rig);
	}
}

static void nothing_is_written_before_the_region_is_marked(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(3, PI_NONE);
	struct sim_fault no_flush = {.kind = SIM_FLUSH_ERROR, .per_mille = 1000};
	rig_settle(rig);
	rig_reopen(rig);
	rig_flush(rig);
	assert_int_equal(intent_clear_all(rig->intent), 0);
	assert_int_equal(sim_world_arm(rig->world, &no_flush), 0); /* no mark gets durable */
	assert_int_equal(rig_write_block(rig, 0, 'n'), -EIO);
	sim_world_disarm_all(rig->world);
	assert_true(rig_reads(rig, 0, 'o'));
	assert_int_equal(rig_write_block(rig, 0, 'n'), 0);
	assert_true(rig_reads(rig, 0, 'n'));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_pi_a_mutation_behind_the_parity_leaves_parity_wrong),
		cmocka_unit_test(a_write_that_mends_makes_the_parity_anew),
		cmocka_unit_test(wrong_parity_ruins_the_idle_block_of_a_member_that_fails),
		cmocka_unit_test(the_writers_that_do_not_mutate_leave_everything_consistent),
		cmocka_unit_test(data_that_left_guard_and_parity_behind_is_set_back_by_a_read),
		cmocka_unit_test(data_that_agrees_with_parity_outvotes_an_older_guard),
		cmocka_unit_test(three_different_samples_cannot_be_read_back),
		cmocka_unit_test(mirrors_that_are_sampled_apart_differ),
		cmocka_unit_test(mirrors_that_both_left_the_guard_behind_are_lost),
		cmocka_unit_test(the_mirror_that_kept_to_the_guard_wins),
		cmocka_unit_test(a_refused_write_leaves_the_old_data_and_a_consistent_stripe),
		cmocka_unit_test(of_a_long_write_the_refused_chunk_keeps_its_old_data),
		cmocka_unit_test(a_mirror_that_refuses_is_brought_into_agreement),
		cmocka_unit_test(
			a_refusal_on_a_degraded_stripe_spares_the_block_of_the_missing_member),
		cmocka_unit_test(a_refusal_beside_a_missing_member_keeps_what_others_wrote),
		cmocka_unit_test(a_held_write_stays_open_in_virtual_time_and_blocks_nobody_else),
		cmocka_unit_test(degraded_writes_read_back_whatever_is_missing),
		cmocka_unit_test(damaged_old_data_is_mended_before_it_enters_the_parity),
		cmocka_unit_test(a_partial_write_goes_over_a_block_that_can_only_be_rebuilt),
		cmocka_unit_test(damage_that_a_write_can_avoid_does_not_fail_it),
		cmocka_unit_test(a_partial_write_over_a_lost_block_fails_and_changes_nothing),
		cmocka_unit_test(a_merged_write_that_cannot_be_done_fails_alone),
		cmocka_unit_test(a_failed_transfer_is_reported_and_the_stripe_made_consistent),
		cmocka_unit_test(a_mirror_that_fails_a_write_agrees_with_the_other_afterwards),
		cmocka_unit_test(nothing_is_written_before_the_region_is_marked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
