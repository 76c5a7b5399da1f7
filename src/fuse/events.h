/* SPDX-License-Identifier: MIT */
/* What front.h does not say of events: their completion, and their form as text.
 *
 * One line of events.jsonl is one object. Fields that are not known are left out:
 *	time	  "2025-01-31T12:00:00.123456789Z"
 *	event	  "mutation", "refused", "repaired", "unrepairable", "member_error", "dropped"
 *	pid tid uid comm call exe	  who wrote
 *	file ino offset length		  which bytes of which file
 *	first_changed changed_bytes	  bytes of the write that changed in flight
 *	blast	  "nobody", "writer", "strangers"
 *	strangers [{"file", "ino", "blocks"}]  files that own other blocks of the parity rows
 *	error	  "EILSEQ": what the caller got
 *	member member_block volume_block volume_blocks stripe what	where the damage is
 *	count	  of "dropped": events lost since the line before */
#ifndef STABLEFS_FUSE_EVENTS_H
#define STABLEFS_FUSE_EVENTS_H

#include "fuse/front.h"
#include "report/json.h"

/* Start completing events: names of files are looked up in @fs, owners of stripes by @volume's
 * geometry. @grown (may be NULL) is told each time the text has grown, on the thread for that. */
int events_start(struct front_events *e, struct fs *fs, struct volume *volume,
	void (*grown)(void *ctx, uint64_t size_bytes), void *ctx);

/* Complete what is in the ring, then stop. Accepts a sink that was not started. */
void events_stop(struct front_events *e);

/* event_json.c: the line of one event, without a newline. NULL: out of memory. @fs and @volume may
 * be NULL (nothing is looked up then). */
char *event_json(
	const struct event *event, struct fs *fs, struct volume *volume, size_t *len_bytes);

#endif
