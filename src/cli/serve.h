/* SPDX-License-Identifier: MIT */
/* Serving a volume at a mount point, for the verbs that do it.
 *
 *	front_events_new -> volume_open -> fs_open -> front_run -> fs_close -> volume_close */
#ifndef STABLEFS_CLI_SERVE_H
#define STABLEFS_CLI_SERVE_H

#include "base/errmsg.h"
#include "fuse/front.h"
#include "volume/volume.h"

/* What is open while it serves; all borrowed. */
struct serve_world {
	struct front *front;
	struct fs *fs;
	struct volume *volume;
};

struct serve_config {
	/* How; fs, volume, events, ready, query and ctx are filled in here. */
	struct front_options front;
	const struct volume_paths *paths; /* borrowed */
	/* front.read_only: the files are not changed. The array is opened for writing all the same
	 * (an unclean end is settled, members are rebuilt), where that can be and this is not set:
	 * */
	bool no_recovery;
	uint64_t commit_ns; /* as struct fs_options has it */
	/* As struct volume_open_options has them. */
	bool degraded;
	uint64_t member_timeout_ns;
	unsigned max_errors;
	uint64_t background_rate;
	uint64_t cache_bytes;
	/* Scrub in the background at once, and again that long after each end; 0: not. */
	uint64_t scrub_every_ns;
	bool inject;              /* faults can be injected (stablefs-inject(1)) */
	const char *inject_first; /* armed before it serves: lines between ';'; may be NULL */
	/* A query "remount ..." (without that word); 0, or -errno and @why. Threads of queries,
	 * more than one at a time. NULL: it cannot be remounted. */
	int (*remount)(
		void *ctx, const struct serve_world *world, const char *line, struct errmsg *why);
	/* Once, when the mount serves; on the caller's thread. */
	void (*ready)(void *ctx);
	void *ctx;
};

/* The rules of access times that flags of mount(2) ask for. */
void serve_set_atime(struct fs *fs, unsigned long mount_flags);

/* Returns when the mount is gone, or what ends a front_run() has happened; then all is closed. 0,
 * or why it could not be served, or was not closed cleanly. */
int serve_volume(const struct serve_config *config, struct errmsg *why);

#endif
