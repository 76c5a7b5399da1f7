/* SPDX-License-Identifier: MIT */
/* The report of a scrub: what was found, on which member, and in which files. */
#ifndef STABLEFS_CLI_SCRUB_REPORT_H
#define STABLEFS_CLI_SCRUB_REPORT_H

#include <stdio.h>
#include "fs/fs.h"
#include "volume/volume.h"

struct scrub_report {
	struct volume *volume;
	struct fs *fs; /* NULL: no file is named; else by the names that they have now */
	const struct scrub_result *result;
	bool repair;
	uint64_t took_ns;
};

/* Write it as one JSON document. 0 or -errno. */
int scrub_report_write(const struct scrub_report *what, FILE *out);

#endif
