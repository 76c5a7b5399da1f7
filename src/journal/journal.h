/* SPDX-License-Identifier: MIT */
/* The partial-write log: what closes the write hole of RAID5 and RAID6.
 *
 * While a stripe is written in part, a power cut can leave some of its members new and some old.
 * Whoever then loses a member rebuilds the blocks at rest of that stripe from parity that does not
 * fit. So before a partial write touches the members, the blocks that it is about to store, data
 * and parity, go durably to a ring on the stripe's parity member. After a crash they are stored
 * once more, and the stripe is as if the write had happened, whatever of it had arrived: a member
 * that is lost as well is rebuilt rightly. Where a stripe has two parity members, both rings get
 * the same record, so that one of them is left wherever a parity is.
 *
 * Why the data too, where md logs the XOR of what is *not* written (its partial parity log, Linux,
 * Documentation/driver-api/md/raid5-ppl.rst): that XOR is of use only as long as those blocks are
 * on the medium as they were when it was made. A write that was answered and not yet flushed may be
 * lost with the power; the next write of the same row has it in its XOR. docs/design.md has more.
 *
 * Owner thread: the engine's.
 * Invariants: I1 a record is durable before done() says so (stored() comes earlier). I2 a record is
 *   kept until the members were flushed after the write that it protects had ended. I3 of several
 *   records the newest counts, for each slot of each row; a write that needs none (a full row)
 *   supersedes older ones that the rings still hold (journal_holds()). A record that has done its
 *   duty does no harm: what it says is what the members hold, until a newer one says otherwise.
 *   I4 records of another volume, epoch or place never count, nor anything that a user's data
 *   could look like. I5 what is older than a damaged batch that was durable never counts: it may
 *   have been superseded there. I6 a record that was to be in several rings and is not in all of
 *   them that are there and whole has protected nothing yet: it is void, and the rings agree,
 *   whichever of them is lost next (journal_agree.c). I7 a batch that is missing and of which no
 *   other says that it was durable has protected nothing yet, and superseded nothing: it costs
 *   what was in it.
 * May use: member, io, raid (which slots are parities), base. Must not know: plans, parity
 * arithmetic, tuples.
 *
 * On the member: a header block, then a ring of batches in the journal area (docs/format.md). One
 * batch is written at a time for each member, and one flush goes on beside that; records that
 * arrive during a write share the next batch, batches that are written during a flush the next
 * flush. */
#ifndef STABLEFS_JOURNAL_JOURNAL_H
#define STABLEFS_JOURNAL_JOURNAL_H

#include "base/list.h"
#include "member/member.h"

struct journal;

#define JOURNAL_MAX_MEMBERS 16u
#define JOURNAL_MAX_IOV     (IO_MAX_IOV - 1) /* of an append: one is the header's */

/* Read the rings of the present members (NULL: missing). Blocking, before the engine starts. After
 * a clean end (@clean) what they hold is ignored. Damage costs the damaged batch and those before
 * it on that member, with a warning; torn batches behind what was durable are what a power cut
 * leaves, cost nothing else, and no write that they protect had begun. @count: members of the
 * volume. -EUCLEAN: the area is too small for the volume's stripes. */
int journal_load(struct io_engine *io, struct member *const *members, unsigned count, bool clean,
	struct journal **out, struct errmsg *why);
void journal_free(struct journal *j); /* accepts NULL; nothing under way */

/* An empty ring, whatever the area held: at creation, and on a member that comes. Blocking. */
int journal_format(struct member *m);

/* Begin a new epoch on every present member: older records are forgotten. @generation is the
 * volume's, and stands in the headers for people. Blocking; after a load that found a clean end,
 * before the volume says durably that it is in use. */
int journal_begin(struct journal *j, uint64_t generation);

/* After an unclean end the log goes on behind what it holds: make durable what was found, fill
 * the gaps in it, and say which records are void.
 * Blocking, before anything is written to a stripe. The first error: the same is found void at the
 * next load, unless a member is lost with the next crash. */
int journal_resume(struct journal *j);

/* Consecutive rows of a stripe in which a write stores the same slots. */
struct journal_run {
	uint16_t row, rows;
	/* Older records of the rows no longer count, and there is nothing new to say: they are
	 * written in full, which needs no protection, or what was said did not happen. */
	bool superseded;
	/* Else bit i: what slot i is to hold is logged. Of data, what is written, also that of a
	 * missing member, so that older records of it do not count; and every parity there is. */
	uint16_t slots;
};

