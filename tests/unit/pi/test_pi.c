/* SPDX-License-Identifier: MIT */
/* pi/pi: tuples byte by byte, and what verification finds in which order. */
#include "pi/pi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"
#include "oracle.h"

#define BLOCKS 3u

static const enum pi_type types[] = {PI_T10, PI_CRC32C, PI_CRC64};
static uint8_t data[BLOCKS * BLOCK_BYTES];

static int fill_data(void **unused)
{
	(void)unused;
	struct random r = random_start("blocks", 0x5eed0004);
	random_fill(&r, data, sizeof(data));
	return 0;
}

static void a_t10_tuple_is_guard_app_tag_ref_tag(void **unused)
{
	(void)unused;
	const struct pi_tuple t = {.guard = 0xd0db, .app_tag = 0x1234, .ref_tag = 0x1a2b3c4d5e};
	const uint8_t want[8] = {0xd0, 0xdb, 0x12, 0x34, 0x2b, 0x3c, 0x4d, 0x5e};
	uint8_t got[8];
	pi_encode(PI_T10, &t, got);
	assert_memory_equal(got, want, 8);
}

static void a_crc32c_tuple_has_its_ref_tag_in_the_low_64_of_80_bits(void **unused)
{
	(void)unused;
	const struct pi_tuple t = {
		.guard = 0xe3069283, .app_tag = 0x1234, .ref_tag = UINT64_C(0x8877665544332211)};
	const uint8_t want[16] = {0xe3, 0x06, 0x92, 0x83, 0x12, 0x34, 0, 0, 0x88, 0x77, 0x66, 0x55,
		0x44, 0x33, 0x22, 0x11};
	uint8_t got[16];
	pi_encode(PI_CRC32C, &t, got);
	assert_memory_equal(got, want, 16);
}

static void a_crc64_tuple_has_a_ref_tag_of_48_bits(void **unused)
{
	(void)unused;
	const struct pi_tuple t = {.guard = UINT64_C(0xae8b14860a799888),
		.app_tag = 0x1234,
		.ref_tag = UINT64_C(0x8877665544332211)};
	const uint8_t want[16] = {0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88, 0x12, 0x34, 0x66,
		0x55, 0x44, 0x33, 0x22, 0x11};
	uint8_t got[16];
	pi_encode(PI_CRC64, &t, got);
	assert_memory_equal(got, want, 16);
}

static void decoding_undoes_encoding(void **unused)
{
	(void)unused;
	static const uint64_t guard_max[] = {UINT16_MAX, UINT32_MAX, UINT64_MAX};
	static const uint64_t ref_max[] = {UINT32_MAX, UINT64_MAX, UINT64_MAX >> 16};
	struct random r = random_start("round trip", 0x5eed0005);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned t = i % 3;
		struct pi_tuple in = {.guard = random_u64(&r) & guard_max[t],
			.app_tag = (uint16_t)random_u64(&r),
			.ref_tag = random_u64(&r) & ref_max[t]};
		uint8_t bytes[PI_MAX_TUPLE_BYTES];
		pi_encode(types[t], &in, bytes);
		struct pi_tuple out = pi_decode(types[t], bytes);
		assert_true(out.guard == in.guard);
		assert_true(out.app_tag == in.app_tag);
		assert_true(out.ref_tag == in.ref_tag);
	}
}

static void generated_tuples_carry_guard_and_block_number(void **unused)
{
	(void)unused;
	const uint64_t first = UINT64_C(0x1fffffffe); /* the low 32 bits wrap on the way */
	for (unsigned t = 0; t < 3; t++) {
		if (!pi_supported(types[t]))
			continue;
		uint8_t tuples[BLOCKS * PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, BLOCKS, first, tuples);
		for (unsigned i = 0; i < BLOCKS; i++) {
			const uint8_t *block = data + i * BLOCK_BYTES;
			struct pi_tuple got =
				pi_decode(types[t], tuples + i * pi_tuple_bytes(types[t]));
			assert_true(got.guard == oracle_guard(types[t], block, BLOCK_BYTES));
			assert_int_equal(got.app_tag, PI_APP_WRITTEN);
			assert_true(got.ref_tag ==
				    (types[t] == PI_T10 ? (uint32_t)(first + i) : first + i));
			assert_int_equal(pi_verify(types[t], block, first + i,
						 tuples + i * pi_tuple_bytes(types[t])),
				PI_GOOD);
		}
	}
}

