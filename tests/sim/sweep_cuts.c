/* SPDX-License-Identifier: MIT */
/* Sweep: the power is cut at each write of random lives, each time with several fates for what was
 * volatile, most times together with as many members as the level bears; sometimes once more while
 * the volume recovers. Everything must be as docs/reliability.md says (cut.c has the list).
 *
 *	sweep_cuts [--lives N] [--fates N] [--seed N] [--part I/N] [--case N] [--json]
 *	sweep_cuts --replay CASE:SEED:CUT:FATE:LOST
 *
 * A case is a volume, its protection and the trouble that it is in; a life is one seed of it. */
#include <stdlib.h>
#include <string.h>
#include "cut.h"
#include "io/sim_snapshot.h"
#include "sweep_options.h"

#define STEPS         14u
#define MAX_TOLD      5u /* violations of a case that are shown; with so many it ends */
#define CONTROL_LIVES 60u
/* Of lives of small streams, a quarter beside the others. */
#define SMALL_SEED (UINT64_C(1) << 63)

/* For each case, where nobody says how many: under the sanitizers it takes ten times as long. */
#ifdef __SANITIZE_ADDRESS__
#define LIVES_DEFAULT 1u
#define FATES_DEFAULT 1u
#else
#define LIVES_DEFAULT 6u
#define FATES_DEFAULT 3u
#endif

struct volume {
	enum raid_level level;
	unsigned members;
};

static const struct volume volumes[] = {{RAID_SINGLE, 1}, {RAID_RAID1, 2}, {RAID_RAID1, 3},
	{RAID_RAID5, 3}, {RAID_RAID5, 4}, {RAID_RAID5, 8}, {RAID_RAID6, 4}, {RAID_RAID6, 6}};
static const enum pi_type pi_types[] = {PI_NONE, PI_T10, PI_CRC32C};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_CASES    256u

struct sums {
	uint64_t lives, instants, cuts, second_cuts, losses, bytes, unprotected, silent, violations;
	uint64_t beside; /* writes that began beside others of their stripe */
};

struct sweep_case {
	unsigned number; /* from 1 on */
	struct volume volume;
	enum pi_type pi;
	bool journal;
	enum life_trouble trouble;
	enum cut_control how;
	bool lying_flush, no_log;
	struct sums sums;
};

/* One case at work. */
struct run {
	const struct sweep_options *options;
	struct sweep_case *c;
	struct life life;
	uint64_t seed;
	uint64_t instant; /* writes of this life so far */
	const struct cut *replay;
};

/* ---- what to type to see it again ---- */

static void replay_note(const struct run *run, const struct cut *cut)
{
	sweep_note("--replay %u:%llu:%llu:%u:%u", run->c->number, (unsigned long long)run->seed,
		(unsigned long long)cut->number, cut->fate, cut->lost);
}

/* ---- cuts ---- */

static bool is_control(const struct sweep_case *c)
{
	return c->how != CUT_CAREFUL || c->lying_flush || c->no_log;
}

static void account(struct run *run, const struct cut *cut, const struct cut_found *found)
{
	struct sums *s = &run->c->sums;
	s->cuts++;
	s->second_cuts += found->cut_twice;
	s->losses += (unsigned)__builtin_popcount(found->lost);
	s->bytes += found->bytes;
	s->unprotected += found->unprotected;
	s->silent += found->silent;
	s->violations += found->problem != NULL;
	bool tell = run->replay || (!is_control(run->c) && s->violations <= MAX_TOLD);
	if (found->problem && tell)
		printf("# block %llu %s\n%s", (unsigned long long)found->block, found->problem,
			sweep_again());
}

static void try_cut(struct run *run, struct cut *cut)
{
	replay_note(run, cut);
	struct cut_found found = cut_look(cut);
	account(run, cut, &found);
	sweep_note("%s", "");
}

static void replay_here(struct run *run)
{
	struct cut cut = {.life = &run->life,
		.number = run->instant,
		.fate = run->replay->fate,
		.how = run->c->how,
		.verbose = true};
	cut_choose(&cut);
	cut.lost = run->replay->lost;
	printf("# the power goes at write %llu; lost: %#x; again at %llu\n",
		(unsigned long long)cut.number, cut.lost, (unsigned long long)cut.second);
	try_cut(run, &cut);
	run->life.config.verbose = false;
}

static void write_reached(void *ctx)
{
	struct run *run = ctx;
	run->instant++;
	run->c->sums.instants++;
	if (run->replay && run->instant == run->replay->number)
		replay_here(run);
	for (unsigned fate = 0; !run->replay && fate < run->options->fates; fate++) {
		struct cut cut = {.life = &run->life,
			.number = run->instant,
			.fate = fate,
			.how = run->c->how};
		cut_choose(&cut);
		try_cut(run, &cut);
	}
}

