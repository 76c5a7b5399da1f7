/* SPDX-License-Identifier: MIT */
/* Zero-copy reads: into the memory of a reader that leaves it alone, or does not. */
#include <errno.h>
#include "inflight/sink.h"
#include "script.h"

#define SEED    4711
#define MEMORY  (64u * BLOCK_BYTES)
#define FOREVER 1000u

/* Stands for live.c and sampler.c: the reader's memory, and what its reader does to it. */
struct live_buffer {
	uint8_t memory[MEMORY];
	uint32_t scribble_at; /* this byte is changed whenever it was placed ... */
	unsigned scribbles;   /* ... so many times */
	int place_fails, view_fails;
	unsigned accesses;
	struct io_engine *io; /* whose clock counts */
	uint64_t placed_ns, viewed_ns;
};

static int place(struct live_buffer *buffer, const struct sampler_job *job)
{
	if (buffer->place_fails)
		return buffer->place_fails;
	assert_true(job->offset_bytes + job->len_bytes <= MEMORY);
	memcpy(buffer->memory + job->offset_bytes, job->data, job->len_bytes);
	buffer->placed_ns = io_now_ns(buffer->io);
	bool covers = job->offset_bytes <= buffer->scribble_at &&
		      buffer->scribble_at < job->offset_bytes + job->len_bytes;
	if (covers && buffer->scribbles) {
		buffer->scribbles--;
		buffer->memory[buffer->scribble_at] ^= 0xff;
	}
	return 0;
}

void sampler_post(struct sampler *s, struct sampler_job *job)
{
	struct live_buffer *buffer = job->buffer;
	(void)s;
	buffer->accesses++;
	int err = job->data ? place(buffer, job) : buffer->view_fails;
	if (!job->data && !err)
		buffer->viewed_ns = io_now_ns(buffer->io);
	job->seen(job, err ? NULL : buffer->memory + job->offset_bytes, err);
}

int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes)
{
	(void)s, (void)buffer, (void)offset_bytes, (void)out, (void)len_bytes;
	return -ENOSYS; /* that is for writes */
}

void live_buffer_free(struct live_buffer *buffer)
{
	(void)buffer;
}

/* A volume that is full of 'o', and a reader of it. */
struct scene {
	struct rig *rig;
	struct live_buffer memory;
	struct sink *sink;
	uint8_t got[MEMORY]; /* what the read gave */
};

static struct scene *scene_new(enum raid_level level, unsigned members, enum pi_type pi)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct event_writer reader = {.pid = 77, .comm = "reader"};
	assert_non_null(scene);
	scene->rig = rig_new(&(struct rig_config){.level = level,
		.members = members,
		.chunk_blocks = 4,
		.stripes = 4,
		.pi = pi,
		.seed = SEED});
	script_fill_volume(scene->rig);
	scene->memory.io = scene->rig->io;
	scene->sink = sink_new(NULL, &scene->memory, MEMORY, &reader);
	assert_non_null(scene->sink);
	return scene;
}

static void scene_free(struct scene *scene)
{
	rig_settle(scene->rig);
	sink_free(scene->sink);
	rig_free(scene->rig);
	free(scene);
}

static int read_held(struct scene *scene, uint64_t offset, uint32_t len, uint64_t hold_ns)
{
	struct rig_io *io = rig_io_new(scene->rig, STRIPE_READ, offset, len, NULL);
	io->req.sink = scene->sink;
	io->req.hold_ns = hold_ns;
	rig_io_start(io);
	int err = rig_io_wait(io);
	memcpy(scene->got, io->data, len);
	rig_io_free(io);
	return err;
}

static int read_range(struct scene *scene, uint64_t offset, uint32_t len)
{
	return read_held(scene, offset, len, 0);
}

static int read_block(struct scene *scene, uint64_t volume_block)
{
	return read_range(scene, volume_block * BLOCK_BYTES, BLOCK_BYTES);
}

static bool gave_old(const struct scene *scene, uint64_t volume_block)
{
	uint8_t old[BLOCK_BYTES];
	rig_fill_block(old, volume_block, 'o');
	return memcmp(scene->got, old, BLOCK_BYTES) == 0;
}

