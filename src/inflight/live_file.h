/* SPDX-License-Identifier: MIT */
/* Which file a descriptor of another process is, remembered for a moment. Private to src/inflight.
 *
 * To ask costs several microseconds, and a program seldom gives a number to another file: so an
 * answer is used for LIVE_FILE_NS. What can follow from an old one is small: the writer must have
 * closed the file since, opened another one under its number, and write the same range of both at
 * the same time from different buffers. Any thread. */
#ifndef STABLEFS_INFLIGHT_LIVE_FILE_H
#define STABLEFS_INFLIGHT_LIVE_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/clock.h"
#include "inflight/live.h"
#include "inflight/live_procfs.h"

#define LIVE_FILES   256u
#define LIVE_FILE_NS (10 * NS_PER_MS)

struct live_file {
	pid_t tgid; /* 0: none */
	int fd;
	uint64_t asked_ns;
	uint64_t ino, dev; /* 0: the kernel does not say */
	unsigned flags;
};

struct live_files {
	pthread_mutex_t lock; /* protects slots; nothing is called under it */
	struct live_file slots[LIVE_FILES];
};

/* A descriptor of the process @tgid, of which @tid is a thread. */
struct live_file_question {
	pid_t tgid, tid;
	int fd;
	bool wants_position; /* then it is asked in any case */
};

/* 1: it is the file of @req, as far as can be told; 0: it is not; -errno of procfs. @info: pos only
 * where it was wanted. */
int live_file_ask(struct live_files *files, const struct live_file_question *q,
	const struct live_request *req, struct procfs_fd *info);

#endif
