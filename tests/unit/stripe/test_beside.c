/* SPDX-License-Identifier: MIT */
/* stripe/lock, stripe/stream: small writes of a stream that begin beside others of their stripe, on
 * other rows, and what is damaged meanwhile. */
#include "script.h"

#include "base/clock.h"

#define SEED     80211
#define MEMBERS  4u
#define CHUNK    4u
#define STRIPE   ((MEMBERS - 1) * CHUNK)
#define WARM     8u /* small ones, side by side, to the end of a stripe */
#define FIRST    STRIPE
#define STRANGER (FIRST + STRIPE - 1)
#define PARITY   (MEMBERS - 1)
#define LONG_NS  (UINT64_C(5) * NS_PER_S)

static struct rig_io *post(struct rig *rig, enum stripe_kind kind, uint64_t block, unsigned blocks)
{
	struct rig_io *io = rig_io_new(rig, kind, block * BLOCK_BYTES, blocks * BLOCK_BYTES, NULL);
	for (unsigned i = 0; kind == STRIPE_WRITE && i < blocks; i++)
		rig_fill_block(io->data + (size_t)i * BLOCK_BYTES, block + i, 'n');
	rig_io_start(io);
	rig_run(rig, false);
	return io;
}

static struct rig_io *write_post(struct rig *rig, uint64_t block)
{
	return post(rig, STRIPE_WRITE, block, 1);
}

static int end(struct rig_io *io)
{
	int err = rig_io_wait(io);
	rig_io_free(io);
	return err;
}

/* By bytes with whose end no stream begins. */
static void mark(struct rig *rig, uint64_t block)
{
	uint8_t bytes[BLOCK_BYTES];
	rig_fill_block(bytes, block, 'o');
	assert_int_equal(rig_write(rig, block * BLOCK_BYTES, bytes, 100), 0);
}

/* A stream that is trusted, and is about to begin with the second stripe. */
static struct rig *new_rig(bool journal)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = MEMBERS,
		.chunk_blocks = CHUNK,
		.stripes = 5,
		.pi = PI_T10,
		.journal = journal,
		.seed = SEED});
	script_fill_volume(rig);
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b += STRIPE)
		mark(rig, b);
	struct rig_io *io[WARM];
	for (unsigned i = 0; i < WARM; i++)
		io[i] = write_post(rig, FIRST - WARM + i);
	for (unsigned i = 0; i < WARM; i++)
		assert_int_equal(end(io[i]), 0);
	return rig;
}

static uint64_t beside(struct rig *rig)
{
	return stripe_engine_stats(rig->eng).beside;
}

/* The next transfer of the block takes its time. */
static void delay(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row, uint64_t ns)
{
	unsigned member = geometry_member(&rig->geometry, stripe, slot);
	const struct super *super = member_super(rig->members[member]);
	uint64_t block = geometry_member_block(&rig->geometry, stripe, row);
	struct sim_fault fault = {.kind = SIM_LATENCY,
		.name = rig_disk(member),
		.offset_bytes = super->data.offset_bytes + block * BLOCK_BYTES,
		.len_bytes = BLOCK_BYTES,
		.count = 1,
		.per_mille = 1000,
		.latency_ns = ns};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

/* Of the second stripe; the next transfer is a write. */
static void delay_parity(struct rig *rig, unsigned row)
{
	delay(rig, 1, PARITY, row, LONG_NS);
}

static void run_until_ended(struct rig *rig, const struct rig_io *io)
{
	while (!io->ended)
		rig_run(rig, true);
}

static void end_rig(struct rig *rig, uint64_t written_from, uint64_t written_to)
{
	for (uint64_t b = FIRST; b < (uint64_t)2 * STRIPE; b++)
		assert_true(rig_reads(rig, b, b >= written_from && b < written_to ? 'n' : 'o'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* Until all has happened that takes less time than what is delayed. */
static void run_for_a_while(struct rig *rig)
{
	delay(rig, 0, 0, 0, LONG_NS / 2);
	struct rig_io *other = post(rig, STRIPE_READ, 0, 1);
	run_until_ended(rig, other);
	rig_io_free(other);
}

/* ---- who begins ---- */

static void a_small_write_of_a_stream_does_not_wait_for_another_row(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false);
	uint64_t before = beside(rig);
	delay_parity(rig, 0);
	struct rig_io *first = write_post(rig, FIRST), *second = write_post(rig, FIRST + 1);
	run_until_ended(rig, second);
	assert_int_equal(beside(rig) - before, 1);
	assert_false(first->ended);
	assert_int_equal(end(second), 0);
	assert_int_equal(end(first), 0);
	end_rig(rig, FIRST, FIRST + 2);
}

/* Records are written one after the other: more of them would only be smaller. */
static void what_is_logged_waits_for_all_rows(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(true);
	delay_parity(rig, 0);
	struct rig_io *first = write_post(rig, FIRST), *second = write_post(rig, FIRST + 1);
	run_until_ended(rig, second);
	assert_true(first->ended);
	assert_int_equal(beside(rig), 0);
	assert_int_equal(end(first), 0);
	assert_int_equal(end(second), 0);
	end_rig(rig, FIRST, FIRST + 2);
}

static void what_comes_meanwhile_is_gathered_to_a_half(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false);
	struct stripe_stats before = stripe_engine_stats(rig->eng);
	struct rig_io *io[CHUNK];
	delay_parity(rig, 0);
	delay_parity(rig, 1);
	for (unsigned i = 0; i < CHUNK; i++)
		io[i] = write_post(rig, FIRST + i);
	struct stripe_stats after = stripe_engine_stats(rig->eng);
	assert_int_equal(after.beside - before.beside, 2);
	assert_int_equal(after.merged - before.merged, 2);
	for (unsigned i = CHUNK; i--;)
		assert_int_equal(end(io[i]), 0);
	end_rig(rig, FIRST, FIRST + CHUNK);
}

static void a_write_of_the_same_row_waits(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false);
	delay_parity(rig, 0);
	struct rig_io *io[CHUNK + 1];
	for (unsigned i = 0; i <= CHUNK; i++)
		io[i] = write_post(rig, FIRST + i);
	run_until_ended(rig, io[CHUNK]);
	assert_true(io[0]->ended);
	for (unsigned i = 0; i <= CHUNK; i++)
		assert_int_equal(end(io[i]), 0);
	end_rig(rig, FIRST, FIRST + CHUNK + 1);
}

static void a_stranger_waits_for_all_of_them(void **unused)
{
	(void)unused;
	static const enum stripe_kind kinds[] = {STRIPE_READ, STRIPE_WRITE};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = new_rig(false);
		uint64_t before = beside(rig);
		delay_parity(rig, 0);
		struct rig_io *first = write_post(rig, FIRST), *second = write_post(rig, FIRST + 1);
		struct rig_io *stranger = post(rig, kinds[i], STRANGER, 1);
		run_until_ended(rig, stranger);
		assert_true(first->ended && second->ended);
		assert_int_equal(beside(rig) - before, 1);
		assert_int_equal(end(stranger), 0);
		if (kinds[i] == STRIPE_WRITE)
			assert_int_equal(rig_write_block(rig, STRANGER, 'o'), 0);
		assert_int_equal(end(first), 0);
		assert_int_equal(end(second), 0);
		end_rig(rig, FIRST, FIRST + 2);
	}
}

