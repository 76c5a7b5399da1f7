/* SPDX-License-Identifier: MIT */
/* Damage in the database, said to people: a line a finding, but no more than a few a second. */
#ifndef STABLEFS_FS_DAMAGE_H
#define STABLEFS_FS_DAMAGE_H

#include <stdatomic.h>
#include <stdint.h>

/* Zeroed at first. Any thread. */
struct damage_log {
	atomic_uint_fast64_t window; /* seconds since the system began / DAMAGE_WINDOW_S */
	atomic_uint_fast64_t said, unsaid;
};

#define DAMAGE_WINDOW_S 10u
#define DAMAGE_LINES    10u /* in a window */

/* -EUCLEAN. @ino 0: no inode is known. @what names a column, or is a sentence. */
int damage_say(struct damage_log *log, uint64_t ino, const char *what);

#endif
