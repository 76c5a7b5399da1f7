/* SPDX-License-Identifier: MIT */
/* What -o says: of the verb mount, of the helper that mount(8) runs, and of a remount.
 *
 * Nothing is done here; a list is taken apart and checked. Words of mount(8) that concern others
 * (auto, nofail, _netdev, x-systemd...) are taken and mean nothing; what ext4 has and we have not
 * (quotas, contexts) is refused by its name. The last of several words on one thing counts. A value
 * may stand in double quotes, as libmount has it, or have its commas as "\,". */
#ifndef STABLEFS_CLI_MOUNT_OPTIONS_H
#define STABLEFS_CLI_MOUNT_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"
#include "inflight/policy.h"

#define MOUNT_SUBTYPE         "stablefs"
#define MOUNT_CACHE_BY_MEMORY UINT64_MAX

struct mount_options {
	/* A remount may change these. */
	bool read_only;
	unsigned long flags; /* MS_* of mount(2), without MS_RDONLY */
	enum dio_policy dio;
	bool dio_weaken;
	unsigned event_rate; /* 0: the default, as below */
	uint64_t hold_ns;
	unsigned dio_align;
	uint64_t commit_ns;
	uint64_t background_rate;
	/* These stay as they are for the life of a mount. */
	bool allow_other, write_through, exact_times, awake, degraded, no_recovery, inject;
	unsigned workers, max_errors;
	uint64_t cache_bytes; /* MOUNT_CACHE_BY_MEMORY: not said */
	uint64_t member_timeout_ns, scrub_every_ns;
	char fsname[PATH_MAX]; /* "": not said */
	char subtype[64];      /* "": the type is plain "fuse" */
	char inject_first[4096];
	/* Of the list itself. */
	bool sloppy;           /* set by the caller: words that nobody knows are taken, too */
	bool remount;          /* the word was there */
	bool unsafe;           /* dev or suid were asked for */
	char kernels_word[64]; /* one that only the kernel's own list has; "": none */
};

/* As they are where nothing is said, by root (@root) or by somebody else: those get nodev and
 * nosuid, and have the mount for themselves. */
void mount_options_init(struct mount_options *o, bool root);

/* Add what @list says. -EINVAL and @why, which names the word. */
int mount_options_parse(struct mount_options *o, const char *list, struct errmsg *why);

/* All lists were taken: is it something that may be asked? -EPERM: by root alone; -EINVAL. */
int mount_options_check(const struct mount_options *o, bool root, struct errmsg *why);

/* The name of the first option in which @b differs from @a and which a remount cannot change;
 * NULL: there is none. */
const char *mount_options_fixed(const struct mount_options *a, const struct mount_options *b);

/* The known word that is most like @word, where one is like it at all; else NULL. */
const char *mount_options_nearest(const char *word);

#endif
