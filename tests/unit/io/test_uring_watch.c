/* SPDX-License-Identifier: MIT */
/* The io_uring engine listens to a descriptor of somebody else's beside its own work. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include "io/inject.h"
#include "io/simulated.h"
#include "uring_rig.h"

/* A pipe that is watched: each byte is news. */
struct ear {
	struct io_watch watch;
	struct io_engine *io;
	int write_fd;
	unsigned calls, heard;
	unsigned at_once; /* bytes it reads in a call; 0: all */
	bool ends;        /* when it has heard something */
};

static bool heard(struct io_watch *watch)
{
	struct ear *ear = container_of(watch, struct ear, watch);
	char byte;
	ear->calls++;
	for (unsigned n = 0; !ear->at_once || n < ear->at_once; n++) {
		if (read(watch->fd, &byte, 1) != 1)
			return false;
		ear->heard++;
		if (ear->ends) {
			io_unwatch(ear->io);
			return false;
		}
	}
	return true;
}

static void ear_open(struct ear *ear, struct io_engine *io)
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	*ear = (struct ear){.watch = {.fd = fds[0], .ready = heard}, .io = io, .write_fd = fds[1]};
	assert_int_equal(io_watch(io, &ear->watch), 0);
	assert_int_equal(io_run(io, true), 1);
	assert_int_equal(ear->calls, 1); /* the first is for what was there before */
}

static void ear_close(struct ear *ear)
{
	close(ear->watch.fd);
	close(ear->write_fd);
}

static void say(struct ear *ear, const char *what)
{
	assert_int_equal(write(ear->write_fd, what, strlen(what)), strlen(what));
}

static void run_until_heard(struct ear *ear, unsigned count)
{
	alarm(60); /* what is not heard is a wait without end */
	while (ear->heard < count)
		assert_true(io_run(ear->io, true) >= 0);
	alarm(0);
}

static void *say_one_by_one(void *arg)
{
	struct ear *ear = arg;
	for (unsigned i = 0; i < 5000; i++) {
		say(ear, i % 7 ? "a" : "abc");
		for (volatile unsigned spin = 0; spin < i % 512;)
			spin = spin + 1;
	}
	return NULL;
}

/* From another thread, into each gap between two looks, with transfers beside it. */
static void hear_all(struct rig *rig)
{
	struct ear ear;
	pthread_t thread;
	struct op op = {.err = 0};
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	ear_open(&ear, rig->io);
	assert_int_equal(pthread_create(&thread, NULL, say_one_by_one, &ear), 0);
	for (unsigned i = 1; i <= 10; i++) {
		if (op.err != OP_PENDING)
			op_transfer(&op, IO_READ, rig->file, 0, buf, BLOCK_BYTES);
		run_until_heard(&ear, i * (5000 + 2 * 715) / 10);
	}
	pthread_join(thread, NULL);
	op_wait(&op);
	io_unwatch(rig->io);
	ear_close(&ear);
}

static void nothing_that_comes_is_missed(void **unused)
{
	(void)unused;
	on_each_medium(8, hear_all);
	on_each_medium(2, hear_all);
}

static void who_leaves_something_is_called_again_without_a_wait(void **unused)
{
	(void)unused;
	struct rig rig;
	struct ear ear;
	rig_open(&rig, "/tmp", 8);
	ear_open(&ear, rig.io);
	ear.at_once = 2;
	say(&ear, "abcde");
	run_until_heard(&ear, 5);
	assert_int_equal(ear.calls, 1 + 3);
	io_unwatch(rig.io);
	ear_close(&ear);
	rig_close(&rig);
}

/* All have ended before the first is told of. */
static void between_a_few_ends_of_requests_the_one_who_listens_has_his_turn(void **unused)
{
	(void)unused;
	enum { READS = 30 };
	struct rig rig;
	struct ear ear;
	struct op ops[READS];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(READS * BLOCK_BYTES);
	rig_open(&rig, "/tmp", 64);
	rig_make_member(&rig, READS * BLOCK_BYTES);
	uring_file_of(rig.file)->in_memory = false; /* through the ring on any medium */
	ear_open(&ear, rig.io);
	for (unsigned i = 0; i < READS; i++)
		op_transfer(&ops[i], IO_READ, rig.file, i * BLOCK_BYTES, buf + i * BLOCK_BYTES,
			BLOCK_BYTES);
	assert_true(io_run(rig.io, false) <= 5);
	poll(NULL, 0, 200);
	unsigned first = ear.calls, turns = 0;
	for (; ops[READS - 1].err == OP_PENDING || ear.heard == 0; turns++) {
		if (turns == 0)
			say(&ear, "a");
		int ran = io_run(rig.io, true);
		assert_in_range(ran, 0, 5);
		assert_true(turns > 0 || ear.heard == 1);
	}
	assert_in_range(turns, 4, 2 * READS);
	assert_in_range(ear.calls - first, 4, turns);
	for (unsigned i = 0; i < READS; i++)
		op_wait(&ops[i]);
	io_unwatch(rig.io);
	ear_close(&ear);
	rig_close(&rig);
}

