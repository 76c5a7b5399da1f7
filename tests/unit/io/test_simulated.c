/* SPDX-License-Identifier: MIT */
/* The simulated engine without faults: transfers, errors, order, time. */
#include "sim_rig.h"

#define MANY 300

static void requests_round_trip_and_each_is_done_once(void **unused)
{
	(void)unused;
	static struct op ops[MANY];
	struct rig rig = rig_new(1);
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(DISK_BYTES);
	fill_sectors(buf, DISK_BYTES, 0, 5);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned at = i % 64 * BLOCK_BYTES;
		op_transfer(&ops[i], IO_WRITE, rig.file, at, buf + at, BLOCK_BYTES);
		assert_int_equal(ops[i].times, 0);
	}
	ops_wait(ops, MANY);
	assert_int_equal(io_run(rig.io, true), 0); /* nothing is under way, so it cannot wait */
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(ops[i].err, 0);
		assert_int_equal(ops[i].times, 1);
	}
	memset(buf, 0, DISK_BYTES);
	assert_int_equal(op_now(IO_READ, rig.file, 0, buf, DISK_BYTES), 0);
	assert_true(holds_sectors(buf, DISK_BYTES, 0, 5));
	assert_int_equal(sim_world_writes(rig.world), MANY);
	rig_free(&rig);
}

static void vectors_arrive_in_their_order(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	char *buf = mem_alloc_blocks(4 * BLOCK_BYTES);
	struct iovec iov[] = {{buf + 8192, 512}, {buf + 512, 4096}, {buf + 12288, 1024}};
	struct op op = {.req = {.kind = IO_WRITE,
				.file = rig.file,
				.offset_bytes = 3584, /* crosses pages */
				.iov = iov,
				.iov_count = 3}};
	fill_sectors(buf + 8192, 512, 7, 2);
	fill_sectors(buf + 512, 4096, 8, 2);
	fill_sectors(buf + 12288, 1024, 16, 2);
	op_submit(rig.io, &op);
	assert_int_equal(op_wait(&op), 0);
	assert_true(rig_holds(&rig, 7, 11, 2));
	assert_true(rig_holds(&rig, 0, 7, 0));
	assert_true(rig_holds(&rig, 18, 30, 0));
	memset(buf, 0, 4 * BLOCK_BYTES);
	op.req.kind = IO_READ;
	op_submit(rig.io, &op);
	assert_int_equal(op_wait(&op), 0);
	assert_true(holds_sectors(buf + 512, 4096, 8, 2));
	assert_true(holds_sectors(buf + 12288, 1024, 16, 2));
	free(buf);
	rig_free(&rig);
}

static void what_direct_io_refuses_is_refused(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_file *readonly;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(2 * BLOCK_BYTES);
	uint64_t end = DISK_BYTES;
	assert_int_equal(op_now(IO_READ, rig.file, end - 512, buf, 1024), -EIO);
	assert_int_equal(op_now(IO_WRITE, rig.file, end - 512, buf, 1024), -ENOSPC);
	assert_int_equal(op_now(IO_READ, rig.file, UINT64_MAX - 511, buf, 1024), -EIO);
	assert_int_equal(op_now(IO_READ, rig.file, 100, buf, 512), -EINVAL);
	assert_int_equal(op_now(IO_READ, rig.file, 0, buf, 100), -EINVAL);
	assert_int_equal(op_now(IO_READ, rig.file, 0, buf + 8, 512), -EINVAL);
	assert_int_equal(io_open(rig.io, "a", IO_OPEN_READONLY, 0, &readonly, NULL), 0);
	assert_int_equal(op_now(IO_WRITE, readonly, 0, buf, 512), -EBADF);
	assert_int_equal(io_zero(readonly, 0, 512), -EBADF);
	assert_int_equal(io_zero(rig.file, end, 512), -ENOSPC);
	assert_int_equal(sim_world_writes(rig.world), 0);
	io_close(readonly);
	rig_free(&rig);
}

