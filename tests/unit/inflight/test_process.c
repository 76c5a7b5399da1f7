/* SPDX-License-Identifier: MIT */
/* The table of processes: nothing is lost of what is counted, a row is of one process, and names
 * outlive their process. */
#include "inflight/process.h"

#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NOBODY_PID (1 << 23) /* above every pid: procfs knows none of them */
#define TRUST_US   1100000   /* longer than a row is believed unasked */

static struct event_writer writer_of(pid_t pid)
{
	return (struct event_writer){
		.pid = pid, .tid = pid, .uid = 12, .comm = "writer", .call = "pwrite64"};
}

static void count_write(struct processes *t, pid_t pid, uint64_t ino, bool mutated)
{
	struct event_writer writer = writer_of(pid);
	struct process_io io = {
		.writer = &writer, .ino = ino, .bytes = 4096, .observed = true, .mutated = mutated};
	processes_count(t, &io);
}

/* ---- what processes_each() gives ---- */

struct rows {
	unsigned count, files;
	uint64_t writes, mutated, file_writes;
	struct process_row row[8]; /* the first ones */
	struct process_row last;
};

static void row_seen(void *ctx, const struct process_row *row)
{
	struct rows *rows = ctx;
	if (rows->count < 8)
		rows->row[rows->count] = *row;
	rows->last = *row;
	rows->count++;
	rows->files += row->file_count;
	rows->writes += row->total.writes;
	rows->mutated += row->total.mutated;
	for (unsigned i = 0; i < row->file_count; i++)
		rows->file_writes += row->files[i].writes;
}

static struct rows *rows_of(struct processes *t)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	assert_non_null(rows);
	assert_int_equal(processes_each(t, row_seen, rows), 0);
	return rows;
}

static struct processes *new_table(void)
{
	struct processes *t;
	assert_int_equal(processes_new(&t), 0);
	return t;
}

/* ---- children ---- */

static void wait_for_end(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where an assertion fails */
	for (;;)
		pause();
}

static pid_t child_start(void)
{
	pid_t pid = fork();
	if (!pid)
		wait_for_end();
	assert_true(pid > 0);
	return pid;
}

/* With that very pid. 0: it may not be chosen here. */
static pid_t child_start_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
	pid_t got = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (!got)
		wait_for_end();
	return got < 0 ? 0 : got;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- the tests ---- */

static void an_io_is_counted_for_its_process_and_its_file(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	struct event_writer self = writer_of(getpid());
	struct process_io io = {.writer = &self, .ino = 7, .bytes = 512, .unobserved = true};
	processes_count(t, &io);
	io = (struct process_io){.writer = &self, .ino = 7, .bytes = 512, .error = -EIO};
	processes_count(t, &io);
	io = (struct process_io){
		.writer = &self, .ino = 8, .is_read = true, .bytes = 100, .mutated = true};
	processes_count(t, &io);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, 1);
	const struct process_row *r = &rows->row[0];
	assert_int_equal(r->file_count, 2);
	assert_int_equal(r->total.writes, 2);
	assert_int_equal(r->total.write_bytes, 512);
	assert_int_equal(r->total.unobserved, 1);
	assert_int_equal(r->total.failed, 1);
	assert_int_equal(r->total.mutated, 0);
	assert_int_equal(r->files[0].ino, 7);
	assert_int_equal(r->files[0].writes, 2);
	assert_int_equal(r->files[1].ino, 8);
	assert_int_equal(r->files[1].reads, 1);
	assert_int_equal(r->files[1].reads_mutated, 1);
	assert_int_equal(r->files[1].read_bytes, 100);
	free(rows);
	processes_free(t);
}

