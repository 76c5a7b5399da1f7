/* SPDX-License-Identifier: MIT */
/* Each fault that a simulated world knows: what it does, to whom, how often. */
#include "sim_rig.h"

static void arm(struct rig *rig, enum sim_fault_kind kind, unsigned count)
{
	struct sim_fault fault = {.kind = kind, .name = "a", .count = count, .per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

static int read_block(struct rig *rig, uint64_t at, void *buf)
{
	return op_now(IO_READ, rig->file, at * BLOCK_BYTES, buf, BLOCK_BYTES);
}

static void a_read_error_fails_as_many_reads_as_asked_for(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	arm(&rig, SIM_READ_ERROR, 2);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(read_block(&rig, 0, buf), -EIO);
	assert_int_equal(read_block(&rig, 0, buf), -EIO);
	assert_int_equal(read_block(&rig, 0, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 1));
	rig_free(&rig);
}

static void a_write_error_stores_nothing(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	arm(&rig, SIM_WRITE_ERROR, 0);
	assert_int_equal(rig_write(&rig, 0, 1, 1), -EIO);
	assert_int_equal(rig_write(&rig, 0, 1, 1), -EIO);
	assert_int_equal(io_zero(rig.file, 0, 512), -EIO);
	assert_true(rig_holds(&rig, 0, 8, 0));
	sim_world_disarm_all(rig.world);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	rig_free(&rig);
}

static void a_flush_error_makes_nothing_durable(void **unused)
{
	(void)unused;
	unsigned changed = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		arm(&rig, SIM_FLUSH_ERROR, 1);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_flush(&rig), -EIO);
		rig_reboot(&rig);
		changed += !rig_holds(&rig, 0, 8, 1);
		assert_int_equal(rig_flush(&rig), 0);
		rig_free(&rig);
	}
	assert_in_range(changed, 1, 20);
}

static void a_bit_flip_is_returned_and_stays_on_the_medium(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct sim_fault fault = {.kind = SIM_BIT_FLIP,
		.offset_bytes = 1024,
		.len_bytes = 512,
		.count = 1,
		.per_mille = 1000};
	cleanup(cleanup_freep) unsigned char *buf = mem_alloc_blocks(BLOCK_BYTES);
	cleanup(cleanup_freep) unsigned char *want = mem_alloc_blocks(BLOCK_BYTES);
	unsigned bits = 0, outside = 0;
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_flush(&rig), 0);
	sim_world_arm(rig.world, &fault);
	assert_int_equal(read_block(&rig, 0, buf), 0);
	fill_sectors(want, BLOCK_BYTES, 0, 1);
	for (unsigned i = 0; i < BLOCK_BYTES; i++) {
		bits += (unsigned)__builtin_popcount(buf[i] ^ want[i]);
		outside += buf[i] != want[i] && i / 512 != 2;
	}
	assert_int_equal(bits, 1);
	assert_int_equal(outside, 0);
	assert_int_equal(read_block(&rig, 0, want), 0);
	assert_memory_equal(buf, want, BLOCK_BYTES);
	rig_reboot(&rig);
	assert_int_equal(read_block(&rig, 0, want), 0);
	assert_memory_equal(buf, want, BLOCK_BYTES);
	rig_free(&rig);
}

static void a_torn_write_stores_a_proper_prefix_and_says_nothing(void **unused)
{
	(void)unused;
	unsigned seen = 0;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct rig rig = rig_new(seed);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		arm(&rig, SIM_TORN_WRITE, 1);
		assert_int_equal(rig_write(&rig, 0, 1, 2), 0);
		int prefix = rig_prefix(&rig, 0, 1, 2, 1);
		assert_in_range(prefix, 1, 7);
		seen |= 1u << prefix;
		rig_free(&rig);
	}
	assert_int_equal(seen, 0xFE); /* each tear is possible */
}

static void a_lost_write_stores_nothing_and_says_nothing(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	arm(&rig, SIM_LOST_WRITE, 1);
	assert_int_equal(rig_write(&rig, 0, 1, 2), 0);
	assert_true(rig_holds(&rig, 0, 8, 1));
	rig_free(&rig);
}

