/* SPDX-License-Identifier: MIT */
/* How much fits: many files, a full database, a small log. */
#include "rig.h"

/* As a user makes it: 1 GiB of data, 64 MiB for the database. */
static void fifty_thousand_files_of_a_block_fit_into_a_gibibyte(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new_with(0x50000, (struct volume_create_options){.level = RAID_SINGLE,
							.members = 1,
							.size_bytes = 1024 * MIB,
							.chunk_bytes = 65536,
							.pi = PI_NONE,
							.system_bytes = 64 * MIB});
	rig_mount(rig);
	uint64_t dir = 0;
	char name[64], data[4096];
	for (unsigned i = 0; i < 50000; i++) {
		if (i % 1000 == 0) {
			snprintf(name, sizeof(name), "directory-%u", i / 1000);
			dir = rig_mkdir(rig, FS_ROOT_INO, name);
		}
		snprintf(name, sizeof(name), "a-file-with-a-longish-name.%u", i);
		uint64_t ino = rig_create(rig, dir, name);
		memset(data, (int)i, sizeof(data));
		assert_int_equal(fs_write(rig->fs, ino, 0, data, sizeof(data)), sizeof(data));
		fs_forget(rig->fs, ino, 1);
	}
	rig_remount(rig);
	struct fs_stats s = fs_stats(rig->fs);
	print_message("%llu pages of the database\n", (unsigned long long)s.database_pages);
	assert_int_equal(s.inodes, 50000 + 50 + 1);
	assert_true(s.database_pages * 4096 < 24 * MIB);
	uint64_t ino;
	assert_int_equal(
		fs_resolve(rig->fs, "/directory-33/a-file-with-a-longish-name.33333", &ino), 0);
	assert_int_equal(fs_read(rig->fs, ino, 0, data, sizeof(data)), sizeof(data));
	assert_int_equal(data[4095], (char)33333);
	rig_free(rig);
}

static int create(struct rig *rig, const char *name)
{
	struct stat st;
	int ret = fs_mknod(rig->fs, FS_ROOT_INO, name, S_IFREG, 0, &rig_owner, &st);
	if (ret == 0)
		fs_forget(rig->fs, st.st_ino, 1);
	return ret;
}

static void a_full_database_refuses_new_files_and_lets_old_ones_go(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xDB, 16 * MIB, 4 * MIB);
	char name[256];
	unsigned n = 0, again = 0;
	memset(name, 'n', sizeof(name));
	int ret;
	for (;; n++) {
		snprintf(name + 200, 20, "%u", n);
		ret = create(rig, name);
		if (ret < 0)
			break;
	}
	assert_int_equal(ret, -ENOSPC);
	assert_true(n > 3000);
	struct statvfs st;
	assert_int_equal(fs_statfs(rig->fs, &st), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	rig_remount(rig);
	/* The reserve: every one of them can be removed, and its space used anew. */
	for (unsigned i = 0; i < n; i++) {
		snprintf(name + 200, 20, "%u", i);
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, name), 0);
	}
	rig_remount(rig);
	assert_int_equal(fs_stats(rig->fs).inodes, 1);
	for (;; again++) {
		snprintf(name + 200, 20, "%u", again);
		if (create(rig, name) < 0)
			break;
	}
	assert_in_range(again, n - n / 10, n + n / 10);
	rig_free(rig);
}

/* Every second block: as many extents as the data holds. */
static void a_file_in_many_pieces_outgrows_the_log_and_goes_again(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xF4A6, 192 * MIB, 8 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a"), other = rig_create(rig, FS_ROOT_INO, "b");
	char block[4096] = {1};
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t file = i % 2 ? ino : other;
		/* In a scattered order, so that the rows of each commit are all over the tree. */
		uint64_t at = (uint64_t)(i / 2) * 7919 % 10000 * 2;
		assert_int_equal(fs_write(rig->fs, file, at * 4096, block, 4096), 4096);
	}
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 10000 * 8);
	assert_int_equal(rig_truncate(rig, ino, 4096), 0);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 8);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "b"), 0);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_free(rig);
}

/* The kernel knows all of them, and forgets one at the end. */
static void files_that_the_kernel_knows_leave_memory_and_live_on(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x1E4F, 64 * MIB, 32 * MIB);
	uint64_t first = rig_create(rig, FS_ROOT_INO, "first"), last = first;
	char name[32];
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		last = rig_create(rig, FS_ROOT_INO, name);
	}
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_true(fs_stats(rig->fs).inodes_in_memory < 10000);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "first"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(rig_stat(rig, first).st_nlink, 0);
	assert_int_equal(fs_stats(rig->fs).inodes, 20002);
	fs_forget(rig->fs, first, 1);
	assert_int_equal(fs_stats(rig->fs).inodes, 20001);
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, first, &st), -ENOENT);
	assert_int_equal(fs_getattr(rig->fs, last, &st), 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fifty_thousand_files_of_a_block_fit_into_a_gibibyte),
		cmocka_unit_test(files_that_the_kernel_knows_leave_memory_and_live_on),
		cmocka_unit_test(a_full_database_refuses_new_files_and_lets_old_ones_go),
		cmocka_unit_test(a_file_in_many_pieces_outgrows_the_log_and_goes_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
