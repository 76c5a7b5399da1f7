/* SPDX-License-Identifier: MIT */
/* Reads and writes of a member: data and tuples together, the PI disk's check, blocks never
 * written, and what the check finds when a disk lies. */
#include "rig.h"

#define SEED    11u
#define STRIPES 256u /* 4096 blocks: 8 pages of t10 tuples, 16 of the others */

static uint64_t data_offset(struct rig *rig, uint64_t block)
{
	return member_super(rig->m)->data.offset_bytes + block * BLOCK_BYTES;
}

/* The verdict on the first block that fails its check; PI_GOOD where none does. */
static enum pi_verdict read_verdict(struct rig *rig, uint64_t block, uint32_t blocks, uint32_t *at)
{
	enum pi_verdict verdict;
	struct rig_xfer *rx = rig_read(rig, block, blocks);
	assert_int_equal(rx->err, 0);
	*at = member_verify(&rx->x, 0, &verdict);
	rig_xfer_free(rx);
	return verdict;
}

static void what_is_written_is_read_with_every_kind_of_tuple(void **unused)
{
	(void)unused;
	for (enum pi_type pi = PI_NONE; pi <= PI_CRC64; pi++) {
		if (!pi_supported(pi))
			continue;
		struct rig rig;
		rig_init(&rig, SEED, pi, PI_CHECK_DEVICE, STRIPES);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_write(&rig, 500, 256, 2), 0);
		assert_int_equal(rig_write(&rig, 4095, 1, 3), 0);
		assert_true(rig_reads(&rig, 0, 1, 1));
		assert_true(rig_reads(&rig, 500, 256, 2));
		assert_true(rig_reads(&rig, 4095, 1, 3));
		assert_int_equal(rig_flush(&rig), 0);
		rig_reboot(&rig);
		assert_true(rig_reads(&rig, 0, 1, 1));
		assert_true(rig_reads(&rig, 500, 256, 2));
		assert_true(rig_reads(&rig, 4095, 1, 3));
		rig_fini(&rig);
	}
}

static void a_block_never_written_reads_as_zeros_whatever_the_medium_holds(void **unused)
{
	(void)unused;
	struct rig rig;
	uint8_t garbage[3 * BLOCK_BYTES];
	memset(garbage, 0xc3, sizeof(garbage));
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	sim_disk_poke(rig.world, RIG_DISK, data_offset(&rig, 70), garbage, sizeof(garbage));
	assert_true(rig_reads(&rig, 69, 5, 0));
	assert_int_equal(rig_write(&rig, 71, 1, 9), 0);
	struct rig_xfer *rx = rig_read(&rig, 69, 5);
	assert_int_equal(rx->err, 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(rig_block_is(rx, i, i == 2 ? 9 : 0));
	assert_true(pi_is_escape(PI_T10, rx->tuples + 8));
	assert_false(pi_is_escape(PI_T10, rx->tuples + 16));
	rig_xfer_free(rx);
	rig_fini(&rig);
}

static void a_run_never_written_needs_no_data(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	rig_arm(&rig, SIM_READ_ERROR, data_offset(&rig, 0), 0, 0);
	assert_true(rig_reads(&rig, 100, 64, 0)); /* the tuples are not loaded yet */
	assert_true(rig_reads(&rig, 100, 64, 0)); /* and now they are */
	assert_int_equal(rig_write(&rig, 110, 1, 1), 0);
	struct rig_xfer *rx = rig_read(&rig, 100, 64);
	assert_int_equal(rx->err, -EIO);
	rig_xfer_free(rx);
	rig_fini(&rig);
}

static void the_device_refuses_a_write_wholly(void **unused)
{
	(void)unused;
	for (uint32_t bad = 0; bad < 8; bad++) {
		struct rig rig;
		rig_init(&rig, SEED, PI_T10, PI_CHECK_DEVICE, STRIPES);
		assert_int_equal(rig_write(&rig, 40, 8, 1), 0);
		uint64_t writes = sim_world_writes(rig.world);
		struct rig_xfer *rx = rig_write_new(&rig, 40, 8, 2);
		rx->data[bad * BLOCK_BYTES + 77] ^= 1;
		member_write(&rx->x);
		assert_false(rx->ended);
		rig_run_until(&rig, &rx->ended);
		assert_int_equal(rx->err, -EILSEQ);
		assert_int_equal(sim_world_writes(rig.world), writes);
		assert_int_equal(member_stats(rig.m).refused, 1);
		assert_true(rig_reads(&rig, 40, 8, 1));
		rig_xfer_free(rx);
		rig_fini(&rig);
	}
}

static void the_device_refuses_tuples_of_another_place(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_CRC32C, PI_CHECK_DEVICE, STRIPES);
	struct rig_xfer *rx = rig_write_new(&rig, 40, 8, 1);
	rx->x.block = 41;
	member_write(&rx->x);
	rig_run_until(&rig, &rx->ended);
	assert_int_equal(rx->err, -EILSEQ);
	assert_true(rig_reads(&rig, 40, 9, 0));
	rig_xfer_free(rx);
	rig_fini(&rig);
}

