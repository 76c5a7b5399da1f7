/* SPDX-License-Identifier: MIT */
/* stripe/write_cache: what small writes need not read, and what is not believed: a cached block is
 * what its member holds, or it is not there. */
#include "script.h"

#include <errno.h>

#define SEED    60414
#define MEMBERS 5u /* so that a rmw has the fewer I/Os */
#define CHUNK   4u

static struct rig *new_rig(enum raid_level level, enum pi_type pi, enum pi_check pi_check)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = level,
		.members = MEMBERS,
		.chunk_blocks = CHUNK,
		.stripes = 5,
		.pi = pi,
		.pi_check = pi_check,
		.cache_bytes = UINT64_C(1) << 20,
		.seed = SEED});
	script_fill_volume(rig);
	return rig;
}

static struct rig *raid5_rig(enum pi_type pi)
{
	return new_rig(RAID_RAID5, pi, PI_CHECK_NONE);
}

static uint64_t member_reads(const struct rig *rig)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < MEMBERS; i++)
		n += member_stats(rig->members[i]).reads;
	return n;
}

static unsigned reads_of_a_write(struct rig *rig, uint64_t volume_block)
{
	uint64_t before = member_reads(rig);
	assert_int_equal(rig_write_block(rig, volume_block, 'n'), 0);
	return (unsigned)(member_reads(rig) - before);
}

static uint64_t cached_bytes(const struct rig *rig)
{
	return stripe_engine_stats(rig->eng).cache_bytes;
}

/* Every block of stripe 0 and its parity are in the cache. */
static void warm(struct rig *rig)
{
	for (uint64_t b = 0; b < (uint64_t)geometry_stripe_blocks(&rig->geometry); b++)
		assert_int_equal(rig_write_block(rig, b, 'o'), 0);
	assert_int_equal(reads_of_a_write(rig, 3), 0);
	assert_int_equal(rig_write_block(rig, 3, 'o'), 0);
}

static void a_block_that_was_written_is_not_read_again(void **unused)
{
	(void)unused;
	static const enum raid_level levels[] = {RAID_RAID5, RAID_RAID6};
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	for (unsigned i = 0; i < 6; i++) {
		struct rig *rig = new_rig(levels[i / 3], types[i % 3], PI_CHECK_NONE);
		rig_reopen(rig);
		assert_true(reads_of_a_write(rig, 3) > 0);
		assert_int_equal(reads_of_a_write(rig, 3), 0);
		assert_true(rig_reads(rig, 3, 'n'));
		assert_true(rig_is_clean(rig));
		struct stripe_stats s = stripe_engine_stats(rig->eng);
		assert_true(s.cache_hits > 0 && s.cache_misses > 0);
		rig_free(rig);
	}
}

