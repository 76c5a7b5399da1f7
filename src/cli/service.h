/* SPDX-License-Identifier: MIT */
/* What can be asked of an open volume, answered as JSON: by the daemon through the control
 * directory's `query` file, and by the verbs themselves for a volume that is not mounted. One set
 * of answers serves both; the verbs print them as text or as they are. */
#ifndef STABLEFS_CLI_SERVICE_H
#define STABLEFS_CLI_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "fs/fs.h"
#include "volume/volume.h"

enum scrub_state { SCRUB_NONE, SCRUB_RUNNING, SCRUB_DONE };

struct service {
	struct volume *volume;  /* borrowed */
	struct fs *fs;          /* borrowed; NULL: the file system cannot be read, no names */
	const char *mountpoint; /* borrowed; NULL: not mounted */
	/* lock protects what follows; nothing else is taken while it is held. */
	pthread_mutex_t lock;
	enum scrub_state state;
	pthread_t scrubber;
	bool joinable, repair;
	uint64_t done, total;
	atomic_bool stop;
	char *report; /* owned: JSON of the last scrub */
	int scrub_err;
};

void service_init(struct service *s, struct volume *v, struct fs *fs, const char *mountpoint);
void service_end(struct service *s); /* stops a scrub that runs, and waits for it */

/* Answer one line ("status", "scrub", "scrub repair", "scrub status", "scrub stop", "inspect
 * super", "inspect stripe N", "inspect file PATH", "inspect shares PATH") with one JSON document.
 * Any thread but the engine's. 0 or -errno; then the document is {"error": "..."}. @ctx: a service.
 */
int service_query(void *ctx, const char *line, FILE *out);

/* The parts, for volumes that are not mounted. */
int service_scrub(struct service *s, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, FILE *out);

#endif
