/* SPDX-License-Identifier: MIT */
/* The extent map against an array of blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "fs/extent_map.h"
#include "unit/random.h"

#define BLOCKS 3000u

/* What the map should say of each block; 0: a hole. */
struct model {
	uint64_t volume[BLOCKS], tag[BLOCKS];
	uint8_t state[BLOCKS];
};

static void model_compare(const struct model *m, const struct extent_map *map)
{
	uint64_t blocks = 0, extents = 0;
	struct extent e, before = {0};
	for (uint64_t at = 0; at < BLOCKS;) {
		bool found = extent_map_find(map, at, &e);
		uint64_t end = found && e.file_block < BLOCKS ? e.file_block : BLOCKS;
		for (; at < end; at++)
			assert_int_equal(m->volume[at], 0);
		if (end == BLOCKS)
			break;
		extents++;
		if (before.blocks)
			assert_false(extent_continues(&before, &e));
		for (; at < extent_end(&e); at++, blocks++) {
			assert_int_equal(m->volume[at], e.volume_block + (at - e.file_block));
			assert_int_equal(m->state[at], e.state);
			assert_int_equal(m->tag[at], e.tag);
		}
		before = e;
	}
	assert_int_equal(map->blocks, blocks);
	assert_int_equal(map->extents, extents);
}

static void model_insert(struct model *m, struct extent_map *map, struct random *r)
{
	uint64_t at = random_below(r, BLOCKS), n = 0, want = 1 + random_below(r, 20);
	while (at + n < BLOCKS && n < want && m->volume[at + n] == 0)
		n++;
	if (n == 0)
		return;
	/* Often where it continues what stands before. */
	uint64_t volume = at && m->volume[at - 1] && random_below(r, 2)
				  ? m->volume[at - 1] + 1
				  : 1 + random_below(r, 1u << 30);
	struct extent e = {.file_block = at, .volume_block = volume, .blocks = n};
	e.state = random_below(r, 3) ? EXTENT_CLEAN : EXTENT_PENDING;
	e.tag = e.state == EXTENT_PENDING ? 1 + random_below(r, 2) : 0;
	assert_int_equal(extent_map_insert(map, &e), 0);
	for (uint64_t i = 0; i < n; i++) {
		m->volume[at + i] = volume + i;
		m->state[at + i] = e.state;
		m->tag[at + i] = e.tag;
	}
}

static void part_counted(void *ctx, const struct extent *part)
{
	*(uint64_t *)ctx += part->blocks;
}

static void model_remove(struct model *m, struct extent_map *map, struct random *r)
{
	uint64_t at = random_below(r, BLOCKS), n = 1 + random_below(r, 40), gone = 0, expected = 0;
	assert_int_equal(extent_map_remove(map, at, n, part_counted, &gone), 0);
	for (uint64_t i = at; i < at + n && i < BLOCKS; i++) {
		expected += m->volume[i] != 0;
		m->volume[i] = m->tag[i] = m->state[i] = 0;
	}
	assert_int_equal(gone, expected);
}

static void model_restate(struct model *m, struct extent_map *map, struct random *r)
{
	struct extent e;
	if (!extent_map_find(map, random_below(r, BLOCKS), &e))
		return;
	uint64_t skip = random_below(r, (unsigned)e.blocks);
	uint64_t n = 1 + random_below(r, (unsigned)(e.blocks - skip));
	uint64_t at = e.file_block + skip;
	assert_int_equal(extent_map_restate(map, at, n, EXTENT_WRITTEN, 9, false), 0);
	for (uint64_t i = at; i < at + n; i++) {
		m->state[i] = EXTENT_WRITTEN;
		m->tag[i] = 9;
	}
}

static void the_map_agrees_with_an_array_of_blocks(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0xE47);
	static struct model m;
	struct extent_map map;
	extent_map_init(&map);
	for (unsigned i = 0; i < 30000; i++) {
		unsigned what = random_below(&r, 10);
		if (what < 6)
			model_insert(&m, &map, &r);
		else if (what < 8)
			model_restate(&m, &map, &r);
		else
			model_remove(&m, &map, &r);
		if (i % 100 == 0)
			model_compare(&m, &map);
	}
	assert_true(map.extents > 100);
	extent_map_clear(&map);
}

static void appends_that_continue_each_other_are_one_extent(void **unused)
{
	(void)unused;
	struct extent_map map;
	extent_map_init(&map);
	for (uint64_t i = 0; i < 1000; i++) {
		struct extent e = {.file_block = i, .volume_block = 500 + i, .blocks = 1};
		assert_int_equal(extent_map_insert(&map, &e), 0);
	}
	assert_int_equal(map.extents, 1);
	assert_int_equal(map.blocks, 1000);
	extent_map_clear(&map);
}

static void a_million_extents_are_found_again(void **unused)
{
	(void)unused;
	struct extent_map map;
	struct extent e;
	extent_map_init(&map);
	for (uint64_t i = 0; i < 1000000; i++) {
		uint64_t block = (i * 7919) % 1000000 * 2;
		e = (struct extent){.file_block = block, .volume_block = block * 3, .blocks = 1};
		assert_int_equal(extent_map_insert(&map, &e), 0);
	}
	assert_int_equal(map.extents, 1000000);
	assert_true(extent_map_find(&map, 1999998, &e));
	assert_int_equal(e.volume_block, 1999998 * 3);
	assert_true(extent_map_find_before(&map, 777777, &e));
	assert_int_equal(e.file_block, 777776);
	extent_map_clear(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_map_agrees_with_an_array_of_blocks),
		cmocka_unit_test(appends_that_continue_each_other_are_one_extent),
		cmocka_unit_test(a_million_extents_are_found_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
