/* SPDX-License-Identifier: MIT */
/* Streams: what waits for the next request, and what does not. Requests of 16 blocks on stripes of
 * 12: each border but the third lies in the middle of a stripe. */
#include "script.h"

#include "base/clock.h"

#define SEED    4711
#define MEMBERS 4u
#define CHUNK   4u
#define STRIPE  ((MEMBERS - 1) * CHUNK)
#define REQUEST 16u
#define AT(n)   ((uint64_t)(n)*REQUEST)
#define LONG_NS (UINT64_C(5) * NS_PER_S)
#define MOMENT  (500 * NS_PER_US) /* stream.c's */

static struct rig_io *post(struct rig *rig, enum stripe_kind kind, uint64_t block, unsigned blocks)
{
	struct rig_io *io = rig_io_new(rig, kind, block * BLOCK_BYTES, blocks * BLOCK_BYTES, NULL);
	for (unsigned i = 0; kind == STRIPE_WRITE && i < blocks; i++)
		rig_fill_block(io->data + (size_t)i * BLOCK_BYTES, block + i, 'n');
	rig_io_start(io);
	return io;
}

static struct rig_io *write_post(struct rig *rig, unsigned n)
{
	return post(rig, STRIPE_WRITE, AT(n), REQUEST);
}

static void end(struct rig_io *io)
{
	assert_int_equal(rig_io_wait(io), 0);
	rig_io_free(io);
}

static void run_until_ended(struct rig *rig, const struct rig_io *io)
{
	while (!io->ended)
		rig_run(rig, true);
}

/* Six requests side by side, which end with a stripe: a stream that is trusted. Without a log,
 * whose flushes would take longer than the moment. */
#define WARM 6u
static struct rig *rig_with_stream(void)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = MEMBERS,
		.chunk_blocks = CHUNK,
		.stripes = 30,
		.pi = PI_T10,
		.seed = SEED});
	script_fill_volume(rig);
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b += STRIPE)
		assert_int_equal(rig_write_block(rig, b, 'o'), 0); /* all is marked */
	struct rig_io *io[WARM];
	for (unsigned i = 0; i < WARM; i++)
		io[i] = write_post(rig, i);
	for (unsigned i = 0; i < WARM; i++)
		end(io[i]);
	return rig;
}

static struct stripe_stats stats(struct rig *rig)
{
	return stripe_engine_stats(rig->eng);
}

