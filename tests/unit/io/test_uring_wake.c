/* SPDX-License-Identifier: MIT */
/* The io_uring engine between threads: wakes are never lost, the owner may change. */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include "uring_rig.h"

#define POSTS 20000

/* What another thread posts to the owner, as the engine of the stripes is used. */
struct mailbox {
	struct io_engine *io;
	atomic_uint posted, taken;
	bool in_step; /* post when the owner is about to sleep; else without a pause */
};

static void *post_all(void *arg)
{
	struct mailbox *box = arg;
	for (unsigned i = 0; i < POSTS; i++) {
		while (box->in_step && atomic_load(&box->taken) < i)
			;
		/* A little later each time: into each gap between two looks of the owner. */
		for (volatile unsigned spin = 0; box->in_step && spin < i % 512;)
			spin = spin + 1;
		atomic_fetch_add(&box->posted, 1);
		io_wake(box->io);
	}
	return NULL;
}

static void receive_posts(struct rig *rig, bool in_step, bool with_transfers)
{
	struct mailbox box = {.io = rig->io, .in_step = in_step};
	static struct op far_off; /* lasts until the engine forgets it */
	struct op op = {.err = 0};
	pthread_t thread;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	op_alarm(&far_off, rig->io, io_now_ns(rig->io) + 600 * NS_PER_S);
	assert_int_equal(pthread_create(&thread, NULL, post_all, &box), 0);
	alarm(60); /* a lost wake is a wait without end */
	while (atomic_load(&box.taken) < POSTS) {
		if (with_transfers && op.err != OP_PENDING)
			op_transfer(&op, IO_READ, rig->file, 0, buf, BLOCK_BYTES);
		assert_true(io_run(rig->io, true) >= 0);
		atomic_store(&box.taken, atomic_load(&box.posted));
	}
	alarm(0);
	pthread_join(thread, NULL);
	op_wait(&op);
}

static void post_without_pause(struct rig *rig)
{
	receive_posts(rig, false, false);
}

static void post_in_step(struct rig *rig)
{
	receive_posts(rig, true, false);
}

static void post_among_transfers(struct rig *rig)
{
	receive_posts(rig, true, true);
}

static void no_wake_is_lost(void **unused)
{
	(void)unused;
	on_each_medium(8, post_without_pause);
	on_each_medium(8, post_in_step);
	on_each_medium(8, post_among_transfers);
}

static void a_wake_before_the_wait_ends_it_once(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	io_wake(io);
	io_wake(io);
	assert_int_equal(io_run(io, true), 0);
	op_alarm(&op, io, io_now_ns(io) + 5 * NS_PER_MS);
	assert_int_equal(io_run(io, true), 1); /* both wakes are used up */
	io_engine_free(io);
}

static void a_wake_stays_while_a_run_had_something_to_do(void **unused)
{
	(void)unused;
	struct op op;
	struct io_engine *io = NULL;
	assert_int_equal(uring_engine_new(8, &io, NULL), 0);
	op_alarm(&op, io, 1);
	io_wake(io);
	assert_int_equal(io_run(io, true), 1);
	assert_int_equal(io_run(io, true), 0);
	io_engine_free(io);
}

/* ThreadSanitizer puts a signal's handler off until a call that it intercepts, and the wait in
 * liburing is none. */
#if defined(__SANITIZE_THREAD__)
#define HANDLERS_ARE_LATE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDLERS_ARE_LATE 1
#endif
#endif
#ifndef HANDLERS_ARE_LATE
#define HANDLERS_ARE_LATE 0
#endif

static struct io_engine *signalled;

static void wake_from_handler(int number)
{
	(void)number;
	io_wake(signalled);
}

static void a_wake_from_a_signal_handler_ends_a_wait(void **unused)
{
	(void)unused;
	struct sigaction action = {.sa_handler = wake_from_handler}, old;
	struct itimerval soon = {{0, 0}, {0, 5000}};
	if (HANDLERS_ARE_LATE)
		skip();
	assert_int_equal(uring_engine_new(8, &signalled, NULL), 0);
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(io_run(signalled, true), 0);
	sigaction(SIGALRM, &old, NULL);
	io_engine_free(signalled);
}

/* What each owner does in turn: all kinds of requests, and a wake from a third thread. */
static void *own_for_a_while(void *arg)
{
	struct rig *rig = arg;
	struct op ops[3];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(2 * BLOCK_BYTES);
	fill_sectors(buf, BLOCK_BYTES, 0, 9);
	op_transfer(&ops[0], IO_WRITE, rig->file, 0, buf, BLOCK_BYTES);
	op_wait(&ops[0]);
	op_transfer(&ops[0], IO_READ, rig->file, 0, buf + BLOCK_BYTES, BLOCK_BYTES);
	op_transfer(&ops[1], IO_FLUSH, rig->file, 0, NULL, 0);
	op_alarm(&ops[2], rig->io, io_now_ns(rig->io) + NS_PER_MS);
	ops_wait(ops, 3);
	bool right = ops[0].err == 0 && ops[1].err == 0 && ops[2].err == 0 &&
		     memcmp(buf, buf + BLOCK_BYTES, BLOCK_BYTES) == 0;
	return right ? rig : NULL;
}

static void *wake_soon(void *arg)
{
	usleep(2000);
	io_wake(arg);
	return NULL;
}

