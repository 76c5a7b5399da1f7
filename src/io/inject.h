/* SPDX-License-Identifier: MIT */
/* An engine that lets faults happen on the way to another engine: what `inject` is made of.
 *
 * A world is shared by all engines that its factory makes (the stripes' and the system area's), as
 * one machine's disks share one power supply. With nothing armed a request passes with one look.
 * Threads: each engine is its owner's; the world has a lock of its own. */
#ifndef STABLEFS_IO_INJECT_H
#define STABLEFS_IO_INJECT_H

#include "io/fault.h"

struct inject_world;

/* @inner is borrowed and outlives the world and its engines. */
struct inject_world *inject_world_new(const struct io_factory *inner, uint64_t seed);
void inject_world_free(struct inject_world *world); /* accepts NULL; its engines are freed before */

/* A factory whose engines inject; it lives in the world. */
const struct io_factory *inject_world_factory(struct inject_world *world);

/* The armed faults. Arm and disarm through these two, so that the world can prepare (stale reads
 * and power cuts keep what writes replace, from arming on). Acknowledged: what is submitted after
 * the return meets it. Returns as fault_set_arm(); any thread. */
struct fault_set *inject_world_faults(struct inject_world *world);
int inject_world_arm(struct inject_world *world, const struct fault *fault);
int inject_world_disarm(
	struct inject_world *world, int id); /* 0: all; also ends hangs and "gone" */

bool inject_world_power_is_cut(struct inject_world *world);

#endif
