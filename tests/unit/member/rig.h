/* SPDX-License-Identifier: MIT */
/* A member on a simulated disk, for tests of member and intent. */
#ifndef STABLEFS_TESTS_MEMBER_RIG_H
#define STABLEFS_TESTS_MEMBER_RIG_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "io/simulated.h"
#include "member/member.h"

#define RIG_DISK "disk0"

struct rig {
	struct sim_world *world;
	struct io_engine *io;
	struct member *m;
	uint64_t random;
};

static inline uint64_t rig_random(struct rig *rig)
{
	rig->random ^= rig->random << 13;
	rig->random ^= rig->random >> 7;
	rig->random ^= rig->random << 17;
	return rig->random;
}

/* A superblock of one member out of three, laid out for @stripes stripes of 64 KiB chunks. */
static inline struct super rig_super(enum pi_type pi, enum pi_check check, uint64_t stripes)
{
	struct super super = {.created_ns = 1000,
		.generation = 1,
		.level = 5,
		.members = 3,
		.index = 1,
		.chunk_blocks = 16,
		.pi = pi,
		.pi_check = check,
		.label = "rig"};
	memset(super.volume_uuid, 0xa5, 16);
	memset(super.member_uuid, 0x5a, 16);
	for (unsigned i = 0; i < 3; i++)
		super.states[i] = SUPER_MEMBER_ACTIVE;
	assert_int_equal(super_layout(&super, stripes, 65536, NULL), 0);
	return super;
}

static inline struct member *rig_create_member(
	struct rig *rig, const char *name, const struct super *super)
{
	struct member_probe probe = {.super = *super};
	struct member *m;
	assert_int_equal(
		io_open(rig->io, name, IO_OPEN_CREATE, super->member_bytes, &probe.file, NULL), 0);
	assert_int_equal(member_open(rig->io, name, &probe, &m), 0);
	assert_int_equal(member_super_write(m), 0);
	return m;
}

static inline void rig_init_empty(struct rig *rig, uint64_t seed)
{
	print_message("seed %llu\n", (unsigned long long)seed);
	*rig = (struct rig){.world = sim_world_new(seed), .random = seed * 2654435761u + 1};
	assert_non_null(rig->world);
	assert_int_equal(sim_engine_new(rig->world, &rig->io), 0);
}

static inline void rig_init(
	struct rig *rig, uint64_t seed, enum pi_type pi, enum pi_check check, uint64_t stripes)
{
	struct super super = rig_super(pi, check, stripes);
	rig_init_empty(rig, seed);
	rig->m = rig_create_member(rig, RIG_DISK, &super);
}

static inline void rig_fini(struct rig *rig)
{
	member_free(rig->m);
	io_engine_free(rig->io);
	sim_world_free(rig->world);
}

