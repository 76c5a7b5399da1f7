/* SPDX-License-Identifier: MIT */
/* A write operation: what write.c (the pipeline), write_confirm.c (the last look at the writers'
 * memory) and write_mend.c (what it does about damage) share. Engine thread. */
#ifndef STABLEFS_STRIPE_WRITE_H
#define STABLEFS_STRIPE_WRITE_H

#include "raid/parity.h"
#include "stripe/span.h"

struct write_mend;
struct write_log;

struct write_op {
	struct stripe_engine *eng;
	struct stripe_state *state;
	struct stripe_view view;
	struct rows rows;          /* of the stripe, which are ours */
	struct stripe_alone alone; /* to have all of it */
	struct list parts;         /* of stripe_part */
	struct span *spans;        /* owned */
	unsigned span_count;
	unsigned row_first, row_count; /* the rows that the operation touches lie in there */
	void *tables;                  /* owned: span_at, old_tuples and tuples lie in it */
	struct span **span_at;         /* [data slot][row - row_first], NULL: not written */
	uint8_t *old_tuples, *tuples;  /* [slot][row - row_first]; NULL without PI */
	struct plan plan;
	uint8_t *old[RAID_MAX_SLOTS]; /* arena: row_count blocks each, where read or rebuilt */
	uint8_t *parity;         /* arena: row_count blocks a parity; NULL: the level has none */
	struct slot_xfer *xfers; /* owned: of the current phase, with iovs behind */
	struct iovec *iovs;
	unsigned xfer_count, pending;
	uint64_t hold_ns;
	unsigned next_slot;     /* the next to be sent its data */
	struct iovec *next_iov; /* into iovs */
	bool sent;              /* something of it may have reached a member */
	bool marking;           /* intent_write_begin() was called */
	bool marked;            /* and its mark is durable */
	bool again;             /* everything is sampled and stored once more */
	/* Bytes that other threads are fetching; the last of them posts the call. */
	_Atomic unsigned fetching;
	void (*fetched)(struct write_op *op);
	struct engine_call call;
	struct intent_wait intent;
	struct io_req alarm;
	int promise_err;
	struct write_mend *mend; /* owned; where damage was met */
	struct write_log *log;   /* owned; where the write is logged */
	int finish_err;          /* write_finish()'s, during write_log_cancel() */
	struct engine_parked parked;
};

static inline bool write_has_parity(const struct write_op *op)
{
	return geometry_has_parity(&op->eng->config.geometry);
}

static inline struct span **write_span_at(const struct write_op *op, unsigned slot, unsigned row)
{
	return &op->span_at[slot * op->row_count + row - op->row_first];
}

static inline uint8_t *write_tuple_at(
	const struct write_op *op, uint8_t *tuples, unsigned slot, unsigned row)
{
	return tuples ? tuples + (slot * op->row_count + row - op->row_first) * op->eng->tuple_bytes
		      : NULL;
}

/* The block of @row in a buffer of row_count blocks. */
static inline uint8_t *write_block_at(const struct write_op *op, uint8_t *blocks, unsigned row)
{
	return blocks + (size_t)(row - op->row_first) * BLOCK_BYTES;
}

static inline struct parity_code write_code(const struct write_op *op)
{
	return parity_code_of(&op->eng->config.geometry);
}

static inline uint32_t write_missing_data(const struct write_op *op)
{
	return op->view.missing & ((1u << op->eng->data_slots) - 1);
}

/* The new block of @row of a parity slot. */
static inline uint8_t *write_parity_at(const struct write_op *op, unsigned slot, unsigned row)
{
	size_t chunk_bytes = (size_t)op->row_count * BLOCK_BYTES;
	return write_block_at(op, op->parity + (slot - op->eng->data_slots) * chunk_bytes, row);
}

static inline uint32_t write_parity_bytes(const struct write_op *op)
{
	return geometry_parity_slots(&op->eng->config.geometry) * op->row_count * BLOCK_BYTES;
}

/* The rows in which a parity is to be written: the same ones for all parities that are there. */
static inline struct rows write_parity_rows(const struct write_op *op)
{
	struct rows rows = {0};
	for (unsigned slot = op->eng->data_slots; slot < op->eng->slots; slot++)
		rows = rows_or(rows, op->plan.write[slot]);
	return rows;
}

/* ---- write.c ---- */

/* @cached: of each slot, what is in memory; NULL: nothing. 0 or -EIO. */
int write_plan(struct write_op *op, enum plan_preference preference, const struct rows *cached);

/* Buffers for the old blocks that the plan wants. 0 or -ENOMEM. */
int write_allocate_old(struct write_op *op);