/* ---- damage ---- */

static void who_meets_damage_waits_until_the_stripe_is_his(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false);
	rig_rot_data(rig, 1, 1, 1);
	delay_parity(rig, 0);
	struct rig_io *first = write_post(rig, FIRST), *second = write_post(rig, FIRST + 1);
	run_until_ended(rig, second);
	assert_true(first->ended);
	assert_int_equal(stripe_engine_stats(rig->eng).repaired_blocks, 1);
	assert_int_equal(end(second), 0);
	assert_int_equal(end(first), 0);
	end_rig(rig, FIRST, FIRST + 2);
}

static void nobody_begins_beside_who_waits_for_the_stripe(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(false);
	rig_rot_data(rig, 1, 1, 1);
	delay_parity(rig, 0);
	uint64_t before = beside(rig);
	struct rig_io *io[CHUNK];
	for (unsigned i = 0; i < 2; i++)
		io[i] = write_post(rig, FIRST + i);
	run_for_a_while(rig);
	assert_false(io[1]->ended);
	for (unsigned i = 2; i < CHUNK; i++)
		io[i] = write_post(rig, FIRST + i);
	run_until_ended(rig, io[CHUNK - 1]);
	assert_int_equal(beside(rig) - before, 1);
	for (unsigned i = 0; i < CHUNK; i++) {
		assert_true(io[i]->ended);
		assert_int_equal(end(io[i]), 0);
	}
	end_rig(rig, FIRST, FIRST + CHUNK);
}

/* Each has stored its parity and not its data, or the other way round. */
static void two_that_fail_beside_each_other_leave_a_stripe_that_agrees(void **unused)
{
	(void)unused;
	for (unsigned slots = 0; slots < 4; slots++) {
		struct rig *rig = new_rig(false);
		uint64_t before = beside(rig);
		for (unsigned row = 0; row < 2; row++)
			rig_arm(rig, SIM_WRITE_ERROR, 1, slots >> row & 1 ? PARITY : 0, row, 1, 1);
		struct rig_io *first = write_post(rig, FIRST), *second = write_post(rig, FIRST + 1);
		assert_int_equal(end(first), -EIO);
		assert_int_equal(end(second), -EIO);
		assert_int_equal(beside(rig) - before, 1);
		assert_true(rig_is_clean(rig));
		for (unsigned row = 0; row < 2; row++)
			assert_int_equal(rig_write_block(rig, FIRST + row, 'o'), 0);
		end_rig(rig, FIRST, FIRST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_write_of_a_stream_does_not_wait_for_another_row),
		cmocka_unit_test(what_is_logged_waits_for_all_rows),
		cmocka_unit_test(what_comes_meanwhile_is_gathered_to_a_half),
		cmocka_unit_test(a_write_of_the_same_row_waits),
		cmocka_unit_test(a_stranger_waits_for_all_of_them),
		cmocka_unit_test(who_meets_damage_waits_until_the_stripe_is_his),
		cmocka_unit_test(nobody_begins_beside_who_waits_for_the_stripe),
		cmocka_unit_test(two_that_fail_beside_each_other_leave_a_stripe_that_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
