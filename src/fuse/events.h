/* SPDX-License-Identifier: MIT */
/* What front.h does not say of events: their completion, and their form as text.
 *
 * One line of events.jsonl is one object. Fields that are not known are left out:
 *	time	  "2025-01-31T12:00:00.123456789Z"
 *	event	  "mutation", "read_mutation", "refused", "repaired", "unrepairable",
 *		  "member_error", "member_state", "dropped"
 *	pid tid uid comm call exe	  who wrote (or read), and by which way in
 *	file ino offset length		  which bytes of which file: of damage the damaged ones,
 *					  whoever asked for them
 *	more_files [{"file", "ino", "offset", "length"}]  the same, where more were damaged at once
 *	first_changed changed_bytes	  bytes of the write that changed in flight (of a read:
 *					  the first byte of a block that changed)
 *	policy	  that the direct I/O was under
 *	blast	  "nobody", "writer", "strangers": who loses by a mutation (event_blast.h)
 *	strangers [{"file", "ino", "blocks"}]  files that own other blocks of the parity rows
 *	error	  "EILSEQ": what the caller got
 *	what	  of a mutation: what became of the write, "stored", "verified", "copy stored",
 *		  "redone", "rejected", "refused", "failed" (base/event.h); of damage: "guard",
 *		  "ref tag", "read error", ...; of a member_state what has become of the member
 *	member member_block volume_block volume_blocks stripe	where it is
 *	area_page  instead: the 4 KiB page of the member's system area; "what" says of which part
 *	count	  of "dropped": events lost. With pid: mutation events of that process above the
 *		  rate limit (pid 0: of processes too many to tell apart). Without: the ring was
 *		  full, since the line before */
#ifndef STABLEFS_FUSE_EVENTS_H
#define STABLEFS_FUSE_EVENTS_H

#include "fuse/front.h"
#include "inflight/process.h"
#include "report/json.h"

/* Where names are looked up, all borrowed; what is NULL is not asked. */
struct events_world {
	struct fs *fs;               /* names of files, owners of blocks */
	struct volume *volume;       /* which stripes */
	struct processes *processes; /* programs; and who was warned of */
};

struct events_config {
	struct events_world world;
	unsigned rate; /* mutation events a second for each process; 0: FRONT_EVENT_RATE */
	/* The text has grown; on the thread that completes events. May be NULL. */
	void (*grown)(void *ctx, uint64_t size_bytes);
	void *ctx;
};

/* Start completing events: each becomes a line, and the first mutation of each process a warning
 * in the log. What was emitted before counts against the default rate. 0 or -errno. */
int events_start(struct front_events *e, const struct events_config *config);

/* From now on; any thread, while it is started. */
void events_set_rate(struct front_events *e, unsigned rate);

/* Complete what is in the ring and say what was dropped, then stop. Accepts a sink that was not
 * started. */
void events_stop(struct front_events *e);

/* event_json.c: the line of one event, without a newline. NULL: out of memory. */
char *event_json(const struct event *event, const struct events_world *world, size_t *len_bytes);
char *event_json_dropped(pid_t pid, uint64_t count, size_t *len_bytes); /* pid -1: no pid */

/* event_warn.c: what the log says of a process's first mutation, as one line: who, which file,
 * under which policy, and what it means. NULL: out of memory. */
char *event_warning(const struct event *event, const struct events_world *world);

#endif
