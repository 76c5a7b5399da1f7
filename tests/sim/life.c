/* SPDX-License-Identifier: MIT */
/* A random workload on a small volume. */
#include "life.h"

#include <string.h>
#include "base/clock.h"

const char *life_kind_name(enum life_kind kind)
{
	static const char *const names[LIFE_KINDS] = {
		"mixed", "hot", "sequential", "stripes", "small"};
	return names[kind];
}

const char *life_trouble_name(enum life_trouble trouble)
{
	static const char *const names[LIFE_TROUBLES] = {
		"healthy", "degraded", "failing", "returning", "replaced"};
	return names[trouble];
}

/* ---- what is asked for ---- */

struct range {
	uint64_t offset_bytes;
	uint32_t len_bytes;
};

static struct range range_within(
	struct life *life, uint64_t first, uint64_t end, uint64_t unit, uint32_t most_bytes)
{
	struct random *r = &life->random;
	uint64_t at = first + round_down_u64(random_u64(r) % (end - first), unit);
	uint64_t len = round_up_u64(1 + random_below(r, most_bytes), unit);
	return (struct range){at, (uint32_t)min_u64(len, end - at)};
}

static struct range range_mixed(struct life *life, uint64_t first, uint64_t end)
{
	struct random *r = &life->random;
	unsigned chunk = life->config.rig.chunk_blocks * BLOCK_BYTES;
	if (random_below(r, 4) == 0)
		return range_within(life, first, end, 1, 2 * BLOCK_BYTES);
	if (random_below(r, 4) == 0)
		return range_within(life, first, end, chunk, 3 * chunk);
	return range_within(life, first, end, BLOCK_BYTES, 4 * BLOCK_BYTES);
}

static struct range range_next(struct life *life, unsigned most_blocks)
{
	uint64_t volume = life->rig->volume_bytes;
	uint64_t at = life->cursor % volume;
	uint32_t len = (1 + random_below(&life->random, most_blocks)) * BLOCK_BYTES;
	len = (uint32_t)min_u64(len, volume - at);
	life->cursor = at + len;
	return (struct range){at, len};
}

static struct range range_choose(struct life *life)
{
	uint64_t volume = life->rig->volume_bytes;
	uint64_t stripe = geometry_stripe_blocks(&life->rig->geometry) * (uint64_t)BLOCK_BYTES;
	uint64_t hot = life->config.rig.seed % (life->config.rig.stripes - 1) * stripe;
	switch (life->config.kind) {
	case LIFE_HOT:
		return range_mixed(life, hot, hot + 2 * stripe);
	case LIFE_SEQUENTIAL:
		return range_next(life, 6);
	case LIFE_SMALL:
		return range_next(life, 1);
	case LIFE_STRIPES:
		if (random_below(&life->random, 2))
			return range_within(life, 0, volume, stripe, 2 * (uint32_t)stripe);
		break;
	case LIFE_MIXED:
		break;
	}
	return range_mixed(life, 0, volume);
}

/* ---- requests ---- */

static void op_end(struct life *life, struct life_op *op)
{
	struct rig_io *io = op->io;
	if (!op->wanted && !io->err)
		history_write_done(&life->history, op->number);
	life->errors += io->err != 0;
	if (op->wanted && !io->err && memcmp(op->wanted, io->data, io->req.len_bytes) != 0)
		life->mismatches++;
	free(op->wanted);
	rig_io_free(io);
	*op = (struct life_op){0};
}

static void ended_collect(struct life *life)
{
	for (unsigned i = 0; i < LIFE_DEPTH; i++) {
		if (life->ops[i].io && life->ops[i].io->ended)
			op_end(life, &life->ops[i]);
	}
}

static void drain(struct life *life)
{
	for (unsigned i = 0; i < LIFE_DEPTH; i++) {
		if (life->ops[i].io)
			rig_io_wait(life->ops[i].io);
	}
	ended_collect(life);
	while (life->flushing)
		rig_run(life->rig, true);
}

static void say(const struct life *life, const char *what, struct range range)
{
	if (life->config.verbose)
		printf("# %s: bytes %llu to %llu\n", what, (unsigned long long)range.offset_bytes,
			(unsigned long long)(range.offset_bytes + range.len_bytes));
}

static void write_start(struct life *life, struct life_op *op, struct range range)
{
	struct random *r = &life->random;
	struct rig_io *io = op->io =
		rig_io_new(life->rig, STRIPE_WRITE, range.offset_bytes, range.len_bytes, NULL);
	for (uint32_t i = 0; i < range.len_bytes; i += 32) /* no two sectors are the same */
		random_fill(r, io->data + i, min_u64(8, range.len_bytes - i));
	if (random_below(r, 16) == 0)
		io->req.flags |= STRIPE_FRESH;
	if (life->config.kind != LIFE_SMALL &&
		random_below(r, 6) == 0) /* so that time passes, and marks are taken away */
		io->req.hold_ns = random_u64(r) % (2 * NS_PER_S);
	say(life, "write", range);
	op->number = history_write(&life->history, range.offset_bytes, io->data, range.len_bytes,
		io->req.flags & STRIPE_FRESH);
	rig_io_start(io);
}

static void read_start(struct life *life, struct life_op *op, struct range range)
{
	op->io = rig_io_new(life->rig, STRIPE_READ, range.offset_bytes, range.len_bytes, NULL);
	op->wanted = malloc(range.len_bytes);
	assert_non_null(op->wanted);
	memcpy(op->wanted, life->history.newest + range.offset_bytes, range.len_bytes);
	rig_io_start(op->io);
}

