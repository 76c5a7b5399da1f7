/* SPDX-License-Identifier: MIT */
/* Loading: power cuts, damage, bytes that mean harm. */
#include "rings.h"
#include <time.h>
#include "unit/random.h"

static void after_a_clean_end_nothing_is_found(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 1);
	rings_log(&r, 0, 1, rings_row(0, 1, 1), 10);
	journal_free(r.j);
	rings_load(&r, true);
	assert_false(rings_found(&r, 0, 1, 0, 10));
	rings_reboot(&r); /* nor later: the epoch is another */
	assert_false(rings_found(&r, 0, 1, 0, 10));
	rings_fini(&r);
}

/* The power is cut at each write of a run of appends, flushes between: every record that was said
 * to be durable and is needed is found, and each that is found is one that was appended. */
static void every_durable_record_survives_every_power_cut(void **unused)
{
	(void)unused;
	for (unsigned n = 0; n < 60; n++) {
		struct rings r;
		struct rings_append x;
		unsigned last = 0;
		rings_init(&r, 100 + n);
		sim_world_cut_power_after(r.rig.world, n);
		for (unsigned i = 1; i <= 60; i++) {
			rings_append(&r, &x, 0, 7,
				rings_row(i % 16, 1 + i % 2 * (16 - i % 16 > 1), 1), (uint8_t)i);
			if (rings_wait(&r, &x) < 0)
				break;
			last = i;
			journal_ended(r.j, &x.a);
			if (i % 4 == 0)
				rings_flushed(&r);
		}
		rings_reboot(&r);
		if (last)
			assert_true(rings_found(&r, 0, 7, last % 16, (uint8_t)last) ||
				    rings_found(&r, 0, 7, last % 16, (uint8_t)(last + 1)));
		rings_fini(&r);
	}
}

/* @area_block 0: the header. */
static void flip(struct rings *r, unsigned member, uint64_t area_block, unsigned byte)
{
	uint8_t b;
	uint64_t at = rings_area(r) + area_block * BLOCK_BYTES + byte;
	assert_int_equal(sim_disk_peek(r->rig.world, rings_names[member], at, &b, 1), 0);
	b ^= 0x10;
	assert_int_equal(sim_disk_poke(r->rig.world, rings_names[member], at, &b, 1), 0);
}

static void poke_flip(struct rings *r, uint32_t ring_block, unsigned byte)
{
	flip(r, 0, 1 + (uint64_t)ring_block, byte);
}

/* Batches of three blocks each: header, parity, one slot. */
static void nothing_older_than_a_damaged_batch_counts(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 2);
	for (unsigned i = 0; i < 6; i++)
		rings_log(&r, 0, i, rings_row(0, 1, 1), (uint8_t)(10 * i));
	poke_flip(&r, 3 * 3 + 2, 100); /* of the fourth, the slot's block */
	rings_reboot(&r);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(rings_found(&r, 0, i, 0, (uint8_t)(10 * i)), i > 3);
	rings_fini(&r);
}

static void a_torn_newest_batch_costs_nothing_else(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 3);
	for (unsigned i = 0; i < 6; i++)
		rings_log(&r, 0, i, rings_row(0, 1, 1), (uint8_t)(10 * i));
	poke_flip(&r, 5 * 3 + 1, 100);
	rings_reboot(&r);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(rings_found(&r, 0, i, 0, (uint8_t)(10 * i)), i < 5);
	rings_log(&r, 0, 9, rings_row(0, 1, 1), 200); /* the log goes on, in its place */
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 4, 0, 40));
	assert_true(rings_found(&r, 0, 9, 0, 200));
	rings_fini(&r);
}

static void what_was_found_stays_until_it_is_forgotten_and_flushed(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 4);
	rings_log(&r, 0, 1, rings_row(0, 1, 1), 10);
	rings_reboot(&r);
	rings_flushed(&r);
	rings_log(&r, 0, 2, rings_row(0, 1, 1), 20);
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 1, 0, 10));
	journal_forget(r.j, 1);
	journal_forget(r.j, 2);
	rings_flushed(&r);
	rings_log(&r, 0, 3, rings_row(0, 1, 1), 30);
	rings_reboot(&r);
	assert_false(rings_found(&r, 0, 1, 0, 10));
	assert_true(rings_found(&r, 0, 3, 0, 30));
	rings_fini(&r);
}

