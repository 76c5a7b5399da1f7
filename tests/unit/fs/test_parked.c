/* SPDX-License-Identifier: MIT */
/* Lookups of inodes that are not in memory, against an array of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/parked.h"
#include "unit/random.h"

#define INODES 5000u

static void lookups_that_were_parked_are_taken_out_whole(void **unused)
{
	(void)unused;
	struct parked p = {0};
	assert_int_equal(parked_take(&p, 7), 0);
	parked_drop(&p, 7, 1);
	assert_int_equal(parked_add(&p, 7, 3), 0);
	assert_int_equal(parked_add(&p, 7, 2), 0);
	assert_int_equal(parked_add(&p, UINT64_MAX, 1), 0);
	parked_drop(&p, 7, 1);
	assert_int_equal(parked_take(&p, 7), 4);
	assert_int_equal(parked_take(&p, 7), 0);
	parked_drop(&p, UINT64_MAX, 99);
	assert_int_equal(p.count, 0);
	parked_clear(&p);
}

/* Numbers that share places, so that gaps are closed over many. */
static void a_table_that_grows_and_shrinks_loses_none(void **unused)
{
	(void)unused;
	static uint64_t model[INODES + 1];
	struct parked p = {0};
	struct random r = random_start("parked", 0x9A4C);
	for (unsigned step = 0; step < 400000; step++) {
		uint64_t ino = 1 + random_below(&r, step % 100000 < 50000 ? INODES : 50);
		uint64_t n = 1 + random_below(&r, 3);
		/* Now more of them come, now more of them go. */
		if (random_below(&r, 100) < (step / 50000 % 2 ? 20u : 60u)) {
			assert_int_equal(parked_add(&p, ino, n), 0);
			model[ino] += n;
		} else if (random_below(&r, 2)) {
			parked_drop(&p, ino, n);
			model[ino] -= model[ino] < n ? model[ino] : n;
		} else {
			assert_int_equal(parked_take(&p, ino), model[ino]);
			model[ino] = 0;
		}
	}
	size_t there = 0;
	for (uint64_t ino = 1; ino <= INODES; ino++)
		there += model[ino] != 0;
	assert_int_equal(p.count, there);
	for (uint64_t ino = 1; ino <= INODES; ino++)
		assert_int_equal(parked_take(&p, ino), model[ino]);
	assert_int_equal(p.count, 0);
	assert_true(p.capacity <= 2048);
	parked_clear(&p);
}

static void a_million_cost_no_more_than_32_mib(void **unused)
{
	(void)unused;
	struct parked p = {0};
	for (uint64_t ino = 1; ino <= 1000000; ino++)
		assert_int_equal(parked_add(&p, ino, 1), 0);
	assert_true(p.capacity * sizeof(struct parked_slot) <= 32u << 20);
	assert_int_equal(parked_take(&p, 123456), 1);
	parked_clear(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups_that_were_parked_are_taken_out_whole),
		cmocka_unit_test(a_table_that_grows_and_shrinks_loses_none),
		cmocka_unit_test(a_million_cost_no_more_than_32_mib),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
