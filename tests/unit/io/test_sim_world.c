/* SPDX-License-Identifier: MIT */
/* Power cuts of a simulated world: what stays, what may go, who is told. */
#include "sim_rig.h"

static void flushed_writes_survive_and_unflushed_ones_meet_any_fate(void **unused)
{
	(void)unused;
	unsigned kept = 0, torn = 0, lost = 0;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rig rig = rig_new(seed);
		assert_int_equal(rig_write(&rig, 0, 8, 1), 0);
		assert_int_equal(rig_flush(&rig), 0);
		assert_int_equal(rig_write(&rig, 4, 4, 2), 0);
		rig_reboot(&rig);
		assert_true(rig_holds(&rig, 0, 4 * 8, 1));
		int prefix = rig_prefix(&rig, 4, 4, 2, 1);
		assert_in_range(prefix, 0, 32);
		kept += prefix == 32;
		lost += prefix == 0;
		torn += prefix > 0 && prefix < 32;
		rig_free(&rig);
	}
	print_message("seeds 1 to 60: %u kept, %u torn, %u lost\n", kept, torn, lost);
	assert_in_range(kept, 8, 40);
	assert_in_range(torn, 8, 40);
	assert_in_range(lost, 8, 40);
}

static void each_unflushed_write_has_a_fate_of_its_own(void **unused)
{
	(void)unused;
	unsigned seen = 0; /* combinations of two writes: lost, torn, kept */
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct rig rig = rig_new(seed);
		unsigned fate[2];
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_write(&rig, 9, 1, 1), 0);
		rig_reboot(&rig);
		for (unsigned i = 0; i < 2; i++) {
			int prefix = rig_prefix(&rig, i * 9, 1, 1, 0);
			assert_in_range(prefix, 0, 8);
			fate[i] = prefix == 0 ? 0 : prefix < 8 ? 1 : 2;
		}
		seen |= 1u << (fate[0] * 3 + fate[1]);
		rig_free(&rig);
	}
	assert_int_equal(seen, 0x1FF);
}

/* The newer of two unflushed writes may go while the older one stays, but what both have lost is
 * what was durable. */
static void an_older_write_may_survive_a_newer_one(void **unused)
{
	(void)unused;
	unsigned seen[4] = {0};
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct rig rig = rig_new(seed);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_flush(&rig), 0);
		assert_int_equal(rig_write(&rig, 0, 1, 2), 0);
		assert_int_equal(rig_write(&rig, 0, 1, 3), 0);
		rig_reboot(&rig);
		for (unsigned tag = 1; tag <= 3; tag++)
			seen[tag] += rig_holds(&rig, 7, 1, tag); /* the last sector */
		rig_free(&rig);
	}
	assert_int_equal(seen[1] + seen[2] + seen[3], 100);
	assert_in_range(seen[1], 10, 80);
	assert_in_range(seen[2], 5, 80);
	assert_in_range(seen[3], 10, 80);
}

/* A flush covers what had been done() when it was submitted, not what was under way. */
static void a_flush_does_not_cover_writes_under_way(void **unused)
{
	(void)unused;
	unsigned lost = 0;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rig rig = rig_new(seed);
		struct op write, flush;
		cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
		fill_sectors(buf, BLOCK_BYTES, 0, 1);
		op_transfer(&write, IO_WRITE, rig.file, 0, buf, BLOCK_BYTES);
		op_transfer(&flush, IO_FLUSH, rig.file, 0, NULL, 0);
		assert_int_equal(op_wait(&flush), 0);
		assert_int_equal(op_wait(&write), 0);
		rig_reboot(&rig);
		lost += !rig_holds(&rig, 0, 8, 1);
		rig_free(&rig);
	}
	assert_in_range(lost, 10, 59);
}

/* Two writes of one block under way at once; the one that reached the disk last is flushed. */
static void no_older_write_returns_over_a_flushed_one(void **unused)
{
	(void)unused;
	unsigned cases = 0;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rig rig = rig_new(seed);
		struct op ops[2], flush;
		char *buf = mem_alloc_blocks(2 * BLOCK_BYTES);
		for (unsigned i = 0; i < 2; i++) {
			fill_sectors(buf + i * BLOCK_BYTES, BLOCK_BYTES, 0, 1 + i);
			op_transfer(
				&ops[i], IO_WRITE, rig.file, 0, buf + i * BLOCK_BYTES, BLOCK_BYTES);
		}
		while (ops[0].times + ops[1].times == 0)
			io_run(rig.io, true);
		unsigned tag = ops[0].times ? 1 : 2;
		bool other_pending = ops[0].times + ops[1].times == 1;
		op_transfer(&flush, IO_FLUSH, rig.file, 0, NULL, 0);
		op_wait(&flush);
		ops_wait(ops, 2);
		bool newest = rig_holds(&rig, 0, 8, tag);
		rig_reboot(&rig);
		if (newest && other_pending) {
			cases++;
			assert_true(rig_holds(&rig, 0, 8, tag));
		}
		free(buf);
		rig_free(&rig);
	}
	print_message("seeds 1 to 200: %u cases\n", cases);
	assert_true(cases >= 5);
}

