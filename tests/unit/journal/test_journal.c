/* SPDX-License-Identifier: MIT */
/* The life of a record: batches, room, members that go and come. */
#include "rings.h"

static void a_record_is_durable_when_its_append_is_done(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 1);
	rings_log(&r, 1, 5, rings_row(2, 1, 1), 40);
	assert_true(journal_holds(r.j, 1, 5, 2));
	assert_false(journal_holds(r.j, 1, 5, 3));
	assert_false(journal_holds(r.j, 0, 5, 2));
	rings_reboot(&r);
	assert_true(rings_found(&r, 1, 5, 2, 40));
	assert_false(rings_found(&r, 1, 5, 3, 40));
	rings_fini(&r);
}

static void records_that_arrive_during_a_batch_share_the_next(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x[20];
	rings_init(&r, 2);
	for (unsigned i = 0; i < 20; i++)
		rings_append(&r, &x[i], 0, i, rings_row(i % 16, 1, 1), (uint8_t)i);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(rings_wait(&r, &x[i]), 0);
	assert_int_equal(journal_stats(r.j).batches, 2);
	assert_int_equal(journal_stats(r.j).appends, 20);
	rings_reboot(&r);
	for (unsigned i = 0; i < 20; i++)
		assert_true(rings_found(&r, 0, i, i % 16, (uint8_t)i));
	rings_fini(&r);
}

/* Fill the ring of member 0 with records of a stripe each, until one waits. */
static unsigned fill(struct rings *r, struct rings_append *waits)
{
	unsigned n = 0;
	for (;; n++) {
		rings_append(r, waits, 0, n % RINGS_STRIPES, rings_row(0, 16, 1), (uint8_t)n);
		for (unsigned turns = 0; turns < 100 && !waits->ended; turns++)
			io_run(r->rig.io, true);
		if (!waits->ended)
			return n;
		free(waits->iov.iov_base);
		journal_ended(r->j, &waits->a);
	}
}

static void a_full_ring_makes_appends_wait_for_a_flush(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x;
	rings_init(&r, 3);
	unsigned n = fill(&r, &x);
	assert_true(n >= 3);
	assert_int_equal(journal_stats(r.j).waits, 1);
	assert_true(journal_wants_flush(r.j));
	rings_flushed(&r);
	assert_int_equal(rings_wait(&r, &x), 0);
	assert_false(journal_wants_flush(r.j));
	rings_fini(&r);
}

static void a_flush_that_began_before_a_write_ended_frees_nothing(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x;
	rings_init(&r, 4);
	uint64_t epoch = journal_epoch(r.j);
	(void)fill(&r, &x);
	journal_flushed(r.j, epoch);
	assert_false(x.ended);
	assert_false(journal_busy(r.j));
	journal_flush_failed(r.j, -EIO);
	assert_int_equal(rings_wait(&r, &x), -EIO);
	rings_fini(&r);
}

static void a_write_under_way_keeps_its_record_over_flushes(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append first, x;
	rings_init(&r, 5);
	rings_append(&r, &first, 0, 63, rings_row(3, 1, 1), 99);
	assert_int_equal(rings_wait(&r, &first), 0);
	(void)fill(&r, &x);
	rings_flushed(&r);
	assert_false(journal_busy(r.j));
	assert_false(journal_wants_flush(r.j)); /* it would free nothing */
	rings_reboot(&r);
	assert_true(rings_found(&r, 0, 63, 3, 99));
	free(x.iov.iov_base);
	rings_fini(&r);
}

/* Many laps, with a reboot at each place: what was not flushed is found, newest first. */
static void the_ring_wraps(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 6);
	for (unsigned n = 0; n < 120; n++) {
		unsigned rows = 1 + n * 7 % 16;
		rings_log(&r, 0, n % RINGS_STRIPES, rings_row(0, rows, 1), (uint8_t)n);
		rings_log(&r, 0, (n + 1) % RINGS_STRIPES, rings_row(0, 1, 1), (uint8_t)(n + 100));
		if (n % 5 == 4) {
			rings_reboot(&r);
			assert_true(
				rings_found(&r, 0, (n + 1) % RINGS_STRIPES, 0, (uint8_t)(n + 100)));
			for (unsigned i = rows > 1 ? 1 : rows; i < rows; i++)
				assert_true(rings_found(&r, 0, n % RINGS_STRIPES, i, (uint8_t)n));
			for (uint64_t s = 0; s < RINGS_STRIPES; s++)
				journal_forget(r.j, s);
		}
		rings_flushed(&r);
	}
	assert_true(journal_stats(r.j).waits == 0);
	rings_fini(&r);
}

static void what_was_superseded_is_not_found(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 7);
	rings_log(&r, 2, 9, rings_row(0, 4, 1), 50);
	rings_log(&r, 2, 9, (struct journal_run){.row = 1, .rows = 2, .superseded = true}, 0);
	assert_true(journal_holds(r.j, 2, 9, 0));
	assert_false(journal_holds(r.j, 2, 9, 1));
	rings_reboot(&r);
	assert_true(rings_found(&r, 2, 9, 0, 50));
	assert_false(rings_found(&r, 2, 9, 1, 50));
	assert_false(rings_found(&r, 2, 9, 2, 50));
	assert_true(rings_found(&r, 2, 9, 3, 50));
	rings_fini(&r);
}

