/* SPDX-License-Identifier: MIT */
/* A volume's life: open, transfer, close; power cuts at every write; a real engine with a thread.
 * */
#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "real.h"

struct shape {
	enum raid_level level;
	unsigned members;
	enum pi_type pi;
};

static const struct shape shapes[] = {
	{RAID_SINGLE, 1, PI_NONE},
	{RAID_SINGLE, 1, PI_T10},
	{RAID_SINGLE, 1, PI_CRC32C},
	{RAID_RAID1, 2, PI_NONE},
	{RAID_RAID1, 3, PI_T10},
	{RAID_RAID1, 2, PI_CRC32C},
	{RAID_RAID5, 3, PI_NONE},
	{RAID_RAID5, 4, PI_T10},
	{RAID_RAID5, 5, PI_CRC32C},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void every_level_and_pi_keeps_its_data_over_a_close(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < SHAPES; i++) {
		struct rig *rig = rig_new(shapes[i].level, shapes[i].members, shapes[i].pi);
		rig_open(rig);
		assert_true(volume_blocks(rig->v) * BLOCK_BYTES >= 16 * MIB);
		assert_int_equal(rig_write(rig, 0, 200000, 1), 0);
		assert_int_equal(rig_write(rig, 5 * MIB + 77, 3 * 65536, 2), 0);
		assert_int_equal(rig_close(rig), 0);
		rig_open(rig);
		assert_true(rig_reads(rig, 0, 200000, 1));
		assert_true(rig_reads(rig, 5 * MIB + 77, 3 * 65536, 2));
		rig_free(rig);
	}
}

static void bytes_never_written_read_as_zeros(void **unused)
{
	(void)unused;
	static const uint8_t zeros[65536];
	uint8_t buf[sizeof(zeros)];
	for (size_t i = 0; i < SHAPES; i++) {
		struct rig *rig = rig_new(shapes[i].level, shapes[i].members, shapes[i].pi);
		rig_open(rig);
		memset(buf, 1, sizeof(buf));
		assert_int_equal(volume_read(rig->v, 3 * MIB, buf, sizeof(buf)), 0);
		assert_memory_equal(buf, zeros, sizeof(buf));
		rig_free(rig);
	}
}

static void a_transfer_beyond_the_end_is_refused(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_NONE);
	rig_open(rig);
	uint64_t end = volume_blocks(rig->v) * BLOCK_BYTES;
	assert_int_equal(rig_write(rig, end - 4096, 4096, 1), 0);
	assert_int_equal(rig_write(rig, end - 4096, 4097, 1), -EINVAL);
	rig_free(rig);
}

static void a_volume_goes_on_without_as_many_members_as_it_can_bear(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		if (s->level == RAID_SINGLE)
			continue;
		struct rig *rig = rig_new(s->level, s->members, s->pi);
		rig_open(rig);
		assert_int_equal(rig_write(rig, 0, 300000, 7), 0);
		assert_int_equal(rig_close(rig), 0);
		/* d0 stays away */
		struct volume_open_options without = {
			.paths = rig_names + 1, .count = s->members - 1};
		assert_int_equal(rig_open_with(rig, without), 0);
		assert_int_equal(volume_missing(rig->v), 1);
		assert_false(volume_member(rig->v, 0).present);
		assert_string_equal(volume_member(rig->v, 0).path, "");
		assert_string_equal(volume_member(rig->v, 1).path, "d1");
		assert_true(rig_reads(rig, 0, 300000, 7));
		assert_int_equal(rig_write(rig, 1000, 300000, 8), 0);
		assert_int_equal(rig_close(rig), 0);
		assert_int_equal(rig_open_with(rig, without), 0);
		assert_true(rig_reads(rig, 1000, 300000, 8));
		rig_free(rig);
	}
}

static void a_volume_is_dirty_while_it_is_open_and_clean_afterwards(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_T10);
	struct super before = rig_super(rig, "d1");
	assert_true(before.clean);
	rig_open(rig);
	struct super open = rig_super(rig, "d1");
	assert_false(open.clean);
	assert_true(open.generation > before.generation);
	assert_int_equal(rig_write(rig, 0, 4096, 1), 0);
	assert_int_equal(rig_close(rig), 0);
	struct super closed = rig_super(rig, "d1");
	assert_true(closed.clean);
	assert_true(closed.generation == open.generation);
	rig_free(rig);
}

