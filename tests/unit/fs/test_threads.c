/* SPDX-License-Identifier: MIT */
/* Several threads on one file system with its engine and commit threads, on real members. */
#include "rig.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "io/uring.h"

#define THREADS 4u
#define ROUNDS  60u
#define SHARED  (64u * 1024)

struct worker {
	pthread_t thread;
	struct fs *fs;
	struct volume *volume;
	unsigned index;
	uint64_t dir, shared;
	struct random r;
	unsigned failed; /* line of the first failure */
};

#define CHECK(w, cond)                                                                             \
	do {                                                                                       \
		if (!(cond) && !(w)->failed)                                                       \
			(w)->failed = __LINE__;                                                    \
	} while (0)

static void own_file(struct worker *w, unsigned round)
{
	uint8_t data[30000], got[30000];
	char name[32];
	struct stat st;
	uint32_t len = 1 + random_below(&w->r, sizeof(data)), at = random_below(&w->r, 20000);
	snprintf(name, sizeof(name), "w%u-%u", w->index, round % 8);
	(void)fs_unlink(w->fs, w->dir, name);
	CHECK(w, fs_mknod(w->fs, w->dir, name, S_IFREG | 0600, 0, &rig_owner, &st) == 0);
	uint64_t ino = st.st_ino;
	random_fill(&w->r, data, len);
	CHECK(w, fs_write(w->fs, ino, at, data, len) == (ssize_t)len);
	CHECK(w, fs_read(w->fs, ino, at, got, sizeof(got)) == (ssize_t)len);
	CHECK(w, memcmp(got, data, len) == 0);
	if (round % 4 == 0)
		CHECK(w, fs_fsync(w->fs, ino, round % 8 == 0) == 0);
	if (round % 5 == 0) {
		st.st_size = at + len / 2;
		CHECK(w, fs_setattr(w->fs, ino, FS_SET_SIZE, &st, &st) == 0);
		CHECK(w, fs_read(w->fs, ino, at, got, sizeof(got)) == (ssize_t)(len / 2));
		CHECK(w, memcmp(got, data, len / 2) == 0);
	}
	fs_forget(w->fs, ino, 1);
}

/* Each thread has a byte of each group of THREADS in the shared file, and sees its own there. */
static void shared_file(struct worker *w, unsigned round)
{
	uint32_t slot = random_below(&w->r, SHARED / THREADS);
	uint32_t at = slot * THREADS + w->index;
	uint8_t value = (uint8_t)(1 + round % 255), got = 0;
	CHECK(w, fs_write(w->fs, w->shared, at, &value, 1) == 1);
	CHECK(w, fs_read(w->fs, w->shared, at, &got, 1) == 1);
	CHECK(w, got == value);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	for (unsigned i = 0; i < ROUNDS && !w->failed; i++) {
		own_file(w, i);
		for (unsigned k = 0; k < 8; k++)
			shared_file(w, i);
		if (i % 16 == w->index)
			CHECK(w, fs_sync(w->fs) == 0);
	}
	return NULL;
}

struct disks {
	char dir[64];
	struct volume_paths paths;
	struct volume *v;
	struct fs *fs;
};

static void disks_open(struct disks *d)
{
	struct errmsg why = {0};
	struct volume_open_options vo = {.factory = &uring_factory,
		.paths = d->paths.paths,
		.count = d->paths.count,
		.threaded = true};
	struct fs_options fo = {.commit_ns = UINT64_C(20000000)};
	if (volume_open(&vo, &d->v, &why) < 0 || fs_open(d->v, &fo, &d->fs, &why) < 0)
		fail_msg("open: %s", why.text);
}

static void disks_close(struct disks *d)
{
	assert_int_equal(fs_close(d->fs), 0);
	assert_int_equal(volume_close(d->v), 0);
}

