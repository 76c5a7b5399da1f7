/* SPDX-License-Identifier: MIT */
/* Progress of long work. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"

void progress_step(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	bool tty = isatty(STDERR_FILENO);
	uint64_t now = clock_monotonic_ns();
	if (!p->started_ns)
		p->started_ns = p->shown_ns = now;
	if (now - p->started_ns < NS_PER_S / 2 ||
		now - p->shown_ns < (tty ? NS_PER_S / 10 : 5 * NS_PER_S))
		return;
	p->shown_ns = now;
	p->shown = true;
	unsigned percent = total ? (unsigned)(100 * (double)done / (double)total) : 0;
	fprintf(stderr, "%s%s: %u %% (%" PRIu64 " of %" PRIu64 ")%s", tty ? "\r\033[K" : "",
		p->what, percent, done, total, tty ? "" : "\n");
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}
