/* SPDX-License-Identifier: MIT */
/* Sweep: the power is cut at every write of a short workload, the n-th of which is torn or lost.
 * After reboot and resync of the marked regions:
 *	a sector that was flushed and not written since reads as flushed;
 *	one that was written since reads as flushed or as one of those writes left it (a block that
 * was
 *	under way may be torn at a sector, as on any disk);
 *	nothing fails its check, and parity and mirrors agree everywhere. */
#include "sweep.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "workload.h"

#define SECTOR_BYTES 512u
#define MAX_VERSIONS 64u

/* What the sectors may hold: the flushed state, and that after each write since. */
struct versions {
	uint64_t bytes;
	uint8_t *state[MAX_VERSIONS]; /* owned; of the whole volume; state[0]: flushed */
	unsigned count;
};

static void versions_init(struct versions *v, uint64_t bytes)
{
	*v = (struct versions){.bytes = bytes, .count = 1};
	v->state[0] = calloc(1, bytes);
	assert_non_null(v->state[0]);
}

static void versions_fini(struct versions *v)
{
	while (v->count)
		free(v->state[--v->count]);
}

static void versions_add(struct versions *v, const struct rig_io *io)
{
	assert_true(v->count < MAX_VERSIONS);
	uint8_t *next = v->state[v->count] = malloc(v->bytes);
	assert_non_null(next);
	memcpy(next, v->state[v->count - 1], v->bytes);
	memcpy(next + io->req.offset_bytes, io->data, io->req.len_bytes);
	v->count++;
}

/* All writes were acknowledged, and a flush after them too: the newest state is the only one. */
static void versions_flushed(struct versions *v)
{
	uint8_t *newest = v->state[--v->count];
	versions_fini(v);
	v->state[0] = newest;
	v->count = 1;
}

static bool sector_is_allowed(const struct versions *v, uint64_t at, const uint8_t *got)
{
	for (unsigned i = 0; i < v->count; i++)
		if (memcmp(v->state[i] + at, got, SECTOR_BYTES) == 0)
			return true;
	return false;
}

/* ---- the workload: rounds of a few concurrent writes, some of them followed by a flush ---- */

#define ROUND_WRITES 6u
#define ROUNDS       5u

static struct rig_io *random_write(struct rig *rig)
{
	struct random *r = &rig->random;
	bool whole = random_below(r, 3) > 0;
	uint64_t unit = whole ? BLOCK_BYTES : 1;
	uint64_t offset = round_down_u64(random_u64(r) % rig->volume_bytes, unit);
	uint64_t len = round_up_u64(1 + random_below(r, 8 * BLOCK_BYTES), unit);
	len = min_u64(len, rig->volume_bytes - offset);
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, offset, (uint32_t)len, NULL);
	random_fill(r, io->data, len);
	if (random_below(r, 6) == 0) /* so that time passes, and marks are taken away */
		io->req.hold_ns = random_u64(r) % (2 * NS_PER_S);
	return io;
}

static void flush_ended(struct stripe_flush *flush, int err)
{
	(void)err;
	flush->done = NULL;
}

/* One round; true where the power is still on. A flush beside the writes promises nothing of them,
 * but must not take away their marks. */
static bool run_round(struct rig *rig, struct versions *v)
{
	struct rig_io *io[ROUND_WRITES];
	struct stripe_flush beside = {.done = flush_ended};
	unsigned flush_at = random_below(&rig->random, 2 * ROUND_WRITES);
	bool failed = false;
	for (unsigned i = 0; i < ROUND_WRITES; i++) {
		io[i] = random_write(rig);
		versions_add(v, io[i]);
		rig_io_start(io[i]);
		if (i == flush_at)
			stripe_flush(rig->eng, &beside);
		if (random_below(&rig->random, 2))
			stripe_engine_run(rig->eng, false);
	}
	for (unsigned i = 0; i < ROUND_WRITES; i++) {
		failed |= rig_io_wait(io[i]) < 0;
		rig_io_free(io[i]);
	}
	while (flush_at < ROUND_WRITES && beside.done)
		stripe_engine_run(rig->eng, true);
	if (!failed && random_below(&rig->random, 2) && rig_flush(rig) == 0)
		versions_flushed(v);
	return !failed && !sim_world_power_is_cut(rig->world);
}

