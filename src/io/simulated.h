/* SPDX-License-Identifier: MIT */
/* The I/O engine on a simulated world: disks in memory, an order of events that follows from a
 * seed, faults on request, and power cuts that drop what was not flushed.
 *
 * A world outlives its engines: free the engines, sim_world_reboot(), make new ones, and what was
 * durable is there again. Requests complete in an order drawn from the seed, in virtual time; a
 * write is volatile until a flush of its disk, and at a power cut each volatile write is
 * independently kept, torn at a 512-byte boundary, or lost, as the seed says.
 * One thread owns a world and all its engines. */
#ifndef STABLEFS_IO_SIMULATED_H
#define STABLEFS_IO_SIMULATED_H

#include "io/io.h"

struct sim_world;

struct sim_world *sim_world_new(uint64_t seed);
void sim_world_free(struct sim_world *world); /* accepts NULL; engines are freed before */

int sim_engine_new(struct sim_world *world, struct io_engine **out);

/* A factory whose ctx is @world. */
struct io_factory sim_factory(struct sim_world *world);

/* Faults. Each is armed for the disk @name (NULL: any) and the byte range; it fires @count times
 * (0: for ever), each time with probability @per_mille / 1000 (1000: always). */
enum sim_fault_kind {
	SIM_READ_ERROR,     /* the read fails with -EIO */
	SIM_WRITE_ERROR,    /* the write fails with -EIO, nothing stored */
	SIM_FLUSH_ERROR,    /* the flush fails with -EIO, nothing becomes durable */
	SIM_BIT_FLIP,       /* one bit of what the read returns is flipped, on the medium too */
	SIM_TORN_WRITE,     /* acknowledged; a prefix of 512-byte sectors is stored */
	SIM_LOST_WRITE,     /* acknowledged; nothing stored */
	SIM_MISDIRECTED,    /* acknowledged; stored one block (4 KiB) further */
	SIM_STALE_READ,     /* the read returns what was there before the newest write to it */
	SIM_GONE,           /* every transfer fails with -ENODEV from now on */
};
struct sim_fault {
	enum sim_fault_kind kind;
	const char *name; /* borrowed while armed */
	uint64_t offset_bytes, len_bytes; /* len 0: to the end */
	unsigned count, per_mille;
};
void sim_world_arm(struct sim_world *world, const struct sim_fault *fault);
void sim_world_disarm_all(struct sim_world *world);

/* Cut the power when the @n-th write from now (0: the next) is about to reach a disk: that write
 * is torn or lost, and every request then and later fails with -ESHUTDOWN until reboot. */
void sim_world_cut_power_after(struct sim_world *world, uint64_t n);
bool sim_world_power_is_cut(const struct sim_world *world);

/* Power on again: volatile writes meet their fate, then only durable bytes remain. Engines made
 * before must be freed first. */
void sim_world_reboot(struct sim_world *world);

/* Number of writes that reached a disk since the world was made (to choose cut points). */
uint64_t sim_world_writes(const struct sim_world *world);

/* Direct access to a medium, as a test's hand: no time passes and no fault fires.
 * -ENOENT, -ERANGE. */
int sim_disk_peek(struct sim_world *world, const char *name, uint64_t offset_bytes, void *buf,
	uint64_t len_bytes);
int sim_disk_poke(struct sim_world *world, const char *name, uint64_t offset_bytes,
	const void *buf, uint64_t len_bytes);
int sim_disk_remove(struct sim_world *world, const char *name);

#endif
