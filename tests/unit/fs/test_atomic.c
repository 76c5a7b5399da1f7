/* SPDX-License-Identifier: MIT */
/* Atomic writes, one by one. That they are whole at every power cut is for tests/sim/sweep_atomic.c
 * to show. */
#include "rig.h"

#include <linux/falloc.h>

#define FILE_BYTES 200000u

/* 0 or -errno. */
static int atomic_write(struct rig *rig, uint64_t ino, uint64_t at, const void *data, uint32_t len)
{
	struct rig_atomic w;
	rig_atomic_start(&w, rig->v, rig->fs, ino, at, data, len);
	volume_wait(rig->v, &w.waiter);
	assert_int_equal(w.io.done_bytes, w.waiter.err < 0 ? 0 : len);
	return w.waiter.err;
}

static void assert_bytes(struct rig *rig, uint64_t ino, uint64_t at, char value, uint32_t len)
{
	static char got[1u << 20];
	assert_int_equal(fs_read(rig->fs, ino, at, got, len), len);
	for (uint32_t i = 0; i < len; i++) {
		if (got[i] != value)
			fail_msg("byte %u is %02x, not %02x", (unsigned)(at + i), got[i], value);
	}
}

static const char *filled(char value)
{
	static char bytes[1u << 20];
	memset(bytes, value, sizeof(bytes));
	return bytes;
}

static uint64_t make_file(struct rig *rig, char value, uint32_t len)
{
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "file");
	assert_int_equal(fs_write(rig->fs, ino, 0, filled(value), len), len);
	assert_int_equal(fs_sync(rig->fs), 0);
	return ino;
}

static void what_is_no_power_of_two_at_its_multiple_is_refused_without_effect(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t at;
		uint32_t len;
	} bad[] = {{0, 0}, {0, 1}, {0, 256}, {0, 511}, {0, 513}, {0, 1536}, {0, 12288}, {0, 131072},
		{256, 512}, {512, 1024}, {4096, 8192}, {32768, 65536}, {1, 4096}};
	struct rig *rig = rig_new(0xA1, 16 * MIB, 8 * MIB);
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "file");
	uint64_t free = fs_stats(rig->fs).free_blocks;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			atomic_write(rig, ino, bad[i].at, filled('x'), bad[i].len), -EINVAL);
	assert_int_equal(rig_stat(rig, ino).st_size, 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	for (uint32_t len = FS_ATOMIC_MIN; len <= FS_ATOMIC_MAX; len *= 2)
		assert_int_equal(atomic_write(rig, ino, 3 * len, filled('x'), len), 0);
	rig_free(rig);
}

static void random_atomic(struct rig *rig, struct random *r, uint64_t ino, uint8_t *model)
{
	uint32_t len = FS_ATOMIC_MIN << random_below(r, 8);
	uint32_t at = random_below(r, FILE_BYTES / len) * len;
	random_fill(r, model + at, len);
	assert_int_equal(atomic_write(rig, ino, at, model + at, len), 0);
}

static void random_other(struct rig *rig, struct random *r, uint64_t ino, uint8_t *model)
{
	uint32_t at = random_below(r, FILE_BYTES - 30000), len = 1 + random_below(r, 30000);
	int mode = FALLOC_FL_KEEP_SIZE;
	switch (random_below(r, 5)) {
	case 0:
		random_fill(r, model + at, len);
		assert_int_equal(fs_write(rig->fs, ino, at, model + at, len), len);
		break;
	case 1:
		memset(model + at, 0, len);
		mode |= FALLOC_FL_PUNCH_HOLE;
		assert_int_equal(fs_fallocate(rig->fs, ino, mode, at, len), 0);
		break;
	case 2:
		assert_int_equal(fs_fallocate(rig->fs, ino, mode, at, len), 0);
		break;
	case 3:
		memset(model + at, 0, FILE_BYTES - at);
		assert_int_equal(rig_truncate(rig, ino, at), 0);
		assert_int_equal(rig_truncate(rig, ino, FILE_BYTES), 0);
		break;
	default:
		assert_int_equal(fs_fsync(rig->fs, ino, random_below(r, 2)), 0);
	}
}

