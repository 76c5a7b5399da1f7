/* SPDX-License-Identifier: MIT */
/* Scrub counts and names damage that the test's own hand did; repair mends it. */
#include "rig.h"

static struct rig *filled_rig(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct rig *rig = rig_new(level, members, pi);
	rig_open(rig);
	assert_int_equal(rig_write(rig, 0, 2 * MIB, 1), 0);
	assert_int_equal(volume_flush(rig->v), 0);
	return rig;
}

/* Flip a byte of what @slot of @stripe holds in @row. */
static void spoil_block(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row)
{
	const struct geometry *g = volume_geometry(rig->v);
	const char *name = rig_names[geometry_member(g, stripe, slot)];
	uint64_t at = volume_super(rig->v)->data.offset_bytes +
		      geometry_member_block(g, stripe, row) * BLOCK_BYTES + 100;
	uint8_t byte;
	assert_int_equal(sim_disk_peek(rig->world, name, at, &byte, 1), 0);
	byte ^= 0x40;
	assert_int_equal(sim_disk_poke(rig->world, name, at, &byte, 1), 0);
}

static struct scrub_result scrub(struct rig *rig, bool repair)
{
	struct scrub_result result;
	assert_int_equal(volume_scrub(rig->v, repair, NULL, NULL, &result), 0);
	return result;
}

static void scrub_finds_nothing(struct rig *rig)
{
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.damage_count, 0);
	assert_int_equal(result.parity_mismatches + result.mirror_mismatches +
				 result.guard_mismatches + result.unreadable,
		0);
	assert_true(result.stripes == volume_geometry(rig->v)->stripes);
	assert_true(result.rows == result.stripes * volume_geometry(rig->v)->chunk_blocks);
	scrub_result_free(&result);
}

static void a_healthy_volume_has_no_damage(void **unused)
{
	(void)unused;
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	for (unsigned i = 0; i < 3; i++) {
		struct rig *rig = filled_rig(RAID_RAID5, 3, types[i]);
		scrub_finds_nothing(rig);
		rig_free(rig);
		rig = filled_rig(RAID_RAID1, 2, types[i]);
		scrub_finds_nothing(rig);
		rig_free(rig);
	}
}

static void without_pi_nobody_knows_which_block_of_a_row_is_wrong(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_NONE);
	spoil_block(rig, 5, 1, 2);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.parity_mismatches, 1);
	assert_int_equal(result.guard_mismatches, 0);
	assert_int_equal(result.damage_count, 1);
	assert_int_equal(result.damage[0].kind, SCRUB_PARITY);
	assert_int_equal(result.damage[0].stripe, 5);
	assert_int_equal(result.damage[0].row, 2);
	assert_int_equal(result.damage[0].member, -1);
	assert_true(result.damage[0].volume_block == UINT64_MAX);
	scrub_result_free(&result);
	rig_free(rig);
}

static void two_parities_tell_which_block_is_wrong_and_no_more_than_one(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID6, 4, PI_NONE);
	const struct geometry *g = volume_geometry(rig->v);
	for (unsigned slot = 0; slot < 4; slot++)
		spoil_block(rig, 5, slot, slot);
	spoil_block(rig, 6, 1, 2);
	spoil_block(rig, 6, 3, 2);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.damage_count, 5);
	for (unsigned slot = 0; slot < 4; slot++) {
		assert_int_equal(result.damage[slot].kind, SCRUB_PARITY);
		assert_int_equal(result.damage[slot].row, slot);
		assert_int_equal(result.damage[slot].member, geometry_member(g, 5, slot));
	}
	assert_int_equal(result.damage[4].stripe, 6);
	assert_int_equal(result.damage[4].member, -1);
	scrub_result_free(&result);
	rig_free(rig);
}