static void disks_are_made_found_locked_and_removed(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_file *one = NULL, *two = NULL;
	struct errmsg why = {""};
	unsigned make = IO_OPEN_CREATE | IO_OPEN_LOCK;
	assert_int_equal(io_open(rig.io, "b", 0, 0, &one, &why), -ENOENT);
	assert_non_null(strstr(why.text, "b"));
	assert_int_equal(io_open(rig.io, "b", make, 8192, &one, NULL), 0);
	assert_int_equal(io_file_size_bytes(one), 8192);
	assert_int_equal(io_open(rig.io, "b", IO_OPEN_CREATE, 8192, &two, NULL), -EEXIST);
	assert_int_equal(io_open(rig.io, "b", IO_OPEN_LOCK, 0, &two, NULL), -EBUSY);
	assert_int_equal(io_open(rig.io, "b", 0, 0, &two, NULL), 0);
	io_close(one);
	assert_int_equal(io_open(rig.io, "b", IO_OPEN_LOCK, 0, &one, NULL), 0);
	assert_int_equal(sim_disk_remove(rig.world, "b"), 0);
	assert_int_equal(sim_disk_remove(rig.world, "b"), -ENOENT);
	assert_int_equal(op_now(IO_FLUSH, one, 0, NULL, 0), -ENODEV);
	io_close(one);
	io_close(two);
	assert_int_equal(io_open(rig.io, "b", 0, 0, &one, NULL), -ENOENT);
	rig_free(&rig);
}

static void replacing_a_disk_empties_it(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_file *file;
	assert_int_equal(rig_write(&rig, 0, 4, 1), 0);
	unsigned flags = IO_OPEN_CREATE | IO_OPEN_REPLACE;
	assert_int_equal(io_open(rig.io, "a", flags, 2 * BLOCK_BYTES, &file, NULL), 0);
	assert_true(rig_holds(&rig, 0, 16, 0));
	char byte;
	assert_int_equal(sim_disk_peek(rig.world, "a", 2 * BLOCK_BYTES, &byte, 1), -ERANGE);
	io_close(file);
	rig_free(&rig);
}

static void peek_and_poke_reach_any_byte(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	char text[6] = "";
	assert_int_equal(sim_disk_poke(rig.world, "a", 4093, "hello", 5), 0);
	assert_int_equal(sim_disk_peek(rig.world, "a", 4092, text, 6), 0);
	assert_memory_equal(text, "\0hello", 6);
	assert_int_equal(sim_disk_poke(rig.world, "z", 0, "x", 1), -ENOENT);
	assert_int_equal(sim_disk_poke(rig.world, "a", DISK_BYTES, "x", 1), -ERANGE);
	rig_reboot(&rig);
	assert_int_equal(sim_disk_peek(rig.world, "a", 4092, text, 6), 0);
	assert_memory_equal(text, "\0hello", 6);
	rig_free(&rig);
}

static void zeroed_ranges_read_as_zeros_and_nothing_else_does(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	assert_int_equal(rig_write(&rig, 0, 8, 3), 0);
	assert_int_equal(io_zero(rig.file, 2 * BLOCK_BYTES + 512, 3 * BLOCK_BYTES), 0);
	assert_true(rig_holds(&rig, 0, 17, 3));
	assert_true(rig_holds(&rig, 17, 24, 0));
	assert_true(rig_holds(&rig, 41, 23, 3));
	assert_int_equal(sim_world_writes(rig.world), 2);
	rig_free(&rig);
}

static void alarms_fire_in_order_at_their_time(void **unused)
{
	(void)unused;
	enum { ALARMS = 6 };
	static const unsigned due_us[ALARMS] = {500, 20, 20, 7000, 1, 300};
	static const unsigned place[ALARMS] = {5, 2, 3, 6, 1, 4};
	struct rig rig = rig_new(1);
	struct op ops[ALARMS];
	uint64_t start_ns = io_now_ns(rig.io) + NS_PER_MS, first = ops_done;
	for (unsigned i = 0; i < ALARMS; i++)
		op_alarm(&ops[i], rig.io, start_ns + due_us[i] * NS_PER_US);
	ops_wait(ops, ALARMS);
	for (unsigned i = 0; i < ALARMS; i++) {
		assert_int_equal(ops[i].place - first, place[i]);
		assert_true(ops[i].done_ns >= ops[i].req.due_ns);
		assert_true(ops[i].done_ns <= ops[i].req.due_ns + NS_PER_US);
	}
	rig_free(&rig);
}

static void a_loop_that_only_polls_gets_on(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct op op;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	op_transfer(&op, IO_WRITE, rig.file, 0, buf, BLOCK_BYTES);
	unsigned turns = 0;
	while (op.err == OP_PENDING && turns++ < 1000)
		io_run(rig.io, false);
	assert_int_equal(op.err, 0);
	assert_true(turns > 1);
	rig_free(&rig);
}

