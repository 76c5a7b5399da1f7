/* SPDX-License-Identifier: MIT */
/* The control directory: reachable by name; settings take effect, queries block nobody. */
#include "kernel_rig.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "fake_fs.h"
#include "report/json_read.h"

static struct kernel_message message;
static sem_t may_answer;

/* "wait": not before may_answer; "fail": an error; else what was asked. */
static int answer(void *ctx, const char *line, FILE *out)
{
	(void)ctx;
	if (!strcmp(line, "wait"))
		sem_wait(&may_answer);
	if (!strcmp(line, "fail"))
		return -ENOENT;
	fprintf(out, "{\"asked\":\"%s\"}", line);
	return 0;
}

static struct rig_file open_control(struct kernel_rig *rig, const char *name, int flags)
{
	uint64_t dir = rig_lookup(rig, FUSE_ROOT_ID, ".stablefs");
	assert_int_not_equal(dir, 0);
	uint64_t file = rig_lookup(rig, dir, name);
	assert_int_not_equal(file, 0);
	return rig_open(rig, file, flags);
}

static void expect_text(struct kernel_rig *rig, const struct rig_file *file, const char *text)
{
	assert_int_equal(rig_read(rig, file, 0, 65536, &message), 0);
	assert_int_equal(message.head.len - sizeof(message.head), strlen(text));
	assert_memory_equal(message.body, text, strlen(text));
}

static int ask(struct kernel_rig *rig, const struct rig_file *query, const char *line)
{
	return rig_write(rig, query, 0, line, (uint32_t)strlen(line));
}

static void start(struct kernel_rig *rig)
{
	*rig = (struct kernel_rig){.options = {.query = answer, .hold_ns = 200000}};
	sem_init(&may_answer, 0, 0);
	rig_start(rig, RIG_OFFERS, NULL);
}

static void what_is_written_to_policy_counts_at_once(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file policy = open_control(&rig, "policy", O_RDWR);
	expect_text(&rig, &policy, "bounce\n");
	assert_int_equal(rig_write(&rig, &policy, 0, "zerocopy\n", 9), 0);
	assert_int_equal(rig.front.policy, DIO_ZEROCOPY);
	assert_int_equal(rig_write(&rig, &policy, 0, "nonsense\n", 9), -EINVAL);
	assert_int_equal(rig.front.policy, DIO_ZEROCOPY);
	struct rig_file again = open_control(&rig, "policy", O_RDONLY);
	expect_text(&rig, &again, "zerocopy\n");
	rig_end(&rig);
}

static void a_hold_reads_back_as_it_can_be_written(void **unused)
{
	(void)unused;
	static const char *const holds[] = {"0s\n", "150ns\n", "200us\n", "3ms\n", "2s\n"};
	struct kernel_rig rig;
	start(&rig);
	struct rig_file hold = open_control(&rig, "hold", O_RDWR);
	expect_text(&rig, &hold, "200us\n");
	for (unsigned i = 0; i < 5; i++) {
		uint32_t len = (uint32_t)strlen(holds[i]);
		assert_int_equal(rig_write(&rig, &hold, 0, holds[i], len), 0);
		struct rig_file again = open_control(&rig, "hold", O_RDONLY);
		expect_text(&rig, &again, holds[i]);
	}
	assert_int_equal(rig_write(&rig, &hold, 0, "11s", 3), -ERANGE);
	assert_int_equal(rig.front.hold_ns, 2000000000);
	rig_end(&rig);
}

static void the_directory_is_reachable_and_cannot_be_touched(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	static const char name[] = ".stablefs";
	struct fuse_mkdir_in mkdir_in = {.mode = 0755};
	assert_int_equal(
		rig_call(&rig, FUSE_UNLINK, 1, name, sizeof(name), NULL, 0, &message), -EPERM);
	assert_int_equal(
		rig_call(&rig, FUSE_RMDIR, 1, name, sizeof(name), NULL, 0, &message), -EPERM);
	assert_int_equal(rig_call(&rig, FUSE_MKDIR, 1, &mkdir_in, sizeof(mkdir_in), name,
				 sizeof(name), &message),
		-EPERM);
	uint64_t dir = rig_lookup(&rig, FUSE_ROOT_ID, name);
	assert_true(control_owns(dir));
	assert_int_equal(rig_lookup(&rig, dir, "nothing"), 0);
	assert_int_equal(rig_call(&rig, FUSE_UNLINK, dir, "policy", 7, NULL, 0, &message), -EPERM);
	rig_end(&rig);
}

static void status_and_stats_are_json(void **unused)
{
	(void)unused;
	static const char *const names[] = {"status.json", "stats.json"};
	struct kernel_rig rig;
	start(&rig);
	for (unsigned i = 0; i < 2; i++) {
		struct rig_file file = open_control(&rig, names[i], O_RDONLY);
		assert_int_equal(rig_read(&rig, &file, 0, 65536, &message), 0);
		struct json_value *v;
		size_t len = message.head.len - sizeof(message.head);
		assert_int_equal(json_parse((char *)message.body, len, &v, NULL), 0);
		assert_string_equal(json_get_string(v, "policy", ""), "bounce");
		json_value_free(v);
	}
	rig_end(&rig);
}