static struct stripe_stats stats(const struct scene *scene)
{
	return stripe_engine_stats(scene->rig->eng);
}

/* Nothing happened to the media, and nobody thinks so. */
static void assert_unharmed(struct scene *scene)
{
	struct rig *rig = scene->rig;
	rig_settle(rig);
	assert_int_equal(rig_events(rig, EVENT_UNREPAIRABLE), 0);
	assert_int_equal(rig_events(rig, EVENT_REPAIRED), 0);
	assert_int_equal(stats(scene).unrepairable_blocks, 0);
	assert_int_equal(stats(scene).repaired_blocks, 0);
	for (uint64_t b = 0; b < rig->volume_bytes / BLOCK_BYTES; b++)
		assert_true(rig_reads(rig, b, 'o'));
	assert_true(rig_is_clean(rig));
}

static const struct level {
	enum raid_level level;
	unsigned members;
} levels[] = {{RAID_SINGLE, 1}, {RAID_RAID1, 2}, {RAID_RAID5, 4}};

static void without_tuples_the_readers_memory_is_left_alone(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID5, 3, PI_NONE);
	assert_int_equal(read_block(scene, 3), 0);
	assert_true(gave_old(scene, 3));
	assert_int_equal(scene->memory.accesses, 0);
	scene_free(scene);
}

static void a_still_reader_has_the_blocks_in_its_memory(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 3; i++) {
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_T10);
		uint32_t len = 10 * BLOCK_BYTES; /* of several stripes, or chunks */
		assert_int_equal(read_range(scene, 2 * BLOCK_BYTES, len), 0);
		for (unsigned b = 0; b < 10; b++) {
			uint8_t old[BLOCK_BYTES];
			rig_fill_block(old, 2 + b, 'o');
			assert_memory_equal(scene->got + b * BLOCK_BYTES, old, BLOCK_BYTES);
		}
		assert_memory_equal(scene->memory.memory, scene->got, len);
		assert_true(scene->sink->found.views > 0);
		assert_int_equal(scene->sink->found.changed_blocks, 0);
		assert_int_equal(stats(scene).false_pi_errors, 0);
		assert_unharmed(scene);
		assert_int_equal(stats(scene).repairs_unneeded, 0);
		scene_free(scene);
	}
}

static void a_read_is_kept_open_between_placing_and_checking(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID5, 3, PI_T10);
	assert_int_equal(read_held(scene, 0, BLOCK_BYTES, 777000), 0);
	assert_true(scene->memory.viewed_ns - scene->memory.placed_ns >= 777000);
	assert_int_equal(read_held(scene, 0, BLOCK_BYTES, 0), 0);
	assert_int_equal(scene->memory.viewed_ns, scene->memory.placed_ns);
	scene_free(scene);
}

static void a_reader_that_stores_once_costs_another_way_and_a_repair_of_nothing(void **unused)
{
	(void)unused;
	for (unsigned i = 1; i < 3; i++) { /* there is another mirror, or parity */
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_CRC32C);
		scene->memory.scribbles = 1;
		scene->memory.scribble_at = 2 * BLOCK_BYTES + 5;
		assert_int_equal(read_range(scene, 0, 4 * BLOCK_BYTES), 0);
		assert_true(gave_old(scene, 0));
		assert_memory_equal(scene->memory.memory, scene->got, 4 * BLOCK_BYTES);
		assert_int_equal(scene->sink->found.changed_blocks, 1);
		assert_int_equal(scene->sink->found.first_changed, 2 * BLOCK_BYTES);
		assert_int_equal(stats(scene).false_pi_errors, 1);
		assert_unharmed(scene);
		assert_int_equal(stats(scene).repairs_unneeded, 1);
		scene_free(scene);
	}
}

static void a_reader_that_goes_on_storing_gets_an_error_and_harms_nothing(void **unused)
{
	(void)unused;
	static const unsigned tries[] = {1, 2, 2}; /* ways to get at a block */
	for (unsigned i = 0; i < 3; i++) {
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_T10);
		scene->memory.scribbles = FOREVER;
		scene->memory.scribble_at = 100;
		assert_int_equal(read_block(scene, 1), -EILSEQ);
		assert_int_equal(stats(scene).false_pi_errors, tries[i]);
		assert_int_equal(FOREVER - scene->memory.scribbles, tries[i]);
		assert_unharmed(scene);
		assert_int_equal(stats(scene).repairs_unneeded, i > 0);
		scene_free(scene);
	}
}