static void a_flush_covers_its_own_disk_only(void **unused)
{
	(void)unused;
	unsigned lost = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		struct io_file *other;
		assert_int_equal(io_open(rig.io, "b", IO_OPEN_CREATE, DISK_BYTES, &other, NULL), 0);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(op_now(IO_FLUSH, other, 0, NULL, 0), 0);
		io_close(other);
		rig_reboot(&rig);
		lost += !rig_holds(&rig, 0, 8, 1);
		rig_free(&rig);
	}
	assert_in_range(lost, 2, 20);
}

static void zeroing_is_volatile_until_a_flush(void **unused)
{
	(void)unused;
	unsigned back = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		assert_int_equal(rig_write(&rig, 0, 2, 1), 0);
		assert_int_equal(rig_flush(&rig), 0);
		assert_int_equal(io_zero(rig.file, 0, BLOCK_BYTES), 0);
		assert_int_equal(rig_flush(&rig), 0);
		assert_int_equal(io_zero(rig.file, BLOCK_BYTES, BLOCK_BYTES), 0);
		rig_reboot(&rig);
		assert_true(rig_holds(&rig, 0, 8, 0));
		back += rig_holds(&rig, 8, 8, 1);
		rig_free(&rig);
	}
	assert_in_range(back, 1, 19);
}

/* Ten writes one after another, each flushed; how many were acknowledged before the cut. */
static unsigned write_ten(struct rig *rig)
{
	unsigned n = 0;
	while (n < 10 && rig_write(rig, n, 1, 1) == 0 && rig_flush(rig) == 0)
		n++;
	return n;
}

static void a_cut_hits_the_write_that_was_chosen(void **unused)
{
	(void)unused;
	unsigned torn = 0;
	for (unsigned n = 0; n < 10; n++) {
		struct rig rig = rig_new(n + 1);
		sim_world_cut_power_after(rig.world, n);
		assert_int_equal(write_ten(&rig), n);
		assert_int_equal(sim_world_writes(rig.world), n);
		assert_true(sim_world_power_is_cut(rig.world));
		rig_reboot(&rig);
		assert_false(sim_world_power_is_cut(rig.world));
		assert_true(n == 0 || rig_holds(&rig, 0, n * 8, 1));
		assert_in_range(rig_prefix(&rig, n, 1, 1, 0), 0, 7);
		torn += rig_prefix(&rig, n, 1, 1, 0) > 0;
		assert_true(rig_holds(&rig, (n + 1) * 8, 8, 0));
		assert_int_equal(write_ten(&rig), 10); /* one cut only */
		rig_free(&rig);
	}
	assert_in_range(torn, 1, 10);
}

static void a_cut_fails_everything_under_way_and_later(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(4);
	struct op ops[30], alarm;
	struct io_file *file;
	unsigned acknowledged = 0;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	sim_world_cut_power_after(rig.world, 10);
	op_alarm(&alarm, rig.io, io_now_ns(rig.io) + NS_PER_S);
	for (unsigned i = 0; i < 30; i++)
		op_transfer(&ops[i], IO_WRITE, rig.file, i * BLOCK_BYTES, buf, BLOCK_BYTES);
	ops_wait(ops, 30);
	for (unsigned i = 0; i < 30; i++) {
		assert_true(ops[i].err == 0 || ops[i].err == -ESHUTDOWN);
		acknowledged += ops[i].err == 0;
	}
	assert_in_range(acknowledged, 1, 10);
	assert_int_equal(op_wait(&alarm), -ESHUTDOWN);
	assert_int_equal(op_now(IO_READ, rig.file, 0, buf, BLOCK_BYTES), -ESHUTDOWN);
	assert_int_equal(rig_write(&rig, 0, 1, 1), -ESHUTDOWN);
	assert_int_equal(rig_flush(&rig), -ESHUTDOWN);
	assert_int_equal(io_zero(rig.file, 0, 512), -ESHUTDOWN);
	assert_int_equal(io_open(rig.io, "a", 0, 0, &file, NULL), -ESHUTDOWN);
	assert_int_equal(sim_world_writes(rig.world), 10);
	rig_free(&rig);
}

static void a_write_may_be_on_the_disk_without_being_acknowledged(void **unused)
{
	(void)unused;
	unsigned unacknowledged = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		struct op ops[20];
		char *buf = mem_alloc_blocks(20 * BLOCK_BYTES);
		fill_sectors(buf, 20 * BLOCK_BYTES, 0, 1);
		sim_world_cut_power_after(rig.world, 10);
		for (unsigned i = 0, at = 0; i < 20; i++, at += BLOCK_BYTES)
			op_transfer(&ops[i], IO_WRITE, rig.file, at, buf + at, BLOCK_BYTES);
		ops_wait(ops, 20);
		rig_reboot(&rig);
		for (unsigned i = 0; i < 20; i++)
			unacknowledged += ops[i].err && rig_holds(&rig, i * 8, 8, 1);
		free(buf);
		rig_free(&rig);
	}
	assert_true(unacknowledged > 0);
}