static void disks_make(struct disks *d)
{
	struct errmsg why = {0};
	strcpy(d->dir, "/tmp/stablefs-test-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	char *args[] = {d->dir};
	struct volume_create_options create = {.level = RAID_RAID5,
		.members = 3,
		.size_bytes = 32 * MIB,
		.chunk_bytes = 65536,
		.pi = PI_T10};
	if (volume_create(&uring_factory, args, 1, &create, &why) < 0 ||
		volume_paths_find(args, 1, &d->paths, &why) < 0)
		fail_msg("create: %s", why.text);
	struct volume_open_options vo = {.factory = &uring_factory,
		.paths = d->paths.paths,
		.count = d->paths.count,
		.threaded = true};
	if (volume_open(&vo, &d->v, &why) < 0 || fs_format(d->v, 0, 0, &why) < 0)
		fail_msg("format: %s", why.text);
	assert_int_equal(volume_close(d->v), 0);
}

static void disks_remove(struct disks *d)
{
	for (unsigned i = 0; i < d->paths.count; i++)
		unlink(d->paths.paths[i]);
	rmdir(d->dir);
	volume_paths_free(&d->paths);
}

static void threads_do_not_disturb_each_other(void **unused)
{
	(void)unused;
	struct disks d = {0};
	struct worker w[THREADS];
	struct stat st;
	log_set_level(LOG_LEVEL_ERROR);
	disks_make(&d);
	disks_open(&d);
	assert_int_equal(
		fs_mknod(d.fs, FS_ROOT_INO, "shared", S_IFREG | 0600, 0, &rig_owner, &st), 0);
	uint64_t shared = st.st_ino;
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.fs = d.fs,
			.index = i,
			.dir = FS_ROOT_INO,
			.shared = shared,
			.r = {i + 77}};
		assert_int_equal(pthread_create(&w[i].thread, NULL, worker_main, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		if (w[i].failed)
			fail_msg("thread %u failed at line %u", i, w[i].failed);
	}
	static uint8_t before[SHARED], after[SHARED];
	assert_true(fs_read(d.fs, shared, 0, before, SHARED) > 0);
	disks_close(&d);
	disks_open(&d);
	assert_true(fs_read(d.fs, shared, 0, after, SHARED) > 0);
	assert_memory_equal(before, after, SHARED);
	assert_int_equal(fs_stats(d.fs).inodes, 2 + THREADS * 8);
	disks_close(&d);
	disks_remove(&d);
}

/* ---- atomic writes ---- */

#define ATOMIC_BYTES 8192u

static int atomic_write(struct worker *w, const void *data, uint32_t len)
{
	struct rig_atomic a;
	rig_atomic_start(&a, w->volume, w->fs, w->dir, 0, data, len);
	volume_wait(w->volume, &a.waiter);
	return a.waiter.err;
}

/* One reader among writers: each write is of one value, and each reading too. */
static void *atomic_main(void *arg)
{
	struct worker *w = arg;
	static const uint32_t lens[] = {ATOMIC_BYTES, 4096, 512};
	uint8_t data[ATOMIC_BYTES];
	for (unsigned i = 0; i < 3 * ROUNDS && !w->failed; i++) {
		uint32_t len = lens[w->shared % 3];
		memset(data, (int)(w->index * 64 + i % 64), sizeof(data));
		if (w->index == 0)
			CHECK(w, fs_read(w->fs, w->dir, 0, data, len) == (ssize_t)len);
		else
			CHECK(w, atomic_write(w, data, len) == 0);
		for (uint32_t k = 1; k < len; k++)
			CHECK(w, data[k] == data[0]);
	}
	return NULL;
}

static void a_reader_never_sees_two_atomic_writes_at_once(void **unused)
{
	(void)unused;
	static const uint8_t zeros[ATOMIC_BYTES];
	struct disks d = {0};
	struct worker w[THREADS];
	struct stat st;
	disks_make(&d);
	disks_open(&d);
	for (unsigned size = 0; size < 3; size++) {
		char name[2] = {(char)('a' + size), '\0'};
		assert_int_equal(
			fs_mknod(d.fs, FS_ROOT_INO, name, S_IFREG | 0600, 0, &rig_owner, &st), 0);
		assert_int_equal(fs_write(d.fs, st.st_ino, 0, zeros, sizeof(zeros)), sizeof(zeros));
		for (unsigned i = 0; i < THREADS; i++) {
			w[i] = (struct worker){.fs = d.fs,
				.volume = d.v,
				.index = i,
				.dir = st.st_ino,
				.shared = size};
			assert_int_equal(pthread_create(&w[i].thread, NULL, atomic_main, &w[i]), 0);
		}
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(w[i].thread, NULL);
		for (unsigned i = 0; i < THREADS; i++) {
			if (w[i].failed)
				fail_msg("thread %u failed at line %u", i, w[i].failed);
		}
	}
	disks_close(&d);
	disks_remove(&d);
}

static void the_commit_thread_commits_in_time(void **unused)
{
	(void)unused;
	struct disks d = {0};
	struct stat st;
	disks_make(&d);
	disks_open(&d);
	uint64_t commits = fs_stats(d.fs).commits;
	assert_int_equal(fs_mknod(d.fs, FS_ROOT_INO, "a", S_IFREG, 0, &rig_owner, &st), 0);
	for (unsigned i = 0; i < 1000 && fs_stats(d.fs).commits < commits + 2; i++)
		usleep(5000);
	assert_true(fs_stats(d.fs).commits >= commits + 2);
	disks_close(&d);
	disks_remove(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_do_not_disturb_each_other),
		cmocka_unit_test(a_reader_never_sees_two_atomic_writes_at_once),
		cmocka_unit_test(the_commit_thread_commits_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
