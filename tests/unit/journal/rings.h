/* SPDX-License-Identifier: MIT */
/* Three members on simulated disks, and a partial-write log over them. */
#ifndef STABLEFS_TESTS_JOURNAL_RINGS_H
#define STABLEFS_TESTS_JOURNAL_RINGS_H

#include "rig.h"
#include "journal/journal.h"
#include "journal/journal_disk.h"

#define RINGS_MEMBERS 3u
#define RINGS_STRIPES 64u
#define RINGS_MAX     256u /* blocks of one append's payload */

struct rings {
	struct rig rig; /* rig.m is not used */
	struct member *members[RINGS_MEMBERS];
	struct journal *j;
};

static const char *const rings_names[RINGS_MEMBERS] = {"m0", "m1", "m2"};

static inline void rings_load(struct rings *r, bool clean)
{
	struct errmsg why = {0};
	if (journal_load(r->rig.io, r->members, RINGS_MEMBERS, clean, &r->j, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(clean ? journal_begin(r->j, 7) : journal_resume(r->j), 0);
}

static inline void rings_init(struct rings *r, uint64_t seed)
{
	*r = (struct rings){0};
	rig_init_empty(&r->rig, seed);
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, RINGS_STRIPES);
	for (unsigned i = 0; i < RINGS_MEMBERS; i++) {
		super.index = i;
		r->members[i] = rig_create_member(&r->rig, rings_names[i], &super);
		assert_int_equal(journal_format(r->members[i]), 0);
	}
	rings_load(r, true);
}

static inline void rings_settle(struct rings *r)
{
	while (journal_busy(r->j))
		assert_true(io_run(r->rig.io, true) >= 0);
}

static inline void rings_close(struct rings *r)
{
	rings_settle(r);
	journal_free(r->j);
	r->j = NULL;
	for (unsigned i = 0; i < RINGS_MEMBERS; i++) {
		member_free(r->members[i]);
		r->members[i] = NULL;
	}
}

static inline void rings_fini(struct rings *r)
{
	rings_close(r);
	io_engine_free(r->rig.io);
	sim_world_free(r->rig.world);
}

/* All is opened and loaded anew. */
static inline void rings_start_anew(struct rings *r, void (*world_anew)(struct sim_world *world))
{
	rings_close(r);
	io_engine_free(r->rig.io);
	world_anew(r->rig.world);
	assert_int_equal(sim_engine_new(r->rig.world, &r->rig.io), 0);
	for (unsigned i = 0; i < RINGS_MEMBERS; i++)
		r->members[i] = rig_open_member(&r->rig, rings_names[i]);
	rings_load(r, false);
}

/* The power goes and comes. */
static inline void rings_reboot(struct rings *r)
{
	rings_start_anew(r, sim_world_reboot);
}

/* The program ends, and is started once more: what was written is there, flushed or not. */
static inline void rings_restart(struct rings *r)
{
	rings_start_anew(r, sim_world_restart);
}

#define RINGS_PARITY 2u /* its slot */

/* An append of one run, with memory of its own: the parity's blocks are filled with @tag, those of
 * slot s with @tag + 1 + s. To the rings of the mask @members. */
struct rings_append {
	struct journal_append a;
	struct journal_run run;
	struct iovec iov;
	bool stored, ended;
	int err;
};

static inline void rings_stored(struct journal_append *a)
{
	struct rings_append *x = container_of(a, struct rings_append, a);
	assert_false(x->stored || x->ended);
	x->stored = true;
}

static inline void rings_done(struct journal_append *a, int err)
{
	struct rings_append *x = container_of(a, struct rings_append, a);
	assert_false(x->ended);
	x->ended = true;
	x->err = err;
}

static inline void rings_append_to(struct rings *r, struct rings_append *x, unsigned members,
	uint64_t stripe, struct journal_run run, uint8_t tag)
{
	*x = (struct rings_append){.run = run};
	uint32_t blocks = journal_disk_run_blocks(&run);
	uint8_t *data = mem_alloc_blocks((size_t)blocks * BLOCK_BYTES);
	assert_non_null(data);
	uint8_t *at = data;
	for (unsigned slot = 0; blocks && run.slots >> slot; slot++) {
		if (!(run.slots >> slot & 1))
			continue;
		size_t len = (size_t)run.rows * BLOCK_BYTES;
		memset(at, slot == RINGS_PARITY ? tag : (uint8_t)(tag + 1 + slot), len);
		at += len;
	}
	x->iov = (struct iovec){data, (size_t)blocks * BLOCK_BYTES};
	x->a = (struct journal_append){.stripe = stripe,
		.members = (uint16_t)members,
		.runs = &x->run,
		.run_count = 1,
		.iov = &x->iov,
		.iov_count = blocks ? 1 : 0,
		.payload_blocks = blocks,
		.stored = rings_stored,
		.done = rings_done};
	journal_append(r->j, &x->a);
	assert_false(x->ended);
}

static inline void rings_append(struct rings *r, struct rings_append *x, unsigned member,
	uint64_t stripe, struct journal_run run, uint8_t tag)
{
	rings_append_to(r, x, 1u << member, stripe, run, tag);
}

/* Its memory goes. */
static inline int rings_wait(struct rings *r, struct rings_append *x)
{
	while (!x->ended)
		assert_true(io_run(r->rig.io, true) >= 0);
	free(x->iov.iov_base);
	x->iov.iov_base = NULL;
	return x->err;
}

/* With the parity. */
static inline struct journal_run rings_row(unsigned row, unsigned rows, uint16_t written)
{
	return (struct journal_run){.row = (uint16_t)row,
		.rows = (uint16_t)rows,
		.slots = (uint16_t)(written | 1u << RINGS_PARITY)};
}

/* Appended, durable, ended. */
static inline void rings_log(
	struct rings *r, unsigned member, uint64_t stripe, struct journal_run run, uint8_t tag)
{
	struct rings_append x;
	rings_append(r, &x, member, stripe, run, tag);
	assert_int_equal(rings_wait(r, &x), 0);
	journal_ended(r->j, &x.a);
}

/* The same to the rings of the mask @members. */
static inline void rings_log_to(
	struct rings *r, unsigned members, uint64_t stripe, struct journal_run run, uint8_t tag)
{
	struct rings_append x;
	rings_append_to(r, &x, members, stripe, run, tag);
	assert_int_equal(rings_wait(r, &x), 0);
	journal_ended(r->j, &x.a);
}

static inline void rings_flushed(struct rings *r)
{
	journal_flushed(r->j, journal_epoch(r->j));
}

/* True where parity and slot 0 of the row were found with @tag. */
static inline bool rings_found(
	struct rings *r, unsigned member, uint64_t stripe, unsigned row, uint8_t tag)
{
	struct journal_found f;
	return journal_find(r->j, member, stripe, row, &f) && f.block[RINGS_PARITY][17] == tag &&
	       f.block[0] && f.block[0][4095] == tag + 1;
}

static inline uint64_t rings_area(const struct rings *r)
{
	return member_super(r->members[0])->journal.offset_bytes;
}

static inline uint32_t rings_blocks(const struct rings *r)
{
	return journal_disk_ring_blocks(member_super(r->members[0]));
}

#endif
