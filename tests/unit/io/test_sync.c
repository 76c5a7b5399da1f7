/* SPDX-License-Identifier: MIT */
/* Blocking transfers, on both engines. */
#include "io/simulated.h"
#include "io/uring.h"
#include "io_rig.h"

#define MIRRORS 3
#define LEN     (2 * BLOCK_BYTES)

/* Three mirrors on whichever engine. */
struct rig {
	struct sim_world *world; /* NULL: io_uring */
	char dir[64];
	char names[MIRRORS][96];
	struct io_engine *io;
	struct io_file *files[MIRRORS];
};

static bool rig_open(struct rig *rig, bool simulated)
{
	*rig = (struct rig){0};
	if (simulated) {
		rig->world = sim_world_new(1);
		assert_int_equal(sim_engine_new(rig->world, &rig->io), 0);
	} else if (uring_engine_new(8, &rig->io, NULL) < 0) {
		return false; /* test_uring says why */
	} else {
		strcpy(rig->dir, "/tmp/stablefs-sync-XXXXXX");
		assert_non_null(mkdtemp(rig->dir));
	}
	for (unsigned i = 0; i < MIRRORS; i++) {
		snprintf(rig->names[i], sizeof(rig->names[i]), "%s/m%u", rig->dir, i);
		assert_int_equal(io_open(rig->io, rig->names[i], IO_OPEN_CREATE, 8 * BLOCK_BYTES,
					 &rig->files[i], NULL),
			0);
	}
	return true;
}

static void rig_close(struct rig *rig)
{
	for (unsigned i = 0; i < MIRRORS; i++) {
		io_close(rig->files[i]);
		unlink(rig->names[i]);
	}
	io_engine_free(rig->io);
	sim_world_free(rig->world);
	if (rig->dir[0])
		rmdir(rig->dir);
}

static void on_each_engine(void (*body)(struct rig *rig))
{
	for (unsigned simulated = 0; simulated < 2; simulated++) {
		struct rig rig;
		if (!rig_open(&rig, simulated))
			continue;
		body(&rig);
		rig_close(&rig);
	}
}

static void transfer_one(struct rig *rig)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	fill_sectors(buf, LEN, 8, 1);
	assert_int_equal(io_sync_write(rig->files[1], BLOCK_BYTES, buf, LEN), 0);
	assert_int_equal(io_sync_flush(rig->files[1]), 0);
	memset(buf, 0, LEN);
	assert_int_equal(io_sync_read(rig->files[1], BLOCK_BYTES, buf, LEN), 0);
	assert_true(holds_sectors(buf, LEN, 8, 1));
	assert_int_equal(io_sync_read(rig->files[1], 7 * BLOCK_BYTES, buf, LEN), -EIO);
	assert_int_equal(io_sync_write(rig->files[1], 7 * BLOCK_BYTES, buf, LEN), -ENOSPC);
}

static void what_is_written_is_read_and_errors_are_returned(void **unused)
{
	(void)unused;
	on_each_engine(transfer_one);
}

static void write_mirrors(struct rig *rig)
{
	int errs[MIRRORS] = {1, 1, 1};
	struct io_file *files[MIRRORS] = {rig->files[0], NULL, rig->files[2]};
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	fill_sectors(buf, LEN, 0, 2);
	io_sync_write_all(files, MIRRORS, 0, buf, LEN, errs);
	assert_int_equal(errs[0], 0);
	assert_int_equal(errs[1], -ENODEV);
	assert_int_equal(errs[2], 0);
	io_sync_flush_all(files, MIRRORS, errs);
	assert_int_equal(errs[0], 0);
	assert_int_equal(errs[1], -ENODEV);
	assert_int_equal(errs[2], 0);
	for (unsigned i = 0; i < MIRRORS; i++) {
		assert_int_equal(io_sync_read(rig->files[i], 0, buf, LEN), 0);
		assert_true(i == 1 ? is_zeros(buf, LEN) : holds_sectors(buf, LEN, 0, 2));
	}
	io_sync_write_all(files, 0, 0, buf, LEN, errs);
}

static void mirrors_are_written_together_and_a_missing_one_is_told(void **unused)
{
	(void)unused;
	on_each_engine(write_mirrors);
}

static void one_mirror_fails_and_the_others_do_not(void **unused)
{
	(void)unused;
	struct rig rig;
	int errs[MIRRORS];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	assert_true(rig_open(&rig, true));
	struct sim_fault fault = {
		.kind = SIM_WRITE_ERROR, .name = rig.names[1], .count = 1, .per_mille = 1000};
	sim_world_arm(rig.world, &fault);
	io_sync_write_all(rig.files, MIRRORS, 0, buf, LEN, errs);
	assert_int_equal(errs[0], 0);
	assert_int_equal(errs[1], -EIO);
	assert_int_equal(errs[2], 0);
	rig_close(&rig);
}

static void wake_and_transfer(struct rig *rig)
{
	static struct op late; /* lasts until the engine forgets it */
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	op_alarm(&late, rig->io, io_now_ns(rig->io) + 600 * NS_PER_S);
	io_wake(rig->io);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(io_sync_write(rig->files[0], 0, buf, LEN), 0);
	assert_int_equal(io_run(rig->io, true), 0);
	assert_int_equal(late.times, 0);
}

static void a_wake_that_comes_meanwhile_is_kept(void **unused)
{
	(void)unused;
	alarm(30);
	on_each_engine(wake_and_transfer);
	alarm(0);
}

static void transfer_beside_others(struct rig *rig)
{
	struct op alarms[2];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	op_alarm(&alarms[0], rig->io, 1);
	op_alarm(&alarms[1], rig->io, io_now_ns(rig->io) + 20 * NS_PER_MS);
	assert_int_equal(io_sync_read(rig->files[0], 0, buf, LEN), 0);
	assert_int_equal(alarms[0].err, 0);
	assert_int_equal(op_wait(&alarms[1]), 0);
}

static void requests_of_others_go_on_meanwhile(void **unused)
{
	(void)unused;
	on_each_engine(transfer_beside_others);
}

static void a_power_cut_ends_a_blocking_transfer(void **unused)
{
	(void)unused;
	struct rig rig;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	assert_true(rig_open(&rig, true));
	sim_world_cut_power_after(rig.world, 0);
	assert_int_equal(io_sync_write(rig.files[0], 0, buf, LEN), -ESHUTDOWN);
	assert_int_equal(io_sync_flush(rig.files[0]), -ESHUTDOWN);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_and_errors_are_returned),
		cmocka_unit_test(mirrors_are_written_together_and_a_missing_one_is_told),
		cmocka_unit_test(one_mirror_fails_and_the_others_do_not),
		cmocka_unit_test(a_wake_that_comes_meanwhile_is_kept),
		cmocka_unit_test(requests_of_others_go_on_meanwhile),
		cmocka_unit_test(a_power_cut_ends_a_blocking_transfer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
