/* SPDX-License-Identifier: MIT */
/* Mutations by request: which write they are of, and which bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "inflight/flip.h"

static void only_the_bytes_in_the_range_are_flipped(void **unused)
{
	(void)unused;
	const struct flip flip = {.offset_bytes = 100, .len_bytes = 10, .xor_byte = 0xff};
	uint8_t bytes[64] = {0};
	flip_apply(&flip, 0, 64, bytes); /* before it */
	flip_apply(&flip, 110, 64, bytes);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(bytes[i], 0);
	flip_apply(&flip, 64, 64, bytes);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(bytes[i], i >= 36 && i < 46 ? 0xff : 0);
	flip_apply(&flip, 105, 64, bytes); /* its end, at the start */
	assert_int_equal(bytes[4], 0xff);
	assert_int_equal(bytes[5], 0);
}

static void the_write_that_was_chosen_is_hit_and_no_other(void **unused)
{
	(void)unused;
	struct flip_set *set = flip_set_new();
	const struct flip flip = {.len_bytes = 1, .xor_byte = 1};
	uint64_t met, fired;
	int id = flip_set_arm(set, 7, 3, &flip);
	assert_true(id > 0);
	assert_int_equal(flip_set_meet(set, 8).xor_byte, 0);
	for (unsigned n = 1; n <= 5; n++)
		assert_int_equal(flip_set_meet(set, 7).xor_byte, n == 3);
	assert_int_equal(flip_set_look(set, id, &met, &fired), 0);
	assert_int_equal(met, 3);
	assert_int_equal(fired, 1);
	flip_set_free(set);
}

static void what_is_disarmed_or_not_there_flips_nothing(void **unused)
{
	(void)unused;
	struct flip_set *set = flip_set_new();
	const struct flip flip = {.len_bytes = 1, .xor_byte = 1};
	uint64_t met, fired;
	int id = flip_set_arm(set, 7, 1, &flip);
	assert_int_equal(flip_set_disarm(set, id), 0);
	assert_int_equal(flip_set_disarm(set, id), -ENOENT);
	assert_int_equal(flip_set_look(set, id, &met, &fired), -ENOENT);
	assert_int_equal(flip_set_meet(set, 7).xor_byte, 0);
	assert_int_equal(flip_set_meet(NULL, 7).xor_byte, 0);
	flip_set_free(set);
	flip_set_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_bytes_in_the_range_are_flipped),
		cmocka_unit_test(the_write_that_was_chosen_is_hit_and_no_other),
		cmocka_unit_test(what_is_disarmed_or_not_there_flips_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
