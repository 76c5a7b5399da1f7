/* SPDX-License-Identifier: MIT */
/* base/errmsg: the first message wins, and it comes with its error. */
#include "base/errmsg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void a_message_is_formatted_and_its_error_returned(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	assert_int_equal(errmsg_set(&why, -EINVAL, "%s has %u members", "raid5", 2u), -EINVAL);
	assert_string_equal(why.text, "raid5 has 2 members");
}

static void the_first_message_wins(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	errmsg_set(&why, -ENOENT, "first");
	assert_int_equal(errmsg_set(&why, -EIO, "second"), -EIO);
	assert_string_equal(why.text, "first");
}

static void nobody_has_to_listen(void **unused)
{
	(void)unused;
	assert_int_equal(errmsg_set(NULL, -EIO, "lost"), -EIO);
	assert_int_equal(errmsg_prefix(NULL, -EIO, "lost"), -EIO);
}

static void a_prefix_goes_in_front_of_what_was_said(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	errmsg_set(&why, -EIO, "short read");
	assert_int_equal(errmsg_prefix(&why, -EIO, "member %d", 3), -EIO);
	assert_string_equal(why.text, "member 3: short read");
}

static void a_prefix_alone_names_the_error(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	errmsg_prefix(&why, -ENOENT, "/dev/x");
	assert_string_equal(why.text, "/dev/x: No such file or directory");
}

static void a_message_too_long_is_cut_and_terminated(void **unused)
{
	(void)unused;
	char big[2000];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	struct errmsg why = {0};
	errmsg_set(&why, -EIO, "%s", big);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	errmsg_prefix(&why, -EIO, "where");
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	assert_memory_equal(why.text, "where: xxx", 10);
	errmsg_prefix(&why, -EIO, "%s", big);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_formatted_and_its_error_returned),
		cmocka_unit_test(the_first_message_wins),
		cmocka_unit_test(nobody_has_to_listen),
		cmocka_unit_test(a_prefix_goes_in_front_of_what_was_said),
		cmocka_unit_test(a_prefix_alone_names_the_error),
		cmocka_unit_test(a_message_too_long_is_cut_and_terminated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
