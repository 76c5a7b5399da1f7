/* SPDX-License-Identifier: MIT */
/* A member's life on a real file: the engine makes no difference. */
#include "rig.h"
#include <unistd.h>
#include "io/uring.h"

static char path[64];

static int make_path(void **unused)
{
	(void)unused;
	snprintf(path, sizeof(path), "/tmp/stablefs-member-XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int remove_path(void **unused)
{
	(void)unused;
	return unlink(path);
}

/* Skips the test where the kernel has no io_uring for us. */
static void engine_start(struct rig *rig)
{
	struct errmsg why = {0};
	*rig = (struct rig){0};
	if (uring_engine_new(32, &rig->io, &why) < 0) {
		print_message("%s\n", why.text);
		skip();
	}
}

static void what_was_flushed_is_there_in_the_next_run_on_io_uring(void **unused)
{
	(void)unused;
	struct rig rig;
	struct super super = rig_super(PI_CRC32C, PI_CHECK_DEVICE, 64);
	struct member_probe probe = {.super = super};
	engine_start(&rig);
	assert_int_equal(io_open(rig.io, path, IO_OPEN_CREATE | IO_OPEN_REPLACE, super.member_bytes,
				 &probe.file, NULL),
		0);
	assert_int_equal(member_open(rig.io, path, &probe, &rig.m), 0);
	assert_null(probe.file);
	assert_string_equal(member_path(rig.m), path);
	assert_int_equal(member_super_write(rig.m), 0);
	assert_int_equal(rig_write(&rig, 200, 256, 1), 0);
	assert_int_equal(rig_flush(&rig), 0);
	rig_fini(&rig);

	engine_start(&rig);
	rig.m = rig_open_member(&rig, path);
	assert_int_equal(member_super(rig.m)->stripes, 64);
	assert_true(rig_reads(&rig, 200, 256, 1));
	assert_true(rig_reads(&rig, 0, 200, 0));
	rig_fini(&rig);
}

static void tuples_that_were_not_flushed_are_dropped_with_the_member(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 1, PI_T10, PI_CHECK_NONE, 64);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	member_free(rig.m);
	rig.m = rig_open_member(&rig, RIG_DISK);
	assert_true(rig_reads(&rig, 0, 1, 0));
	rig_fini(&rig);
}

static void a_guard_that_cannot_be_computed_is_not_supported(void **unused)
{
	(void)unused;
	if (pi_supported(PI_CRC64))
		skip();
	struct rig rig;
	struct member *m;
	struct member_probe probe = {.super = rig_super(PI_CRC64, PI_CHECK_NONE, 64)};
	rig_init_empty(&rig, 1);
	assert_int_equal(io_open(rig.io, RIG_DISK, IO_OPEN_CREATE, probe.super.member_bytes,
				 &probe.file, NULL),
		0);
	assert_int_equal(member_open(rig.io, RIG_DISK, &probe, &m), -EOPNOTSUPP);
	assert_null(probe.file);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_flushed_is_there_in_the_next_run_on_io_uring),
		cmocka_unit_test(tuples_that_were_not_flushed_are_dropped_with_the_member),
		cmocka_unit_test(a_guard_that_cannot_be_computed_is_not_supported),
	};
	return cmocka_run_group_tests(tests, make_path, remove_path);
}
