/* SPDX-License-Identifier: MIT */
/* The stripe engine: reads and writes of the array, with PI and parity, one stripe at a time.
 * Owner thread: the engine's owns stripes, locks, intent log and ring; others post requests.
 * Invariants: I1 writes of one row of a stripe never overlap in time with other reads or writes
 *   of it; reads may run side by side. I2 no member of a stripe is written before its region is
 *   marked durably. I3 the pipeline sees a writer's bytes only through the request's source. I4
 *   a read gives no block that failed its check: it is rebuilt from redundancy and verified, or
 *   the read fails. I5 after a write that a PI disk refused, the stripe is consistent again
 *   before it is released; so it is after a write whose source can confirm its bytes
 *   (source.h), whatever its writer did. I6 a stripe that a crash may have left inconsistent
 *   (in doubt) is resynced before anything else touches it. I7 a stripe for which a member is
 *   stale is served as if that member were missing, until it is rebuilt there. I8 no write is
 *   done() that a member missed, before the volume has said durably that the member is out
 *   (stripe_engine_set_member()). I9 a flush that begins after logged() of a write ends after
 *   its done().
 * May use: intent, journal, member, raid, pi, inflight, io, base. Must not know: files, FUSE,
 * policies, why a member goes.
 *
 * Read the write pipeline from top to bottom in write.c. */
#ifndef STABLEFS_STRIPE_STRIPE_H
#define STABLEFS_STRIPE_STRIPE_H

#include "base/event.h"
#include "inflight/sink.h"
#include "inflight/source.h"
#include "intent/intent.h"
#include "journal/journal.h"
#include "raid/geometry.h"

struct stripe_engine;

struct stripe_config {
	struct io_engine *io; /* borrowed, outlives the engine */
	struct geometry geometry;
	enum pi_type pi;
	struct member *members[RAID_MAX_MEMBERS]; /* borrowed; NULL: missing */
	struct intent_log *intent;                /* borrowed */
	struct journal *journal;                  /* borrowed; NULL: no partial-write log */
	/* What members do wrong; engine thread, must not block. May be NULL (then @fail too). */
	const struct stripe_member_hooks *hooks; /* borrowed */
	void *hooks_ctx;
	struct event_sink *events; /* borrowed; may be NULL */
	bool read_only;            /* no repair is written back */
	uint64_t arena_bytes;      /* registered memory for scratch buffers; 0: default */
	uint64_t cache_bytes;      /* of old blocks for small writes (block_cache.h); 0: none */
};

struct stripe_member_hooks {
	/* Member @index gave an error that redundancy is to make good: a read that failed (-EIO) or
	 * had blocks that failed their check (-EILSEQ); once a transfer. */
	void (*erred)(void *ctx, unsigned index, int err);
	/* Member @index failed a write or a flush, or is gone or hangs (-EIO, -ENODEV, -ETIMEDOUT).
	 * True: it will be taken out, stripe_engine_set_member(index, NULL) follows; until then no
	 * write or check begins, and those that met the failure wait; then they go on without it.
	 * False: the array cannot do without it, who asked gets the error. May be called again
	 * before that. */
	bool (*failed)(void *ctx, unsigned index, int err);
};

/* The regions that the intent log has marked are in doubt from the start (unless read-only). */
int stripe_engine_new(const struct stripe_config *config, struct stripe_engine **out);
void stripe_engine_free(struct stripe_engine *eng); /* accepts NULL; idle */

/* Registered, page-aligned memory for requests' payloads (receive buffers), so that they reach the
 * members without another mapping. NULL where the arena is full: use ordinary memory then. Any
 * thread. */
void *stripe_buffer_alloc(struct stripe_engine *eng, uint32_t len_bytes);
void stripe_buffer_free(struct stripe_engine *eng, void *buf, uint32_t len_bytes);

enum stripe_kind { STRIPE_READ, STRIPE_WRITE };

enum stripe_flags {
	/* The blocks were just allocated: bytes outside the range are zeros, old content is
	 * dead. */
	STRIPE_FRESH = 1,
	/* Written once more, from a stable source, since the bytes may have changed during the
	 * first write: what the blocks hold and the parity of their rows may not agree. The parity
	 * is made anew from the whole row, never from the old one (where no member is missing). */
	STRIPE_MEND = 2,
};

/* One transfer of a byte range of the volume, across any number of stripes. The caller owns it
 * until done(), which runs exactly once on the engine thread. */
