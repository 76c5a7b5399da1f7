/* SPDX-License-Identifier: MIT */
/* pi/guard: published values, and the bitwise oracle for everything between them. */
#include "pi/pi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"
#include "oracle.h"

static const enum pi_type types[] = {PI_T10, PI_CRC32C, PI_CRC64};

struct vector {
	const char *name;
	const uint8_t *data;
	size_t len_bytes;
	uint64_t guard[3]; /* as in types[] */
};

static uint8_t ones[BLOCK_BYTES], zeros[BLOCK_BYTES], counting[BLOCK_BYTES];

static const struct vector vectors[] = {
	{"digits", (const uint8_t *)"123456789", 9,
		{0xd0db, 0xe3069283, UINT64_C(0xae8b14860a799888)}},
	{"block of FF", ones, BLOCK_BYTES, {0x8b5d, 0x25c1fe13, UINT64_C(0xc0ddba7302eca3ac)}},
	{"block of 00 to FF", counting, BLOCK_BYTES,
		{0x8f6d, 0x9c71fe32, UINT64_C(0x3e729f5f6750449c)}},
};

static int fill_blocks(void **unused)
{
	(void)unused;
	memset(ones, 0xff, sizeof(ones));
	for (unsigned i = 0; i < sizeof(counting); i++)
		counting[i] = (uint8_t)i;
	return 0;
}

static void the_oracle_gives_the_published_values(void **unused)
{
	(void)unused;
	for (unsigned v = 0; v < 3; v++) {
		const struct vector *vec = &vectors[v];
		for (unsigned t = 0; t < 3; t++)
			assert_true(
				oracle_guard(types[t], vec->data, vec->len_bytes) == vec->guard[t]);
	}
}

static void the_guard_gives_the_published_values(void **unused)
{
	(void)unused;
	for (unsigned v = 0; v < 3; v++) {
		const struct vector *vec = &vectors[v];
		for (unsigned t = 0; t < 3; t++) {
			if (pi_supported(types[t]))
				assert_true(pi_guard(types[t], vec->data,
						    (uint32_t)vec->len_bytes) == vec->guard[t]);
		}
	}
}

static void every_length_agrees_with_the_oracle(void **unused)
{
	(void)unused;
	struct random r = random_start("guard", 0x5eed0002);
	uint8_t data[BLOCK_BYTES];
	random_fill(&r, data, sizeof(data));
	for (unsigned t = 0; t < 3; t++) {
		if (!pi_supported(types[t]))
			continue;
		for (uint32_t len = 1; len <= sizeof(data); len += len < 300 ? 1 : 316)
			assert_true(
				pi_guard(types[t], data, len) == oracle_guard(types[t], data, len));
	}
}

/* The reason for the escape: see I1 of pi.h. */
static void zeros_have_the_t10_guard_zero(void **unused)
{
	(void)unused;
	assert_true(pi_guard(PI_T10, zeros, sizeof(zeros)) == 0);
	assert_true(pi_guard(PI_CRC32C, zeros, sizeof(zeros)) != 0);
}

static void a_guard_sees_every_single_bit(void **unused)
{
	(void)unused;
	struct random r = random_start("single bits", 0x5eed0003);
	uint8_t block[BLOCK_BYTES];
	random_fill(&r, block, sizeof(block));
	for (unsigned t = 0; t < 3; t++) {
		if (!pi_supported(types[t]))
			continue;
		uint64_t good = pi_guard(types[t], block, sizeof(block));
		for (unsigned bit = 0; bit < 8 * sizeof(block); bit += 7) {
			block[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_true(pi_guard(types[t], block, sizeof(block)) != good);
			block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void support_is_known_for_any_number(void **unused)
{
	(void)unused;
	assert_true(pi_supported(PI_NONE));
	assert_true(pi_supported(PI_T10));
	assert_true(pi_supported(PI_CRC32C));
	assert_false(pi_supported((enum pi_type)4));
	assert_false(pi_supported((enum pi_type)255));
#ifdef HAVE_CRC64_ROCKSOFT
	assert_true(pi_supported(PI_CRC64));
#else
	assert_false(pi_supported(PI_CRC64));
#endif
}

static void no_protection_has_no_guard(void **unused)
{
	(void)unused;
	assert_true(pi_guard(PI_NONE, ones, sizeof(ones)) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oracle_gives_the_published_values),
		cmocka_unit_test(the_guard_gives_the_published_values),
		cmocka_unit_test(every_length_agrees_with_the_oracle),
		cmocka_unit_test(zeros_have_the_t10_guard_zero),
		cmocka_unit_test(a_guard_sees_every_single_bit),
		cmocka_unit_test(support_is_known_for_any_number),
		cmocka_unit_test(no_protection_has_no_guard),
	};
	return cmocka_run_group_tests(tests, fill_blocks, NULL);
}
