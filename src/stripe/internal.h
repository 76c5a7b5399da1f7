/* SPDX-License-Identifier: MIT */
/* What the files of the stripe engine share. Everything here belongs to the engine thread, but for
 * the posting queue and the arena.
 *
 * The way of a request:
 *	stripe_submit()  --post-->  engine.c: split into parts, one a stripe
 *	  --> lock.c: a part waits for its stripe; queued writes of one stripe are merged
 *	  --> doubt.c: a stripe in doubt is resynced before
 *	  --> write.c | read.c | check.c: the operation
 *	  --> membership.c: it waits until a member that failed is out
 *	  --> part_finish(): the last part of a request runs its done()
 */
#ifndef STABLEFS_STRIPE_INTERNAL_H
#define STABLEFS_STRIPE_INTERNAL_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include "stripe/arena.h"
#include "stripe/block_cache.h"
#include "stripe/membership.h"
#include "stripe/plan.h"
#include "stripe/stream.h"
#include "stripe/stripe.h"

/* The part of a request (or a check) that lies in one stripe. */
struct stripe_part {
	struct list_node node;      /* in the stripe's queue, then in its operation */
	struct stripe_req *req;     /* borrowed; NULL for a check */
	struct stripe_check *check; /* borrowed; NULL for a request */
	uint32_t offset_bytes;      /* in the data of the stripe */
	uint32_t len_bytes;
	uint32_t req_offset; /* of its first byte in the request */
	bool alone;          /* a write that must not be merged with others */
	bool from_copy;      /* a write whose bytes changed: of its source the bounce copy counts */
	bool suspect;        /* write_confirm.c's, for a moment */
	bool logged;         /* its bytes are durable in the partial-write log */
	int err;
};

/* A write at work that wants its whole stripe. */
struct stripe_alone {
	struct list_node node; /* in stripe_state.alone */
	void (*run)(struct stripe_alone *alone);
};

/* A stripe that somebody uses or waits for. */
struct stripe_state {
	struct stripe_state *next; /* in its hash chain */
	uint64_t stripe;
	unsigned readers;
	bool exclusive;          /* a check has it */
	unsigned writers;        /* operations; no two of them share a row */
	struct rows rows;        /* theirs */
	struct list alone;       /* of stripe_alone: writers that do nothing but wait for it */
	bool whole;              /* one of the writers has it all, the others wait */
	struct list queue;       /* of stripe_part, in order of arrival */
	struct list_node settle; /* in to_settle: something may start */
	struct stream_wait wait;
};

/* What O_DIRECT and isa-l ask of an address. */
#define DIRECT_ALIGN 512u

#define STATE_BUCKETS 1024u

struct engine_counters {
	_Atomic uint64_t reads, writes, read_bytes, write_bytes;
	_Atomic uint64_t plan_full, plan_rmw, plan_rcw, plan_degraded, plan_copy, merged, beside;
	_Atomic uint64_t repaired_blocks, unrepairable_blocks, refused_writes, degraded_reads, held;
	_Atomic uint64_t false_pi_errors, repairs_unneeded;
	_Atomic uint64_t cache_hits, cache_misses;
};

/* What the engine does for the partial-write log's room. */
struct engine_log {
	struct stripe_engine *eng;
	uint64_t epoch; /* of the flush under way */
	bool flushing, resyncing;
	uint64_t flush_after_ns; /* not before: the last flush for room failed */
	struct stripe_flush flush;
	struct stripe_check resync;
};

struct stripe_engine {
	struct stripe_config config; /* members[] change through stripe_engine_set_member() */
	unsigned slots, data_slots;
	unsigned tuple_bytes;
	struct arena *arena;       /* owned */
	struct block_cache *cache; /* owned; NULL: none */

	/* post_lock protects the posted lists; nothing is held across it. */
	pthread_mutex_t post_lock;
	struct list posted_reqs, posted_flushes, posted_checks, posted_calls;

	struct membership membership;
	uint64_t region_stripes;            /* of a whole region of the intent log */
	struct stripe_set doubt, unsettled; /* doubt.h */

	struct stripe_state *states[STATE_BUCKETS];
	struct list to_settle; /* of stripe_state */
	struct streams streams;
	unsigned busy;           /* parts granted or waiting */
	uint64_t unpushed_bytes; /* of writes, submitted since the last io_push() */
	unsigned next_copy;      /* raid1 reads take turns */
	struct list
		answered; /* requests of which logged() was called and done() was not, in order */
	uint64_t answers; /* how many there were so far */
	struct list flushes_waiting;
	struct list flushes_sharing; /* served by flush_running, the first of them */
	struct stripe_flush *flush_running;
	uint64_t flush_number; /* membership.changes when it began */
	struct engine_parked flush_parked;
	uint64_t last_tick_ns;
	_Atomic uint64_t last_request_ns;
	struct engine_log log;
	atomic_bool has_owner;
	_Atomic pthread_t owner;
	atomic_bool posted_own; /* by the owner itself, since it accepted what was posted */
	struct engine_counters count;
};

/* Only the engine thread counts, so a plain add of relaxed accesses is enough. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline bool is_engine_thread(const struct stripe_engine *eng)
{
	return atomic_load(&eng->has_owner) &&
	       pthread_equal(
		       atomic_load_explicit(&eng->owner, memory_order_relaxed), pthread_self());
}

static inline void assert_engine_thread(const struct stripe_engine *eng)
{
	assert(!atomic_load(&eng->has_owner) || is_engine_thread(eng));
	(void)eng;
}

/* A stripe and who holds its slots, as an operation found it at its start: a member that goes
 * meanwhile stays open until the operations that know it have ended. */