static void after_the_watch_has_ended_nothing_is_heard(void **unused)
{
	(void)unused;
	struct rig rig;
	struct ear ear;
	struct op op;
	rig_open(&rig, "/tmp", 8);
	ear_open(&ear, rig.io);
	say(&ear, "a");
	io_unwatch(rig.io);
	for (unsigned i = 0; i < 3; i++) {
		say(&ear, "a");
		op_alarm(&op, rig.io, io_now_ns(rig.io) + 2 * NS_PER_MS);
		op_wait(&op);
	}
	assert_int_equal(ear.heard, 0);
	ear_close(&ear);
	rig_close(&rig);
}

static void a_watch_may_end_from_within_and_begin_again(void **unused)
{
	(void)unused;
	struct rig rig;
	struct ear ear;
	rig_open(&rig, "/tmp", 8);
	ear_open(&ear, rig.io);
	ear.ends = true;
	for (unsigned i = 1; i <= 50; i++) {
		say(&ear, "a");
		run_until_heard(&ear, i);
		assert_int_equal(io_watch(rig.io, &ear.watch), 0);
		if (i % 2)
			assert_int_equal(io_run(rig.io, true), 1);
	}
	io_unwatch(rig.io);
	ear_close(&ear);
	rig_close(&rig);
}

static void there_is_one_watch_at_a_time(void **unused)
{
	(void)unused;
	struct rig rig;
	struct ear ear;
	rig_open(&rig, "/tmp", 8);
	ear_open(&ear, rig.io);
	assert_int_equal(io_watch(rig.io, &ear.watch), -EBUSY);
	io_unwatch(rig.io);
	ear_close(&ear);
	rig_close(&rig);
}

static void a_wake_is_not_lost_on_who_listens(void **unused)
{
	(void)unused;
	struct rig rig;
	struct ear ear;
	rig_open(&rig, "/tmp", 8);
	ear_open(&ear, rig.io);
	alarm(60);
	for (unsigned i = 0; i < 100; i++) {
		io_wake(rig.io);
		while (io_run(rig.io, true) != 0)
			;
	}
	alarm(0);
	io_unwatch(rig.io);
	ear_close(&ear);
	rig_close(&rig);
}

static void a_simulated_engine_listens_to_nothing(void **unused)
{
	(void)unused;
	struct sim_world *world = sim_world_new(1);
	struct io_engine *io;
	struct io_watch watch = {.fd = 0, .ready = heard};
	assert_int_equal(sim_engine_new(world, &io), 0);
	assert_int_equal(io_watch(io, &watch), -EOPNOTSUPP);
	io_engine_free(io);
	sim_world_free(world);
}

static void an_engine_that_injects_faults_listens_as_the_one_below_it(void **unused)
{
	(void)unused;
	struct inject_world *world = inject_world_new(&uring_factory, 1);
	const struct io_factory *factory = inject_world_factory(world);
	struct errmsg why;
	struct io_engine *io;
	struct ear ear;
	assert_int_equal(factory->engine_new(factory, &io, &why), 0);
	ear_open(&ear, io);
	say(&ear, "abc");
	run_until_heard(&ear, 3);
	io_unwatch(io);
	ear_close(&ear);
	io_engine_free(io);
	inject_world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_that_comes_is_missed),
		cmocka_unit_test(who_leaves_something_is_called_again_without_a_wait),
		cmocka_unit_test(between_a_few_ends_of_requests_the_one_who_listens_has_his_turn),
		cmocka_unit_test(after_the_watch_has_ended_nothing_is_heard),
		cmocka_unit_test(a_watch_may_end_from_within_and_begin_again),
		cmocka_unit_test(there_is_one_watch_at_a_time),
		cmocka_unit_test(a_wake_is_not_lost_on_who_listens),
		cmocka_unit_test(a_simulated_engine_listens_to_nothing),
		cmocka_unit_test(an_engine_that_injects_faults_listens_as_the_one_below_it),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
