/* SPDX-License-Identifier: MIT */
/* Which mount of ours a path lies in, from /proc/self/mountinfo (proc(5)). */
#ifndef STABLEFS_CLI_MOUNTS_H
#define STABLEFS_CLI_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define MOUNTS_MAX 64u

/* Mount points, each once, in order of their finding. */
struct mounts {
	char *paths[MOUNTS_MAX]; /* owned */
	unsigned count;
};
void mounts_free(struct mounts *m);

/* 0, -ENOSPC (too many), -ENOMEM. */
int mounts_add(struct mounts *m, const char *mountpoint);

/* The mount point that an absolute path without links lies in, into @out (@room bytes). True where
 * that is a stablefs. @mountinfo: read to its end. */
bool mounts_find(FILE *mountinfo, const char *path, char *out, size_t room);

/* All mounts of FUSE, ours and others, as far as there is room. Nobody is asked. */
void mounts_add_fuse(struct mounts *m);

/* The options of the topmost mount at @point, as the kernel lists them: the file system's, then the
 * mount's. NULL: nothing is mounted there. The caller's, free(). */
char *mounts_options(const char *point);

/* The stablefs that @path lies in, or would lie in: of what is not there the parent counts. Adds it
 * where there is one. 0 or the errors of mounts_add(). */
int mounts_add_of(struct mounts *m, const char *path);

/* The same for the words of a command: each that has a slash, and what follows a '=' in one. */
int mounts_add_of_words(struct mounts *m, char *const *words);

#endif
