/* SPDX-License-Identifier: MIT */
/* cli/mounts: which mount a path lies in. */
#include "cli/mounts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char table[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"30 22 0:50 / /mnt/a rw,nosuid shared:9 master:2 - fuse.stablefs /vol/a rw,user_id=0\n"
	"31 22 0:51 / /mnt/with\\040space rw - fuse.stablefs x rw\n"
	"32 30 0:52 / /mnt/a/inner rw - tmpfs none rw\n"
	"33 22 0:53 / /mnt/covered rw - fuse.stablefs x rw\n"
	"34 33 0:54 / /mnt/covered rw - tmpfs none rw\n"
	"35 22 0:55 / /mnt/other rw - fuse.sshfs x rw\n"
	"a line that is none\n"
	"36 22\n";

static bool find(const char *path, char point[256])
{
	FILE *file = fmemopen((void *)(uintptr_t)table, sizeof(table) - 1, "r");
	assert_non_null(file);
	bool ours = mounts_find(file, path, point, 256);
	fclose(file);
	return ours;
}

static void a_path_below_a_mount_lies_in_it(void **unused)
{
	(void)unused;
	char point[256];
	assert_true(find("/mnt/a/dir/file", point));
	assert_string_equal(point, "/mnt/a");
	assert_true(find("/mnt/a", point));
	assert_true(find("/mnt/with space/f", point));
	assert_string_equal(point, "/mnt/with space");
}

static void a_path_beside_a_mount_does_not(void **unused)
{
	(void)unused;
	char point[256];
	assert_false(find("/mnt/ab", point));
	assert_string_equal(point, "/");
	assert_false(find("/mnt", point));
	assert_false(find("/mnt/other/f", point));
}

static void the_innermost_and_uppermost_mount_counts(void **unused)
{
	(void)unused;
	char point[256];
	assert_false(find("/mnt/a/inner/f", point));
	assert_string_equal(point, "/mnt/a/inner");
	assert_false(find("/mnt/covered/f", point));
}

static void a_mount_is_listed_once(void **unused)
{
	(void)unused;
	struct mounts m = {0};
	assert_int_equal(mounts_add(&m, "/a"), 0);
	assert_int_equal(mounts_add(&m, "/b"), 0);
	assert_int_equal(mounts_add(&m, "/a"), 0);
	assert_int_equal(m.count, 2);
	for (char name[] = "/A"; m.count < MOUNTS_MAX; name[1]++)
		assert_int_equal(mounts_add(&m, name), 0);
	assert_int_equal(mounts_add(&m, "/more"), -ENOSPC);
	mounts_free(&m);
}

static void words_without_a_stablefs_add_none(void **unused)
{
	(void)unused;
	struct mounts m = {0};
	const char *const words[] = {
		"prog", "/proc/self", "--file=/proc/nothing/there", "-x", "=/", NULL};
	assert_int_equal(mounts_add_of_words(&m, (char *const *)(uintptr_t)words), 0);
	assert_int_equal(m.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_below_a_mount_lies_in_it),
		cmocka_unit_test(a_path_beside_a_mount_does_not),
		cmocka_unit_test(the_innermost_and_uppermost_mount_counts),
		cmocka_unit_test(a_mount_is_listed_once),
		cmocka_unit_test(words_without_a_stablefs_add_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
