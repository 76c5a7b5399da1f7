/* SPDX-License-Identifier: MIT */
/* Serving a volume at a mount point, for the verbs that do it.
 *
 *	front_events_new -> volume_open -> fs_open -> front_run -> fs_close -> volume_close */
#ifndef STABLEFS_CLI_SERVE_H
#define STABLEFS_CLI_SERVE_H

#include "base/errmsg.h"
#include "fuse/front.h"
#include "volume/volume.h"

struct serve_config {
	/* How; fs, volume, events, ready, query, stopping and ctx are filled in here. */
	struct front_options front;
	const struct volume_paths *paths; /* borrowed */
	bool degraded;                    /* leave members out that are out of date */
	/* Once, when the mount serves; on the caller's thread. */
	void (*ready)(void *ctx);
	void *ctx;
};

/* Returns when the mount is gone, or what ends a front_run() has happened; then all is closed. 0,
 * or why it could not be served, or was not closed cleanly. */
int serve_volume(const struct serve_config *config, struct errmsg *why);

#endif
