/* SPDX-License-Identifier: MIT */
/* An io_uring engine with a directory of its own, on disk and then on tmpfs. */
#ifndef STABLEFS_TESTS_URING_RIG_H
#define STABLEFS_TESTS_URING_RIG_H

#include <sys/stat.h>
#include "io/uring_internal.h"
#include "io/uring.h"
#include "io_rig.h"

struct rig {
	char dir[128];
	char path[160]; /* of a member */
	struct io_engine *io;
	struct io_file *file; /* the member, where opened */
};

static inline void rig_open(struct rig *rig, const char *parent, unsigned depth)
{
	struct errmsg why = {""};
	*rig = (struct rig){0};
	snprintf(rig->dir, sizeof(rig->dir), "%s/stablefs-io-XXXXXX", parent);
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/member", rig->dir);
	assert_int_equal(uring_engine_new(depth, &rig->io, &why), 0);
}

static inline void rig_make_member(struct rig *rig, uint64_t size_bytes)
{
	struct errmsg why = {""};
	int ret = io_open(rig->io, rig->path, IO_OPEN_CREATE, size_bytes, &rig->file, &why);
	if (ret < 0)
		fail_msg("%s", why.text);
}

static inline void rig_close(struct rig *rig)
{
	io_close(rig->file);
	io_engine_free(rig->io);
	unlink(rig->path);
	rmdir(rig->dir);
}

/* Run @body in a rig on each kind of file system. */
static inline void on_each_medium(unsigned depth, void (*body)(struct rig *rig))
{
	const char *tmp = getenv("TMPDIR");
	const char *parents[] = {tmp ? tmp : "/tmp", "/dev/shm"};
	for (unsigned i = 0; i < 2; i++) {
		struct rig rig;
		if (access(parents[i], W_OK) < 0)
			continue;
		rig_open(&rig, parents[i], depth);
		body(&rig);
		rig_close(&rig);
	}
}

/* The status that tells the runner "skipped", where the system has no io_uring; else 0. */
static inline int uring_missing(void)
{
	struct errmsg why = {""};
	struct io_engine *io = NULL;
	int ret = uring_engine_new(8, &io, &why);
	io_engine_free(io);
	if (ret == 0)
		return 0;
	fprintf(stderr, "skipped: %s\n", why.text);
	return ret == -EPERM || ret == -ENOSYS ? 77 : 1;
}

#endif