static void a_misdirected_write_lands_one_block_further(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(rig_write(&rig, 3, 1, 1), 0);
	arm(&rig, SIM_MISDIRECTED, 2);
	assert_int_equal(rig_write(&rig, 3, 1, 2), 0);
	assert_true(rig_holds(&rig, 3 * 8, 8, 1));
	assert_int_equal(read_block(&rig, 4, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 3 * 8, 2));
	assert_int_equal(rig_write(&rig, 62, 2, 2), 0); /* half of it beyond the end */
	assert_int_equal(read_block(&rig, 63, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 62 * 8, 2));
	rig_free(&rig);
}

static void a_stale_read_returns_what_the_newest_write_replaced(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(rig_write(&rig, 0, 2, 1), 0);
	assert_int_equal(rig_write(&rig, 0, 1, 2), 0);
	assert_int_equal(rig_write(&rig, 0, 1, 3), 0);
	arm(&rig, SIM_STALE_READ, 2);
	assert_int_equal(read_block(&rig, 0, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 2));
	assert_int_equal(read_block(&rig, 1, buf), 0); /* written once */
	assert_true(is_zeros(buf, BLOCK_BYTES));
	assert_int_equal(read_block(&rig, 0, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 3));
	rig_free(&rig);
}

static void a_disk_that_is_gone_fails_everything_until_disarmed(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_file *file;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_flush(&rig), 0);
	arm(&rig, SIM_GONE, 1);
	assert_int_equal(rig_flush(&rig), -ENODEV);
	assert_int_equal(read_block(&rig, 0, buf), -ENODEV);
	assert_int_equal(rig_write(&rig, 0, 1, 2), -ENODEV);
	assert_int_equal(io_zero(rig.file, 0, 512), -ENODEV);
	assert_int_equal(io_open(rig.io, "a", 0, 0, &file, NULL), -ENODEV);
	sim_world_disarm_all(rig.world);
	assert_int_equal(read_block(&rig, 0, buf), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 1));
	rig_free(&rig);
}

static void a_fault_keeps_to_its_disk_and_its_range(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_file *other;
	struct sim_fault fault = {.kind = SIM_READ_ERROR,
		.name = "a",
		.offset_bytes = 4 * BLOCK_BYTES,
		.len_bytes = BLOCK_BYTES,
		.per_mille = 1000};
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(8 * BLOCK_BYTES);
	assert_int_equal(io_open(rig.io, "b", IO_OPEN_CREATE, DISK_BYTES, &other, NULL), 0);
	sim_world_arm(rig.world, &fault);
	assert_int_equal(read_block(&rig, 3, buf), 0);
	assert_int_equal(read_block(&rig, 5, buf), 0);
	assert_int_equal(read_block(&rig, 4, buf), -EIO);
	assert_int_equal(op_now(IO_READ, rig.file, 0, buf, 8 * BLOCK_BYTES), -EIO);
	assert_int_equal(op_now(IO_READ, other, 0, buf, 8 * BLOCK_BYTES), 0);
	assert_int_equal(rig_write(&rig, 4, 1, 1), 0);
	assert_int_equal(rig_flush(&rig), 0);
	fault.name = NULL; /* any disk */
	sim_world_arm(rig.world, &fault);
	assert_int_equal(op_now(IO_READ, other, 0, buf, 8 * BLOCK_BYTES), -EIO);
	io_close(other);
	rig_free(&rig);
}

static unsigned errors_of_1000(uint64_t seed)
{
	struct rig rig = rig_new(seed);
	struct sim_fault fault = {.kind = SIM_READ_ERROR, .per_mille = 250};
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	unsigned errors = 0;
	sim_world_arm(rig.world, &fault);
	for (unsigned i = 0; i < 1000; i++)
		errors += read_block(&rig, 0, buf) == -EIO;
	rig_free(&rig);
	return errors;
}

