/* SPDX-License-Identifier: MIT */
/* Requests that libfuse does not know, and what only the protocol says. */
#include "kernel_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "fake_fs.h"

#define OP_TMPFILE 51u
#define OP_STATX   52u

/* struct fuse_statx_in and the beginning of fuse_statx_out (protocol 7.39). */
struct statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};
struct statx_reply {
	uint64_t valid_sec;
	uint32_t valid_nsec, flags;
	uint64_t spare[2];
	struct statx stx; /* the same up to device numbers, but for stx_mnt_id and later */
};

static struct kernel_message *message;
static struct kernel_rig rig;

static int setup(void **unused)
{
	(void)unused;
	message = malloc(sizeof(*message));
	memset(&rig, 0, sizeof(rig));
	rig_start(&rig, RIG_OFFERS, NULL);
	return message ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	rig_end(&rig);
	free(message);
	return 0;
}

/* The open reply behind the entry of a file without a name. */
static struct fuse_open_out tmpfile_of(int flags, struct fuse_entry_out *entry)
{
	struct fuse_create_in in = {.flags = (uint32_t)flags, .mode = S_IFREG | 0640};
	struct fuse_open_out open;
	assert_int_equal(
		rig_call(&rig, OP_TMPFILE, FUSE_ROOT_ID, &in, sizeof(in), "/", 2, message), 0);
	assert_int_equal(message->head.len, sizeof(message->head) + sizeof(*entry) + sizeof(open));
	memcpy(entry, message->body, sizeof(*entry));
	memcpy(&open, message->body + sizeof(*entry), sizeof(open));
	return open;
}

static void a_file_without_a_name_is_made_and_open(void **unused)
{
	(void)unused;
	struct fuse_entry_out entry;
	struct fuse_open_out open = tmpfile_of(O_RDWR, &entry);
	assert_int_equal(entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(entry.attr.nlink, 0);
	assert_int_equal(entry.generation, FAKE_GENERATION);
	assert_int_equal(fake_fs_opens(rig.fs), 1);
	struct rig_file file = {.node = entry.nodeid, .fh = open.fh, .flags = O_RDWR};
	assert_int_equal(rig_write(&rig, &file, 0, "hello", 5), 0);
	rig_release(&rig, &file);
	assert_int_equal(rig.front.stats.requests[OP_TMPFILE], 1);
	assert_int_equal(rig.front.stats.requests[FUSE_CREATE], 0);
}

static void a_direct_file_without_a_name_takes_parallel_writes(void **unused)
{
	(void)unused;
	struct fuse_entry_out entry;
	struct fuse_open_out open = tmpfile_of(O_RDWR | O_DIRECT, &entry);
	assert_true(open.open_flags & FOPEN_DIRECT_IO);
	assert_true(open.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	struct rig_file file = {.node = entry.nodeid, .fh = open.fh, .flags = O_RDWR | O_DIRECT};
	rig_release(&rig, &file);
}

static void the_control_directory_takes_no_file_without_a_name(void **unused)
{
	(void)unused;
	struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0640};
	uint64_t control = rig_lookup(&rig, FUSE_ROOT_ID, FRONT_CONTROL_NAME);
	assert_int_equal(
		rig_call(&rig, OP_TMPFILE, control, &in, sizeof(in), "/", 2, message), -EPERM);
}

static const struct statx_reply *statx_of(uint64_t node)
{
	struct statx_in in = {.sx_mask = STATX_BASIC_STATS | STATX_BTIME};
	assert_int_equal(rig_call(&rig, OP_STATX, node, &in, sizeof(in), NULL, 0, message), 0);
	assert_int_equal(message->head.len, sizeof(message->head) + 288);
	return (const struct statx_reply *)message->body;
}

static void statx_tells_the_birth_time_and_what_getattr_tells(void **unused)
{
	(void)unused;
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	const struct statx_reply *r = statx_of(file.node);
	assert_int_equal(r->stx.stx_mask, STATX_BASIC_STATS | STATX_BTIME);
	assert_int_equal(r->stx.stx_btime.tv_sec, FAKE_BIRTH_S);
	assert_int_equal(r->stx.stx_btime.tv_nsec, file.node);
	assert_int_equal(r->stx.stx_ino, file.node);
	assert_int_equal(r->stx.stx_mode, S_IFREG | 0644);
	assert_int_equal(r->stx.stx_nlink, 1);
	assert_int_equal(r->stx.stx_uid, 1000);
	assert_true(r->valid_sec > 0);
	rig_release(&rig, &file);
}

static void control_files_have_no_birth_time(void **unused)
{
	(void)unused;
	const struct statx_reply *r = statx_of(rig_lookup(&rig, FUSE_ROOT_ID, FRONT_CONTROL_NAME));
	assert_int_equal(r->stx.stx_mask, STATX_BASIC_STATS);
	assert_int_equal(r->stx.stx_mode & S_IFMT, S_IFDIR);
	assert_int_equal(r->valid_sec, 0);
}

static void an_unknown_request_is_refused_and_the_next_one_served(void **unused)
{
	(void)unused;
	uint64_t body = 0;
	assert_int_equal(
		rig_call(&rig, 60, FUSE_ROOT_ID, &body, sizeof(body), NULL, 0, message), -ENOSYS);
	struct rig_file file = rig_create(&rig, "f", O_RDWR);
	rig_release(&rig, &file);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_without_a_name_is_made_and_open),
		TEST(a_direct_file_without_a_name_takes_parallel_writes),
		TEST(the_control_directory_takes_no_file_without_a_name),
		TEST(statx_tells_the_birth_time_and_what_getattr_tells),
		TEST(control_files_have_no_birth_time),
		TEST(an_unknown_request_is_refused_and_the_next_one_served),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
