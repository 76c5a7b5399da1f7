/* SPDX-License-Identifier: MIT */
/* Stripes in doubt: whoever wants one has it resynced first. */
#include "script.h"

#include <errno.h>

#define STRIPES 24u
#define PARITY  3u /* slot */

static uint64_t region_stripes(struct rig *rig)
{
	return member_super(rig->members[0])->region_blocks / rig->config.chunk_blocks;
}

/* The power has failed while something was written in the first two regions, and left every parity
 * of them wrong. */
static struct rig *rig_in_doubt(enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = 4,
		.chunk_blocks = 2,
		.stripes = STRIPES,
		.pi = pi,
		.seed = 4711});
	uint64_t doubtful = 2 * region_stripes(rig);
	script_fill_volume(rig);
	rig_reopen(rig); /* no marks */
	for (uint64_t stripe = 0; stripe < doubtful; stripe += region_stripes(rig))
		assert_int_equal(rig_write_block(rig,
					 geometry_volume_block(&rig->geometry, stripe, 0, 0), 'o'),
			0);
	for (uint64_t stripe = 0; stripe < doubtful; stripe++)
		rig_rot_data(rig, stripe, PARITY, 1);
	rig->on_demand = true;
	rig_reboot(rig);
	assert_int_equal(stripe_engine_in_doubt(rig->eng), doubtful);
	return rig;
}

/* As the medium says it, since a check would resync. */
static bool parity_is_wrong(struct rig *rig, uint64_t stripe)
{
	static uint8_t block[4][BLOCK_BYTES];
	uint8_t sum = 0;
	for (unsigned slot = 0; slot < 4; slot++) {
		rig_peek(rig, stripe, slot, 1, block[slot]);
		sum ^= block[slot][1234]; /* what rig_rot_data() changes */
	}
	return sum != 0;
}

static void a_read_a_write_and_a_check_see_a_resynced_stripe(void **unused)
{
	(void)unused;
	for (unsigned how = 0; how < 6; how++) {
		struct rig *rig = rig_in_doubt(how % 2 ? PI_T10 : PI_NONE);
		uint64_t before = stripe_engine_in_doubt(rig->eng);
		uint64_t block = geometry_volume_block(&rig->geometry, 3, 1, 0);
		struct stripe_check check = {0};
		assert_true(parity_is_wrong(rig, 3));
		if (how / 2 == 0)
			assert_true(rig_reads(rig, block, 'o'));
		else if (how / 2 == 1)
			assert_int_equal(rig_write_block(rig, block, 'n'), 0);
		else
			assert_int_equal(rig_check(rig, STRIPE_CHECK, 3, &check), 0);
		assert_true(rows_empty(&check.parity_bad));
		assert_false(parity_is_wrong(rig, 3));
		assert_true(parity_is_wrong(rig, 2)); /* nobody wanted that one */
		assert_int_equal(stripe_engine_in_doubt(rig->eng), before - 1);
		assert_int_equal(stripe_engine_next_open(rig->eng, -1, 3), 4);
		rig_free(rig);
	}
}

