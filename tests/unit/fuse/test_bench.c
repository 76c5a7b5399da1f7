/* SPDX-License-Identifier: MIT */
/* Workers on the bench, with a pipe in the kernel's place: each byte is a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "fuse/bench.h"

#define WORKERS 4u

/* The requests: 'q' and 'd' are served at once, 'd' is data; 's' and 'b' block until they may end,
 * and only 's' is known to be slow; 'x' ends the worker. The engine's thread is the test's. */
struct rig {
	struct bench bench;
	struct bench_engine engine;
	sem_t engine_called;
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

/* A request that the engine's thread has received. */
struct handed {
	struct list_node node;
	char what;
};

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

static enum bench_kind kind_of(char request)
{
	return request == 'd' ? BENCH_DATA : request == 's' ? BENCH_SLOW : BENCH_OTHER;
}

static char receive(struct worker *w)
{
	char request = 'x';
	struct list_node *n = bench_listen(&w->rig->bench);
	if (n) {
		struct handed *h = container_of(n, struct handed, node);
		request = h->what;
		free(h);
		return request;
	}
	if (read(w->rig->pipe[0], &request, 1) != 1)
		request = 'x';
	bench_serve(&w->rig->bench, kind_of(request));
	return request;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	while (serve(w, receive(w)))
		;
	return NULL;
}

static void engine_call(struct bench_engine *engine)
{
	sem_post(&container_of(engine, struct rig, engine)->engine_called);
}

static void rig_start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	assert_int_equal(pipe(rig->pipe), 0);
	rig->engine.call = engine_call;
	sem_init(&rig->engine_called, 0, 0);
	assert_int_equal(bench_init(&rig->bench, rig->pipe[0], &rig->engine), 0);
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

/* ---- the engine's thread ---- */

static bool is_nonblocking(const struct rig *rig)
{
	return fcntl(rig->pipe[0], F_GETFL) & O_NONBLOCK;
}

/* Data comes, and nothing else, until the engine is called; now it listens. */
static void engine_sits(struct rig *rig)
{
	all_but_one_sit_down(rig);
	while (sem_trywait(&rig->engine_called) != 0) {
		request(rig, 'd');
		assert_true(happens(&rig->served));
	}
	while (sitting(rig) < WORKERS)
		poll(NULL, 0, 1);
	assert_true(bench_engine_sits(&rig->bench));
}

static void hand(struct rig *rig, char what)
{
	struct handed *h = calloc(1, sizeof(*h));
	h->what = what;
	bench_hand(&rig->bench, &h->node);
}

static void several_data_requests_in_a_row_call_the_engine(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	all_but_one_sit_down(&rig);
	for (unsigned i = 0; i < 100; i++) {
		request(&rig, i % 4 == 3 ? 'q' : 'd');
		assert_true(happens(&rig.served));
	}
	assert_int_equal(sem_trywait(&rig.engine_called), -1);
	engine_sits(&rig);
	assert_true(is_nonblocking(&rig));
	bench_engine_rises(&rig.bench, false);
	rig_end(&rig);
}

static void while_the_engine_listens_no_worker_reads(void **unused)
{
	(void)unused;
	struct rig rig;
	char what;
	rig_start(&rig);
	engine_sits(&rig);
	for (unsigned i = 0; i < 20; i++) {
		hand(&rig, 'q');
		assert_true(happens(&rig.served));
	}
	request(&rig, 'd');
	bench_tick(&rig.bench);
	bench_tick(&rig.bench);
	assert_int_equal(poll(NULL, 0, 20), 0);
	assert_int_equal(read(rig.pipe[0], &what, 1), 1);
	assert_int_equal(sem_trywait(&rig.served), -1);
	bench_engine_rises(&rig.bench, false);
	rig_end(&rig);
}

static void the_clock_runs_while_the_engine_receives(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	engine_sits(&rig);
	while (bench_timeout_ms(&rig.bench) >= 0)
		bench_tick(&rig.bench);
	assert_true(bench_engine_got(&rig.bench, BENCH_DATA));
	assert_int_equal(bench_timeout_ms(&rig.bench), BENCH_TICK_MS);
	bench_engine_rises(&rig.bench, false);
	rig_end(&rig);
}

static void what_is_handed_over_is_served_also_beside_workers_that_block(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	engine_sits(&rig);
	for (unsigned i = 0; i < WORKERS - 1; i++) {
		hand(&rig, 'b');
		assert_true(happens(&rig.blocked));
	}
	for (unsigned i = 0; i < 10; i++)
		hand(&rig, 'q');
	for (unsigned i = 0; i < 10; i++)
		assert_true(happens(&rig.served));
	for (unsigned i = 0; i < WORKERS - 1; i++)
		sem_post(&rig.may_end);
	bench_engine_rises(&rig.bench, false);
	rig_end(&rig);
}

static void several_others_in_a_row_send_the_engine_away_and_a_worker_listens_again(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	engine_sits(&rig);
	for (unsigned i = 0; i < 100; i++)
		assert_true(bench_engine_got(&rig.bench, i % 3 == 2 ? BENCH_DATA : BENCH_OTHER));
	assert_true(bench_engine_got(&rig.bench, BENCH_DATA));
	unsigned others = 1;
	while (bench_engine_got(&rig.bench, BENCH_OTHER))
		others++;
	assert_in_range(others, 2, 16);
	bench_engine_rises(&rig.bench, false);
	assert_false(is_nonblocking(&rig));
	request(&rig, 'q');
	assert_true(happens(&rig.served));
	rig_end(&rig);
}

/* The one that is called for it takes what is left of what was handed over. */
static void a_worker_listens_again_also_where_something_was_handed_over_last(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	for (unsigned i = 0; i < 50; i++) {
		engine_sits(&rig);
		hand(&rig, 'b');
		bench_engine_rises(&rig.bench, false);
		assert_true(happens(&rig.blocked));
		request(&rig, 'q');
		assert_true(happens(&rig.served));
		sem_post(&rig.may_end);
		assert_true(happens(&rig.served));
	}
	rig_end(&rig);
}

static void an_engine_that_was_called_is_not_wanted_any_more_at_the_end(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	all_but_one_sit_down(&rig);
	while (sem_trywait(&rig.engine_called) != 0) {
		request(&rig, 'd');
		assert_true(happens(&rig.served));
	}
	bench_open(&rig.bench);
	assert_false(bench_engine_sits(&rig.bench));
	assert_false(is_nonblocking(&rig));
	request(&rig, 'q');
	assert_true(happens(&rig.served));
	rig_end(&rig);
}

static void an_engine_that_cannot_listen_is_not_called_again(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_start(&rig);
	engine_sits(&rig);
	bench_engine_rises(&rig.bench, true);
	for (unsigned i = 0; i < 100; i++) {
		request(&rig, 'd');
		assert_true(happens(&rig.served));
	}
	assert_int_equal(sem_trywait(&rig.engine_called), -1);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_data_requests_in_a_row_call_the_engine),
		cmocka_unit_test(while_the_engine_listens_no_worker_reads),
		cmocka_unit_test(the_clock_runs_while_the_engine_receives),
		cmocka_unit_test(what_is_handed_over_is_served_also_beside_workers_that_block),
		cmocka_unit_test(
			several_others_in_a_row_send_the_engine_away_and_a_worker_listens_again),
		cmocka_unit_test(a_worker_listens_again_also_where_something_was_handed_over_last),
		cmocka_unit_test(an_engine_that_was_called_is_not_wanted_any_more_at_the_end),
		cmocka_unit_test(an_engine_that_cannot_listen_is_not_called_again),
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
