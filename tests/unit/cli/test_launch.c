/* SPDX-License-Identifier: MIT */
/* cli/launch: a program is started, followed, waited for with all that it starts, and ended. */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "inflight/aio_table.h"

static const char *self; /* this program, which is run with words of its own */

/* It submits one write by libaio, and says how that went. */
static int submit_main(void)
{
	static char buffer[4096] __attribute__((aligned(4096)));
	char path[] = "/var/tmp/stablefs-launch-XXXXXX";
	aio_context_t context = 0;
	int fd = mkstemp(path);
	unlink(path);
	struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uint64_t)(uintptr_t)buffer,
		.aio_nbytes = sizeof(buffer),
		.aio_offset = 12288};
	struct iocb *blocks[] = {&block};
	struct io_event event;
	if (syscall(SYS_io_setup, 1, &context) < 0)
		return 10;
	if (syscall(SYS_io_submit, context, 1, blocks) != 1)
		return errno == ENOSYS ? 11 : 12;
	if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1 || event.res != 4096)
		return 13;
	return 0;
}

/* It submits control blocks whose array is in a page that nobody ever provides: whoever reads it
 * waits. 77: no such pages here. */
static int stall_main(void)
{
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {.start = (uintptr_t)page, .len = 4096},
		.mode = UFFDIO_REGISTER_MODE_MISSING};
	aio_context_t context = 0;
	if (faults < 0 || ioctl(faults, UFFDIO_API, &api) < 0 ||
		ioctl(faults, UFFDIO_REGISTER, &range) < 0)
		return 77;
	if (syscall(SYS_io_setup, 1, &context) < 0)
		return 10;
	syscall(SYS_io_submit, context, 1, page);
	return 0;
}

static struct launch *launch(const char *const *argv)
{
	struct launch_config config = {.argv = (char *const *)(uintptr_t)argv, .out_fd = -1};
	struct launch *l;
	sigset_t none;
	sigemptyset(&none); /* the one before has left them blocked, and a program inherits that */
	sigprocmask(SIG_SETMASK, &none, NULL);
	assert_int_equal(launch_new(&config, &l, NULL), 0);
	return l;
}

static int run_to_its_end(struct launch *l)
{
	assert_int_equal(launch_go(l, NULL), 0);
	enum launch_event event;
	while ((event = launch_next(l, 20000)) == LAUNCH_CMD_ENDED)
		;
	assert_int_equal(event, LAUNCH_ALL_ENDED);
	return launch_status(l);
}

static int status_of(const char *script)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct launch *l = launch(argv);
	int status = run_to_its_end(l);
	launch_free(l);
	return status;
}

static void its_status_is_as_a_shell_has_it(void **unused)
{
	(void)unused;
	assert_int_equal(status_of("exit 0"), 0);
	assert_int_equal(status_of("exit 42"), 42);
	assert_int_equal(status_of("kill -KILL $$"), 128 + SIGKILL);
}

static void what_cannot_be_run_is_an_error(void **unused)
{
	(void)unused;
	const char *const missing[] = {"/var/tmp/there-is-no-such-program", NULL};
	struct launch *l = launch(missing);
	struct errmsg why = {0};
	assert_int_equal(launch_go(l, &why), -ENOENT);
	assert_non_null(strstr(why.text, "cannot run"));
	launch_free(l);
}

static void a_program_that_never_runs_leaves_nothing(void **unused)
{
	(void)unused;
	const char *const argv[] = {"true", NULL};
	launch_free(launch(argv));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void its_submissions_are_in_the_table(void **unused)
{
	(void)unused;
	const char *const argv[] = {self, "submit", NULL};
	struct launch *l = launch(argv);
	struct aio_table *table;
	assert_int_equal(aio_table_map(launch_table(l), &table), 0);
	assert_int_equal(run_to_its_end(l), 0);
	if (launch_unfollowed(l)) {
		print_message("not followed here: %s\n", launch_unfollowed(l));
	} else {
		assert_int_equal(launch_follow_stats(l).submissions, 1);
		assert_int_equal(launch_follow_stats(l).recorded, 1);
		assert_int_equal(launch_follow_stats(l).unreadable, 0);
	}
	aio_table_free(table);
	launch_free(l);
}

/* What io_submit needs is there until the last one has ended. */
static void those_who_outlive_it_are_followed_and_waited_for(void **unused)
{
	(void)unused;
	char script[4200];
	snprintf(script, sizeof(script), "( sleep 0.3; %s submit ) & exit 3", self);
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct launch *l = launch(argv);
	assert_int_equal(launch_go(l, NULL), 0);
	assert_int_equal(launch_next(l, 20000), LAUNCH_CMD_ENDED);
	assert_int_equal(launch_status(l), 3);
	assert_int_equal(launch_next(l, 20000), LAUNCH_ALL_ENDED);
	assert_true(launch_unfollowed(l) || launch_follow_stats(l).recorded == 1);
	launch_free(l);
}

static void a_process_that_holds_up_its_reader_holds_up_no_other(void **unused)
{
	(void)unused;
	char script[9000];
	snprintf(script, sizeof(script),
		"%s stall & sleep 0.2; kill -0 $! 2>/dev/null || exit 77; "
		"%s submit; status=$?; kill -KILL $!; exit $status",
		self, self);
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct launch *l = launch(argv);
	int status = run_to_its_end(l);
	struct follow_stats stats = launch_follow_stats(l);
	bool followed = !launch_unfollowed(l);
	launch_free(l);
	if (status == 77 || !followed)
		skip();
	assert_int_equal(status, 0);
	assert_int_equal(stats.submissions, 2);
	assert_int_equal(stats.recorded, 1);
}

static void signals_are_passed_on(void **unused)
{
	(void)unused;
	const char *const argv[] = {"sleep", "60", NULL};
	struct launch *l = launch(argv);
	assert_int_equal(launch_go(l, NULL), 0);
	assert_int_equal(launch_next(l, 0), LAUNCH_TIMEOUT);
	kill(getpid(), SIGTERM);
	enum launch_event event = launch_next(l, 20000);
	assert_int_equal(event, LAUNCH_SIGNALED);
	assert_int_equal(launch_next(l, 20000), LAUNCH_ALL_ENDED);
	assert_int_equal(launch_status(l), 128 + SIGTERM);
	launch_free(l);
}

static void all_can_be_ended(void **unused)
{
	(void)unused;
	const char *const argv[] = {
		"sh", "-c", "trap '' TERM; (trap '' TERM; sleep 60) & sleep 60", NULL};
	struct launch *l = launch(argv);
	assert_int_equal(launch_go(l, NULL), 0);
	assert_int_equal(launch_next(l, 100), LAUNCH_TIMEOUT);
	assert_true(launch_kill(l, 20000));
	assert_int_equal(launch_status(l), 128 + SIGKILL);
	launch_free(l);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return !strcmp(argv[1], "stall") ? stall_main() : submit_main();
	self = realpath("/proc/self/exe", NULL);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_status_is_as_a_shell_has_it),
		cmocka_unit_test(what_cannot_be_run_is_an_error),
		cmocka_unit_test(a_program_that_never_runs_leaves_nothing),
		cmocka_unit_test(its_submissions_are_in_the_table),
		cmocka_unit_test(those_who_outlive_it_are_followed_and_waited_for),
		cmocka_unit_test(a_process_that_holds_up_its_reader_holds_up_no_other),
		cmocka_unit_test(signals_are_passed_on),
		cmocka_unit_test(all_can_be_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
