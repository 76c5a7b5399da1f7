/* SPDX-License-Identifier: MIT */
/* Becoming read-only and writable again: what is durable then, and what is refused. */
#include "rig.h"

#define SEED 0x60601

static char data[20000];

static void reads_data(struct rig *rig, const char *path)
{
	char buf[sizeof(data)];
	uint64_t ino;
	assert_int_equal(fs_resolve(rig->fs, path, &ino), 0);
	assert_int_equal(fs_read(rig->fs, ino, 0, buf, sizeof(buf)), sizeof(buf));
	assert_memory_equal(buf, data, sizeof(buf));
}

static uint64_t write_data(struct rig *rig, const char *name)
{
	uint64_t ino = rig_create(rig, FS_ROOT_INO, name);
	assert_int_equal(fs_write(rig->fs, ino, 0, data, sizeof(data)), sizeof(data));
	return ino;
}

static void what_was_done_is_durable_when_it_has_become_read_only(void **unused)
{
	(void)unused;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct rig *rig = rig_new(SEED + seed, 32 * MIB, 8 * MIB);
		write_data(rig, "file");
		rig_mkdir(rig, FS_ROOT_INO, "dir");
		assert_int_equal(fs_set_read_only(rig->fs, true), 0);
		rig_crash(rig);
		reads_data(rig, "/file");
		uint64_t dir;
		assert_int_equal(fs_resolve(rig->fs, "/dir", &dir), 0);
		rig_free(rig);
	}
}

static void every_change_is_refused_then(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 32 * MIB, 8 * MIB);
	uint64_t ino = write_data(rig, "file");
	struct stat st, before, values = {.st_mode = 0600};
	assert_false(fs_is_read_only(rig->fs));
	assert_int_equal(fs_set_read_only(rig->fs, true), 0);
	assert_int_equal(fs_set_read_only(rig->fs, true), 0);
	assert_true(fs_is_read_only(rig->fs));
	assert_int_equal(fs_getattr(rig->fs, ino, &before), 0);
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, "n", S_IFREG | 0600, 0, &rig_owner, &st), -EROFS);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "file"), -EROFS);
	assert_int_equal(fs_rename(rig->fs, FS_ROOT_INO, "file", FS_ROOT_INO, "g", 0), -EROFS);
	assert_int_equal(fs_setattr(rig->fs, ino, FS_SET_MODE, &values, &st), -EROFS);
	assert_int_equal(fs_setxattr(rig->fs, ino, "user.x", "y", 1, 0), -EROFS);
	assert_int_equal(fs_write(rig->fs, ino, 0, "x", 1), -EROFS);
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 0, 1 << 20), -EROFS);
	reads_data(rig, "/file");
	assert_int_equal(fs_getattr(rig->fs, ino, &st), 0);
	assert_memory_equal(&st, &before, sizeof(st));
	assert_int_equal(rig_unmount(rig), 0);
	rig_free(rig);
}

static void writable_again_it_goes_on(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 32 * MIB, 8 * MIB);
	for (unsigned i = 0; i < 4; i++) {
		char name[] = "/file-0";
		name[6] = (char)('0' + i);
		assert_int_equal(fs_set_read_only(rig->fs, false), 0);
		write_data(rig, name + 1);
		assert_int_equal(fs_set_read_only(rig->fs, true), 0);
		reads_data(rig, name);
	}
	assert_int_equal(fs_set_read_only(rig->fs, false), 0);
	write_data(rig, "last");
	assert_int_equal(fs_sync(rig->fs), 0);
	rig_crash(rig);
	reads_data(rig, "/file-0");
	reads_data(rig, "/file-3");
	reads_data(rig, "/last");
	rig_free(rig);
}

/* On a volume that is open for writing. */
static void mount_files_read_only(struct rig *rig)
{
	struct volume_open_options vo = {
		.factory = &rig->factory, .paths = rig_names, .count = rig->create.members};
	struct fs_options fo = {.read_only = true};
	assert_int_equal(volume_open(&vo, &rig->v, &rig->why), 0);
	assert_int_equal(fs_open(rig->v, &fo, &rig->fs, &rig->why), 0);
}

static void what_an_earlier_mount_left_goes_when_this_one_becomes_writable(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 32 * MIB, 8 * MIB);
	uint64_t ino = write_data(rig, "file");
	struct statvfs with, without;
	assert_int_equal(fs_file_open(rig->fs, ino), 0);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "file"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_unmount(rig);
	sim_world_reboot(rig->world);
	mount_files_read_only(rig);
	assert_int_equal(fs_statfs(rig->fs, &with), 0);
	assert_true(with.f_flag & ST_RDONLY);
	assert_int_equal(fs_set_read_only(rig->fs, false), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_statfs(rig->fs, &without), 0);
	assert_false(without.f_flag & ST_RDONLY);
	assert_true(without.f_bfree > with.f_bfree);
	assert_int_equal(rig_unmount(rig), 0);
	rig_free(rig);
}

static void a_volume_that_is_only_read_stays_so(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 32 * MIB, 8 * MIB);
	assert_int_equal(rig_unmount(rig), 0);
	assert_int_equal(rig_try_mount(rig, true), 0);
	assert_int_equal(fs_set_read_only(rig->fs, false), -EROFS);
	assert_true(fs_is_read_only(rig->fs));
	assert_int_equal(rig_unmount(rig), 0);
	rig_free(rig);
}

static void where_the_commit_fails_the_error_is_told(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(SEED, 32 * MIB, 8 * MIB);
	write_data(rig, "file");
	sim_world_cut_power_after(rig->world, 0);
	assert_true(fs_set_read_only(rig->fs, true) < 0);
	struct stat st;
	assert_true(fs_mknod(rig->fs, FS_ROOT_INO, "n", S_IFREG | 0600, 0, &rig_owner, &st) < 0);
	(void)rig_unmount(rig);
	rig_free(rig);
}

int main(void)
{
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 + i / 251);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_done_is_durable_when_it_has_become_read_only),
		cmocka_unit_test(every_change_is_refused_then),
		cmocka_unit_test(writable_again_it_goes_on),
		cmocka_unit_test(what_an_earlier_mount_left_goes_when_this_one_becomes_writable),
		cmocka_unit_test(a_volume_that_is_only_read_stays_so),
		cmocka_unit_test(where_the_commit_fails_the_error_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
