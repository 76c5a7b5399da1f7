/* SPDX-License-Identifier: MIT */
/* The words of -o that take no value of ours: flags of the kernel, switches, words for others, and
 * words that are refused. Tables; no state. */
#ifndef STABLEFS_CLI_MOUNT_WORDS_H
#define STABLEFS_CLI_MOUNT_WORDS_H

#include <stdbool.h>
#include <sys/mount.h>
#include "base/errmsg.h"
#include "cli/mount_options.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* Linux 5.10 */
#endif

/* One word, its value apart (NULL: none). 1: it was known, and taken. 0: not known. -EINVAL: it is
 * refused, or has a value and takes none, and @why says so. */
int mount_word_take(
	struct mount_options *o, const char *name, const char *value, struct errmsg *why);

/* The @n-th word that somebody may have meant; NULL behind the last. */
const char *mount_word_known(unsigned n);

#endif
