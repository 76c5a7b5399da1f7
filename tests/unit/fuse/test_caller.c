/* SPDX-License-Identifier: MIT */
#include "fuse/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const char status[] = "Name:\tGroups: 7\nUmask:\t0022\nUid:\t1\t2\t3\t4\n"
			     "Groups:\t4 24 4294967294 \nNStgid:\t99\n"
			     "CapPrm:\tffffffffffffffff\nCapEff:\t0000000000200010\n";

static void groups_are_those_of_their_line(void **unused)
{
	(void)unused;
	assert_true(caller_parse_in_group(status, 4));
	assert_true(caller_parse_in_group(status, 24));
	assert_true(caller_parse_in_group(status, 4294967294u));
	assert_false(caller_parse_in_group(status, 7));
	assert_false(caller_parse_in_group(status, 99));
	assert_false(caller_parse_in_group(status, 2));
}

static void who_has_no_groups_is_in_none(void **unused)
{
	(void)unused;
	assert_false(caller_parse_in_group("Groups:\t\nNStgid:\t99\n", 99));
	assert_false(caller_parse_in_group("Groups:\t \n99\n", 99));
	assert_false(caller_parse_in_group("Groups:", 0));
	assert_false(caller_parse_in_group("", 0));
}

static void capabilities_are_bits_of_the_effective_set(void **unused)
{
	(void)unused;
	bool capable = false;
	assert_true(caller_parse_capable(status, CAP_SYS_ADMIN, &capable));
	assert_true(capable);
	assert_true(caller_parse_capable(status, CAP_FSETID, &capable));
	assert_true(capable);
	assert_true(caller_parse_capable(status, CAP_CHOWN, &capable));
	assert_false(capable);
}

static void where_nothing_is_said_nothing_is_known(void **unused)
{
	(void)unused;
	bool capable;
	assert_false(caller_parse_capable("CapPrm:\tff\n", CAP_CHOWN, &capable));
	assert_false(caller_parse_capable("CapEff:\t\n", CAP_CHOWN, &capable));
	assert_false(caller_parse_capable("", CAP_CHOWN, &capable));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_are_those_of_their_line),
		cmocka_unit_test(who_has_no_groups_is_in_none),
		cmocka_unit_test(capabilities_are_bits_of_the_effective_set),
		cmocka_unit_test(where_nothing_is_said_nothing_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