static void what_one_write_has_read_serves_the_next(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	rig_reopen(rig);
	assert_int_equal(reads_of_a_write(rig, 0), 2);     /* its old block and the parity */
	assert_int_equal(reads_of_a_write(rig, CHUNK), 1); /* the parity is there */
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void part_of_a_block_is_laid_over_the_cached_one(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	uint8_t want[BLOCK_BYTES], got[BLOCK_BYTES];
	warm(rig);
	rig_fill_block(want, 3, 'o');
	memset(want + 100, 0x55, 50);
	uint64_t before = member_reads(rig);
	assert_int_equal(rig_write(rig, 3 * BLOCK_BYTES + 100, want + 100, 50), 0);
	assert_int_equal(member_reads(rig), before);
	assert_int_equal(rig_read(rig, 3 * BLOCK_BYTES, got, BLOCK_BYTES), 0);
	assert_memory_equal(got, want, BLOCK_BYTES);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void full_rows_do_not_fill_it(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	static uint8_t data[(MEMBERS - 1) * CHUNK * BLOCK_BYTES];
	warm(rig);
	assert_int_equal(rig_write(rig, 0, data, sizeof(data)), 0);
	assert_false(rig_reads(rig, 3, 'o'));
	assert_true(reads_of_a_write(rig, 3) > 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* ---- what is not believed ---- */

/* Without PI the parity keeps what the writer's memory said then, and the data what it said later:
 * who computes with the former in place of the latter would mend the row by accident. */
static void bytes_of_live_memory_are_read_back(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_NONE);
	warm(rig);
	assert_int_equal(script_write(rig, 3, 1, 0, "-ab"), 0);
	assert_true(reads_of_a_write(rig, 3) > 0);
	assert_int_equal(rig_scrub(rig, STRIPE_CHECK).parity_bad, 1);
	rig_free(rig);
}

static int mend_block(struct rig *rig, uint64_t volume_block)
{
	uint8_t block[BLOCK_BYTES];
	rig_fill_block(block, volume_block, 'n');
	struct rig_io *io =
		rig_io_new(rig, STRIPE_WRITE, volume_block * BLOCK_BYTES, BLOCK_BYTES, block);
	io->req.flags = STRIPE_MEND;
	rig_io_start(io);
	int err = rig_io_wait(io);
	rig_io_free(io);
	return err;
}

/* The parity is to be that of what the members hold. */
static void a_write_that_mends_believes_the_members_alone(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_NONE);
	warm(rig);
	rig_rot_data(rig, 0, 1, 3);
	assert_int_equal(mend_block(rig, 3), 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* Without PI data counts as right: the parity becomes that of the rotten block. */
static void a_repair_is_not_forgotten(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_NONE);
	warm(rig);
	rig_rot_data(rig, 0, 1, 3);
	assert_int_equal(rig_scrub(rig, STRIPE_REPAIR).rebuilt, 1);
	assert_int_equal(rig_write_block(rig, 3, 'n'), 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_look_forgets_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	warm(rig);
	assert_true(rig_is_clean(rig));
	assert_int_equal(reads_of_a_write(rig, 3), 0);
	rig_free(rig);
}

static void a_refused_write_leaves_nothing_behind(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig(RAID_RAID5, PI_T10, PI_CHECK_DEVICE);
	warm(rig);
	assert_int_equal(script_write(rig, 3, 1, 0, "aab"), -EILSEQ);
	assert_true(reads_of_a_write(rig, 3) > 0);
	assert_true(rig_reads(rig, 3, 'n'));
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

static void a_failed_write_leaves_nothing_behind(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < MEMBERS; slot += MEMBERS - 1) {
		struct rig *rig = raid5_rig(PI_T10);
		warm(rig);
		rig_arm(rig, SIM_WRITE_ERROR, 0, slot, 3, 1, 1);
		assert_int_equal(rig_write_block(rig, 3, 'x'), -EIO);
		assert_true(reads_of_a_write(rig, 3) > 0);
		assert_true(rig_reads(rig, 3, 'n'));
		assert_true(rig_is_clean(rig));
		rig_free(rig);
	}
}

/* What the member has taken and not made durable may be gone. */
static void after_a_flush_that_failed_all_is_forgotten(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	warm(rig);
	struct sim_fault fault = {
		.kind = SIM_FLUSH_ERROR, .name = rig_disk(1), .per_mille = 1000, .count = 1};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	assert_int_equal(rig_flush(rig), -EIO);
	assert_int_equal(cached_bytes(rig), 0);
	rig_free(rig);
}

static struct rig *failing_rig(enum pi_type pi)
{
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = MEMBERS,
		.chunk_blocks = CHUNK,
		.stripes = 5,
		.pi = pi,
		.members_fail = true,
		.cache_bytes = UINT64_C(1) << 20,
		.seed = SEED});
	script_fill_volume(rig);
	warm(rig);
	return rig;
}

static void with_a_member_missing_nothing_is_looked_for(void **unused)
{
	(void)unused;
	struct rig *rig = failing_rig(PI_T10);
	rig_fail_member(rig, geometry_member(&rig->geometry, 0, 1));
	assert_int_equal(cached_bytes(rig), 0);
	assert_true(reads_of_a_write(rig, 3) > 0);
	assert_int_equal(cached_bytes(rig), 0);
	assert_true(reads_of_a_write(rig, 3) > 0);
	rig_free(rig);
}

/* The row's parity is wrong when the member goes: what is rebuilt on its successor is not what the
 * member had. */
static void after_a_rebuild_the_new_member_is_read(void **unused)
{
	(void)unused;
	struct rig *rig = failing_rig(PI_NONE);
	unsigned index = geometry_member(&rig->geometry, 0, 1);
	rig_rot_data(rig, 0, MEMBERS - 1, 3);
	rig_fail_member(rig, index);
	rig_replace_member(rig, index);
	assert_int_equal(rig_write_block(rig, 2, 'n'), 0); /* before its rebuild */
	assert_int_equal(rig_rebuild(rig, index), 0);
	assert_int_equal(rig_write_block(rig, 3, 'n'), 0);
	assert_int_equal(rig_write_block(rig, 2, 'm'), 0);
	assert_true(rig_is_clean(rig));
	rig_free(rig);
}

/* Damage on the members is found by those who read them, whatever is cached. */
static void users_read_the_members(void **unused)
{
	(void)unused;
	struct rig *rig = raid5_rig(PI_T10);
	uint8_t block[BLOCK_BYTES];
	warm(rig);
	rig_rot_data(rig, 0, 0, 3);
	rig_rot_data(rig, 0, 1, 3);
	assert_int_equal(rig_read(rig, 3 * BLOCK_BYTES, block, BLOCK_BYTES), -EILSEQ);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_that_was_written_is_not_read_again),
		cmocka_unit_test(what_one_write_has_read_serves_the_next),
		cmocka_unit_test(part_of_a_block_is_laid_over_the_cached_one),
		cmocka_unit_test(full_rows_do_not_fill_it),
		cmocka_unit_test(bytes_of_live_memory_are_read_back),
		cmocka_unit_test(a_write_that_mends_believes_the_members_alone),
		cmocka_unit_test(a_repair_is_not_forgotten),
		cmocka_unit_test(a_look_forgets_nothing),
		cmocka_unit_test(a_refused_write_leaves_nothing_behind),
		cmocka_unit_test(a_failed_write_leaves_nothing_behind),
		cmocka_unit_test(after_a_flush_that_failed_all_is_forgotten),
		cmocka_unit_test(with_a_member_missing_nothing_is_looked_for),
		cmocka_unit_test(after_a_rebuild_the_new_member_is_read),
		cmocka_unit_test(users_read_the_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
