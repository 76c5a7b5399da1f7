/* SPDX-License-Identifier: MIT */
/* inflight/live_threads: what is remembered, and for how long. Time is given, none passes. */
#include "inflight/live_threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define TID   4321
#define OTHER (TID + (pid_t)LIVE_THREADS) /* has the same place */
#define START (77 * NS_PER_S)

static struct live_threads *fresh(void)
{
	static struct live_threads threads;
	threads = (struct live_threads)LIVE_THREADS_INIT;
	return &threads;
}

/* One wait as long as the table has patience, in vain. When it ended. */
static uint64_t wait_in_vain(struct live_threads *t, pid_t tid, uint64_t now_ns)
{
	uint64_t end_ns = now_ns + live_threads_patience_ns(t, tid, now_ns);
	live_threads_ran(t, tid, now_ns, end_ns);
	return end_ns;
}

/* Until it is doubted. When that began. */
static uint64_t bring_into_doubt(struct live_threads *t, pid_t tid)
{
	uint64_t now_ns = START;
	for (unsigned i = 0; i < LIVE_RUNS_TO_DOUBT; i++) {
		assert_int_equal(live_threads_patience_ns(t, tid, now_ns), LIVE_PATIENCE_NS);
		now_ns = wait_in_vain(t, tid, now_ns);
	}
	assert_int_equal(live_threads_patience_ns(t, tid, now_ns), LIVE_PATIENCE_DOUBTED_NS);
	return now_ns;
}

static void doubt_ends_however_often_it_is_confirmed(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	uint64_t now_ns = bring_into_doubt(t, TID), end_ns = now_ns + LIVE_DOUBT_NS;
	while (now_ns < end_ns)
		now_ns = wait_in_vain(t, TID, now_ns);
	assert_true(now_ns < end_ns + LIVE_PATIENCE_DOUBTED_NS);
	assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_NS);
}

static void one_long_wait_renews_the_doubt(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	uint64_t now_ns = bring_into_doubt(t, TID) + LIVE_DOUBT_NS;
	now_ns = wait_in_vain(t, TID, now_ns);
	assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_DOUBTED_NS);
	now_ns += LIVE_DOUBT_NS;
	assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_NS);
}

static void a_submitter_costs_one_long_wait_for_each_period_of_doubt(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	uint64_t now_ns = START, waited_ns = 0;
	while (now_ns < START + 100 * LIVE_DOUBT_NS) {
		uint64_t end_ns = wait_in_vain(t, TID, now_ns);
		waited_ns += end_ns - now_ns >= LIVE_PATIENCE_NS ? LIVE_PATIENCE_NS : 0;
		now_ns = end_ns + 100 * NS_PER_US;
	}
	assert_in_range(waited_ns / LIVE_PATIENCE_NS, 90, 100 + LIVE_RUNS_TO_DOUBT);
}

static void a_write_that_is_found_ends_the_doubt(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	bring_into_doubt(t, TID);
	live_threads_waited(t, TID);
	bring_into_doubt(t, TID); /* takes as many waits as the first time */
}

static void waits_that_are_not_in_a_row_raise_no_doubt(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	uint64_t now_ns = START;
	for (unsigned i = 0; i < 10 * LIVE_RUNS_TO_DOUBT; i++) {
		now_ns = wait_in_vain(t, TID, now_ns);
		assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_NS);
		if (i % (LIVE_RUNS_TO_DOUBT - 1) == LIVE_RUNS_TO_DOUBT - 2)
			live_threads_waited(t, TID);
	}
}

static void threads_at_the_same_place_are_not_mistaken_for_one_another(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	struct event_writer writer = {.pid = 1, .uid = 2, .comm = "first"}, out = {.pid = -1};
	uint64_t now_ns = bring_into_doubt(t, TID);
	live_threads_describe(t, TID, now_ns, &writer);
	assert_int_equal(live_threads_patience_ns(t, OTHER, now_ns), LIVE_PATIENCE_NS);
	assert_false(live_threads_recall(t, OTHER, now_ns, &out));
	assert_int_equal(out.pid, -1);
	live_threads_waited(t, OTHER);
	assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_DOUBTED_NS);
	live_threads_ran(t, OTHER, now_ns, now_ns); /* takes the place */
	assert_int_equal(live_threads_patience_ns(t, TID, now_ns), LIVE_PATIENCE_NS);
	assert_false(live_threads_recall(t, TID, now_ns, &out));
}

static void descriptions_age(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	struct event_writer writer = {.pid = 1, .uid = 2, .comm = "name"};
	struct event_writer out = {.tid = 9, .call = "write"};
	live_threads_describe(t, TID, START, &writer);
	assert_true(live_threads_recall(t, TID, START + LIVE_DESCRIBED_NS - 1, &out));
	assert_int_equal(out.pid, 1);
	assert_int_equal(out.uid, 2);
	assert_string_equal(out.comm, "name");
	assert_int_equal(out.tid, 9); /* what is not of the description stays */
	assert_string_equal(out.call, "write");
	assert_false(live_threads_recall(t, TID, START + LIVE_DESCRIBED_NS, &out));
}

static void the_last_way_of_a_thread_is_remembered(void **unused)
{
	(void)unused;
	struct live_threads *t = fresh();
	assert_int_equal(live_threads_way(t, TID), LIVE_WAY_UNKNOWN);
	live_threads_set_way(t, TID, LIVE_WAY_RING);
	assert_int_equal(live_threads_way(t, TID), LIVE_WAY_RING);
	live_threads_waited(t, TID); /* found in a call */
	assert_int_equal(live_threads_way(t, TID), LIVE_WAY_CALL);
	live_threads_set_way(t, TID + LIVE_THREADS, LIVE_WAY_AIO); /* takes its place */
	assert_int_equal(live_threads_way(t, TID), LIVE_WAY_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubt_ends_however_often_it_is_confirmed),
		cmocka_unit_test(one_long_wait_renews_the_doubt),
		cmocka_unit_test(a_submitter_costs_one_long_wait_for_each_period_of_doubt),
		cmocka_unit_test(a_write_that_is_found_ends_the_doubt),
		cmocka_unit_test(waits_that_are_not_in_a_row_raise_no_doubt),
		cmocka_unit_test(threads_at_the_same_place_are_not_mistaken_for_one_another),
		cmocka_unit_test(descriptions_age),
		cmocka_unit_test(the_last_way_of_a_thread_is_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