static void with_pi_the_guard_tells_which_block_is_wrong(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 4, PI_T10);
	const struct geometry *g = volume_geometry(rig->v);
	spoil_block(rig, 6, 1, 3);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.parity_mismatches, 1);
	assert_int_equal(result.guard_mismatches, 1);
	assert_int_equal(result.damage_count, 2);
	assert_int_equal(result.damage[0].kind, SCRUB_PARITY);
	assert_int_equal(result.damage[1].kind, SCRUB_GUARD);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(result.damage[i].member, geometry_member(g, 6, 1));
	assert_true(result.damage[1].volume_block == geometry_volume_block(g, 6, 1, 3));
	assert_false(result.damage[1].repaired);
	scrub_result_free(&result);
	rig_free(rig);
}

static void with_pi_a_wrong_mirror_is_told_from_the_right_one(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID1, 3, PI_CRC32C);
	spoil_block(rig, 2, 2, 1);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.mirror_mismatches, 1);
	assert_int_equal(result.guard_mismatches, 1);
	assert_int_equal(result.damage[0].kind, SCRUB_MIRROR);
	assert_int_equal(result.damage[0].member, 2);
	assert_true(result.damage[0].volume_block ==
		    geometry_volume_block(volume_geometry(rig->v), 2, 0, 1));
	scrub_result_free(&result);
	rig_free(rig);
}

static void repair_with_pi_brings_the_data_back(void **unused)
{
	(void)unused;
	static const enum raid_level levels[] = {RAID_RAID1, RAID_RAID5};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = filled_rig(levels[i], 3, PI_T10);
		spoil_block(rig, 3, 0, 0);
		spoil_block(rig, 4, 1, 2);
		spoil_block(rig, 4, 2, 3);
		struct scrub_result result = scrub(rig, true);
		assert_int_equal(result.guard_mismatches, 3);
		assert_int_equal(result.repaired, 3);
		assert_int_equal(result.lost, 0);
		for (uint64_t d = 0; d < result.damage_count; d++)
			assert_true(result.damage[d].repaired);
		scrub_result_free(&result);
		scrub_finds_nothing(rig);
		assert_true(rig_reads(rig, 0, 2 * MIB, 1));
		rig_free(rig);
	}
}

static void repair_without_pi_makes_parity_agree(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_NONE);
	spoil_block(rig, 3, 2, 0); /* the parity */
	struct scrub_result result = scrub(rig, true);
	assert_int_equal(result.parity_mismatches, 1);
	assert_int_equal(result.repaired, 1);
	scrub_result_free(&result);
	scrub_finds_nothing(rig);
	assert_true(rig_reads(rig, 0, 2 * MIB, 1));
	rig_free(rig);
}

static void two_bad_blocks_of_a_row_are_lost_and_said_to_be(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_T10);
	spoil_block(rig, 3, 0, 1);
	spoil_block(rig, 3, 1, 1);
	struct scrub_result result = scrub(rig, true);
	assert_int_equal(result.guard_mismatches, 2);
	assert_int_equal(result.lost, 2);
	unsigned lost = 0;
	for (uint64_t d = 0; d < result.damage_count; d++)
		lost += result.damage[d].lost;
	assert_int_equal(lost, 2);
	scrub_result_free(&result);
	rig_free(rig);
}

static void a_block_that_cannot_be_read_is_listed(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_NONE);
	const struct geometry *g = volume_geometry(rig->v);
	unsigned member = geometry_member(g, 7, 0);
	struct sim_fault fault = {.kind = SIM_READ_ERROR,
		.name = rig_names[member],
		.offset_bytes = volume_super(rig->v)->data.offset_bytes +
				geometry_member_block(g, 7, 2) * BLOCK_BYTES,
		.len_bytes = BLOCK_BYTES,
		.per_mille = 1000};
	sim_world_arm(rig->world, &fault);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.unreadable, 1);
	assert_int_equal(result.damage_count, 1);
	assert_int_equal(result.damage[0].kind, SCRUB_UNREADABLE);
	assert_int_equal(result.damage[0].stripe, 7);
	assert_int_equal(result.damage[0].member, member);
	assert_true(result.damage[0].volume_block == geometry_volume_block(g, 7, 0, 2));
	scrub_result_free(&result);
	rig_free(rig);
}