static void a_row_says_who_it_is_also_when_the_process_has_ended(void **unused)
{
	(void)unused;
	char mine[4096] = "", exe[4096], name[16] = "";
	assert_true(readlink("/proc/self/exe", mine, sizeof(mine) - 1) > 0);
	assert_int_equal(prctl(PR_GET_NAME, name), 0);
	struct processes *t = new_table();
	pid_t child = child_start();
	count_write(t, child, 1, true);
	child_end(child);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->row[0].pid, child);
	assert_int_equal(rows->row[0].uid, 12);
	assert_string_equal(rows->row[0].comm, name);
	assert_string_equal(rows->row[0].call, "pwrite64");
	assert_string_equal(rows->row[0].exe, mine);
	processes_exe(t, child, exe, sizeof(exe));
	assert_string_equal(exe, mine);
	processes_exe(t, NOBODY_PID, exe, sizeof(exe));
	assert_string_equal(exe, "");
	free(rows);
	processes_free(t);
}

static void a_pid_that_is_used_again_gets_a_row_of_its_own(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	pid_t first = child_start();
	struct event_writer writer = writer_of(first);
	count_write(t, first, 1, true);
	processes_set_bounced(t, &writer);
	assert_true(processes_is_bounced(t, first));
	child_end(first);
	usleep(TRUST_US);
	pid_t second = child_start_as(first);
	if (!second) {
		processes_free(t);
		skip();
	}
	assert_int_equal(second, first);
	assert_false(processes_is_bounced(t, second));
	count_write(t, second, 1, false);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, 2);
	assert_int_equal(rows->row[0].pid, rows->row[1].pid);
	assert_int_equal(rows->row[0].total.mutated, 1);
	assert_int_equal(rows->row[1].total.mutated, 0);
	assert_true(processes_first_warning(t, &writer));
	child_end(second);
	free(rows);
	processes_free(t);
}

static void an_unused_row_is_still_that_of_its_process(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	struct event_writer writer = writer_of(getpid());
	processes_set_bounced(t, &writer);
	usleep(TRUST_US);
	assert_true(processes_is_bounced(t, getpid()));
	count_write(t, getpid(), 1, false);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, 1);
	free(rows);
	processes_free(t);
}

static void files_beyond_the_limit_are_counted_together(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	for (unsigned i = 0; i < 3 * PROCESS_MAX_FILES; i++)
		count_write(t, NOBODY_PID, 100 + i, false);
	struct rows *rows = rows_of(t);
	const struct process_row *r = &rows->row[0];
	assert_int_equal(r->file_count, PROCESS_MAX_FILES);
	assert_int_equal(r->files[0].writes, 1);
	assert_int_equal(r->files[PROCESS_MAX_FILES - 1].ino, 0);
	assert_int_equal(rows->file_writes, 3 * PROCESS_MAX_FILES);
	free(rows);
	processes_free(t);
}

static void the_oldest_row_without_findings_goes_and_its_counts_stay(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	for (unsigned i = 0; i < PROCESS_MAX_ROWS; i++)
		count_write(t, NOBODY_PID + (pid_t)i, 1, i == 0);
	count_write(t, NOBODY_PID + 1, 1, false); /* so the oldest is number 2 */
	count_write(t, NOBODY_PID + 5000, 1, false);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, PROCESS_MAX_ROWS + 1);
	assert_int_equal(rows->row[0].pid, NOBODY_PID);
	assert_int_equal(rows->row[1].pid, NOBODY_PID + 1);
	assert_int_equal(rows->row[2].pid, NOBODY_PID + 3);
	assert_int_equal(rows->last.pid, 0);
	assert_int_equal(rows->last.total.writes, 1);
	assert_int_equal(rows->last.files[0].ino, 1);
	assert_int_equal(rows->writes, PROCESS_MAX_ROWS + 2);
	assert_int_equal(rows->file_writes, PROCESS_MAX_ROWS + 2);
	free(rows);
	processes_free(t);
}

static void where_all_rows_have_findings_they_stay(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	for (unsigned i = 0; i < PROCESS_MAX_ROWS; i++)
		count_write(t, NOBODY_PID + (pid_t)i, 1, true);
	struct event_writer late = writer_of(NOBODY_PID + 5000);
	count_write(t, late.pid, 9, true);
	processes_set_bounced(t, &late);
	assert_false(processes_is_bounced(t, late.pid));
	assert_true(processes_first_warning(t, &late));
	assert_false(processes_first_warning(t, &late));
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, PROCESS_MAX_ROWS + 1);
	assert_int_equal(rows->last.pid, 0);
	assert_int_equal(rows->last.total.mutated, 1);
	assert_int_equal(rows->mutated, PROCESS_MAX_ROWS + 1);
	free(rows);
	processes_free(t);
}