static bool is_odd(void *ctx, uint64_t stripe)
{
	(void)ctx;
	return stripe & 1;
}

static void stripes_that_nobody_wants_are_forgotten(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 5);
	rings_log(&r, 0, 1, rings_row(0, 1, 1), 10);
	rings_log(&r, 0, 2, rings_row(0, 1, 1), 20);
	rings_reboot(&r);
	journal_forget_unless(r.j, is_odd, NULL);
	assert_true(rings_found(&r, 0, 1, 0, 10));
	assert_false(rings_found(&r, 0, 2, 0, 20));
	rings_fini(&r);
}

static void an_append_that_finds_no_room_for_old_records_names_a_stripe_to_resync(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x;
	uint64_t stripe = 99;
	unsigned n = 0;
	rings_init(&r, 6);
	for (; n * 33 + 33 + 1 + rings_blocks(&r) / 16 <= rings_blocks(&r); n++)
		rings_log(&r, 0, 10 + n, rings_row(0, 16, 1), 10);
	rings_reboot(&r);
	assert_false(journal_wants_resync(r.j, &stripe));
	rings_append(&r, &x, 0, 1, rings_row(0, 16, 1), 20);
	assert_true(journal_wants_resync(r.j, &stripe));
	assert_int_equal(stripe, 10);
	while (journal_wants_resync(r.j, &stripe)) {
		journal_forget(r.j, stripe);
		assert_true(journal_wants_flush(r.j));
		rings_flushed(&r);
	}
	assert_true(stripe < 13); /* not all of them */
	assert_int_equal(rings_wait(&r, &x), 0);
	rings_fini(&r);
}

/* Random bytes in a ring that was in use: what is found lies in the volume. */
static void spoiled_rings_are_harmless(void **unused)
{
	(void)unused;
	struct random rnd = random_start(__func__, 77);
	for (unsigned n = 0; n < 150; n++) {
		struct rings r;
		struct journal_found f;
		rings_init(&r, 1000 + n);
		for (unsigned i = 0; i < 8; i++)
			rings_log(&r, 0, i, rings_row(i, 1 + i % 3, 3), (uint8_t)i);
		for (unsigned i = 0; i < 1 + n % 5; i++) {
			uint64_t word = random_u64(&rnd);
			uint64_t at = rings_area(&r) + random_below(&rnd, 40 * BLOCK_BYTES);
			assert_int_equal(sim_disk_poke(r.rig.world, "m0", at, &word, 1 + n % 8), 0);
		}
		rings_reboot(&r);
		for (unsigned i = 0; i < 8; i++)
			if (journal_find(r.j, 0, i, i, &f))
				assert_true(f.block[RINGS_PARITY][0] == i && f.slots == 7);
		rings_log(&r, 0, 20, rings_row(0, 1, 1), 9);
		rings_reboot(&r);
		assert_true(rings_found(&r, 0, 20, 0, 9));
		rings_fini(&r);
	}
}

/* A payload that looks like a batch, but for the cookie, which its writer cannot know. */
static void data_that_look_like_a_batch_are_not_taken_for_one(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x = {.run = rings_row(0, 1, 1)};
	rings_init(&r, 8);
	uint8_t *fake = mem_alloc_blocks(2 * BLOCK_BYTES);
	struct journal_run run = rings_row(3, 1, 1);
	struct journal_append forged = {
		.stripe = 40, .members = 1, .number = 900, .runs = &run, .run_count = 1};
	uint32_t bytes = journal_disk_record_encode(&forged, 0, fake);
	struct journal_disk_batch batch = {.seq = 1000,
		.tail = 1000,
		.number = 900,
		.at = 1, /* where the payload will lie */
		.payload_blocks = 2,
		.record_count = 1,
		.record_bytes = (uint16_t)bytes};
	journal_disk_batch_encode(member_super(r.members[0]), 12345, &batch, fake);
	x.iov = (struct iovec){fake, 2 * BLOCK_BYTES};
	x.a = (struct journal_append){.stripe = 5,
		.members = 1,
		.runs = &x.run,
		.run_count = 1,
		.iov = &x.iov,
		.iov_count = 1,
		.payload_blocks = 2,
		.done = rings_done};
	journal_append(r.j, &x.a);
	assert_int_equal(rings_wait(&r, &x), 0);
	rings_reboot(&r);
	struct journal_found f;
	assert_true(journal_find(r.j, 0, 5, 0, &f));
	assert_false(journal_find(r.j, 0, 40, 3, &f));
	rings_fini(&r);
}

