/* SPDX-License-Identifier: MIT */
/* cli/mutate: the truth about its writes, on an ordinary file, with the answers of pwrite and pread
 * under the test's control (the linker's --wrap). */
#include "cli/mutate.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define KIB 1024u

static char path[] = "/var/tmp/stablefs-mutate-XXXXXX";

/* What happens to calls; all of it off between tests. */
static struct {
	int every_third_write; /* errno, or 0 */
	unsigned writes;
	unsigned flip_at;         /* the byte of each block read back, plus one */
	int reads_fail;           /* errno, or 0 */
	unsigned reads_that_fail; /* the first so many, with EILSEQ */
} world;

ssize_t __real_pwrite64(int fd, const void *buf, size_t n, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t offset);
ssize_t __real_pread64(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t offset);

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
	if (world.every_third_write && world.writes++ % 3 == 2) {
		errno = world.every_third_write;
		return -1;
	}
	return __real_pwrite64(fd, buf, n, offset);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t offset)
{
	if (world.reads_fail) {
		errno = world.reads_fail;
		return -1;
	}
	if (world.reads_that_fail) {
		world.reads_that_fail--;
		errno = EILSEQ;
		return -1;
	}
	ssize_t got = __real_pread64(fd, buf, n, offset);
	if (world.flip_at)
		((uint8_t *)buf)[world.flip_at - 1] ^= 0x80;
	return got;
}

static struct mutate_options options(enum mutate_stores stores)
{
	return (struct mutate_options){.path = path,
		.block_bytes = 64 * KIB,
		.count = 40,
		.stores = stores,
		.delay_ns = 100000,
		.seed = 7,
		.verify = true};
}

static struct mutate_result run(const struct mutate_options *o)
{
	struct mutate_result r;
	struct errmsg why = {0};
	world.writes = 0;
	if (mutate_run(o, &r, &why) != 0)
		fail_msg("%s", why.text);
	return r;
}

static int reset(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	assert_int_equal(truncate(path, 0), 0);
	return 0;
}

static void a_still_buffer_changes_in_no_write(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_STILL);
	struct mutate_result r = run(&o);
	assert_int_equal(r.writes.total, 40);
	assert_int_equal(r.writes.changed, 0);
	assert_int_equal(r.stores, 0);
	assert_int_equal(r.writes.failed, 0);
	assert_int_equal(r.verified, 40);
	assert_int_equal(r.wrong + r.unreadable, 0);
	mutate_result_free(&r);
}

static void stores_without_pause_change_the_buffer_in_flight(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_CONTINUOUS);
	o.block_bytes = 256 * KIB;
	struct mutate_result r = run(&o);
	uint64_t changed = 0, in_flight = 0, last = 0;
	for (unsigned i = 0; i < r.writes.total; i++) {
		const struct mutate_transfer *w = &r.records[i];
		assert_int_equal(w->offset_bytes, i * 256 * KIB);
		assert_int_equal(w->done_bytes, 256 * KIB);
		assert_true(w->last_store >= last + w->stores);
		last = w->last_store;
		changed += w->stores > 0;
		in_flight += w->stores;
	}
	assert_int_equal(r.writes.changed, changed);
	assert_true(changed > 0);
	assert_true(in_flight <= r.stores);
	/* A page of the file may hold any store so far, and nothing else. */
	assert_int_equal(r.verified, 40);
	assert_int_equal(r.wrong + r.unreadable, 0);
	mutate_result_free(&r);
}

static void one_store_a_write_is_one_store_a_write(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_ONE_STORE);
	struct mutate_result r = run(&o);
	assert_int_equal(r.stores, 40);
	for (unsigned i = 0; i < r.writes.total; i++)
		assert_true(r.records[i].stores <= 1);
	assert_int_equal(r.wrong, 0);
	mutate_result_free(&r);
}

static void every_call_writes_the_blocks_where_they_belong(void **unused)
{
	(void)unused;
	for (int call = MUTATE_PWRITE; call <= MUTATE_WRITEV; call++) {
		struct mutate_options o = options(MUTATE_CONTINUOUS);
		o.call = (enum mutate_call)call;
		o.offset_bytes = 8 * KIB;
		o.stride_bytes = 96 * KIB;
		o.passes = 2;
		assert_int_equal(truncate(path, 0), 0);
		struct mutate_result r = run(&o);
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, (8 + 39 * 96 + 64) * KIB);
		assert_int_equal(r.writes.total, 80);
		assert_int_equal(r.records[79].offset_bytes, (8 + 39 * 96) * KIB);
		assert_int_equal(r.verified, 40);
		assert_int_equal(r.wrong, 0);
		mutate_result_free(&r);
	}
}

static void names_of_calls_are_read_back(void **unused)
{
	(void)unused;
	enum mutate_call read;
	for (int call = MUTATE_PWRITE; call <= MUTATE_WRITEV; call++) {
		assert_true(mutate_call_parse(mutate_call_name((enum mutate_call)call), &read));
		assert_int_equal(read, call);
	}
	assert_false(mutate_call_parse("pwrite3", &read));
}