static void end_rig(struct rig *rig)
{
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* Requests below @to were written, and the next was not. */
static void assert_written(struct rig *rig, unsigned to)
{
	for (uint64_t b = 0; b < AT(to) + REQUEST; b++)
		assert_true(rig_reads(rig, b, b < AT(to) ? 'n' : 'o'));
}

/* Member writes of @stripe take their time. */
static void delay(struct rig *rig, uint64_t stripe, uint64_t ns)
{
	const struct super *super = member_super(rig->members[0]);
	for (unsigned m = 0; m < MEMBERS; m++) {
		struct sim_fault fault = {.kind = SIM_LATENCY,
			.name = rig_disk(m),
			.offset_bytes = super->data.offset_bytes + stripe * CHUNK * BLOCK_BYTES,
			.len_bytes = CHUNK * BLOCK_BYTES,
			.per_mille = 1000,
			.latency_ns = ns};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	}
}

/* ---- waiting ---- */

static void a_stripe_waits_for_the_next_request_of_its_stream(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	struct stripe_stats before = stats(rig);
	struct rig_io *first = write_post(rig, 6), *second = write_post(rig, 7);
	run_until_ended(rig, first);
	assert_false(second->ended);
	struct rig_io *third = write_post(rig, 8);
	end(second);
	end(third);
	assert_int_equal(stats(rig).plan_full - before.plan_full, 3 * REQUEST / STRIPE);
	assert_int_equal(
		stats(rig).plan_rcw + stats(rig).plan_rmw, before.plan_rcw + before.plan_rmw);
	assert_written(rig, 9);
	rig_io_free(first);
	end_rig(rig);
}

static void a_stream_that_ends_is_waited_for_a_moment_only(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	struct stripe_stats before = stats(rig);
	struct rig_io *first = write_post(rig, 6), *second = write_post(rig, 7);
	run_until_ended(rig, first);
	uint64_t then = io_now_ns(rig->io);
	assert_false(second->ended);
	end(second);
	assert_true(io_now_ns(rig->io) - then >= MOMENT);
	assert_true(io_now_ns(rig->io) - then < 10 * MOMENT);
	assert_int_equal(stats(rig).plan_full - before.plan_full, 2);
	assert_int_equal(
		stats(rig).plan_rcw + stats(rig).plan_rmw, before.plan_rcw + before.plan_rmw + 1);
	assert_written(rig, 8);
	rig_io_free(first);
	end_rig(rig);
}

static void requests_that_overtake_each_other_are_joined(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	struct stripe_stats before = stats(rig);
	static const unsigned order[] = {6, 7, 8, 10, 9, 11};
	struct rig_io *io[6];
	for (unsigned i = 0; i < 6; i++) {
		io[i] = write_post(rig, order[i]);
		if (i >= 2)
			rig_run(rig, false);
	}
	for (unsigned i = 0; i < 6; i++)
		end(io[i]);
	assert_int_equal(stats(rig).plan_full - before.plan_full, 6 * REQUEST / STRIPE);
	assert_written(rig, 12);
	end_rig(rig);
}

/* ---- not waiting ---- */

static void one_request_at_a_time_does_not_wait(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	for (unsigned i = 6; i < 12; i++) {
		uint64_t then = io_now_ns(rig->io);
		struct stripe_stats before = stats(rig);
		end(write_post(rig, i));
		bool in_part = AT(i) % STRIPE || AT(i + 1) % STRIPE;
		assert_int_equal(stats(rig).plan_rcw + stats(rig).plan_rmw >
					 before.plan_rcw + before.plan_rmw,
			in_part);
		assert_true(io_now_ns(rig->io) - then < MOMENT);
	}
	assert_written(rig, 12);
	end_rig(rig);
}

/* All that is under way, together, is less than a stripe. */
static void small_writes_do_not_wait(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	delay(rig, AT(6) / STRIPE, LONG_NS);
	struct rig_io *first = post(rig, STRIPE_WRITE, AT(6) + STRIPE - 1, 1);
	struct rig_io *second = post(rig, STRIPE_WRITE, AT(6) + STRIPE, 1);
	run_until_ended(rig, second);
	assert_false(first->ended);
	end(first);
	end(second);
	end_rig(rig);
}

static void writes_that_go_nowhere_do_not_wait(void **unused)
{
	(void)unused;
	static const unsigned order[] = {16, 8, 14, 10, 12};
	struct rig *rig = rig_with_stream();
	struct rig_io *io[5];
	delay(rig, AT(16) / STRIPE, LONG_NS);
	for (unsigned i = 0; i < 5; i++) {
		io[i] = write_post(rig, order[i]);
		rig_run(rig, false);
	}
	for (unsigned i = 1; i < 5; i++)
		end(io[i]);
	assert_false(io[0]->ended);
	end(io[0]);
	end_rig(rig);
}

static void a_reader_ends_the_wait(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	delay(rig, AT(6) / STRIPE, LONG_NS);
	struct rig_io *first = write_post(rig, 6), *second = write_post(rig, 7);
	rig_run(rig, false);
	struct rig_io *read = post(rig, STRIPE_READ, AT(8) - 1, 1);
	run_until_ended(rig, read);
	assert_true(second->ended);
	assert_false(first->ended);
	end(first);
	end(second);
	end(read);
	assert_written(rig, 8);
	end_rig(rig);
}

static void a_write_that_overlaps_ends_the_wait(void **unused)
{
	(void)unused;
	struct rig *rig = rig_with_stream();
	delay(rig, AT(6) / STRIPE, LONG_NS);
	struct rig_io *first = write_post(rig, 6), *second = write_post(rig, 7);
	rig_run(rig, false);
	struct rig_io *over = post(rig, STRIPE_WRITE, AT(8) - 1, 1);
	run_until_ended(rig, over);
	assert_true(second->ended);
	assert_false(first->ended);
	end(first);
	end(second);
	end(over);
	assert_written(rig, 8);
	end_rig(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stripe_waits_for_the_next_request_of_its_stream),
		cmocka_unit_test(a_stream_that_ends_is_waited_for_a_moment_only),
		cmocka_unit_test(requests_that_overtake_each_other_are_joined),
		cmocka_unit_test(one_request_at_a_time_does_not_wait),
		cmocka_unit_test(small_writes_do_not_wait),
		cmocka_unit_test(writes_that_go_nowhere_do_not_wait),
		cmocka_unit_test(a_reader_ends_the_wait),
		cmocka_unit_test(a_write_that_overlaps_ends_the_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
