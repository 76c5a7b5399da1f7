/* SPDX-License-Identifier: MIT */
/* The I/O engine on a simulated world: disks in memory, an order of events that follows from a
 * seed, faults on request, and power cuts that drop what was not flushed.
 *
 * A world outlives its engines: free the engines, sim_world_reboot(), make new ones, and what was
 * durable is there again. Requests complete in an order drawn from the seed, in virtual time; a
 * write is volatile until a flush of its disk, and at a power cut each volatile write is
 * independently kept, torn at a 512-byte boundary, or lost, as the seed says.
 *
 * The life of a request: it is submitted; at some later time it *reaches* the disk, which is when
 * a write's memory is read and a read's memory is filled; later still it completes. So a write may
 * be on the medium, or in the disk's cache, although its done() never ran. A flush makes durable
 * those writes of its disk whose done() had run when it was submitted, and no other (except an
 * older write that overlaps one of them). A durable write (io_req.durable) is flushed alone when
 * its done() runs. A request of a file with a timeout ends at its deadline, and the disk has then
 * no hold on it: it may have been stored, or filled, before. Alarms fire at their due time exactly.
 * Time passes only in io_run(): one microsecond a call, and up to the next event with @wait. All
 * engines of a world share its clock and its disks; done() of an engine runs in its own io_run().
 * Creating, emptying and removing a disk is durable at once. Requests must keep to the alignment of
 * io.h, memory addresses too (-EINVAL), as O_DIRECT demands. IO_OPEN_LOCK of a disk that is locked
 * is -EBUSY at once. An engine that is freed forgets its requests; their done() never runs.
 * One thread owns a world and all its engines; io_wake() and io_now_ns() are for any. */
#ifndef STABLEFS_IO_SIMULATED_H
#define STABLEFS_IO_SIMULATED_H

#include "io/fault.h"
#include "io/io.h"

struct sim_world;

struct sim_world *sim_world_new(uint64_t seed);
void sim_world_free(struct sim_world *world); /* accepts NULL; engines are freed before */

int sim_engine_new(struct sim_world *world, struct io_engine **out);

/* A factory whose ctx is @world. */
struct io_factory sim_factory(struct sim_world *world);

/* The world's faults (fault.h): they meet a transfer when it reaches its disk, and a file is called
 * as its disk is. io_zero() counts as a write. Arming a fault changes nothing in the order of
 * events. Faults stay armed over a reboot. A transfer that hangs goes on when its fault is
 * disarmed; io_run() waits for no such thing: it returns. */
struct fault_set *sim_world_faults(struct sim_world *world);

/* A shorter way to arm the common ones. */
enum sim_fault_kind {
	SIM_READ_ERROR = FAULT_READ_ERROR,
	SIM_WRITE_ERROR = FAULT_WRITE_ERROR,
	SIM_FLUSH_ERROR = FAULT_FLUSH_ERROR,
	SIM_LATENCY = FAULT_LATENCY,
	SIM_HANG = FAULT_HANG,
	SIM_BIT_FLIP = FAULT_BIT_FLIP,
	SIM_TORN_WRITE = FAULT_TORN_WRITE,
	SIM_LOST_WRITE = FAULT_LOST_WRITE,
	SIM_MISDIRECTED = FAULT_MISDIRECTED,
	SIM_STALE_READ = FAULT_STALE_READ,
	SIM_GONE = FAULT_GONE,
	SIM_POWER_CUT = FAULT_POWER_CUT,
};
struct sim_fault {
	enum sim_fault_kind kind;
	const char *name; /* NULL: any */
	uint64_t offset_bytes, len_bytes;
	unsigned skip, count, per_mille;
	uint64_t latency_ns;
};

/* 0 or -ENOMEM. */
int sim_world_arm(struct sim_world *world, const struct sim_fault *fault);

/* Forget all faults; a disk that is gone comes back as it was. */
void sim_world_disarm_all(struct sim_world *world);

/* Cut the power when the @n-th write from now (0: the next) is about to reach a disk: that write
 * is torn or lost, and every request whose done() has not run by then (alarms too), every later
 * one, io_open() and io_zero() fail with -ESHUTDOWN until reboot. */
void sim_world_cut_power_after(struct sim_world *world, uint64_t n);
bool sim_world_power_is_cut(const struct sim_world *world);

/* Power on again: volatile writes meet their fate, then only durable bytes remain. Engines made
 * before must be freed first. Also without a cut before: that is a power failure now. */
void sim_world_reboot(struct sim_world *world);

/* The same after a "power cut" that was only the end of all programs: what reached a disk is there,
 * flushed or not. */
void sim_world_restart(struct sim_world *world);

/* Number of writes that reached a disk since the world was made (to choose cut points): a run with
 * the same seed can be cut after 0 to sim_world_writes() - 1. */
uint64_t sim_world_writes(const struct sim_world *world);

/* Direct access to a medium, as a test's hand: no time passes and no fault fires; any alignment.
 * A peek sees the newest bytes, volatile or not; a poke is durable at once. -ENOENT, -ERANGE,
 * -ENOMEM. A disk that is removed while open fails its transfers with -ENODEV. */
int sim_disk_peek(struct sim_world *world, const char *name, uint64_t offset_bytes, void *buf,
	uint64_t len_bytes);
int sim_disk_poke(struct sim_world *world, const char *name, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes);
int sim_disk_remove(struct sim_world *world, const char *name);

#endif