static void a_probability_is_kept_and_follows_from_the_seed(void **unused)
{
	(void)unused;
	print_message("seeds 5, 6: %u, %u of 1000\n", errors_of_1000(5), errors_of_1000(6));
	assert_in_range(errors_of_1000(5), 200, 300); /* 250 +- 3.6 sigma */
	assert_in_range(errors_of_1000(6), 200, 300);
	assert_int_equal(errors_of_1000(5), errors_of_1000(5));
}

static void the_first_fault_that_fires_is_the_only_one(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	arm(&rig, SIM_LOST_WRITE, 1);
	arm(&rig, SIM_WRITE_ERROR, 1);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_write(&rig, 0, 1, 1), -EIO);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	rig_free(&rig);
}

static uint64_t time_of_writes(bool armed)
{
	struct rig rig = rig_new(9);
	if (armed)
		arm(&rig, SIM_TORN_WRITE, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(rig_write(&rig, i, 1, 1), 0);
	uint64_t now_ns = io_now_ns(rig.io);
	rig_free(&rig);
	return now_ns;
}

static void a_fault_does_not_change_the_order_of_events(void **unused)
{
	(void)unused;
	assert_true(time_of_writes(true) == time_of_writes(false));
}

static void a_slow_transfer_takes_as_much_longer_as_its_fault_says(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(3), twin = rig_new(3);
	struct sim_fault fault = {
		.kind = SIM_LATENCY, .count = 1, .per_mille = 1000, .latency_ns = 20000000};
	sim_world_arm(rig.world, &fault);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_write(&twin, 0, 1, 1), 0);
	assert_true(io_now_ns(rig.io) == io_now_ns(twin.io) + 20000000);
	assert_true(rig_holds(&rig, 0, 8, 1));
	rig_free(&rig);
	rig_free(&twin);
}

static void a_transfer_that_hangs_goes_on_when_its_fault_is_disarmed(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	struct op op;
	fill_sectors(buf, BLOCK_BYTES, 0, 1);
	arm(&rig, SIM_HANG, 1);
	op_transfer(&op, IO_WRITE, rig.file, 0, buf, BLOCK_BYTES);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(io_run(rig.io, true), 0); /* returns: nothing else can come */
	assert_int_equal(op.err, OP_PENDING);
	assert_true(rig_holds(&rig, 0, 8, 0));
	assert_int_equal(rig_write(&rig, 1, 1, 1), 0); /* others pass */
	sim_world_disarm_all(rig.world);
	assert_int_equal(op_wait(&op), 0);
	assert_true(rig_holds(&rig, 0, 8, 1));
	rig_free(&rig);
}

static void a_hung_request_ends_at_its_deadline_and_its_memory_is_left_alone(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	cleanup(cleanup_freep) char *other = mem_alloc_blocks(BLOCK_BYTES);
	struct op op, next;
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	io_set_timeout(rig.file, 5000000);
	arm(&rig, SIM_HANG, 1);
	uint64_t start_ns = io_now_ns(rig.io);
	op_transfer(&op, IO_READ, rig.file, 0, buf, BLOCK_BYTES);
	assert_int_equal(op_wait(&op), -ETIMEDOUT);
	assert_in_range(io_now_ns(rig.io) - start_ns, 5000000, 5000000 + 10000);
	memset(buf, 0x55, BLOCK_BYTES);
	start_ns = io_now_ns(rig.io);
	op_transfer(&next, IO_READ, rig.file, 0, other, BLOCK_BYTES);
	assert_int_equal(op_wait(&next), -ETIMEDOUT); /* who waited once does not wait again */
	assert_true(io_now_ns(rig.io) - start_ns < 10000);
	sim_world_disarm_all(rig.world);
	io_set_timeout(rig.file, 5000000);
	assert_int_equal(read_block(&rig, 0, other), 0);
	for (unsigned i = 0; i < BLOCK_BYTES; i++)
		assert_int_equal(buf[i], 0x55);
	rig_free(&rig);
}

