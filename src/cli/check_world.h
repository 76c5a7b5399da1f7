/* SPDX-License-Identifier: MIT */
/* The scratch folder of a check: a volume and a mount point, in a folder of their own. */
#ifndef STABLEFS_CLI_CHECK_WORLD_H
#define STABLEFS_CLI_CHECK_WORLD_H

#include <limits.h>
#include <stdbool.h>
#include "base/errmsg.h"
#include "cli/shape.h"

struct check_world {
	char dir[PATH_MAX], volume[PATH_MAX + 8], mountpoint[PATH_MAX + 8];
	struct volume_paths members; /* owned; none until the volume is made */
};

/* The folders, in @parent (NULL: TMPDIR, else /var/tmp). */
int check_world_new(struct check_world *w, const char *parent, struct errmsg *why);
int check_world_make_volume(struct check_world *w, struct shape *shape, struct errmsg *why);

/* Remove it, but for the volume where @keep. Nothing is mounted any more. 0, or -errno and what is
 * left behind. */
int check_world_free(struct check_world *w, bool keep, struct errmsg *why);

/* @words with each "{}" replaced by the mount point: NULL-terminated, the caller's
 * (check_words_free()). NULL: out of memory. */
char **check_words(char *const *words, const char *mountpoint);
void check_words_free(char **words); /* accepts NULL */

#endif
