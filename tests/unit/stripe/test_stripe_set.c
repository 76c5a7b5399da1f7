/* SPDX-License-Identifier: MIT */
/* Sets of stripes by region, against an array of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "stripe/stripe_set.h"
#include "unit/random.h"

#define STRIPES 1000u

static void what_is_added_and_not_removed_is_in(void **unused)
{
	(void)unused;
	static const uint64_t region_sizes[] = {1, 7, 64, 100, STRIPES, 5000};
	struct random r = {42};
	for (unsigned i = 0; i < 6; i++) {
		struct stripe_set set;
		bool in[STRIPES] = {false};
		uint64_t count = 0;
		assert_int_equal(stripe_set_init(&set, STRIPES, region_sizes[i]), 0);
		for (unsigned n = 0; n < 3000; n++) {
			unsigned stripe = random_below(&r, STRIPES);
			bool add = random_below(&r, 3) == 0;
			if (add)
				stripe_set_add(&set, stripe);
			else
				stripe_set_remove(&set, stripe);
			count += (uint64_t)add - in[stripe];
			in[stripe] = add;
			assert_int_equal(stripe_set_has(&set, stripe), add);
			assert_int_equal(stripe_set_count(&set), count);
		}
		uint64_t next = 0;
		for (unsigned stripe = 0; stripe < STRIPES; stripe++) {
			assert_int_equal(stripe_set_has(&set, stripe), in[stripe]);
			if (!in[stripe])
				continue;
			assert_int_equal(stripe_set_next(&set, next), stripe);
			next = stripe + 1;
		}
		assert_int_equal(stripe_set_next(&set, next), STRIPES);
		stripe_set_clear(&set);
		assert_int_equal(stripe_set_count(&set), 0);
		assert_int_equal(stripe_set_next(&set, 0), STRIPES);
		stripe_set_fini(&set);
	}
}

static void a_region_has_all_its_stripes_and_the_last_one_fewer(void **unused)
{
	(void)unused;
	struct stripe_set set;
	assert_int_equal(stripe_set_init(&set, 10, 4), 0);
	stripe_set_add(&set, 5);
	stripe_set_add_region(&set, 1);
	stripe_set_add_region(&set, 2);
	assert_int_equal(stripe_set_region_count(&set, 0), 0);
	assert_int_equal(stripe_set_region_count(&set, 1), 4);
	assert_int_equal(stripe_set_region_count(&set, 2), 2);
	assert_int_equal(stripe_set_next(&set, 0), 4);
	assert_int_equal(stripe_set_count(&set), 6);
	stripe_set_remove(&set, 9);
	assert_int_equal(stripe_set_region_count(&set, 2), 1);
	stripe_set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_and_not_removed_is_in),
		cmocka_unit_test(a_region_has_all_its_stripes_and_the_last_one_fewer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
