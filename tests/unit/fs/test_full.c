/* SPDX-License-Identifier: MIT */
/* Volumes and databases without room: each call works or says so, and everything can be removed. */
#include "check_rig.h"

#include <linux/falloc.h>
#include <unistd.h>

static int create(struct rig *rig, const char *name)
{
	struct stat st;
	int ret = fs_mknod(rig->fs, FS_ROOT_INO, name, S_IFREG, 0, &rig_owner, &st);
	if (ret == 0)
		fs_forget(rig->fs, st.st_ino, 1);
	return ret;
}

/* ---- full databases ---- */

/* Long names, until the database takes no more. How many. */
static unsigned fill_with_names(struct rig *rig)
{
	char name[256];
	memset(name, 'n', sizeof(name));
	for (unsigned n = 0;; n++) {
		snprintf(name + 200, 20, "%u", n);
		int ret = create(rig, name);
		if (ret < 0) {
			assert_int_equal(ret, -ENOSPC);
			return n;
		}
	}
}

static void remove_names(struct rig *rig, unsigned count)
{
	char name[256];
	memset(name, 'n', sizeof(name));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name + 200, 20, "%u", i);
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, name), 0);
	}
}

/* Change every second block of the file "f", until that fails. How many were changed. */
static unsigned change_every_second(struct rig *rig, uint64_t ino, bool punch, unsigned blocks)
{
	unsigned done = 0;
	for (unsigned i = 0; i < blocks / 2; i++) {
		uint64_t at = (uint64_t)(i * 7919 % (blocks / 2)) * 8192;
		int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		int ret = punch ? fs_fallocate(rig->fs, ino, mode, at, 4096)
				: (int)fs_write(rig->fs, ino, at, "x", 1);
		assert_true(ret >= 0 || ret == -ENOSPC);
		done += ret >= 0;
	}
	return done;
}

/* What divides extents needs rows, and there is no room for rows. */
static void extents_divide_in_a_full_database(bool punch)
{
	struct rig *rig = rig_new(0xD1F, 128 * MIB, 2 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "f");
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 0, 100 * MIB), 0);
	unsigned names = fill_with_names(rig);
	assert_int_equal(fs_sync(rig->fs), 0);
	unsigned done = change_every_second(rig, ino, punch, 25600);
	print_message("%u names, then %u of 12800 blocks\n", names, done);
	assert_in_range(done, 0, 12799);
	assert_int_equal(fs_sync(rig->fs), 0);
	fs_forget(rig->fs, ino, 1);
	rig_remount(rig);
	remove_names(rig, names);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "f"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	rig_remount(rig);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	assert_int_equal(fs_stats(rig->fs).inodes, 1);
	rig_free(rig);
}

static void holes_in_a_full_database_are_refused_and_it_goes_on(void **unused)
{
	(void)unused;
	extents_divide_in_a_full_database(true);
}

static void writes_into_preallocated_space_use_the_reserve_and_then_are_refused(void **unused)
{
	(void)unused;
	extents_divide_in_a_full_database(false);
}

static void fsck_finds_nothing(struct rig *rig)
{
	struct check_rig *k = calloc(1, sizeof(*k));
	k->rig = rig;
	assert_int_equal(rig_unmount(rig), 0);
	check_rig_run(k, false);
	if (k->result.problems)
		fail_msg("%s", k->text);
	free(k);
	rig_mount(rig);
}

/* All that is free lies in single blocks, and one call takes all of them; their rows fill more
 * pages than the log holds. */