static void a_read_only_volume_writes_nothing(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID5, 3, PI_T10);
	rig_open(rig);
	assert_int_equal(rig_write(rig, 0, 65536, 3), 0);
	assert_int_equal(rig_close(rig), 0);
	uint64_t before = sim_world_writes(rig->world);
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.read_only = true}), 0);
	assert_true(volume_is_read_only(rig->v));
	assert_true(sysarea_is_read_only(volume_sysarea(rig->v)));
	assert_true(rig_reads(rig, 0, 65536, 3));
	assert_int_equal(rig_write(rig, 0, 4096, 4), -EROFS);
	assert_int_equal(sysarea_write(volume_sysarea(rig->v), 0, "x", 1), -EROFS);
	assert_int_equal(volume_flush(rig->v), 0);
	assert_int_equal(rig_close(rig), 0);
	assert_int_equal(sim_world_writes(rig->world), before);
	rig_free(rig);
}

static void a_volume_in_use_can_be_looked_at_but_not_opened(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(RAID_RAID1, 2, PI_NONE);
	rig_open(rig);
	struct volume *first = rig->v;
	rig->v = NULL;
	rig_refuses(rig, (struct volume_open_options){0}, -EBUSY, "d0", "");
	assert_int_equal(rig_open_with(rig, (struct volume_open_options){.unlocked = true}), 0);
	assert_true(volume_is_read_only(rig->v));
	assert_int_equal(rig_close(rig), 0);
	rig->v = first;
	rig_free(rig);
}

/* After an unclean end, whatever was flushed is there, and a scrub finds nothing. */
static void what_was_flushed_survives_a_power_failure(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < SHAPES; i++) {
		struct rig *rig = rig_new(shapes[i].level, shapes[i].members, shapes[i].pi);
		struct scrub_result result;
		rig_open(rig);
		assert_int_equal(rig_write(rig, 12345, 500000, 5), 0);
		assert_int_equal(volume_flush(rig->v), 0);
		assert_int_equal(rig_write(rig, 2 * MIB, 300000, 6), 0);
		sim_world_cut_power_after(rig->world, 0);
		assert_int_not_equal(rig_close(rig), 0);
		sim_world_reboot(rig->world);
		assert_false(rig_super(rig, "d0").clean);
		rig_open(rig);
		assert_true(rig_reads(rig, 12345, 500000, 5));
		assert_int_equal(volume_scrub(rig->v, false, NULL, NULL, &result), 0);
		assert_int_equal(result.damage_count, 0);
		scrub_result_free(&result);
		assert_int_equal(rig_close(rig), 0);
		assert_true(rig_super(rig, "d0").clean);
		rig_free(rig);
	}
}

/* Open, write, close; the power goes at the n-th write, n = 0, 1, ... until it stays on. Returns
 * whether it was cut. */
static bool session_with_cut(struct rig *rig, uint64_t n)
{
	sim_world_cut_power_after(rig->world, n);
	int err = rig_open_with(rig, (struct volume_open_options){0});
	if (err == 0) {
		(void)rig_write(rig, 65536, 100000, 9);
		(void)sysarea_write(volume_sysarea(rig->v), 4096, "log", 3);
		(void)rig_close(rig);
	}
	bool cut = sim_world_power_is_cut(rig->world);
	if (!cut)
		sim_world_cut_power_after(rig->world, 0); /* forget the count: the next is now */
	sim_world_reboot(rig->world);
	return cut;
}

