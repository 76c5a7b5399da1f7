/* SPDX-License-Identifier: MIT */
/* What stays true of an inode: its number, which leads to it and to no other; its birth time. */
#include "check_rig.h"

#include "base/clock.h"

#define SEED UINT64_C(0x1D0)

static struct rig *new_rig(void)
{
	return rig_new(SEED, 16 * MIB, 8 * MIB);
}

/* -errno of a lookup by number alone, which asks for @ino. */
static int by_number(struct rig *rig, uint64_t ino)
{
	return rig_lookup(rig, ino, ".", ino);
}

/* ---- numbers ---- */

static void a_number_is_not_given_out_again_after_a_mount(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t last = 0;
	for (unsigned round = 0; round < 5; round++) {
		uint64_t ino = rig_create(rig, FS_ROOT_INO, "f");
		assert_true(ino > last);
		last = ino;
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "f"), 0);
		fs_forget(rig->fs, ino, 1);
		assert_int_equal(fs_sync(rig->fs), 0);
		rig_remount(rig);
		assert_int_equal(by_number(rig, ino), -ENOENT);
	}
	assert_true(last < 10); /* nor are any thrown away by a clean end */
	rig_free(rig);
}

/* Whatever the crash takes: a handle of a file that is lost leads to no other. */
static void a_number_that_was_given_out_before_a_crash_is_not_given_out_again(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t last = 0;
	for (unsigned round = 0; round < 10; round++) {
		bool synced = round % 3 == 0;
		uint64_t ino = rig_create(rig, FS_ROOT_INO, "f");
		assert_true(ino > last);
		last = ino;
		if (synced)
			assert_int_equal(fs_sync(rig->fs), 0);
		rig_crash(rig);
		assert_int_equal(by_number(rig, ino), synced ? 0 : -ENOENT);
		if (synced)
			assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "f"), 0);
	}
	rig_free(rig);
}

static void a_mount_that_makes_nothing_writes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "f");
	rig_remount(rig);
	uint64_t commits = fs_stats(rig->fs).commits;
	assert_int_equal(by_number(rig, ino), 0);
	assert_int_equal(fs_stats(rig->fs).commits, commits);
	rig_free(rig);
}

static void inodes_have_generations_that_stay_and_that_no_other_file_system_has(void **unused)
{
	(void)unused;
	struct rig *one = new_rig(), *other = new_rig();
	uint32_t generation = fs_generation(one->fs, 5);
	assert_int_not_equal(generation, 0);
	assert_int_not_equal(generation, fs_generation(one->fs, 6));
	assert_int_not_equal(generation, fs_generation(other->fs, 5));
	rig_crash(one);
	assert_int_equal(fs_generation(one->fs, 5), generation);
	rig_free(one);
	rig_free(other);
}

/* ---- numbers that nobody can have given out ---- */

static void a_volume_whose_numbers_cannot_be_is_not_mounted_and_says_why(void **unused)
{
	(void)unused;
	static const char *const values[] = {"9223372036854775807", "4611686018427387906",
		"4611686018427387900", "1152921504606846985"};
	struct check_rig *k = check_rig_new();
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char sql[128];
		snprintf(sql, sizeof(sql), "UPDATE meta SET value = %s WHERE key = 'next_ino'",
			values[i]);
		check_rig_sql(k, sql);
		assert_int_equal(rig_try_mount(k->rig, false), -EUCLEAN);
		assert_non_null(strstr(k->rig->why.text, values[i]));
	}
	/* One less is a number that might be, if hardly. */
	check_rig_sql(k, "UPDATE meta SET value = 1152921504606846984 WHERE key = 'next_ino'");
	rig_mount(k->rig);
	check_rig_free(k);
}

static void the_last_numbers_are_given_out_and_then_there_is_no_room(void **unused)
{
	(void)unused;
	const uint64_t last = UINT64_C(1) << 62;
	struct check_rig *k = check_rig_new();
	struct stat st;
	check_rig_sql(k, "UPDATE inode SET ino = 4611686018427387902 WHERE ino = 7;"
			 "UPDATE dirent SET ino = 4611686018427387902 WHERE ino = 7;"
			 "UPDATE meta SET value = 4611686018427387903 WHERE key = 'next_ino'");
	rig_mount(k->rig);
	assert_int_equal(rig_create(k->rig, FS_ROOT_INO, "a"), last - 1);
	assert_int_equal(rig_create(k->rig, FS_ROOT_INO, "b"), last);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(
			fs_mknod(k->rig->fs, FS_ROOT_INO, "c", S_IFREG, 0, &rig_owner, &st),
			-ENOSPC);
		rig_remount(k->rig);
	}
	assert_int_equal(rig_lookup(k->rig, FS_ROOT_INO, "b", last), 0);
	assert_int_equal(fs_unlink(k->rig->fs, FS_ROOT_INO, "b"), 0);
	assert_int_equal(rig_unmount(k->rig), 0);
	check_rig_run(k, false);
	assert_string_equal(k->text, "");
	check_rig_free(k);
}

