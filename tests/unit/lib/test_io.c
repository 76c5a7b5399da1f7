/* SPDX-License-Identifier: MIT */
/* Transfers of the library: every form of completion, every policy with a still buffer, and what is
 * refused. */
#include "unit/lib/rig.h"

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 7 + i / 251);
}

static void every_policy_stores_what_a_still_buffer_holds(void **unused)
{
	static const size_t lens[] = {4096, 65536, 3 * MIB + 4096};
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(4 * MIB, 0);
	for (unsigned policy = STABLEFS_BOUNCE; policy < STABLEFS_POLICY_COUNT; policy++) {
		for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			fill(p, lens[i], policy * 10 + i);
			assert_int_equal(
				stablefs_pwrite(rig->f, p, lens[i], i * 4096, policy), lens[i]);
			rig_reads(rig, p, lens[i], i * 4096);
		}
	}
	struct stablefs_stats s = rig_stats(rig);
	assert_int_equal(s.changed + s.redone + s.refused + s.failed + s.cow_bounced, 0);
	assert_int_equal(s.cow_held, 3);
	assert_int_equal(rig_scrub(rig).damage, 0);
	munmap(p, 4 * MIB);
	rig_free(rig);
}

static void what_was_written_is_there_after_closing(void **unused)
{
	(void)unused;
	uint64_t size = 0;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(65536, 0);
	fill(p, 65536, 3);
	assert_int_equal(stablefs_pwrite(rig->f, p, 65536, 4096, STABLEFS_ZEROCOPY), 65536);
	rig_close(rig);
	rig_open(rig, STABLEFS_DEFAULT);
	rig_reads(rig, p, 65536, 4096);
	assert_int_equal(stablefs_file_size(rig->f, &size), 0);
	assert_int_equal(size, 69632);
	assert_int_equal(stablefs_pread(rig->f, p, 65536, 65536), 4096);
	munmap(p, 65536);
	rig_free(rig);
}

/* Badly aligned in memory, in the file, in length: the rules of stablefs_write(). */
static void unaligned_writes_are_copied_or_refused(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(16384, 0);
	fill(p, 16384, 9);
	for (unsigned policy = STABLEFS_BOUNCE; policy < STABLEFS_POLICY_COUNT; policy++) {
		bool copies = policy == STABLEFS_BOUNCE || policy == STABLEFS_DETECT;
		assert_int_equal(
			stablefs_pwrite(rig->f, p, 100, 1, policy), copies ? 100 : -EINVAL);
		struct stablefs_io io = {.file = rig->f,
			.offset = 512,
			.buffer = p + 3,
			.len = 8192 + 1024,
			.policy = policy};
		assert_int_equal(stablefs_write(&io), 0);
		assert_int_equal(stablefs_wait(&io), io.len);
		assert_int_equal(io.happened, STABLEFS_COPIED);
		rig_reads(rig, p + 3, io.len, 512);
	}
	struct stablefs_stats s = rig_stats(rig);
	assert_int_equal(s.cow_bounced, 1);
	munmap(p, 16384);
	rig_free(rig);
}

static void nonsense_is_refused_at_submission(void **unused)
{
	(void)unused;
	struct stablefs_error why = {""};
	enum stablefs_policy policy;
	uint8_t *p = rig_memory(4096, 0);
	struct rig *rig = rig_raid5();
	struct stablefs_io io = {.file = rig->f, .buffer = p, .len = 4096};
	io.policy = STABLEFS_POLICY_COUNT;
	assert_int_equal(stablefs_write(&io), -EINVAL);
	io.policy = STABLEFS_BOUNCE;
	io.flags = 64;
	assert_int_equal(stablefs_write(&io), -EINVAL);
	io.flags = 0;
	io.len = 0;
	assert_int_equal(stablefs_write(&io), -EINVAL);
	assert_int_equal(stablefs_read(&io), -EINVAL);
	assert_int_equal(stablefs_policy_parse("refuse", &policy, &why), -EINVAL);
	assert_non_null(strstr(why.text, "for mounts"));
	assert_int_equal(stablefs_policy_parse("cow", &policy, &why), 0);
	assert_int_equal(policy, STABLEFS_COW);
	assert_int_equal(stablefs_close(rig->v), -EBUSY);
	munmap(p, 4096);
	rig_free(rig);
}

static void trusted_writes_are_not_copied_and_are_counted(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(8192, 't');
	struct stablefs_io io = {.file = rig->f,
		.buffer = p,
		.len = 8192,
		.policy = STABLEFS_DETECT,
		.flags = STABLEFS_TRUSTED};
	assert_int_equal(stablefs_write(&io), 0);
	assert_int_equal(stablefs_wait(&io), 8192);
	struct stablefs_stats s = rig_stats(rig);
	assert_int_equal(io.happened, 0);
	assert_int_equal(s.trusted, 1);
	assert_int_equal(s.copied_bytes, 0);
	assert_int_equal(s.by_policy[STABLEFS_DETECT], 1);
	munmap(p, 8192);
	rig_free(rig);
}

#define DEPTH 32u