/* ---- lives ---- */

static struct life_config life_config_of(const struct sweep_case *c, uint64_t seed)
{
	struct random r = {seed};
	bool small = seed & SMALL_SEED;
	unsigned chunk = 1u << random_below(&r, 3);
	enum life_kind kind = (enum life_kind)random_below(&r, LIFE_SMALL);
	chunk = small ? 4 : chunk;
	struct life_config life = {.kind = small ? LIFE_SMALL : kind,
		.trouble = c->trouble,
		.journal = c->journal,
		.lying_flush = c->lying_flush,
		.rig = {.level = c->volume.level,
			.members = c->volume.members,
			.chunk_blocks = chunk,
			.stripes = 24 / chunk,
			.pi = c->pi,
			.members_fail = true,
			.arena_bytes = BLOCK_BYTES, /* mapping one anew costs more than a cut */
			.journal = c->journal && !c->no_log,
			.seed = random_u64(&r)}};
	/* Old blocks are cached in every other life: some, or nearly all there are. */
	if (random_below(&r, 2))
		life.rig.cache_bytes = (uint64_t)BLOCK_BYTES << random_below(&r, 7);
	return life;
}

static void live(struct run *run, uint64_t seed)
{
	struct life_config config = life_config_of(run->c, seed);
	config.verbose = run->replay != NULL;
	run->seed = seed;
	run->instant = 0;
	if (run->replay)
		printf("# %s, chunk of %u blocks, %s\n", life_kind_name(config.kind),
			config.rig.chunk_blocks, life_trouble_name(config.trouble));
	life_begin(&run->life, &config);
	sim_world_on_write(run->life.rig->world, write_reached, run);
	life_run(&run->life, STEPS);
	sim_world_on_write(run->life.rig->world, NULL, NULL);
	sim_world_disarm_all(run->life.rig->world);
	if (run->life.errors || run->life.mismatches) {
		printf("# seed %llu: %u requests failed, %u reads were wrong before any cut\n",
			(unsigned long long)seed, run->life.errors, run->life.mismatches);
		run->c->sums.violations++;
	}
	run->c->sums.beside += stripe_engine_stats(run->life.rig->eng).beside;
	life_end(&run->life);
	run->c->sums.lives++;
}

/* ---- cases ---- */

static bool has_parity(const struct volume *v)
{
	return v->level == RAID_RAID5 || v->level == RAID_RAID6;
}

static unsigned cases_add(struct sweep_case *cases, unsigned n, const struct volume *v)
{
	for (unsigned p = 0; p < COUNT(pi_types); p++) {
		for (unsigned journal = 0; journal < (has_parity(v) ? 2u : 1u); journal++) {
			for (unsigned t = 0; t < LIFE_TROUBLES; t++) {
				if (t != LIFE_HEALTHY && v->level == RAID_SINGLE)
					continue;
				cases[n] = (struct sweep_case){.number = n + 1,
					.volume = *v,
					.pi = pi_types[p],
					.journal = journal,
					.trouble = (enum life_trouble)t};
				n++;
			}
		}
	}
	return n;
}

/* What must be noticed, else the rest proves nothing. */
static unsigned controls_add(struct sweep_case *cases, unsigned n)
{
	static const struct sweep_case controls[] = {{.how = CUT_NO_RESYNC}, {.lying_flush = true},
		{.how = CUT_BELIEVE_STALE, .trouble = LIFE_FAILING},
		{.no_log = true, .journal = true}};
	for (unsigned i = 0; i < COUNT(controls); i++) {
		cases[n] = controls[i];
		cases[n].volume = (struct volume){RAID_RAID5, 4};
		cases[n].number = n + 1;
		n++;
	}
	return n;
}

static unsigned cases_make(struct sweep_case *cases)
{
	unsigned n = 0;
	for (unsigned v = 0; v < COUNT(volumes); v++)
		n = cases_add(cases, n, &volumes[v]);
	return controls_add(cases, n);
}

static const char *control_name(const struct sweep_case *c)
{
	if (c->lying_flush)
		return "a flush that lies is noticed";
	if (c->no_log)
		return "a log that does not log is noticed";
	return c->how == CUT_NO_RESYNC ? "a missing resync is noticed"
				       : "a stale member that is believed is noticed";
}

static const char *hole_name(const struct sweep_case *c)
{
	return !has_parity(&c->volume) ? "" : c->journal ? ", journal" : ", bitmap";
}

/* With PI what the write hole takes is an error when it is read, but for one block of 65,519 whose
 * row tag fits by chance. (The log does not have the tags: it takes rows for right of which a write
 * in full was lost in part just before.) */
