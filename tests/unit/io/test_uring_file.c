/* SPDX-License-Identifier: MIT */
/* Members of the io_uring engine: created, locked, sized, zeroed; files, devices, odd ones. */
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "uring_rig.h"

static struct io_file *open_or_fail(struct rig *rig, unsigned flags, uint64_t size_bytes)
{
	struct errmsg why = {""};
	struct io_file *file = NULL;
	if (io_open(rig->io, rig->path, flags, size_bytes, &file, &why) < 0)
		fail_msg("%s", why.text);
	return file;
}

/* Expect @err, and a message that names the path. */
static void refuse(struct rig *rig, unsigned flags, uint64_t size_bytes, int err)
{
	struct errmsg why = {""};
	struct io_file *file = NULL;
	assert_int_equal(io_open(rig->io, rig->path, flags, size_bytes, &file, &why), err);
	assert_null(file);
	assert_non_null(strstr(why.text, rig->path));
}

static void create_and_replace(struct rig *rig)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	struct stat st;
	refuse(rig, 0, 0, -ENOENT);
	rig_make_member(rig, 1 << 20);
	assert_int_equal(io_file_size_bytes(rig->file), 1 << 20);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_true(st.st_blocks * 512 < 1 << 20); /* sparse */
	fill_sectors(buf, BLOCK_BYTES, 0, 1);
	assert_int_equal(op_now(IO_WRITE, rig->file, 0, buf, BLOCK_BYTES), 0);
	io_close(rig->file);
	refuse(rig, IO_OPEN_CREATE, 1 << 20, -EEXIST);
	rig->file = open_or_fail(rig, 0, 0);
	assert_int_equal(op_now(IO_READ, rig->file, 0, buf, BLOCK_BYTES), 0);
	assert_true(holds_sectors(buf, BLOCK_BYTES, 0, 1));
	io_close(rig->file);
	rig->file = open_or_fail(rig, IO_OPEN_CREATE | IO_OPEN_REPLACE, 1 << 16);
	assert_int_equal(io_file_size_bytes(rig->file), 1 << 16);
	assert_int_equal(op_now(IO_READ, rig->file, 0, buf, BLOCK_BYTES), 0);
	assert_true(is_zeros(buf, BLOCK_BYTES));
}

static void a_file_is_made_once_kept_and_replaced_on_request(void **unused)
{
	(void)unused;
	on_each_medium(8, create_and_replace);
}

static void create_too_large(struct rig *rig)
{
	struct rlimit limit, small;
	getrlimit(RLIMIT_FSIZE, &limit);
	small = limit;
	small.rlim_cur = 1 << 20;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	refuse(rig, IO_OPEN_CREATE, 1 << 21, -EFBIG);
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(access(rig->path, F_OK), -1);
	refuse(rig, IO_OPEN_CREATE, 1000, -EINVAL);
	assert_int_equal(access(rig->path, F_OK), -1);
}

static void a_file_that_cannot_be_made_leaves_nothing_behind(void **unused)
{
	(void)unused;
	on_each_medium(8, create_too_large);
}

static void open_other_things(struct rig *rig)
{
	struct io_file *file = NULL;
	assert_int_equal(io_open(rig->io, rig->dir, 0, 0, &file, NULL), -ENOTBLK);
	assert_int_equal(io_open(rig->io, "/dev/null", 0, 0, &file, NULL), -ENOTBLK);
}

static void what_is_no_file_and_no_block_device_is_refused(void **unused)
{
	(void)unused;
	on_each_medium(8, open_other_things);
}

static void write_to_readonly(struct rig *rig)
{
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	struct io_file *file = open_or_fail(rig, IO_OPEN_READONLY, 0);
	assert_int_equal(op_now(IO_READ, file, 0, buf, BLOCK_BYTES), 0);
	assert_int_equal(op_now(IO_WRITE, file, 0, buf, BLOCK_BYTES), -EBADF);
	io_close(file);
	refuse(rig, IO_OPEN_READONLY | IO_OPEN_CREATE, BLOCK_BYTES, -EINVAL);
}

