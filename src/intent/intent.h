/* SPDX-License-Identifier: MIT */
/* The write-intent log: which regions of the array may be inconsistent after a crash.
 * Owner thread: the engine's.
 * Invariants: I1 a region is marked durably on every present member before the first write to one of
 *   its stripes reaches a member. I2 a mark is taken away only when no write of the region is under
 *   way and everything written in it has been flushed. I3 a clean volume has no marks.
 * May use: member, io, base. Must not know: parity, plans.
 *
 * On the member: a header block and a bitmap, one bit a region, in the intent area; all members hold
 * the same, and what counts after a crash is the union. docs/format.md fixes the bytes. */
#ifndef STABLEFS_INTENT_INTENT_H
#define STABLEFS_INTENT_INTENT_H

#include "base/list.h"
#include "member/member.h"

struct intent_log;

/* A waiter for a mark; embedded in the caller's operation. */
struct intent_wait {
	struct list_node node;
	uint64_t region;
	void (*marked)(struct intent_wait *wait, int err); /* engine thread */
};

/* Load the bitmaps of the present members (NULL entries are missing), as a union. Blocking, before
 * the engine thread starts. Damage in one member's bitmap is replaced by the others'; where all are
 * damaged, every region counts as marked. */
int intent_load(struct io_engine *io, struct member *const *members, unsigned count,
	struct intent_log **out, struct errmsg *why);
void intent_free(struct intent_log *log); /* accepts NULL */

/* Zeroed, unmarked: at volume creation. Blocking. */
int intent_format(struct member *m);

uint64_t intent_regions(const struct intent_log *log);
uint64_t intent_region_of(const struct intent_log *log, uint64_t member_block);
bool intent_is_marked(const struct intent_log *log, uint64_t region);
uint64_t intent_marked_count(const struct intent_log *log);

/* A write to wait->region begins: true where it may go on at once (marked durably already); else
 * wait->marked() runs later, once. In both cases the region counts as busy until
 * intent_write_ended(). */
bool intent_write_begin(struct intent_log *log, struct intent_wait *wait);
void intent_write_ended(struct intent_log *log, uint64_t region);

/* A flush of all members has completed that was started at @epoch: regions whose last write ended
 * before it are unmarked lazily. intent_epoch() gives the value to remember at the flush's start.
 * intent_idle_tick() writes out pending unmarks (call it now and then, and at close). */
uint64_t intent_epoch(struct intent_log *log);
void intent_flushed(struct intent_log *log, uint64_t epoch);
void intent_idle_tick(struct intent_log *log);

/* Blocking, after the last write and flush: clear all marks durably. 0 or -errno. */
int intent_clear_all(struct intent_log *log);

#endif
