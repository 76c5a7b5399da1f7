/* SPDX-License-Identifier: MIT */
#include "fs/times.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "rig.h"

#define SEED UINT64_C(18)
#define S    INT64_C(1000000000)
#define HOUR (3600 * S)

/* ---- values ---- */

static void a_time_comes_back_as_it_was(void **unused)
{
	(void)unused;
	static const struct timespec all[] = {{0, 0}, {0, 999999999}, {1, 1}, {-1, 999999999},
		{-1, 0}, {1700000000, 123456789}, {-9000000000, 1}, {9000000000, 999999999}};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct timespec back = times_to(times_from(all[i]));
		assert_int_equal(back.tv_sec, all[i].tv_sec);
		assert_int_equal(back.tv_nsec, all[i].tv_nsec);
	}
}

static void times_out_of_range_become_the_first_or_last_one(void **unused)
{
	(void)unused;
	assert_int_equal(times_from((struct timespec){INT64_MAX, 999999999}), INT64_MAX);
	assert_int_equal(times_from((struct timespec){9223372037, 0}), INT64_MAX);
	assert_int_equal(times_from((struct timespec){9223372036, 854775808}), INT64_MAX);
	assert_int_equal(times_from((struct timespec){9223372036, 854775807}), INT64_MAX);
	assert_int_equal(times_from((struct timespec){-9223372038, 0}), INT64_MIN);
	assert_int_equal(times_from((struct timespec){INT64_MIN, 0}), INT64_MIN);
	assert_int_equal(times_to(INT64_MIN).tv_nsec, 145224192);
	assert_int_equal(times_to(INT64_MAX).tv_sec, 9223372036);
}

static bool due(enum fs_atime rule, int64_t a, int64_t m, int64_t c, int64_t now)
{
	struct times t = {.atime = a, .mtime = m, .ctime = c};
	return times_atime_is_due(rule, &t, now);
}

static void relatime_wants_an_atime_younger_than_both_others(void **unused)
{
	(void)unused;
	assert_true(due(FS_ATIME_RELATIVE, 5 * S, 5 * S, 4 * S, 9 * S));
	assert_true(due(FS_ATIME_RELATIVE, 5 * S, 4 * S, 5 * S, 9 * S));
	assert_true(due(FS_ATIME_RELATIVE, 5 * S, 4 * S, 6 * S, 9 * S));
	assert_false(due(FS_ATIME_RELATIVE, 5 * S, 4 * S, 4 * S, 9 * S));
}

static void relatime_wants_one_a_day(void **unused)
{
	(void)unused;
	assert_false(due(FS_ATIME_RELATIVE, S, 0, 0, S + 24 * HOUR - 1));
	assert_true(due(FS_ATIME_RELATIVE, S, 0, 0, S + 24 * HOUR));
	assert_false(due(FS_ATIME_RELATIVE, 90 * HOUR, 0, 0, 0));
	assert_true(due(FS_ATIME_RELATIVE, INT64_MIN + 1, INT64_MIN, INT64_MIN, INT64_MAX));
	assert_false(due(FS_ATIME_RELATIVE, INT64_MAX, 0, 0, INT64_MIN));
}

static void strictatime_moves_it_always_and_noatime_never(void **unused)
{
	(void)unused;
	assert_true(due(FS_ATIME_STRICT, 5 * S, 4 * S, 4 * S, 9 * S));
	assert_false(due(FS_ATIME_STRICT, 9 * S, 4 * S, 4 * S, 9 * S));
	assert_false(due(FS_ATIME_NEVER, 5 * S, 5 * S, 5 * S, 90 * HOUR));
}

/* ---- in a file system ---- */

static struct stat stat_of(struct rig *rig, uint64_t ino)
{
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, ino, &st), 0);
	return st;
}

static int64_t atime_of(struct rig *rig, uint64_t ino)
{
	return times_from(stat_of(rig, ino).st_atim);
}

/* Old, the others older, but for the ctime where it is to be due. */
static void age(struct rig *rig, uint64_t ino, int64_t atime, int64_t ctime)
{
	struct stat st = {.st_atim = times_to(atime), .st_ctim = times_to(ctime)};
	unsigned set = FS_SET_ATIME | FS_SET_MTIME | FS_SET_CTIME;
	assert_int_equal(fs_setattr(rig->fs, ino, set, &st, &st), 0);
}

static uint64_t file_with_text(struct rig *rig)
{
	struct stat st;
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, "f", S_IFREG | 0644, 0, &rig_owner, &st), 0);
	assert_int_equal(fs_write(rig->fs, st.st_ino, 0, "text", 4), 4);
	return st.st_ino;
}

