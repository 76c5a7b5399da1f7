/* SPDX-License-Identifier: MIT */
/* cli/members, cli/work_wait: what a verb's words stand for, and waiting for background work. */
#include "cli/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "cli/target.h"
#include "cli/work_wait.h"

/* ---- a mount: its status, which changes each time that it is asked for ---- */

static const char *const *answers; /* the last one stays */
static unsigned asked;

bool target_is_mount(const char *path)
{
	return !strcmp(path, "/mnt");
}

int target_status(const char *mountpoint, char **text, struct errmsg *why)
{
	(void)mountpoint, (void)why;
	*text = strdup(answers[0]);
	answers += answers[1] ? 1 : 0;
	asked++;
	return 0;
}

int target_query(const char *mountpoint, const char *line, char **reply, struct errmsg *why)
{
	(void)mountpoint, (void)reply;
	return errmsg_set(why, -EBUSY, "no: %s", line);
}

static struct json_value *parse(const char *text)
{
	struct json_value *v = NULL;
	assert_int_equal(json_parse(text, strlen(text), &v, NULL), 0);
	return v;
}

static char dir[] = "/tmp/stablefs-test-members.XXXXXX";

static int enter_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) && chdir(dir) == 0 && mkdir("vol", 0700) == 0 ? 0 : -1;
}

static int leave_dir(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* ---- names ---- */

static struct json_value *two_members(void)
{
	char text[512];
	FILE *file = fopen("vol/member-1", "w");
	assert_non_null(file);
	fclose(file);
	snprintf(text, sizeof(text),
		"{\"members_count\": 2, \"members\": [{\"index\": 0, \"path\": \"\"},"
		"{\"index\": 1, \"path\": \"%s/vol/member-1\"}]}",
		dir);
	return parse(text);
}

static void a_member_goes_by_its_number_or_by_any_path_of_its_file(void **unused)
{
	(void)unused;
	unsigned index = 9;
	struct json_value *status = two_members();
	assert_int_equal(members_find(status, "0", &index, NULL), 0);
	assert_int_equal(index, 0);
	assert_int_equal(members_find(status, "vol/../vol/member-1", &index, NULL), 0);
	assert_int_equal(index, 1);
	assert_int_equal(json_get_u64(members_get(status, 1), "index", 9), 1);
	assert_null(members_get(status, 2));
	json_value_free(status);
}

static void what_is_no_member_is_refused_and_said_what_there_is(void **unused)
{
	(void)unused;
	static const char *const names[] = {"2", "-1", "", "member-1", "/nowhere"};
	struct json_value *status = two_members();
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct errmsg why = {0};
		unsigned index;
		assert_int_equal(members_find(status, names[i], &index, &why), -EINVAL);
		assert_non_null(strstr(why.text, "0 to 1"));
	}
	json_value_free(status);
}

static void a_path_is_made_absolute_whether_its_file_is_there_or_not(void **unused)
{
	(void)unused;
	char out[PATH_MAX], want[PATH_MAX];
	snprintf(want, sizeof(want), "%s/vol/new file", dir);
	assert_int_equal(members_absolute_path("vol/new file", out, NULL), 0);
	assert_string_equal(out, want);
	assert_int_equal(members_absolute_path(want, out, NULL), 0);
	assert_string_equal(out, want);
	snprintf(want, sizeof(want), "%s/here", dir);
	assert_int_equal(members_absolute_path("here", out, NULL), 0);
	assert_string_equal(out, want);
	assert_int_equal(members_absolute_path("/here", out, NULL), 0);
	assert_string_equal(out, "/here");
}

static void a_path_in_no_directory_or_with_a_newline_is_refused(void **unused)
{
	(void)unused;
	char out[PATH_MAX];
	struct errmsg why = {0};
	assert_int_equal(members_absolute_path("none/file", out, &why), -ENOENT);
	assert_non_null(strstr(why.text, "none"));
	assert_int_equal(members_absolute_path("two\nlines", out, NULL), -EINVAL);
	assert_int_equal(members_absolute_path("none/", out, NULL), -ENOENT);
}

/* ---- requests ---- */

static void what_is_no_mount_is_told(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	struct json_value *status = NULL;
	assert_int_equal(members_status("/vol", &status, &why), -ENODEV);
	assert_non_null(strstr(why.text, "mount the volume first"));
}

static void a_request_gives_the_volumes_own_words(void **unused)
{
	(void)unused;
	struct errmsg why = {0};
	assert_int_equal(members_request("/mnt", "fail 1", &why), -EBUSY);
	assert_string_equal(why.text, "no: fail 1");
}

/* ---- waiting ---- */

#define REBUILD(state, member, more)                                                               \
	"{\"members\": [{\"state\": \"" member "\"}],"                                             \
	"\"work\": {\"rebuild\": {\"state\": \"" state "\"" more "}, "                             \
	"\"resync\": {\"state\": \"idle\"}}}"

/* Returns how often the status was asked for. */
static unsigned wait_through(const char *const *texts, const char *kind)
{
	struct json_value *status = NULL;
	answers = texts;
	asked = 0;
	assert_int_equal(work_wait("/mnt", kind, &status, NULL), 0);
	assert_non_null(work_of(status, kind));
	json_value_free(status);
	return asked;
}

static void a_rebuild_is_waited_for_before_it_begins_and_while_it_is_paused(void **unused)
{
	(void)unused;
	const char *const texts[] = {REBUILD("idle", "rebuilding", ""),
		REBUILD("paused", "rebuilding", ""), REBUILD("running", "rebuilding", ""),
		REBUILD("idle", "active", ""), NULL};
	assert_int_equal(wait_through(texts, "rebuild"), 4);
	assert_int_equal(wait_through(texts, "resync"), 1);
}

static void a_rebuild_that_cannot_be_done_is_not_waited_for(void **unused)
{
	(void)unused;
	const char *const texts[] = {
		REBUILD("idle", "rebuilding", ", \"error\": \"Input/output error\""), NULL};
	assert_int_equal(wait_through(texts, "rebuild"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_goes_by_its_number_or_by_any_path_of_its_file),
		cmocka_unit_test(what_is_no_member_is_refused_and_said_what_there_is),
		cmocka_unit_test(a_path_is_made_absolute_whether_its_file_is_there_or_not),
		cmocka_unit_test(a_path_in_no_directory_or_with_a_newline_is_refused),
		cmocka_unit_test(what_is_no_mount_is_told),
		cmocka_unit_test(a_request_gives_the_volumes_own_words),
		cmocka_unit_test(a_rebuild_is_waited_for_before_it_begins_and_while_it_is_paused),
		cmocka_unit_test(a_rebuild_that_cannot_be_done_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
