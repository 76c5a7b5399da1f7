/* SPDX-License-Identifier: MIT */
/* The write-intent log: which regions of the array may be inconsistent after a crash, and which of
 * them a member that is away, or is being rebuilt, has not got up to date (stale).
 * Owner thread: the engine's.
 * Invariants: I1 a region is marked durably on every present member that takes writes, and on one
 *   at least, before the first write to one of its stripes reaches a member. I2 a mark is taken
 *   away only when no write of the region is under way and everything written in it has been
 *   flushed; a mark found at load stays until intent_region_synced() or intent_clear_all()
 *   besides. I3 a clean volume has no marks. I4 while stale regions are collected, a region is
 *   stale, durably, before the first write to one of its stripes reaches a member; it stays so,
 *   over clean ends too, until it is said to be current.
 * May use: member, io, base. Must not know: parity, plans.
 *
 * On the member: a header block and two bitmaps, one bit a region each, in the intent area; all
 * members hold the same, and what counts after a crash is the union of those that are up to date.
 * docs/format.md fixes the bytes. */
#ifndef STABLEFS_INTENT_INTENT_H
#define STABLEFS_INTENT_INTENT_H

#include "base/list.h"
#include "member/member.h"

struct intent_log;

#define INTENT_MAX_MEMBERS 16u

/* A waiter for a mark; embedded in the caller's operation. */
struct intent_wait {
	struct list_node node;
	uint64_t region;
	/* Engine thread, never from within intent_write_begin(). An error: no member took the
	 * mark. */
	void (*marked)(struct intent_wait *wait, int err);
};

/* Load the bitmaps of the members that are present and up to date (NULL: any other), as a union.
 * One that is present but out of date must not be among them, since its maps are old: it comes by
 * intent_set_member(). Blocking, before the engine thread starts. Damage in one member's bitmap is
 * replaced by the others'; where all are damaged, every region counts as marked; what is damaged is
 * written anew with the next mark. Where a superblock's stale_since is not 0, marks that are found
 * are stale too, and so is what is stale unknown; where it is 0, nothing is stale. Either way
 * nothing is collected until intent_stale_collect().
 * @count is at most INTENT_MAX_MEMBERS; members are borrowed. -EINVAL: no member is present. */
int intent_load(struct io_engine *io, struct member *const *members, unsigned count,
	struct intent_log **out, struct errmsg *why);
void intent_free(struct intent_log *log); /* accepts NULL; nothing under way */

/* Zeroed, unmarked: at volume creation. Blocking. */
int intent_format(struct member *m);

uint64_t intent_regions(const struct intent_log *log);
uint64_t intent_region_of(const struct intent_log *log, uint64_t member_block);
bool intent_is_marked(const struct intent_log *log, uint64_t region);
uint64_t intent_marked_count(const struct intent_log *log);

/* A member has gone (@m NULL) or come. One that comes gets the whole log at once, in the
 * background; until then the others' copies hold the marks. A member that goes must stay open
 * until the write under way has ended: intent_busy() says. Engine thread. */
void intent_set_member(struct intent_log *log, unsigned index, struct member *m);
bool intent_busy(const struct intent_log *log); /* a write of the log is under way */

/* Bit i: member i failed a write of the log since intent_load() or intent_set_member(). (That the
 * power is gone is no failure of a member.) */
uint32_t intent_failed_members(const struct intent_log *log);

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

/* The stripes of @region that the crash may have left inconsistent have been made consistent; the
 * mark found at load goes as if a write had ended now, after the next flush. */
void intent_region_synced(struct intent_log *log, uint64_t region);

/* ---- stale regions ---- */

/* From now on every region that is marked becomes stale with the same write of the log; those that
 * are marked now are at once (durable with the next round, which this starts). @all: every region
 * of the volume becomes stale (a new member is to be filled). Called again it only adds. */
void intent_stale_collect(struct intent_log *log, bool all);

/* Marks make no region stale any more: no member is missing (one may be under rebuild). */
void intent_stale_collect_end(struct intent_log *log);

/* No member is missing or under rebuild any more, and the superblocks say so (stale_since is 0,
 * durably): no region is stale, durable lazily; nothing is collected. */
void intent_stale_clear(struct intent_log *log);

bool intent_is_stale(const struct intent_log *log, uint64_t region);
uint64_t intent_stale_count(const struct intent_log *log);

/* Every member has @region up to date, flushed: no longer stale, durable lazily (with the next
 * round). Ignored while stale regions are collected. */
void intent_region_current(struct intent_log *log, uint64_t region);

/* Every mark and stale region that was asked for before the call is durable when @done runs, on the
 * engine thread, never from within the call. -EIO where no member took them. */
struct intent_sync {
	struct list_node node;
	void (*done)(struct intent_sync *sync, int err);
};
void intent_sync(struct intent_log *log, struct intent_sync *sync);

/* What the log has cost since it was loaded; any thread (relaxed counters). */
struct intent_stats {
	uint64_t rounds;        /* writes of the log, each to every member, with a flush */
	uint64_t waits;         /* writes that had to wait for a round */
	uint64_t written_bytes; /* of all members */
};
struct intent_stats intent_stats(const struct intent_log *log);

/* Blocking, after the last write and flush: clear all marks durably, those found at load
 * too; stale regions stay. 0 or -errno, where a member failed (its marks may remain). */
int intent_clear_all(struct intent_log *log);

#endif
