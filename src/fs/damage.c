/* SPDX-License-Identifier: MIT */
/* A line a finding, within a rate: a damaged directory that is listed again and again must not fill
 * a disk. */
#include "fs/damage.h"

#include <errno.h>
#include "base/clock.h"
#include "base/log.h"

/* False: enough was said in this window. */
static bool admit(struct damage_log *log)
{
	uint64_t now = clock_monotonic_ns() / NS_PER_S / DAMAGE_WINDOW_S + 1;
	uint64_t before = atomic_exchange(&log->window, now);
	if (before != now) {
		uint64_t unsaid = atomic_exchange(&log->unsaid, 0);
		atomic_store(&log->said, 0);
		if (unsaid)
			log_error("the database is damaged: %llu more findings were not listed",
				(unsigned long long)unsaid);
	}
	if (atomic_fetch_add(&log->said, 1) < DAMAGE_LINES)
		return true;
	atomic_fetch_add(&log->unsaid, 1);
	return false;
}

int damage_say(struct damage_log *log, uint64_t ino, const char *what)
{
	if (!admit(log))
		return -EUCLEAN;
	if (ino)
		log_error("inode %llu is damaged in the database (%s): see stablefs fsck",
			(unsigned long long)ino, what);
	else
		log_error("the database is damaged (%s): see stablefs fsck", what);
	return -EUCLEAN;
}
