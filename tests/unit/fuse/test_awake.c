/* SPDX-License-Identifier: MIT */
/* When processors are asked to stay awake: a file takes what the kernel would be told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/awake.h"

static char path[] = "/tmp/stablefs-awake-XXXXXX";
static int file = -1;
static struct awake awake;
static uint64_t requests;

static int setup(void **unused)
{
	(void)unused;
	snprintf(path, sizeof(path), "/tmp/stablefs-awake-XXXXXX");
	file = mkstemp(path);
	assert_true(file >= 0);
	requests = 0;
	awake_init(&awake, path);
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	awake_fini(&awake);
	unlink(path);
	return close(file);
}

/* How often something was asked for. */
static unsigned asked(void)
{
	struct stat st;
	assert_int_equal(fstat(file, &st), 0);
	return (unsigned)((size_t)st.st_size / sizeof(int32_t));
}

static int32_t asked_last(void)
{
	int32_t us = -1;
	off_t at = (off_t)((asked() - 1) * sizeof(us));
	assert_int_equal(pread(file, &us, sizeof(us), at), sizeof(us));
	return us;
}

static bool tick(unsigned more)
{
	requests += more;
	return awake_tick(&awake, requests);
}

static void many_requests_ask_once_for_as_long_as_they_come(void **unused)
{
	(void)unused;
	assert_true(tick(AWAKE_REQUESTS));
	assert_int_equal(asked_last(), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_false(tick(AWAKE_REQUESTS + i));
	assert_int_equal(asked(), 1);
}

static void few_requests_never_ask(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 20; i++)
		assert_false(tick(AWAKE_REQUESTS - 1));
	assert_int_equal(asked(), 0);
}

static void a_pause_does_not_end_it(void **unused)
{
	(void)unused;
	tick(AWAKE_REQUESTS);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned calm = 1; calm < AWAKE_TICKS; calm++)
			tick(0);
		tick(AWAKE_REQUESTS);
	}
	assert_int_equal(asked(), 1);
}

static void where_no_more_come_it_is_given_up_and_asked_for_again(void **unused)
{
	(void)unused;
	for (unsigned round = 1; round <= 3; round++) {
		assert_true(tick(AWAKE_REQUESTS));
		for (unsigned calm = 0; calm < AWAKE_TICKS; calm++)
			tick(0);
		assert_false(awake.held);
		assert_int_equal(asked_last(), INT32_MAX);
		assert_int_equal(asked(), 2 * round);
	}
}

static void where_it_cannot_be_asked_for_nothing_is_held(void **unused)
{
	(void)unused;
	const char *const none[] = {NULL, "/nowhere/at/all"};
	for (unsigned i = 0; i < 2; i++) {
		struct awake a;
		awake_init(&a, none[i]);
		assert_false(awake_tick(&a, AWAKE_REQUESTS));
		assert_false(a.held);
		awake_fini(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			many_requests_ask_once_for_as_long_as_they_come, setup, teardown),
		cmocka_unit_test_setup_teardown(few_requests_never_ask, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pause_does_not_end_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			where_no_more_come_it_is_given_up_and_asked_for_again, setup, teardown),
		cmocka_unit_test(where_it_cannot_be_asked_for_nothing_is_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
