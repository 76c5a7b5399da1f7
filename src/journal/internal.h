/* SPDX-License-Identifier: MIT */
/* What the files of this module share. Owner thread: the engine's, but for the counters. Nobody
 * outside src/journal includes it. */
#ifndef STABLEFS_JOURNAL_INTERNAL_H
#define STABLEFS_JOURNAL_INTERNAL_H

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include "journal/journal.h"
#include "journal/journal_disk.h"

#define MAX_CHUNK_BLOCKS 256u
#define STRIPE_BUCKETS   16384u

/* A batch in the ring, from when it is sent until its room is free. */
struct journal_batch {
	uint32_t at, blocks;  /* in the ring */
	uint32_t busy;        /* appends not ended; stripes found at load, not forgotten */
	uint64_t ended_epoch; /* when the last of them ended */
	uint64_t tail;        /* as its header says */
};

/* A row found at load: what its newest records say. Blocks are owned. */
struct journal_row {
	struct journal_row *next; /* of the stripe */
	unsigned row;
	uint8_t *block[JOURNAL_MAX_MEMBERS]; /* by slot; NULL: not logged */
};

/* A stripe of which the ring of one member may show records after a crash. */
struct journal_stripe {
	struct journal_stripe *next; /* in its hash chain */
	struct list_node node;       /* on the member's list, oldest newest record first */
	uint64_t stripe;
	unsigned member;
	uint64_t newest_seq;
	unsigned waiting;                     /* appends that are in no batch yet */
	uint64_t held[MAX_CHUNK_BLOCKS / 64]; /* rows whose newest record is not "superseded" */
	struct journal_row *found;            /* owned; until forgotten */
	uint64_t found_seq;                   /* the batch that is busy with them */
};

/* Of records, ascending. */
struct journal_numbers {
	uint64_t *at; /* owned */
	size_t count;
};

/* Batches that a power cut took, of which newer ones are left. */
struct journal_gaps {
	struct journal_disk_batch *at; /* owned; empty ones to stand in for them, oldest first */
	size_t count;
};

struct journal_member {
	struct journal *j;
	unsigned index;
	struct member *member;     /* borrowed; NULL: missing */
	struct member *written_to; /* by what is under way; NULL where that has gone */
	bool writing, flushing, failed;
	bool fresh; /* its header is to be written with the first batch */
	struct journal_disk_header header;

	struct journal_batch *batches; /* owned; batch s is at s % ring_blocks */
	uint64_t oldest_seq, next_seq; /* in use: oldest_seq .. next_seq - 1 */
	uint64_t stored_seq;           /* written, perhaps not yet flushed */
	uint64_t flush_seq;            /* the newest that the flush under way covers */
	uint64_t durable_seq;          /* the newest that is durable; 0: none of this epoch */
	uint64_t durable_tail;         /* as that one says */
	uint32_t head;                 /* block of the ring behind the newest batch */

	struct list waiting; /* of journal_copy */
	struct list sent;    /* those in batches that are not durable yet, in order */
	uint8_t *block;      /* owned; the area's header, then that of the batch under way */
	struct io_req io, flush;
	struct iovec iov[IO_MAX_IOV];

	struct list stripes;          /* of journal_stripe */
	struct journal_gaps gaps;     /* found at load, to be filled by journal_resume() */
	struct journal_numbers voids; /* the same, to be said */
};

struct journal_counters {
	_Atomic uint64_t appends, batches, written_bytes, waits;
};

