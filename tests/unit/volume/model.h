/* SPDX-License-Identifier: MIT */
/* A volume beside an array of bytes that says what it should hold. */
#ifndef STABLEFS_TESTS_VOLUME_MODEL_H
#define STABLEFS_TESTS_VOLUME_MODEL_H

#include "rig.h"
#include "unit/random.h"

#define MODEL_BYTES     (6 * MIB)
#define MODEL_MAX_WRITE 40000u

struct model_shape {
	enum raid_level level;
	unsigned members;
	enum pi_type pi;
	enum super_write_hole hole;
};

#define MODEL_SHAPES                                                                               \
	{RAID_RAID1, 2, PI_NONE}, {RAID_RAID1, 3, PI_T10}, {RAID_RAID5, 3, PI_T10},                \
	{                                                                                          \
		RAID_RAID5, 4, PI_NONE, SUPER_HOLE_JOURNAL                                         \
	}

struct model {
	struct rig *rig;
	uint8_t *bytes; /* owned */
	struct random random;
	unsigned tag;
};

/* The volume is not open. */
static inline struct model model_closed(const struct model_shape *shape)
{
	struct model m = {.bytes = calloc(1, MODEL_BYTES), .random = {RIG_SEED}};
	m.rig = rig_new_with(shape->level, shape->members, shape->pi, shape->hole);
	return m;
}

static inline struct model model_new(const struct model_shape *shape)
{
	struct model m = model_closed(shape);
	rig_open(m.rig);
	return m;
}

static inline void model_free(struct model *m)
{
	rig_free(m->rig);
	free(m->bytes);
}

/* A write that is not expected to fail. */
static inline void model_write_at(struct model *m, uint64_t offset, uint32_t len)
{
	rig_fill(m->bytes + offset, len, ++m->tag);
	assert_int_equal(volume_write(m->rig->v, offset, m->bytes + offset, len), 0);
}

static inline void model_write_some(struct model *m, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint32_t len = 1 + (uint32_t)random_below(&m->random, MODEL_MAX_WRITE);
		model_write_at(m, random_below(&m->random, (unsigned)MODEL_BYTES - len), len);
	}
}

static inline void model_compare(struct model *m)
{
	uint8_t *buf = malloc(MODEL_BYTES);
	assert_int_equal(volume_read(m->rig->v, 0, buf, MODEL_BYTES), 0);
	if (memcmp(buf, m->bytes, MODEL_BYTES) != 0) {
		uint64_t at = 0;
		while (buf[at] == m->bytes[at])
			at++;
		fail_msg("byte %llu differs", (unsigned long long)at);
	}
	free(buf);
}

/* All members are up to date: so it can do without @index. */
static inline void model_compare_without(struct model *m, unsigned index)
{
	struct scrub_result result;
	assert_int_equal(volume_missing(m->rig->v), 0);
	assert_int_equal(volume_scrub(m->rig->v, false, NULL, NULL, &result), 0);
	assert_int_equal(result.damage_count, 0);
	scrub_result_free(&result);
	assert_int_equal(volume_fail_member(m->rig->v, index, "test", &m->rig->why), 0);
	model_compare(m);
}

static inline void model_arm(struct model *m, enum sim_fault_kind kind, const char *name)
{
	struct sim_fault fault = {.kind = kind, .name = name, .per_mille = 1000};
	sim_world_arm(m->rig->world, &fault);
}

static inline void model_disarm(struct model *m)
{
	sim_world_disarm_all(m->rig->world);
}

/* The power goes now; closed afterwards. */
static inline void model_power_cut(struct model *m)
{
	sim_world_cut_power_after(m->rig->world, 0);
	(void)rig_close(m->rig);
	sim_world_reboot(m->rig->world);
}

/* Pauses the rebuild of a member from the engine's run loop. */
struct model_pauser {
	struct engine_call call;
	struct volume *v;
	unsigned index;
	uint64_t left;
};

static inline void model_look(struct engine_call *call)
{
	struct model_pauser *p = container_of(call, struct model_pauser, call);
	if (stripe_engine_stale(volume_engine(p->v), p->index) > p->left)
		engine_call_post(volume_engine(p->v), call);
	else
		assert_int_equal(volume_work_pause(p->v, VOLUME_REBUILD), 0);
}

/* Rebuild until @left stripes are left, or a few less. */
static inline void model_rebuild_in_part(struct model *m, unsigned index, uint64_t left)
{
	struct volume *v = m->rig->v;
	struct model_pauser p = {.call.run = model_look, .v = v, .index = index, .left = left};
	if (volume_member(v, index).stale_stripes <= left)
		return;
	engine_call_post(volume_engine(v), &p.call);
	assert_int_equal(volume_work(v), 0);
	assert_int_equal(volume_work_resume(v, VOLUME_REBUILD), 0);
}

#endif
