/* SPDX-License-Identifier: MIT */
/* Power cuts of a simulated world at each of its writes, from one run: a snapshot is what a cut at
 * this moment would leave, as a world of its own, and the world itself goes on. */
#ifndef STABLEFS_IO_SIM_SNAPSHOT_H
#define STABLEFS_IO_SIM_SNAPSHOT_H

#include "io/simulated.h"

/* Have @reached run at each write that a disk has just taken, volatile as yet (NULL: no more). It
 * may look, and make snapshots; it must not use the world otherwise. */
void sim_world_on_write(struct sim_world *world, void (*reached)(void *ctx), void *ctx);

/* The same for each flush that has just made what it covers durable. */
void sim_world_on_flush(struct sim_world *world, void (*reached)(void *ctx), void *ctx);

/* A control, for tests of tests: flushes are acknowledged, and do nothing. */
void sim_world_ignore_flushes(struct sim_world *world, bool ignore);

/* A new world with what the disks of @world would hold if the power were cut now and came back,
 * each volatile write kept, torn or lost as @seed says; no faults are armed in it. NULL: out of
 * memory. */
struct sim_world *sim_world_snapshot(const struct sim_world *world, uint64_t seed);

#endif
