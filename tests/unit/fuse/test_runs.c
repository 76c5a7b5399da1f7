/* SPDX-License-Identifier: MIT */
/* Registrations of process trees: their form, who may make them, and what they are worth. */
#include "fuse/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "report/json_read.h"

#define SOME_UID 54321u

struct rig {
	struct trees *trees;
	struct runs *runs;
	struct run *run;
};

static struct rig start(void)
{
	struct rig rig = {0};
	assert_int_equal(trees_new(&rig.trees), 0);
	assert_int_equal(runs_new(rig.trees, &rig.runs), 0);
	return rig;
}

static void end(struct rig *rig)
{
	runs_remove(rig->runs, rig->run);
	runs_free(rig->runs);
	trees_free(rig->trees);
}

/* Ourselves, as the user that we are. */
static struct runs_asker self(void)
{
	return (struct runs_asker){
		.tid = getpid(), .uid = geteuid(), .opener_uid = geteuid(), .mount = DIO_BOUNCE};
}

/* Anew, for that process. */
static int add(struct rig *rig, const struct runs_asker *asker, const char *format, pid_t root)
{
	char line[128];
	runs_remove(rig->runs, rig->run);
	rig->run = NULL;
	int len = snprintf(line, sizeof(line), format, (int)root);
	return runs_add(rig->runs, asker, line, (size_t)len, &rig->run);
}

