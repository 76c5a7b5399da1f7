/* SPDX-License-Identifier: MIT */
/* What the front end counts. Any thread; a plain snapshot is taken for the control files. */
#ifndef STABLEFS_FUSE_STATS_H
#define STABLEFS_FUSE_STATS_H

#include <pthread.h>
#include <stdatomic.h>
#include "fuse/wire.h"
#include "inflight/live.h"
#include "inflight/policy.h"
#include "report/histogram.h"
#include "report/json.h"

/* Why a write was not observed: the locator's reasons, and one more. */
#define STATS_MISS_UNREADABLE LIVE_MISS_COUNT /* located, but reading its memory failed */
#define STATS_MISS_COUNT      (LIVE_MISS_COUNT + 1)

enum stats_time {
	STATS_DIRECT_WRITE,
	STATS_DIRECT_READ,
	STATS_CACHED_WRITE,
	STATS_CACHED_READ,
	STATS_TIMES
};

struct stats {
	_Atomic uint64_t requests[WIRE_OPCODES];
	/* Of them: received by the engine's thread, and of those handed to a worker; how often it
	 * has begun to listen. */
	_Atomic uint64_t by_engine, handed_over, engine_turns;
	_Atomic uint64_t awake_turns; /* how often processors were asked to stay awake */
	_Atomic uint64_t direct_writes, direct_write_bytes, direct_reads, direct_read_bytes;
	_Atomic uint64_t cached_writes, cached_write_bytes, cached_reads, cached_read_bytes;
	/* Each direct write counts as one of these: the writer's memory was read as often as the
	 * policy wanted; nothing was to be looked at; DIO_BUFFERED; its process was caught before
	 * (DIO_ADAPTIVE); it could not be observed, by reason. */
	_Atomic uint64_t observed, bounced, buffered, bounced_adaptive;
	_Atomic uint64_t unobserved[STATS_MISS_COUNT];
	/* What was seen of them: */
	_Atomic uint64_t mutated; /* bytes changed while in flight */
	_Atomic uint64_t mutated_by[DIO_POLICY_COUNT];
	_Atomic uint64_t missed; /* samples differed, and the last look did not see it */
	_Atomic uint64_t redone; /* written once more, from the copy */
	/* How they failed: */
	_Atomic uint64_t refused;  /* with EILSEQ */
	_Atomic uint64_t rejected; /* with EIO, since the bytes had changed (DIO_VERIFY) */
	_Atomic uint64_t failed;   /* with any other error */
	/* Direct reads; each counts as one of these: placed into the reader's memory and checked
	 * there; not to be, or with nothing to check; not possible, by reason. */
	_Atomic uint64_t reads_observed, reads_bounced, reads_unobserved[STATS_MISS_COUNT];
	_Atomic uint64_t reads_mutated;   /* the reader's memory failed its check */
	_Atomic uint64_t reads_again;     /* then read once more, from our memory (DIO_VERIFY) */
	_Atomic uint64_t handles_bounced; /* and not tried again */
	_Atomic uint64_t reads_failed;
	/* Direct I/O that got EINVAL before it was one: */
	_Atomic uint64_t unaligned;
	_Atomic uint64_t refused_open, refused_io; /* by policy */
	pthread_mutex_t lock;                      /* times_ns */
	struct histogram times_ns[STATS_TIMES];
};

void stats_init(struct stats *s);
void stats_fini(struct stats *s);

static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void stats_add_time(struct stats *s, enum stats_time what, uint64_t ns);

/* Fields of the object that is open in @j. */
void stats_write_json(struct stats *s, struct json *j);

#endif
