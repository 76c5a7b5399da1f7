/* SPDX-License-Identifier: MIT */
/* What read.c and read_sink.c share: a read under way, and what it wants. Engine thread. */
#ifndef STABLEFS_STRIPE_READ_H
#define STABLEFS_STRIPE_READ_H

#include "stripe/internal.h"

struct placing;

/* A run of rows of one data slot that somebody wants. */
struct want {
	struct read_op *op;
	unsigned slot, row, rows;
	uint8_t *dest;   /* rows blocks, in op->blocks */
	uint32_t avoid;  /* slots (raid1: copies) that are missing or gave bad blocks */
	bool suspect;    /* dest holds what the medium gave and failed its check */
	bool misled;     /* it is wanted again since the reader's memory failed its check */
	bool rebuilt;    /* from parity: there is no other way */
	bool untagged;   /* what was rebuilt did not fit its row tag */
	bool gone;       /* a member that holds it is: there is nothing to heal */
	int err;         /* what it failed with; -EILSEQ where two ways failed differently */
	uint8_t *tuples; /* owned: of dest, "never written" where they could not be read */
	struct slot_xfer plain;
	/* To rebuild from: the other slots' rows, tuples, transfers. Owned; blocks of the arena. */
	uint8_t *others, *others_tuples;
	struct slot_xfer *others_xfers;
	unsigned others_count, pending;
	struct placing *placing; /* owned: read_sink.c */
};

struct read_op {
	struct stripe_engine *eng;
	struct stripe_state *state;
	struct stripe_part *part;
	struct stripe_view view;
	unsigned first_block, block_count; /* in the data of the stripe */
	uint8_t *blocks; /* where whole blocks go: the request's memory, or bounce */
	uint8_t *bounce; /* arena, for ranges that are not whole blocks */
	unsigned wants;  /* under way */
	bool heal;
	bool misled; /* and that is also because of what a reader's memory held */
	int err;
};

/* @w is over; the last one of its operation ends that. Takes @w. */
void want_done(struct want *w);

/* What the reader's memory held of @row failed its check: from another copy, or rebuilt; where it
 * had been rebuilt, the read fails. */
void want_misled(struct want *w, unsigned row);

/* ---- read_sink.c ---- */

static inline bool want_has_sink(const struct want *w)
{
	return w->op->part->req->sink && w->op->eng->tuple_bytes;
}

/* Put @rows of @w (none or more), whose blocks are good, into the reader's memory, keep the read
 * open for its hold_ns, see what is there then, and check that. Takes @w. */
void want_place(struct want *w, struct rows rows);

#endif
