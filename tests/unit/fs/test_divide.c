/* SPDX-License-Identifier: MIT */
/* Commits of more rows than the log holds: they are divided, and what a power cut leaves between
 * two parts of one is in order. */
#include "check_rig.h"

#include <linux/falloc.h>
#include "io/sim_snapshot.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* ---- that it works ---- */

#define PIECES 60000u

/* The rows of its extents fill more pages than the log holds, and each change is in another one. */
static void scattered_changes_of_a_file_of_more_rows_than_the_log_holds(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xF4A7, 512 * MIB, 4 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks, ino = rig_create(rig, FS_ROOT_INO, "a");
	const int punch = PUNCH;
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 0, PIECES * 8192), 0);
	for (unsigned i = 0; i < PIECES; i++) {
		uint64_t at = (uint64_t)i * 7919 % PIECES;
		assert_int_equal(fs_fallocate(rig->fs, ino, punch, at * 8192, 4096), 0);
	}
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, ino).st_blocks, PIECES * 8);
	char block[4096] = {1};
	for (unsigned i = 0; i < PIECES; i++) {
		uint64_t at = (uint64_t)i * 7907 % PIECES;
		if (i % 3)
			assert_int_equal(
				fs_fallocate(rig->fs, ino, punch, at * 8192 + 4096, 4096), 0);
		else
			assert_int_equal(fs_write(rig->fs, ino, at * 8192, block, 4096), 4096);
	}
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, ino).st_blocks, PIECES / 3 * 2 * 8);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_free(rig);
}

/* Their rows lie in more pages than the log holds. */
static void changes_of_more_inodes_than_the_log_holds(void **unused)
{
	(void)unused;
	const unsigned files = 22000;
	struct rig *rig = rig_new(0xC40D, 16 * MIB, 4 * MIB);
	uint64_t first = 0;
	char name[32];
	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "%u", i);
		uint64_t ino = rig_create(rig, FS_ROOT_INO, name);
		first = i ? first : ino;
		fs_forget(rig->fs, ino, 1);
	}
	rig_remount(rig);
	for (unsigned i = 0; i < files; i++) {
		uint64_t ino = first + (uint64_t)i * 7919 % files;
		struct stat st = {.st_mode = 0600};
		assert_int_equal(fs_setattr(rig->fs, ino, FS_SET_MODE, &st, &st), 0);
	}
	assert_int_equal(fs_sync(rig->fs), 0);
	for (unsigned i = 0; i < files; i++)
		assert_int_equal(rig_stat(rig, first + i).st_mode, S_IFREG | 0600);
	rig_free(rig);
}

/* ---- what is left in between ---- */

#define BLOCKS  20000u /* of the file: every second one is stored, the others preallocated */
#define CHANGES 200u
#define CUTS    60u /* that are looked at */

/* While a commit is under way. */
struct between {
	struct rig *rig;
	uint64_t ino;
	uint64_t writes;
	unsigned worlds;
	struct sim_world *world[CUTS];
};

static void write_done(void *ctx)
{
	struct between *b = ctx;
	if (b->writes++ % 4 == 0 && b->worlds < CUTS)
		b->world[b->worlds++] = sim_world_snapshot(b->rig->world, b->writes);
}

static char byte_at(struct rig *rig, uint64_t ino, uint64_t block)
{
	char byte = 0;
	assert_true(fs_read(rig->fs, ino, block * 4096, &byte, 1) >= 0);
	return byte;
}

static struct between scattered_file(void)
{
	struct between b = {.rig = rig_new(0xD1F1, 128 * MIB, 2 * MIB)};
	char block[4096];
	memset(block, 'o', sizeof(block));
	b.ino = rig_create(b.rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_fallocate(b.rig->fs, b.ino, 0, 0, BLOCKS * UINT64_C(4096)), 0);
	for (uint64_t i = 0; i < BLOCKS; i += 2)
		assert_int_equal(fs_write(b.rig->fs, b.ino, i * 4096, block, 4096), 4096);
	rig_remount(b.rig);
	(void)rig_create(b.rig, FS_ROOT_INO, "b"); /* no numbers are to be promised on the way */
	assert_int_equal(fs_sync(b.rig->fs), 0);
	return b;
}

/* A few are written, where that is not reason enough for a commit; the others are punched. */
static bool is_write(unsigned i)
{
	return i % 20 == 1;
}

/* The i-th block that is changed: even ones are stored, odd ones not; in all leaves alike. */
static uint64_t changed_block(unsigned i)
{
	return (uint64_t)i * (BLOCKS / CHANGES) + is_write(i);
}