/* ---- by number ---- */

static void an_inode_of_any_type_is_found_by_its_number_as_long_as_it_has_a_name(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct stat st;
	uint64_t dir = rig_mkdir(rig, FS_ROOT_INO, "d"), file = rig_create(rig, dir, "f");
	assert_int_equal(fs_symlink(rig->fs, dir, "l", "x", &rig_owner, &st), 0);
	uint64_t link = st.st_ino;
	rig_remount(rig);
	assert_int_equal(by_number(rig, FS_ROOT_INO), 0);
	assert_int_equal(by_number(rig, dir), 0);
	assert_int_equal(by_number(rig, file), 0);
	assert_int_equal(by_number(rig, link), 0);
	assert_int_equal(fs_file_open(rig->fs, file), 0);
	assert_int_equal(fs_unlink(rig->fs, dir, "f"), 0);
	assert_int_equal(by_number(rig, file), -ENOENT);
	fs_file_release(rig->fs, file);
	assert_int_equal(by_number(rig, file), -ENOENT);
	rig_free(rig);
}

static void dot_dot_leads_up_also_after_a_move(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	uint64_t a = rig_mkdir(rig, FS_ROOT_INO, "a"), b = rig_mkdir(rig, FS_ROOT_INO, "b");
	uint64_t sub = rig_mkdir(rig, a, "sub"), file = rig_create(rig, a, "f");
	rig_remount(rig);
	assert_int_equal(rig_lookup(rig, sub, "..", a), 0);
	assert_int_equal(fs_rename(rig->fs, a, "sub", b, "sub", 0), 0);
	rig_remount(rig);
	assert_int_equal(rig_lookup(rig, sub, "..", b), 0);
	assert_int_equal(rig_lookup(rig, b, "..", FS_ROOT_INO), 0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "..", FS_ROOT_INO), 0);
	assert_int_equal(rig_lookup(rig, file, "..", 0), -ENOTDIR);
	rig_free(rig);
}

/* ---- birth ---- */

static void the_birth_time_is_when_it_was_made_whatever_happens_later(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct timespec born, now;
	struct stat st = {.st_mtim = {1, 2}, .st_atim = {3, 4}, .st_mode = 0600};
	uint64_t before = clock_read_ns(CLOCK_REALTIME_COARSE);
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "f");
	assert_int_equal(fs_birth_time(rig->fs, ino, &born), 0);
	uint64_t ns = (uint64_t)born.tv_sec * NS_PER_S + (uint64_t)born.tv_nsec;
	assert_in_range(ns, before, clock_read_ns(CLOCK_REALTIME_COARSE));
	assert_int_equal(
		fs_setattr(rig->fs, ino, FS_SET_MODE | FS_SET_MTIME | FS_SET_ATIME, &st, &st), 0);
	assert_int_equal(fs_write(rig->fs, ino, 0, "hello", 5), 5);
	assert_int_equal(fs_rename(rig->fs, FS_ROOT_INO, "f", FS_ROOT_INO, "g", 0), 0);
	rig_remount(rig);
	assert_int_equal(fs_birth_time(rig->fs, ino, &now), 0);
	assert_memory_equal(&now, &born, sizeof(now));
	assert_int_equal(fs_birth_time(rig->fs, 12345, &now), -ENOENT);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_not_given_out_again_after_a_mount),
		cmocka_unit_test(a_number_that_was_given_out_before_a_crash_is_not_given_out_again),
		cmocka_unit_test(a_mount_that_makes_nothing_writes_nothing),
		cmocka_unit_test(
			inodes_have_generations_that_stay_and_that_no_other_file_system_has),
		cmocka_unit_test(a_volume_whose_numbers_cannot_be_is_not_mounted_and_says_why),
		cmocka_unit_test(the_last_numbers_are_given_out_and_then_there_is_no_room),
		cmocka_unit_test(
			an_inode_of_any_type_is_found_by_its_number_as_long_as_it_has_a_name),
		cmocka_unit_test(dot_dot_leads_up_also_after_a_move),
		cmocka_unit_test(the_birth_time_is_when_it_was_made_whatever_happens_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