/* ---- a record for two rings ---- */

static void a_record_that_is_in_one_of_two_rings_alone_is_void_for_good(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 9);
	rings_log_to(&r, 3, 7, rings_row(0, 1, 1), 10);
	rings_log_to(&r, 3, 7, rings_row(0, 1, 1), 20);
	flip(&r, 1, 1 + 3 + 1, 100); /* of the second: torn */
	rings_reboot(&r);
	for (unsigned member = 0; member < 2; member++)
		assert_true(rings_found(&r, member, 7, 0, 10));
	flip(&r, 1, 0, 100); /* that ring is lost with the next crash */
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 7, 0, 10));
	rings_log_to(&r, 1, 8, rings_row(0, 1, 1), 30); /* the log goes on behind it */
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 7, 0, 10));
	assert_true(rings_found(&r, 0, 8, 0, 30));
	rings_fini(&r);
}

static void a_superseded_row_comes_back_where_one_ring_lacks_that(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 10);
	rings_log_to(&r, 5, 7, rings_row(0, 1, 1), 10);
	rings_log_to(&r, 5, 7, (struct journal_run){.row = 0, .rows = 1, .superseded = true}, 0);
	flip(&r, 2, 1 + 3, 100);
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 7, 0, 10));
	assert_true(rings_found(&r, 2, 7, 0, 10));
	assert_true(journal_holds(r.j, 0, 7, 0));
	rings_fini(&r);
}

static void a_ring_that_began_later_or_has_overwritten_it_voids_nothing(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 11);
	rings_log_to(&r, 3, 7, rings_row(0, 1, 1), 10);
	journal_set_member(r.j, 1, NULL);
	assert_int_equal(journal_format(r.members[1]), 0);
	journal_set_member(r.j, 1, r.members[1]);
	rings_log_to(&r, 6, 8, rings_row(0, 1, 1), 20);
	rings_log_to(&r, 2, 9, rings_row(0, 1, 1), 30);
	rings_flushed(&r);
	rings_log_to(&r, 2, 10, rings_row(0, 1, 1), 40); /* says that the others are not needed */
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 7, 0, 10));
	assert_true(rings_found(&r, 2, 8, 0, 20));
	assert_false(rings_found(&r, 1, 8, 0, 20));
	assert_true(rings_found(&r, 1, 10, 0, 40));
	rings_fini(&r);
}

static void a_ring_that_cannot_be_read_voids_nothing(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 12);
	rings_log_to(&r, 3, 7, rings_row(0, 1, 1), 10);
	flip(&r, 1, 0, 100);
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 7, 0, 10));
	rings_fini(&r);
}

/* Slots 1 and 2 are parities. The second record was made while the member of slot 2 was away; it
 * came back, and has by now what belongs to that. */
static void of_two_parities_one_that_a_newer_record_lacks_is_not_found(void **unused)
{
	(void)unused;
	struct rings r;
	struct journal_found f;
	rings_init(&r, 14);
	rings_log(&r, 0, 7, (struct journal_run){.row = 0, .rows = 2, .slots = 7}, 10);
	rings_log(&r, 0, 7, (struct journal_run){.row = 0, .rows = 1, .slots = 3}, 20);
	journal_free(r.j);
	for (unsigned i = 0; i < RINGS_MEMBERS; i++)
		((struct super *)(uintptr_t)member_super(r.members[i]))->level = 6;
	rings_load(&r, false);
	assert_true(journal_find(r.j, 0, 7, 0, &f));
	assert_int_equal(f.slots, 3);
	assert_true(journal_find(r.j, 0, 7, 1, &f));
	assert_int_equal(f.slots, 7);
	rings_fini(&r);
}