static bool is_changed(char byte, unsigned i)
{
	char old = is_write(i) ? 0 : 'o', new = is_write(i) ? 'n' : 0;
	if (byte != old && byte != new)
		fail_msg("change %u left %d", i, byte);
	return byte == new;
}

static void change_all(struct between *b)
{
	char block[4096];
	memset(block, 'n', sizeof(block));
	for (unsigned i = 0; i < CHANGES; i++) {
		uint64_t at = changed_block(i) * 4096;
		if (is_write(i))
			assert_int_equal(fs_write(b->rig->fs, b->ino, at, block, 4096), 4096);
		else
			assert_int_equal(fs_fallocate(b->rig->fs, b->ino, PUNCH, at, 4096), 0);
	}
	uint64_t end = BLOCKS * UINT64_C(4096);
	assert_int_equal(fs_write(b->rig->fs, b->ino, end, block, 4096), 4096);
}

/* Commit, and note what the disks hold on the way. */
static void commit_slowly(struct between *b)
{
	uint64_t commits = fs_stats(b->rig->fs).commits;
	sim_world_on_write(b->rig->world, write_done, b);
	assert_int_equal(fs_sync(b->rig->fs), 0);
	sim_world_on_write(b->rig->world, NULL, NULL);
	assert_int_equal(fs_stats(b->rig->fs).commits, commits + 1);
	assert_true(b->worlds > 4);
}

/* Mounted, and found in order before. Takes the world. */
static struct check_rig *look(const struct between *b, struct sim_world *world)
{
	struct check_rig *k = calloc(1, sizeof(*k));
	k->rig = calloc(1, sizeof(*k->rig));
	*k->rig = (struct rig){
		.world = world, .factory = sim_factory(world), .create = b->rig->create};
	check_rig_run(k, false);
	if (k->result.problems)
		fail_msg("%s", k->text);
	rig_mount(k->rig);
	return k;
}

static void a_cut_between_two_parts_leaves_each_block_old_or_new(void **unused)
{
	(void)unused;
	struct between b = scattered_file();
	unsigned divided = 0;
	uint64_t commits = fs_stats(b.rig->fs).commits;
	change_all(&b);
	assert_int_equal(fs_stats(b.rig->fs).commits, commits); /* all in the next one */
	commit_slowly(&b);
	for (unsigned w = 0; w < b.worlds; w++) {
		struct check_rig *k = look(&b, b.world[w]);
		unsigned changed = 0;
		for (unsigned i = 0; i < CHANGES; i++)
			changed += is_changed(byte_at(k->rig, b.ino, changed_block(i)), i);
		divided += changed > 0 && changed < CHANGES;
		/* The size is the last to follow. */
		uint64_t size = (uint64_t)rig_stat(k->rig, b.ino).st_size;
		assert_true(size == BLOCKS * UINT64_C(4096) || changed == CHANGES);
		for (uint64_t i = 2; i < BLOCKS; i += 98)
			assert_true(i % (BLOCKS / CHANGES) < 2 || byte_at(k->rig, b.ino, i) == 'o');
		check_rig_free(k);
	}
	assert_true(divided > 0);
	rig_free(b.rig);
}

static void a_cut_in_a_truncation_leaves_whole_bytes_in_front_and_zeros_behind(void **unused)
{
	(void)unused;
	struct between b = scattered_file();
	unsigned partly = 0;
	sim_world_on_write(b.rig->world, write_done, &b);
	assert_int_equal(rig_truncate(b.rig, b.ino, (BLOCKS - 600) * UINT64_C(4096)), 0);
	sim_world_on_write(b.rig->world, NULL, NULL);
	assert_true(b.worlds > 4);
	for (unsigned w = 0; w < b.worlds; w++) {
		struct check_rig *k = look(&b, b.world[w]);
		uint64_t blocks = (uint64_t)rig_stat(k->rig, b.ino).st_size / 4096;
		partly += blocks > BLOCKS - 600 && blocks < BLOCKS;
		assert_int_equal(rig_truncate(k->rig, b.ino, BLOCKS * UINT64_C(4096)), 0);
		for (uint64_t i = BLOCKS - 620; i < BLOCKS; i += 2)
			assert_int_equal(byte_at(k->rig, b.ino, i), i < blocks ? 'o' : 0);
		check_rig_free(k);
	}
	assert_true(partly > 0);
	rig_free(b.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_of_more_inodes_than_the_log_holds),
		cmocka_unit_test(scattered_changes_of_a_file_of_more_rows_than_the_log_holds),
		cmocka_unit_test(a_cut_between_two_parts_leaves_each_block_old_or_new),
		cmocka_unit_test(
			a_cut_in_a_truncation_leaves_whole_bytes_in_front_and_zeros_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
