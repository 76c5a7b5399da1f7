/* SPDX-License-Identifier: MIT */
/* First writes of the page cache that are answered when their bytes are taken, before they are
 * stored. */
#include "rig.h"

#define BYTES 6000u /* a block, and a part of one */

static struct rig *new_rig(void)
{
	struct rig *rig = rig_new_with(32, (struct volume_create_options){.level = RAID_RAID5,
						   .members = 4,
						   .size_bytes = 24 * MIB,
						   .chunk_bytes = 65536,
						   .pi = PI_T10,
						   .write_hole = SUPER_HOLE_JOURNAL,
						   .system_bytes = 16 * MIB});
	rig_mount(rig);
	return rig;
}

static uint64_t new_file(struct rig *rig, const char *name)
{
	struct stat st;
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, name, S_IFREG | 0600, 0, &rig_owner, &st), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	return st.st_ino;
}

struct write {
	struct fs_io io;
	struct source source;
	_Alignas(4096) uint8_t data[BYTES];
	unsigned taken, done;
	int err;
};

static void note_taken(struct fs_io *io)
{
	struct write *w = container_of(io, struct write, io);
	assert_int_equal(w->done, 0);
	w->taken++;
}

static void note_done(struct fs_io *io, int err)
{
	struct write *w = container_of(io, struct write, io);
	w->done++;
	w->err = err;
}

/* Nothing of the array runs before somebody waits. */
static void write_begin(struct rig *rig, struct write *w, uint64_t ino, uint64_t offset)
{
	*w = (struct write){.io = {.kind = STRIPE_WRITE,
				    .ino = ino,
				    .offset_bytes = offset,
				    .len_bytes = BYTES,
				    .source = &w->source,
				    .keep_times = true,
				    .taken = note_taken,
				    .done = note_done}};
	memset(w->data, 'n', sizeof(w->data));
	source_init_bounce(&w->source, w->data, BYTES);
	fs_submit(rig->fs, &w->io);
}

static void write_end(struct rig *rig, const struct write *w)
{
	while (!w->done)
		stripe_engine_run(volume_engine(rig->v), true);
}

static uint64_t size_of(struct rig *rig, uint64_t ino)
{
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, ino, &st), 0);
	return (uint64_t)st.st_size;
}

static void assert_reads(struct rig *rig, uint64_t ino, uint8_t value)
{
	uint8_t got[BYTES], want[BYTES];
	memset(want, value, sizeof(want));
	assert_int_equal(fs_read(rig->fs, ino, 0, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, want, sizeof(got));
}

static void a_first_write_is_answered_before_it_is_stored_and_counts_at_once(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig, "file");
	write_begin(rig, &w, ino, 0);
	assert_int_equal(w.taken, 1);
	assert_int_equal(w.done, 0);
	assert_int_equal(size_of(rig, ino), BYTES);
	assert_reads(rig, ino, 'n');
	write_end(rig, &w);
	assert_int_equal(w.taken, 1);
	assert_int_equal(w.err, 0);
	rig_free(rig);
}

static void overwrites_and_growth_inside_a_block_are_not(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig, "file");
	write_begin(rig, &w, ino, 0);
	write_end(rig, &w);
	write_begin(rig, &w, ino, 0);
	assert_int_equal(w.taken, 0);
	write_end(rig, &w);
	write_begin(rig, &w, ino, BYTES);
	assert_int_equal(w.taken, 0);
	write_end(rig, &w);
	rig_free(rig);
}

static void an_fsync_has_what_was_answered_before_it(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig, "file");
	write_begin(rig, &w, ino, 0);
	assert_int_equal(fs_fsync(rig->fs, ino, true), 0);
	write_end(rig, &w);
	rig_crash(rig);
	assert_reads(rig, ino, 'n');
	rig_free(rig);
}

/* One that somebody asked for who knows nothing of the file. */
static void every_commit_has_what_was_answered_before_it(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig, "file"), other = new_file(rig, "other");
	write_begin(rig, &w, ino, 0);
	assert_int_equal(fs_setxattr(rig->fs, other, "user.x", "x", 1, 0), 0);
	assert_int_equal(fs_fsync(rig->fs, other, false), 0);
	write_end(rig, &w);
	rig_crash(rig);
	assert_reads(rig, ino, 'n');
	rig_free(rig);
}

static void a_crash_before_a_commit_leaves_no_trace_of_it(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	uint64_t ino = new_file(rig, "file");
	write_begin(rig, &w, ino, 0);
	write_end(rig, &w);
	rig_crash(rig);
	assert_int_equal(size_of(rig, ino), 0);
	rig_free(rig);
}

/* Two members take no more writes: the array cannot do without the second. */
static void one_that_fails_is_told_by_fsync_and_leaves_a_hole(void **unused)
{
	(void)unused;
	struct rig *rig = new_rig();
	struct write w;
	struct fs_heard heard;
	uint64_t ino = new_file(rig, "file");
	const struct super *super = volume_super(rig->v);
	assert_int_equal(fs_file_open(rig->fs, ino), 0);
	fs_heard_init(rig->fs, ino, &heard);
	for (unsigned i = 0; i < 4; i++) {
		struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
			.name = rig_names[i],
			.offset_bytes = super->data.offset_bytes,
			.len_bytes = super->data.len_bytes,
			.per_mille = 1000};
		assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	}
	log_set_level(LOG_LEVEL_NONE);
	write_begin(rig, &w, ino, 0);
	assert_int_equal(w.taken, 1);
	/* As fsync(2): it has waited for the write. */
	int err = fs_fsync(rig->fs, ino, true), late = fs_heard_check(rig->fs, ino, &heard);
	write_end(rig, &w);
	sim_world_disarm_all(rig->world);
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(err, 0);
	assert_int_equal(late, -EIO);
	assert_int_equal(w.err, -EIO);
	assert_int_equal(fs_heard_check(rig->fs, ino, &heard), 0);
	assert_reads(rig, ino, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_write_is_answered_before_it_is_stored_and_counts_at_once),
		cmocka_unit_test(overwrites_and_growth_inside_a_block_are_not),
		cmocka_unit_test(an_fsync_has_what_was_answered_before_it),
		cmocka_unit_test(every_commit_has_what_was_answered_before_it),
		cmocka_unit_test(a_crash_before_a_commit_leaves_no_trace_of_it),
		cmocka_unit_test(one_that_fails_is_told_by_fsync_and_leaves_a_hole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
