/* SPDX-License-Identifier: MIT */
/* The engine's frame and its lock: requests over many stripes, odd ranges, merging, order, errors.
 * */
#include "rig.h"

#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

#define SEED 42

static struct rig *raid5_rig(void)
{
	return rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = 4,
		.chunk_blocks = 4,
		.stripes = 8,
		.pi = PI_T10,
		.seed = SEED});
}

static void a_request_over_many_stripes_reads_back_as_written(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint32_t len = 5 * 12 * BLOCK_BYTES + 3 * BLOCK_BYTES;
	uint8_t *data = mem_alloc_blocks(len), *back = mem_alloc_blocks(len);
	random_fill(&rig->random, data, len);
	assert_int_equal(rig_write(rig, 2 * BLOCK_BYTES, data, len), 0);
	assert_int_equal(rig_read(rig, 2 * BLOCK_BYTES, back, len), 0);
	assert_memory_equal(data, back, len);
	assert_true(rig_is_clean(rig));
	free(data);
	free(back);
	rig_free(rig);
}

static void an_unaligned_write_keeps_the_bytes_around_it(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint32_t len = 30 * BLOCK_BYTES;
	uint8_t *model = mem_alloc_blocks(len), *back = mem_alloc_blocks(len);
	random_fill(&rig->random, model, len);
	assert_int_equal(rig_write(rig, 0, model, len), 0);
	uint32_t from = 3 * BLOCK_BYTES + 77, size = 17 * BLOCK_BYTES + 1001;
	random_fill(&rig->random, model + from, size);
	assert_int_equal(rig_write(rig, from, model + from, size), 0);
	random_fill(&rig->random, model + 5, 9); /* within one block */
	assert_int_equal(rig_write(rig, 5, model + 5, 9), 0);
	assert_int_equal(rig_read(rig, 0, back, len), 0);
	assert_memory_equal(model, back, len);
	assert_int_equal(rig_read(rig, from + 3, back, 9000), 0);
	assert_memory_equal(model + from + 3, back, 9000);
	assert_true(rig_is_clean(rig));
	free(model);
	free(back);
	rig_free(rig);
}