static bool is_good(const struct sweep_case *c)
{
	if (is_control(c))
		return c->sums.violations > 0;
	bool silence = !c->journal && c->sums.silent > 1 + c->sums.unprotected / 8192;
	return c->sums.violations == 0 && !silence;
}

static void report_tap(const struct sweep_case *c)
{
	bool good = is_good(c);
	printf("%s %u - ", good ? "ok" : "not ok", c->number);
	if (is_control(c))
		printf("%s", control_name(c));
	else
		printf("%s x%u%s, pi %s, %s: %llu cuts", raid_level_name(c->volume.level),
			c->volume.members, hole_name(c), pi_name(c->pi),
			life_trouble_name(c->trouble), (unsigned long long)c->sums.cuts);
	if (c->sums.silent)
		printf(", %llu of %llu lost blocks silently wrong",
			(unsigned long long)c->sums.silent,
			(unsigned long long)c->sums.unprotected);
	printf("\n");
	fflush(stdout);
}

static void report_json(const struct sweep_case *c)
{
	const struct sums *s = &c->sums;
	printf("{\"sweep\":\"cuts\",\"case\":%u,\"level\":\"%s\",\"members\":%u,\"pi\":\"%s\","
	       "\"write_hole\":\"%s\",\"trouble\":\"%s\",\"control\":\"%s\",",
		c->number, raid_level_name(c->volume.level), c->volume.members, pi_name(c->pi),
		!has_parity(&c->volume) ? "-"
		: c->journal            ? "journal"
					: "bitmap",
		life_trouble_name(c->trouble), is_control(c) ? control_name(c) : "");
	printf("\"lives\":%llu,\"instants\":%llu,\"cuts\":%llu,\"second_cuts\":%llu,"
	       "\"losses\":%llu,\"bytes\":%llu,\"unprotected\":%llu,"
	       "\"silent\":%llu,\"violations\":%llu}\n",
		(unsigned long long)s->lives, (unsigned long long)s->instants,
		(unsigned long long)s->cuts, (unsigned long long)s->second_cuts,
		(unsigned long long)s->losses, (unsigned long long)s->bytes,
		(unsigned long long)s->unprotected, (unsigned long long)s->silent,
		(unsigned long long)s->violations);
	fflush(stdout);
}

static bool run_case(const struct sweep_options *o, struct sweep_case *c)
{
	struct run run = {.options = o, .c = c};
	/* What many members cost in time the others get in number. */
	unsigned share = o->lives * 4 / (c->volume.members + (c->volume.members == 1));
	unsigned lives = is_control(c) ? CONTROL_LIVES : share + (share == 0);
	for (unsigned i = 0; i < lives && c->sums.violations < MAX_TOLD; i++)
		live(&run, sweep_seed(o, c->number, i));
	for (unsigned i = 0; i * 4 < lives && !is_control(c) && !c->sums.violations; i++)
		live(&run, sweep_seed(o, c->number, i) | SMALL_SEED);
	(o->json ? report_json : report_tap)(c);
	return is_good(c);
}

static int run_all(const struct sweep_options *o, struct sweep_case *cases, unsigned count)
{
	unsigned failures = 0, ran = 0;
	uint64_t cuts = 0, beside = 0;
	for (unsigned i = 0; i < count; i++) {
		if (o->only ? cases[i].number != o->only : i % o->parts != o->part)
			continue;
		ran++;
		failures += !run_case(o, &cases[i]);
		cuts += cases[i].sums.cuts;
		beside += cases[i].sums.beside;
	}
	if (!o->json)
		printf("1..%u\n# %llu cuts, %llu writes beside others of their stripe\n", ran,
			(unsigned long long)cuts, (unsigned long long)beside);
	return failures ? 1 : 0;
}

static int replay(const struct sweep_options *o, struct sweep_case *cases, unsigned count)
{
	unsigned number, fate, lost;
	unsigned long long seed, cut;
	if (sscanf(o->replay, "%u:%llu:%llu:%u:%u", &number, &seed, &cut, &fate, &lost) != 5 ||
		number < 1 || number > count)
		return 2;
	struct cut wanted = {.number = cut, .fate = fate, .lost = lost};
	struct run run = {.options = o, .c = &cases[number - 1], .replay = &wanted};
	live(&run, seed);
	report_tap(run.c);
	return run.c->sums.violations ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct sweep_case cases[MAX_CASES];
	struct sweep_options o = {.lives = LIVES_DEFAULT, .fates = FATES_DEFAULT};
	unsigned count = cases_make(cases);
	if (!sweep_begin(&o, argc, argv))
		return 2;
	return o.replay ? replay(&o, cases, count) : run_all(&o, cases, count);
}
