/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "inflight/tree.h"

/* A process, and a child of it; both wait until they are told to end. */
struct family {
	pid_t parent, child;
};

static struct family family_new(void)
{
	struct family f;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	f.parent = fork();
	assert_true(f.parent >= 0);
	if (f.parent == 0) {
		pid_t child = fork();
		if (child > 0 && write(fds[1], &child, sizeof(child)) != sizeof(child))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(fds[0], &f.child, sizeof(f.child)), sizeof(f.child));
	close(fds[0]);
	close(fds[1]);
	return f;
}

static void family_end(struct family *f)
{
	kill(f->child, SIGKILL);
	kill(f->parent, SIGKILL);
	assert_int_equal(waitpid(f->parent, NULL, 0), f->parent);
}

static int add_tree(struct trees *t, pid_t root, enum dio_policy policy)
{
	struct tree_config config = {.root = root, .say = {.said = true, .policy = policy}};
	return trees_add(t, &config);
}

static void descendants_are_spoken_for_and_nobody_else(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	assert_int_equal(trees_new(&t), 0);
	int number = add_tree(t, f.parent, DIO_DETECT);
	assert_true(number > 0);
	assert_true(trees_say(t, f.child).said);
	assert_int_equal(trees_say(t, f.child).policy, DIO_DETECT);
	assert_false(trees_say(t, f.parent).said); /* the root itself */
	assert_false(trees_say(t, getpid()).said);
	assert_false(trees_say(t, 1).said);
	trees_remove(t, number);
	assert_false(trees_say(t, f.child).said);
	trees_free(t);
	family_end(&f);
}

static void the_innermost_tree_speaks(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	assert_int_equal(trees_new(&t), 0);
	int inner = add_tree(t, f.parent, DIO_VERIFY);
	add_tree(t, getpid(), DIO_DETECT);
	assert_int_equal(trees_say(t, f.child).policy, DIO_VERIFY);
	assert_int_equal(trees_say(t, f.parent).policy, DIO_DETECT);
	trees_remove(t, inner);
	assert_int_equal(trees_say(t, f.child).policy, DIO_DETECT);
	trees_free(t);
	family_end(&f);
}

static void a_tree_that_says_nothing_leaves_it_to_the_next(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	struct tree_config silent = {.root = f.parent};
	assert_int_equal(trees_new(&t), 0);
	assert_true(trees_add(t, &silent) > 0);
	assert_false(trees_say(t, f.child).said);
	add_tree(t, getpid(), DIO_DETECT);
	assert_int_equal(trees_say(t, f.child).policy, DIO_DETECT);
	trees_free(t);
	family_end(&f);
}

static void submissions_are_looked_up_in_the_trees_of_their_process_only(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	struct aio_table *supervisor, *daemon;
	int memfd;
	assert_int_equal(aio_table_new(&memfd, &supervisor), 0);
	assert_int_equal(aio_table_map(memfd, &daemon), 0);
	assert_int_equal(trees_new(&t), 0);
	struct tree_config config = {.root = f.parent, .aio = daemon};
	int number = trees_add(t, &config);
	assert_true(number > 0);
	/* The table speaks of a child of the root, and of a process that is none of its. */
	struct iovec piece = {(void *)4096, 512}, room[AIO_MAX_PIECES];
	struct aio_entry found = {.pieces = room}, e = {.tgid = f.child,
							   .len_bytes = 512,
							   .piece_count = 1,
							   .pieces = &piece};
	aio_table_put(supervisor, &e);
	e.tgid = getpid();
	aio_table_put(supervisor, &e);
	struct aio_wanted w = {.tgid = f.child, .len_bytes = 512};
	assert_int_equal(trees_find_aio(t, f.child, &w, &found), AIO_FOUND);
	assert_int_equal(found.tgid, f.child);
	w.tgid = getpid();
	assert_int_equal(trees_find_aio(t, getpid(), &w, &found), AIO_NOT_FOUND);
	trees_remove(t, number);
	trees_free(t);
	aio_table_free(supervisor);
	close(memfd);
	family_end(&f);
}

static void a_table_is_believed_of_its_owners_processes_only(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	struct aio_table *table, *daemon;
	int memfd;
	assert_int_equal(aio_table_new(&memfd, &table), 0);
	assert_int_equal(trees_new(&t), 0);
	struct iovec piece = {(void *)4096, 512}, room[AIO_MAX_PIECES];
	struct aio_entry found = {.pieces = room}, e = {.tgid = f.child,
							   .len_bytes = 512,
							   .piece_count = 1,
							   .pieces = &piece};
	const struct aio_wanted w = {.tgid = f.child, .len_bytes = 512};
	aio_table_put(table, &e);
	assert_int_equal(aio_table_map(memfd, &daemon), 0);
	struct tree_config config = {
		.root = f.parent, .aio = daemon, .aio_owner = geteuid() + 1000};
	int number = trees_add(t, &config);
	assert_true(number > 0);
	assert_int_equal(trees_find_aio(t, f.child, &w, &found), AIO_NOT_FOUND);
	trees_remove(t, number);
	assert_int_equal(aio_table_map(memfd, &config.aio), 0);
	config.aio_owner = geteuid();
	assert_true(trees_add(t, &config) > 0);
	assert_int_equal(trees_find_aio(t, f.child, &w, &found), AIO_FOUND);
	trees_free(t);
	aio_table_free(table);
	close(memfd);
	family_end(&f);
}

static void no_more_trees_than_there_is_room_for(void **unused)
{
	(void)unused;
	struct trees *t;
	assert_int_equal(trees_new(&t), 0);
	int first = add_tree(t, getpid(), DIO_DETECT);
	for (unsigned i = 1; i < TREES_MAX; i++)
		assert_true(add_tree(t, getpid(), DIO_DETECT) > 0);
	assert_int_equal(add_tree(t, getpid(), DIO_DETECT), -ENOSPC);
	trees_remove(t, first);
	assert_true(add_tree(t, getpid(), DIO_DETECT) > 0);
	trees_free(t);
}

static void a_root_must_live(void **unused)
{
	(void)unused;
	struct trees *t;
	struct family f = family_new();
	family_end(&f);
	assert_int_equal(trees_new(&t), 0);
	assert_int_equal(add_tree(t, f.parent, DIO_DETECT), -ESRCH);
	assert_int_equal(add_tree(t, 0, DIO_DETECT), -ESRCH);
	assert_true(trees_empty(t));
	trees_free(t);
}

static void no_trees_say_nothing(void **unused)
{
	(void)unused;
	struct aio_wanted w = {.tgid = 1, .len_bytes = 1};
	struct aio_entry found;
	assert_true(trees_empty(NULL));
	assert_false(trees_say(NULL, getpid()).said);
	assert_int_equal(trees_find_aio(NULL, getpid(), &w, &found), AIO_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descendants_are_spoken_for_and_nobody_else),
		cmocka_unit_test(the_innermost_tree_speaks),
		cmocka_unit_test(a_tree_that_says_nothing_leaves_it_to_the_next),
		cmocka_unit_test(submissions_are_looked_up_in_the_trees_of_their_process_only),
		cmocka_unit_test(a_table_is_believed_of_its_owners_processes_only),
		cmocka_unit_test(no_more_trees_than_there_is_room_for),
		cmocka_unit_test(a_root_must_live),
		cmocka_unit_test(no_trees_say_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
