/* SPDX-License-Identifier: MIT */
/* The write planner: from what is to be written, to what must be read and written.
 * Owner thread: none; a pure function on values, table-tested over all widths, offsets, failures.
 * Invariants: I1 all parities of a touched row that are present can be computed from what is read
 *   and what is written. I2 nothing is read from or written to a missing slot. I3 where rmw and rcw
 *   both work, the one with fewer I/Os is taken, then the one with fewer blocks, then rcw. I4 a
 *   block that is only partly covered is read or reconstructed, whatever the way. I5 only written
 *   data slots and the parities are written. I6 what is cached is not loaded, but for blocks in
 *   the midst of a run that is: to leave them out would cost an I/O more.
 * May use: raid (geometry values, the code's choice of sources), base. Must not know: I/O, buffers,
 * PI.
 *
 * Notation, for each row: D_i old data of slot i, D_i' new data of a written slot, P old parity;
 * sums are weighted as each parity has it (raid/parity.h). What is said of P holds for Q.
 *	full	all data slots written whole:	P' = sum of all D_i'; reads nothing
 *	rmw	read D_i of written i, and all parities that are present:
 *						P' = P + sum of (D_i + D_i') over written i
 *	rcw	read D_j of the others:		P' = sum of D_i' + sum of D_j
 *	rebuild	neither works, since of the missing data some are not known and some are written:
 *		read all other data and as many parities as data are missing (P first), rebuild the
 *		missing data (parity_rebuild()), then as rcw
 *	noparity all parities are missing (or the level has none): nothing to compute */
#ifndef STABLEFS_STRIPE_PLAN_H
#define STABLEFS_STRIPE_PLAN_H

#include "raid/geometry.h"

enum plan_row {
	PLAN_ROW_UNTOUCHED = 0,
	PLAN_ROW_FULL,
	PLAN_ROW_RMW,
	PLAN_ROW_RCW,
	PLAN_ROW_REBUILD,
	PLAN_ROW_NOPARITY,
};

enum plan_preference {
	PLAN_FEWEST_IOS,
	PLAN_PREFER_RMW, /* where possible at all; full rows stay full */
	PLAN_PREFER_RCW, /* where possible at all: used when old data or parity is unreadable */
};

struct plan_input {
	const struct geometry *geometry; /* borrowed for the call */
	/* Per data slot: rows written; and those of them covered only in part whose old bytes are
	 * kept. A freshly allocated block is never partial: the rest of it is zeros.
	 * raid1 and single: slot 0. */
	struct rows write[RAID_MAX_SLOTS];
	struct rows partial[RAID_MAX_SLOTS];
	/* Per slot, with the parities: old blocks that are in memory, and cost no I/O. Parity
	 * levels; none where a slot is missing. */
	struct rows cached[RAID_MAX_SLOTS];
	uint32_t missing_slots; /* bit i: slot i of this stripe is on a missing member */
	enum plan_preference preference;
};

struct plan {
	uint8_t row[ROWS_MAX];             /* enum plan_row */
	struct rows read[RAID_MAX_SLOTS];  /* per slot, with the parities; raid1: one copy */
	struct rows load[RAID_MAX_SLOTS];  /* of these: from the members (I6) */
	struct rows write[RAID_MAX_SLOTS]; /* the same; raid1: every copy present */
	unsigned read_ios, write_ios;      /* runs to be loaded, and written: one I/O each */
	unsigned read_blocks, write_blocks;
	unsigned old_blocks; /* that are taken: loaded or cached */
};

/* 0; -EIO where more slots are missing than the level's redundancy bears; -EINVAL for an input that
 * breaks the rules above (nothing written, partial outside write, rows behind the chunk, a slot
 * that holds no data). The geometry has passed geometry_check(). *@out is set only where 0 is
 * returned. A few KiB of stack, no allocation; any thread. */
int plan_write(const struct plan_input *in, struct plan *out);

const char *plan_row_name(enum plan_row row);

#endif
