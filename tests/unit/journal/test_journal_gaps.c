/* SPDX-License-Identifier: MIT */
/* A batch is written while the one before it is flushed: what a power cut leaves of the two. */
#include "rings.h"
#include "base/crc32c.h"
#include "base/endian.h"

#define FIRST 6u /* batches of three blocks: header, parity, one slot */

static void run_until(struct rings *r, const bool *happened)
{
	while (!*happened)
		assert_true(io_run(r->rig.io, true) >= 0);
}

/* @first and @second to the rings of @members, behind FIRST batches: the second is written when
 * the first is not durable yet. */
static void log_side_by_side(
	struct rings *r, unsigned members, struct rings_append *first, struct rings_append *second)
{
	for (uint64_t seed = 1;; seed++) {
		assert_true(seed < 200);
		rings_init(r, seed);
		for (unsigned i = 0; i < FIRST; i++)
			rings_log_to(r, members, i, rings_row(0, 1, 1), (uint8_t)(10 * i));
		rings_append_to(r, first, members, 20, rings_row(0, 1, 1), 100);
		run_until(r, &first->stored);
		rings_append_to(r, second, members, 21, rings_row(0, 1, 1), 110);
		run_until(r, &second->stored);
		bool before = !first->ended;
		rings_wait(r, first);
		rings_wait(r, second);
		if (before)
			return;
		rings_fini(r);
	}
}

static void spoil(struct rings *r, unsigned member, uint32_t ring_block)
{
	uint64_t at = rings_area(r) + (1 + (uint64_t)ring_block) * BLOCK_BYTES;
	uint8_t byte;
	assert_int_equal(sim_disk_peek(r->rig.world, rings_names[member], at, &byte, 1), 0);
	byte ^= 1;
	assert_int_equal(sim_disk_poke(r->rig.world, rings_names[member], at, &byte, 1), 0);
}

static bool finds_first(struct rings *r, unsigned from)
{
	bool all = true;
	for (unsigned i = 0; i < FIRST; i++)
		all &= rings_found(r, 0, i, 0, (uint8_t)(10 * i)) == (i >= from);
	return all;
}

static void a_batch_is_written_while_the_one_before_it_is_flushed(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, second;
	log_side_by_side(&r, 1, &first, &second);
	assert_int_equal(first.err, 0);
	assert_int_equal(second.err, 0);
	rings_reboot(&r);
	assert_true(finds_first(&r, 0));
	assert_true(rings_found(&r, 0, 20, 0, 100));
	assert_true(rings_found(&r, 0, 21, 0, 110));
	rings_fini(&r);
}

static void a_torn_batch_before_a_whole_one_costs_nothing_else(void **unused)
{
	(void)unused;
	for (unsigned block = 0; block < 3; block++) { /* its header, or its payload */
		struct rings r;
		struct rings_append first, second;
		log_side_by_side(&r, 1, &first, &second);
		spoil(&r, 0, 3 * FIRST + block);
		for (unsigned n = 0; n < 3; n++) { /* the log goes on, and the gap is no gap */
			rings_restart(&r);
			assert_true(finds_first(&r, 0));
			assert_false(rings_found(&r, 0, 20, 0, 100));
			assert_true(rings_found(&r, 0, 21, 0, 110));
			for (unsigned i = 0; i < n; i++)
				assert_true(rings_found(&r, 0, 30 + i, 0, (uint8_t)(200 + i)));
			rings_log(&r, 0, 30 + n, rings_row(0, 1, 1), (uint8_t)(200 + n));
		}
		rings_fini(&r);
	}
}

static void several_torn_batches_are_as_one(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, second;
	log_side_by_side(&r, 1, &first, &second);
	spoil(&r, 0, 3 * FIRST + 1);
	spoil(&r, 0, 3 * FIRST + 3 + 1);
	rings_restart(&r);
	assert_true(finds_first(&r, 0));
	assert_false(rings_found(&r, 0, 20, 0, 100));
	assert_false(rings_found(&r, 0, 21, 0, 110));
	rings_log(&r, 0, 30, rings_row(0, 1, 1), 200);
	rings_restart(&r);
	assert_true(finds_first(&r, 0));
	assert_true(rings_found(&r, 0, 30, 0, 200));
	rings_fini(&r);
}

static void of_what_was_durable_a_torn_batch_is_damage(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, second;
	log_side_by_side(&r, 1, &first, &second);
	spoil(&r, 0, 3 * (FIRST - 2) + 1);
	rings_restart(&r);
	assert_true(finds_first(&r, FIRST - 1));
	assert_true(rings_found(&r, 0, 20, 0, 100));
	rings_fini(&r);
}

