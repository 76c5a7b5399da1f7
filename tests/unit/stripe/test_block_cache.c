/* SPDX-License-Identifier: MIT */
/* stripe/block_cache: what goes in comes out, what is used least goes first, by a plain model. */
#include "stripe/block_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"
#include "base/block.h"

#define TUPLE 8u

static void fill(uint8_t *block, uint8_t *tuple, uint64_t number, unsigned version)
{
	memset(block, (int)(number * 31 + version), BLOCK_BYTES);
	memcpy(block, &number, sizeof(number));
	memset(tuple, (int)(number * 7 + version), TUPLE);
}

static void put(struct block_cache *cache, uint64_t number, unsigned version)
{
	uint8_t block[BLOCK_BYTES], tuple[TUPLE];
	fill(block, tuple, number, version);
	block_cache_put(cache, number, block, tuple);
}

static bool holds(struct block_cache *cache, uint64_t number, unsigned version)
{
	uint8_t block[BLOCK_BYTES], tuple[TUPLE], got[BLOCK_BYTES], got_tuple[TUPLE];
	fill(block, tuple, number, version);
	return block_cache_get(cache, number, got, got_tuple) && !memcmp(block, got, BLOCK_BYTES) &&
	       !memcmp(tuple, got_tuple, TUPLE);
}

static void a_block_comes_back_with_its_tuple(void **unused)
{
	(void)unused;
	struct block_cache *cache = block_cache_new(4 * BLOCK_BYTES, TUPLE);
	put(cache, 9, 1);
	assert_true(holds(cache, 9, 1));
	put(cache, 9, 2);
	assert_true(holds(cache, 9, 2));
	assert_false(block_cache_has(cache, 8));
	assert_int_equal(block_cache_bytes_used(cache), BLOCK_BYTES);
	block_cache_free(cache);
}

static void without_room_for_a_block_there_is_none(void **unused)
{
	(void)unused;
	assert_null(block_cache_new(BLOCK_BYTES - 1, TUPLE));
	struct block_cache *cache = block_cache_new(BLOCK_BYTES, 0);
	uint8_t block[BLOCK_BYTES] = {1}, got[BLOCK_BYTES];
	block_cache_put(cache, 5, block, NULL);
	block_cache_put(cache, 6, block, NULL);
	assert_false(block_cache_has(cache, 5));
	assert_true(block_cache_get(cache, 6, got, NULL));
	assert_int_equal(block_cache_capacity(cache), BLOCK_BYTES);
	block_cache_free(cache);
}

static void what_was_used_stays_longest(void **unused)
{
	(void)unused;
	struct block_cache *cache = block_cache_new(3 * BLOCK_BYTES, TUPLE);
	for (uint64_t number = 1; number <= 3; number++)
		put(cache, number, 0);
	assert_true(holds(cache, 1, 0));
	put(cache, 4, 0);
	assert_false(block_cache_has(cache, 2));
	assert_true(block_cache_has(cache, 1));
	assert_true(block_cache_has(cache, 3)); /* to ask is not to use */
	put(cache, 5, 0);
	assert_false(block_cache_has(cache, 3));
	assert_true(holds(cache, 1, 0) && holds(cache, 4, 0) && holds(cache, 5, 0));
	block_cache_free(cache);
}

/* The model: versions by number, and when each was used last. */
#define NUMBERS 64u
#define ROOM    20u

struct model {
	unsigned version[NUMBERS]; /* 0: not there */
	unsigned used[NUMBERS], now;
};

static unsigned model_count(const struct model *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < NUMBERS; i++)
		n += m->version[i] != 0;
	return n;
}

static void model_put(struct model *m, unsigned number, unsigned version)
{
	if (!m->version[number] && model_count(m) == ROOM) {
		unsigned oldest = NUMBERS;
		for (unsigned i = 0; i < NUMBERS; i++)
			if (m->version[i] && (oldest == NUMBERS || m->used[i] < m->used[oldest]))
				oldest = i;
		m->version[oldest] = 0;
	}
	m->version[number] = version;
	m->used[number] = ++m->now;
}

static void step(struct block_cache *cache, struct model *m, struct random *r, unsigned version)
{
	unsigned number = random_below(r, NUMBERS), count = 1 + random_below(r, 6);
	switch (random_below(r, 40)) {
	case 0:
		block_cache_clear(cache);
		memset(m->version, 0, sizeof(m->version));
		break;
	case 1:
	case 2:
	case 3:
		block_cache_drop(cache, number, count);
		for (unsigned i = number; i < number + count && i < NUMBERS; i++)
			m->version[i] = 0;
		break;
	default:
		put(cache, number, version);
		model_put(m, number, version);
	}
	number = random_below(r, NUMBERS);
	assert_int_equal(block_cache_has(cache, number), m->version[number] != 0);
	if (m->version[number]) {
		assert_true(holds(cache, number, m->version[number]));
		m->used[number] = ++m->now;
	}
	assert_int_equal(block_cache_bytes_used(cache), model_count(m) * BLOCK_BYTES);
}

static void it_does_what_the_model_does(void **unused)
{
	(void)unused;
	struct random r = random_start("cache", 0x5eed0c01);
	struct block_cache *cache = block_cache_new(ROOM * BLOCK_BYTES, TUPLE);
	struct model m = {0};
	for (unsigned i = 1; i <= 50000; i++)
		step(cache, &m, &r, i);
	block_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_comes_back_with_its_tuple),
		cmocka_unit_test(without_room_for_a_block_there_is_none),
		cmocka_unit_test(what_was_used_stays_longest),
		cmocka_unit_test(it_does_what_the_model_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