static void many_transfers_are_reaped_each_once(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	struct stablefs_io ios[DEPTH] = {0}, *done[DEPTH];
	uint8_t *p = rig_memory(DEPTH * 4096, 'r');
	unsigned reaped = 0, seen = 0;
	for (unsigned i = 0; i < DEPTH; i++) {
		ios[i] = (struct stablefs_io){.file = rig->f,
			.offset = i * 4096,
			.buffer = p + i * 4096,
			.len = 4096,
			.user = &ios[i]};
		assert_int_equal(stablefs_write(&ios[i]), 0);
	}
	assert_int_equal(stablefs_wait(&ios[7]), 4096);
	while (reaped < DEPTH - 1) {
		int n = stablefs_reap(rig->v, done, DEPTH, -1);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			assert_int_equal(done[i]->result, 4096);
			assert_ptr_equal(done[i]->user, done[i]);
			seen += done[i] == &ios[7];
		}
		reaped += (unsigned)n;
	}
	assert_int_equal(seen, 0);
	assert_int_equal(stablefs_reap(rig->v, done, DEPTH, 5), 0);
	munmap(p, DEPTH * 4096);
	rig_free(rig);
}

struct chain {
	atomic_uint left;
	atomic_int errors;
};

/* Each callback submits the next write: into new space, which has to be allocated. */
static void next_link(struct stablefs_io *io)
{
	struct chain *c = io->user;
	if (io->result != (int64_t)io->len)
		atomic_fetch_add(&c->errors, 1);
	if (atomic_fetch_sub(&c->left, 1) == 1)
		return;
	io->offset += io->len;
	if (stablefs_write(io) < 0)
		atomic_fetch_add(&c->errors, 1);
}

static void a_callback_may_submit_the_next_write(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	struct chain c = {200, 0};
	uint8_t *p = rig_memory(12288, 'c');
	struct stablefs_io io = {
		.file = rig->f, .buffer = p, .len = 12288, .done = next_link, .user = &c};
	assert_int_equal(stablefs_write(&io), 0);
	while (atomic_load(&c.left))
		usleep(1000);
	assert_int_equal(c.errors, 0);
	rig_reads(rig, p, 12288, 199 * 12288);
	munmap(p, 12288);
	rig_free(rig);
}

static void a_full_volume_says_so(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(4 * MIB, 'f');
	int64_t got = 4 * MIB;
	for (uint64_t at = 0; got == 4 * MIB && at < 64 * MIB; at += 4 * MIB)
		got = stablefs_pwrite(rig->f, p, 4 * MIB, at, STABLEFS_COW);
	assert_int_equal(got, -ENOSPC);
	assert_int_equal(rig_scrub(rig).damage, 0);
	munmap(p, 4 * MIB);
	rig_free(rig);
}

static void a_read_only_volume_takes_no_write(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	uint8_t *p = rig_memory(4096, 'x');
	struct stablefs_open_options o = {.read_only = true};
	const char *paths[] = {rig->dir};
	assert_int_equal(stablefs_pwrite(rig->f, p, 4096, 0, STABLEFS_DEFAULT), 4096);
	rig_close(rig);
	assert_int_equal(stablefs_open(paths, 1, &o, &rig->v, NULL), 0);
	assert_int_equal(stablefs_file_open(rig->v, "/new", STABLEFS_CREATE, &rig->f), -EROFS);
	assert_int_equal(stablefs_file_open(rig->v, "/file", 0, &rig->f), 0);
	assert_int_equal(stablefs_pwrite(rig->f, p, 4096, 0, STABLEFS_DEFAULT), -EROFS);
	rig_reads(rig, p, 4096, 0);
	munmap(p, 4096);
	rig_free(rig);
}

static void files_have_names(void **unused)
{
	(void)unused;
	struct rig *rig = rig_raid5();
	struct stablefs_file *f;
	assert_int_equal(stablefs_mkdir(rig->v, "/d"), 0);
	assert_int_equal(stablefs_file_open(rig->v, "/d/x", 0, &f), -ENOENT);
	assert_int_equal(stablefs_file_open(rig->v, "/d", 0, &f), -EISDIR);
	assert_int_equal(stablefs_file_open(rig->v, "relative", STABLEFS_CREATE, &f), -EINVAL);
	assert_int_equal(
		stablefs_file_open(rig->v, "/d/x", STABLEFS_CREATE | STABLEFS_EXCL, &f), 0);
	assert_int_equal(stablefs_pwrite(f, "text", 4, 0, STABLEFS_BOUNCE), 4);
	assert_int_equal(stablefs_file_resize(f, 2), 0);
	assert_int_equal(stablefs_file_sync(f), 0);
	assert_int_equal(stablefs_file_close(f), 0);
	assert_int_equal(
		stablefs_file_open(rig->v, "/d/x", STABLEFS_CREATE | STABLEFS_EXCL, &f), -EEXIST);
	assert_int_equal(stablefs_unlink(rig->v, "/d/x"), 0);
	assert_int_equal(stablefs_file_open(rig->v, "/d/x", 0, &f), -ENOENT);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_stores_what_a_still_buffer_holds),
		cmocka_unit_test(what_was_written_is_there_after_closing),
		cmocka_unit_test(unaligned_writes_are_copied_or_refused),
		cmocka_unit_test(nonsense_is_refused_at_submission),
		cmocka_unit_test(trusted_writes_are_not_copied_and_are_counted),
		cmocka_unit_test(many_transfers_are_reaped_each_once),
		cmocka_unit_test(a_callback_may_submit_the_next_write),
		cmocka_unit_test(a_full_volume_says_so),
		cmocka_unit_test(a_read_only_volume_takes_no_write),
		cmocka_unit_test(files_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