static void a_query_is_answered_on_the_same_descriptor_again_and_again(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	expect_text(&rig, &query, "");
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask(&rig, &query, "hello you\n"), 0);
		expect_text(&rig, &query, "{\"asked\":\"hello you\"}");
		expect_text(&rig, &query, "");
	}
	assert_int_equal(ask(&rig, &query, "no newline"), 0);
	expect_text(&rig, &query, "{\"asked\":\"no newline\"}");
	assert_int_equal(ask(&rig, &query, "\n"), -EINVAL);
	rig_end(&rig);
}

static void a_long_answer_is_read_in_parts(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &query, "abc"), 0);
	char all[64] = "";
	do {
		assert_int_equal(rig_read(&rig, &query, 99, 3, &message), 0);
		strncat(all, (char *)message.body, message.head.len - sizeof(message.head));
	} while (message.head.len > sizeof(message.head));
	assert_string_equal(all, "{\"asked\":\"abc\"}");
	rig_end(&rig);
}

/* As the kernel sends an ioctl(2) of its caller. */
static int ask_by_ioctl(
	struct kernel_rig *rig, const struct rig_file *file, const char *line, uint32_t size)
{
	static char text[2 * FRONT_LINE_BYTES];
	struct fuse_ioctl_in in = {
		.fh = file->fh, .cmd = (uint32_t)FRONT_IOC_LINE, .in_size = size};
	memset(text, 0, sizeof(text));
	strcpy(text, line);
	return rig_call(rig, FUSE_IOCTL, file->node, &in, sizeof(in), text, size, &message);
}

static void a_question_can_be_asked_without_writing(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDONLY);
	assert_int_equal(ask_by_ioctl(&rig, &query, "hello", FRONT_LINE_BYTES), 0);
	expect_text(&rig, &query, "{\"asked\":\"hello\"}");
	assert_int_equal(ask_by_ioctl(&rig, &query, "", FRONT_LINE_BYTES), -EINVAL);
	assert_int_equal(ask_by_ioctl(&rig, &query, "hello", 100), -ENOTTY);
	rig_end(&rig);
}

/* Everybody may open it for reading: that must not be enough to change it. */
static void a_policy_is_not_set_that_way(void **unused)
{
	(void)unused;
	static const char *const names[] = {"policy", "hold", "status.json", "events.jsonl"};
	struct kernel_rig rig;
	start(&rig);
	for (unsigned i = 0; i < 4; i++) {
		struct rig_file file = open_control(&rig, names[i], O_RDONLY);
		assert_int_equal(ask_by_ioctl(&rig, &file, "zerocopy", FRONT_LINE_BYTES), -ENOTTY);
	}
	struct rig_file file = rig_create(&rig, "file", O_RDWR);
	assert_int_equal(ask_by_ioctl(&rig, &file, "zerocopy", FRONT_LINE_BYTES), -ENOTTY);
	assert_int_equal(rig.front.policy, DIO_BOUNCE);
	rig_release(&rig, &file);
	rig_end(&rig);
}

static void a_failed_query_says_so_in_json(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &query, "fail"), 0);
	expect_text(&rig, &query, "{\"error\":\"No such file or directory\"}");
	rig_end(&rig);
}

static void a_query_that_takes_long_blocks_only_its_own_reader(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file slow = open_control(&rig, "query", O_RDWR);
	struct rig_file quick = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &slow, "wait"), 0);
	uint64_t waiting = rig_send_read(&rig, &slow, 0, 4096);
	assert_int_equal(ask(&rig, &quick, "quick"), 0);
	expect_text(&rig, &quick, "{\"asked\":\"quick\"}");
	assert_int_equal(ask(&rig, &slow, "more"), -EBUSY);
	assert_false(rig_has_reply(&rig, 10));
	sem_post(&may_answer);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, waiting);
	assert_memory_equal(message.body, "{\"asked\":\"wait\"}", 16);
	rig_end(&rig);
}

static void an_interrupted_reader_does_not_wait(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &query, "wait"), 0);
	uint64_t waiting = rig_send_read(&rig, &query, 0, 4096);
	struct fuse_interrupt_in in = {.unique = waiting};
	rig_send(&rig, FUSE_INTERRUPT, query.node, &in, sizeof(in), NULL, 0);
	rig_receive(&rig, &message);
	assert_int_equal(message.head.unique, waiting);
	assert_int_equal(message.head.error, -EINTR);
	sem_post(&may_answer);
	expect_text(&rig, &query, "{\"asked\":\"wait\"}");
	rig_end(&rig);
}

static void a_query_that_was_closed_ends_by_itself(void **unused)
{
	(void)unused;
	struct kernel_rig rig;
	start(&rig);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &query, "wait"), 0);
	rig_release(&rig, &query);
	sem_post(&may_answer);
	rig_end(&rig);
}

