/* SPDX-License-Identifier: MIT */
/* The partial-parity log: what closes the write hole of RAID5.
 *
 * While a stripe is written in part, a power cut can leave some of its members new and some old.
 * Whoever then loses a member rebuilds the blocks at rest of that stripe from parity that does not
 * fit. So before a partial write, the XOR of the data that it does *not* write (the partial parity
 * PP) goes durably to the stripe's parity member. After a crash P = PP ^ (what the written slots
 * hold now), whatever of the write arrived, and a member that is lost as well is rebuilt rightly.
 * The idea is md's (Linux, Documentation/driver-api/md/raid5-ppl.rst). Beyond it: a degraded stripe
 * is protected too, since PP = P ^ xor of the old written data contains the missing block; where a
 * written slot is itself missing, its new data are nowhere but in the parity, and are logged.
 *
 * Owner thread: the engine's.
 * Invariants: I1 a record is durable before done() says so. I2 a record is kept until the members
 *   were flushed after the write that it protects had ended. I3 of several records of one row only
 *   the newest counts; a write that needs none (a full row) supersedes older ones
 *   (journal_holds()).
 *   I4 records of another volume, epoch or place never count.
 * May use: member, io, base. Must not know: plans, parity arithmetic, tuples.
 *
 * On the member: a header block, then a ring of batches in the journal area (docs/format.md). One
 * batch is written at a time for each member; records that arrive meanwhile share the next. */
#ifndef STABLEFS_JOURNAL_JOURNAL_H
#define STABLEFS_JOURNAL_JOURNAL_H

#include "base/list.h"
#include "member/member.h"

struct journal;

#define JOURNAL_MAX_MEMBERS 16u
#define JOURNAL_NO_SLOT     255u

/* Read the rings of the present members (NULL: missing). Blocking, before the engine starts. After
 * a clean end (@clean) what they hold is ignored. Damage costs the damaged batch and those behind
 * it on that member, with a warning: a torn newest batch is what a power cut leaves, and no write
 * that it protects had begun. */
int journal_load(struct io_engine *io, struct member *const *members, unsigned count, bool clean,
	struct journal **out, struct errmsg *why);
void journal_free(struct journal *j); /* accepts NULL; nothing under way */

/* An empty ring: at creation, and on a member that comes. Blocking. */
int journal_format(struct member *m);

/* Begin a new epoch on every present member, named by the volume's generation: older records are
 * forgotten. Blocking, after recovery or a clean start, before the first append. */
int journal_begin(struct journal *j, uint64_t generation);

/* One partial write: a run of rows of a stripe in each of which the same slots are written. (A
 * write whose rows differ in that makes several.) The caller owns it from append to
 * journal_ended(). */
struct journal_append {
	struct list_node node;
	uint64_t stripe;
	unsigned member; /* the stripe's parity member, which is present */
	unsigned row, rows;
	uint32_t written_slots; /* bit i: data slot i is written in these rows */
	unsigned missing_slot;  /* a written slot whose member is missing, or JOURNAL_NO_SLOT */
	/* rows blocks, page-aligned; borrowed until done(). NULL: the rows are written in full,
	 * which needs no protection; older records of them no longer count. */
	const uint8_t *partial;
	const uint8_t *missing_data; /* rows blocks, where missing_slot is one */
	/* Engine thread, never from within the call. An error: not durable; -ENODEV: the member was
	 * taken away, and with it the parity. */
	void (*done)(struct journal_append *a, int err);
	/* The journal's. */
	uint64_t seq, ended_epoch;
};

/* The record is on its way. */
void journal_append(struct journal *j, struct journal_append *a);

/* The write that @a protects has ended: its record may go after the next flush. */
void journal_ended(struct journal *j, struct journal_append *a);

/* A record of @stripe is still in a ring: a write without one must supersede it first. */
bool journal_holds(const struct journal *j, uint64_t stripe);

/* As intent_epoch() and intent_flushed(): a flush of all members that began at @epoch has ended. */
uint64_t journal_epoch(struct journal *j);
void journal_flushed(struct journal *j, uint64_t epoch);

/* A ring is more than half full of records that a flush would free, or an append waits for that. */
bool journal_wants_flush(const struct journal *j);

/* A member has gone (NULL) or come (formatted); appends that wait for one that has gone end with
 * -ENODEV. It stays open until journal_busy() is false. */
void journal_set_member(struct journal *j, unsigned index, struct member *m);
bool journal_busy(const struct journal *j);               /* a batch is being written */
uint32_t journal_failed_members(const struct journal *j); /* as intent_failed_members() */

/* ---- recovery ---- */

/* What was loaded for one row: the newest record. */
struct journal_found {
	uint32_t written_slots;
	unsigned missing_slot;                 /* or JOURNAL_NO_SLOT */
	const uint8_t *partial, *missing_data; /* a block each; the journal's, until forgotten */
};
bool journal_find(
	const struct journal *j, uint64_t stripe, unsigned row, struct journal_found *out);

/* The stripe has been made consistent: what was loaded for it no longer counts. */
void journal_forget(struct journal *j, uint64_t stripe);

struct journal_stats {
	uint64_t appends, batches, written_bytes, flushes_wanted, waits; /* waits: for room */
	uint64_t ring_bytes;
};
struct journal_stats journal_stats(const struct journal *j); /* any thread: relaxed counters */

#endif