struct stripe_req {
	enum stripe_kind kind;
	unsigned flags;
	uint64_t offset_bytes; /* in the volume; any byte */
	uint32_t len_bytes;
	/* Write: where the bytes come from, from source_offset on. Borrowed until done(). */
	struct source *source;
	uint32_t source_offset;
	/* Write: keep it open for that long before its data is sampled (0: not); on mirrors also
	 * between the samples of one member and the next, which no two disks take at the same
	 * moment. */
	uint64_t hold_ns;
	/* Read: page-aligned where offset and length are whole blocks (then no copy), else any. */
	uint8_t *data;
	/* Read: the reader's own memory, where blocks that a tuple protects are placed and verified
	 * (data is needed as well: it holds in the end what the reader's memory held). hold_ns: how
	 * long between the two. A block that fails its check there counts as damaged, though it had
	 * passed before: it is placed once more from another copy or rebuilt, its stripe is looked
	 * at afterwards, and where it fails again the read gets -EILSEQ. A block without a tuple
	 * (never written, or rebuilt for a missing member) is placed and not verified. NULL: data
	 * alone; without PI the same. Borrowed until done(). */
	struct sink *sink;
	uint32_t sink_offset; /* of the request's first byte in the sink's read */
	/* Who asks, for events. */
	uint64_t ino;
	uint64_t file_offset_bytes;
	/* Write; NULL: done() is enough. Engine thread, at most once, before done(), never from
	 * within stripe_submit(): every byte is in the partial-write log as a completed write is
	 * on a disk (the end of this program does not take it, a power cut before a flush may), so
	 * the writer may be answered. The request and what it borrows stays so until done(), and
	 * its stripes are locked as long. Not called where a part of it
	 * is not logged (full rows, no log, the parity's member missing), is held open, or comes
	 * from a source whose samples may differ or are to be confirmed. An error that comes after
	 * it is given to done(), and said in an event and the log of messages: nobody may wait for
	 * it any more. */
	void (*logged)(struct stripe_req *req);
	/* 0; -EILSEQ (refused by a PI disk, or damage beyond repair found by PI); -EIO;
	 * -ESHUTDOWN. */
	void (*done)(struct stripe_req *req, int err);
	/* The engine's. */
	struct list_node node;
	unsigned pieces, unlogged;
	struct write_stream *stream; /* stream.h; NULL: of none, or answered */
	uint64_t answered;           /* the how many-th to which logged() said so; 0: it did not */
	int err;
};

/* Post @req to the engine. Any thread. Also for errors found before any I/O done() runs later. */
void stripe_submit(struct stripe_engine *eng, struct stripe_req *req);

/* Everything done() or logged() before the call is done(), and durable, when done() of the flush
 * runs. Any thread. */
struct stripe_flush {
	struct list_node node;
	void (*done)(struct stripe_flush *flush, int err); /* engine thread */
	/* The engine's. */
	struct member_flush members[RAID_MAX_MEMBERS];
	struct stripe_engine *eng;
	uint64_t after; /* waits for the answered requests up to this one */
	uint64_t epoch;
	unsigned pending;
	uint32_t failed; /* bit i: member i, with errs[i] */
	int errs[RAID_MAX_MEMBERS];
	int err;
};
void stripe_flush(struct stripe_engine *eng, struct stripe_flush *flush);

/* Look at one stripe as a whole: what scrub and resync are made of. Takes the stripe like a
 * write. */
enum stripe_check_mode {
	STRIPE_CHECK,   /* look only */
	STRIPE_REPAIR,  /* rebuild what PI shows wrong where that verifies, then make parity and
			* mirrors agree (without PI: data, and the first mirror, count as right) */
	STRIPE_RESYNC,  /* after a crash, of a stripe in doubt (else nothing is done): as REPAIR,
			* but parity is made from the partial-write log where that knows the row,
			* and a block whose guard fails and that parity cannot rebuild had been
			* overwritten: it gets a new tuple. Ends the doubt. */
	STRIPE_REBUILD, /* write to check->member all that it should hold of a stripe for which it
			 * is stale (of others nothing is done), and end that. A block that cannot
			 * be rebuilt is in lost[]; then the stripe stays stale, -EIO */
};
struct stripe_check {
	struct list_node node;
	enum stripe_check_mode mode;
	uint64_t stripe;
	bool data_counts; /* against parities: a write has just been stored in part */
	unsigned member;  /* REBUILD */
	void (*done)(struct stripe_check *check, int err); /* engine thread */
	/* Results, per slot rows. */
	struct rows guard_bad[RAID_MAX_SLOTS];  /* failed guard or ref tag, per slot */
	struct rows unreadable[RAID_MAX_SLOTS]; /* the medium gave an error */
	struct rows mirror_bad;                 /* raid1: rows where copies differ */
	struct rows parity_bad; /* rows of which a parity is not that of the data, or its row tag
				 * not (compared only where all data could be read) */
	struct rows wrong[RAID_MAX_SLOTS]; /* of these, where two parities tell which block is */
	/* Not RESYNC, nor where data_counts: of these a block that passes its check is not what was
	 * written last, by the row tag (check_tag.c says how sure that is). */
	struct rows stale[RAID_MAX_SLOTS];
	struct rows rebuilt[RAID_MAX_SLOTS]; /* REPAIR, RESYNC: written back */
	struct rows lost[RAID_MAX_SLOTS];    /* data beyond repair */
	/* Where the caller wants to look at the bytes (inspect): slots * chunk bytes and
	 * slots * chunk_blocks * tuple bytes, or NULL. */
	uint8_t *data, *tuples;
	/* The engine's. */
	struct stripe_engine *eng;
};
void stripe_check(struct stripe_engine *eng, struct stripe_check *check);