static void a_degraded_array_has_no_other_way(void **unused)
{
	(void)unused;
	for (unsigned i = 1; i < 3; i++) {
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_T10);
		struct geometry *g = &scene->rig->geometry;
		rig_remove_member(scene->rig, geometry_member(g, 0, 1));
		scene->memory.scribbles = FOREVER;
		assert_int_equal(read_block(scene, geometry_volume_block(g, 0, 0, 0)), -EILSEQ);
		assert_int_equal(stats(scene).false_pi_errors, 1);
		assert_int_equal(rig_events(scene->rig, EVENT_UNREPAIRABLE), 0);
		assert_true(rig_reads(scene->rig, 0, 'o'));
		scene_free(scene);
	}
}

static void a_block_that_was_rebuilt_for_a_missing_member_is_placed_and_not_verified(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID5, 4, PI_T10);
	struct geometry *g = &scene->rig->geometry;
	uint64_t block = geometry_volume_block(g, 0, 1, 2);
	rig_remove_member(scene->rig, geometry_member(g, 0, 1));
	scene->memory.scribbles = 1;
	assert_int_equal(read_block(scene, block), 0);
	assert_false(gave_old(scene, block));
	assert_memory_equal(scene->got, scene->memory.memory, BLOCK_BYTES);
	assert_int_equal(stats(scene).false_pi_errors, 0);
	scene_free(scene);
}

static void a_block_that_was_never_written_is_placed_and_not_verified(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID1, 2, PI_T10);
	struct rig *empty = rig_new(&(struct rig_config){.level = RAID_RAID1,
		.members = 2,
		.chunk_blocks = 4,
		.stripes = 4,
		.pi = PI_T10,
		.seed = SEED});
	rig_free(scene->rig);
	scene->rig = empty;
	scene->memory.io = empty->io;
	memset(scene->memory.memory, 0xaa, BLOCK_BYTES);
	scene->memory.scribbles = 1;
	scene->memory.scribble_at = 9;
	assert_int_equal(read_block(scene, 1), 0);
	assert_int_equal(scene->got[9], 0xff);
	assert_int_equal(scene->got[10], 0);
	assert_int_equal(stats(scene).false_pi_errors, 0);
	scene_free(scene);
}

static void damage_of_a_medium_is_mended_and_is_nobodys_mutation(void **unused)
{
	(void)unused;
	for (unsigned i = 1; i < 3; i++) {
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_T10);
		rig_rot_data(scene->rig, 0, 0, 1);
		for (unsigned n = 0; n < 2; n++) { /* mirrors take turns */
			assert_int_equal(read_block(scene, 1), 0);
			assert_true(gave_old(scene, 1));
		}
		rig_settle(scene->rig);
		assert_int_equal(rig_events(scene->rig, EVENT_REPAIRED), 1);
		assert_int_equal(stats(scene).false_pi_errors, 0);
		assert_int_equal(stats(scene).repairs_unneeded, 0);
		assert_true(rig_is_clean(scene->rig));
		scene_free(scene);
	}
}

static void damage_beside_a_storing_reader_is_mended_and_the_repair_was_needed(void **unused)
{
	(void)unused;
	for (unsigned i = 1; i < 3; i++) {
		struct scene *scene = scene_new(levels[i].level, levels[i].members, PI_T10);
		rig_rot_data(scene->rig, 0, 0, 1);
		scene->memory.scribbles = FOREVER;
		for (unsigned n = 0; n < 2; n++)
			assert_int_equal(read_block(scene, 1), -EILSEQ);
		rig_settle(scene->rig);
		assert_int_equal(rig_events(scene->rig, EVENT_UNREPAIRABLE), 0);
		assert_int_equal(rig_events(scene->rig, EVENT_REPAIRED), 1);
		assert_true(rig_reads(scene->rig, 1, 'o'));
		assert_true(rig_is_clean(scene->rig));
		scene_free(scene);
	}
}