static void among_all_that_changes_a_file_they_change_their_range_and_nothing_else(void **unused)
{
	(void)unused;
	static uint8_t model[FILE_BYTES], got[FILE_BYTES];
	struct random r = random_start(__func__, 0xA2);
	struct rig *rig = rig_new(random_u64(&r), 16 * MIB, 8 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "file");
	assert_int_equal(rig_truncate(rig, ino, FILE_BYTES), 0);
	for (unsigned i = 0; i < 600; i++) {
		if (random_below(&r, 3))
			random_atomic(rig, &r, ino, model);
		else
			random_other(rig, &r, ino, model);
		if (i % 100 == 99)
			rig_remount(rig);
		assert_int_equal(fs_read(rig->fs, ino, 0, got, FILE_BYTES), FILE_BYTES);
		assert_memory_equal(got, model, FILE_BYTES);
	}
	assert_int_equal(fs_sync(rig->fs), 0);
	uint64_t blocks = (uint64_t)rig_stat(rig, ino).st_blocks / 8;
	assert_int_equal(fs_stats(rig->fs).free_blocks, free - blocks);
	rig_free(rig);
}

static void the_old_bytes_are_there_until_the_commit_and_the_new_ones_from_then_on(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA3, 16 * MIB, 8 * MIB);
	uint64_t ino = make_file(rig, 'o', 65536);
	uint64_t commits = fs_stats(rig->fs).commits;
	assert_int_equal(atomic_write(rig, ino, 4096, filled('n'), 4096), 0);
	assert_int_equal(atomic_write(rig, ino, 512, filled('n'), 512), 0);
	assert_int_equal(volume_flush(rig->v), 0);
	assert_bytes(rig, ino, 512, 'n', 512);
	assert_bytes(rig, ino, 4096, 'n', 4096);
	rig_crash(rig);
	assert_bytes(rig, ino, 0, 'o', 65536);
	assert_int_equal(atomic_write(rig, ino, 512, filled('n'), 512), 0);
	assert_int_equal(fs_fsync(rig->fs, ino, true), 0);
	assert_true(fs_stats(rig->fs).commits <= commits);
	rig_crash(rig);
	assert_bytes(rig, ino, 0, 'o', 512);
	assert_bytes(rig, ino, 512, 'n', 512);
	assert_bytes(rig, ino, 1024, 'o', 65536 - 1024);
	rig_free(rig);
}

static void bytes_behind_a_shorter_end_do_not_come_back_in_the_copied_block(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA4, 16 * MIB, 8 * MIB);
	uint64_t ino = make_file(rig, 'o', 4096);
	assert_int_equal(rig_truncate(rig, ino, 1000), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(atomic_write(rig, ino, 1024, filled('n'), 512), 0);
	assert_int_equal(rig_truncate(rig, ino, 4096), 0);
	assert_bytes(rig, ino, 0, 'o', 1000);
	assert_bytes(rig, ino, 1000, 0, 24);
	assert_bytes(rig, ino, 1024, 'n', 512);
	assert_bytes(rig, ino, 1536, 0, 4096 - 1536);
	/* From inside the file over its end. */
	assert_int_equal(fs_write(rig->fs, ino, 0, filled('o'), 4096), 4096);
	assert_int_equal(rig_truncate(rig, ino, 1000), 0);
	assert_int_equal(atomic_write(rig, ino, 512, filled('n'), 512), 0);
	assert_int_equal(rig_truncate(rig, ino, 4096), 0);
	assert_bytes(rig, ino, 512, 'n', 512);
	assert_bytes(rig, ino, 1024, 0, 4096 - 1024);
	rig_free(rig);
}

static void in_a_preallocated_file_a_lost_one_leaves_zeros(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA5, 16 * MIB, 8 * MIB);
	uint64_t ino = make_file(rig, 'o', 4096);
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 4096, 61440), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 16384), 0);
	assert_int_equal(volume_flush(rig->v), 0);
	rig_crash(rig);
	assert_bytes(rig, ino, 0, 'o', 4096);
	assert_bytes(rig, ino, 4096, 0, 61440);
	assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 16384), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_crash(rig);
	assert_bytes(rig, ino, 0, 'n', 16384);
	assert_bytes(rig, ino, 16384, 0, 49152);
	rig_free(rig);
}

/* Fill the volume but for @left blocks. */
static uint64_t fill(struct rig *rig, uint64_t left)
{
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "filler"), at = 0;
	while (fs_stats(rig->fs).free_blocks > left) {
		uint64_t blocks = fs_stats(rig->fs).free_blocks - left;
		uint32_t len = (uint32_t)(blocks < 256 ? blocks : 256) * 4096;
		assert_int_equal(fs_write(rig->fs, ino, at, filled('f'), len), len);
		at += len;
	}
	assert_int_equal(fs_sync(rig->fs), 0);
	return ino;
}