static void the_newest_record_of_each_slot_counts(void **unused)
{
	(void)unused;
	struct rings r;
	struct journal_found f;
	rings_init(&r, 8);
	rings_log(&r, 1, 9, rings_row(0, 1, 1), 10); /* parity 10, slot 0: 11 */
	rings_log(&r, 1, 9, rings_row(0, 1, 2), 20); /* parity 20, slot 1: 22 */
	rings_reboot(&r);
	assert_true(journal_find(r.j, 1, 9, 0, &f));
	assert_int_equal(f.slots, 7);
	assert_int_equal(f.block[RINGS_PARITY][0], 20);
	assert_int_equal(f.block[0][0], 11);
	assert_int_equal(f.block[1][0], 22);
	journal_forget(r.j, 9);
	assert_false(journal_find(r.j, 1, 9, 0, &f));
	rings_fini(&r);
}

static void a_ring_holds_nothing_of_what_durable_batches_say_is_needed_no_more(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 9);
	rings_log(&r, 0, 3, rings_row(0, 1, 1), 10);
	rings_flushed(&r);
	assert_true(journal_holds(r.j, 0, 3, 0)); /* the medium still says so */
	rings_log(&r, 0, 4, rings_row(0, 1, 1), 20);
	assert_true(journal_holds(r.j, 0, 3, 0)); /* of the newest that was durable then */
	rings_log(&r, 0, 5, rings_row(0, 1, 1), 30);
	assert_false(journal_holds(r.j, 0, 3, 0));
	rings_reboot(&r);
	assert_false(rings_found(&r, 0, 3, 0, 10));
	assert_true(rings_found(&r, 0, 4, 0, 20));
	assert_true(rings_found(&r, 0, 5, 0, 30));
	rings_fini(&r);
}

static void who_waits_for_a_member_that_goes_hears_of_it(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x, under_way[2];
	rings_init(&r, 10);
	(void)fill(&r, &x);
	rings_append(&r, &under_way[0], 1, 1, rings_row(0, 1, 1), 1);
	rings_append(&r, &under_way[1], 1, 2, rings_row(0, 1, 1), 2);
	journal_set_member(r.j, 0, NULL);
	journal_set_member(r.j, 1, NULL);
	assert_int_equal(rings_wait(&r, &x), -ENODEV);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rings_wait(&r, &under_way[i]), -ENODEV);
	rings_append(&r, &x, 1, 3, rings_row(0, 1, 1), 3);
	assert_int_equal(rings_wait(&r, &x), -ENODEV);
	rings_fini(&r);
}

static void a_member_that_comes_back_has_only_its_new_records(void **unused)
{
	(void)unused;
	struct rings r;
	rings_init(&r, 11);
	rings_log(&r, 1, 3, rings_row(0, 1, 1), 10);
	rings_log(&r, 1, 4, rings_row(0, 1, 1), 20);
	journal_set_member(r.j, 1, NULL);
	assert_int_equal(journal_format(r.members[1]), 0);
	journal_set_member(r.j, 1, r.members[1]);
	assert_false(journal_holds(r.j, 1, 3, 0));
	rings_log(&r, 1, 5, rings_row(0, 1, 1), 30);
	rings_reboot(&r);
	assert_false(rings_found(&r, 1, 3, 0, 10));
	assert_false(rings_found(&r, 1, 4, 0, 20));
	assert_true(rings_found(&r, 1, 5, 0, 30));
	rings_fini(&r);
}

static void a_write_error_fails_the_batch_and_names_the_member(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x;
	rings_init(&r, 12);
	rings_log(&r, 2, 1, rings_row(0, 1, 1), 10);
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.name = "m2",
		.offset_bytes = rings_area(&r),
		.len_bytes = (uint64_t)rings_blocks(&r) * BLOCK_BYTES,
		.count = 1,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(r.rig.world, &fault), 0);
	rings_append(&r, &x, 2, 2, rings_row(0, 1, 1), 20);
	assert_int_equal(rings_wait(&r, &x), -EIO);
	assert_int_equal(journal_failed_members(r.j), 4);
	rings_log(&r, 2, 3, rings_row(0, 1, 1), 30);
	rings_reboot(&r);
	assert_true(rings_found(&r, 2, 3, 0, 30));
	rings_fini(&r);
}

static void an_append_larger_than_any_write_is_refused(void **unused)
{
	(void)unused;
	struct rings r;
	struct rings_append x;
	rings_init(&r, 13);
	assert_true(journal_max_blocks(r.j) >= 16 * RINGS_MEMBERS);
	x = (struct rings_append){.run = rings_row(0, 16, 3)};
	x.a = (struct journal_append){.members = 1,
		.runs = &x.run,
		.run_count = 1,
		.payload_blocks = journal_max_blocks(r.j) + 1,
		.done = rings_done};
	journal_append(r.j, &x.a);
	assert_int_equal(rings_wait(&r, &x), -EFBIG);
	rings_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_durable_when_its_append_is_done),
		cmocka_unit_test(records_that_arrive_during_a_batch_share_the_next),
		cmocka_unit_test(a_full_ring_makes_appends_wait_for_a_flush),
		cmocka_unit_test(a_flush_that_began_before_a_write_ended_frees_nothing),
		cmocka_unit_test(a_write_under_way_keeps_its_record_over_flushes),
		cmocka_unit_test(the_ring_wraps),
		cmocka_unit_test(what_was_superseded_is_not_found),
		cmocka_unit_test(the_newest_record_of_each_slot_counts),
		cmocka_unit_test(
			a_ring_holds_nothing_of_what_durable_batches_say_is_needed_no_more),
		cmocka_unit_test(who_waits_for_a_member_that_goes_hears_of_it),
		cmocka_unit_test(a_member_that_comes_back_has_only_its_new_records),
		cmocka_unit_test(a_write_error_fails_the_batch_and_names_the_member),
		cmocka_unit_test(an_append_larger_than_any_write_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
