/* SPDX-License-Identifier: MIT */
/* base/crc32c against published values and against one bit at a time. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"

static uint32_t crc32c_plain(const uint8_t *data, size_t len_bytes)
{
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void the_check_value_is_that_of_the_catalogue(void **unused)
{
	(void)unused;
	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
}

/* RFC 3720, appendix B.4, as numbers. */
static void the_examples_of_iscsi_hold(void **unused)
{
	(void)unused;
	uint8_t data[32] = {0};
	assert_int_equal(crc32c(data, sizeof(data)), 0x8a9136aau);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(crc32c(data, sizeof(data)), 0x62a8ab43u);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	assert_int_equal(crc32c(data, sizeof(data)), 0x46dd794eu);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(data, sizeof(data)), 0x113fdb5cu);
}

static void nothing_has_the_checksum_zero(void **unused)
{
	(void)unused;
	assert_int_equal(crc32c("", 0), 0);
}

static void every_length_and_alignment_agrees_with_the_oracle(void **unused)
{
	(void)unused;
	struct random r = random_start("crc32c", 0x5eed0001);
	uint8_t data[700];
	random_fill(&r, data, sizeof(data));
	for (size_t at = 0; at < 16; at++) {
		for (size_t len = 0; len + at <= sizeof(data); len += len < 300 ? 1 : 37)
			assert_int_equal(crc32c(data + at, len), crc32c_plain(data + at, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_check_value_is_that_of_the_catalogue),
		cmocka_unit_test(the_examples_of_iscsi_hold),
		cmocka_unit_test(nothing_has_the_checksum_zero),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_oracle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
