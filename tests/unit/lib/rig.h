/* SPDX-License-Identifier: MIT */
/* A volume of member files in a temporary directory, opened through the public library. */
#ifndef STABLEFS_TESTS_LIB_RIG_H
#define STABLEFS_TESTS_LIB_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "stablefs/stablefs.h"

#define KIB UINT64_C(1024)
#define MIB UINT64_C(1048576)

#define TIME_LIMIT_S 120u

struct rig {
	char dir[64];
	struct stablefs *v;
	struct stablefs_file *f;
};

static inline void rig_open(struct rig *rig, enum stablefs_policy policy)
{
	struct stablefs_error why = {""};
	const char *paths[] = {rig->dir};
	struct stablefs_open_options o = {.policy = policy, .degraded = true};
	if (stablefs_open(paths, 1, &o, &rig->v, &why) < 0)
		fail_msg("open: %s", why.text);
	assert_int_equal(stablefs_file_open(rig->v, "/file", STABLEFS_CREATE, &rig->f), 0);
}

static inline struct rig *rig_new(struct stablefs_create_options create)
{
	struct stablefs_error why = {""};
	struct rig *rig = calloc(1, sizeof(*rig));
	alarm(TIME_LIMIT_S);
	strcpy(rig->dir, "/var/tmp/stablefs-lib.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	const char *paths[] = {rig->dir};
	create.size_bytes = 32 * MIB;
	if (stablefs_create(paths, 1, &create, &why) < 0)
		fail_msg("create: %s", why.text);
	rig_open(rig, STABLEFS_DEFAULT);
	return rig;
}

static inline struct rig *rig_raid5(void)
{
	struct stablefs_create_options create = STABLEFS_CREATE_DEFAULTS;
	return rig_new(create);
}

static inline void rig_close(struct rig *rig)
{
	assert_int_equal(stablefs_file_close(rig->f), 0);
	assert_int_equal(stablefs_close(rig->v), 0);
}

static inline void rig_free(struct rig *rig)
{
	rig_close(rig);
	for (unsigned i = 0; i < 16; i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/member-%u", rig->dir, i);
		unlink(path);
	}
	assert_int_equal(rmdir(rig->dir), 0);
	free(rig);
	alarm(0);
}

/* Whole pages of private memory. */
static inline uint8_t *rig_memory(size_t len, int with)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, with, len);
	return p;
}

static inline void rig_reads(struct rig *rig, const void *expected, size_t len, uint64_t offset)
{
	uint8_t *got = rig_memory(len, 0);
	assert_int_equal(stablefs_pread(rig->f, got, len, offset), len);
	assert_memory_equal(got, expected, len);
	munmap(got, len);
}

static inline struct stablefs_scrub_result rig_scrub(struct rig *rig)
{
	struct stablefs_scrub_result r;
	assert_int_equal(stablefs_scrub(rig->v, NULL, &r), 0);
	return r;
}

static inline struct stablefs_stats rig_stats(struct rig *rig)
{
	struct stablefs_stats s;
	stablefs_stats(rig->v, &s);
	return s;
}

/* The races are the experiment: the thread sanitizer need not tell. */
#define RACES_ON_PURPOSE __attribute__((no_sanitize("thread")))

/* A thread that counts up the first word of each page of a buffer, all the time. */
struct mutator {
	uint8_t *memory;
	size_t len;
	atomic_bool stop;
	atomic_uint rounds;
	pthread_t thread;
};

RACES_ON_PURPOSE static inline void *mutator_run(void *arg)
{
	struct mutator *m = arg;
	for (uint64_t n = 1; !atomic_load(&m->stop); n++) {
		for (size_t at = 0; at < m->len; at += 512)
			__atomic_store_n((uint64_t *)(m->memory + at), n, __ATOMIC_RELAXED);
		atomic_fetch_add(&m->rounds, 1);
	}
	return NULL;
}

static inline void mutator_start(struct mutator *m, uint8_t *memory, size_t len)
{
	*m = (struct mutator){.memory = memory, .len = len};
	assert_int_equal(pthread_create(&m->thread, NULL, mutator_run, m), 0);
	while (!atomic_load(&m->rounds))
		sched_yield();
}

static inline void mutator_stop(struct mutator *m)
{
	atomic_store(&m->stop, true);
	pthread_join(m->thread, NULL);
}

#endif