static void requests_beside_a_hung_one_end_with_it(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(3 * BLOCK_BYTES);
	struct op ops[3], alarm;
	io_set_timeout(rig.file, 5000000);
	arm(&rig, SIM_HANG, 1);
	op_transfer(&ops[0], IO_READ, rig.file, 0, buf, BLOCK_BYTES);
	op_alarm(&alarm, rig.io, io_now_ns(rig.io) + 3000000);
	assert_int_equal(op_wait(&alarm), 0);
	arm(&rig, SIM_HANG, 0);
	op_transfer(&ops[1], IO_WRITE, rig.file, 0, buf + BLOCK_BYTES, BLOCK_BYTES);
	op_transfer(&ops[2], IO_FLUSH, rig.file, 0, NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(op_wait(&ops[i]), -ETIMEDOUT);
		assert_in_range(ops[i].done_ns - ops[0].done_ns, 0, 10000);
	}
	rig_free(&rig);
}

static void a_slow_request_that_is_out_of_time_ends_at_its_deadline(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct sim_fault fault = {
		.kind = SIM_LATENCY, .count = 1, .per_mille = 1000, .latency_ns = 20000000};
	io_set_timeout(rig.file, 5000000);
	sim_world_arm(rig.world, &fault);
	uint64_t start_ns = io_now_ns(rig.io);
	assert_int_equal(rig_write(&rig, 0, 1, 1), -ETIMEDOUT);
	assert_in_range(io_now_ns(rig.io) - start_ns, 5000000, 5000000 + 10000);
	rig_free(&rig);
}

static void a_power_cut_fault_cuts_at_the_write_that_it_meets(void **unused)
{
	(void)unused;
	unsigned lost = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		struct sim_fault fault = {.kind = SIM_POWER_CUT, .skip = 1, .per_mille = 1000};
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_flush(&rig), 0);
		sim_world_arm(rig.world, &fault);
		assert_int_equal(rig_write(&rig, 0, 1, 2), 0);
		assert_false(sim_world_power_is_cut(rig.world));
		assert_int_equal(rig_write(&rig, 1, 1, 2), -ESHUTDOWN);
		assert_true(sim_world_power_is_cut(rig.world));
		assert_int_equal(rig_flush(&rig), -ESHUTDOWN);
		sim_world_disarm_all(rig.world);
		rig_reboot(&rig);
		assert_in_range(rig_prefix(&rig, 0, 1, 2, 1), 0, 8);
		assert_in_range(rig_prefix(&rig, 1, 1, 2, 0), 0, 7);
		lost += rig_prefix(&rig, 0, 1, 2, 1) < 8;
		rig_free(&rig);
	}
	assert_in_range(lost, 1, 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_error_fails_as_many_reads_as_asked_for),
		cmocka_unit_test(a_write_error_stores_nothing),
		cmocka_unit_test(a_flush_error_makes_nothing_durable),
		cmocka_unit_test(a_bit_flip_is_returned_and_stays_on_the_medium),
		cmocka_unit_test(a_torn_write_stores_a_proper_prefix_and_says_nothing),
		cmocka_unit_test(a_lost_write_stores_nothing_and_says_nothing),
		cmocka_unit_test(a_misdirected_write_lands_one_block_further),
		cmocka_unit_test(a_stale_read_returns_what_the_newest_write_replaced),
		cmocka_unit_test(a_disk_that_is_gone_fails_everything_until_disarmed),
		cmocka_unit_test(a_fault_keeps_to_its_disk_and_its_range),
		cmocka_unit_test(a_probability_is_kept_and_follows_from_the_seed),
		cmocka_unit_test(the_first_fault_that_fires_is_the_only_one),
		cmocka_unit_test(a_fault_does_not_change_the_order_of_events),
		cmocka_unit_test(a_slow_transfer_takes_as_much_longer_as_its_fault_says),
		cmocka_unit_test(a_transfer_that_hangs_goes_on_when_its_fault_is_disarmed),
		cmocka_unit_test(a_hung_request_ends_at_its_deadline_and_its_memory_is_left_alone),
		cmocka_unit_test(requests_beside_a_hung_one_end_with_it),
		cmocka_unit_test(a_slow_request_that_is_out_of_time_ends_at_its_deadline),
		cmocka_unit_test(a_power_cut_fault_cuts_at_the_write_that_it_meets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