static void read_text(struct rig *rig, uint64_t ino)
{
	char text[4];
	assert_int_equal(fs_read(rig->fs, ino, 0, text, 4), 4);
}

static void a_read_moves_an_atime_that_is_due(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	uint64_t ino = file_with_text(rig);
	age(rig, ino, 5 * S, 5 * S);
	read_text(rig, ino);
	int64_t moved = atime_of(rig, ino);
	assert_true(moved > 5 * S);
	rig_remount(rig);
	assert_int_equal(atime_of(rig, ino), moved);
	rig_free(rig);
}

static void by_noatime_and_on_a_read_only_mount_it_stays(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	const struct fs_atime_options never = {.rule = FS_ATIME_NEVER};
	uint64_t ino = file_with_text(rig);
	age(rig, ino, 5 * S, 5 * S);
	fs_set_atime(rig->fs, &never);
	read_text(rig, ino);
	assert_int_equal(atime_of(rig, ino), 5 * S);
	assert_int_equal(rig_unmount(rig), 0);
	assert_int_equal(rig_try_mount(rig, true), 0);
	read_text(rig, ino);
	assert_int_equal(atime_of(rig, ino), 5 * S);
	rig_free(rig);
}

static bool nothing(void *ctx, const struct fs_dirent *entry)
{
	(void)ctx, (void)entry;
	return true;
}

static void listing_and_readlink_move_it_too(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	struct stat st;
	char target[16];
	assert_int_equal(fs_symlink(rig->fs, FS_ROOT_INO, "l", "target", &rig_owner, &st), 0);
	age(rig, st.st_ino, 5 * S, 5 * S);
	assert_int_equal(fs_readlink(rig->fs, st.st_ino, target, sizeof(target)), 0);
	assert_true(atime_of(rig, st.st_ino) > 5 * S);
	age(rig, FS_ROOT_INO, 5 * S, 5 * S);
	const struct fs_atime_options files_only = {.no_directories = true};
	fs_set_atime(rig->fs, &files_only);
	assert_int_equal(fs_readdir(rig->fs, FS_ROOT_INO, 0, nothing, NULL), 0);
	assert_int_equal(atime_of(rig, FS_ROOT_INO), 5 * S);
	fs_set_atime(rig->fs, &(struct fs_atime_options){0});
	assert_int_equal(fs_readdir(rig->fs, FS_ROOT_INO, 0, nothing, NULL), 0);
	assert_true(atime_of(rig, FS_ROOT_INO) > 5 * S);
	rig_free(rig);
}

static void a_lazy_atime_is_there_after_a_sync(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	const struct fs_atime_options lazy = {.lazy = true};
	uint64_t ino = file_with_text(rig);
	age(rig, ino, 5 * S, 5 * S);
	assert_int_equal(fs_sync(rig->fs), 0);
	fs_set_atime(rig->fs, &lazy);
	read_text(rig, ino);
	int64_t moved = atime_of(rig, ino);
	assert_true(moved > 5 * S);
	assert_int_equal(fs_fsync(rig->fs, ino, false), 0);
	rig_crash(rig);
	assert_int_equal(atime_of(rig, ino), moved);
	rig_free(rig);
}

static void a_first_open_has_nothing_cached(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 16 * MIB, 8 * MIB);
	uint64_t ino = file_with_text(rig);
	age(rig, ino, 5 * S, 5 * S);
	assert_false(fs_cache_hides_read(rig->fs, ino, true));
	assert_true(fs_cache_hides_read(rig->fs, ino, true));
	assert_false(fs_cache_hides_read(rig->fs, ino, false));
	read_text(rig, ino);
	assert_false(fs_cache_hides_read(rig->fs, ino, true));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_comes_back_as_it_was),
		cmocka_unit_test(times_out_of_range_become_the_first_or_last_one),
		cmocka_unit_test(relatime_wants_an_atime_younger_than_both_others),
		cmocka_unit_test(relatime_wants_one_a_day),
		cmocka_unit_test(strictatime_moves_it_always_and_noatime_never),
		cmocka_unit_test(a_read_moves_an_atime_that_is_due),
		cmocka_unit_test(by_noatime_and_on_a_read_only_mount_it_stays),
		cmocka_unit_test(listing_and_readlink_move_it_too),
		cmocka_unit_test(a_lazy_atime_is_there_after_a_sync),
		cmocka_unit_test(a_first_open_has_nothing_cached),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
