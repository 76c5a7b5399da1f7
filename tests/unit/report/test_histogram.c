/* SPDX-License-Identifier: MIT */
/* Histograms against a sorted array of the same values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "report/histogram.h"

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void an_empty_histogram_says_zero(void **unused)
{
	(void)unused;
	struct histogram h = {0};
	assert_int_equal(histogram_percentile(&h, 500), 0);
	assert_true(histogram_mean(&h) == 0);
}

static void small_values_are_exact(void **unused)
{
	(void)unused;
	struct histogram h = {0};
	for (uint64_t v = 0; v <= 10; v++)
		histogram_add(&h, v);
	assert_int_equal(histogram_percentile(&h, 0), 0);
	assert_int_equal(histogram_percentile(&h, 500), 5);
	assert_int_equal(histogram_percentile(&h, 1000), 10);
	assert_true(histogram_mean(&h) == 5.0);
}

static void percentiles_are_off_by_at_most_one_part(void **unused)
{
	(void)unused;
	enum { COUNT = 5000 };
	static uint64_t values[COUNT];
	unsigned seed = 99;
	print_message("seed %u\n", seed);
	struct histogram h = {0};
	for (unsigned i = 0; i < COUNT; i++) {
		values[i] = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 30);
		histogram_add(&h, values[i]);
	}
	qsort(values, COUNT, sizeof(values[0]), compare_u64);
	for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
		uint64_t exact = values[(COUNT * per_mille + 999) / 1000 - 1];
		uint64_t got = histogram_percentile(&h, per_mille);
		assert_true(got >= exact && got - exact <= exact / HISTOGRAM_PARTS);
	}
	assert_true(histogram_percentile(&h, 1000) == values[COUNT - 1]);
	assert_true(histogram_percentile(&h, 0) == values[0]);
}

static void a_merge_is_as_if_one_had_counted_all(void **unused)
{
	(void)unused;
	struct histogram a = {0}, b = {0}, both = {0}, empty = {0};
	for (uint64_t v = 1; v < 100000; v = v * 3 + 1) {
		histogram_add(v % 2 ? &a : &b, v);
		histogram_add(&both, v);
	}
	histogram_merge(&a, &b);
	histogram_merge(&a, &empty);
	assert_memory_equal(&a, &both, sizeof(a));
}

static void octaves_hold_their_powers_of_two(void **unused)
{
	(void)unused;
	struct histogram h = {0};
	static const uint64_t values[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 1000, UINT64_MAX};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		histogram_add(&h, values[i]);
	assert_int_equal(histogram_octave(&h, 0), 2);
	assert_int_equal(histogram_octave(&h, 1), 2);
	assert_int_equal(histogram_octave(&h, 2), 2);
	assert_int_equal(histogram_octave(&h, 3), 2);
	assert_int_equal(histogram_octave(&h, 4), 1);
	assert_int_equal(histogram_octave(&h, 9), 1);
	assert_int_equal(histogram_octave(&h, 10), 0);
	assert_int_equal(histogram_octave(&h, 63), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_histogram_says_zero),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(percentiles_are_off_by_at_most_one_part),
		cmocka_unit_test(a_merge_is_as_if_one_had_counted_all),
		cmocka_unit_test(octaves_hold_their_powers_of_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
