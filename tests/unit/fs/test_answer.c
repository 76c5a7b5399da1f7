/* SPDX-License-Identifier: MIT */
/* Overwrites that are settled when the array has them in its log, before they are stored. */
#include "rig.h"

#define BLOCKS 8u

static struct rig *new_rig(void)
{
	struct rig *rig = rig_new_with(31, (struct volume_create_options){.level = RAID_RAID5,
						   .members = 4,
						   .size_bytes = 24 * MIB,
						   .chunk_bytes = 65536,
						   .pi = PI_T10,
						   .write_hole = SUPER_HOLE_JOURNAL,
						   .system_bytes = 16 * MIB});
	rig_mount(rig);
	return rig;
}

/* A file of BLOCKS blocks, committed. */
static uint64_t new_file(struct rig *rig)
{
	uint8_t data[BLOCKS * BLOCK_BYTES];
	struct stat st;
	memset(data, 'o', sizeof(data));
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, "file", S_IFREG | 0600, 0, &rig_owner, &st), 0);
	assert_int_equal(fs_write(rig->fs, st.st_ino, 0, data, sizeof(data)), sizeof(data));
	assert_int_equal(fs_sync(rig->fs), 0);
	return st.st_ino;
}

struct write {
	struct fs_io io;
	struct source source;
	uint8_t data[BLOCK_BYTES];
	struct fs *fs;
	struct volume *volume;
	struct volume_waiter waiter;
	unsigned logged;
	bool done;
	int err;
	int64_t mtime; /* at the answer */
};

static int64_t mtime_of(struct fs *fs, uint64_t ino)
{
	struct stat st;
	assert_int_equal(fs_getattr(fs, ino, &st), 0);
	return st.st_mtim.tv_sec;
}

static void set_mtime(struct fs *fs, uint64_t ino, int64_t seconds)
{
	struct stat st = {.st_mtim.tv_sec = seconds};
	assert_int_equal(fs_setattr(fs, ino, FS_SET_MTIME, &st, &st), 0);
}

static void note_logged(struct fs_io *io)
{
	struct write *w = container_of(io, struct write, io);
	assert_false(w->done);
	w->logged++;
	w->mtime = mtime_of(w->fs, io->ino);
	set_mtime(w->fs, io->ino, 2); /* as its writer may do now */
}

static void note_done(struct fs_io *io, int err)
{
	struct write *w = container_of(io, struct write, io);
	w->done = true;
	volume_signal(w->volume, &w->waiter, err);
}

static void write_run(struct rig *rig, struct write *w, uint64_t ino, uint64_t offset)
{
	*w = (struct write){.fs = rig->fs,
		.volume = rig->v,
		.io = {.kind = STRIPE_WRITE,
			.ino = ino,
			.offset_bytes = offset,
			.len_bytes = 1000,
			.source = &w->source,
			.logged = note_logged,
			.done = note_done}};
	memset(w->data, 'n', sizeof(w->data));
	source_init_bounce(&w->source, w->data, 1000);
	fs_submit(rig->fs, &w->io);
	volume_wait(rig->v, &w->waiter);
	w->err = w->waiter.err;
}

static void an_overwrite_is_settled_when_it_is_answered_and_not_again(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig);
	set_mtime(rig->fs, ino, 1);
	write_run(rig, &w, ino, 5000);
	assert_int_equal(w.err, 0);
	assert_int_equal(w.logged, 1);
	assert_true(w.mtime > 2);
	assert_int_equal(mtime_of(rig->fs, ino), 2);
	rig_free(rig);
}

static void first_writes_and_growth_are_not_answered_early(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig);
	write_run(rig, &w, ino, 40 * BLOCK_BYTES); /* a hole before it */
	assert_int_equal(w.err, 0);
	assert_int_equal(w.logged, 0);
	write_run(rig, &w, ino, 40 * BLOCK_BYTES + 500); /* the block is there, the size grows */
	assert_int_equal(w.logged, 0);
	write_run(rig, &w, ino, 40 * BLOCK_BYTES + 500);
	assert_int_equal(w.logged, 1);
	rig_free(rig);
}

