/* SPDX-License-Identifier: MIT */
/* A line on stderr that says how far long work has come: redrawn on a terminal, else a line every
 * five seconds; nothing for work that ends within half a second. */
#ifndef STABLEFS_CLI_PROGRESS_H
#define STABLEFS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "scrub" */
	uint64_t started_ns, shown_ns;
	bool shown;
};

/* @ctx is a struct progress, zeroed but for what. */
void progress_step(void *ctx, uint64_t done, uint64_t total);
void progress_end(struct progress *p); /* leaves the terminal's line empty */

#endif
