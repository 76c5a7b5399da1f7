/* SPDX-License-Identifier: MIT */
/* Whether memory of another process lies in mappings of files of our mount. Private to
 * src/inflight.
 *
 * To read such memory can mean to page it in, which asks us, and we would be waiting. Asking about
 * mappings pages nothing in. From Linux 6.11 on each mapping is looked up by address (PROCMAP_QUERY
 * of linux/fs.h); before, the text of /proc/TID/maps (proc(5)) is read up to the highest piece.
 * An answer is as old as the question: a mapping may be replaced at any time.
 *
 * Only mappings that name the mount itself are told. One that reaches it by a detour (a file of an
 * overlay or of another FUSE mount above it, or of a file system on a loop device) is not. */
#ifndef STABLEFS_INFLIGHT_LIVE_MAPS_H
#define STABLEFS_INFLIGHT_LIVE_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What is asked: does any byte of the pieces lie in a mapping of a file of @dev (st_dev)? 0: the
 * device is unknown; then every file counts whose file system has no block device, such as FUSE's,
 * but shared memory is one of them, too. Anonymous private memory never counts. */
struct live_maps_question {
	const struct iovec *pieces; /* in the other process; in any order, absurd ones included */
	unsigned count;
	uint64_t dev;
};

/* 1: yes, 0: no (also where nothing is mapped), or -errno: -ENOENT or -ESRCH (no such thread, or it
 * has given up its memory), -EACCES or -EPERM, -E2BIG (only before 6.11: more than a million
 * mappings). */
int live_maps_ask(pid_t tid, const struct live_maps_question *q);

struct live_mapping {
	uint64_t begin, end; /* [begin, end) */
	uint64_t dev;        /* of its file; 0: no file */
	uint64_t ino;        /* of its file */
	uint64_t offset;     /* where in the file it begins */
	bool executable;
};

/* The mapping that holds @addr, by query. -ENOENT: none does. */
int live_maps_at(int fd, uint64_t addr, struct live_mapping *out);

/* The two ways; live_maps_ask() chooses. @fd: of /proc/TID/maps, at its beginning. By query:
 * -ENOTTY where the kernel is too old. */
int live_maps_query(int fd, const struct live_maps_question *q);
int live_maps_scan(int fd, const struct live_maps_question *q);

#endif