/* A child that waits to be ended; @uid 0: of our own user. */
static pid_t child_start(uid_t uid)
{
	int ready[2];
	char byte = 0;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (!pid) {
		bool done = !uid || setresuid(uid, uid, uid) == 0;
		byte = done ? 'y' : 'n';
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where an assertion fails */
		if (write(ready[1], &byte, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- the form ---- */

static int parse(const char *line, struct runs_line *out)
{
	return runs_parse(line, strlen(line), out);
}

static void a_line_has_a_root_and_at_most_one_policy_and_one_table(void **unused)
{
	(void)unused;
	struct runs_line line;
	assert_int_equal(parse("root=12 dio=detect aio=7\n", &line), 0);
	assert_int_equal(line.root, 12);
	assert_true(line.has_policy);
	assert_int_equal(line.policy, DIO_DETECT);
	assert_int_equal(line.aio_fd, 7);
	assert_int_equal(parse("aio=0  root=1", &line), 0);
	assert_false(line.has_policy);
	assert_int_equal(line.aio_fd, 0);
	assert_int_equal(parse("root=9", &line), 0);
	assert_int_equal(line.aio_fd, -1);
	static const char *const bad[] = {"", "\n", "root", "root=", "root=0", "root=-1", "root=1x",
		"root= 1", "root=99999999999", "dio=detect", "aio=3",
		"root=1 dio=", "root=1 dio=no", "root=1 dio=cow", "root=1 root=2",
		"root=1 dio=bounce dio=detect", "root=1 aio=1 aio=2", "root=1 aio=-1",
		"root=1 more=2", "root=1\nroot=2\n", "root=1\n\n"};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &line) != -EINVAL)
			fail_msg("accepted: '%s'", bad[i]);
	char longest[2 * RUNS_LINE_BYTES];
	memset(longest, ' ', sizeof(longest));
	memcpy(longest, "root=1", 6);
	assert_int_equal(runs_parse(longest, RUNS_LINE_BYTES, &line), 0);
	assert_int_equal(runs_parse(longest, RUNS_LINE_BYTES + 1, &line), -EINVAL);
	assert_int_equal(runs_parse("root=1\0 ", 8, &line), -EINVAL);
}

/* ---- what it does ---- */

static void a_policy_counts_for_the_tree_until_it_is_taken_back(void **unused)
{
	(void)unused;
	struct rig rig = start();
	const struct runs_asker asker = self();
	pid_t child = child_start(0);
	assert_int_equal(add(&rig, &asker, "root=%d dio=refuse\n", getpid()), 0);
	struct dio_say say = trees_say(rig.trees, child);
	assert_true(say.said);
	assert_int_equal(say.policy, DIO_REFUSE);
	assert_false(trees_say(rig.trees, getppid()).said);
	runs_remove(rig.runs, rig.run);
	rig.run = NULL;
	assert_false(trees_say(rig.trees, child).said);
	child_end(child);
	end(&rig);
}

static void who_asks_speaks_for_his_own_tree_only(void **unused)
{
	(void)unused;
	struct rig rig = start();
	const struct runs_asker asker = self();
	pid_t child = child_start(0);
	assert_int_equal(add(&rig, &asker, "root=%d", child), 0);
	assert_int_equal(add(&rig, &asker, "root=%d", getppid()), -EPERM);
	struct runs_asker of_child = asker;
	of_child.tid = child;
	assert_int_equal(add(&rig, &of_child, "root=%d", child), 0);
	assert_int_equal(add(&rig, &of_child, "root=%d", getpid()), -EPERM);
	child_end(child);
	assert_int_equal(add(&rig, &asker, "root=%d", child), -ESRCH);
	of_child.tid = 0; /* of a namespace that we do not see */
	assert_int_equal(add(&rig, &of_child, "root=%d", getpid()), -EPERM);
	end(&rig);
}

static void only_root_speaks_for_another_users_process(void **unused)
{
	(void)unused;
	if (geteuid() != 0)
		skip();
	struct rig rig = start();
	struct runs_asker asker = self();
	pid_t child = child_start(SOME_UID);
	assert_int_equal(add(&rig, &asker, "root=%d", child), 0);
	asker.uid = SOME_UID + 1;
	assert_int_equal(add(&rig, &asker, "root=%d", child), -EPERM);
	asker.uid = SOME_UID;
	assert_int_equal(add(&rig, &asker, "root=%d", child), 0);
	child_end(child);
	end(&rig);
}

static void a_policy_that_is_not_stable_is_for_root_and_where_the_mount_allows_it(void **unused)
{
	(void)unused;
	static const struct {
		uid_t uid, opener;
		enum dio_policy mount;
		bool weaken;
		const char *line;
		int want;
	} cases[] = {
		{SOME_UID, SOME_UID, DIO_BOUNCE, false, "root=%d dio=detect", 0},
		{SOME_UID, SOME_UID, DIO_BOUNCE, false, "root=%d dio=zerocopy", -EPERM},
		{SOME_UID, SOME_UID, DIO_BOUNCE, false, "root=%d dio=verify", -EPERM},
		{SOME_UID, SOME_UID, DIO_BOUNCE, false, "root=%d", 0},
		{SOME_UID, SOME_UID, DIO_BOUNCE, true, "root=%d dio=zerocopy", 0},
		{SOME_UID, SOME_UID, DIO_ZEROCOPY, false, "root=%d dio=adaptive", 0},
		{SOME_UID, SOME_UID, DIO_VERIFY, false, "root=%d dio=verify", 0},
		{SOME_UID, SOME_UID, DIO_VERIFY, false, "root=%d dio=zerocopy", -EPERM},
		{SOME_UID, 0, DIO_BOUNCE, false, "root=%d dio=zerocopy", -EPERM},
		{0, SOME_UID, DIO_BOUNCE, false, "root=%d dio=zerocopy", -EPERM},
		{0, 0, DIO_BOUNCE, false, "root=%d dio=zerocopy", 0},
	};
	if (geteuid() != 0)
		skip();
	struct rig rig = start();
	pid_t child = child_start(SOME_UID);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct runs_asker asker = {.tid = getpid(),
			.uid = cases[i].uid,
			.opener_uid = cases[i].opener,
			.mount = cases[i].mount,
			.weaken = cases[i].weaken};
		int got = add(&rig, &asker, cases[i].line, child);
		if (got != cases[i].want)
			fail_msg("case %u: %d, not %d", i, got, cases[i].want);
	}
	child_end(child);
	end(&rig);
}

/* ---- the table of submissions ---- */

static int add_aio(struct rig *rig, int fd)
{
	const struct runs_asker asker = self();
	char line[64];
	runs_remove(rig->runs, rig->run);
	rig->run = NULL;
	int len = snprintf(line, sizeof(line), "root=%d aio=%d", (int)getpid(), fd);
	return runs_add(rig->runs, &asker, line, (size_t)len, &rig->run);
}

static void a_table_is_taken_from_the_process_that_names_it(void **unused)
{
	(void)unused;
	struct rig rig = start();
	struct aio_table *table;
	int memory;
	pid_t child = child_start(0);
	assert_int_equal(aio_table_new(&memory, &table), 0);
	assert_int_equal(add_aio(&rig, memory), 0);
	close(memory);
	struct iovec piece = {.iov_base = table, .iov_len = 4096}, room[AIO_MAX_PIECES];
	const struct aio_entry entry = {.tgid = child,
		.offset_bytes = 4096,
		.len_bytes = 4096,
		.piece_count = 1,
		.pieces = &piece};
	aio_table_put(table, &entry);
	struct aio_entry found = {.pieces = room};
	const struct aio_wanted wanted = {.tgid = child, .offset_bytes = 4096, .len_bytes = 4096};
	assert_int_equal(trees_find_aio(rig.trees, child, &wanted, &found), AIO_FOUND);
	assert_ptr_equal(found.pieces[0].iov_base, table);
	child_end(child);
	end(&rig);
	aio_table_free(table);
}

static void what_is_no_table_is_refused(void **unused)
{
	(void)unused;
	struct rig rig = start();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int memory = memfd_create("empty", MFD_CLOEXEC);
	assert_int_equal(add_aio(&rig, null), -EINVAL);
	assert_int_equal(add_aio(&rig, memory), -EINVAL);
	close(null);
	close(memory);
	assert_int_equal(add_aio(&rig, null), -EBADF);
	assert_int_equal(add_aio(&rig, 1 << 20), -EBADF);
	assert_null(rig.run);
	end(&rig);
}

/* ---- the list ---- */

static void the_list_shows_who_has_registered(void **unused)
{
	(void)unused;
	struct rig rig = start();
	const struct runs_asker asker = self();
	struct run *second;
	char line[64];
	assert_int_equal(add(&rig, &asker, "root=%d dio=detect", getpid()), 0);
	int len = snprintf(line, sizeof(line), "root=%d", (int)getpid());
	assert_int_equal(runs_add(rig.runs, &asker, line, (size_t)len, &second), 0);
	size_t size;
	char *text = runs_json(rig.runs, &size);
	struct json_value *v;
	assert_int_equal(json_parse(text, size, &v, NULL), 0);
	const struct json_value *first = json_get(v, "runs")->first;
	assert_int_equal(json_get_i64(first, "root", 0), getpid());
	assert_int_equal(json_get_u64(first, "uid", 99), geteuid());
	assert_string_equal(json_get_string(first, "policy", ""), "detect");
	assert_false(json_get_bool(first, "aio", true));
	assert_int_equal(json_get(first->next, "policy")->kind, JSON_NULL);
	assert_null(first->next->next);
	json_value_free(v);
	free(text);
	runs_remove(rig.runs, second);
	end(&rig);
}

static void too_many_are_refused(void **unused)
{
	(void)unused;
	struct rig rig = start();
	const struct runs_asker asker = self();
	struct run *all[TREES_MAX];
	char line[64];
	size_t len = (size_t)snprintf(line, sizeof(line), "root=%d", (int)getpid());
	for (unsigned i = 0; i < TREES_MAX; i++)
		assert_int_equal(runs_add(rig.runs, &asker, line, len, &all[i]), 0);
	assert_int_equal(add(&rig, &asker, "root=%d", getpid()), -ENOSPC);
	for (unsigned i = 0; i < TREES_MAX; i++)
		runs_remove(rig.runs, all[i]);
	assert_int_equal(add(&rig, &asker, "root=%d", getpid()), 0);
	end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_a_root_and_at_most_one_policy_and_one_table),
		cmocka_unit_test(a_policy_counts_for_the_tree_until_it_is_taken_back),
		cmocka_unit_test(who_asks_speaks_for_his_own_tree_only),
		cmocka_unit_test(only_root_speaks_for_another_users_process),
		cmocka_unit_test(
			a_policy_that_is_not_stable_is_for_root_and_where_the_mount_allows_it),
		cmocka_unit_test(a_table_is_taken_from_the_process_that_names_it),
		cmocka_unit_test(what_is_no_table_is_refused),
		cmocka_unit_test(the_list_shows_who_has_registered),
		cmocka_unit_test(too_many_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