static void without_space_nothing_changes_and_the_rest_goes_on(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA6, 16 * MIB, 8 * MIB);
	uint64_t ino = make_file(rig, 'o', 65536), filler = fill(rig, 3);
	assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 16384), -ENOSPC);
	assert_int_equal(atomic_write(rig, ino, 65536, filled('n'), 32768), -ENOSPC);
	assert_int_equal(rig_stat(rig, ino).st_size, 65536);
	assert_bytes(rig, ino, 0, 'o', 65536);
	assert_int_equal(fs_stats(rig->fs).free_blocks, 3);
	assert_int_equal(fs_write(rig->fs, ino, 0, filled('p'), 16384), 16384);
	assert_int_equal(rig_truncate(rig, filler, 4096), 0);
	assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 16384), 0);
	rig_remount(rig);
	assert_bytes(rig, ino, 0, 'n', 16384);
	rig_free(rig);
}

static void space_that_was_replaced_is_had_again_as_soon_as_it_is_needed(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA7, 16 * MIB, 8 * MIB);
	uint64_t ino = make_file(rig, 'o', 65536);
	fill(rig, 16);
	for (char value = 'a'; value <= 'z'; value++) {
		struct statvfs st;
		assert_int_equal(atomic_write(rig, ino, 0, filled(value), 65536), 0);
		assert_int_equal(fs_statfs(rig->fs, &st), 0);
		assert_int_equal(st.f_bfree, 16);
	}
	assert_bytes(rig, ino, 0, 'z', 65536);
	rig_free(rig);
}

static void what_is_cut_off_or_removed_takes_what_was_replaced_with_it(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA8, 16 * MIB, 8 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	for (unsigned way = 0; way < 3; way++) {
		uint64_t ino = make_file(rig, 'o', 65536);
		assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 32768), 0);
		assert_int_equal(atomic_write(rig, ino, 512, filled('m'), 512), 0);
		if (way == 1)
			assert_int_equal(rig_truncate(rig, ino, 600), 0);
		if (way == 2)
			assert_int_equal(
				fs_fallocate(rig->fs, ino,
					FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 16384),
				0);
		if (way > 0) {
			assert_int_equal(fs_sync(rig->fs), 0);
			uint64_t blocks = (uint64_t)rig_stat(rig, ino).st_blocks / 8;
			assert_int_equal(fs_stats(rig->fs).free_blocks, free - blocks);
		}
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "file"), 0);
		fs_forget(rig->fs, ino, 1);
		assert_int_equal(fs_sync(rig->fs), 0);
		assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	}
	rig_free(rig);
}

static void one_that_fails_leaves_the_old_bytes_and_no_block_behind(void **unused)
{
	(void)unused;
	static const enum sim_fault_kind kinds[] = {SIM_WRITE_ERROR, SIM_READ_ERROR};
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig =
			rig_new_with(0xA9, (struct volume_create_options){.level = RAID_SINGLE,
						   .members = 1,
						   .size_bytes = 16 * MIB,
						   .chunk_bytes = 65536,
						   .pi = PI_T10,
						   .system_bytes = 8 * MIB});
		rig_mount(rig);
		uint64_t ino = make_file(rig, 'o', 8192), free = fs_stats(rig->fs).free_blocks;
		const struct super *super = volume_super(rig->v);
		struct sim_fault fault = {.kind = kinds[i],
			.offset_bytes = super->data.offset_bytes,
			.len_bytes = super->data.len_bytes,
			.per_mille = 1000};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
		assert_true(atomic_write(rig, ino, 512, filled('n'), 512) < 0);
		sim_world_disarm_all(rig->world);
		assert_bytes(rig, ino, 0, 'o', 8192);
		assert_int_equal(fs_sync(rig->fs), 0);
		assert_int_equal(fs_stats(rig->fs).free_blocks, free);
		assert_int_equal(atomic_write(rig, ino, 512, filled('n'), 512), 0);
		assert_bytes(rig, ino, 512, 'n', 512);
		rig_free(rig);
	}
}

/* ---- side by side ---- */

#define MANY 24u

