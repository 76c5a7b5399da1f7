/* SPDX-License-Identifier: MIT */
/* What can be asked of an open volume, answered as JSON: by the daemon through the control
 * directory's `query` file, and by the verbs themselves for a volume that is not mounted. One set
 * of answers serves both; the verbs print them as text or as they are.
 *
 *	status				the volume, its members, its background work
 *	inspect super | stripe N | file PATH | shares PATH
 *	scrub [repair] [every NS]	begin one in the background; "every": again that long after
 *					each end
 *	scrub status | stop		all three: {"state", "done", "total", "report", "error"}
 *	fail INDEX			{"done": true}, as all that follow
 *	replace INDEX [force] [PATH]	absolute; without: a spare, or where the member was
 *	add [force] PATH		a spare
 *	work pause|resume KIND		resync, rebuild, scrub, all
 *	work rate KIND BYTES		a second, of each member; 0: none but fairness */
#ifndef STABLEFS_CLI_SERVICE_H
#define STABLEFS_CLI_SERVICE_H

#include <stdio.h>
#include "fs/fs.h"
#include "volume/volume.h"

struct service {
	struct volume *volume;  /* borrowed */
	struct fs *fs;          /* borrowed; NULL: the file system cannot be read, no names */
	const char *mountpoint; /* borrowed; NULL: not mounted */
};

/* Answer one line with one JSON document. Any thread but the engine's. 0 or -errno; then the
 * document is {"error": "..."}. @ctx: a service. */
int service_query(void *ctx, const char *line, FILE *out);

/* The document of a question that failed. */
void service_write_error(FILE *out, int err, const struct errmsg *why);

/* Scrub a volume that is not mounted, and write the report. Blocking. */
int service_scrub(struct service *s, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, FILE *out);

#endif