static void a_fresh_write_pads_with_zeros_and_reads_nothing_under_it(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint8_t wanted[2 * BLOCK_BYTES] = {0}, back[2 * BLOCK_BYTES];
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rig_write_block(rig, i, 'o'), 0);
	memset(wanted + 100, 'n', BLOCK_BYTES);
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, 100, BLOCK_BYTES, wanted + 100);
	io->req.flags = STRIPE_FRESH;
	rig_arm(rig, SIM_READ_ERROR, 0, 0, 0, 2, 0); /* old content is dead: none of it is read */
	rig_io_start(io);
	assert_int_equal(rig_io_wait(io), 0);
	rig_io_free(io);
	sim_world_disarm_all(rig->world);
	assert_int_equal(rig_read(rig, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, wanted, sizeof(back));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_source_offset_shifts_what_is_written(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint8_t data[3 * BLOCK_BYTES], back[2 * BLOCK_BYTES];
	random_fill(&rig->random, data, sizeof(data));
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, 0, sizeof(data), data);
	io->req.source_offset = 512 + 7;
	io->req.len_bytes = 2 * BLOCK_BYTES;
	rig_io_start(io);
	assert_int_equal(rig_io_wait(io), 0);
	rig_io_free(io);
	assert_int_equal(rig_read(rig, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, data + 512 + 7, sizeof(back));
	rig_free(rig);
}

static void queued_writes_of_a_stripe_become_one_full_write(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	struct rig_io *io[12];
	uint8_t block[BLOCK_BYTES];
	for (unsigned i = 0; i < 12; i++) {
		rig_fill_block(block, i, 'm');
		io[i] = rig_io_new(rig, STRIPE_WRITE, i * BLOCK_BYTES, BLOCK_BYTES, block);
		rig_io_start(io[i]);
	}
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(rig_io_wait(io[i]), 0);
		rig_io_free(io[i]);
	}
	struct stripe_stats stats = stripe_engine_stats(rig->eng);
	assert_int_equal(stats.writes, 12);
	assert_int_equal(stats.merged, 12);
	assert_int_equal(stats.plan_full, 1);
	assert_int_equal(stats.plan_rmw + stats.plan_rcw, 0);
	for (unsigned i = 0; i < 12; i++)
		assert_true(rig_reads(rig, i, 'm'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void writes_that_share_a_block_take_effect_in_order(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	struct rig_io *io[9];
	uint8_t block[BLOCK_BYTES];
	for (unsigned i = 0; i < 9; i++) {
		rig_fill_block(block, i % 3, 'a' + i);
		io[i] = rig_io_new(rig, STRIPE_WRITE, i % 3 * BLOCK_BYTES, BLOCK_BYTES, block);
		rig_io_start(io[i]);
	}
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(rig_io_wait(io[i]), 0);
		rig_io_free(io[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_true(rig_reads(rig, i, 'a' + 6 + i));
	assert_int_equal(stripe_engine_stats(rig->eng).merged, 9); /* three by three */
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_read_waits_for_the_write_before_it_and_writes_wait_for_reads(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint8_t block[BLOCK_BYTES], wanted[BLOCK_BYTES];
	struct rig_io *io[4];
	for (unsigned i = 0; i < 4; i++) {
		rig_fill_block(block, 1, 'a' + i);
		io[i] = rig_io_new(rig, i % 2 ? STRIPE_READ : STRIPE_WRITE, BLOCK_BYTES,
			BLOCK_BYTES, i % 2 ? NULL : block);
		rig_io_start(io[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rig_io_wait(io[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		rig_fill_block(wanted, 1, 'a' + 2 * i);
		assert_memory_equal(io[2 * i + 1]->data, wanted, BLOCK_BYTES);
	}
	for (unsigned i = 0; i < 4; i++)
		rig_io_free(io[i]);
	rig_free(rig);
}

static int try(struct rig *rig, enum stripe_kind kind, uint64_t offset_bytes, uint32_t len_bytes)
{
	struct rig_io *io = rig_io_new(rig, kind, offset_bytes, BLOCK_BYTES, NULL);
	io->req.len_bytes = len_bytes;
	rig_io_start(io);
	int err = rig_io_wait(io);
	rig_io_free(io);
	return err;
}

static void ranges_outside_the_volume_are_refused(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint64_t end = rig->volume_bytes;
	assert_int_equal(try(rig, STRIPE_READ, end, 1), -EINVAL);
	assert_int_equal(try(rig, STRIPE_WRITE, end - 1, 2), -EINVAL);
	assert_int_equal(try(rig, STRIPE_READ, 0, 0), -EINVAL);
	assert_int_equal(try(rig, STRIPE_READ, UINT64_MAX, 4096), -EINVAL);
	assert_int_equal(try(rig, STRIPE_WRITE, end - 1, 1), 0);
	struct stripe_check check;
	assert_int_equal(rig_check(rig, STRIPE_CHECK, rig->config.stripes, &check), -EINVAL);
	rig_free(rig);
}

static void a_read_only_engine_reads_and_checks_but_neither_writes_nor_repairs(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	assert_int_equal(rig_write_block(rig, 0, 'r'), 0);
	assert_int_equal(rig_flush(rig), 0);
	rig_settle(rig);
	struct stripe_engine *writable = rig->eng;
	struct stripe_config config = {.io = rig->io,
		.geometry = rig->geometry,
		.pi = PI_T10,
		.intent = rig->intent,
		.read_only = true};
	memcpy(config.members, rig->members, sizeof(config.members));
	assert_int_equal(stripe_engine_new(&config, &rig->eng), 0);
	uint64_t writes = sim_world_writes(rig->world);
	struct stripe_check check;
	assert_int_equal(try(rig, STRIPE_WRITE, 0, 1), -EROFS);
	assert_int_equal(rig_check(rig, STRIPE_REPAIR, 0, &check), -EROFS);
	assert_int_equal(rig_check(rig, STRIPE_CHECK, 0, &check), 0);
	rig_rot_data(rig, 0, 0, 0);
	assert_true(rig_reads(rig, 0, 'r')); /* rebuilt for the reader, not written back */
	assert_int_equal(rig_flush(rig), 0);
	rig_settle(rig);
	assert_int_equal(sim_world_writes(rig->world), writes);
	stripe_engine_free(rig->eng);
	rig->eng = writable;
	rig_free(rig);
}

static void what_was_flushed_survives_a_power_cut(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(rig_write_block(rig, i, 'f'), 0);
	assert_int_equal(rig_flush(rig), 0);
	rig_reboot(rig);
	for (unsigned i = 0; i < 40; i++)
		assert_true(rig_reads(rig, i, 'f'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void flush_ended(struct stripe_flush *flush, int err)
{
	assert_int_equal(err, 0);
	flush->done = NULL;
}

static void flushes_that_wait_share_the_next_round(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	struct stripe_flush flushes[10] = {0};
	uint64_t before = member_stats(rig->members[0]).flushes;
	for (unsigned i = 0; i < 10; i++) {
		flushes[i].done = flush_ended;
		stripe_flush(rig->eng, &flushes[i]);
		if (i == 0)
			stripe_engine_run(rig->eng, false); /* the first is under way */
	}
	rig_settle(rig);
	for (unsigned i = 0; i < 10; i++)
		assert_null(flushes[i].done);
	assert_int_equal(member_stats(rig->members[0]).flushes - before, 2);
	rig_free(rig);
}

/* A write to the last region that takes long. */
static void pass_time(struct rig *rig)
{
	struct rig_io *held =
		rig_io_new(rig, STRIPE_WRITE, rig->volume_bytes - BLOCK_BYTES, BLOCK_BYTES, NULL);
	held->req.hold_ns = 2 * NS_PER_S;
	rig_io_start(held);
	assert_int_equal(rig_io_wait(held), 0);
	rig_io_free(held);
}

static void a_region_is_unmarked_some_time_after_its_writes_were_flushed(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	assert_int_equal(rig_write_block(rig, 0, 'x'), 0);
	assert_true(intent_is_marked(rig->intent, 0));
	assert_int_equal(rig_flush(rig), 0);
	pass_time(rig);
	assert_int_equal(rig_flush(rig), 0);
	rig_settle(rig);
	assert_false(intent_is_marked(rig->intent, 0));
	rig_free(rig);
}

static void a_failed_flush_is_reported_and_unmarks_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	struct sim_fault fault = {.kind = SIM_FLUSH_ERROR, .name = rig_disk(1), .per_mille = 1000};
	assert_int_equal(rig_write_block(rig, 0, 'x'), 0);
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	assert_int_equal(rig_flush(rig), -EIO);
	pass_time(rig);
	assert_int_equal(rig_flush(rig), -EIO);
	rig_settle(rig);
	assert_true(intent_is_marked(rig->intent, 0));
	sim_world_disarm_all(rig->world);
	assert_int_equal(rig_flush(rig), 0);
	rig_free(rig);
}

static void after_a_power_cut_every_request_says_so(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	assert_int_equal(rig_write_block(rig, 0, 'x'), 0);
	rig_power_cut_after(rig, 0);
	assert_int_equal(rig_write_block(rig, 1, 'y'), -ESHUTDOWN);
	uint8_t block[BLOCK_BYTES];
	assert_int_equal(rig_read(rig, 0, block, sizeof(block)), -ESHUTDOWN);
	assert_int_equal(rig_write(rig, 5, block, 100), -ESHUTDOWN);
	assert_int_equal(rig_flush(rig), -ESHUTDOWN);
	struct stripe_check check;
	assert_int_equal(rig_check(rig, STRIPE_REPAIR, 0, &check), -ESHUTDOWN);
	assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
	rig_reboot(rig);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void statistics_count_requests_bytes_and_ways(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig();
	uint8_t stripe[12 * BLOCK_BYTES] = {1};
	assert_int_equal(rig_write(rig, 0, stripe, sizeof(stripe)), 0);  /* full */
	assert_int_equal(rig_write(rig, 0, stripe, 8 * BLOCK_BYTES), 0); /* rcw */
	assert_int_equal(rig_write(rig, 0, stripe, BLOCK_BYTES), 0);     /* a tie: rcw */
	assert_int_equal(rig_read(rig, 0, stripe, 5), 0);
	struct stripe_stats s = stripe_engine_stats(rig->eng);
	assert_int_equal(s.writes, 3);
	assert_int_equal(s.write_bytes, 21 * BLOCK_BYTES);
	assert_int_equal(s.reads, 1);
	assert_int_equal(s.read_bytes, 5);
	assert_int_equal(s.plan_full, 1);
	assert_int_equal(s.plan_rcw, 2);
	assert_int_equal(s.plan_rmw + s.plan_copy + s.plan_degraded, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_over_many_stripes_reads_back_as_written),
		cmocka_unit_test(an_unaligned_write_keeps_the_bytes_around_it),
		cmocka_unit_test(a_fresh_write_pads_with_zeros_and_reads_nothing_under_it),
		cmocka_unit_test(a_source_offset_shifts_what_is_written),
		cmocka_unit_test(queued_writes_of_a_stripe_become_one_full_write),
		cmocka_unit_test(writes_that_share_a_block_take_effect_in_order),
		cmocka_unit_test(a_read_waits_for_the_write_before_it_and_writes_wait_for_reads),
		cmocka_unit_test(ranges_outside_the_volume_are_refused),
		cmocka_unit_test(
			a_read_only_engine_reads_and_checks_but_neither_writes_nor_repairs),
		cmocka_unit_test(what_was_flushed_survives_a_power_cut),
		cmocka_unit_test(flushes_that_wait_share_the_next_round),
		cmocka_unit_test(a_region_is_unmarked_some_time_after_its_writes_were_flushed),
		cmocka_unit_test(a_failed_flush_is_reported_and_unmarks_nothing),
		cmocka_unit_test(after_a_power_cut_every_request_says_so),
		cmocka_unit_test(statistics_count_requests_bytes_and_ways),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
