/* SPDX-License-Identifier: MIT */
/* What the files of this module share. Owner thread: the engine's. Nobody outside src/intent
 * includes it. */
#ifndef STABLEFS_INTENT_INTERNAL_H
#define STABLEFS_INTENT_INTERNAL_H

#include <stdatomic.h>
#include "intent/intent.h"
#include "intent/intent_disk.h"

struct intent_region {
	struct list_node node; /* on log->ended: marked, idle, perhaps not yet flushed */
	uint64_t ended_epoch;  /* when its last write ended */
	uint32_t busy;         /* writes between begin and ended */
};

struct intent_member {
	struct intent_log *log;
	struct member *member;     /* borrowed; NULL: missing */
	struct member *written_to; /* by the round under way */
	bool outdated;             /* what it holds is not the image: write all of it */
	bool fresh;                /* came since the last round began */
	bool failed;
	struct io_req io;
	struct iovec iov;
};

/* A bitmap as three sets of regions, words of 64 bits, whole sectors:
 *	wanted	 what it must say. Marks: busy, written and not yet flushed, or found at load
 *	sent	 what the image says, that is what the newest round wrote or writes
 *	durable	 what is known to be on the members
 * A removal is pending where durable has a region and wanted has not. */
struct intent_map {
	uint64_t *wanted, *sent, *durable; /* owned */
};

struct intent_log {
	struct io_engine *io; /* borrowed */
	struct super super;   /* of a member: volume UUID, regions, place of the area */
	uint64_t regions;
	uint32_t sectors, words;
	struct intent_map marks, stale;
	uint64_t *found;              /* owned; of the marks: found at load, not yet synced */
	bool collecting;              /* what is marked becomes stale */
	struct intent_region *region; /* owned; one each */
	struct list ended;            /* oldest epoch first */
	uint64_t epoch;
	uint8_t *image; /* owned; the area as of the last round, not changed during one */
	uint32_t image_bytes;
	struct intent_member members[INTENT_MAX_MEMBERS];
	unsigned members_count;

	bool writing;                  /* a round is under way */
	unsigned pending, taken;       /* members that have not ended it; that have taken it */
	int round_err;                 /* first error of a member in the last round */
	uint32_t from_bytes, to_bytes; /* of the image, changed by the round */
	struct io_req alarm;
	bool again;                          /* another round is wanted behind this one */
	struct list round_waits, next_waits; /* struct intent_wait */
	struct list round_syncs, next_syncs; /* struct intent_sync */
	struct {
		_Atomic uint64_t rounds, waits, written_bytes;
	} counters;
};

static inline bool region_set_has(const uint64_t *set, uint64_t region)
{
	return set[region / 64] >> (region % 64) & 1;
}

static inline void region_set_add(uint64_t *set, uint64_t region)
{
	set[region / 64] |= UINT64_C(1) << (region % 64);
}

static inline void region_set_remove(uint64_t *set, uint64_t region)
{
	set[region / 64] &= ~(UINT64_C(1) << (region % 64));
}

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Whether a write to @region may go on: its mark, and that it is stale where it must be, are on the
 * members. */
static inline bool region_is_ready(const struct intent_log *log, uint64_t region)
{
	return region_set_has(log->marks.durable, region) &&
	       (!log->collecting || region_set_has(log->stale.durable, region));
}

/* intent_stale.c: a region must be stale and is not known to be so on the members. */
bool intent_stale_unwritten(const struct intent_log *log);

/* intent_round.c: have a round begin after this moment, now or behind the one under way. */
void intent_round_want(struct intent_log *log);

/* Write the log to all members and flush them. With @unmark the pending unmarks go too, else they
 * stay. No round may be under way. */
void intent_round_start(struct intent_log *log, bool unmark);

#endif