static uint64_t medium_after_cut(uint64_t seed)
{
	struct rig rig = rig_new(seed);
	struct op ops[40];
	uint64_t fold = 0;
	cleanup(cleanup_freep) unsigned char *buf = mem_alloc_blocks(DISK_BYTES);
	fill_sectors(buf, DISK_BYTES, 0, 1);
	sim_world_cut_power_after(rig.world, 33);
	for (unsigned i = 0; i < 40; i++)
		op_transfer(&ops[i], i % 8 == 7 ? IO_FLUSH : IO_WRITE, rig.file, i * BLOCK_BYTES,
			buf + i * BLOCK_BYTES, BLOCK_BYTES);
	ops_wait(ops, 40);
	rig_reboot(&rig);
	sim_disk_peek(rig.world, "a", 0, buf, DISK_BYTES);
	for (unsigned i = 0; i < DISK_BYTES; i++)
		fold = fold * 1099511628211u + buf[i];
	rig_free(&rig);
	return fold;
}

static void what_a_cut_leaves_follows_from_the_seed_alone(void **unused)
{
	(void)unused;
	assert_true(medium_after_cut(7) == medium_after_cut(7));
	assert_true(medium_after_cut(7) != medium_after_cut(8));
}

static void requests_of_a_freed_engine_are_forgotten(void **unused)
{
	(void)unused;
	struct rig rig = rig_new(1);
	struct io_engine *other;
	struct op op;
	assert_int_equal(sim_engine_new(rig.world, &other), 0);
	op_alarm(&op, other, io_now_ns(other) + NS_PER_MS);
	io_engine_free(other);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(io_run(rig.io, true), 0);
	assert_int_equal(op.times, 0);
	rig_free(&rig);
}

/* Write one block durably, and wait. */
static int write_durably(struct rig *rig, uint64_t at, uint64_t tag)
{
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(BLOCK_BYTES);
	struct op op = {.iov = {.iov_base = buf, .iov_len = BLOCK_BYTES}};
	fill_sectors(buf, BLOCK_BYTES, at * 8, tag);
	op.req.kind = IO_WRITE;
	op.req.file = rig->file;
	op.req.offset_bytes = at * BLOCK_BYTES;
	op.req.iov = &op.iov;
	op.req.iov_count = 1;
	op.req.durable = true;
	op_submit(rig->io, &op);
	return op_wait(&op);
}

static void a_durable_write_survives_any_cut_behind_it_and_saves_no_other(void **unused)
{
	(void)unused;
	unsigned others_lost = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		assert_int_equal(rig_write(&rig, 1, 1, 1), 0); /* older, and under the next */
		assert_int_equal(write_durably(&rig, 1, 2), 0);
		assert_int_equal(rig_write(&rig, 2, 1, 1), 0);
		rig_reboot(&rig);
		assert_true(rig_holds(&rig, 8, 8, 2));
		others_lost += !rig_holds(&rig, 0, 8, 1);
		others_lost += !rig_holds(&rig, 16, 8, 1);
		rig_free(&rig);
	}
	assert_in_range(others_lost, 1, 39);
}

static void a_durable_write_that_the_cut_meets_may_be_torn(void **unused)
{
	(void)unused;
	unsigned torn = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig rig = rig_new(seed);
		sim_world_cut_power_after(rig.world, 0);
		assert_int_equal(write_durably(&rig, 1, 2), -ESHUTDOWN);
		rig_reboot(&rig);
		assert_in_range(rig_prefix(&rig, 1, 1, 2, 0), 0, 7);
		torn += rig_prefix(&rig, 1, 1, 2, 0) > 0;
		rig_free(&rig);
	}
	assert_in_range(torn, 1, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flushed_writes_survive_and_unflushed_ones_meet_any_fate),
		cmocka_unit_test(each_unflushed_write_has_a_fate_of_its_own),
		cmocka_unit_test(an_older_write_may_survive_a_newer_one),
		cmocka_unit_test(a_flush_does_not_cover_writes_under_way),
		cmocka_unit_test(no_older_write_returns_over_a_flushed_one),
		cmocka_unit_test(a_flush_covers_its_own_disk_only),
		cmocka_unit_test(zeroing_is_volatile_until_a_flush),
		cmocka_unit_test(a_cut_hits_the_write_that_was_chosen),
		cmocka_unit_test(a_cut_fails_everything_under_way_and_later),
		cmocka_unit_test(a_write_may_be_on_the_disk_without_being_acknowledged),
		cmocka_unit_test(what_a_cut_leaves_follows_from_the_seed_alone),
		cmocka_unit_test(a_durable_write_survives_any_cut_behind_it_and_saves_no_other),
		cmocka_unit_test(a_durable_write_that_the_cut_meets_may_be_torn),
		cmocka_unit_test(requests_of_a_freed_engine_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
