/* SPDX-License-Identifier: MIT */
/* Random requests, many at a time, against a model.
 *
 * The model is the array of bytes that the volume should hold. It is changed when a write is
 * posted, and what a read should give is copied when the read is posted: the engine takes requests
 * of one stripe in the order in which they were posted, so that is what must come, however they
 * overlap. */
#ifndef STABLEFS_TESTS_SIM_WORKLOAD_H
#define STABLEFS_TESTS_SIM_WORKLOAD_H

#include "rig.h"

#define WORKLOAD_DEPTH 24u

struct workload_op {
	struct rig_io *io;  /* NULL: free */
	uint8_t *wanted;    /* owned; of a read */
	struct source live; /* not stable, but never changed: every sample is a copy of the same */
};

struct workload {
	struct rig *rig;
	uint8_t *model;                /* owned */
	uint64_t first_byte, end_byte; /* requests stay in this range */
	uint64_t next_byte; /* where a stream goes on: a third of all requests belong to it */
	struct workload_op ops[WORKLOAD_DEPTH];
	unsigned errors, mismatches; /* requests that failed; reads that gave other bytes */
	/* Blocks that workload_verify() found to be others, with the guard of the right ones: no
	 * tuple can tell. They are none of the mismatches. */
	unsigned collisions;
};

void workload_init(struct workload *w, struct rig *rig);
void workload_fini(struct workload *w);

/* Post one random request; where all places are taken, run the engine until one is free. */
void workload_step(struct workload *w);

/* Wait for all. */
void workload_drain(struct workload *w);

/* Drain, and read the whole volume. */
void workload_verify(struct workload *w);

#endif