static void a_power_cut_at_any_write_leaves_a_volume_that_opens(void **unused)
{
	(void)unused;
	static const struct shape cut_shapes[] = {{RAID_SINGLE, 1, PI_T10},
		{RAID_RAID1, 2, PI_NONE}, {RAID_RAID5, 3, PI_T10}, {RAID_RAID5, 3, PI_NONE}};
	for (size_t i = 0; i < 4; i++) {
		const struct shape *s = &cut_shapes[i];
		bool cut = true;
		uint64_t n = 0;
		for (; cut; n++) {
			struct rig *rig = rig_new(s->level, s->members, s->pi);
			struct scrub_result result;
			rig_open(rig);
			assert_int_equal(rig_write(rig, 0, 65536, 4), 0);
			assert_int_equal(rig_close(rig), 0);
			cut = session_with_cut(rig, n);
			rig_open(rig);
			assert_int_equal(volume_missing(rig->v), 0);
			assert_true(rig_reads(rig, 0, 65536, 4));
			assert_int_equal(volume_scrub(rig->v, false, NULL, NULL, &result), 0);
			assert_int_equal(result.damage_count, 0);
			scrub_result_free(&result);
			assert_int_equal(rig_close(rig), 0);
			rig_free(rig);
		}
		assert_true(n > 10);
	}
}

/* The announcement of a generation may be cut short several times in a row. */
static void cuts_at_one_open_after_another_leave_a_volume_that_opens(void **unused)
{
	(void)unused;
	for (uint64_t first = 0; first < 14; first++) {
		struct rig *rig = rig_new(RAID_RAID5, 3, PI_NONE);
		for (uint64_t n = first; n + 3 > first && n < 14; n--) {
			sim_world_cut_power_after(rig->world, n);
			if (rig_open_with(rig, (struct volume_open_options){0}) == 0)
				(void)rig_close(rig);
			sim_world_reboot(rig->world);
		}
		rig_open(rig);
		assert_int_equal(volume_missing(rig->v), 0);
		rig_free(rig);
	}
}

/* ---- a real engine ---- */

struct client {
	struct volume *v;
	unsigned number;
	int err;
	bool same;
};

static void *client_run(void *arg)
{
	struct client *c = arg;
	struct rig rig = {.v = c->v};
	uint64_t offset = c->number * 2 * MIB;
	c->same = true;
	for (unsigned i = 0; i < 20 && c->err == 0; i++) {
		c->err = rig_write(&rig, offset + i * 30000, 30000, c->number * 100 + i);
		if (c->err == 0 && i % 5 == 0)
			c->err = volume_flush(c->v);
		c->same =
			c->same && rig_reads(&rig, offset + i * 30000, 30000, c->number * 100 + i);
	}
	return NULL;
}

static void threads_share_a_volume_with_an_engine_thread(void **unused)
{
	(void)unused;
	struct real r = real_new(RAID_RAID5, 3, PI_T10, SUPER_HOLE_BITMAP);
	struct client clients[4];
	pthread_t threads[4];
	real_open(&r);
	for (unsigned i = 0; i < 4; i++) {
		clients[i] = (struct client){.v = r.v, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, client_run, &clients[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(clients[i].err, 0);
		assert_true(clients[i].same);
	}
	struct scrub_result result;
	assert_int_equal(volume_scrub(r.v, false, NULL, NULL, &result), 0);
	assert_int_equal(result.damage_count, 0);
	scrub_result_free(&result);
	assert_int_equal(volume_close(r.v), 0);
	real_open(&r);
	struct rig rig = {.v = r.v};
	assert_true(rig_reads(&rig, 2 * MIB, 30000, 100));
	assert_int_equal(volume_close(r.v), 0);
	real_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_level_and_pi_keeps_its_data_over_a_close),
		cmocka_unit_test(bytes_never_written_read_as_zeros),
		cmocka_unit_test(a_transfer_beyond_the_end_is_refused),
		cmocka_unit_test(a_volume_goes_on_without_as_many_members_as_it_can_bear),
		cmocka_unit_test(a_volume_is_dirty_while_it_is_open_and_clean_afterwards),
		cmocka_unit_test(a_read_only_volume_writes_nothing),
		cmocka_unit_test(a_volume_in_use_can_be_looked_at_but_not_opened),
		cmocka_unit_test(what_was_flushed_survives_a_power_failure),
		cmocka_unit_test(a_power_cut_at_any_write_leaves_a_volume_that_opens),
		cmocka_unit_test(cuts_at_one_open_after_another_leave_a_volume_that_opens),
		cmocka_unit_test(threads_share_a_volume_with_an_engine_thread),
	};
	print_message("seed %#llx\n", (unsigned long long)RIG_SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
