/* SPDX-License-Identifier: MIT */
/* cli/check_report: the verdict, and what it is said with. */
#include "cli/check_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cli/cli.h"

static const char processes_text[] =
	"{\"processes\": ["
	"{\"pid\": 11, \"comm\": \"one\", \"call\": \"libaio\", \"writes\": 10, \"observed\": 9,"
	" \"mutated\": 2, \"reads\": 1, \"reads_mutated\": 0, \"files\": ["
	"  {\"file\": \"/a\", \"ino\": 2, \"writes\": 4, \"observed\": 4, \"mutated\": 0},"
	"  {\"file\": \"/b\", \"ino\": 3, \"writes\": 6, \"observed\": 5, \"mutated\": 2}]},"
	"{\"pid\": 12, \"comm\": \"two\", \"call\": \"pwrite64\", \"writes\": 5, \"observed\": 5,"
	" \"mutated\": 0, \"reads\": 0, \"reads_mutated\": 0, \"files\": ["
	"  {\"ino\": 4, \"writes\": 1, \"observed\": 1, \"mutated\": 0},"
	"  {\"file\": \"/a\", \"ino\": 2, \"writes\": 4, \"observed\": 4, \"mutated\": 0}]}]}";

static struct json_value *parse(const char *text)
{
	struct json_value *v;
	assert_int_equal(json_parse(text, strlen(text), &v, NULL), 0);
	return v;
}

static enum check_verdict judge(uint64_t writes, uint64_t observed, uint64_t mutated)
{
	struct check_counts c = {.writes = writes, .observed = observed, .mutated = mutated};
	return check_judge(&c);
}

static void one_mutation_is_enough(void **unused)
{
	(void)unused;
	assert_int_equal(judge(1000, 1000, 1), CHECK_MUTATED);
	assert_int_equal(judge(1000, 1, 1), CHECK_MUTATED);
	struct check_counts c = {.reads = 5, .reads_mutated = 1};
	assert_int_equal(check_judge(&c), CHECK_MUTATED);
}

static void still_rests_on_most_of_the_writes(void **unused)
{
	(void)unused;
	assert_int_equal(judge(1000, 1000, 0), CHECK_STILL);
	assert_int_equal(judge(1000, 500, 0), CHECK_STILL);
	assert_int_equal(judge(1000, 499, 0), CHECK_UNKNOWN);
	assert_int_equal(judge(1, 0, 0), CHECK_UNKNOWN);
}

static void no_writes_are_no_guess(void **unused)
{
	(void)unused;
	assert_int_equal(judge(0, 0, 0), CHECK_NONE);
}

static void a_check_that_was_stopped_is_no_success(void **unused)
{
	(void)unused;
	assert_int_equal(check_exit_status(CHECK_STILL, false), CLI_DONE);
	assert_int_equal(check_exit_status(CHECK_NONE, false), CLI_DONE);
	assert_int_equal(check_exit_status(CHECK_UNKNOWN, false), CLI_FAILED);
	assert_int_equal(check_exit_status(CHECK_STILL, true), CLI_FAILED);
	assert_int_equal(check_exit_status(CHECK_NONE, true), CLI_FAILED);
	assert_int_equal(check_exit_status(CHECK_MUTATED, true), CLI_DAMAGE);
}

static void rows_are_summed_up(void **unused)
{
	(void)unused;
	struct json_value *v = parse(processes_text);
	struct check_counts c = check_count(v);
	assert_int_equal(c.writes, 15);
	assert_int_equal(c.observed, 14);
	assert_int_equal(c.mutated, 2);
	assert_int_equal(c.reads, 1);
	json_value_free(v);
}

static void files_are_summed_up_over_processes_the_worst_first(void **unused)
{
	(void)unused;
	struct json_value *v = parse(processes_text);
	struct check_file *files;
	assert_int_equal(check_sum_files(v, &files), 3);
	assert_string_equal(files[0].name, "/b");
	assert_int_equal(files[0].counts.mutated, 2);
	assert_string_equal(files[1].name, "/a");
	assert_int_equal(files[1].counts.writes, 8);
	assert_null(files[2].name);
	assert_int_equal(files[2].ino, 4);
	free(files);
	json_value_free(v);
}

static void no_share_exceeds_one(void **unused)
{
	(void)unused;
	struct json_value *v = parse("{\"processes\": [{\"writes\": 3, \"observed\": 4}]}");
	assert_int_equal(check_count(v).observed, 3);
	json_value_free(v);
}

/* What is printed, the caller's. */
static char *print(const char *processes, bool as_json)
{
	const char *const cmd[] = {"prog", "x\"y", NULL};
	char *text = NULL;
	size_t len;
	struct json_value *stats = parse("{\"direct_writes\": {\"unobserved_by_reason\": "
					 "{\"no_match\": 1, \"gone\": 0}}}");
	struct json_value *rows = parse(processes);
	struct check_report r = {.cmd = (char *const *)(uintptr_t)cmd,
		.cmd_status = 5,
		.policy = "detect",
		.level = "raid5",
		.pi = "t10",
		.unfollowed = "not here",
		.stats = stats,
		.processes = rows};
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(as_json ? check_print_json(&r, out) : check_print_text(&r, out), 0);
	fclose(out);
	json_value_free(stats);
	json_value_free(rows);
	return text;
}

static void the_text_says_what_it_rests_on(void **unused)
{
	(void)unused;
	char *text = print(processes_text, false);
	assert_non_null(strstr(text, "mutated: 'prog'"));
	assert_non_null(strstr(text, "in 2 of 14 observed direct writes (of 15)"));
	assert_non_null(strstr(text, "1 writes unobserved: no match"));
	assert_null(strstr(text, "gone"));
	assert_non_null(strstr(text, "not here"));
	assert_non_null(strstr(text, "exit status 5"));
	assert_non_null(strstr(text, "(inode 4, removed)"));
	free(text);
}

static void the_json_can_be_read_back(void **unused)
{
	(void)unused;
	char *text = print(processes_text, true);
	struct json_value *v = parse(text);
	assert_string_equal(json_get_string(v, "verdict", ""), "mutated");
	assert_int_equal(json_get_u64(v, "unobserved", 99), 1);
	assert_string_equal(json_get(v, "cmd")->first->next->text, "x\"y");
	assert_int_equal(json_get_u64(json_get(v, "unobserved_by_reason"), "no_match", 0), 1);
	assert_string_equal(json_get_string(json_get(v, "files")->first, "file", ""), "/b");
	assert_false(json_get_bool(json_get(v, "libaio"), "followed", true));
	json_value_free(v);
	free(text);
}

static void nothing_written_is_said_so(void **unused)
{
	(void)unused;
	char *text = print("{\"processes\": []}", false);
	assert_non_null(strstr(text, "no direct writes: 'prog'"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mutation_is_enough),
		cmocka_unit_test(still_rests_on_most_of_the_writes),
		cmocka_unit_test(no_writes_are_no_guess),
		cmocka_unit_test(a_check_that_was_stopped_is_no_success),
		cmocka_unit_test(rows_are_summed_up),
		cmocka_unit_test(files_are_summed_up_over_processes_the_worst_first),
		cmocka_unit_test(no_share_exceeds_one),
		cmocka_unit_test(the_text_says_what_it_rests_on),
		cmocka_unit_test(the_json_can_be_read_back),
		cmocka_unit_test(nothing_written_is_said_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
