/* SPDX-License-Identifier: MIT */
/* base/endian: the bytes lie where the name says, at any alignment. */
#include "base/endian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const uint8_t rising[8] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};

static void loads_take_the_stated_order(void **unused)
{
	(void)unused;
	assert_int_equal(get_be16(rising), 0x0102);
	assert_int_equal(get_be32(rising), 0x01020304);
	assert_true(get_be64(rising) == UINT64_C(0x0102030405060708));
	assert_int_equal(get_le16(rising), 0x0201);
	assert_int_equal(get_le32(rising), 0x04030201);
	assert_true(get_le64(rising) == UINT64_C(0x0807060504030201));
}

static void big_endian_stores_put_the_high_byte_first(void **unused)
{
	(void)unused;
	uint8_t out[8];
	put_be16(out, 0x0102);
	assert_memory_equal(out, rising, 2);
	put_be32(out, 0x01020304);
	assert_memory_equal(out, rising, 4);
	put_be64(out, UINT64_C(0x0102030405060708));
	assert_memory_equal(out, rising, 8);
}

static void little_endian_stores_put_the_low_byte_first(void **unused)
{
	(void)unused;
	uint8_t out[8];
	put_le16(out, 0x0201);
	assert_memory_equal(out, rising, 2);
	put_le32(out, 0x04030201);
	assert_memory_equal(out, rising, 4);
	put_le64(out, UINT64_C(0x0807060504030201));
	assert_memory_equal(out, rising, 8);
}

static void a_store_touches_its_own_bytes_only_at_any_alignment(void **unused)
{
	(void)unused;
	for (unsigned at = 1; at <= 8; at++) {
		uint8_t buf[18] = {0};
		put_be64(buf + at, UINT64_MAX);
		for (unsigned i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], i >= at && i < at + 8 ? 0xff : 0);
		assert_true(get_le64(buf + at) == UINT64_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_take_the_stated_order),
		cmocka_unit_test(big_endian_stores_put_the_high_byte_first),
		cmocka_unit_test(little_endian_stores_put_the_low_byte_first),
		cmocka_unit_test(a_store_touches_its_own_bytes_only_at_any_alignment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
