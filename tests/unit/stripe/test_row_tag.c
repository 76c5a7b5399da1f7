/* SPDX-License-Identifier: MIT */
/* Row tags as numbers: what they are made of, and how seldom garbage fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stripe/row_tag.h"
#include "unit/random.h"

#define MODULUS 65519u

static const enum pi_type types[] = {PI_T10, PI_CRC32C, PI_CRC64};

static void a_tag_is_a_sum_of_terms_that_come_and_go_in_any_order(void **unused)
{
	(void)unused;
	struct random r = {1};
	for (unsigned n = 0; n < 1000; n++) {
		uint64_t guards[ROW_TAG_MAX_SLOTS];
		uint16_t up = 0, down = 0;
		for (unsigned i = 0; i < ROW_TAG_MAX_SLOTS; i++) {
			guards[i] = random_u64(&r) >> random_below(&r, 64);
			up = row_tag_with(up, i, guards[i]);
		}
		for (unsigned i = ROW_TAG_MAX_SLOTS; i-- > 0;)
			down = row_tag_with(down, i, guards[i]);
		assert_int_equal(up, down);
		assert_true(up < MODULUS);
		for (unsigned i = 0; i < ROW_TAG_MAX_SLOTS; i++)
			up = row_tag_without(up, i, guards[i]);
		assert_int_equal(up, 0);
	}
}

static void a_tag_tells_in_which_slot_a_guard_is(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < ROW_TAG_MAX_SLOTS; a++)
		for (unsigned b = 0; b < a; b++)
			assert_int_not_equal(row_tag_with(row_tag_with(0, a, 1), b, 2),
				row_tag_with(row_tag_with(0, a, 2), b, 1));
}

static void a_block_never_written_counts_as_zeros(void **unused)
{
	(void)unused;
	static const uint8_t zeros[BLOCK_BYTES];
	uint8_t escape[PI_MAX_TUPLE_BYTES], tuple[PI_MAX_TUPLE_BYTES];
	for (unsigned i = 0; i < 3; i++) {
		if (!pi_supported(types[i]))
			continue;
		uint16_t tag = 0;
		pi_fill_escape(types[i], 1, escape);
		pi_generate(types[i], zeros, 1, 0, tuple);
		assert_true(row_tag_guard(types[i], escape) == row_tag_guard(types[i], tuple));
		for (unsigned slot = 0; slot < 5; slot++)
			tag = row_tag_with(tag, slot, row_tag_guard(types[i], tuple));
		assert_int_equal(row_tag_get(types[i], 5, escape), tag);
		pi_set_app_tag(types[i], tag, tuple);
		assert_int_equal(row_tag_get(types[i], 5, tuple), tag);
	}
}

static void a_tag_that_names_a_lost_slot_stays_and_is_not_the_escape(void **unused)
{
	(void)unused;
	for (unsigned slot = 0; slot < ROW_TAG_MAX_SLOTS; slot++) {
		uint16_t tag = row_tag_of_lost(slot);
		assert_int_not_equal(tag, PI_APP_ESCAPE);
		assert_int_equal(row_tag_lost(tag), slot);
		assert_int_equal(row_tag_with(tag, 1, 77), tag);
		assert_int_equal(row_tag_without(tag, 1, 77), tag);
		assert_false(row_tag_allows(tag, tag, 1u << slot));
		assert_true(row_tag_allows(tag, 5, ~(1u << slot)));
	}
	assert_int_equal(row_tag_lost(MODULUS - 1), -1);
}

/* A write has changed the guard of slot a by some bits, the parity has not heard of it: what is
 * rebuilt for slot b differs by the same bits, since CRCs are linear. */
static bool garbage_fits(unsigned a, unsigned b, uint16_t guard_a, uint16_t guard_b, uint16_t bits)
{
	uint16_t before = row_tag_with(row_tag_with(0, a, guard_a), b, guard_b);
	return before == row_tag_with(row_tag_with(0, a, guard_a ^ bits), b, guard_b ^ bits);
}

static void garbage_fits_as_seldom_as_chance_has_it(void **unused)
{
	(void)unused;
	struct random r = {2};
	unsigned fits = 0;
	for (unsigned n = 0; n < 1000000; n++) {
		unsigned a = random_below(&r, ROW_TAG_MAX_SLOTS);
		unsigned b = (a + 1 + random_below(&r, ROW_TAG_MAX_SLOTS - 1)) % ROW_TAG_MAX_SLOTS;
		fits += garbage_fits(a, b, (uint16_t)random_u64(&r), (uint16_t)random_u64(&r),
			(uint16_t)(1 + random_below(&r, 65535)));
	}
	assert_in_range(fits, 1, 45); /* 15 are expected */
}

static void garbage_that_differs_in_one_bit_of_the_guard_never_fits(void **unused)
{
	(void)unused;
	struct random r = {3};
	for (unsigned a = 0; a < ROW_TAG_MAX_SLOTS; a++)
		for (unsigned b = 0; b < ROW_TAG_MAX_SLOTS; b++)
			for (unsigned n = 0; a != b && n < 256; n++)
				assert_false(garbage_fits(a, b, (uint16_t)random_u64(&r) & 0x7fff,
					(uint16_t)random_u64(&r) & 0x7fff,
					(uint16_t)(1u << n % 15)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tag_is_a_sum_of_terms_that_come_and_go_in_any_order),
		cmocka_unit_test(a_tag_tells_in_which_slot_a_guard_is),
		cmocka_unit_test(a_block_never_written_counts_as_zeros),
		cmocka_unit_test(a_tag_that_names_a_lost_slot_stays_and_is_not_the_escape),
		cmocka_unit_test(garbage_fits_as_seldom_as_chance_has_it),
		cmocka_unit_test(garbage_that_differs_in_one_bit_of_the_guard_never_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
