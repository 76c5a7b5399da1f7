/* SPDX-License-Identifier: MIT */
/* After an unclean end: marked regions are made consistent, others are left alone. */
#include "rig.h"

/* A volume whose power went while the region of stripe 0 was marked. */
static struct rig *crashed_rig(enum pi_type pi)
{
	struct rig *rig = rig_new(RAID_RAID5, 3, pi);
	rig_open(rig);
	assert_int_equal(rig_write(rig, 0, 65536, 1), 0);
	assert_int_equal(volume_flush(rig->v), 0);
	assert_int_equal(rig_write(rig, 131072, 65536, 2), 0);
	sim_world_cut_power_after(rig->world, 0);
	assert_int_not_equal(rig_close(rig), 0);
	sim_world_reboot(rig->world);
	return rig;
}

static uint64_t parity_offset(const struct super *s, uint64_t stripe, const char **name)
{
	struct geometry g = {RAID_RAID5, s->members, s->chunk_blocks, s->stripes};
	*name = rig_names[geometry_member(&g, stripe, geometry_data_slots(&g))];
	return s->data.offset_bytes + geometry_member_block(&g, stripe, 1) * BLOCK_BYTES;
}

/* As a write that had reached the data and not yet the parity. */
static void spoil_parity(struct rig *rig, uint64_t stripe)
{
	struct super s = rig_super(rig, "d0");
	const char *name;
	uint64_t at = parity_offset(&s, stripe, &name);
	uint8_t block[BLOCK_BYTES];
	rig_fill(block, sizeof(block), 99);
	assert_int_equal(sim_disk_poke(rig->world, name, at, block, sizeof(block)), 0);
}

static uint64_t mismatches(struct rig *rig)
{
	struct scrub_result result;
	assert_int_equal(volume_scrub(rig->v, false, NULL, NULL, &result), 0);
	uint64_t n = result.parity_mismatches;
	scrub_result_free(&result);
	return n;
}

static void parity_of_a_marked_region_is_made_to_agree(void **unused)
{
	(void)unused;
	for (enum pi_type pi = PI_NONE; pi <= PI_CRC32C; pi++) {
		struct rig *rig = crashed_rig(pi);
		spoil_parity(rig, 1);
		rig_open(rig);
		assert_int_equal(mismatches(rig), 0);
		assert_true(rig_reads(rig, 0, 65536, 1));
		rig_free(rig);
	}
}

static void regions_without_a_mark_are_left_alone(void **unused)
{
	(void)unused;
	struct rig *rig = crashed_rig(PI_NONE);
	spoil_parity(rig, 1);
	spoil_parity(rig, 300); /* 16 KiB chunks: regions of 64 stripes */
	rig_open(rig);
	assert_int_equal(mismatches(rig), 1);
	rig_free(rig);
}

static void a_read_only_open_leaves_the_resync_to_the_next(void **unused)
{
	(void)unused;
	struct rig *rig = crashed_rig(PI_NONE);
	spoil_parity(rig, 1);
	uint64_t before = sim_world_writes(rig->world);
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.read_only = true}), 0);
	assert_int_equal(mismatches(rig), 1);
	assert_int_equal(rig_close(rig), 0);
	assert_int_equal(sim_world_writes(rig->world), before);
	rig_open(rig);
	assert_int_equal(mismatches(rig), 0);
	rig_free(rig);
}

static void after_a_clean_close_nothing_is_examined_again(void **unused)
{
	(void)unused;
	struct rig *rig = crashed_rig(PI_NONE);
	rig_open(rig);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(rig_close(rig), 0);
	assert_true(rig_super(rig, "d1").clean);
	spoil_parity(rig, 1);
	rig_open(rig);
	assert_int_equal(mismatches(rig), 1);
	rig_free(rig);
}

/* A mount may end before the background work does: the next one goes on. */
static void a_resync_that_was_not_done_is_done_by_the_next_open(void **unused)
{
	(void)unused;
	struct rig *rig = crashed_rig(PI_NONE);
	rig_open(rig);
	assert_int_equal(volume_work_info(rig->v, VOLUME_RESYNC).state, VOLUME_WORK_RUNNING);
	assert_int_equal(rig_close(rig), 0);
	assert_false(rig_super(rig, "d1").clean);
	spoil_parity(rig, 1);
	rig_open(rig);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(volume_work_info(rig->v, VOLUME_RESYNC).repaired, 1);
	assert_int_equal(mismatches(rig), 0);
	assert_int_equal(rig_close(rig), 0);
	assert_true(rig_super(rig, "d1").clean);
	rig_free(rig);
}

static void a_paused_resync_waits_and_a_stripe_that_is_used_does_not(void **unused)
{
	(void)unused;
	struct rig *rig = crashed_rig(PI_NONE);
	spoil_parity(rig, 0);
	spoil_parity(rig, 1);
	rig_open(rig);
	uint64_t before = stripe_engine_in_doubt(volume_engine(rig->v));
	assert_int_equal(volume_work_pause(rig->v, VOLUME_RESYNC), 0);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(stripe_engine_in_doubt(volume_engine(rig->v)), before);
	assert_int_equal(volume_work_info(rig->v, VOLUME_RESYNC).state, VOLUME_WORK_PAUSED);
	assert_true(rig_reads(rig, 0, 32768, 1)); /* stripe 0 alone */
	assert_int_equal(stripe_engine_in_doubt(volume_engine(rig->v)), before - 1);
	assert_int_equal(volume_work_info(rig->v, VOLUME_RESYNC).done, 1);
	assert_int_equal(volume_work_resume(rig->v, VOLUME_RESYNC), 0);
	assert_int_equal(volume_work(rig->v), 0);
	assert_int_equal(stripe_engine_in_doubt(volume_engine(rig->v)), 0);
	assert_int_equal(mismatches(rig), 0);
	rig_free(rig);
}

/* The power goes again and again in the middle of the resync. */
static void a_resync_that_is_cut_short_begins_again(void **unused)
{
	(void)unused;
	bool cut = true;
	uint64_t n = 0;
	for (; cut; n++) {
		struct rig *rig = crashed_rig(PI_T10);
		spoil_parity(rig, 0);
		spoil_parity(rig, 3);
		sim_world_cut_power_after(rig->world, n);
		if (rig_open_with(rig, (struct volume_open_options){0}) == 0) {
			(void)volume_work(rig->v);
			(void)rig_close(rig);
		}
		cut = sim_world_power_is_cut(rig->world);
		sim_world_reboot(rig->world);
		rig_open(rig);
		assert_int_equal(volume_work(rig->v), 0);
		assert_int_equal(mismatches(rig), 0);
		assert_true(rig_reads(rig, 0, 65536, 1));
		rig_free(rig);
	}
	assert_true(n > 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parity_of_a_marked_region_is_made_to_agree),
		cmocka_unit_test(regions_without_a_mark_are_left_alone),
		cmocka_unit_test(a_read_only_open_leaves_the_resync_to_the_next),
		cmocka_unit_test(after_a_clean_close_nothing_is_examined_again),
		cmocka_unit_test(a_resync_that_was_not_done_is_done_by_the_next_open),
		cmocka_unit_test(a_paused_resync_waits_and_a_stripe_that_is_used_does_not),
		cmocka_unit_test(a_resync_that_is_cut_short_begins_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