static void preallocation_takes_what_is_free_in_many_pieces(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xF4A7, 192 * MIB, 4 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks, ino = rig_create(rig, FS_ROOT_INO, "a");
	uint64_t other = rig_create(rig, FS_ROOT_INO, "b");
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 0, free * 4096), 0);
	unsigned holes = change_every_second(rig, ino, true, (unsigned)free);
	assert_int_equal(holes, free / 2);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_fallocate(rig->fs, other, 0, 0, (holes + 1) * 4096), -ENOSPC);
	assert_int_equal(fs_fallocate(rig->fs, other, 0, 0, holes * 4096), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free % 2);
	fsck_finds_nothing(rig);
	uint64_t pages = fs_stats(rig->fs).database_pages, log_pages = 4 * MIB / 4 / 4120;
	assert_true(pages > log_pages);
	assert_int_equal(rig_stat(rig, other).st_blocks, holes * 8);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "b"), 0);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_free(rig);
}

/* ---- with so much room and no more ---- */

/* 0, or -ENOSPC; anything else is a failure. Counts what was made. */
static bool made(int ret, unsigned *count)
{
	if (ret < 0)
		assert_int_equal(ret, -ENOSPC);
	*count += ret >= 0;
	return ret >= 0;
}

/* Attributes of nearly a page each, until no more than @pages are left for others. */
static void leave_pages(struct rig *rig, unsigned pages)
{
	static char value[3900];
	struct statvfs st;
	char name[32];
	for (unsigned i = 0;; i++) {
		assert_int_equal(fs_statfs(rig->fs, &st), 0);
		if (st.f_ffree * 160 / 4096 <= pages)
			return;
		snprintf(name, sizeof(name), "user.%u", i);
		int ret = fs_setxattr(rig->fs, FS_ROOT_INO, name, value, sizeof(value), 0);
		if (ret == -ENOSPC)
			return;
		assert_int_equal(ret, 0);
	}
}

/* One of each kind. How many inodes there are then. */
static unsigned make_one_of_each(struct rig *rig)
{
	static char big[65536], target[4096];
	unsigned inodes = 1, others = 0;
	struct stat st;
	memset(target, 't', sizeof(target) - 1);
	bool file =
		made(fs_mknod(rig->fs, FS_ROOT_INO, "file", S_IFREG, 0, &rig_owner, &st), &inodes);
	uint64_t ino = st.st_ino;
	made(fs_mknod(rig->fs, FS_ROOT_INO, "dir", S_IFDIR, 0, &rig_owner, &st), &inodes);
	made(fs_mknod(rig->fs, FS_ROOT_INO, "fifo", S_IFIFO, 0, &rig_owner, &st), &inodes);
	made(fs_symlink(rig->fs, FS_ROOT_INO, "link", target, &rig_owner, &st), &inodes);
	if (!file)
		return inodes;
	made((int)fs_write(rig->fs, ino, 0, big, 20000), &others);
	made(fs_link(rig->fs, ino, FS_ROOT_INO, "second", &st), &others);
	made(fs_setxattr(rig->fs, ino, "user.big", big, sizeof(big), 0), &others);
	made(fs_rename(rig->fs, FS_ROOT_INO, "file", FS_ROOT_INO, "renamed", 0), &others);
	made(fs_fallocate(rig->fs, ino, 0, 1 * MIB, 1 * MIB), &others);
	made(fs_fallocate(rig->fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096),
		&others);
	made(rig_truncate(rig, ino, 1 * MIB + 4096), &others);
	return inodes;
}

static void remove_one_of_each(struct rig *rig)
{
	static const char *const names[] = {"file", "fifo", "link", "second", "renamed"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (rig_lookup(rig, FS_ROOT_INO, names[i], 0) == 0)
			assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, names[i]), 0);
	if (rig_lookup(rig, FS_ROOT_INO, "dir", 0) == 0)
		assert_int_equal(fs_rmdir(rig->fs, FS_ROOT_INO, "dir"), 0);
}

