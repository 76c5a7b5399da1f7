/* SPDX-License-Identifier: MIT */
/* Workers on the bench, with a pipe in the kernel's place: each byte is a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "fuse/bench.h"

#define WORKERS 4u

/* The requests: 'q' is served at once; 's' and 'b' block until they may end, and only 's' is known
 * to be slow; 'x' ends the worker. */
struct rig {
	struct bench bench;
	int pipe[2];
	sem_t served, blocked, may_end;
	atomic_uint by[WORKERS];
	pthread_t workers[WORKERS];
};

struct worker {
	struct rig *rig;
	unsigned index;
};

static struct worker workers[WORKERS];

static bool serve(struct worker *w, char request)
{
	struct rig *rig = w->rig;
	w->rig->by[w->index]++;
	if (request == 's' || request == 'b') {
		sem_post(&rig->blocked);
		sem_wait(&rig->may_end);
	}
	sem_post(&rig->served);
	return request != 'x';
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char request = 'x';
	do {
		bench_listen(&w->rig->bench);
		if (read(w->rig->pipe[0], &request, 1) != 1)
			request = 'x';
		bench_serve(&w->rig->bench, request == 's');
	} while (serve(w, request));
	return NULL;
}

static void rig_start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	assert_int_equal(pipe(rig->pipe), 0);
	assert_int_equal(bench_init(&rig->bench, rig->pipe[0]), 0);
	sem_init(&rig->served, 0, 0);
	sem_init(&rig->blocked, 0, 0);
	sem_init(&rig->may_end, 0, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){rig, i};
		assert_int_equal(pthread_create(&rig->workers[i], NULL, work, &workers[i]), 0);
	}
}

static void request(struct rig *rig, char what)
{
	assert_int_equal(write(rig->pipe[1], &what, 1), 1);
}

/* False: not within a quarter of a minute, which is for ever. */
static bool happens(sem_t *sem)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 15;
	return sem_timedwait(sem, &end) == 0;
}

static void rig_end(struct rig *rig)
{
	bench_open(&rig->bench);
	for (unsigned i = 0; i < WORKERS; i++)
		request(rig, 'x');
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(rig->workers[i], NULL);
	bench_fini(&rig->bench);
	close(rig->pipe[0]);
	close(rig->pipe[1]);
}

static unsigned sitting(struct rig *rig)
{
	pthread_mutex_lock(&rig->bench.lock);
	unsigned n = rig->bench.sitting;
	pthread_mutex_unlock(&rig->bench.lock);
	return n;
}

/* In the beginning several may be on their way, and sit down after their next request. */
static void all_but_one_sit_down(struct rig *rig)
{
	while (sitting(rig) < WORKERS - 1) {
		request(rig, 'q');
		assert_true(happens(&rig->served));
		poll(NULL, 0, 1);
	}
}

static void requests_one_after_the_other_are_served_by_one_worker(void **unused)
{
	(void)unused;
	struct rig rig;
	unsigned before[WORKERS], busy = 0;
	rig_start(&rig);
	all_but_one_sit_down(&rig);
	for (unsigned w = 0; w < WORKERS; w++)
		before[w] = rig.by[w];
	for (unsigned i = 0; i < 200; i++) {
		request(&rig, 'q');
		assert_true(happens(&rig.served));
	}
	for (unsigned w = 0; w < WORKERS; w++)
		busy += rig.by[w] != before[w];
	assert_int_equal(busy, 1);
	rig_end(&rig);
}

static void while_one_serves_what_takes_long_another_listens(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	for (unsigned i = 0; i < WORKERS - 1; i++) {
		request(&rig, 's');
		assert_true(happens(&rig.blocked));
	}
	request(&rig, 'q');
	assert_true(happens(&rig.served));
	for (unsigned i = 0; i < WORKERS - 1; i++)
		sem_post(&rig.may_end);
	rig_end(&rig);
}

static void after_a_tick_of_the_clock_another_listens_whatever_the_first_one_waits_for(
	void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	assert_int_equal(bench_timeout_ms(&rig.bench), -1);
	for (unsigned i = 0; i < WORKERS - 1; i++) {
		request(&rig, 'b');
		while (sem_trywait(&rig.blocked) != 0) {
			assert_int_equal(poll(NULL, 0, 1), 0);
			bench_tick(&rig.bench);
		}
	}
	request(&rig, 'q');
	while (sem_trywait(&rig.served) != 0) {
		assert_int_equal(poll(NULL, 0, 1), 0);
		bench_tick(&rig.bench);
	}
	for (unsigned i = 0; i < WORKERS - 1; i++)
		sem_post(&rig.may_end);
	rig_end(&rig);
}

static void the_clock_stops_when_nothing_comes_and_starts_with_the_next_request(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	for (unsigned round = 0; round < 3; round++) {
		request(&rig, 'q');
		assert_true(happens(&rig.served));
		assert_int_equal(bench_timeout_ms(&rig.bench), BENCH_TICK_MS);
		struct pollfd clock = {.fd = rig.bench.clock_fd, .events = POLLIN};
		assert_int_equal(poll(&clock, 1, 0), 1);
		while (bench_timeout_ms(&rig.bench) >= 0)
			bench_tick(&rig.bench);
		assert_int_equal(poll(&clock, 1, 0), 0);
	}
	rig_end(&rig);
}

/* The fourth of a pile blocks, and nothing says that it would. */
static void requests_that_pile_up_bring_another_worker(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	all_but_one_sit_down(&rig);
	assert_int_equal(write(rig.pipe[1], "qqqbq", 5), 5);
	for (unsigned i = 0; i < 4; i++)
		assert_true(happens(&rig.served));
	sem_post(&rig.may_end);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_one_after_the_other_are_served_by_one_worker),
		cmocka_unit_test(while_one_serves_what_takes_long_another_listens),
		cmocka_unit_test(
			after_a_tick_of_the_clock_another_listens_whatever_the_first_one_waits_for),
		cmocka_unit_test(
			the_clock_stops_when_nothing_comes_and_starts_with_the_next_request),
		cmocka_unit_test(requests_that_pile_up_bring_another_worker),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