static inline struct member *rig_open_member(struct rig *rig, const char *name)
{
	struct member_probe probe;
	struct errmsg why = {0};
	struct member *m;
	if (member_probe(rig->io, name, 0, &probe, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(member_open(rig->io, name, &probe, &m), 0);
	return m;
}

/* The power fails and comes back; what was under way is forgotten. */
static inline void rig_reboot(struct rig *rig)
{
	member_free(rig->m);
	rig->m = NULL;
	io_engine_free(rig->io);
	sim_world_reboot(rig->world);
	assert_int_equal(sim_engine_new(rig->world, &rig->io), 0);
	rig->m = rig_open_member(rig, RIG_DISK);
}

static inline void rig_arm(struct rig *rig, enum sim_fault_kind kind, uint64_t offset_bytes,
	uint64_t len_bytes, unsigned count)
{
	struct sim_fault fault = {.kind = kind,
		.name = RIG_DISK,
		.offset_bytes = offset_bytes,
		.len_bytes = len_bytes,
		.count = count,
		.per_mille = 1000};
	sim_world_arm(rig->world, &fault);
}

/* One transfer with memory of its own. */
struct rig_xfer {
	struct member_xfer x;
	struct iovec iov[2];
	uint8_t *data;
	uint8_t *tuples;
	bool ended;
	int err;
};

static inline void rig_xfer_done(struct member_xfer *x, int err)
{
	struct rig_xfer *rx = container_of(x, struct rig_xfer, x);
	assert_false(rx->ended);
	rx->ended = true;
	rx->err = err;
}

/* The data comes in two pieces where there are two blocks or more. */
static inline struct rig_xfer *rig_xfer_new(struct rig *rig, uint64_t block, uint32_t blocks)
{
	struct rig_xfer *rx = calloc(1, sizeof(*rx));
	uint32_t half = blocks / 2 ? blocks / 2 : blocks;
	rx->data = mem_alloc_blocks((size_t)blocks * BLOCK_BYTES);
	rx->tuples = calloc(blocks, PI_MAX_TUPLE_BYTES);
	rx->iov[0] = (struct iovec){rx->data, (size_t)half * BLOCK_BYTES};
	rx->iov[1] = (struct iovec){
		rx->data + (size_t)half * BLOCK_BYTES, (size_t)(blocks - half) * BLOCK_BYTES};
	rx->x = (struct member_xfer){.member = rig->m,
		.block = block,
		.blocks = blocks,
		.iov = rx->iov,
		.iov_count = blocks > half ? 2 : 1,
		.tuples = rx->tuples,
		.done = rig_xfer_done};
	return rx;
}

static inline void rig_xfer_free(struct rig_xfer *rx)
{
	free(rx->data);
	free(rx->tuples);
	free(rx);
}

static inline void rig_run_until(struct rig *rig, const bool *ended)
{
	for (unsigned i = 0; !*ended; i++) {
		assert_true(io_run(rig->io, true) >= 0);
		assert_true(i < 1000000);
	}
}

/* What the tests store in @block: its number and a version, all over; never all zeros. */
static inline void rig_fill(uint8_t *data, uint64_t block, uint64_t version)
{
	for (unsigned i = 0; i < BLOCK_BYTES; i += 16) {
		uint64_t words[2] = {block + 1, version};
		memcpy(data + i, words, 16);
	}
}

static inline struct rig_xfer *rig_write_new(
	struct rig *rig, uint64_t block, uint32_t blocks, uint64_t version)
{
	struct rig_xfer *rx = rig_xfer_new(rig, block, blocks);
	for (uint32_t i = 0; i < blocks; i++)
		rig_fill(rx->data + (size_t)i * BLOCK_BYTES, block + i, version);
	pi_generate(member_super(rig->m)->pi, rx->data, blocks, block, rx->tuples);
	return rx;
}

static inline int rig_write(struct rig *rig, uint64_t block, uint32_t blocks, uint64_t version)
{
	struct rig_xfer *rx = rig_write_new(rig, block, blocks, version);
	member_write(&rx->x);
	rig_run_until(rig, &rx->ended);
	int err = rx->err;
	rig_xfer_free(rx);
	return err;
}

/* Read; the transfer is given back for a look at what came. */
static inline struct rig_xfer *rig_read(struct rig *rig, uint64_t block, uint32_t blocks)
{
	struct rig_xfer *rx = rig_xfer_new(rig, block, blocks);
	memset(rx->data, 0xee, (size_t)blocks * BLOCK_BYTES);
	member_read(&rx->x);
	assert_false(rx->ended);
	rig_run_until(rig, &rx->ended);
	return rx;
}

/* Whether the block reads back, checked, as @version (0: zeros). */
static inline bool rig_block_is(const struct rig_xfer *rx, uint32_t i, uint64_t version)
{
	uint8_t expected[BLOCK_BYTES] = {0};
	if (version)
		rig_fill(expected, rx->x.block + i, version);
	return memcmp(rx->data + (size_t)i * BLOCK_BYTES, expected, BLOCK_BYTES) == 0;
}

static inline bool rig_reads(struct rig *rig, uint64_t block, uint32_t blocks, uint64_t version)
{
	enum pi_verdict verdict;
	struct rig_xfer *rx = rig_read(rig, block, blocks);
	bool ok = rx->err == 0 && member_verify(&rx->x, 0, &verdict) == blocks;
	for (uint32_t i = 0; ok && i < blocks; i++)
		ok = rig_block_is(rx, i, version);
	rig_xfer_free(rx);
	return ok;
}

struct rig_flush {
	struct member_flush f;
	bool ended;
	int err;
};

static inline void rig_flush_done(struct member_flush *f, int err)
{
	struct rig_flush *rf = container_of(f, struct rig_flush, f);
	assert_false(rf->ended);
	rf->ended = true;
	rf->err = err;
}

static inline void rig_flush_start(struct rig *rig, struct rig_flush *rf)
{
	*rf = (struct rig_flush){.f = {.member = rig->m, .done = rig_flush_done}};
	member_flush(&rf->f);
	assert_false(rf->ended);
}

static inline int rig_flush(struct rig *rig)
{
	struct rig_flush rf;
	rig_flush_start(rig, &rf);
	rig_run_until(rig, &rf.ended);
	return rf.err;
}

#endif
