/* SPDX-License-Identifier: MIT */
/* The faults that are armed in a simulated world, and which transfer meets which.
 *
 * Draws come from a stream of their own, and only for a transfer that a fault with a probability
 * below 1 matches: arming one more fault that never matches changes nothing.
 * Owning thread: the world's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "io/sim_internal.h"

struct armed {
	struct list_node node;
	struct sim_fault fault;
	unsigned fired;
};

int sim_world_arm(struct sim_world *world, const struct sim_fault *fault)
{
	struct armed *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->fault = *fault;
	list_push_back(&world->faults, &a->node);
	return 0;
}

void sim_world_disarm_all(struct sim_world *world)
{
	while (!list_empty(&world->faults))
		free(container_of(list_pop_front(&world->faults), struct armed, node));
	list_for_each (n, &world->disks)
		container_of(n, struct sim_disk, node)->gone = false;
}

static bool concerns(enum sim_fault_kind fault, enum io_kind kind)
{
	switch (fault) {
	case SIM_READ_ERROR:
	case SIM_BIT_FLIP:
	case SIM_STALE_READ:
		return kind == IO_READ;
	case SIM_WRITE_ERROR:
	case SIM_TORN_WRITE:
	case SIM_LOST_WRITE:
	case SIM_MISDIRECTED:
		return kind == IO_WRITE;
	case SIM_FLUSH_ERROR:
		return kind == IO_FLUSH;
	case SIM_GONE:
		return kind != IO_ALARM;
	}
	return false;
}

/* A flush touches no bytes: it meets what has no range, and its own error always. */
static bool flush_in_range(const struct sim_fault *f)
{
	return f->kind == SIM_FLUSH_ERROR || (f->offset_bytes == 0 && f->len_bytes == 0);
}

static bool overlap(
	const struct sim_fault *f, uint64_t offset_bytes, uint64_t len_bytes, struct sim_hit *hit)
{
	uint64_t end = f->len_bytes ? f->offset_bytes + f->len_bytes : UINT64_MAX;
	hit->kind = (int)f->kind;
	hit->first_bytes = max_u64(f->offset_bytes, offset_bytes);
	hit->end_bytes = min_u64(end, offset_bytes + len_bytes);
	return hit->first_bytes < hit->end_bytes;
}

static bool fires(struct sim_world *world, struct armed *a)
{
	if (a->fault.per_mille < 1000 &&
		sim_draw_range(&world->fault_rng, 0, 999) >= a->fault.per_mille)
		return false;
	a->fired++;
	return true;
}

struct sim_hit sim_faults_meet(struct sim_world *world, const struct sim_disk *disk,
	enum io_kind kind, uint64_t offset_bytes, uint64_t len_bytes)
{
	list_for_each (n, &world->faults) {
		struct armed *a = container_of(n, struct armed, node);
		struct sim_hit hit;
		bool spent = a->fault.count && a->fired >= a->fault.count;
		if (spent || !concerns(a->fault.kind, kind) ||
			(a->fault.name && strcmp(a->fault.name, disk->name) != 0))
			continue;
		bool in_range = overlap(&a->fault, offset_bytes, len_bytes, &hit);
		if (kind == IO_FLUSH)
			in_range = flush_in_range(&a->fault);
		if (in_range && fires(world, a))
			return hit;
	}
	return (struct sim_hit){.kind = SIM_NO_FAULT};
}
