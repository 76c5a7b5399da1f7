/* SPDX-License-Identifier: MIT */
/* Sweep: the power is cut behind each write and each flush of the members in random lives of a
 * whole file system, each time with several fates for what was volatile, sometimes together with a
 * member, sometimes once more while it is mounted again. What it then holds must be what the order
 * of operations and the acknowledgements allow (fs_look.c has the list, fs_model.h the rule).
 *
 *	sweep_fs [--lives N] [--fates N] [--steps N] [--seed N] [--part I/N] [--case N] [--json]
 *	sweep_fs --replay CASE:SEED:CUT:FATE
 *
 * A cut is one moment with one fate that was mounted and compared. */
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include "fs_look.h"
#include "io/sim_snapshot.h"
#include "sweep_options.h"

#define MAX_TOLD 3u /* violations of a case that are shown; with so many it ends */

#ifdef __SANITIZE_ADDRESS__
#define LIVES_DEFAULT 1u
#define FATES_DEFAULT 1u
#define STEPS_DEFAULT 12u
#else
#define LIVES_DEFAULT 175u
#define FATES_DEFAULT 3u
#define STEPS_DEFAULT 30u
#endif

struct sums {
	uint64_t lives, instants, cuts, second_cuts, losses, thorough, files, names, bytes,
		violations;
};

struct sweep_case {
	enum raid_level level;
	unsigned members;
	enum pi_type pi;
	enum super_write_hole hole;
	enum fs_life_control control;
	struct sums sums;
};