static void damage_is_listed_in_order_of_stripe_and_row(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_T10);
	for (unsigned i = 0; i < 30; i++)
		spoil_block(rig, 29 - i, i % 3, (i * 7) % 4);
	struct scrub_result result = scrub(rig, false);
	assert_int_equal(result.guard_mismatches, 30);
	assert_int_equal(result.damage_count, 60);
	for (unsigned i = 1; i < 60; i++)
		assert_true(result.damage[i - 1].stripe <= result.damage[i].stripe);
	scrub_result_free(&result);
	rig_free(rig);
}

struct steps {
	uint64_t calls, done, total, stop_after;
};

static bool count_step(void *ctx, uint64_t done, uint64_t total)
{
	struct steps *s = ctx;
	assert_true(done > s->done || s->calls == 0);
	s->calls++;
	s->done = done;
	s->total = total;
	return s->calls != s->stop_after;
}

static void progress_ends_at_the_last_stripe(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_NONE);
	struct steps steps = {0};
	struct scrub_result result;
	assert_int_equal(volume_scrub(rig->v, false, count_step, &steps, &result), 0);
	assert_true(steps.calls > 1);
	assert_true(steps.done == steps.total);
	assert_true(steps.total == volume_geometry(rig->v)->stripes);
	scrub_result_free(&result);
	rig_free(rig);
}

static void progress_can_stop_a_scrub(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_NONE);
	struct steps steps = {.stop_after = 2};
	struct scrub_result result;
	assert_int_equal(volume_scrub(rig->v, false, count_step, &steps, &result), -ECANCELED);
	assert_int_equal(steps.calls, 2);
	scrub_result_free(&result);
	scrub_finds_nothing(rig);
	rig_free(rig);
}

static void a_degraded_volume_is_scrubbed_as_far_as_it_is_there(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID5, 3, PI_T10);
	assert_int_equal(rig_close(rig), 0);
	assert_int_equal(
		rig_open_with(rig, (struct volume_open_options){.paths = rig_names, .count = 2}),
		0);
	scrub_finds_nothing(rig);
	rig_free(rig);
}

static void a_read_only_volume_is_not_repaired(void **unused)
{
	(void)unused;
	struct rig *rig = filled_rig(RAID_RAID1, 2, PI_NONE);
	struct scrub_result result;
	assert_int_equal(rig_close(rig), 0);
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.read_only = true}), 0);
	assert_int_equal(volume_scrub(rig->v, true, NULL, NULL, &result), -EROFS);
	scrub_finds_nothing(rig);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_healthy_volume_has_no_damage),
		cmocka_unit_test(without_pi_nobody_knows_which_block_of_a_row_is_wrong),
		cmocka_unit_test(two_parities_tell_which_block_is_wrong_and_no_more_than_one),
		cmocka_unit_test(with_pi_the_guard_tells_which_block_is_wrong),
		cmocka_unit_test(with_pi_a_wrong_mirror_is_told_from_the_right_one),
		cmocka_unit_test(repair_with_pi_brings_the_data_back),
		cmocka_unit_test(repair_without_pi_makes_parity_agree),
		cmocka_unit_test(two_bad_blocks_of_a_row_are_lost_and_said_to_be),
		cmocka_unit_test(a_block_that_cannot_be_read_is_listed),
		cmocka_unit_test(damage_is_listed_in_order_of_stripe_and_row),
		cmocka_unit_test(progress_ends_at_the_last_stripe),
		cmocka_unit_test(progress_can_stop_a_scrub),
		cmocka_unit_test(a_degraded_volume_is_scrubbed_as_far_as_it_is_there),
		cmocka_unit_test(a_read_only_volume_is_not_repaired),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
