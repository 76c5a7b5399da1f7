/* SPDX-License-Identifier: MIT */
/* inflight/policy: names. */
#include "inflight/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_policy_is_read_back_from_its_name(void **unused)
{
	(void)unused;
	static const enum dio_policy all[] = {DIO_BOUNCE, DIO_ZEROCOPY};
	for (unsigned i = 0; i < 2; i++) {
		enum dio_policy read = all[1 - i];
		assert_true(dio_policy_parse(dio_policy_name(all[i]), &read));
		assert_int_equal(read, all[i]);
		assert_non_null(strstr(dio_policy_names(), dio_policy_name(all[i])));
	}
}

static void unknown_names_are_refused(void **unused)
{
	(void)unused;
	static const char *const bad[] = {"", "bounc", "bounced", "Bounce", "zero-copy", " bounce"};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		enum dio_policy read = DIO_ZEROCOPY;
		assert_false(dio_policy_parse(bad[i], &read));
		assert_int_equal(read, DIO_ZEROCOPY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_is_read_back_from_its_name),
		cmocka_unit_test(unknown_names_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
