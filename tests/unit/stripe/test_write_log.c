/* SPDX-License-Identifier: MIT */
/* Sweep: the power is cut at every write of short workloads of partial writes, and then as many
 * members are lost as well as the level bears, any of them. What was at rest (flushed, and not
 * written since) reads as it was; what was written since, but for rows that were written in full,
 * reads as before or as one of those writes left it. Where not the power goes but the program ends,
 * and logged() of a write has run, it reads as that one left it or a later one, unless all of the
 * log's own members are lost. Without the log that is not so: the tests of that say that the sweep
 * can fail. */
#include "rig.h"

#include <string.h>
#include "unit/random.h"

#define SECTOR_BYTES 512u
#define STRIPES      5u
#define MAX_BLOCKS   256u
#define MAX_VERSIONS 12u
#define WRITES       7u
#define NOBODY       UINT32_MAX

struct shape {
	enum raid_level level;
	unsigned members, chunk_blocks;
	enum pi_type pi;
};

/* What each block may hold: its tags since it was at rest. */
struct versions {
	unsigned tag[MAX_BLOCKS][MAX_VERSIONS];
	unsigned count[MAX_BLOCKS];
	unsigned answered[MAX_BLOCKS]; /* the lowest that may be left, by logged() */
};

/* A write, and what its logged() is to note. */
struct written {
	struct rig_io *io;
	struct versions *versions;
	unsigned first, count, version[2];
};

struct outcome {
	unsigned lost; /* blocks that read as none of their versions */
	unsigned rest; /* of these, at rest */
	unsigned gone; /* of these, what was answered; all others were written before */
	unsigned answered;
	unsigned cuts;
};

static struct rig *rig_for(const struct shape *s, bool journal, uint64_t seed)
{
	return rig_new(&(struct rig_config){.level = s->level,
		.members = s->members,
		.chunk_blocks = s->chunk_blocks,
		.stripes = STRIPES,
		.pi = s->pi,
		.seed = seed,
		.journal = journal});
}

static unsigned blocks_of(const struct rig *rig)
{
	unsigned blocks = (unsigned)(rig->volume_bytes / BLOCK_BYTES);
	assert_true(blocks <= MAX_BLOCKS);
	return blocks;
}

/* Every block at rest, with tag 1. */
static void fill(struct rig *rig, struct versions *v)
{
	unsigned blocks = blocks_of(rig);
	uint8_t *data = malloc(rig->volume_bytes);
	assert_non_null(data);
	for (unsigned b = 0; b < blocks; b++) {
		rig_fill_block(data + (size_t)b * BLOCK_BYTES, b, 1);
		v->tag[b][0] = 1;
		v->count[b] = 1;
	}
	assert_int_equal(rig_write(rig, 0, data, (uint32_t)rig->volume_bytes), 0);
	assert_int_equal(rig_flush(rig), 0);
	free(data);
}

static void at_rest(struct versions *v)
{
	for (unsigned b = 0; b < MAX_BLOCKS; b++) {
		if (v->count[b])
			v->tag[b][0] = v->tag[b][v->count[b] - 1];
		v->count[b] = v->count[b] ? 1 : 0;
		v->answered[b] = 0;
	}
}

static void note_answer(struct stripe_req *req)
{
	const struct written *w = (const struct written *)(uintptr_t)req->ino;
	for (unsigned i = 0; i < w->count; i++)
		w->versions->answered[w->first + i] = w->version[i];
}

/* A write of one or two blocks, not of a full row where the stripe has more slots. */
static void write_start(
	struct rig *rig, struct versions *v, struct random *r, unsigned tag, struct written *w)
{
	unsigned blocks = blocks_of(rig), count = 1 + random_below(r, 2);
	unsigned first = random_below(r, blocks - count + 1);
	*w = (struct written){.versions = v, .first = first, .count = count};
	w->io = rig_io_new(
		rig, STRIPE_WRITE, (uint64_t)first * BLOCK_BYTES, count * BLOCK_BYTES, NULL);
	for (unsigned i = 0; i < count; i++) {
		rig_fill_block(w->io->data + (size_t)i * BLOCK_BYTES, first + i, tag);
		w->version[i] = v->count[first + i];
		v->tag[first + i][v->count[first + i]++] = tag;
	}
	w->io->req.ino = (uintptr_t)w;
	w->io->req.logged = note_answer;
	rig_io_start(w->io);
}

/* Some one after the other, some side by side, with a flush among them. */
static void workload(struct rig *rig, struct versions *v, uint64_t seed)
{
	struct random r = {seed};
	struct written w[WRITES];
	for (unsigned i = 0; i < WRITES; i++) {
		write_start(rig, v, &r, 2 + i, &w[i]);
		if (i % 3)
			(void)rig_io_wait(w[i].io);
		if (i == WRITES / 2) {
			(void)rig_io_wait(w[i].io);
			for (unsigned k = 0; k < i; k++)
				(void)rig_io_wait(w[k].io);
			if (rig_flush(rig) == 0)
				at_rest(v);
		}
	}
	for (unsigned i = 0; i < WRITES; i++) {
		(void)rig_io_wait(w[i].io);
		rig_io_free(w[i].io);
	}
}