static void what_was_answered_survives_a_crash(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint8_t got[1000];
	uint64_t ino = new_file(rig);
	write_run(rig, &w, ino, 5000);
	assert_int_equal(w.logged, 1);
	rig_crash(rig);
	assert_int_equal(fs_read(rig->fs, ino, 5000, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, w.data, sizeof(got));
	rig_free(rig);
}

static void open_file(struct rig *rig, uint64_t ino, struct fs_heard *heard)
{
	assert_int_equal(fs_file_open(rig->fs, ino), 0);
	fs_heard_init(rig->fs, ino, heard);
}

/* As fsync(2) of an open file. */
static int sync_file(struct rig *rig, uint64_t ino, struct fs_heard *heard)
{
	int err = fs_fsync(rig->fs, ino, true), late = fs_heard_check(rig->fs, ino, heard);
	return err < 0 ? err : late;
}

/* Two members take no more writes: the array cannot do without the second. */
static void a_write_that_fails_behind_its_answer_is_told_to_each_open_file_once(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig), other;
	struct stat st;
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, "other", S_IFREG | 0600, 0, &rig_owner, &st), 0);
	other = st.st_ino;
	assert_int_equal(fs_sync(rig->fs), 0);
	const struct super *super = volume_super(rig->v);
	for (unsigned i = 0; i < 4; i++) {
		struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
			.name = rig_names[i],
			.offset_bytes = super->data.offset_bytes,
			.len_bytes = super->data.len_bytes,
			.per_mille = 1000};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	}
	log_set_level(LOG_LEVEL_ERROR);
	struct fs_heard first, second, later, others;
	open_file(rig, ino, &first);
	open_file(rig, ino, &second);
	open_file(rig, other, &others);
	write_run(rig, &w, ino, 5000);
	assert_int_equal(w.logged, 1);
	assert_int_equal(w.err, -EIO);
	sim_world_disarm_all(rig->world);
	assert_int_equal(sync_file(rig, other, &others), 0);
	assert_int_equal(sync_file(rig, ino, &first), -EIO);
	assert_int_equal(sync_file(rig, ino, &first), 0);
	open_file(rig, ino, &later);
	assert_int_equal(sync_file(rig, ino, &later), 0); /* somebody knows */
	assert_int_equal(sync_file(rig, ino, &second), -EIO);
	assert_int_equal(sync_file(rig, ino, &second), 0);
	rig_free(rig);
}

/* Whose data it was to make durable is not known. */
static void a_flush_that_fails_is_told_to_each_open_file_once(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct fs_heard first, second, later;
	uint64_t ino = new_file(rig);
	uint8_t byte = 1;
	open_file(rig, ino, &first);
	open_file(rig, ino, &second);
	assert_int_equal(fs_write(rig->fs, ino, 0, &byte, 1), 1);
	for (unsigned i = 0; i < 4; i++) {
		struct sim_fault fault = {
			.kind = SIM_FLUSH_ERROR, .name = rig_names[i], .per_mille = 1000};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	}
	log_set_level(LOG_LEVEL_NONE);
	assert_true(sync_file(rig, ino, &first) < 0);
	sim_world_disarm_all(rig->world);
	open_file(rig, ino, &later);
	assert_int_equal(sync_file(rig, ino, &first), 0);
	assert_int_equal(sync_file(rig, ino, &later), 0);
	assert_true(sync_file(rig, ino, &second) < 0);
	assert_int_equal(sync_file(rig, ino, &second), 0);
	log_set_level(LOG_LEVEL_ERROR);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overwrite_is_settled_when_it_is_answered_and_not_again),
		cmocka_unit_test(first_writes_and_growth_are_not_answered_early),
		cmocka_unit_test(what_was_answered_survives_a_crash),
		cmocka_unit_test(
			a_write_that_fails_behind_its_answer_is_told_to_each_open_file_once),
		cmocka_unit_test(a_flush_that_fails_is_told_to_each_open_file_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