/* Fresh transfers for a phase, of @count runs with @iov_count pieces in all. 0 or -ENOMEM. */
int write_allocate_xfers(struct write_op *op, unsigned count, unsigned iov_count);

/* Everything that the plan reads is in op->old, and right: go on. */
void write_old_data_ready(struct write_op *op);

/* Have the bytes of the @wanted spans fetched for @copy, then go on with @next. */
void write_fetch(struct write_op *op, bool (*wanted)(const struct span *s), unsigned copy,
	void (*next)(struct write_op *op));

/* Sample and store what the spans give, by the plan, from the old blocks in op->old. */
void write_sample(struct write_op *op);

/* The parities of @row that are planned, from @terms, and their tuples. */
void write_make_parities(
	struct write_op *op, unsigned row, const struct parity_term *terms, unsigned count);

/* What is stored is what is to stay, but for what failed. */
void write_confirmed(struct write_op *op);

/* Go on with @resume when the members that are leaving are out. */
void write_park(struct write_op *op, void (*resume)(struct engine_parked *parked));

/* The end of the operation: each part gets @err, or where that is 0 its own. Takes @op. */
void write_finish(struct write_op *op, int err);

/* Run the parts anew, each in an operation of its own: one that cannot be done shall not fail the
 * others. Takes @op. */
void write_split(struct write_op *op);

/* The region's mark or the log's record is durable, or will not be (@err). */
void write_promised(struct write_op *op, int err);

/* D_m of @row for every missing data slot, into op->old[m], from what was read. */
void write_rebuild_missing(struct write_op *op, unsigned row);

/* ---- write_tag.c ---- */

/* The row tag that goes with the new parity in @slot. */
uint16_t write_row_tag(const struct write_op *op, unsigned slot, unsigned row);

/* Of what is written in @row to missing slots only the parity will know: its sample counts there
 * for the row tag, whatever that of the guard was. */
void write_missing_tuples(struct write_op *op, unsigned row);

/* Do the missing blocks that the plan rebuilds fit the row tags of the parities that they are made
 * of? They are in op->old then, with tuples. */
bool write_rebuilt_fit(struct write_op *op);

/* ---- write_log.c ---- */

/* The parity is made: log what is to be stored. 1: write_promised() follows; 0: nothing to log;
 * -E2BIG: the parts are too scattered to be logged together; -ENOMEM. The second time (op->again)
 * it needs no memory. */
int write_log_start(struct write_op *op);

/* Of parts that are in the log as they will be stored, the writers hear (stripe.h, logged()), once.
 * Called where that may have become true. */
void write_log_answer(struct write_op *op);

/* The operation ends with @err, or with the errors of its parts: where what was logged must not
 * come back after a crash, say so in the log. True: write_finish() is called again, with
 * op->finish_err. */
bool write_log_cancel(struct write_op *op, int err);

/* The record of the operation is needed no more after a flush. Also without one. */
void write_log_end(struct write_op *op);

/* ---- write_cache.c ---- */

/* Add to @cached, by slot, the old blocks that are in memory and may stand for a read. */
void write_cache_look(const struct write_op *op, struct rows *cached);

/* Those that the plan takes, into op->old; straight after write_cache_look(). */
void write_cache_fill(struct write_op *op);

/* What the plan has loaded is right. */
void write_cache_keep_old(struct write_op *op);

/* The members are about to be written; the operation ends with @err, or with the errors of its
 * parts. */
void write_cache_take_out(struct write_op *op);
void write_cache_keep_new(struct write_op *op, int err);

/* ---- write_confirm.c ---- */

/* The members have answered for everything. Goes on with write_confirmed(), or, where some writer's
 * memory is not what was sampled, stores all of it once more before that. */
void write_confirm(struct write_op *op);

/* ---- write_mend.c ---- */

/* Old data or parity is damaged (@err: how). Goes on with write_old_data_ready() once there is a
 * way that needs only what is right, else with write_finish(). */
void write_mend_old_data(struct write_op *op, int err);

/* A transfer failed, and no writer is to hear of it: its member goes. */
void write_note_failure(struct write_op *op, const struct slot_xfer *x);

/* The writers whose bytes were in a transfer that failed hear of it; of a failed parity all do. */
void write_blame(struct write_op *op, const struct slot_xfer *x);

/* Some transfers of the operation failed, others may have been stored: make the stripe consistent
 * (I5), then write_finish(). Writers who share an operation with a refused one run anew, each by
 * itself: nobody is refused for another's bytes. */
void write_mend_stripe(struct write_op *op);

void write_mend_free(struct write_op *op);

#endif
