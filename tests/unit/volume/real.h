/* SPDX-License-Identifier: MIT */
/* A volume of real files, served by threads; beside rig.h's, which stand on simulated disks. */
#ifndef STABLEFS_TESTS_UNIT_VOLUME_REAL_H
#define STABLEFS_TESTS_UNIT_VOLUME_REAL_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/uring.h"
#include "rig.h"

struct real {
	char dir[64], spare[96]; /* spare: a file that a test may make; removed at the end */
	char *args[1];
	struct volume *v;
	struct volume_paths paths;
};

static inline struct real real_new(
	enum raid_level level, unsigned members, enum pi_type pi, enum super_write_hole write_hole)
{
	struct real r = {.dir = "/var/tmp/stablefs-test-XXXXXX"};
	struct volume_create_options options = rig_options(level, members, pi);
	struct errmsg why = {0};
	options.write_hole = write_hole;
	assert_non_null(mkdtemp(r.dir));
	snprintf(r.spare, sizeof(r.spare), "%s/spare", r.dir);
	r.args[0] = r.dir;
	if (volume_create(&uring_factory, r.args, 1, &options, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(volume_paths_find(r.args, 1, &r.paths, NULL), 0);
	assert_int_equal(r.paths.count, members);
	return r;
}

static inline void real_open(struct real *r)
{
	struct errmsg why = {0};
	struct volume_open_options options = {.factory = &uring_factory,
		.paths = r->paths.paths,
		.count = r->paths.count,
		.threaded = true};
	if (volume_open(&options, &r->v, &why) < 0)
		fail_msg("%s", why.text);
}

static inline void real_free(struct real *r)
{
	for (unsigned i = 0; i < r->paths.count; i++)
		unlink(r->paths.paths[i]);
	unlink(r->spare);
	rmdir(r->dir);
	volume_paths_free(&r->paths);
}

#endif