static void a_wake_ends_a_wait_before_anything_is_done(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct op op;
	op_alarm(&op, rig.io, io_now_ns(rig.io) + NS_PER_S);
	io_wake(rig.io);
	assert_int_equal(io_run(rig.io, true), 0);
	assert_int_equal(op.err, OP_PENDING);
	assert_int_equal(io_run(rig.io, true), 1);
	rig_free(&rig);
}

/* A fold of the order in which 100 mixed requests are done, and of the time that it took. */
static uint64_t order_of(uint64_t seed)
{
	static struct op ops[100];
	struct rig rig = rig_new(seed);
	uint64_t fold = 0, first = ops_done;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(DISK_BYTES);
	for (unsigned i = 0; i < 100; i++) {
		enum io_kind kind = i % 10 == 9 ? IO_FLUSH : i % 3 ? IO_WRITE : IO_READ;
		unsigned at = i % 64 * BLOCK_BYTES;
		op_transfer(&ops[i], kind, rig.file, at, buf + at, BLOCK_BYTES);
	}
	ops_wait(ops, 100);
	for (unsigned i = 0; i < 100; i++)
		fold = fold * 1099511628211u + (ops[i].place - first) + ops[i].done_ns;
	rig_free(&rig);
	return fold;
}

static void the_order_follows_from_the_seed_alone(void **unused)
{
	(void)unused;
	assert_true(order_of(42) == order_of(42));
	assert_true(order_of(42) != order_of(43));
}

static void requests_are_done_in_another_order_than_submitted(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct op ops[50];
	unsigned overtaken = 0;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	for (unsigned i = 0; i < 50; i++)
		op_transfer(&ops[i], IO_READ, rig.file, 0, buf, BLOCK_BYTES);
	ops_wait(ops, 50);
	for (unsigned i = 1; i < 50; i++)
		overtaken += ops[i].place < ops[i - 1].place;
	assert_in_range(overtaken, 5, 45);
	rig_free(&rig);
}

/* The writer's memory is read while the write is under way: not at submission, not at the end. */
static void a_write_takes_its_bytes_while_it_is_under_way(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct op op;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	op_transfer(&op, IO_WRITE, rig.file, 0, buf, BLOCK_BYTES);
	fill_sectors(buf, BLOCK_BYTES, 0, 6); /* after submission, before io_run() */
	op_wait(&op);
	assert_true(rig_holds(&rig, 0, 8, 6));
	rig_free(&rig);
}

static void two_engines_share_disks_and_clock_but_not_callbacks(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_engine *other;
	struct io_file *file;
	struct op mine, theirs;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	assert_int_equal(sim_engine_new(rig.world, &other), 0);
	assert_int_equal(io_open(other, "a", 0, 0, &file, NULL), 0);
	fill_sectors(buf, BLOCK_BYTES, 0, 8);
	op_transfer(&theirs, IO_WRITE, file, 0, buf, BLOCK_BYTES);
	op_alarm(&mine, rig.io, io_now_ns(other) + NS_PER_MS);
	op_wait(&mine);
	assert_int_equal(theirs.times, 0);
	assert_true(rig_holds(&rig, 0, 8, 8)); /* but the disk went on */
	assert_int_equal(io_run(other, false), 1);
	assert_int_equal(theirs.err, 0);
	io_close(file);
	io_engine_free(other);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_round_trip_and_each_is_done_once),
		cmocka_unit_test(vectors_arrive_in_their_order),
		cmocka_unit_test(what_direct_io_refuses_is_refused),
		cmocka_unit_test(disks_are_made_found_locked_and_removed),
		cmocka_unit_test(replacing_a_disk_empties_it),
		cmocka_unit_test(peek_and_poke_reach_any_byte),
		cmocka_unit_test(zeroed_ranges_read_as_zeros_and_nothing_else_does),
		cmocka_unit_test(alarms_fire_in_order_at_their_time),
		cmocka_unit_test(a_loop_that_only_polls_gets_on),
		cmocka_unit_test(a_wake_ends_a_wait_before_anything_is_done),
		cmocka_unit_test(the_order_follows_from_the_seed_alone),
		cmocka_unit_test(requests_are_done_in_another_order_than_submitted),
		cmocka_unit_test(a_write_takes_its_bytes_while_it_is_under_way),
		cmocka_unit_test(two_engines_share_disks_and_clock_but_not_callbacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