static void a_file_opened_to_read_only_cannot_be_written(void **unused)
{
	(void)unused;
	on_each_medium(8, write_to_readonly);
}

static void lock_twice(struct rig *rig)
{
	uring_engine_set_lock_wait(rig->io, 50 * NS_PER_MS);
	rig->file = open_or_fail(rig, IO_OPEN_CREATE | IO_OPEN_LOCK, BLOCK_BYTES);
	uint64_t start_ns = clock_monotonic_ns();
	refuse(rig, IO_OPEN_LOCK, 0, -EBUSY);
	assert_true(clock_monotonic_ns() - start_ns >= 50 * NS_PER_MS);
	refuse(rig, IO_OPEN_LOCK | IO_OPEN_CREATE | IO_OPEN_REPLACE, 2 * BLOCK_BYTES, -EBUSY);
	struct stat st;
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_size, BLOCK_BYTES); /* nothing is changed without the lock */
	io_close(open_or_fail(rig, 0, 0));         /* who asks for no lock gets in */
	io_close(rig->file);
	rig->file = open_or_fail(rig, IO_OPEN_LOCK, 0);
}

static void a_lock_is_refused_while_somebody_holds_it(void **unused)
{
	(void)unused;
	on_each_medium(8, lock_twice);
}

static void *unlock_soon(void *arg)
{
	usleep(60000);
	close(*(int *)arg);
	return NULL;
}

static void wait_for_lock(struct rig *rig)
{
	pthread_t thread;
	rig_make_member(rig, BLOCK_BYTES);
	int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(pthread_create(&thread, NULL, unlock_soon, &fd), 0);
	io_close(open_or_fail(rig, IO_OPEN_LOCK, 0));
	pthread_join(thread, NULL);
}

static void a_lock_is_waited_for(void **unused)
{
	(void)unused;
	on_each_medium(8, wait_for_lock);
}

static void zero_the_middle(struct rig *rig)
{
	enum { LEN = 16 * BLOCK_BYTES, FROM = 3 * BLOCK_BYTES, TO = 9 * BLOCK_BYTES + 512 };
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(LEN);
	rig->file = rig->file ? rig->file : open_or_fail(rig, IO_OPEN_CREATE, LEN);
	fill_sectors(buf, LEN, 0, 4);
	assert_int_equal(op_now(IO_WRITE, rig->file, 0, buf, LEN), 0);
	assert_int_equal(io_zero(rig->file, FROM, TO - FROM), 0);
	assert_int_equal(io_zero(rig->file, 0, 0), 0);
	memset(buf, 0xEE, LEN);
	assert_int_equal(op_now(IO_READ, rig->file, 0, buf, LEN), 0);
	assert_true(holds_sectors(buf, FROM, 0, 4));
	assert_true(is_zeros(buf + FROM, TO - FROM));
	assert_true(holds_sectors(buf + TO, LEN - TO, TO / 512, 4));
	uint64_t size_bytes = io_file_size_bytes(rig->file);
	assert_int_equal(io_zero(rig->file, size_bytes - 512, 1024), -ENOSPC);
}

static void zeroed_ranges_read_as_zeros_and_nothing_else_does(void **unused)
{
	(void)unused;
	on_each_medium(8, zero_the_middle);
}

static void open_more_than_the_table_holds(struct rig *rig)
{
	enum { FILES = URING_FILES + 3 };
	struct io_file *files[FILES];
	cleanup(cleanup_freep) char *buf = mem_alloc_blocks(BLOCK_BYTES);
	rig_make_member(rig, BLOCK_BYTES);
	for (unsigned i = 0; i < FILES; i++)
		files[i] = open_or_fail(rig, 0, 0);
	assert_int_equal(uring_file_of(files[0])->slot, 1);
	assert_int_equal(uring_file_of(files[FILES - 1])->slot, -1);
	for (unsigned i = 0; i < FILES; i++)
		assert_int_equal(op_now(IO_READ, files[i], 0, buf, BLOCK_BYTES), 0);
	for (unsigned i = 0; i < FILES; i++)
		io_close(files[i]);
	struct io_file *again = open_or_fail(rig, 0, 0);
	assert_int_equal(uring_file_of(again)->slot, 1);
	assert_int_equal(op_now(IO_READ, again, 0, buf, BLOCK_BYTES), 0);
	io_close(again);
}

