/* SPDX-License-Identifier: MIT */
/* The report of a scrub: what was found, on which member, and in which files. */
#ifndef STABLEFS_CLI_SCRUB_REPORT_H
#define STABLEFS_CLI_SCRUB_REPORT_H

#include <stdio.h>
#include "fs/fs.h"
#include "volume/volume.h"

/* Write @result as one JSON document. @fs NULL: no file is named. 0 or -errno. */
int scrub_report_write(struct volume *v, struct fs *fs, const struct scrub_result *result,
	uint64_t took_ns, FILE *out);

#endif