/* Sector by sector: where the log is lost with its member, a block may be torn as on any disk. */
static bool block_is_known(struct rig *rig, const struct versions *v, unsigned b, unsigned oldest)
{
	uint8_t wanted[BLOCK_BYTES], got[BLOCK_BYTES];
	uint8_t known = 0; /* bit i: sector i */
	if (rig_read(rig, (uint64_t)b * BLOCK_BYTES, got, BLOCK_BYTES) < 0)
		return false;
	for (unsigned i = oldest; i < v->count[b]; i++) {
		rig_fill_block(wanted, b, v->tag[b][i]);
		for (unsigned s = 0; s < BLOCK_BYTES / SECTOR_BYTES; s++)
			if (memcmp(wanted + s * SECTOR_BYTES, got + s * SECTOR_BYTES,
				    SECTOR_BYTES) == 0)
				known |= (uint8_t)(1u << s);
	}
	return known == 0xff;
}

/* With the members of the parities. */
static bool log_is_lost(const struct rig *rig, unsigned b)
{
	const struct geometry *g = &rig->geometry;
	uint64_t stripe = b / geometry_stripe_blocks(g);
	for (unsigned slot = geometry_data_slots(g); slot < geometry_slots(g); slot++)
		if (!(rig->missing >> geometry_member(g, stripe, slot) & 1))
			return false;
	return true;
}

static void look(struct rig *rig, const struct versions *v, bool answers_count, struct outcome *out)
{
	for (unsigned b = 0; b < blocks_of(rig); b++) {
		bool known = block_is_known(rig, v, b, 0);
		out->lost += !known;
		out->rest += !known && v->count[b] == 1;
		if (!answers_count || !v->answered[b] || log_is_lost(rig, b))
			continue;
		out->answered++;
		out->gone += !block_is_known(rig, v, b, v->answered[b]);
	}
}

struct sweep {
	struct shape shape;
	bool journal;
	uint32_t missing; /* a member that is missing before the cut, or NOBODY */
	bool cut_again;   /* the recovery is cut as well, at its n-th write */
	bool lose_later;  /* members are lost only then */
	uint64_t seed;
};

enum stop { POWER_CUT, PROGRAM_ENDS };

/* One run, stopped at write @n, the members of the mask @lost are lost then. False: the workload
 * ended before. */
static bool run(
	const struct sweep *s, enum stop stop, unsigned n, uint32_t lost, struct outcome *out)
{
	void (*again)(struct rig *, uint64_t) =
		stop == POWER_CUT ? rig_reboot_cut : rig_restart_cut;
	struct versions v = {0};
	struct rig *rig = rig_for(&s->shape, s->journal, s->seed + n);
	fill(rig, &v);
	if (s->missing != NOBODY)
		rig_remove_member(rig, s->missing);
	rig_power_cut_after(rig, n);
	workload(rig, &v, s->seed);
	bool cut = sim_world_power_is_cut(rig->world);
	rig->missing |= s->lose_later ? 0 : lost;
	again(rig, s->cut_again ? (n + lost) % 7 : UINT64_MAX / 2);
	rig->missing |= lost;
	if (sim_world_power_is_cut(rig->world))
		again(rig, UINT64_MAX / 2);
	rig_power_cut_after(rig, UINT64_MAX / 2);
	look(rig, &v, stop == PROGRAM_ENDS, out);
	out->cuts += cut;
	rig_free(rig);
	return cut;
}

/* The @turn-th choice of as many members as may be lost beside those that are missing. */
static uint32_t losers(const struct sweep *s, unsigned turn)
{
	unsigned members = s->shape.members, first = turn % members;
	uint32_t missing = s->missing == NOBODY ? 0 : 1u << s->missing;
	if (s->shape.level == RAID_RAID5)
		return missing ? 0 : 1u << first;
	while (missing >> first & 1)
		first = (first + 1) % members;
	unsigned second = (first + 1 + turn / members % (members - 1)) % members;
	return missing ? 1u << first : 1u << first | 1u << second;
}

/* Stopped at every write; the members that are lost take turns: in the end each met many. */
static struct outcome sweep(const struct sweep *s)
{
	struct outcome out = {0};
	bool cut = true;
	for (unsigned n = 0; cut; n++) {
		cut = false;
		for (unsigned i = 0; i < (s->missing == NOBODY ? 2 : 1); i++)
			cut |= run(s, POWER_CUT, n, losers(s, 2 * n + i), &out);
		cut |= run(s, PROGRAM_ENDS, n, losers(s, n), &out);
	}
	return out;
}

static const unsigned raid5_widths[] = {3, 4, 8, 0}, raid6_widths[] = {4, 5, 6, 8, 0};
/* Of PI, for each width: under the sanitizers it takes ten times as long. */
#ifdef __SANITIZE_ADDRESS__
#define KINDS 1u
#else
#define KINDS 3u
#endif
static const enum pi_type kinds[] = {PI_NONE, PI_T10, PI_CRC32C};