static void memory_that_cannot_be_reached_makes_it_a_plain_read(void **unused)
{
	(void)unused;
	for (unsigned view = 0; view < 2; view++) {
		struct scene *scene = scene_new(RAID_RAID5, 4, PI_T10);
		scene->memory.place_fails = view ? 0 : -ETIME;
		scene->memory.view_fails = view ? -EFAULT : 0;
		scene->memory.scribbles = FOREVER; /* nobody sees it */
		assert_int_equal(read_range(scene, 0, 12 * BLOCK_BYTES), 0);
		assert_true(gave_old(scene, 0));
		assert_true(scene->sink->found.failed);
		unsigned accesses = scene->memory.accesses;
		scene->memory.place_fails = scene->memory.view_fails = 0;
		assert_int_equal(read_range(scene, 0, 12 * BLOCK_BYTES), 0);
		assert_int_equal(scene->memory.accesses, accesses);
		assert_unharmed(scene);
		scene_free(scene);
	}
}

static void a_part_of_a_block_is_verified_with_the_rest_of_it(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID5, 4, PI_T10);
	uint8_t old[BLOCK_BYTES];
	rig_fill_block(old, 5, 'o');
	memset(scene->memory.memory, 0xaa, MEMORY);
	assert_int_equal(read_range(scene, 5 * BLOCK_BYTES + 512, 1024), 0);
	assert_memory_equal(scene->got, old + 512, 1024);
	assert_memory_equal(scene->memory.memory, old + 512, 1024);
	assert_int_equal(scene->memory.memory[1024], 0xaa);
	scene->memory.scribbles = FOREVER;
	scene->memory.scribble_at = 1023;
	assert_int_equal(read_range(scene, 5 * BLOCK_BYTES + 512, 1024), -EILSEQ);
	assert_int_equal(scene->sink->found.first_changed, 0);
	assert_unharmed(scene);
	scene_free(scene);
}

static void a_long_read_of_any_bytes_finds_its_place_in_the_memory(void **unused)
{
	(void)unused;
	struct scene *scene = scene_new(RAID_RAID5, 4, PI_T10);
	uint32_t len = 20 * BLOCK_BYTES;
	uint8_t *old = malloc(22 * BLOCK_BYTES);
	for (unsigned b = 0; b < 22; b++)
		rig_fill_block(old + b * BLOCK_BYTES, b, 'o');
	scene->memory.scribbles = 1;
	scene->memory.scribble_at = 15 * BLOCK_BYTES;
	assert_int_equal(read_range(scene, 700, len), 0);
	assert_memory_equal(scene->got, old + 700, len);
	assert_memory_equal(scene->memory.memory, old + 700, len);
	assert_int_equal(scene->sink->found.first_changed, 15 * BLOCK_BYTES - 700);
	assert_unharmed(scene);
	free(old);
	scene_free(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_tuples_the_readers_memory_is_left_alone),
		cmocka_unit_test(a_still_reader_has_the_blocks_in_its_memory),
		cmocka_unit_test(a_read_is_kept_open_between_placing_and_checking),
		cmocka_unit_test(
			a_reader_that_stores_once_costs_another_way_and_a_repair_of_nothing),
		cmocka_unit_test(a_reader_that_goes_on_storing_gets_an_error_and_harms_nothing),
		cmocka_unit_test(a_degraded_array_has_no_other_way),
		cmocka_unit_test(
			a_block_that_was_rebuilt_for_a_missing_member_is_placed_and_not_verified),
		cmocka_unit_test(a_block_that_was_never_written_is_placed_and_not_verified),
		cmocka_unit_test(damage_of_a_medium_is_mended_and_is_nobodys_mutation),
		cmocka_unit_test(
			damage_beside_a_storing_reader_is_mended_and_the_repair_was_needed),
		cmocka_unit_test(memory_that_cannot_be_reached_makes_it_a_plain_read),
		cmocka_unit_test(a_part_of_a_block_is_verified_with_the_rest_of_it),
		cmocka_unit_test(a_long_read_of_any_bytes_finds_its_place_in_the_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