/* All overlap in the block [4096, 8192): they take effect in the order of their coming. */
static void those_that_overlap_take_effect_one_behind_the_other(void **unused)
{
	(void)unused;
	static char data[MANY][8192], got[8192];
	struct random r = random_start(__func__, 0xAA);
	for (unsigned round = 0; round < 20; round++) {
		struct rig *rig = rig_new(random_u64(&r), 16 * MIB, 8 * MIB);
		uint64_t ino = make_file(rig, 'o', 8192);
		struct rig_atomic w[MANY];
		char model[8192];
		memset(model, 'o', sizeof(model));
		for (unsigned i = 0; i < MANY; i++) {
			uint32_t len = 512u << random_below(&r, 5);
			uint32_t at = random_below(&r, 8192 / len) * len;
			memset(data[i], 'A' + (int)i, len);
			memset(model + at, 'A' + (int)i, len);
			rig_atomic_start(&w[i], rig->v, rig->fs, ino, at, data[i], len);
			for (unsigned n = random_below(&r, 4); n > 0; n--)
				stripe_engine_run(volume_engine(rig->v), false);
		}
		/* A read that comes now waits for all of them. */
		assert_int_equal(fs_read(rig->fs, ino, 0, got, 8192), 8192);
		assert_memory_equal(got, model, 8192);
		for (unsigned i = 0; i < MANY; i++) {
			volume_wait(rig->v, &w[i].waiter);
			assert_int_equal(w[i].waiter.err, 0);
		}
		rig_remount(rig);
		assert_int_equal(fs_read(rig->fs, ino, 0, got, 8192), 8192);
		assert_memory_equal(got, model, 8192);
		rig_free(rig);
	}
}

/* ---- a commit that the log does not hold ---- */

#define FILES 460u

/* Many files with long names, before the one that matters. */
static void crowd(struct rig *rig)
{
	char name[FS_NAME_MAX + 1];
	memset(name, 'n', sizeof(name));
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name + 200, 20, "%u", i * 7919 % FILES);
		uint64_t ino = rig_create(rig, FS_ROOT_INO, name);
		assert_int_equal(fs_write(rig->fs, ino, 0, "x", 1), 1);
		fs_forget(rig->fs, ino, 1);
	}
}

static void a_commit_in_several_transactions_has_each_of_them_in_one(void **unused)
{
	(void)unused;
	unsigned olds = 0, news = 0;
	for (uint64_t cut = 0; cut < 200; cut++) {
		struct rig *rig = rig_new(0xAB, 16 * MIB, 2 * MIB);
		uint64_t ino = make_file(rig, 'o', 6000);
		crowd(rig);
		assert_int_equal(atomic_write(rig, ino, 0, filled('n'), 16384), 0);
		sim_world_cut_power_after(rig->world, cut);
		bool was_cut = fs_sync(rig->fs) < 0;
		rig_crash(rig);
		uint64_t size = (uint64_t)rig_stat(rig, ino).st_size;
		assert_true(size == 16384 || (size == 6000 && was_cut));
		assert_bytes(rig, ino, 0, size == 6000 ? 'o' : 'n', (uint32_t)size);
		olds += size == 6000;
		news += size == 16384;
		rig_free(rig);
		if (!was_cut)
			break;
	}
	print_message("%u cuts: %u old, %u new\n", olds + news, olds, news);
	assert_true(olds > 1 && news > 0 && olds + news > 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_power_of_two_at_its_multiple_is_refused_without_effect),
		cmocka_unit_test(
			among_all_that_changes_a_file_they_change_their_range_and_nothing_else),
		cmocka_unit_test(
			the_old_bytes_are_there_until_the_commit_and_the_new_ones_from_then_on),
		cmocka_unit_test(bytes_behind_a_shorter_end_do_not_come_back_in_the_copied_block),
		cmocka_unit_test(in_a_preallocated_file_a_lost_one_leaves_zeros),
		cmocka_unit_test(without_space_nothing_changes_and_the_rest_goes_on),
		cmocka_unit_test(space_that_was_replaced_is_had_again_as_soon_as_it_is_needed),
		cmocka_unit_test(what_is_cut_off_or_removed_takes_what_was_replaced_with_it),
		cmocka_unit_test(one_that_fails_leaves_the_old_bytes_and_no_block_behind),
		cmocka_unit_test(those_that_overlap_take_effect_one_behind_the_other),
		cmocka_unit_test(a_commit_in_several_transactions_has_each_of_them_in_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