static void sweep_shapes(struct sweep *s, enum raid_level level)
{
	const unsigned *widths = level == RAID_RAID5 ? raid5_widths : raid6_widths;
	unsigned cuts = 0, answered = 0;
	for (unsigned w = 0; widths[w]; w++) {
		for (unsigned k = 0; k < KINDS; k++) {
			s->shape = (struct shape){
				level, widths[w], 1u << (w + k) % 3, kinds[(w + k) % 3]};
			s->seed++;
			struct outcome out = sweep(s);
			/* Of full rows only what is at rest is promised. */
			if (out.rest || ((out.lost || out.gone) && s->shape.members == 8))
				fail_msg("%s, %u members, chunk %u, pi %u, seed %llu: %u blocks "
					 "lost, %u of them at rest; %u answered ones gone",
					raid_level_name(level), s->shape.members,
					s->shape.chunk_blocks, s->shape.pi,
					(unsigned long long)s->seed, out.lost, out.rest, out.gone);
			cuts += out.cuts;
			answered += out.answered;
		}
	}
	assert_true(cuts > 30 * KINDS);
	assert_true(answered > 30 * KINDS);
}

static void nothing_is_lost_by_a_power_cut_and_the_loss_of_any_member(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = NOBODY, .seed = 100};
	sweep_shapes(&s, RAID_RAID5);
}

static void nothing_is_lost_where_the_recovery_is_cut_as_well(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = NOBODY, .cut_again = true, .seed = 200};
	sweep_shapes(&s, RAID_RAID5);
}

static void a_degraded_array_loses_nothing_by_a_power_cut(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = 1, .seed = 300};
	sweep_shapes(&s, RAID_RAID5);
}

static void without_the_log_blocks_at_rest_are_lost(void **unused)
{
	(void)unused;
	struct sweep s = {.missing = NOBODY, .seed = 400, .shape = {RAID_RAID5, 4, 2, PI_NONE}};
	unsigned rest = 0;
	for (unsigned i = 0; i < 5; i++, s.seed++)
		rest += sweep(&s).rest;
	assert_true(rest > 0);
}

static void without_the_log_a_degraded_array_loses_blocks_at_rest(void **unused)
{
	(void)unused;
	struct sweep s = {.missing = 1, .seed = 500, .shape = {RAID_RAID5, 4, 2, PI_NONE}};
	unsigned rest = 0;
	for (unsigned i = 0; i < 5; i++, s.seed++)
		rest += sweep(&s).rest;
	assert_true(rest > 0);
}

/* ---- two parities ---- */

static void raid6_loses_nothing_by_a_power_cut_and_the_loss_of_any_two_members(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = NOBODY, .seed = 600};
	sweep_shapes(&s, RAID_RAID6);
}

static void raid6_loses_nothing_where_the_recovery_is_cut_as_well(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = NOBODY, .cut_again = true, .seed = 700};
	sweep_shapes(&s, RAID_RAID6);
}

static void raid6_loses_nothing_where_members_are_lost_in_the_midst_of_recovery(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true,
		.missing = NOBODY,
		.cut_again = true,
		.lose_later = true,
		.seed = 800};
	sweep_shapes(&s, RAID_RAID6);
}

static void a_degraded_raid6_loses_nothing_by_a_power_cut_and_the_loss_of_another(void **unused)
{
	(void)unused;
	struct sweep s = {.journal = true, .missing = 1, .seed = 900};
	sweep_shapes(&s, RAID_RAID6);
}

static void without_the_log_raid6_loses_blocks_at_rest(void **unused)
{
	(void)unused;
	struct sweep s = {.missing = NOBODY, .seed = 1000, .shape = {RAID_RAID6, 5, 2, PI_NONE}};
	unsigned rest = 0;
	for (unsigned i = 0; i < 5; i++, s.seed++)
		rest += sweep(&s).rest;
	assert_true(rest > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_by_a_power_cut_and_the_loss_of_any_member),
		cmocka_unit_test(nothing_is_lost_where_the_recovery_is_cut_as_well),
		cmocka_unit_test(a_degraded_array_loses_nothing_by_a_power_cut),
		cmocka_unit_test(without_the_log_blocks_at_rest_are_lost),
		cmocka_unit_test(without_the_log_a_degraded_array_loses_blocks_at_rest),
		cmocka_unit_test(
			raid6_loses_nothing_by_a_power_cut_and_the_loss_of_any_two_members),
		cmocka_unit_test(raid6_loses_nothing_where_the_recovery_is_cut_as_well),
		cmocka_unit_test(
			raid6_loses_nothing_where_members_are_lost_in_the_midst_of_recovery),
		cmocka_unit_test(
			a_degraded_raid6_loses_nothing_by_a_power_cut_and_the_loss_of_another),
		cmocka_unit_test(without_the_log_raid6_loses_blocks_at_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