/* Run the engine: handle what was posted and what has completed. The engine thread loops over it;
 * a simulated test calls it. With @wait it may block. Returns what io_run() returns. */
int stripe_engine_run(struct stripe_engine *eng, bool wait);

/* Make a blocked run return. Any thread. */
void stripe_engine_wake(struct stripe_engine *eng);

/* Nothing posted or under way. Engine thread, or while none runs. */
bool stripe_engine_idle(struct stripe_engine *eng);

/* Operations that begin from now on find @index missing (@m NULL) or present again (its blocks must
 * be up to date but for the stripes of the regions that the intent log calls stale, where
 * @stale). A member that goes stays open until those that began before have ended: @quiet runs, on
 * the engine thread, when nobody knows the former member any more (it may be NULL; never from
 * within the call). What waited since hooks->failed() goes on when nobody is leaving any more; with
 * the same member again (@stale false) it gets its error, and nothing else changes. Intent log and
 * journal are told by the caller, before the call; where a member comes, stale regions are to be
 * collected until @quiet: operations that began before still write without it (their stripes are
 * stale for it too). Engine thread, or before it starts. */
struct stripe_member_change {
	struct list_node node;
	void (*quiet)(struct stripe_member_change *change);
	/* The engine's. */
	struct member *former;
	uint64_t number;
};
void stripe_engine_set_member(struct stripe_engine *eng, unsigned index, struct member *m,
	bool stale, struct stripe_member_change *change);

/* Have @call->run() on the engine thread. Any thread. */
struct engine_call {
	struct list_node node;
	void (*run)(struct engine_call *call);
};
void engine_call_post(struct stripe_engine *eng, struct engine_call *call);

/* Have the engine's thread listen to a descriptor beside its own work (io_watch(), io_unwatch()).
 * Engine thread: from a call, or from the watch's ready(). */
int stripe_engine_watch(struct stripe_engine *eng, struct io_watch *watch);
void stripe_engine_unwatch(struct stripe_engine *eng);

/* Stripes in doubt, and stripes for which @member is stale. Any thread. A sweep over all stripes
 * that posts checks of those modes ends the one or the other: for the rest they cost next to
 * nothing, and the next function skips them. */
uint64_t stripe_engine_in_doubt(const struct stripe_engine *eng);
uint64_t stripe_engine_stale(const struct stripe_engine *eng, unsigned member);

/* The same of one region of the intent log: where it is 0, and a flush has ended since the last of
 * its REBUILD checks was done(), @member has the region up to date. */
uint64_t stripe_engine_stale_in_region(
	const struct stripe_engine *eng, unsigned member, uint64_t region);

/* Stripes whose resync failed (for other reasons than want of memory, which leaves them in doubt):
 * they are served as they are, the marks of their regions stay, another RESYNC check tries again.
 * Any thread. */
uint64_t stripe_engine_unsettled(const struct stripe_engine *eng);

/* The first stripe at or after @from that may be in doubt (@member -1) or stale for @member; the
 * number of stripes where there is none. Any thread; a stripe may have been settled meanwhile. */
uint64_t stripe_engine_next_open(const struct stripe_engine *eng, int member, uint64_t from);

/* When the engine last began a read or write request, in io_now_ns() time; 0: never. Any thread.
 * (Background work makes room for them.) */
uint64_t stripe_engine_last_request_ns(const struct stripe_engine *eng);

struct stripe_stats {
	uint64_t reads, writes, read_bytes, write_bytes; /* requests */
	uint64_t plan_full, plan_rmw, plan_rcw, plan_degraded,
		plan_copy; /* stripe operations by way */
	uint64_t merged;   /* requests that shared a stripe operation with another */
	uint64_t beside;   /* operations that began beside another of their stripe */
	uint64_t repaired_blocks, unrepairable_blocks, refused_writes, degraded_reads;
	uint64_t held;
	uint64_t false_pi_errors;  /* blocks that failed their check in a reader's memory only */
	uint64_t repairs_unneeded; /* repairs that found every block of the stripe right */
	/* Old blocks that writes needed: in memory, and read; bytes of blocks held, and at most. */
	uint64_t cache_hits, cache_misses, cache_bytes, cache_max_bytes;
};
struct stripe_stats stripe_engine_stats(const struct stripe_engine *eng); /* any thread */

#endif
