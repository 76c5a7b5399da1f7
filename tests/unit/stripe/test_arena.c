/* SPDX-License-Identifier: MIT */
/* The arena: aligned buffers that do not overlap, reused, and ordinary memory behind its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include "base/block.h"
#include "stripe/arena.h"
#include "unit/random.h"

#define MIB UINT64_C(1048576)

static bool inside(const struct arena *a, const void *p)
{
	const uint8_t *base = arena_base(a);
	return (const uint8_t *)p >= base && (const uint8_t *)p < base + arena_len_bytes(a);
}

static void buffers_are_aligned_whole_and_apart(void **unused)
{
	(void)unused;
	static const uint32_t sizes[] = {1, 4096, 4097, 12288, 65536, 1048576, 1052672, 2097152};
	struct arena *a = arena_new(16 * MIB);
	uint8_t *bufs[8];
	for (unsigned i = 0; i < 8; i++) {
		bufs[i] = arena_get(a, sizes[i]);
		assert_non_null(bufs[i]);
		assert_true(inside(a, bufs[i]));
		assert_int_equal((uintptr_t)bufs[i] % BLOCK_ALIGN, 0);
		memset(bufs[i], (int)i + 1, sizes[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(bufs[i][0], i + 1);
		assert_int_equal(bufs[i][sizes[i] - 1], i + 1);
		arena_put(a, bufs[i], sizes[i]);
	}
	arena_free(a);
}

static void what_comes_back_is_used_again(void **unused)
{
	(void)unused;
	struct arena *a = arena_new(MIB);
	void *first = arena_get(a, 8192);
	arena_put(a, first, 8192);
	for (unsigned i = 0; i < 10000; i++) {
		void *again = arena_get(a, 5000); /* of the same class */
		assert_ptr_equal(again, first);
		arena_put(a, again, 5000);
	}
	arena_free(a);
}

static void behind_the_end_comes_ordinary_memory(void **unused)
{
	(void)unused;
	struct arena *a = arena_new(4 * BLOCK_BYTES);
	void *bufs[8];
	for (unsigned i = 0; i < 8; i++) {
		bufs[i] = arena_get(a, BLOCK_BYTES);
		assert_int_equal(inside(a, bufs[i]), i < 4);
		assert_int_equal((uintptr_t)bufs[i] % BLOCK_ALIGN, 0);
		memset(bufs[i], 7, BLOCK_BYTES);
	}
	void *large = arena_get(a, 5 * MIB); /* of no class */
	assert_non_null(large);
	assert_false(inside(a, large));
	arena_put(a, large, 5 * MIB);
	for (unsigned i = 0; i < 8; i++)
		arena_put(a, bufs[i], BLOCK_BYTES);
	void *back = arena_get(a, BLOCK_BYTES);
	assert_true(inside(a, back));
	arena_put(a, back, BLOCK_BYTES);
	arena_put(a, NULL, 4096);
	arena_free(a);
	arena_free(NULL);
}

#define THREADS 4u

static void *get_and_put(void *arg)
{
	struct arena *a = arg;
	struct random r = {1};
	uint8_t *held[16] = {NULL};
	uint32_t len[16];
	bool good = true;
	for (unsigned i = 0; i < 5000; i++) {
		unsigned n = random_below(&r, 16);
		uint8_t mark = (uint8_t)(n + 1);
		if (held[n]) {
			good = good && held[n][0] == mark && held[n][len[n] - 1] == mark;
			arena_put(a, held[n], len[n]);
			held[n] = NULL;
			continue;
		}
		len[n] = 1 + random_below(&r, 40000);
		held[n] = arena_get(a, len[n]);
		held[n][0] = held[n][len[n] - 1] = mark;
	}
	for (unsigned n = 0; n < 16; n++)
		arena_put(a, held[n], len[n]);
	return good ? a : NULL;
}

static void threads_share_it(void **unused)
{
	(void)unused;
	struct arena *a = arena_new(2 * MIB);
	pthread_t threads[THREADS];
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_and_put, a), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_ptr_equal(result, a);
	}
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_are_aligned_whole_and_apart),
		cmocka_unit_test(what_comes_back_is_used_again),
		cmocka_unit_test(behind_the_end_comes_ordinary_memory),
		cmocka_unit_test(threads_share_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