static void with_any_number_of_pages_left_each_call_works_or_says_there_is_none(void **unused)
{
	(void)unused;
	unsigned least = 99, most = 0;
	for (unsigned pages = 0; pages < 64; pages += 1 + pages / 16) {
		struct rig *rig = rig_new(0x9A6E + pages, 16 * MIB, 2 * MIB);
		uint64_t free = fs_stats(rig->fs).free_blocks;
		leave_pages(rig, pages);
		unsigned inodes = make_one_of_each(rig);
		assert_int_equal(fs_stats(rig->fs).inodes, inodes);
		rig_crash(rig);
		remove_one_of_each(rig);
		leave_pages(rig, pages);
		inodes = make_one_of_each(rig);
		least = inodes < least ? inodes : least;
		most = inodes > most ? inodes : most;
		assert_int_equal(fs_sync(rig->fs), 0);
		rig_remount(rig);
		assert_int_equal(fs_stats(rig->fs).inodes, inodes);
		remove_one_of_each(rig);
		assert_int_equal(fs_sync(rig->fs), 0);
		rig_remount(rig);
		assert_int_equal(fs_stats(rig->fs).inodes, 1);
		assert_int_equal(fs_stats(rig->fs).free_blocks, free);
		rig_free(rig);
	}
	assert_int_equal(least, 1);
	assert_int_equal(most, 5);
}

static void with_any_number_of_blocks_left_each_call_works_or_says_there_is_none(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xB10C, 16 * MIB, 2 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	for (unsigned blocks = 0; blocks < 300; blocks += 1 + blocks / 8) {
		uint64_t filler = rig_create(rig, FS_ROOT_INO, "filler");
		assert_int_equal(fs_fallocate(rig->fs, filler, 0, 0, (free - blocks) * 4096), 0);
		fs_forget(rig->fs, filler, 1);
		assert_int_equal(make_one_of_each(rig), 5);
		struct statvfs st;
		assert_int_equal(fs_statfs(rig->fs, &st), 0);
		assert_true(st.f_bfree <= blocks);
		rig_remount(rig);
		remove_one_of_each(rig);
		assert_int_equal(fs_statfs(rig->fs, &st), 0);
		assert_int_equal(st.f_bfree, blocks);
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "filler"), 0);
		assert_int_equal(fs_sync(rig->fs), 0);
		assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	}
	rig_free(rig);
}

/* ---- far ends ---- */

static void sparse_files_of_any_size_fit_into_a_small_volume(void **unused)
{
	(void)unused;
	static const uint64_t ends[] = {UINT64_C(16) << 40, INT64_MAX};
	struct rig *rig = rig_new(0x16, 16 * MIB, 2 * MIB);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t end = ends[i], ino = rig_create(rig, FS_ROOT_INO, i ? "b" : "a");
		char got[8];
		assert_int_equal(fs_write(rig->fs, ino, end - 8, "far away", 8), 8);
		rig_remount(rig);
		assert_int_equal(rig_stat(rig, ino).st_size, end);
		assert_int_equal(rig_stat(rig, ino).st_blocks, 8);
		assert_int_equal(fs_read(rig->fs, ino, end - 8, got, 8), 8);
		assert_memory_equal(got, "far away", 8);
		assert_int_equal(fs_seek(rig->fs, ino, 0, SEEK_DATA), (end - 8) / 4096 * 4096);
		assert_int_equal(rig_truncate(rig, ino, 0), 0);
		assert_int_equal(rig_truncate(rig, ino, end), 0);
		assert_int_equal(rig_stat(rig, ino).st_blocks, 0);
	}
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holes_in_a_full_database_are_refused_and_it_goes_on),
		cmocka_unit_test(
			writes_into_preallocated_space_use_the_reserve_and_then_are_refused),
		cmocka_unit_test(preallocation_takes_what_is_free_in_many_pieces),
		cmocka_unit_test(
			with_any_number_of_pages_left_each_call_works_or_says_there_is_none),
		cmocka_unit_test(
			with_any_number_of_blocks_left_each_call_works_or_says_there_is_none),
		cmocka_unit_test(sparse_files_of_any_size_fit_into_a_small_volume),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
