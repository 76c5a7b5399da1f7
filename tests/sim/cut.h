/* SPDX-License-Identifier: MIT */
/* A power cut in a life: what is on the disks at this moment, with a fate for each volatile write
 * and perhaps without a member or two, is put into operation again and looked at in full. The life
 * itself goes on. */
#ifndef STABLEFS_TESTS_SIM_CUT_H
#define STABLEFS_TESTS_SIM_CUT_H

#include "life.h"

enum cut_control {
	CUT_CAREFUL,
	CUT_NO_RESYNC,    /* nobody looks at the marked regions */
	CUT_BELIEVE_STALE /* a member that was out counts as if it had been there */
};

struct cut {
	const struct life *life;
	uint64_t number; /* of the write in the life that the disk has just taken */
	unsigned fate;   /* which fates, and what happens besides */
	uint32_t lost;   /* mask of members that the cut takes along, as far as the level bears */
	uint64_t second; /* the power goes again at that write of the recovery; 0: it stays */
	enum cut_control how;
	bool verbose;
};

struct cut_found {
	uint64_t bytes;       /* compared with the history */
	uint32_t lost;        /* members that it did take along */
	unsigned unprotected; /* blocks that the write hole took, as documented */
	unsigned silent;      /* of these, with PI: not errors but wrong bytes */
	bool cut_twice;
	const char *problem; /* the first; NULL: everything is as it should be */
	uint64_t block;      /* where; of the volume */
};

/* Fill in @cut->lost and @cut->second as number, fate and the life's seed say. */
void cut_choose(struct cut *cut);

struct cut_found cut_look(const struct cut *cut);

#endif