static void pass_the_engine_on(struct rig *rig)
{
	pthread_t thread;
	void *right;
	struct op late; /* waits over all changes of owner */
	void *memory = mem_alloc_blocks(BLOCK_BYTES);
	io_register_memory(rig->io, memory, BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	op_alarm(&late, rig->io, io_now_ns(rig->io) + 20 * NS_PER_MS);
	for (unsigned i = 0; i < 3; i++) {
		assert_non_null(own_for_a_while(rig));
		assert_int_equal(pthread_create(&thread, NULL, own_for_a_while, rig), 0);
		pthread_join(thread, &right);
		assert_non_null(right);
		assert_true(uring_file_of(rig->file)->slot >= 0);
	}
	assert_int_equal(op_wait(&late), 0);
	assert_int_equal(pthread_create(&thread, NULL, wake_soon, rig->io), 0);
	alarm(30);
	while (io_run(rig->io, true) != 0)
		;
	alarm(0);
	pthread_join(thread, NULL);
	pthread_create(&thread, NULL, own_for_a_while, rig);
	pthread_join(thread, NULL);
	io_close(rig->file); /* by a thread that is not the owner any more */
	rig->file = NULL;
	io_engine_free(rig->io);
	rig->io = NULL;
	free(memory);
}

static void another_thread_may_own_the_engine_while_nothing_is_under_way(void **unused)
{
	(void)unused;
	on_each_medium(8, pass_the_engine_on);
}

/* Thread after thread in turn, each a few transfers: the file holds what the last one wrote. */
static void *take_a_turn(void *arg)
{
	struct rig *rig = arg;
	uint8_t *block = mem_alloc_blocks(BLOCK_BYTES);
	bool right = true;
	for (unsigned i = 0; i < 20; i++) {
		uint8_t before = 0;
		right &= io_sync_read(rig->file, 0, block, BLOCK_BYTES) == 0;
		before = block[0];
		memset(block, before + 1, BLOCK_BYTES);
		right &= io_sync_write(rig->file, 0, block, BLOCK_BYTES) == 0;
		right &= io_sync_flush(rig->file) == 0;
		memset(block, 0, BLOCK_BYTES);
		right &= io_sync_read(rig->file, 0, block, BLOCK_BYTES) == 0;
		right &= block[0] == (uint8_t)(before + 1) && block[BLOCK_BYTES - 1] == block[0];
	}
	free(block);
	return right ? rig : NULL;
}

static void share_the_engine(struct rig *rig)
{
	assert_int_equal(io_share(rig->io), 0);
	int ret = io_open(rig->io, rig->path, IO_OPEN_CREATE, BLOCK_BYTES, &rig->file, NULL);
	assert_int_equal(ret, 0);
	for (unsigned i = 0; i < 10; i++) {
		pthread_t thread;
		void *right;
		assert_non_null(take_a_turn(rig));
		assert_int_equal(pthread_create(&thread, NULL, take_a_turn, rig), 0);
		pthread_join(thread, &right);
		assert_non_null(right);
	}
}

static void threads_take_turns_on_a_shared_engine(void **unused)
{
	(void)unused;
	on_each_medium(8, share_the_engine);
}

static void lock_across_owners(struct rig *rig)
{
	pthread_t thread;
	void *right;
	unsigned flags = IO_OPEN_CREATE | IO_OPEN_LOCK;
	uring_engine_set_lock_wait(rig->io, 0);
	assert_int_equal(io_open(rig->io, rig->path, flags, BLOCK_BYTES, &rig->file, NULL), 0);
	for (unsigned i = 0; i < 20; i++) {
		assert_non_null(own_for_a_while(rig));
		assert_int_equal(pthread_create(&thread, NULL, own_for_a_while, rig), 0);
		pthread_join(thread, &right);
		assert_non_null(right);
		io_close(rig->file); /* rings that were given up may still know the file */
		int ret = io_open(rig->io, rig->path, IO_OPEN_LOCK, 0, &rig->file, NULL);
		assert_int_equal(ret, 0);
	}
}

static void a_lock_ends_with_its_file_whatever_rings_there_were(void **unused)
{
	(void)unused;
	on_each_medium(8, lock_across_owners);
}

static void *run_once(void *arg)
{
	return (void *)(intptr_t)io_run(arg, false);
}

static void steal_the_engine(struct rig *rig)
{
	struct op op;
	pthread_t thread;
	void *ret;
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	op_transfer(&op, IO_WRITE, rig->file, 0, buf, BLOCK_BYTES);
	op_wait(&op);
	/* As if one more were in the kernel: a real one could complete too soon. */
	uring_engine_of(rig->io)->in_flight++;
	assert_int_equal(pthread_create(&thread, NULL, run_once, rig->io), 0);
	pthread_join(thread, &ret);
	uring_engine_of(rig->io)->in_flight--;
	assert_int_equal((intptr_t)ret, -EBUSY);
	op_transfer(&op, IO_READ, rig->file, 0, buf, BLOCK_BYTES);
	assert_int_equal(op_wait(&op), 0);
}

static void another_thread_is_refused_while_requests_are_under_way(void **unused)
{
	(void)unused;
	on_each_medium(8, steal_the_engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wake_is_lost),
		cmocka_unit_test(a_wake_before_the_wait_ends_it_once),
		cmocka_unit_test(a_wake_stays_while_a_run_had_something_to_do),
		cmocka_unit_test(a_wake_from_a_signal_handler_ends_a_wait),
		cmocka_unit_test(another_thread_may_own_the_engine_while_nothing_is_under_way),
		cmocka_unit_test(threads_take_turns_on_a_shared_engine),
		cmocka_unit_test(a_lock_ends_with_its_file_whatever_rings_there_were),
		cmocka_unit_test(another_thread_is_refused_while_requests_are_under_way),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