static void generating_writes_no_byte_behind_the_tuples(void **unused)
{
	(void)unused;
	for (unsigned t = 0; t < 2; t++) {
		uint8_t tuples[4 * PI_MAX_TUPLE_BYTES];
		memset(tuples, 0xa5, sizeof(tuples));
		pi_generate(types[t], data, BLOCKS, 7, tuples);
		for (unsigned i = BLOCKS * pi_tuple_bytes(types[t]); i < sizeof(tuples); i++)
			assert_int_equal(tuples[i], 0xa5);
	}
}

/* Flip every bit of a tuple: the field it lies in decides the verdict. */
static void every_bit_of_a_tuple_is_accounted_for(void **unused)
{
	(void)unused;
	static const unsigned guard_bytes[] = {2, 4, 8};
	for (unsigned t = 0; t < 3; t++) {
		if (!pi_supported(types[t]))
			continue;
		uint8_t tuple[PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, 1, 77, tuple);
		for (unsigned bit = 0; bit < 8 * pi_tuple_bytes(types[t]); bit++) {
			enum pi_verdict want = bit / 8 < guard_bytes[t]       ? PI_BAD_GUARD
					       : bit / 8 < guard_bytes[t] + 2 ? PI_GOOD
									      : PI_BAD_REF;
			tuple[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(pi_verify(types[t], data, 77, tuple), want);
			tuple[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void changed_data_fail_the_guard(void **unused)
{
	(void)unused;
	for (unsigned t = 0; t < 2; t++) {
		uint8_t tuple[PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, 1, 5, tuple);
		data[4095] ^= 1;
		assert_int_equal(pi_verify(types[t], data, 5, tuple), PI_BAD_GUARD);
		data[4095] ^= 1;
	}
}

static void a_misdirected_block_fails_by_its_ref_tag_before_its_guard(void **unused)
{
	(void)unused;
	for (unsigned t = 0; t < 2; t++) {
		uint8_t tuple[PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, 1, 5, tuple);
		assert_int_equal(pi_verify(types[t], data, 6, tuple), PI_BAD_REF);
		assert_int_equal(pi_verify(types[t], data + BLOCK_BYTES, 6, tuple), PI_BAD_REF);
	}
}

static void an_escape_is_never_checked(void **unused)
{
	(void)unused;
	for (unsigned t = 0; t < 3; t++) {
		uint8_t tuples[BLOCKS * PI_MAX_TUPLE_BYTES];
		memset(tuples, 0xa5, sizeof(tuples));
		pi_fill_escape(types[t], BLOCKS, tuples);
		for (unsigned i = 0; i < BLOCKS; i++) {
			const uint8_t *tuple = tuples + i * pi_tuple_bytes(types[t]);
			assert_true(pi_is_escape(types[t], tuple));
			assert_int_equal(pi_verify(types[t], data, 999, tuple), PI_ESCAPED);
			assert_int_equal(pi_decode(types[t], tuple).app_tag, PI_APP_ESCAPE);
		}
	}
}

/* On the medium these bytes are zeros: what a sector that lost them may give back. */
static void an_application_tag_alone_is_no_escape(void **unused)
{
	(void)unused;
	static const unsigned guard_bytes[] = {2, 4, 8};
	for (unsigned t = 0; t < 2; t++) {
		uint8_t tuple[PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, 1, 5, tuple);
		memset(tuple + guard_bytes[t], 0xff, 2);
		assert_false(pi_is_escape(types[t], tuple));
		assert_int_equal(pi_verify(types[t], data, 5, tuple), PI_BAD_GUARD);
		assert_int_equal(pi_verify(types[t], data, 6, tuple), PI_BAD_REF);
		for (unsigned i = 0; i < pi_tuple_bytes(types[t]); i++) {
			memset(tuple, 0xff, sizeof(tuple));
			tuple[i] = 0x7f;
			assert_false(pi_is_escape(types[t], tuple));
			assert_true(pi_verify(types[t], data, 5, tuple) > PI_ESCAPED);
		}
	}
}

static void a_written_tuple_is_no_escape(void **unused)
{
	(void)unused;
	for (unsigned t = 0; t < 2; t++) {
		uint8_t tuple[PI_MAX_TUPLE_BYTES];
		pi_generate(types[t], data, 1, UINT64_MAX, tuple);
		assert_false(pi_is_escape(types[t], tuple));
		assert_int_equal(pi_verify(types[t], data, UINT64_MAX, tuple), PI_GOOD);
	}
}

static void a_zeroed_tuple_of_a_zeroed_block_passes_only_as_block_zero_of_t10(void **unused)
{
	(void)unused;
	static const uint8_t zeros[BLOCK_BYTES], tuple[PI_MAX_TUPLE_BYTES];
	assert_int_equal(pi_verify(PI_T10, zeros, 0, tuple), PI_GOOD);
	assert_int_equal(pi_verify(PI_T10, zeros, 1, tuple), PI_BAD_REF);
	assert_int_equal(pi_verify(PI_CRC32C, zeros, 0, tuple), PI_BAD_GUARD);
}

static void no_protection_stores_nothing_and_finds_everything_good(void **unused)
{
	(void)unused;
	uint8_t tuples[4] = {1, 2, 3, 4};
	const uint8_t before[4] = {1, 2, 3, 4};
	const struct pi_tuple tuple = {.guard = 1, .app_tag = 2, .ref_tag = 3};
	pi_generate(PI_NONE, data, BLOCKS, 0, tuples);
	pi_fill_escape(PI_NONE, BLOCKS, tuples);
	pi_encode(PI_NONE, &tuple, tuples);
	assert_memory_equal(tuples, before, 4);
	assert_int_equal(pi_tuple_bytes(PI_NONE), 0);
	assert_false(pi_is_escape(PI_NONE, tuples));
	assert_int_equal(pi_verify(PI_NONE, data, 1, tuples), PI_GOOD);
	assert_true(pi_decode(PI_NONE, tuples).guard == 0);
}

static void tuples_have_8_or_16_bytes(void **unused)
{
	(void)unused;
	assert_int_equal(pi_tuple_bytes(PI_T10), 8);
	assert_int_equal(pi_tuple_bytes(PI_CRC32C), 16);
	assert_int_equal(pi_tuple_bytes(PI_CRC64), 16);
}

static void names_and_types_belong_together(void **unused)
{
	(void)unused;
	static const char *const names[] = {"none", "t10", "crc32c", "crc64"};
	enum pi_type type;
	for (unsigned i = 0; i < 4; i++) {
		assert_string_equal(pi_name((enum pi_type)i), names[i]);
		assert_true(pi_parse(names[i], &type));
		assert_int_equal(type, i);
	}
	assert_false(pi_parse("t1", &type));
	assert_false(pi_parse("", &type));
	assert_false(pi_parse("unknown", &type));
	assert_string_equal(pi_name((enum pi_type)9), "unknown");
}

static void verdicts_say_what_failed(void **unused)
{
	(void)unused;
	assert_string_equal(pi_verdict_name(PI_GOOD), "good");
	assert_string_equal(pi_verdict_name(PI_ESCAPED), "escaped");
	assert_string_equal(pi_verdict_name(PI_BAD_REF), "ref tag");
	assert_string_equal(pi_verdict_name(PI_BAD_GUARD), "guard");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_t10_tuple_is_guard_app_tag_ref_tag),
		cmocka_unit_test(a_crc32c_tuple_has_its_ref_tag_in_the_low_64_of_80_bits),
		cmocka_unit_test(a_crc64_tuple_has_a_ref_tag_of_48_bits),
		cmocka_unit_test(decoding_undoes_encoding),
		cmocka_unit_test(generated_tuples_carry_guard_and_block_number),
		cmocka_unit_test(generating_writes_no_byte_behind_the_tuples),
		cmocka_unit_test(every_bit_of_a_tuple_is_accounted_for),
		cmocka_unit_test(changed_data_fail_the_guard),
		cmocka_unit_test(a_misdirected_block_fails_by_its_ref_tag_before_its_guard),
		cmocka_unit_test(an_escape_is_never_checked),
		cmocka_unit_test(an_application_tag_alone_is_no_escape),
		cmocka_unit_test(a_written_tuple_is_no_escape),
		cmocka_unit_test(a_zeroed_tuple_of_a_zeroed_block_passes_only_as_block_zero_of_t10),
		cmocka_unit_test(no_protection_stores_nothing_and_finds_everything_good),
		cmocka_unit_test(tuples_have_8_or_16_bytes),
		cmocka_unit_test(names_and_types_belong_together),
		cmocka_unit_test(verdicts_say_what_failed),
	};
	return cmocka_run_group_tests(tests, fill_data, NULL);
}
