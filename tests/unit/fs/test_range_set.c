/* SPDX-License-Identifier: MIT */
/* Ranges against a set of bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/range_set.h"
#include "unit/random.h"

#define NUMBERS 400u

static void the_set_holds_what_was_added_in_few_ranges(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0x5E7);
	for (unsigned round = 0; round < 200; round++) {
		bool model[NUMBERS + 1] = {0};
		struct range_set set = {0};
		for (unsigned i = 0; i < 30; i++) {
			unsigned first = random_below(&r, NUMBERS), n = random_below(&r, 12);
			n = first + n > NUMBERS ? NUMBERS - first : n;
			range_set_add(&set, first, first + n);
			for (unsigned k = 0; k < n; k++)
				model[first + k] = true;
		}
		unsigned at = 0;
		for (size_t i = 0; i < set.count; i++) {
			for (; at < set.ranges[i].first; at++)
				assert_false(model[at]);
			for (; at < set.ranges[i].end; at++)
				assert_true(model[at]);
			assert_false(model[at]); /* neighbours are one range */
		}
		for (; at < NUMBERS; at++)
			assert_false(model[at]);
		range_set_clear(&set);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_set_holds_what_was_added_in_few_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
