/* SPDX-License-Identifier: MIT */
/* Sizes and durations, read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include "report/size.h"

static void expect_size(const char *text, uint64_t want)
{
	uint64_t got = 0;
	assert_int_equal(size_parse(text, &got, NULL), 0);
	assert_true(got == want);
}

static void sizes_are_powers_of_1024(void **unused)
{
	(void)unused;
	expect_size("0", 0);
	expect_size("4096", 4096);
	expect_size("512B", 512);
	expect_size("64K", 65536);
	expect_size("64k", 65536);
	expect_size("64KB", 65536);
	expect_size("1MiB", UINT64_C(1) << 20);
	expect_size("3G", UINT64_C(3) << 30);
	expect_size("2tib", UINT64_C(2) << 40);
	expect_size("1P", UINT64_C(1) << 50);
	expect_size("18446744073709551615", UINT64_MAX);
}

static void what_is_no_size_is_refused_with_the_text(void **unused)
{
	(void)unused;
	static const char *const bad[] = {
		"", "K", "-1", "+1", " 1", "1 ", "1 K", "1.5G", "1X", "1KK", "0x10", "1e3", "1Ki"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct errmsg why = {0};
		uint64_t n = 77;
		assert_int_equal(size_parse(bad[i], &n, &why), -EINVAL);
		assert_int_equal(n, 77);
		assert_non_null(strstr(why.text, bad[i]));
		assert_non_null(strstr(why.text, "not a size"));
	}
}

static void what_does_not_fit_is_too_large(void **unused)
{
	(void)unused;
	uint64_t n;
	struct errmsg why = {0};
	assert_int_equal(size_parse("18446744073709551616", &n, &why), -ERANGE);
	assert_non_null(strstr(why.text, "too large"));
	assert_int_equal(size_parse("16384P", &n, NULL), -ERANGE);
	assert_int_equal(duration_parse("5124096h", &n, NULL), -ERANGE);
	assert_int_equal(count_parse("99999999999999999999", &n, NULL), -ERANGE);
}

static void durations_need_a_unit(void **unused)
{
	(void)unused;
	uint64_t ns = 1;
	struct errmsg why = {0};
	assert_int_equal(duration_parse("200us", &ns, NULL), 0);
	assert_int_equal(ns, 200000);
	assert_int_equal(duration_parse("5s", &ns, NULL), 0);
	assert_true(ns == UINT64_C(5000000000));
	assert_int_equal(duration_parse("2m", &ns, NULL), 0);
	assert_true(ns == UINT64_C(120000000000));
	assert_int_equal(duration_parse("0", &ns, NULL), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(duration_parse("5", &ns, &why), -EINVAL);
	assert_non_null(strstr(why.text, "units are ns, us, ms, s, m, h"));
	assert_int_equal(duration_parse("5S", &ns, NULL), -EINVAL);
}

static void a_count_is_a_bare_number(void **unused)
{
	(void)unused;
	uint64_t n = 0;
	assert_int_equal(count_parse("12", &n, NULL), 0);
	assert_int_equal(n, 12);
	assert_int_equal(count_parse("12K", &n, NULL), -EINVAL);
	assert_int_equal(count_parse("", &n, NULL), -EINVAL);
}

static void people_read_short_forms(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t n;
		const char *size, *duration, *exact;
	} rows[] = {
		{0, "0 B", "0 s", "0"},
		{999, "999 B", "999 ns", "999"},
		{65536, "64 KiB", "65.5 us", "64K"},
		{1536, "1.5 KiB", "1.5 us", "1536"},
		{2047, "1.9 KiB", "2 us", "2047"},
		{UINT64_C(3) << 30, "3 GiB", "3.2 s", "3G"},
		{UINT64_MAX, "16383.9 PiB", "18446744073.7 s", "18446744073709551615"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[SIZE_TEXT_BYTES];
		uint64_t back;
		size_format(rows[i].n, text);
		assert_string_equal(text, rows[i].size);
		duration_format(rows[i].n, text);
		assert_string_equal(text, rows[i].duration);
		size_format_exact(rows[i].n, text);
		assert_string_equal(text, rows[i].exact);
		assert_int_equal(size_parse(text, &back, NULL), 0);
		assert_true(back == rows[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_powers_of_1024),
		cmocka_unit_test(what_is_no_size_is_refused_with_the_text),
		cmocka_unit_test(what_does_not_fit_is_too_large),
		cmocka_unit_test(durations_need_a_unit),
		cmocka_unit_test(a_count_is_a_bare_number),
		cmocka_unit_test(people_read_short_forms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