static void many_requests_of_a_stripe_in_doubt_wait_for_one_resync(void **unused)
{
	(void)unused;
	struct rig *rig = rig_in_doubt(PI_T10);
	struct rig_io *io[8];
	uint64_t first = geometry_volume_block(&rig->geometry, 1, 0, 0);
	rig_events_forget(rig);
	for (unsigned i = 0; i < 8; i++) {
		enum stripe_kind kind = i % 3 == 1 ? STRIPE_WRITE : STRIPE_READ;
		uint64_t block = first + i % 6;
		io[i] = rig_io_new(rig, kind, block * BLOCK_BYTES, BLOCK_BYTES, NULL);
		if (kind == STRIPE_WRITE)
			rig_fill_block(io[i]->data, block, 'o');
		rig_io_start(io[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(rig_io_wait(io[i]), 0);
		rig_io_free(io[i]);
	}
	assert_int_equal(rig_events(rig, EVENT_REPAIRED), 1); /* the parity */
	rig_free(rig);
}

static void the_mark_of_a_region_goes_when_its_stripes_are_settled(void **unused)
{
	(void)unused;
	struct rig *rig = rig_in_doubt(PI_NONE);
	uint64_t count = region_stripes(rig);
	for (uint64_t stripe = 0; stripe < count; stripe++) {
		struct stripe_check check;
		assert_int_equal(rig_flush(rig), 0);
		assert_true(intent_is_marked(rig->intent, 0));
		assert_int_equal(rig_check(rig, STRIPE_RESYNC, stripe, &check), 0);
	}
	for (unsigned i = 0; i < 3; i++) { /* a tick takes it away */
		struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, 0, BLOCK_BYTES, NULL);
		io->req.offset_bytes = rig->volume_bytes - BLOCK_BYTES;
		io->req.hold_ns = UINT64_C(2000000000);
		rig_io_start(io);
		assert_int_equal(rig_io_wait(io), 0);
		rig_io_free(io);
		assert_int_equal(rig_flush(rig), 0);
	}
	rig_settle(rig);
	assert_false(intent_is_marked(rig->intent, 0));
	assert_true(intent_is_marked(rig->intent, 1));
	rig->on_demand = true;
	rig_reboot(rig);
	assert_false(stripe_engine_next_open(rig->eng, -1, 0) < count);
	rig_free(rig);
}

static void a_stripe_that_cannot_be_resynced_is_served_and_keeps_its_mark(void **unused)
{
	(void)unused;
	struct rig *rig = rig_in_doubt(PI_NONE);
	uint64_t count = region_stripes(rig);
	struct stripe_check check;
	rig_arm(rig, SIM_WRITE_ERROR, 3, PARITY, 0, 2, 0);
	uint64_t block = geometry_volume_block(&rig->geometry, 3, 1, 0);
	assert_true(rig_reads(rig, block, 'o'));
	assert_int_equal(stripe_engine_unsettled(rig->eng), 1);
	for (uint64_t stripe = 0; stripe < count; stripe++)
		assert_int_equal(
			rig_check(rig, STRIPE_RESYNC, stripe, &check), stripe == 3 ? -EIO : 0);
	assert_int_equal(rig_flush(rig), 0);
	assert_true(intent_is_marked(rig->intent, 0));
	sim_world_disarm_all(rig->world);
	rig_reboot(rig);
	assert_int_equal(stripe_engine_unsettled(rig->eng), 0);
	assert_true(stripe_engine_next_open(rig->eng, -1, 0) < count);
	rig_arm(rig, SIM_WRITE_ERROR, 3, PARITY, 0, 2, 1);
	assert_int_equal(rig_check(rig, STRIPE_RESYNC, 3, &check), -EIO);
	assert_int_equal(rig_check(rig, STRIPE_RESYNC, 3, &check), 0);
	assert_int_equal(stripe_engine_unsettled(rig->eng), 0);
	rig_free(rig);
}

static void without_power_nobody_waits_for_a_resync(void **unused)
{
	(void)unused;
	struct rig *rig = rig_in_doubt(PI_T10);
	uint8_t block[BLOCK_BYTES];
	rig_power_cut_after(rig, 0);
	uint64_t first = geometry_volume_block(&rig->geometry, 1, 0, 0);
	assert_int_equal(rig_write_block(rig, first, 'n'), -ESHUTDOWN);
	assert_int_equal(rig_read(rig, first * BLOCK_BYTES, block, BLOCK_BYTES), -ESHUTDOWN);
	rig->on_demand = false;
	rig_reboot(rig);
	assert_true(rig_is_clean(rig));
	assert_true(rig_reads(rig, first, 'o'));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_a_write_and_a_check_see_a_resynced_stripe),
		cmocka_unit_test(many_requests_of_a_stripe_in_doubt_wait_for_one_resync),
		cmocka_unit_test(the_mark_of_a_region_goes_when_its_stripes_are_settled),
		cmocka_unit_test(a_stripe_that_cannot_be_resynced_is_served_and_keeps_its_mark),
		cmocka_unit_test(without_power_nobody_waits_for_a_resync),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