struct journal {
	struct io_engine *io; /* borrowed */
	struct super super;   /* of a member: volume UUID, geometry, place of the area */
	uint32_t ring_blocks;
	uint32_t batch_blocks;   /* the most that a batch may have: journal_ring.c */
	uint32_t reserve_blocks; /* that appends leave free */
	uint64_t next_number;    /* of records */
	struct journal_member members[JOURNAL_MAX_MEMBERS];
	unsigned members_count;
	uint64_t epoch;
	struct journal_stripe *stripes[STRIPE_BUCKETS];
	struct list refused; /* of journal_copy: ended by the alarm */
	bool refusing;
	struct io_req alarm;
	struct journal_counters counters;
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline struct journal_batch *batch_of(const struct journal_member *jm, uint64_t seq)
{
	return &jm->batches[seq % jm->j->ring_blocks];
}

static inline bool journal_member_busy(const struct journal_member *jm)
{
	return jm->writing || jm->flushing;
}

static inline bool batch_in_use(const struct journal_member *jm, uint64_t seq)
{
	return seq >= jm->oldest_seq && seq < jm->next_seq;
}

/* One of those that keep batch @seq has ended. */
static inline void batch_part_ended(struct journal_member *jm, uint64_t seq)
{
	if (!batch_in_use(jm, seq))
		return;
	struct journal_batch *b = batch_of(jm, seq);
	assert(b->busy);
	b->busy--;
	b->ended_epoch = jm->j->epoch;
}

/* ---- journal.c ---- */

/* A new epoch of one ring, which holds nothing then; its header goes with the first batch. */
void journal_member_renew(struct journal_member *jm);

/* ---- journal_ring.c: room ---- */

/* The oldest batch that a loader is to go down to: one that is needed, or the newest that is known
 * to be durable. */
uint64_t journal_ring_tail(const struct journal_member *jm);

/* Where a batch of @blocks can begin: true, and *@at. */
bool journal_ring_place(const struct journal_member *jm, uint32_t blocks, uint32_t *at);

/* The same, and the reserve is left free. */
bool journal_ring_admits(const struct journal_member *jm, uint32_t blocks, uint32_t *at);

/* From the oldest batch to the head, gaps at the end included. */
uint32_t journal_ring_used(const struct journal_member *jm);

/* ---- journal_scan.c: what can be read of a ring ---- */

struct journal_record_id {
	uint64_t number;
	uint16_t members;
};

/* The batches of a ring that count. Zeroed: nothing is known. */
struct journal_scan {
	struct journal_member *jm;
	struct journal_disk_batch *batches; /* owned; headers found, in order of sequence numbers */
	uint32_t count;
	uint64_t durable; /* the newest batch that is known to have been; 0: none */
	uint32_t newest;  /* of the batches: */
	uint32_t *run;    /* owned; those that count, newest first */
	uint32_t run_count;
	struct journal_gaps gaps; /* between these */
	uint64_t from; /* whatever record for this ring from here on is not in it never was */
	struct journal_record_id *records; /* owned; of the run, in order of numbers */
	size_t record_count;
	/* The void ones of these: what the run says, and what it should. */
	struct journal_numbers voids_said, voids_new;
};

/* Read the ring of @jm, whose header was @header. -ENOMEM; damage costs what it hits. */
int journal_scan_read(struct journal_scan *scan, struct journal_member *jm,
	const struct journal_disk_header *header);
void journal_scan_fini(struct journal_scan *scan); /* also of a zeroed one */

bool journal_scan_has(const struct journal_scan *scan, uint64_t number);
bool journal_scan_is_void(const struct journal_scan *scan, uint64_t number);

/* The @n-th batch of the run once more, as it was, to @buffer: its header and payload. -EIO */
int journal_scan_batch(const struct journal_scan *scan, uint32_t n, uint8_t *buffer);

bool journal_numbers_have(const struct journal_numbers *numbers, uint64_t number);
int journal_numbers_add(struct journal_numbers *numbers, uint64_t number); /* greater; -ENOMEM */

/* ---- journal_agree.c: several rings that say the same (I6) ---- */

/* Among @scans, one a member: which records are void that are not said to be? -ENOMEM */
int journal_agree(const struct journal *j, struct journal_scan *scans);

/* The number behind all that were seen. */
uint64_t journal_next_number(const struct journal *j, const struct journal_scan *scans);

/* ---- journal_stripes.c: what the rings hold ---- */

struct journal_stripe *journal_stripe_find(
	const struct journal *j, unsigned member, uint64_t stripe);

/* The same, or a new one, where any of the runs is not superseded. -ENOMEM; *@out may be NULL. */
int journal_stripe_get(struct journal_member *jm, uint64_t stripe, const struct journal_run *runs,
	unsigned run_count, struct journal_stripe **out);

/* Batch @seq holds a record of @runs of it. */
void journal_stripe_note(struct journal_member *jm, struct journal_stripe *s,
	const struct journal_run *runs, unsigned run_count, uint64_t seq);

/* What only batches before the durable tail said is no longer there. */
void journal_stripes_release(struct journal_member *jm);

/* All of a member's, but that appends wait is kept. */
void journal_stripes_drop(struct journal_member *jm);

void journal_row_free(struct journal_row *row);

#endif
