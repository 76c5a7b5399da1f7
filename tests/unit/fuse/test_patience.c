/* SPDX-License-Identifier: MIT */
/* Waits that end when something happens, or when it does not. */
#include "fuse/patience.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>
#include "base/clock.h"

#define SHORT_NS (20 * NS_PER_MS)
#define LONG_NS  (3600 * NS_PER_S)

struct wait {
	struct patience_wait wait;
	sem_t over;
	uint64_t over_ns;
};

static void over(struct patience_wait *wait)
{
	struct wait *w = (struct wait *)wait;
	w->over_ns = clock_monotonic_ns();
	sem_post(&w->over);
}

static void begin(struct patience *p, struct wait *w)
{
	*w = (struct wait){.wait = {.over = over}};
	sem_init(&w->over, 0, 0);
	patience_begin(p, &w->wait);
}

static void those_that_nobody_ends_end_by_themselves_in_their_turn(void **unused)
{
	(void)unused;
	struct patience *p;
	struct wait waits[3];
	uint64_t start = clock_monotonic_ns();
	assert_int_equal(patience_new(SHORT_NS, &p), 0);
	for (unsigned i = 0; i < 3; i++)
		begin(p, &waits[i]);
	for (unsigned i = 0; i < 3; i++) {
		sem_wait(&waits[i].over);
		assert_true(waits[i].over_ns >= start + SHORT_NS);
		assert_true(i == 0 || waits[i].over_ns >= waits[i - 1].over_ns);
		assert_false(patience_end(p, &waits[i].wait));
	}
	patience_free(p);
}

static void one_that_was_ended_is_not_over_again(void **unused)
{
	(void)unused;
	struct patience *p;
	struct wait ended, other;
	assert_int_equal(patience_new(SHORT_NS, &p), 0);
	begin(p, &ended);
	begin(p, &other);
	assert_true(patience_end(p, &ended.wait));
	assert_false(patience_end(p, &ended.wait));
	sem_wait(&other.over);
	patience_free(p);
	assert_int_equal(sem_trywait(&ended.over), -1);
}

static void the_end_of_the_clock_is_that_of_all_waits(void **unused)
{
	(void)unused;
	struct patience *p;
	struct wait waits[3];
	assert_int_equal(patience_new(LONG_NS, &p), 0);
	for (unsigned i = 0; i < 3; i++)
		begin(p, &waits[i]);
	patience_free(p);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sem_trywait(&waits[i].over), 0);
	patience_free(NULL);
}

/* Whoever comes first, and nobody else. */
static void each_ends_once_however_close_the_two_are(void **unused)
{
	(void)unused;
	struct patience *p;
	unsigned by_us = 0, by_clock = 0;
	assert_int_equal(patience_new(NS_PER_MS / 10, &p), 0);
	for (unsigned i = 0; i < 400; i++) {
		struct wait w;
		begin(p, &w);
		struct timespec pause = {0, (long)(i % 40) * 6000};
		nanosleep(&pause, NULL);
		bool ended = patience_end(p, &w.wait);
		if (!ended)
			sem_wait(&w.over);
		assert_int_equal(sem_trywait(&w.over), -1);
		by_us += ended;
		by_clock += !ended;
	}
	assert_int_equal(by_us + by_clock, 400);
	assert_true(by_clock > 0);
	patience_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_that_nobody_ends_end_by_themselves_in_their_turn),
		cmocka_unit_test(one_that_was_ended_is_not_over_again),
		cmocka_unit_test(the_end_of_the_clock_is_that_of_all_waits),
		cmocka_unit_test(each_ends_once_however_close_the_two_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