static struct sweep_case cases[] = {
	{RAID_SINGLE, 1, PI_NONE, SUPER_HOLE_BITMAP, FS_LIFE_CAREFUL, {0}},
	{RAID_SINGLE, 1, PI_T10, SUPER_HOLE_BITMAP, FS_LIFE_CAREFUL, {0}},
	{RAID_RAID1, 2, PI_NONE, SUPER_HOLE_BITMAP, FS_LIFE_CAREFUL, {0}},
	{RAID_RAID1, 2, PI_CRC32C, SUPER_HOLE_BITMAP, FS_LIFE_CAREFUL, {0}},
	{RAID_RAID5, 3, PI_T10, SUPER_HOLE_JOURNAL, FS_LIFE_CAREFUL, {0}},
	{RAID_RAID5, 3, PI_NONE, SUPER_HOLE_BITMAP, FS_LIFE_CAREFUL, {0}},
	{RAID_RAID6, 4, PI_T10, SUPER_HOLE_JOURNAL, FS_LIFE_CAREFUL, {0}},
	{RAID_SINGLE, 1, PI_NONE, SUPER_HOLE_BITMAP, FS_LIFE_EARLY, {0}},
	{RAID_SINGLE, 1, PI_NONE, SUPER_HOLE_BITMAP, FS_LIFE_NO_FLUSH, {0}},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

struct replay {
	unsigned long long seed, number;
	unsigned number_of_case, fate;
};

/* One case at work. */
struct run {
	const struct sweep_options *options;
	struct sweep_case *c;
	unsigned number; /* of the case, from 1 on */
	struct fs_life life;
	uint64_t instant; /* writes and flushes of this life so far */
	const struct replay *replay;
};

/* ---- what to type to see it again ---- */

static void replay_note(const struct run *run, const struct fs_look *look)
{
	sweep_note("--steps %u --replay %u:%llu:%llu:%u", run->options->steps, run->number,
		(unsigned long long)run->life.config.seed, (unsigned long long)look->number,
		look->fate);
}

/* ---- cuts ---- */

static void account(struct run *run, const struct fs_looked *found)
{
	struct sums *s = &run->c->sums;
	s->cuts++;
	s->second_cuts += found->cut_twice;
	s->losses += found->lost_member;
	s->thorough += found->thorough;
	s->files += found->files;
	s->names += found->names;
	s->bytes += found->bytes;
	s->violations += found->problem != NULL;
	if (found->problem && (run->replay || !run->c->control))
		printf("# %s: %s\n%s", found->problem, found->where, sweep_again());
}

static void try_cut(struct run *run, unsigned fate)
{
	struct fs_look look = {.life = &run->life,
		.number = run->instant,
		.fate = fate,
		.verbose = run->replay != NULL};
	replay_note(run, &look);
	if (run->replay)
		printf("# the power goes\n");
	struct fs_looked found = fs_look(&look);
	account(run, &found);
	sweep_note("%s", "");
}

static void reached(void *ctx)
{
	struct run *run = ctx;
	run->instant++;
	run->c->sums.instants++;
	if (run->replay) {
		if (run->instant == run->replay->number) {
			try_cut(run, run->replay->fate);
			run->life.config.verbose = false;
		}
		return;
	}
	for (unsigned f = 0; f < run->options->fates && run->c->sums.violations < MAX_TOLD; f++)
		try_cut(run, f);
}

/* ---- lives ---- */

static void live(struct run *run, uint64_t seed)
{
	const struct sweep_case *c = run->c;
	struct fs_life_config config = {.seed = seed,
		.control = c->control,
		.verbose = run->replay != NULL,
		.create = {.level = c->level,
			.members = c->members,
			.pi = c->pi,
			.write_hole = c->hole,
			.size_bytes = 16 * MIB,
			.chunk_bytes = UINT64_C(8192) << seed % 3,
			.system_bytes = 2 * MIB}};
	struct fs_life *life = &run->life;
	run->instant = 0;
	fs_life_begin(life, &config);
	log_set_level(run->replay ? LOG_LEVEL_WARN : LOG_LEVEL_NONE);
	sim_world_ignore_flushes(life->rig->world, c->control == FS_LIFE_NO_FLUSH);
	sim_world_on_write(life->rig->world, reached, run);
	sim_world_on_flush(life->rig->world, reached, run);
	fs_life_run(life, run->options->steps);
	if (!life->problem)
		fs_life_unmount(life);
	sim_world_on_write(life->rig->world, NULL, NULL);
	sim_world_on_flush(life->rig->world, NULL, NULL);
	if (life->problem) {
		printf("# seed %llu: %s (%d) with the power on\n", (unsigned long long)seed,
			life->problem, life->problem_err);
		run->c->sums.violations++;
	}
	run->c->sums.lives++;
	fs_life_end(life);
}

/* ---- cases ---- */

static const char *hole_name(const struct sweep_case *c)
{
	if (c->level != RAID_RAID5 && c->level != RAID_RAID6)
		return "-";
	return c->hole == SUPER_HOLE_JOURNAL ? "journal" : "bitmap";
}

static void name_write(const struct sweep_case *c, char *out, size_t size)
{
	static const char *const controls[] = {
		[FS_LIFE_EARLY] = "a sync that says so early is noticed",
		[FS_LIFE_NO_FLUSH] = "disks that do not flush are noticed"};
	if (c->control)
		snprintf(out, size, "%s", controls[c->control]);
	else
		snprintf(out, size, "%s of %u, pi %s", raid_level_name(c->level), c->members,
			pi_name(c->pi));
}

static bool is_good(const struct sweep_case *c)
{
	return c->control ? c->sums.violations > 0 : c->sums.violations == 0;
}

static void report_tap(unsigned number, const struct sweep_case *c)
{
	char name[96];
	name_write(c, name, sizeof(name));
	printf("%s %u - %s: %llu cuts in %llu lives, %llu with a member lost, %llu cut twice\n",
		is_good(c) ? "ok" : "not ok", number, name, (unsigned long long)c->sums.cuts,
		(unsigned long long)c->sums.lives, (unsigned long long)c->sums.losses,
		(unsigned long long)c->sums.second_cuts);
	fflush(stdout);
}

static void report_json(unsigned number, const struct sweep_case *c)
{
	const struct sums *s = &c->sums;
	char control[96] = "";
	if (c->control)
		name_write(c, control, sizeof(control));
	printf("{\"sweep\":\"fs\",\"case\":%u,\"level\":\"%s\",\"members\":%u,\"pi\":\"%s\","
	       "\"write_hole\":\"%s\",\"control\":\"%s\",",
		number, raid_level_name(c->level), c->members, pi_name(c->pi), hole_name(c),
		control);
	printf("\"lives\":%llu,\"instants\":%llu,\"cuts\":%llu,\"second_cuts\":%llu,"
	       "\"losses\":%llu,\"thorough\":%llu,\"files\":%llu,\"names\":%llu,"
	       "\"bytes\":%llu,\"violations\":%llu}\n",
		(unsigned long long)s->lives, (unsigned long long)s->instants,
		(unsigned long long)s->cuts, (unsigned long long)s->second_cuts,
		(unsigned long long)s->losses, (unsigned long long)s->thorough,
		(unsigned long long)s->files, (unsigned long long)s->names,
		(unsigned long long)s->bytes, (unsigned long long)s->violations);
	fflush(stdout);
}

/* More members make more moments of one life, and dearer ones. A control ends when it is
 * noticed. */
static unsigned lives_of(const struct sweep_options *o, const struct sweep_case *c)
{
	static const unsigned percent[] = {0, 100, 40, 10, 5};
	if (c->control)
		return 60 * o->parts;
	unsigned lives = o->lives * percent[c->members] / 100;
	return lives < o->parts ? o->parts : lives; /* every part has one */
}

static bool run_case(const struct sweep_options *o, unsigned number)
{
	static struct run run;
	struct sweep_case *c = &cases[number - 1];
	run = (struct run){.options = o, .c = c, .number = number};
	for (unsigned i = o->part; i < lives_of(o, c) && c->sums.violations < MAX_TOLD;
		i += o->parts)
		live(&run, sweep_seed(o, number, i));
	(o->json ? report_json : report_tap)(number, c);
	return is_good(c);
}

static int run_all(const struct sweep_options *o)
{
	unsigned failures = 0, ran = 0;
	uint64_t cuts = 0;
	for (unsigned n = 1; n <= CASES; n++) {
		if (o->only && n != o->only)
			continue;
		ran++;
		failures += !run_case(o, n);
		cuts += cases[n - 1].sums.cuts;
	}
	if (!o->json)
		printf("1..%u\n# %llu cuts\n", ran, (unsigned long long)cuts);
	return failures ? 1 : 0;
}

static int replay(const struct sweep_options *o)
{
	static struct run run;
	struct replay r;
	if (sscanf(o->replay, "%u:%llu:%llu:%u", &r.number_of_case, &r.seed, &r.number, &r.fate) !=
			4 ||
		r.number_of_case < 1 || r.number_of_case > CASES)
		return 2;
	run = (struct run){.options = o,
		.c = &cases[r.number_of_case - 1],
		.number = r.number_of_case,
		.replay = &r};
	live(&run, r.seed);
	report_tap(run.number, run.c);
	return run.c->sums.violations ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct sweep_options o = {
		.lives = LIVES_DEFAULT, .fates = FATES_DEFAULT, .steps = STEPS_DEFAULT};
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (!sweep_begin(&o, argc, argv))
		return 2;
	return o.replay ? replay(&o) : run_all(&o);
}
