/* SPDX-License-Identifier: MIT */
/* Blocks are given out once, in runs, and come back when they may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include "fs/allocator.h"
#include "unit/random.h"

#define BLOCKS 5000u

static struct allocator *make(uint64_t blocks, uint64_t stripe)
{
	struct allocator *a;
	assert_int_equal(allocator_new(blocks, stripe, &a), 0);
	return a;
}

static void no_block_is_given_out_twice(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0xA110C);
	struct allocator *a = make(BLOCKS, 16);
	static uint8_t used[BLOCKS]; /* 1: taken, 2: freed by a transaction that is open */
	uint64_t free = BLOCKS;
	memset(used, 0, sizeof(used));
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t block,
			goal = random_below(&r, 2) ? random_below(&r, BLOCKS) : ALLOCATOR_NO_GOAL;
		unsigned what = random_below(&r, 100);
		if (what < 55) {
			uint64_t want = 1 + random_below(&r, 64);
			uint64_t n = allocator_take(a, goal, want, &block);
			assert_true(n <= want && (n > 0 || free == 0));
			for (uint64_t k = 0; k < n; k++)
				assert_int_equal(used[block + k]++, 0);
			free -= n;
		} else if (what < 99) {
			uint64_t at = random_below(&r, BLOCKS), n = 0;
			while (at + n < BLOCKS && used[at + n] == 1 && n < 50)
				n++;
			if (n == 0)
				continue;
			bool defer = what < 80;
			memset(used + at, defer ? 2 : 0, n);
			free += defer ? 0 : n;
			(defer ? allocator_defer : allocator_release)(a, at, n);
		} else {
			allocator_commit(a);
			for (unsigned k = 0; k < BLOCKS; k++) {
				free += used[k] == 2;
				used[k] = used[k] == 2 ? 0 : used[k];
			}
		}
		assert_int_equal(allocator_free_blocks(a), free);
	}
	allocator_free(a);
}

static void a_goal_that_is_free_is_met(void **unused)
{
	(void)unused;
	struct allocator *a = make(1000, 1);
	uint64_t block;
	assert_int_equal(allocator_take(a, 500, 10, &block), 10);
	assert_int_equal(block, 500);
	assert_int_equal(allocator_take(a, 510, 10, &block), 10);
	assert_int_equal(block, 510);
	allocator_free(a);
}

static void a_run_as_long_as_wanted_is_preferred_to_a_short_one(void **unused)
{
	(void)unused;
	struct allocator *a = make(1000, 1);
	uint64_t block;
	for (uint64_t i = 0; i < 100; i += 2)
		assert_int_equal(allocator_mark(a, i, 1), 0);
	assert_int_equal(allocator_take(a, ALLOCATOR_NO_GOAL, 64, &block), 64);
	assert_true(block >= 99);
	allocator_free(a);
}

static void a_run_of_a_whole_stripe_begins_at_a_stripe(void **unused)
{
	(void)unused;
	struct allocator *a = make(1000, 48);
	uint64_t block;
	assert_int_equal(allocator_mark(a, 0, 5), 0);
	assert_int_equal(allocator_take(a, ALLOCATOR_NO_GOAL, 96, &block), 96);
	assert_int_equal(block, 48);
	allocator_free(a);
}

static void every_last_block_can_be_had(void **unused)
{
	(void)unused;
	struct allocator *a = make(777, 16);
	uint64_t block, n, total = 0;
	while ((n = allocator_take(a, ALLOCATOR_NO_GOAL, 100, &block)) > 0)
		total += n;
	assert_int_equal(total, 777);
	allocator_free(a);
}

static void blocks_of_two_owners_or_outside_are_damage(void **unused)
{
	(void)unused;
	struct allocator *a = make(100, 1);
	assert_int_equal(allocator_mark(a, 10, 10), 0);
	assert_int_equal(allocator_mark(a, 19, 2), -EUCLEAN);
	assert_int_equal(allocator_mark(a, 95, 6), -EUCLEAN);
	assert_int_equal(allocator_mark(a, UINT64_MAX, 1), -EUCLEAN);
	assert_int_equal(allocator_free_blocks(a), 90);
	allocator_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_block_is_given_out_twice),
		cmocka_unit_test(a_goal_that_is_free_is_met),
		cmocka_unit_test(a_run_as_long_as_wanted_is_preferred_to_a_short_one),
		cmocka_unit_test(a_run_of_a_whole_stripe_begins_at_a_stripe),
		cmocka_unit_test(every_last_block_can_be_had),
		cmocka_unit_test(blocks_of_two_owners_or_outside_are_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