struct stripe_view {
	struct list_node node; /* in membership.views */
	uint64_t number;       /* membership.changes at its beginning */
	bool exclusive;        /* of a write or a check */
	uint64_t stripe;
	uint32_t missing; /* bit i: slot i is on a missing member, or on one that is stale here */
	struct member *member[RAID_MAX_SLOTS]; /* by slot; borrowed; also the stale ones */
};

/* membership.c: from begin to end the view is where it is. */
void stripe_view_begin(
	struct stripe_engine *eng, struct stripe_view *view, uint64_t stripe, bool exclusive);
void stripe_view_end(struct stripe_view *view);

static inline bool slot_missing(const struct stripe_view *view, unsigned slot)
{
	return view->missing >> slot & 1;
}

/* ---- engine.c ---- */

/* The part is done; the last one of a request runs its done(). Takes @part. */
void part_finish(struct stripe_engine *eng, struct stripe_part *part);

/* The part is durable in the log; when all of a request are, its logged() runs. */
void part_logged(struct stripe_engine *eng, struct stripe_part *part);

/* What the log says of the part is to count no more: its request is not answered before done(),
 * unless it has been. */
void part_unlogged(struct stripe_part *part);

/* ---- lock.c ---- */

/* Queue @part for @stripe. */
void stripe_lock_enqueue(struct stripe_engine *eng, uint64_t stripe, struct stripe_part *part);

/* Put @parts, which were granted together, back in front of the queue: each by itself this time.
 * Release the stripe behind it. */
void stripe_lock_split(struct stripe_state *state, struct list *parts);

/* The same, to be merged again; and a single part. */
void stripe_lock_requeue_all(struct stripe_state *state, struct list *parts);
void stripe_lock_requeue(struct stripe_state *state, struct stripe_part *part);

/* All that wait for @stripe get @err. */
void stripe_lock_fail(struct stripe_engine *eng, uint64_t stripe, int err);

/* @state is settled again before long. */
void stripe_lock_look_again(struct stripe_engine *eng, struct stripe_state *state);

/* Writes and checks may begin again. */
void stripe_lock_unfreeze(struct stripe_engine *eng);

/* A read or a check is over; a write, which had @rows. */
void stripe_lock_release(struct stripe_engine *eng, struct stripe_state *state);
void stripe_lock_release_rows(
	struct stripe_engine *eng, struct stripe_state *state, const struct rows *rows);

/* A write has to look at more than its rows. Its @alone runs, maybe from within, when the other
 * writers of the stripe have ended or wait for the same; from then on nobody begins, and it has the
 * stripe until it releases its rows. @urgent: before those that wait already. */
void stripe_lock_alone(struct stripe_engine *eng, struct stripe_state *state,
	struct stripe_alone *alone, bool urgent);

/* Start what may start since the last call; run loop only. */
void stripe_lock_settle(struct stripe_engine *eng);

/* ---- the operations: started with the stripe theirs, they release it ---- */

void stripe_read_start(
	struct stripe_engine *eng, struct stripe_state *state, struct stripe_part *part);
/* @parts: one or more writes that do not share a block, of these @rows, which are theirs alone;
 * emptied. */
void stripe_write_start(struct stripe_engine *eng, struct stripe_state *state, struct list *parts,
	const struct rows *rows);
void stripe_check_start(
	struct stripe_engine *eng, struct stripe_state *state, struct stripe_part *part);

/* Look at a stripe that the caller has for itself, with the members of its view; done() as in
 * stripe.h, the stripe is not released. (The writer's way to mend a stripe in the middle of an
 * operation.) */
void stripe_check_held(
	struct stripe_engine *eng, const struct stripe_view *view, struct stripe_check *check);

/* ---- write_cache.c ---- */

/* What is known of the old blocks of a stripe, or of all, no longer counts. */
void stripe_cache_forget(struct stripe_engine *eng, uint64_t stripe);
void stripe_cache_forget_all(struct stripe_engine *eng);

/* ---- write_log.c ---- */

/* Flush or resync where the partial-write log wants room. Run loop only. */
void write_log_run(struct stripe_engine *eng);

/* ---- flush.c ---- */

/* Let @flush wait; what was answered so far is done() before it starts. */
void flush_accept(struct stripe_engine *eng, struct stripe_flush *flush);

void flush_start(struct stripe_engine *eng); /* where one may and none is under way */

/* ---- xfer.c: one run of rows of one slot ---- */

struct slot_xfer {
	struct member_xfer xfer;
	struct iovec one;   /* the vector where there is one piece */
	unsigned slot, row; /* first row of the chunk; xfer.blocks rows */
	void *op;
	int err;
	bool leaves; /* it failed, and its member will be out */
};

/* Fill in @x for @rows rows of @slot from @row on. The caller sets iov (or uses x->one), done. */
void slot_xfer_init(struct stripe_engine *eng, struct slot_xfer *x, const struct stripe_view *view,
	unsigned slot, unsigned row, unsigned rows);

/* What a finished read is worth: 0, or what a request that needs it gets: -ESHUTDOWN, -EIO for an
 * error of the medium (an event says so), -EILSEQ. Adds the rows (in chunk terms) that failed to
 * @bad: all for a medium's error, else those whose check failed. The volume hears of the member. */
int slot_xfer_judge(struct stripe_engine *eng, const struct slot_xfer *x, struct rows *bad);

/* The error that counts of two: the power cut, else the first. */
static inline int worse_error(int first, int next)
{
	return next == -ESHUTDOWN || !first ? next : first;
}

#endif