static void without_the_check_the_damage_is_found_by_the_reader(void **unused)
{
	(void)unused;
	struct rig rig;
	uint32_t at;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	struct rig_xfer *rx = rig_write_new(&rig, 40, 8, 1);
	rx->data[5 * BLOCK_BYTES] ^= 1;
	member_write(&rx->x);
	rig_run_until(&rig, &rx->ended);
	assert_int_equal(rx->err, 0);
	rig_xfer_free(rx);
	assert_int_equal(read_verdict(&rig, 40, 8, &at), PI_BAD_GUARD);
	assert_int_equal(at, 5);
	rig_fini(&rig);
}

static void a_failed_write_leaves_the_old_tuples(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 600, 4, 1), 0);
	rig_arm(&rig, SIM_WRITE_ERROR, data_offset(&rig, 600), BLOCK_BYTES, 1);
	assert_int_equal(rig_write(&rig, 600, 4, 2), -EIO);
	assert_true(rig_reads(&rig, 600, 4, 1));
	assert_int_equal(member_stats(rig.m).errors, 1);
	rig_fini(&rig);
}

static void a_failed_write_of_a_whole_page_leaves_no_tuples(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_CRC32C, PI_CHECK_NONE, STRIPES);
	rig_arm(&rig, SIM_WRITE_ERROR, data_offset(&rig, 256), BLOCK_BYTES, 1);
	assert_int_equal(rig_write(&rig, 256, 256, 2), -EIO);
	assert_true(rig_reads(&rig, 256, 256, 0));
	rig_fini(&rig);
}

static void tuples_that_cannot_be_loaded_fail_the_transfer(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	uint64_t tuples = member_super(rig.m)->tuples.offset_bytes;
	rig_arm(&rig, SIM_READ_ERROR, tuples + 4096, 512, 2);
	struct rig_xfer *rx = rig_read(&rig, 510, 4); /* pages 0 and 1 */
	assert_int_equal(rx->err, -EIO);
	rig_xfer_free(rx);
	assert_int_equal(rig_write(&rig, 510, 4, 1), -EIO);
	assert_int_equal(rig_write(&rig, 510, 4, 2), 0); /* the fault has gone */
	assert_true(rig_reads(&rig, 510, 4, 2));
	rig_fini(&rig);
}

static void a_lost_write_of_data_is_a_bad_guard(void **unused)
{
	(void)unused;
	struct rig rig;
	uint32_t at;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_DEVICE, STRIPES);
	rig_arm(&rig, SIM_LOST_WRITE, data_offset(&rig, 30), BLOCK_BYTES, 1);
	assert_int_equal(rig_write(&rig, 30, 1, 1), 0);
	assert_int_equal(read_verdict(&rig, 30, 1, &at), PI_BAD_GUARD);
	rig_fini(&rig);
}

/* The disk stores a page of tuples one page further: what is found there belongs elsewhere. */
static void tuples_that_went_astray_are_a_bad_ref_tag(void **unused)
{
	(void)unused;
	struct rig rig;
	uint32_t at;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_DEVICE, STRIPES);
	rig_arm(&rig, SIM_MISDIRECTED, member_super(rig.m)->tuples.offset_bytes, 4096, 1);
	assert_int_equal(rig_write(&rig, 20, 2, 1), 0);
	assert_int_equal(rig_flush(&rig), 0);
	rig_reboot(&rig);
	assert_int_equal(read_verdict(&rig, 512 + 20, 2, &at), PI_BAD_REF);
	assert_int_equal(at, 0);
	rig_fini(&rig);
}