static void files_beyond_the_registered_table_work_too(void **unused)
{
	(void)unused;
	on_each_medium(8, open_more_than_the_table_holds);
}

/* In a mount namespace of a child: ramfs refuses O_DIRECT. 77: no right to mount. */
static int child_uses_ramfs(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/mnt", "ramfs", 0, NULL) < 0)
		return 77;
	struct rig rig;
	rig_open(&rig, "/mnt", 8);
	int fd = open("/mnt/probe", O_CREAT | O_RDWR | O_DIRECT, 0600);
	if (fd >= 0)
		return 77; /* this kernel's ramfs has direct I/O */
	zero_the_middle(&rig);
	rig_close(&rig);
	return 0;
}

static void a_file_system_without_direct_io_is_used_buffered(void **unused)
{
	(void)unused;
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(child_uses_ramfs());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* Make @rig->path a loop device over a file of @size_bytes that goes with its last user. */
static int loop_make(struct rig *rig, uint64_t size_bytes)
{
	struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};
	cleanup(cleanup_closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -1;
	cleanup(cleanup_closep) int backing = open(rig->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (backing < 0 || ftruncate(backing, (off_t)size_bytes) < 0)
		return -1;
	unlink(rig->path);
	snprintf(rig->path, sizeof(rig->path), "/dev/loop%d", number);
	int fd = open(rig->path, O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)backing;
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void use_device(struct rig *rig)
{
	refuse(rig, IO_OPEN_CREATE, BLOCK_BYTES, -EEXIST);
	refuse(rig, IO_OPEN_CREATE | IO_OPEN_REPLACE, 2 << 20, -ENOSPC);
	rig->file = open_or_fail(rig, IO_OPEN_LOCK | IO_OPEN_CREATE | IO_OPEN_REPLACE, 1 << 20);
	assert_int_equal(io_file_size_bytes(rig->file), 1 << 20);
	zero_the_middle(rig);
	assert_int_equal(op_now(IO_FLUSH, rig->file, 0, NULL, 0), 0);
	refuse(rig, IO_OPEN_LOCK, 0, -EBUSY);
	assert_int_equal(open(rig->path, O_RDONLY | O_EXCL), -1); /* as mount(8) would */
	io_close(rig->file);
	rig->file = open_or_fail(rig, IO_OPEN_LOCK, 0);
	io_close(rig->file);
	rig->file = NULL;
}

static void a_block_device_is_claimed_and_keeps_its_size(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_open(&rig, "/tmp", 8);
	uring_engine_set_lock_wait(rig.io, 50 * NS_PER_MS);
	int fd = loop_make(&rig, 1 << 20);
	if (fd >= 0)
		use_device(&rig);
	io_engine_free(rig.io);
	rmdir(rig.dir);
	if (fd < 0)
		skip();
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_made_once_kept_and_replaced_on_request),
		cmocka_unit_test(a_file_that_cannot_be_made_leaves_nothing_behind),
		cmocka_unit_test(what_is_no_file_and_no_block_device_is_refused),
		cmocka_unit_test(a_file_opened_to_read_only_cannot_be_written),
		cmocka_unit_test(a_lock_is_refused_while_somebody_holds_it),
		cmocka_unit_test(a_lock_is_waited_for),
		cmocka_unit_test(zeroed_ranges_read_as_zeros_and_nothing_else_does),
		cmocka_unit_test(files_beyond_the_registered_table_work_too),
		cmocka_unit_test(a_file_system_without_direct_io_is_used_buffered),
		cmocka_unit_test(a_block_device_is_claimed_and_keeps_its_size),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
