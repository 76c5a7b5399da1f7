/* SPDX-License-Identifier: MIT */
/* Times of inodes: nanoseconds since 1970 in 64 bits, which is 1677 to 2262; and when a read moves
 * one.
 * Owner thread: any; pure functions.
 * May use: nothing. Must not know: the database, who reads. */
#ifndef STABLEFS_FS_TIMES_H
#define STABLEFS_FS_TIMES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* What is out of range becomes the first or last time that is not, as the kernel does it. */
int64_t times_from(struct timespec ts);
struct timespec times_to(int64_t ns);

/* mount(8): relatime, strictatime, noatime. */
enum fs_atime {
	FS_ATIME_RELATIVE, /* when it is not younger than both others, and once a day */
	FS_ATIME_STRICT,   /* at each read */
	FS_ATIME_NEVER,
};

struct times {
	int64_t atime, mtime, ctime;
};

/* Does a read at @now move the atime? */
bool times_atime_is_due(enum fs_atime rule, const struct times *t, int64_t now);

#endif
