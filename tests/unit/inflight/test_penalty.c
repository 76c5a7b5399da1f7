/* SPDX-License-Identifier: MIT */
/* inflight/penalty: who is not looked at, and for how long. */
#include "inflight/penalty.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#define NOBODY 0x3ffffff0 /* above what pid_max can be */

static void a_penalty_ends_after_its_time(void **unused)
{
	(void)unused;
	struct penalties p = {0};
	pid_t me = getpid();
	assert_false(penalty_applies(&p, me, 1000));
	penalty_unhang(&p, penalty_hang(&p, me, 1000));
	assert_true(penalty_applies(&p, me, 1000));
	assert_true(penalty_applies(&p, me, 999 + SAMPLER_PENALTY_NS));
	assert_false(penalty_applies(&p, me, 1000 + SAMPLER_PENALTY_NS));
	assert_int_equal(p.count, 0);
}

static void a_penalty_does_not_end_while_a_thread_hangs(void **unused)
{
	(void)unused;
	struct penalties p = {0};
	pid_t me = getpid();
	penalty_hang(&p, me, 1000);
	penalty_hang(&p, me, 1000);
	uint64_t later = 10 * SAMPLER_PENALTY_NS;
	penalty_unhang(&p, me);
	assert_true(penalty_applies(&p, me, later));
	penalty_unhang(&p, me);
	assert_false(penalty_applies(&p, me, later));
}

static void *ask_as_another_thread(void *arg)
{
	struct penalties *p = arg;
	bool applies = penalty_applies(p, (pid_t)syscall(SYS_gettid), 1000);
	return applies ? p : NULL;
}

static void a_penalty_is_of_the_process_not_of_the_thread(void **unused)
{
	(void)unused;
	struct penalties p = {0};
	pthread_t thread;
	void *applies = NULL;
	assert_int_equal(penalty_hang(&p, (pid_t)syscall(SYS_gettid), 1000), getpid());
	assert_int_equal(pthread_create(&thread, NULL, ask_as_another_thread, &p), 0);
	pthread_join(thread, &applies);
	assert_ptr_equal(applies, &p);
	assert_false(penalty_applies(&p, getppid(), 1000));
}

static void a_full_table_forgets_who_would_be_the_first_to_be_free(void **unused)
{
	(void)unused;
	struct penalties p = {0};
	for (int i = 0; i < (int)PENALTY_ROWS; i++) {
		pid_t tgid = penalty_hang(&p, NOBODY + i, (uint64_t)(1000 + i));
		assert_int_equal(tgid, NOBODY + i); /* it has gone: its thread stands for it */
		if (i >= (int)SAMPLER_MAX_THREADS)
			penalty_unhang(&p, tgid);
	}
	penalty_hang(&p, getpid(), 5000);
	assert_int_equal(p.count, PENALTY_ROWS);
	assert_true(penalty_applies(&p, NOBODY, 5000)); /* the oldest, but one hangs in it */
	assert_false(penalty_applies(&p, NOBODY + (int)SAMPLER_MAX_THREADS, 5000));
	assert_true(penalty_applies(&p, NOBODY + (int)SAMPLER_MAX_THREADS + 1, 5000));
	assert_true(penalty_applies(&p, getpid(), 5000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_penalty_ends_after_its_time),
		cmocka_unit_test(a_penalty_does_not_end_while_a_thread_hangs),
		cmocka_unit_test(a_penalty_is_of_the_process_not_of_the_thread),
		cmocka_unit_test(a_full_table_forgets_who_would_be_the_first_to_be_free),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