/* ---- what a ring can cost ---- */

/* A header at every block of the first two thirds, of one number, each with a payload of a third of
 * the ring that does not fit its checksum: to try them all would take a hundred gigabytes of
 * checksums. */
static void headers_that_claim_the_same_blocks_cost_little(void **unused)
{
	(void)unused;
	struct rings r;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, UINT64_C(1) << 20);
	uint32_t blocks = journal_disk_ring_blocks(&super), third = blocks / 3 - 1;
	const struct journal_run full = {.row = 0, .rows = 16, .slots = 7};
	struct journal_run runs[128];
	uint8_t block[BLOCK_BYTES];
	rig_init_empty(&r.rig, 13);
	struct member *m = rig_create_member(&r.rig, "big", &super);
	assert_int_equal(journal_format(m), 0);
	struct journal_disk_header header = {.cookie = 77};
	journal_disk_header_encode(&super, &header, block);
	assert_int_equal(
		sim_disk_poke(r.rig.world, "big", super.journal.offset_bytes, block, BLOCK_BYTES),
		0);
	for (unsigned i = 0; i < 128; i++)
		runs[i] = full;
	unsigned run_count = third / 48 < 128 ? third / 48 : 128;
	struct journal_append a = {
		.members = 1, .number = 1, .runs = runs, .run_count = run_count, .crc = 1};
	for (uint32_t at = 0; at < 2 * (blocks / 3); at++) {
		struct journal_disk_batch batch = {.seq = 5,
			.tail = 1,
			.number = 1,
			.at = at,
			.payload_blocks = run_count * 48,
			.record_count = 1,
			.record_bytes = (uint16_t)journal_disk_record_encode(&a, 0, block)};
		journal_disk_batch_encode(&super, 77, &batch, block);
		assert_int_equal(
			sim_disk_poke(r.rig.world, "big",
				super.journal.offset_bytes + (1 + (uint64_t)at) * BLOCK_BYTES,
				block, BLOCK_BYTES),
			0);
	}
	struct member *members[3] = {NULL, m, NULL};
	struct journal_found f;
	clock_t before = clock();
	assert_int_equal(journal_load(r.rig.io, members, 3, false, &r.j, NULL), 0);
	double seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
	print_message("%u blocks: %.2f s\n", blocks, seconds);
	assert_false(journal_find(r.j, 1, 0, 0, &f));
	assert_true(seconds < 5);
	journal_free(r.j);
	member_free(m);
	io_engine_free(r.rig.io);
	sim_world_free(r.rig.world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_clean_end_nothing_is_found),
		cmocka_unit_test(every_durable_record_survives_every_power_cut),
		cmocka_unit_test(nothing_older_than_a_damaged_batch_counts),
		cmocka_unit_test(a_torn_newest_batch_costs_nothing_else),
		cmocka_unit_test(what_was_found_stays_until_it_is_forgotten_and_flushed),
		cmocka_unit_test(stripes_that_nobody_wants_are_forgotten),
		cmocka_unit_test(
			an_append_that_finds_no_room_for_old_records_names_a_stripe_to_resync),
		cmocka_unit_test(spoiled_rings_are_harmless),
		cmocka_unit_test(data_that_look_like_a_batch_are_not_taken_for_one),
		cmocka_unit_test(a_record_that_is_in_one_of_two_rings_alone_is_void_for_good),
		cmocka_unit_test(a_superseded_row_comes_back_where_one_ring_lacks_that),
		cmocka_unit_test(a_ring_that_began_later_or_has_overwritten_it_voids_nothing),
		cmocka_unit_test(a_ring_that_cannot_be_read_voids_nothing),
		cmocka_unit_test(of_two_parities_one_that_a_newer_record_lacks_is_not_found),
		cmocka_unit_test(headers_that_claim_the_same_blocks_cost_little),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
