/* SPDX-License-Identifier: MIT */
/* Three members on simulated disks, and a write-intent log over them. */
#ifndef STABLEFS_TESTS_INTENT_ARRAY_H
#define STABLEFS_TESTS_INTENT_ARRAY_H

#include "rig.h"
#include "intent/intent.h"
#include "intent/intent_disk.h"

#define ARRAY_MEMBERS 3u

struct array {
	struct rig rig; /* rig.m is not used */
	struct member *members[ARRAY_MEMBERS];
	bool away[ARRAY_MEMBERS]; /* out of date: the log is not loaded from it */
	struct intent_log *log;
};

static const char *const array_names[ARRAY_MEMBERS] = {"m0", "m1", "m2"};

static inline void array_load(struct array *a)
{
	struct member *present[ARRAY_MEMBERS];
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		present[i] = a->away[i] ? NULL : a->members[i];
	assert_int_equal(intent_load(a->rig.io, present, ARRAY_MEMBERS, &a->log, NULL), 0);
}

/* @region_blocks: 16 makes one region a stripe. */
static inline void array_init(
	struct array *a, uint64_t seed, uint64_t stripes, uint64_t region_blocks)
{
	*a = (struct array){0};
	rig_init_empty(&a->rig, seed);
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, stripes);
	super.region_blocks = region_blocks;
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++) {
		super.index = i;
		a->members[i] = rig_create_member(&a->rig, array_names[i], &super);
		assert_int_equal(intent_format(a->members[i]), 0);
	}
	array_load(a);
}

static inline void array_close(struct array *a)
{
	intent_free(a->log);
	a->log = NULL;
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++) {
		member_free(a->members[i]);
		a->members[i] = NULL;
	}
}

static inline void array_fini(struct array *a)
{
	array_close(a);
	io_engine_free(a->rig.io);
	sim_world_free(a->rig.world);
}

/* Whatever is under way ends; the power goes and comes; all is opened and loaded anew. */
static inline void array_reboot(struct array *a)
{
	while (intent_busy(a->log))
		assert_true(io_run(a->rig.io, true) >= 0);
	array_close(a);
	io_engine_free(a->rig.io);
	sim_world_reboot(a->rig.world);
	assert_int_equal(sim_engine_new(a->rig.world, &a->rig.io), 0);
	for (unsigned i = 0; i < ARRAY_MEMBERS; i++)
		a->members[i] = rig_open_member(&a->rig, array_names[i]);
	array_load(a);
}

static inline uint64_t array_area(const struct array *a)
{
	return member_super(a->members[0])->intent.offset_bytes;
}

static inline void array_arm(
	struct array *a, enum sim_fault_kind kind, unsigned member, unsigned count)
{
	struct sim_fault fault = {.kind = kind,
		.name = array_names[member],
		.offset_bytes = array_area(a),
		.len_bytes = 65536,
		.count = count,
		.per_mille = 1000};
	sim_world_arm(a->rig.world, &fault);
}

struct array_wait {
	struct intent_wait wait;
	bool ended;
	int err;
};

static inline void array_marked(struct intent_wait *wait, int err)
{
	struct array_wait *w = container_of(wait, struct array_wait, wait);
	assert_false(w->ended);
	w->ended = true;
	w->err = err;
}

/* True where the write may go on at once. */
static inline bool array_begin(struct array *a, struct array_wait *w, uint64_t region)
{
	*w = (struct array_wait){.wait = {.region = region, .marked = array_marked}};
	bool at_once = intent_write_begin(a->log, &w->wait);
	assert_false(w->ended);
	return at_once;
}

/* Begin a write and wait until it may go on. */
static inline int array_mark(struct array *a, uint64_t region)
{
	struct array_wait w;
	if (array_begin(a, &w, region))
		return 0;
	rig_run_until(&a->rig, &w.ended);
	return w.err;
}

static inline void array_settle(struct array *a)
{
	while (intent_busy(a->log))
		assert_true(io_run(a->rig.io, true) >= 0);
}

/* What a flush of all members does for the log. */
static inline void array_flushed(struct array *a)
{
	intent_flushed(a->log, intent_epoch(a->log));
}

#endif
