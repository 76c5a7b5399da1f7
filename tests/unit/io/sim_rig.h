/* SPDX-License-Identifier: MIT */
/* A simulated world with one engine and the disk "a". Its seed is printed. */
#ifndef STABLEFS_TESTS_SIM_RIG_H
#define STABLEFS_TESTS_SIM_RIG_H

#include "io/simulated.h"
#include "io_rig.h"

#define DISK_BYTES (64 * BLOCK_BYTES)

struct rig {
	struct sim_world *world;
	struct io_engine *io;
	struct io_file *file; /* "a" */
};

static inline void rig_connect(struct rig *rig)
{
	assert_int_equal(sim_engine_new(rig->world, &rig->io), 0);
	assert_int_equal(io_open(rig->io, "a", 0, 0, &rig->file, NULL), 0);
}

static inline struct rig rig_new(uint64_t seed)
{
	struct rig rig = {.world = sim_world_new(seed)};
	assert_non_null(rig.world);
	assert_int_equal(sim_engine_new(rig.world, &rig.io), 0);
	assert_int_equal(io_open(rig.io, "a", IO_OPEN_CREATE, DISK_BYTES, &rig.file, NULL), 0);
	return rig;
}

static inline void rig_disconnect(struct rig *rig)
{
	io_close(rig->file);
	io_engine_free(rig->io);
	rig->file = NULL;
	rig->io = NULL;
}

static inline void rig_free(struct rig *rig)
{
	rig_disconnect(rig);
	sim_world_free(rig->world);
}

static inline void rig_reboot(struct rig *rig)
{
	rig_disconnect(rig);
	sim_world_reboot(rig->world);
	rig_connect(rig);
}

/* Write @blocks blocks of generation @tag at block @at, and wait. */
static inline int rig_write(struct rig *rig, uint64_t at, unsigned blocks, uint64_t tag)
{
	size_t len_bytes = (size_t)blocks * BLOCK_BYTES;
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(len_bytes);
	fill_sectors(buf, len_bytes, at * 8, tag);
	return op_now(IO_WRITE, rig->file, at * BLOCK_BYTES, buf, len_bytes);
}

static inline int rig_flush(struct rig *rig)
{
	return op_now(IO_FLUSH, rig->file, 0, NULL, 0);
}

/* Whether sectors from @sector on hold generation @tag (0: zeros) on the medium. */
static inline bool rig_holds(struct rig *rig, uint64_t sector, unsigned count, uint64_t tag)
{
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(count * 512);
	assert_int_equal(sim_disk_peek(rig->world, "a", sector * 512, buf, count * 512), 0);
	return tag ? holds_sectors(buf, count * 512, sector, tag) : is_zeros(buf, count * 512);
}

/* How many sectors of the block range hold @tag, all of them in front; -1: neither @tag nor
 * @old everywhere. */
static inline int rig_prefix(
	struct rig *rig, uint64_t at, unsigned blocks, uint64_t tag, uint64_t old)
{
	int count = 0, sectors = (int)blocks * 8;
	while (count < sectors && rig_holds(rig, at * 8 + (uint64_t)count, 1, tag))
		count++;
	if (count < sectors &&
		!rig_holds(rig, at * 8 + (uint64_t)count, (unsigned)(sectors - count), old))
		return -1;
	return count;
}

#endif
