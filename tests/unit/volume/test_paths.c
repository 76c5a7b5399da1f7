/* SPDX-License-Identifier: MIT */
/* What VOLUME arguments stand for. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "volume/internal.h"

static void only_plain_numbers_make_member_names(void **unused)
{
	(void)unused;
	assert_int_equal(member_file_number("member-0"), 0);
	assert_int_equal(member_file_number("member-15"), 15);
	static const char *const others[] = {"member-", "member-01", "member-1a", "member--1",
		"member-1.bak", "Member-1", "amember-1", "member-12345", ""};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(member_file_number(others[i]), -1);
}

static void touch(const char *dir, const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void a_directory_gives_its_members_in_order_of_their_numbers(void **unused)
{
	(void)unused;
	char dir[] = "/tmp/stablefs-test-XXXXXX";
	static const char *const names[] = {
		"member-10", "member-2", "member-0", "member-2.old", "notes"};
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 5; i++)
		touch(dir, names[i]);
	char *const args[] = {dir};
	struct volume_paths found;
	assert_int_equal(volume_paths_find(args, 1, &found, NULL), 0);
	assert_int_equal(found.count, 3);
	assert_string_equal(strrchr(found.paths[0], '/'), "/member-0");
	assert_string_equal(strrchr(found.paths[1], '/'), "/member-2");
	assert_string_equal(strrchr(found.paths[2], '/'), "/member-10");
	volume_paths_free(&found);
	for (size_t i = 0; i < 5; i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	struct errmsg why = {0};
	assert_int_equal(volume_paths_find(args, 1, &found, &why), -ENOENT);
	assert_non_null(strstr(why.text, "holds no volume"));
	assert_int_equal(found.count, 0);
	rmdir(dir);
}

static void anything_else_stands_for_itself(void **unused)
{
	(void)unused;
	char *const args[] = {(char *)"/dev/null", (char *)"nowhere"};
	struct volume_paths found;
	assert_int_equal(volume_paths_find(args, 2, &found, NULL), 0);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.paths[0], "/dev/null");
	assert_string_equal(found.paths[1], "nowhere");
	volume_paths_free(&found);
	volume_paths_free(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_plain_numbers_make_member_names),
		cmocka_unit_test(a_directory_gives_its_members_in_order_of_their_numbers),
		cmocka_unit_test(anything_else_stands_for_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