#define JOURNAL_MAX_RINGS 2u /* that a record goes to */

/* An append's part in one ring. */
struct journal_copy {
	struct list_node node;
	struct journal_append *append;
	unsigned member;
	int err; /* valid in done() */
	/* The journal's. */
	uint64_t seq; /* of its batch; 0: none */
	bool waited;
};

/* What one write to a stripe has to log. The caller owns it from append to journal_ended(). */
struct journal_append {
	uint64_t stripe;
	uint16_t members; /* bit i: member i, of a parity of the stripe that is there */
	const struct journal_run *runs; /* borrowed until done(); in order, apart, at least one */
	unsigned run_count;
	/* For each run that is not superseded, in order: its rows of each of its slots, ascending.
	 * Whole blocks, page-aligned; borrowed until done(). At most JOURNAL_MAX_IOV pieces. */
	const struct iovec *iov;
	unsigned iov_count;
	uint32_t payload_blocks;
	/* Engine thread, never from within the call, at most once and before done(). NULL: nobody
	 * asks. Every copy was written: as with any completed write a flush makes it durable, and
	 * the flush of the rings is on its way. Until done() the members must not be written. */
	void (*stored)(struct journal_append *a);
	/* Engine thread, never from within the call. The first error of a copy: that one is not
	 * durable; -ENODEV: the member is not there, or was taken away, and with it the parity;
	 * -EFBIG: more than journal_max_blocks(); -ENOMEM. */
	void (*done)(struct journal_append *a, int err);
	struct journal_copy copies[JOURNAL_MAX_RINGS]; /* by member; for @done to see errors */
	unsigned copy_count;
	/* The journal's. */
	uint64_t number; /* greater than those of all records before it, in any ring */
	uint32_t crc;
	unsigned pending, unstored;
};

/* The payload blocks that an append may have; a partial write of a whole stripe has no more. */
uint32_t journal_max_blocks(const struct journal *j);

/* The record is on its way. */
void journal_append(struct journal *j, struct journal_append *a);

/* The write that @a protects has ended, after done(): its record may go after the next flush. */
void journal_ended(struct journal *j, struct journal_append *a);

/* After a crash the ring of @member may still show a record of @row of @stripe that is not
 * superseded: who writes the row without a record must supersede it first. */
bool journal_holds(const struct journal *j, unsigned member, uint64_t stripe, unsigned row);

/* As intent_epoch() and intent_flushed(): a flush of all members that began at @epoch has ended. */
uint64_t journal_epoch(struct journal *j);
void journal_flushed(struct journal *j, uint64_t epoch);

/* A flush that begins now would free room, and a ring is more than half full or an append waits. */
bool journal_wants_flush(const struct journal *j);

/* A flush failed, and no other will be tried: appends that wait for room end with @err. */
void journal_flush_failed(struct journal *j, int err);

/* An append waits for room that a stripe holds which was found at load and is not yet forgotten. */
bool journal_wants_resync(const struct journal *j, uint64_t *stripe);

/* A member has gone (NULL) or come (formatted, before it was said to be back: what a ring lacks
 * counts); appends that wait for one that has gone end with
 * -ENODEV, from within this call but for those that are being written. It stays open until
 * journal_busy() is false. */
void journal_set_member(struct journal *j, unsigned index, struct member *m);
bool journal_busy(const struct journal *j);               /* a batch is being written */
uint32_t journal_failed_members(const struct journal *j); /* as intent_failed_members() */

/* ---- recovery ---- */

/* What was loaded for one row: the newest of each slot that was logged. Blocks, aligned to 64
 * bytes; the journal's, until forgotten. */
struct journal_found {
	uint16_t slots;
	const uint8_t *block[JOURNAL_MAX_MEMBERS]; /* of these */
};
bool journal_find(const struct journal *j, unsigned member, uint64_t stripe, unsigned row,
	struct journal_found *out);

/* The stripe has been made consistent: what was loaded for it no longer counts. */
void journal_forget(struct journal *j, uint64_t stripe);

/* The same for all stripes that @keep does not want kept: those that are not in doubt. */
void journal_forget_unless(struct journal *j, bool (*keep)(void *ctx, uint64_t stripe), void *ctx);

struct journal_stats {
	uint64_t appends, batches, written_bytes, waits; /* waits: appends that had to, for room */
	uint64_t ring_bytes;
};
struct journal_stats journal_stats(const struct journal *j); /* any thread: relaxed counters */

#endif