struct finding {
	unsigned bad_sectors, failed_reads;
	bool clean;
};

static struct finding look(struct rig *rig, const struct versions *v)
{
	struct finding f = {.clean = rig_is_clean(rig)};
	uint8_t block[BLOCK_BYTES];
	for (uint64_t at = 0; at < rig->volume_bytes; at += BLOCK_BYTES) {
		if (rig_read(rig, at, block, BLOCK_BYTES)) {
			f.failed_reads++;
			continue;
		}
		for (unsigned s = 0; s < BLOCK_BYTES; s += SECTOR_BYTES)
			f.bad_sectors += !sector_is_allowed(v, at + s, block + s);
	}
	return f;
}

/* How a careless system would start again; to see that the sweep notices. */
enum carelessness { CAREFUL, NO_RESYNC, LYING_FLUSH };

/* The workload with the power cut at write @n. *@more: it had not ended before that. */
static struct finding crash_at(
	const struct rig_config *config, uint64_t n, enum carelessness how, bool *more)
{
	struct rig *rig = rig_new(config);
	struct versions v;
	versions_init(&v, rig->volume_bytes);
	*more = run_round(rig, &v); /* something to overwrite */
	rig_power_cut_after(rig, n);
	for (unsigned i = 0; *more && i < ROUNDS; i++)
		*more = run_round(rig, &v);
	*more = sim_world_power_is_cut(rig->world);
	if (how == LYING_FLUSH)
		versions_flushed(&v);
	rig->no_resync = how == NO_RESYNC;
	if (n % 3 == 1)
		rig_reboot_cut(rig, n % 10); /* and once more, in the middle of the resync */
	rig_reboot(rig);
	struct finding f = look(rig, &v);
	versions_fini(&v);
	rig_free(rig);
	return f;
}

static bool finding_is_good(const struct finding *f)
{
	return f->clean && !f->bad_sectors && !f->failed_reads;
}

/* @every: cut at each @every-th write only. Returns how many cuts went wrong. */
static unsigned run_case(struct rig_config config, enum carelessness how, unsigned every)
{
	unsigned wrong = 0;
	bool more = true;
	for (uint64_t n = config.seed % every; more; n += every) {
		struct finding f = crash_at(&config, n, how, &more);
		if (finding_is_good(&f))
			continue;
		if (how == CAREFUL)
			printf("# cut at write %llu: %u sectors wrong, %u reads failed, %s\n",
				(unsigned long long)n, f.bad_sectors, f.failed_reads,
				f.clean ? "clean" : "scrub finds damage");
		wrong++;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	static const enum pi_type types[] = {PI_NONE, PI_T10, PI_CRC32C};
	struct sweep sweep = sweep_start("sweep_crash", argc, argv, 1);
	struct rig_config c = {0};
	char name[128];
	for (unsigned v = 0; v < SWEEP_VOLUMES; v++) {
		for (unsigned t = 0; t < 3; t++) {
			if (!sweep_next(&sweep))
				continue;
			unsigned wrong = 0;
			for (unsigned round = 0; round < sweep.rounds; round++) {
				c = (struct rig_config){.level = sweep_volumes[v].level,
					.members = sweep_volumes[v].members,
					.chunk_blocks = 1u << (v + t) % 3,
					.stripes = 24,
					.pi = types[t],
					.seed = sweep.seed + round * 1000 + v * 10 + t};
				wrong += run_case(c, CAREFUL, 1);
			}
			sweep_name(name, sizeof(name), &c, "the power cut at every write");
			sweep_report(&sweep, wrong == 0, name);
		}
	}
	c = (struct rig_config){.level = RAID_RAID5,
		.members = 3,
		.chunk_blocks = 2,
		.stripes = 24,
		.seed = sweep.seed};
	if (sweep_next(&sweep))
		sweep_report(&sweep, run_case(c, NO_RESYNC, 7) > 0, "a missing resync is noticed");
	if (sweep_next(&sweep))
		sweep_report(&sweep, run_case(c, LYING_FLUSH, 7) > 0, "a lying flush is noticed");
	return sweep_end(&sweep);
}