/* Every way in, as the options say it. */
static const struct {
	enum mutate_engine engine;
	bool vectored, fixed, sqpoll;
	unsigned depth;
} ways[] = {
	{MUTATE_PSYNC, .depth = 1},
	{MUTATE_URING, .depth = 1},
	{MUTATE_URING, .depth = 8},
	{MUTATE_URING, .depth = 8, .vectored = true},
	{MUTATE_URING, .depth = 8, .fixed = true},
	{MUTATE_URING, .depth = 4, .sqpoll = true},
	{MUTATE_AIO, .depth = 1},
	{MUTATE_AIO, .depth = 8, .vectored = true},
	{MUTATE_POSIXAIO, .depth = 4},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static struct mutate_options way(unsigned i, enum mutate_stores stores)
{
	struct mutate_options o = options(stores);
	o.engine = ways[i].engine;
	o.vectored = ways[i].vectored;
	o.fixed = ways[i].fixed;
	o.sqpoll = ways[i].sqpoll;
	o.depth = ways[i].depth;
	return o;
}

/* Where the kernel or the sandbox has no such engine there is nothing to test. */
static bool engine_is_here(const struct mutate_options *o)
{
	struct mutate_options one = *o;
	struct mutate_result r;
	one.count = 1;
	int err = mutate_run(&one, &r, NULL);
	mutate_result_free(&r);
	return err != -ENOSYS && err != -EPERM && err != -ENOMEM;
}

static void every_engine_writes_what_was_in_its_buffers(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < WAYS; i++) {
		for (int stores = MUTATE_CONTINUOUS; stores <= MUTATE_STILL; stores++) {
			struct mutate_options o = way(i, (enum mutate_stores)stores);
			o.passes = 2;
			if (!engine_is_here(&o))
				continue;
			struct mutate_result r = run(&o);
			assert_int_equal(r.writes.total, 80);
			assert_int_equal(r.writes.failed, 0);
			assert_int_equal(r.verified, 40);
			assert_int_equal(r.wrong + r.unreadable, 0);
			assert_true(r.writes.changed <= (stores == MUTATE_STILL ? 0 : 80));
			mutate_result_free(&r);
		}
	}
}

static void one_store_comes_once_to_each_of_many_writes_in_flight(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < WAYS; i++) {
		struct mutate_options o = way(i, MUTATE_ONE_STORE);
		if (!engine_is_here(&o))
			continue;
		struct mutate_result r = run(&o);
		assert_int_equal(r.stores, 40);
		for (unsigned n = 0; n < 40; n++)
			assert_true(r.records[n].stores <= 1);
		mutate_result_free(&r);
	}
}

static void every_engine_reads_while_the_buffer_changes(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < WAYS; i++) {
		struct mutate_options o = way(i, MUTATE_CONTINUOUS);
		o.read = true;
		o.passes = 2;
		if (!engine_is_here(&o))
			continue;
		struct mutate_result r = run(&o);
		assert_int_equal(r.writes.total, 40);
		assert_int_equal(r.writes.changed, 0);
		assert_int_equal(r.reads.total, 80);
		assert_int_equal(r.reads.failed, 0);
		assert_int_equal(r.verified, 40);
		assert_int_equal(r.wrong + r.unreadable + r.false_errors, 0);
		mutate_result_free(&r);
	}
}

static void a_failed_read_of_a_right_block_is_a_false_error(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_CONTINUOUS);
	o.read = true;
	o.passes = 3;
	world.reads_that_fail = 100; /* of 120 */
	struct mutate_result r = run(&o);
	assert_int_equal(r.reads.total, 120);
	assert_int_equal(r.reads.failed, 100);
	assert_int_equal(r.reads.first_error, EILSEQ);
	assert_int_equal(r.unreadable, 0);
	assert_int_equal(r.false_errors, 100);
	mutate_result_free(&r);
}

static void a_failed_read_of_a_bad_block_is_no_false_error(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_STILL);
	o.read = true;
	world.reads_fail = EILSEQ;
	struct mutate_result r = run(&o);
	assert_int_equal(r.reads.failed, 40);
	assert_int_equal(r.unreadable, 40);
	assert_int_equal(r.false_errors, 0);
	mutate_result_free(&r);
}

static void names_of_engines_are_read_back(void **unused)
{
	(void)unused;
	enum mutate_engine read;
	for (int e = MUTATE_PSYNC; e <= MUTATE_POSIXAIO; e++) {
		assert_true(mutate_engine_parse(mutate_engine_name((enum mutate_engine)e), &read));
		assert_int_equal(read, e);
	}
	assert_false(mutate_engine_parse("rsync", &read));
}

static void an_engine_refuses_what_it_cannot_do(void **unused)
{
	(void)unused;
	struct mutate_options bad[8];
	for (unsigned i = 0; i < 8; i++)
		bad[i] = options(MUTATE_STILL);
	bad[0].depth = 2;
	bad[1].vectored = true;
	bad[2].fixed = true;
	bad[3].engine = MUTATE_AIO;
	bad[3].sqpoll = true;
	bad[4].engine = MUTATE_POSIXAIO;
	bad[4].vectored = true;
	bad[5].engine = MUTATE_URING;
	bad[5].fixed = bad[5].vectored = true;
	bad[6].engine = MUTATE_URING;
	bad[6].depth = MUTATE_MAX_DEPTH + 1;
	bad[7].engine = MUTATE_AIO;
	bad[7].call = MUTATE_WRITEV;
	for (unsigned i = 0; i < 8; i++) {
		struct errmsg why = {0};
		if (mutate_options_check(&bad[i], &why) != -EINVAL || !why.text[0])
			fail_msg("options %u are accepted", i);
	}
}