static void data_that_went_astray_fails_in_both_places(void **unused)
{
	(void)unused;
	struct rig rig;
	uint32_t at;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_DEVICE, STRIPES);
	assert_int_equal(rig_write(&rig, 20, 2, 1), 0);
	rig_arm(&rig, SIM_MISDIRECTED, data_offset(&rig, 20), BLOCK_BYTES, 1);
	assert_int_equal(rig_write(&rig, 20, 1, 2), 0);
	assert_int_equal(read_verdict(&rig, 20, 2, &at), PI_BAD_GUARD);
	assert_int_equal(at, 0);
	assert_int_equal(read_verdict(&rig, 21, 1, &at), PI_BAD_GUARD);
	rig_fini(&rig);
}

static void every_bad_block_of_a_run_is_found(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_CRC32C, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 0, 32, 1), 0);
	static const uint32_t bad[] = {0, 7, 8, 31};
	for (unsigned i = 0; i < 4; i++)
		sim_disk_poke(rig.world, RIG_DISK, data_offset(&rig, bad[i]) + 4000, "?", 1);
	struct rig_xfer *rx = rig_read(&rig, 0, 32);
	enum pi_verdict verdict;
	unsigned found = 0;
	for (uint32_t i = member_verify(&rx->x, 0, &verdict); i < 32;
		i = member_verify(&rx->x, i + 1, &verdict)) {
		assert_int_equal(i, bad[found++]);
		assert_int_equal(verdict, PI_BAD_GUARD);
	}
	assert_int_equal(found, 4);
	rig_xfer_free(rx);
	rig_fini(&rig);
}

static void without_pi_reads_and_writes_are_plain(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_NONE, PI_CHECK_NONE, STRIPES);
	struct rig_xfer *rx = rig_write_new(&rig, 3, 5, 1);
	rx->x.tuples = NULL;
	member_write(&rx->x);
	rig_run_until(&rig, &rx->ended);
	assert_int_equal(rx->err, 0);
	rig_xfer_free(rx);
	assert_true(rig_reads(&rig, 3, 5, 1));
	struct member_stats stats = member_stats(rig.m);
	assert_int_equal(stats.tuple_page_reads + stats.tuple_page_writes, 0);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.read_bytes, 5 * BLOCK_BYTES);
	rig_fini(&rig);
}

static void the_loss_of_the_member_is_told(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, SEED, PI_T10, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 3, 5, 1), 0);
	rig_arm(&rig, SIM_GONE, 0, 0, 0);
	assert_int_equal(rig_write(&rig, 3, 5, 2), -ENODEV);
	assert_int_equal(rig_flush(&rig), -ENODEV);
	sim_world_disarm_all(rig.world);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_with_every_kind_of_tuple),
		cmocka_unit_test(a_block_never_written_reads_as_zeros_whatever_the_medium_holds),
		cmocka_unit_test(a_run_never_written_needs_no_data),
		cmocka_unit_test(the_device_refuses_a_write_wholly),
		cmocka_unit_test(the_device_refuses_tuples_of_another_place),
		cmocka_unit_test(without_the_check_the_damage_is_found_by_the_reader),
		cmocka_unit_test(a_failed_write_leaves_the_old_tuples),
		cmocka_unit_test(a_failed_write_of_a_whole_page_leaves_no_tuples),
		cmocka_unit_test(tuples_that_cannot_be_loaded_fail_the_transfer),
		cmocka_unit_test(a_lost_write_of_data_is_a_bad_guard),
		cmocka_unit_test(tuples_that_went_astray_are_a_bad_ref_tag),
		cmocka_unit_test(data_that_went_astray_fails_in_both_places),
		cmocka_unit_test(every_bad_block_of_a_run_is_found),
		cmocka_unit_test(without_pi_reads_and_writes_are_plain),
		cmocka_unit_test(the_loss_of_the_member_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