static void where_what_was_durable_is_torn_too_nothing_older_counts(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 1);
	for (unsigned i = 0; i < FIRST; i++)
		rings_log(&r, 0, i, rings_row(0, 1, 1), (uint8_t)(10 * i));
	spoil(&r, 0, 3 * (FIRST - 2) + 1);
	spoil(&r, 0, 3 * (FIRST - 1) + 1);
	rings_restart(&r);
	assert_true(finds_first(&r, FIRST));
	rings_fini(&r);
}

/* What stands in the gap says that it is older than what is durable. */
static void a_gap_that_was_filled_is_damage_when_it_is_there_once_more(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, second;
	log_side_by_side(&r, 1, &first, &second);
	spoil(&r, 0, 3 * FIRST + 1);
	rings_restart(&r);
	rings_log(&r, 0, 30, rings_row(0, 1, 1), 200);
	spoil(&r, 0, 3 * FIRST);
	rings_restart(&r);
	assert_true(finds_first(&r, FIRST));
	assert_true(rings_found(&r, 0, 21, 0, 110));
	assert_true(rings_found(&r, 0, 30, 0, 200));
	rings_fini(&r);
}

static void what_a_gap_has_taken_from_one_ring_is_void_in_the_other(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, second;
	log_side_by_side(&r, 3, &first, &second);
	spoil(&r, 1, 3 * FIRST + 1);
	for (unsigned n = 0; n < 2; n++) {
		rings_restart(&r);
		for (unsigned member = 0; member < 2; member++) {
			assert_true(rings_found(&r, member, 0, 0, 0));
			assert_false(rings_found(&r, member, 20, 0, 100));
			assert_true(rings_found(&r, member, 21, 0, 110));
		}
	}
	rings_fini(&r);
}

/* ---- batches of programs that knew superblocks of version 2 alone ---- */

static void batch_as_of_version_2(struct rings *r, uint32_t ring_block)
{
	uint64_t at = rings_area(r) + (1 + (uint64_t)ring_block) * BLOCK_BYTES;
	uint8_t block[BLOCK_BYTES];
	assert_int_equal(sim_disk_peek(r->rig.world, "m0", at, block, BLOCK_BYTES), 0);
	assert_memory_equal(block, "SFSPWLG3", 8);
	memcpy(block, "SFSPWLOG", 8);
	memset(block + 4088, 0, 8);
	put_le32(block + 8, 0);
	put_le32(block + 8, crc32c(block, BLOCK_BYTES));
	assert_int_equal(sim_disk_poke(r->rig.world, "m0", at, block, BLOCK_BYTES), 0);
}

/* With the batch of that number torn, where it is not above FIRST. */
static void restart_from_version_2(struct rings *r, unsigned torn)
{
	rings_init(r, 1);
	for (unsigned i = 0; i < FIRST; i++) {
		rings_log(r, 0, i, rings_row(0, 1, 1), (uint8_t)(10 * i));
		batch_as_of_version_2(r, 3 * i);
	}
	if (torn < FIRST)
		spoil(r, 0, 3 * torn + 1);
	rings_restart(r);
}

static void batches_of_version_2_count_as_they_did(void **unused)
{
	(void)unused;
	struct rings r;
	restart_from_version_2(&r, FIRST);
	assert_true(finds_first(&r, 0));
	rings_log(&r, 0, 30, rings_row(0, 1, 1), 200); /* behind them, of version 3 */
	rings_restart(&r);
	assert_true(finds_first(&r, 0));
	assert_true(rings_found(&r, 0, 30, 0, 200));
	rings_fini(&r);
	restart_from_version_2(&r, 2);
	assert_true(finds_first(&r, 3));
	rings_fini(&r);
	restart_from_version_2(&r, FIRST - 1);
	for (unsigned i = 0; i < FIRST; i++)
		assert_int_equal(rings_found(&r, 0, i, 0, (uint8_t)(10 * i)), i < FIRST - 1);
	rings_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_is_written_while_the_one_before_it_is_flushed),
		cmocka_unit_test(a_torn_batch_before_a_whole_one_costs_nothing_else),
		cmocka_unit_test(several_torn_batches_are_as_one),
		cmocka_unit_test(of_what_was_durable_a_torn_batch_is_damage),
		cmocka_unit_test(where_what_was_durable_is_torn_too_nothing_older_counts),
		cmocka_unit_test(a_gap_that_was_filled_is_damage_when_it_is_there_once_more),
		cmocka_unit_test(what_a_gap_has_taken_from_one_ring_is_void_in_the_other),
		cmocka_unit_test(batches_of_version_2_count_as_they_did),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