static void refused_writes_are_results_and_are_not_verified(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_STILL);
	world.every_third_write = EILSEQ;
	struct mutate_result r = run(&o);
	assert_int_equal(r.writes.total, 40);
	assert_int_equal(r.writes.failed, 13);
	assert_int_equal(r.writes.first_error, EILSEQ);
	assert_int_equal(r.records[2].error, EILSEQ);
	assert_int_equal(r.records[3].error, 0);
	assert_int_equal(r.verified, 27);
	assert_int_equal(r.wrong, 0);
	mutate_result_free(&r);
}

static void a_write_that_cannot_succeed_ends_the_run(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_CONTINUOUS);
	struct mutate_result r;
	struct errmsg why = {0};
	world.every_third_write = ENOSPC;
	assert_int_equal(mutate_run(&o, &r, &why), -ENOSPC);
	assert_int_equal(r.writes.total, 3);
	assert_int_equal(r.writes.failed, 1);
	assert_non_null(strstr(why.text, path));
	mutate_result_free(&r);
}

static void reading_back_finds_bytes_that_never_were(void **unused)
{
	(void)unused;
	static const unsigned bytes[] = {0, 7, 8, 16, 511, 512, 64 * KIB - 1};
	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		struct mutate_options o = options(MUTATE_CONTINUOUS);
		world.flip_at = bytes[i] + 1;
		struct mutate_result r = run(&o);
		assert_int_equal(r.verified, 40);
		assert_int_equal(r.wrong, 40);
		mutate_result_free(&r);
	}
}

static void blocks_that_cannot_be_read_back_are_counted(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_STILL);
	world.reads_fail = EILSEQ;
	struct mutate_result r = run(&o);
	assert_int_equal(r.unreadable, 40);
	assert_int_equal(r.first_read_error, EILSEQ);
	assert_int_equal(r.wrong, 0);
	mutate_result_free(&r);
}

static void options_without_sense_are_refused_with_a_reason(void **unused)
{
	(void)unused;
	struct mutate_options bad[7];
	for (unsigned i = 0; i < 7; i++)
		bad[i] = options(MUTATE_STILL);
	bad[0].block_bytes = 0;
	bad[1].block_bytes = 1000;
	bad[2].stride_bytes = 32 * KIB;
	bad[3].offset_bytes = 100;
	bad[4].count = 0;
	bad[5].count = UINT64_MAX;
	bad[6].offset_bytes = UINT64_C(1) << 63;
	for (unsigned i = 0; i < 7; i++) {
		struct mutate_result r;
		struct errmsg why = {0};
		if (mutate_run(&bad[i], &r, &why) != -EINVAL || !why.text[0])
			fail_msg("options %u are accepted", i);
		mutate_result_free(&r);
	}
}

static void a_path_that_cannot_be_opened_is_named(void **unused)
{
	(void)unused;
	struct mutate_options o = options(MUTATE_STILL);
	struct mutate_result r;
	struct errmsg why = {0};
	o.path = "/nonexistent/file";
	assert_int_equal(mutate_run(&o, &r, &why), -ENOENT);
	assert_non_null(strstr(why.text, "/nonexistent/file"));
	mutate_result_free(&r);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_still_buffer_changes_in_no_write),
		TEST(stores_without_pause_change_the_buffer_in_flight),
		TEST(one_store_a_write_is_one_store_a_write),
		TEST(every_call_writes_the_blocks_where_they_belong),
		TEST(names_of_calls_are_read_back),
		TEST(every_engine_writes_what_was_in_its_buffers),
		TEST(one_store_comes_once_to_each_of_many_writes_in_flight),
		TEST(every_engine_reads_while_the_buffer_changes),
		TEST(a_failed_read_of_a_right_block_is_a_false_error),
		TEST(a_failed_read_of_a_bad_block_is_no_false_error),
		TEST(names_of_engines_are_read_back),
		TEST(an_engine_refuses_what_it_cannot_do),
		TEST(refused_writes_are_results_and_are_not_verified),
		TEST(a_write_that_cannot_succeed_ends_the_run),
		TEST(reading_back_finds_bytes_that_never_were),
		TEST(blocks_that_cannot_be_read_back_are_counted),
		TEST(options_without_sense_are_refused_with_a_reason),
		TEST(a_path_that_cannot_be_opened_is_named),
	};
	int fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	int failed = 77; /* skip */
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd >= 0) {
		close(fd);
		failed = cmocka_run_group_tests(tests, NULL, NULL);
	} else {
		fprintf(stderr, "skipped: no direct I/O in /var/tmp\n");
	}
	unlink(path);
	return failed;
}
