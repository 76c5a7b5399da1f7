/* SPDX-License-Identifier: MIT */
/* The syncer: one sync for those that wait side by side, in files of their own. */
#include "fuse/syncer.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct rig {
	struct syncer *syncer;
	sem_t entered, go, done;
	unsigned syncs, full;
	uint64_t last_ino;
	int err;
};

struct job {
	struct sync_job job;
	struct rig *rig;
	int err;
};

static int sync_file(void *ctx, uint64_t ino, bool data_only)
{
	struct rig *rig = ctx;
	sem_post(&rig->entered);
	sem_wait(&rig->go);
	rig->syncs++;
	rig->full += !data_only;
	rig->last_ino = ino;
	return rig->err;
}

static void job_done(struct sync_job *job, int err)
{
	struct job *j = (struct job *)job;
	j->err = err;
	sem_post(&j->rig->done);
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){0};
	sem_init(&rig->entered, 0, 0);
	sem_init(&rig->go, 0, 0);
	sem_init(&rig->done, 0, 0);
	assert_int_equal(syncer_new(sync_file, rig, &rig->syncer), 0);
}

static void post(struct rig *rig, struct job *j, uint64_t ino, bool data_only)
{
	*j = (struct job){{.ino = ino, .data_only = data_only, .done = job_done}, rig, 1};
	syncer_post(rig->syncer, &j->job);
}

/* The one that is being synced may have begun before they were written. */
static void those_that_come_while_it_is_busy_share_the_next(void **unused)
{
	(void)unused;
	struct rig rig;
	struct job jobs[5];
	rig_init(&rig);
	post(&rig, &jobs[0], 7, true);
	sem_wait(&rig.entered);
	for (unsigned i = 1; i < 5; i++)
		post(&rig, &jobs[i], 7, i != 3);
	sem_post(&rig.go);
	sem_wait(&rig.entered);
	sem_post(&rig.go);
	for (unsigned i = 0; i < 5; i++)
		sem_wait(&rig.done);
	syncer_free(rig.syncer);
	assert_int_equal(rig.syncs, 2);
	assert_int_equal(rig.full, 1); /* one of them wanted all of it */
}

static void files_are_synced_one_by_one_and_hear_their_own_error(void **unused)
{
	(void)unused;
	struct rig rig;
	struct job jobs[3];
	rig_init(&rig);
	post(&rig, &jobs[0], 7, true);
	sem_wait(&rig.entered);
	post(&rig, &jobs[1], 8, true);
	post(&rig, &jobs[2], 9, true);
	sem_post(&rig.go);
	sem_wait(&rig.entered);
	assert_int_equal(rig.last_ino, 7);
	rig.err = -EIO;
	sem_post(&rig.go);
	sem_wait(&rig.entered);
	assert_int_equal(rig.last_ino, 8);
	rig.err = 0;
	sem_post(&rig.go);
	syncer_free(rig.syncer);
	assert_int_equal(jobs[0].err, 0);
	assert_int_equal(jobs[1].err, -EIO);
	assert_int_equal(jobs[2].err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_that_come_while_it_is_busy_share_the_next),
		cmocka_unit_test(files_are_synced_one_by_one_and_hear_their_own_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