static void an_unknown_writer_is_counted_in_the_last_row(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	struct rows *none = rows_of(t);
	assert_int_equal(none->count, 0);
	count_write(t, 0, 1, true);
	count_write(t, NOBODY_PID, 1, false);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->count, 2);
	assert_int_equal(rows->row[0].pid, NOBODY_PID);
	assert_int_equal(rows->row[1].pid, 0);
	assert_int_equal(rows->row[1].total.mutated, 1);
	free(none);
	free(rows);
	processes_free(t);
}

static void rows_come_by_mutated_writes_then_by_writes(void **unused)
{
	(void)unused;
	static const struct {
		unsigned writes, mutated;
	} counts[] = {{5, 0}, {2, 1}, {9, 0}, {3, 3}, {4, 1}};
	static const unsigned order[] = {3, 4, 1, 2, 0};
	struct processes *t = new_table();
	for (unsigned i = 0; i < 5; i++)
		for (unsigned n = 0; n < counts[i].writes; n++)
			count_write(t, NOBODY_PID + (pid_t)i, 1, n < counts[i].mutated);
	struct rows *rows = rows_of(t);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(rows->row[i].pid, NOBODY_PID + (pid_t)order[i]);
	free(rows);
	processes_free(t);
}

static void each_process_is_warned_of_once(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	struct event_writer one = writer_of(NOBODY_PID), two = writer_of(NOBODY_PID + 1);
	assert_true(processes_first_warning(t, &one));
	assert_true(processes_first_warning(t, &two));
	assert_false(processes_first_warning(t, &one));
	processes_free(t);
}

static void who_was_caught_is_bounced_and_nobody_else(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	struct event_writer caught = writer_of(NOBODY_PID);
	assert_false(processes_is_bounced(t, NOBODY_PID));
	processes_set_bounced(t, &caught);
	count_write(t, NOBODY_PID + 1, 1, true);
	assert_true(processes_is_bounced(t, NOBODY_PID));
	assert_false(processes_is_bounced(t, NOBODY_PID + 1));
	assert_false(processes_is_bounced(t, 0));
	processes_free(t);
}

#define THREADS 4
#define ROUNDS  5000u

static void *count_much(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		count_write(arg, NOBODY_PID + (pid_t)(i * 7 % 1500), i % 100, i % 3 == 0);
	return NULL;
}

static void threads_lose_no_count_while_rows_come_and_go(void **unused)
{
	(void)unused;
	struct processes *t = new_table();
	pthread_t threads[THREADS];
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, t), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	struct rows *rows = rows_of(t);
	assert_int_equal(rows->writes, THREADS * ROUNDS);
	assert_int_equal(rows->file_writes, THREADS * ROUNDS);
	assert_int_equal(rows->mutated, THREADS * ((ROUNDS + 2) / 3));
	free(rows);
	processes_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_io_is_counted_for_its_process_and_its_file),
		cmocka_unit_test(a_row_says_who_it_is_also_when_the_process_has_ended),
		cmocka_unit_test(a_pid_that_is_used_again_gets_a_row_of_its_own),
		cmocka_unit_test(an_unused_row_is_still_that_of_its_process),
		cmocka_unit_test(files_beyond_the_limit_are_counted_together),
		cmocka_unit_test(the_oldest_row_without_findings_goes_and_its_counts_stay),
		cmocka_unit_test(where_all_rows_have_findings_they_stay),
		cmocka_unit_test(an_unknown_writer_is_counted_in_the_last_row),
		cmocka_unit_test(rows_come_by_mutated_writes_then_by_writes),
		cmocka_unit_test(each_process_is_warned_of_once),
		cmocka_unit_test(who_was_caught_is_bounced_and_nobody_else),
		cmocka_unit_test(threads_lose_no_count_while_rows_come_and_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