static void without_anybody_to_answer_a_query_is_not_supported(void **unused)
{
	(void)unused;
	struct kernel_rig rig = {0};
	rig_start(&rig, RIG_OFFERS, NULL);
	struct rig_file query = open_control(&rig, "query", O_RDWR);
	assert_int_equal(ask(&rig, &query, "status"), -EOPNOTSUPP);
	rig_end(&rig);
}

/* ---- tables ---- */

static struct json_value *parse_message(void)
{
	struct json_value *v = NULL;
	size_t len = message.head.len - sizeof(message.head);
	assert_int_equal(json_parse((char *)message.body, len, &v, NULL), 0);
	return v;
}

static void the_table_of_processes_is_made_anew_at_each_open(void **unused)
{
	(void)unused;
	static const uint8_t block[4096];
	struct kernel_rig rig;
	start(&rig);
	struct rig_file empty = open_control(&rig, "processes.json", O_RDONLY);
	struct rig_file data = rig_create(&rig, "a", O_RDWR | O_DIRECT);
	assert_int_equal(rig_write(&rig, &data, 0, block, sizeof(block)), 0);
	assert_int_equal(rig_write(&rig, &data, 0, block, sizeof(block)), 0);
	assert_int_equal(rig_read(&rig, &empty, 0, 65536, &message), 0);
	struct json_value *v = parse_message();
	assert_null(json_get(v, "processes")->first);
	json_value_free(v);
	struct rig_file now = open_control(&rig, "processes.json", O_RDONLY);
	assert_int_equal(rig_read(&rig, &now, 0, 65536, &message), 0);
	v = parse_message();
	const struct json_value *row = json_get(v, "processes")->first;
	assert_int_equal(json_get_u64(row, "writes", 0), 2);
	assert_int_equal(json_get_u64(row, "write_bytes", 0), 8192);
	assert_int_equal(json_get_u64(json_get(row, "files")->first, "writes", 0), 2);
	json_value_free(v);
	rig_release(&rig, &data);
	rig_end(&rig);
}

/* A process of the user whom the rig's requests are from. 0: there cannot be one. */
static pid_t rig_users_child(void)
{
	int ready[2];
	char byte = 'n';
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (!pid) {
		bool done = geteuid() == 1000 || setresuid(1000, 1000, 1000) == 0;
		byte = done ? 'y' : 'n';
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also where an assertion fails */
		if (write(ready[1], &byte, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	if (byte == 'y')
		return pid;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

/* What anybody reads in run: the root of the first registration; 0: there is none. */
static pid_t first_run(struct kernel_rig *rig)
{
	struct rig_file list = open_control(rig, "run", O_RDONLY);
	assert_int_equal(rig_read(rig, &list, 0, 65536, &message), 0);
	rig_release(rig, &list);
	struct json_value *v = parse_message();
	const struct json_value *first = json_get(v, "runs")->first;
	pid_t root = first ? (pid_t)json_get_i64(first, "root", 0) : 0;
	json_value_free(v);
	return root;
}

static void a_registration_lives_as_long_as_its_descriptor(void **unused)
{
	(void)unused;
	char line[64];
	pid_t child = rig_users_child();
	if (!child)
		skip();
	struct kernel_rig rig;
	start(&rig);
	snprintf(line, sizeof(line), "root=%d dio=detect\n", (int)child);
	struct rig_file run = open_control(&rig, "run", O_RDWR);
	assert_int_equal(ask(&rig, &run, "root=nobody\n"), -EINVAL);
	assert_int_equal(ask(&rig, &run, "root=1\n"), -EPERM);
	assert_int_equal(ask(&rig, &run, line), 0);
	assert_int_equal(ask(&rig, &run, line), -EBUSY);
	assert_int_equal(first_run(&rig), child);
	assert_false(trees_empty(rig.front.trees));
	rig_release(&rig, &run);
	assert_int_equal(first_run(&rig), 0);
	assert_true(trees_empty(rig.front.trees));
	struct rig_file left = open_control(&rig, "run", O_RDWR);
	assert_int_equal(ask(&rig, &left, line), 0);
	rig_end(&rig); /* and at the end of the mount */
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_to_policy_counts_at_once),
		cmocka_unit_test(a_hold_reads_back_as_it_can_be_written),
		cmocka_unit_test(the_directory_is_reachable_and_cannot_be_touched),
		cmocka_unit_test(status_and_stats_are_json),
		cmocka_unit_test(a_query_is_answered_on_the_same_descriptor_again_and_again),
		cmocka_unit_test(a_long_answer_is_read_in_parts),
		cmocka_unit_test(a_question_can_be_asked_without_writing),
		cmocka_unit_test(a_policy_is_not_set_that_way),
		cmocka_unit_test(a_failed_query_says_so_in_json),
		cmocka_unit_test(a_query_that_takes_long_blocks_only_its_own_reader),
		cmocka_unit_test(an_interrupted_reader_does_not_wait),
		cmocka_unit_test(a_query_that_was_closed_ends_by_itself),
		cmocka_unit_test(without_anybody_to_answer_a_query_is_not_supported),
		cmocka_unit_test(the_table_of_processes_is_made_anew_at_each_open),
		cmocka_unit_test(a_registration_lives_as_long_as_its_descriptor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