static void flush_done(struct stripe_flush *flush, int err)
{
	struct life *life = container_of(flush, struct life, flush);
	life->flushing = false;
	life->errors += err != 0;
	if (!err && !life->config.lying_flush)
		history_flush_end(&life->history);
	if (life->config.verbose)
		printf("# flush ends (%d)\n", err);
}

static void flush_start(struct life *life)
{
	if (life->flushing)
		return;
	ended_collect(life);
	history_flush_begin(&life->history);
	if (life->config.lying_flush)
		history_flush_end(&life->history);
	if (life->config.verbose)
		printf("# flush begins\n");
	life->flush = (struct stripe_flush){.done = flush_done};
	life->flushing = true;
	stripe_flush(life->rig->eng, &life->flush);
}

static struct life_op *place_find(struct life *life)
{
	for (;;) {
		ended_collect(life);
		for (unsigned i = 0; i < LIFE_DEPTH; i++) {
			if (!life->ops[i].io)
				return &life->ops[i];
		}
		assert_true(rig_run(life->rig, true) >= 0);
	}
}

static void step(struct life *life)
{
	unsigned dice = random_below(&life->random, 12);
	if (dice == 0 || history_is_full(&life->history)) {
		drain(life);
		flush_start(life);
		drain(life);
	} else if (dice == 1) {
		flush_start(life);
	} else if (dice < 4) {
		bool small = life->config.kind == LIFE_SMALL; /* whose stream goes on behind it */
		read_start(life, place_find(life),
			small ? range_mixed(life, 0, life->rig->volume_bytes) : range_choose(life));
	} else {
		unsigned more =
			life->config.kind == LIFE_SMALL ? random_below(&life->random, 5) : 0;
		for (; more && !history_is_full(&life->history); more--)
			write_start(life, place_find(life), range_choose(life));
		if (!history_is_full(&life->history))
			write_start(life, place_find(life), range_choose(life));
	}
	for (unsigned turns = random_below(&life->random, 3) * 8; turns; turns--)
		rig_run(life->rig, false);
}

/* ---- members in trouble ---- */

static void member_fail(struct life *life)
{
	static const enum sim_fault_kind kinds[] = {SIM_WRITE_ERROR, SIM_FLUSH_ERROR, SIM_GONE};
	enum sim_fault_kind kind = kinds[random_below(&life->random, 3)];
	struct sim_fault fault = {.kind = kind, .name = rig_disk(life->victim), .per_mille = 1000};
	if (life->config.verbose)
		printf("# member %u: %s\n", life->victim, fault_kind_name((enum fault_kind)kind));
	assert_int_equal(sim_world_arm(life->rig->world, &fault), 0);
}

static void member_return(struct life *life)
{
	drain(life);
	rig_settle(life->rig);
	sim_world_disarm_all(life->rig->world);
	if (!(life->rig->missing >> life->victim & 1))
		return;
	if (life->config.verbose)
		printf("# member %u comes back\n", life->victim);
	rig_return_member(life->rig, life->victim);
}

static void rebuild_some(struct life *life)
{
	struct rig *rig = life->rig;
	struct stripe_check check = {.mode = STRIPE_REBUILD, .member = life->victim};
	if (!(rig->rebuilding >> life->victim & 1) || random_below(&life->random, 3) == 0)
		return;
	check.stripe = stripe_engine_next_open(rig->eng, (int)life->victim, 0);
	int err = check.stripe < rig->config.stripes ? rig_check_run(rig, &check)
						     : rig_rebuild(rig, life->victim);
	life->errors += err != 0;
}

static void trouble_step(struct life *life, unsigned number)
{
	if (life->config.trouble == LIFE_FAILING && number == life->fails_at)
		member_fail(life);
	if (life->config.trouble == LIFE_FAILING && number == life->returns_at)
		member_return(life);
	rebuild_some(life);
}

static void trouble_begin(struct life *life)
{
	struct rig *rig = life->rig;
	life->victim = random_below(&life->random, rig->config.members);
	life->fails_at = random_below(&life->random, 8);
	life->returns_at = life->fails_at + 1 + random_below(&life->random, 8);
	if (life->config.trouble == LIFE_HEALTHY || life->config.trouble == LIFE_FAILING)
		return;
	rig_fail_member(rig, life->victim);
	if (life->config.trouble == LIFE_REPLACED)
		rig_replace_member(rig, life->victim);
	if (life->config.trouble != LIFE_RETURNING)
		return;
	for (unsigned i = 0; i < 5; i++)
		step(life);
	member_return(life);
}

/* ---- from first to last ---- */

void life_begin(struct life *life, const struct life_config *config)
{
	*life = (struct life){.config = *config, .random = {config->rig.seed}};
	life->rig = rig_new(&config->rig);
	history_init(&life->history, &life->rig->geometry);
	struct range whole = {0, (uint32_t)life->rig->volume_bytes};
	write_start(life, &life->ops[0], whole);
	drain(life);
	flush_start(life);
	drain(life);
	for (unsigned i = 0; i < config->rig.members; i++)
		assert_int_equal(sim_disk_peek(life->rig->world, rig_disk(i), SUPER_A_OFFSET,
					 life->supers[i], SUPER_BYTES),
			0);
	trouble_begin(life);
}

void life_run(struct life *life, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		trouble_step(life, i);
		step(life);
	}
	drain(life);
}

void life_end(struct life *life)
{
	drain(life);
	rig_settle(life->rig);
	history_fini(&life->history);
	rig_free(life->rig);
}
