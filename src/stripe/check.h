/* SPDX-License-Identifier: MIT */
/* A look at a whole stripe: what check.c (the frame), check_mend.c (what is right, and putting it
 * right) and check_rebuild.c (filling a stale member's slot) share. Engine thread. */
#ifndef STABLEFS_STRIPE_CHECK_H
#define STABLEFS_STRIPE_CHECK_H

#include <string.h>
#include "raid/parity.h"
#include "stripe/internal.h"

struct check_op {
	struct stripe_engine *eng;
	struct stripe_check *check;
	struct stripe_state *state; /* NULL: held by a write, not ours to release */
	struct stripe_part *part;   /* the same */
	struct stripe_view view;
	uint8_t *blocks;         /* [slot][row]; the caller's or the arena's */
	uint8_t *tuples;         /* [slot][row]; the caller's or owned */
	uint8_t *spare;          /* arena: one block */
	struct slot_xfer *xfers; /* owned */
	unsigned xfer_count, pending;
	bool power_lost;
	bool rebuild_failed; /* REBUILD: some rows are lost */
	struct engine_parked parked;
	struct rows rewrite[RAID_MAX_SLOTS];         /* right in memory, to be written */
	struct member_flush flushes[RAID_MAX_SLOTS]; /* RESYNC: behind that */
	struct rows vouched; /* the partial-write log vouches for what the parities say of a row */
	struct intent_wait intent;
	bool marking; /* intent_write_begin() was called */
};

static inline unsigned check_rows(const struct check_op *op)
{
	return op->eng->config.geometry.chunk_blocks;
}

static inline uint8_t *check_block_at(const struct check_op *op, unsigned slot, unsigned row)
{
	return op->blocks + ((size_t)slot * check_rows(op) + row) * BLOCK_BYTES;
}

static inline uint8_t *check_tuple_at(const struct check_op *op, unsigned slot, unsigned row)
{
	return op->tuples
		       ? op->tuples + ((size_t)slot * check_rows(op) + row) * op->eng->tuple_bytes
		       : NULL;
}

static inline bool check_is_present(const struct check_op *op, unsigned slot)
{
	return !slot_missing(&op->view, slot);
}

static inline bool check_with_parity(const struct check_op *op)
{
	return geometry_has_parity(&op->eng->config.geometry);
}

/* Nothing can be made of what was read there. */
static inline bool check_is_bad(const struct check_op *op, unsigned slot, unsigned row)
{
	return !check_is_present(op, slot) || rows_has(&op->check->unreadable[slot], row) ||
	       rows_has(&op->check->guard_bad[slot], row);
}

/* The slots that are bad in @row. */
static inline uint32_t check_bad_slots(const struct check_op *op, unsigned row)
{
	uint32_t bad = 0;
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		if (check_is_bad(op, slot, row))
			bad |= 1u << slot;
	return bad;
}

static inline struct parity_code check_code(const struct check_op *op)
{
	return parity_code_of(&op->eng->config.geometry);
}

/* May the parities bear that these slots are @missing? */
static inline bool check_can_solve(const struct check_op *op, uint32_t missing)
{
	return (unsigned)__builtin_popcount(missing) <= check_code(op).parities;
}

/* The blocks of @row, for parity.h. */
static inline void check_row(const struct check_op *op, unsigned row, void **blocks)
{
	for (unsigned slot = 0; slot < op->eng->slots; slot++)
		blocks[slot] = check_block_at(op, slot, row);
}

static inline bool check_blocks_equal(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, BLOCK_BYTES) == 0;
}

/* ---- check.c ---- */

/* What @slot must hold in @row, from the others that are not @missing (@slot is, and no more slots
 * than there are parities); in the spare block. (Parity levels.) */
const uint8_t *check_solve_without(
	struct check_op *op, unsigned row, unsigned slot, uint32_t missing);

/* The same from all other slots. */
static inline const uint8_t *check_solve(struct check_op *op, unsigned row, unsigned slot)
{
	return check_solve_without(op, row, slot, 1u << slot);
}

/* ---- check_log.c ---- */

/* RESYNC: what the partial-write log knows of @row is in memory, right, and will be written. */
void check_log_replay(struct check_op *op, unsigned row);

/* ---- check_tag.c ---- */

/* Where nothing was bad in @row, the parity's tag fits the data. True without PI. */
bool check_tag_fits(struct check_op *op, unsigned slot, unsigned row);

/* Does what the parities say of the @bad slots fit their tags? (@slot, of which no tuple is known,
 * is one of those, and in the spare block before and after.) True without PI. */
bool check_solution_fits(struct check_op *op, unsigned slot, unsigned row, uint32_t bad);

/* The tag in the tuple of the parity in @slot is made to fit the data in memory: they are right. */
void check_tag_renew(struct check_op *op, unsigned slot, unsigned row);

/* The same of a parity that a new member gets: of a row with lost data it is the other parity's
 * tag, which does not fit either. */
void check_tag_fill(struct check_op *op, unsigned slot, unsigned row);

/* RESYNC, two parities: the tags of @row say that these missing slots are lost. */
void check_tag_set_lost(struct check_op *op, uint32_t lost, unsigned row);

/* Some parity names a lost slot. */
bool check_names_lost(const struct check_op *op, unsigned row);

/* The data slot of @row that was not told of its last write, though it passes its check, as do all
 * blocks of the row, which do not agree; -1: the parity is wrong, or nobody can tell. */
int check_find_stale(struct check_op *op, unsigned row);

/* ---- check_mend.c ---- */

/* The block in memory is right now: it gets a tuple, and will be written. A parity keeps its row
 * tag. */
void check_set_right(struct check_op *op, unsigned slot, unsigned row);

/* Into the spare block: what @slot should hold by the others without the @bad ones (@slot is one of
 * them), by whatever parities are left. False where nothing says that it is right. */
bool check_solve_rightly(struct check_op *op, unsigned slot, unsigned row, uint32_t bad);

/* Decide for each row what is right. What must be written is in op->rewrite then. */
void check_mend_rows(struct check_op *op);

/* ---- check_rebuild.c ---- */

/* The same for what the member of a REBUILD should hold, after mending the others. */
void check_rebuild_rows(struct check_op *op);

#endif
