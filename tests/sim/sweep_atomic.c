/* SPDX-License-Identifier: MIT */
/* Sweep: atomic writes on a whole volume with its file system, the power cut after every n-th
 * write of a member, which is torn or lost. Each sector of the file names the write it is from.
 *
 * Operations are numbered in the order in which they were asked for, and where they overlap the
 * atomic ones take effect in it. After a cut, and in reads while writes are under way:
 *	where one sector of an atomic write is to be seen, all are, or what came there later;
 *	so is the size that it gave the file;
 *	nothing is older than what an fsync acknowledged, nothing is foreign;
 *	no block is lost to the allocator, and scrub finds nothing.
 *
 * A case lives through ROUNDS volumes, each cut CUTS times: the workload goes on, with what it
 * found, behind each cut, and the cut point goes on through it. */
#include "report.h"
#include "unit/fs/rig.h"

#include <linux/falloc.h>
#include <time.h>

#define SECTOR_BYTES UINT64_C(512)
#define SECTORS      384u
#define FILE_BYTES   (SECTORS * SECTOR_BYTES)
#define OPS          14u
#define CUTS         48u

struct stamp {
	uint64_t id, sector, mixed[SECTOR_BYTES / 8 - 2];
};

enum op_kind { OP_ATOMIC, OP_PLAIN, OP_PUNCH, OP_TRUNCATE, OP_EXTEND };

struct op {
	struct fs_io io;
	struct source source;
	struct stamp *data; /* owned; NULL: zeros */
	enum op_kind kind;
	uint64_t id;
	unsigned first, end; /* sectors */
	uint64_t size;       /* that the file has at least behind it; OP_TRUNCATE: that it has */
	bool done, acked;
	bool visible; /* done when the last look began, with the power on */
	int err;
};

/* One volume's life. What a sector shows is a version: 0 for what was there at the last cut, else
 * the number of the operation since then, from 1 on. */
struct life {
	struct rig *rig;
	struct random r;
	uint64_t ino, next_id;
	bool careless;            /* atomic writes are made as ordinary ones */
	struct op ops[OPS];       /* since the last cut */
	unsigned op_count, plain; /* @plain: the last ordinary write; 0: none */
	uint64_t before[SECTORS]; /* the stamps at the last cut */
	unsigned floor[SECTORS];  /* versions that an fsync acknowledged */
	uint64_t size;            /* the same of the size */
	uint64_t shown[SECTORS];  /* the last look: stamps, and versions */
	unsigned seen[SECTORS];
	uint64_t seen_size;
	const char *problem; /* the first one */
	uint64_t problem_at; /* operation or sector */
};

/* What was done since the last cut, and what is to be seen of it. */
static void describe(const struct life *l)
{
	static const char *const kinds[] = {"atomic", "plain", "punch", "truncate", "extend"};
	for (unsigned v = 1; v <= l->op_count; v++) {
		const struct op *op = &l->ops[v - 1];
		printf("#   %u: %s [%u, %u) %s\n", v, kinds[op->kind], op->first, op->end,
			op->acked      ? "acknowledged"
			: !op->done    ? "under way"
			: op->err == 0 ? "done"
				       : "failed");
	}
	printf("#   size %llu, was %llu; sectors:version", (unsigned long long)l->seen_size,
		(unsigned long long)l->size);
	for (unsigned s = 0; s < SECTORS; s++) {
		if (s == 0 || l->seen[s] != l->seen[s - 1])
			printf(" %u:%u", s, l->seen[s]);
	}
	printf("\n");
}

static void problem(struct life *l, const char *what, uint64_t at)
{
	if (l->problem)
		return;
	l->problem = what;
	l->problem_at = at;
	if (l->careless)
		return;
	printf("# %s %llu\n", what, (unsigned long long)at);
	describe(l);
}

/* Times decide what is written too: the linker puts this clock in the place of the real one, so
 * that a seed gives the same run every time. */
static uint64_t clock_ns;

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	(void)clock;
	uint64_t coarse = (clock_ns += 300000) / 1000000 * 1000000;
	*out = (struct timespec){
		.tv_sec = (time_t)(coarse / 1000000000), .tv_nsec = (long)(coarse % 1000000000)};
	return 0;
}

/* ---- stamps ---- */

static void stamp_fill(struct stamp *s, uint64_t id, uint64_t sector)
{
	struct random r = {id << 20 ^ sector};
	s->id = id;
	s->sector = sector;
	for (unsigned i = 0; i < sizeof(s->mixed) / sizeof(s->mixed[0]); i++)
		s->mixed[i] = random_u64(&r);
}

/* The stamp of a sector; 0: zeros. */
static uint64_t stamp_read(struct life *l, const struct stamp *got, unsigned sector)
{
	static const struct stamp zeros;
	struct stamp want;
	if (memcmp(got, &zeros, sizeof(zeros)) == 0)
		return 0;
	stamp_fill(&want, got->id, sector);
	if (memcmp(got, &want, sizeof(want)) != 0)
		problem(l, "foreign bytes in sector", sector);
	return got->id;
}

/* ---- checks ---- */

static bool covers(const struct op *op, unsigned sector)
{
	return sector >= op->first && sector < op->end;
}

/* Zeros may be from any operation that made zeros there: they count as from the last. */
static unsigned version_of(struct life *l, uint64_t stamp, unsigned sector)
{
	for (unsigned v = l->op_count; v > 0; v--) {
		const struct op *op = &l->ops[v - 1];
		if (covers(op, sector) && (op->data ? op->id == stamp : stamp == 0))
			return v;
	}
	if (stamp != l->before[sector])
		problem(l, "bytes of another time in sector", sector);
	return 0;
}

/* Nothing may be older than what was acknowledged, or while the power is on, than what was done. */
static void freshness_check(struct life *l, unsigned first, unsigned end)
{
	for (unsigned s = first; s < end; s++) {
		if (l->seen[s] < l->floor[s])
			problem(l, "an acknowledged write is lost in sector", s);
		for (unsigned v = l->seen[s] + 1; v <= l->op_count; v++) {
			if (l->ops[v - 1].visible && covers(&l->ops[v - 1], s))
				problem(l, "a write is not to be read in sector", s);
		}
	}
}

struct presence {
	bool any, all; /* sectors that show the write; that show it or a later one */
};

static struct presence presence_of(
	const struct life *l, unsigned version, unsigned first, unsigned end)
{
	struct presence p = {false, true};
	const struct op *op = &l->ops[version - 1];
	for (unsigned s = op->first; s < op->end; s++) {
		if (s < first || s >= end)
			continue;
		p.any |= l->seen[s] == version;
		p.all &= l->seen[s] >= version;
	}
	return p;
}

static void wholeness_check(struct life *l, unsigned first, unsigned end)
{
	for (unsigned v = 1; v <= l->op_count; v++) {
		const struct op *op = &l->ops[v - 1];
		struct presence p = presence_of(l, v, first, end);
		if (op->kind == OP_ATOMIC && p.any && !p.all)
			problem(l, "torn: atomic write", v);
	}
}

static bool truncated_since(const struct life *l, unsigned version)
{
	for (unsigned v = version + 1; v <= l->op_count; v++) {
		if (l->ops[v - 1].kind == OP_TRUNCATE)
			return true;
	}
	return false;
}

/* The size is that of before, or one that an operation gave that is there as a whole. */
static void size_check(struct life *l)
{
	bool good = l->seen_size == l->size;
	for (unsigned v = 1; v <= l->op_count; v++) {
		const struct op *op = &l->ops[v - 1];
		struct presence p = presence_of(l, v, 0, SECTORS);
		if (op->kind == OP_ATOMIC && p.any && l->seen_size < op->size &&
			!truncated_since(l, v))
			problem(l, "too short for atomic write", v);
		if (op->kind != OP_PUNCH && !op->acked && l->seen_size == op->size)
			good |= op->kind != OP_ATOMIC || p.all;
	}
	if (!good)
		problem(l, "a size that no operation gave", l->seen_size);
}

/* ---- looks ---- */

static void look(struct life *l, unsigned first, unsigned end, bool powered)
{
	static struct stamp got[SECTORS];
	memset(got, 0, sizeof(got));
	for (unsigned i = 0; i < l->op_count; i++)
		l->ops[i].visible = powered && l->ops[i].done && l->ops[i].err == 0;
	ssize_t n = fs_read(l->rig->fs, l->ino, first * SECTOR_BYTES, got,
		(uint32_t)((end - first) * SECTOR_BYTES));
	if (n < 0) {
		if (!sim_world_power_is_cut(l->rig->world))
			problem(l, "a read failed", (uint64_t)-n);
		return;
	}
	for (unsigned s = first; s < end; s++) {
		l->shown[s] = stamp_read(l, &got[s - first], s);
		l->seen[s] = version_of(l, l->shown[s], s);
	}
	freshness_check(l, first, end);
	wholeness_check(l, first, end);
}

/* All that can be seen after a cut. */
static void recovered_check(struct life *l, bool scrub)
{
	struct rig *rig = l->rig;
	struct stat st = rig_stat(rig, l->ino);
	struct scrub_result s = {0};
	l->seen_size = (uint64_t)st.st_size;
	look(l, 0, SECTORS, false);
	size_check(l);
	if (fs_sync(rig->fs) < 0)
		problem(l, "a sync failed", 0);
	uint64_t used = (uint64_t)st.st_blocks / 8;
	if (fs_stats(rig->fs).free_blocks + used != volume_blocks(rig->v))
		problem(l, "blocks are neither free nor of the file", used);
	if (scrub && volume_scrub(rig->v, false, NULL, NULL, &s) < 0)
		problem(l, "a scrub failed", 0);
	if (s.damage_count)
		problem(l, "scrub finds damage", s.damage_count);
	scrub_result_free(&s);
}

/* The workload goes on with what was found. */
static void begin_anew(struct life *l)
{
	for (unsigned i = 0; i < l->op_count; i++)
		free(l->ops[i].data);
	l->op_count = l->plain = 0;
	memcpy(l->before, l->shown, sizeof(l->before));
	memset(l->floor, 0, sizeof(l->floor));
	l->size = l->seen_size;
}

/* ---- operations ---- */

static void op_done(struct fs_io *io, int err)
{
	struct op *op = container_of(io, struct op, io);
	op->done = true;
	op->err = err;
}

static void op_wait(struct life *l, struct op *op)
{
	while (!op->done)
		stripe_engine_run(volume_engine(l->rig->v), true);
}

static struct op *op_new(struct life *l, enum op_kind kind, unsigned first, unsigned sectors)
{
	struct op *op = &l->ops[l->op_count++];
	*op = (struct op){.kind = kind,
		.id = l->next_id++,
		.first = first,
		.end = first + sectors,
		.size = (first + sectors) * SECTOR_BYTES};
	return op;
}

static void op_write(struct life *l, enum op_kind kind, unsigned first, unsigned sectors)
{
	if (kind == OP_PLAIN && l->plain)
		op_wait(l, &l->ops[l->plain - 1]); /* only atomic ones have an order */
	struct op *op = op_new(l, kind, first, sectors);
	op->data = calloc(sectors, sizeof(struct stamp));
	for (unsigned s = 0; s < sectors; s++)
		stamp_fill(&op->data[s], op->id, first + s);
	source_init_bounce(&op->source, op->data, (uint32_t)(sectors * SECTOR_BYTES));
	op->io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = l->ino,
		.offset_bytes = first * SECTOR_BYTES,
		.len_bytes = (uint32_t)(sectors * SECTOR_BYTES),
		.source = &op->source,
		.atomic = kind == OP_ATOMIC && !l->careless,
		.done = op_done};
	l->plain = kind == OP_PLAIN ? l->op_count : l->plain;
	/* Half of them as by one who must not wait. */
	bool begun = op->id % 2 && fs_submit_now(l->rig->fs, &op->io);
	if (!begun)
		fs_submit_rest(l->rig->fs, &op->io);
}

static void op_punch(struct life *l)
{
	unsigned first = random_below(&l->r, SECTORS - 64), sectors = 1 + random_below(&l->r, 64);
	struct op *op = op_new(l, OP_PUNCH, first, sectors);
	op->err = fs_fallocate(l->rig->fs, l->ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		first * SECTOR_BYTES, sectors * SECTOR_BYTES);
	op->done = true;
}

/* Only one that does not make the file longer is in an order with writes that are under way. */
static void op_truncate(struct life *l)
{
	unsigned first = random_below(&l->r, SECTORS);
	bool shorter = (uint64_t)rig_stat(l->rig, l->ino).st_size >= first * SECTOR_BYTES;
	struct op *op =
		op_new(l, shorter ? OP_TRUNCATE : OP_EXTEND, first, shorter ? SECTORS - first : 0);
	op->size = first * SECTOR_BYTES;
	op->err = rig_truncate(l->rig, l->ino, op->size);
	op->done = true;
}

/* What was done before an fsync began is not to be lost once it has returned. */
static void op_fsync(struct life *l)
{
	bool before[OPS];
	for (unsigned i = 0; i < l->op_count; i++)
		before[i] = l->ops[i].done && l->ops[i].err == 0;
	if (fs_fsync(l->rig->fs, l->ino, random_below(&l->r, 2)) < 0)
		return;
	for (unsigned i = 0; i < l->op_count; i++) {
		struct op *op = &l->ops[i];
		if (!before[i] || op->acked)
			continue;
		op->acked = true;
		for (unsigned s = op->first; s < op->end; s++)
			l->floor[s] = i + 1;
		if (op->kind == OP_TRUNCATE || (op->kind != OP_PUNCH && op->size > l->size))
			l->size = op->size;
	}
}

static void op_random(struct life *l)
{
	struct random *r = &l->r;
	unsigned what = random_below(r, 100), log = random_below(r, 8);
	unsigned window = random_below(r, 3) ? SECTORS : 128; /* often the same place */
	unsigned first = random_below(r, window >> log) << log;
	if (what < 60)
		op_write(l, OP_ATOMIC, first, 1u << log);
	else if (what < 70)
		op_write(l, OP_PLAIN, first, 1 + random_below(r, SECTORS - first) % 40);
	else if (what < 74)
		op_punch(l);
	else if (what < 77)
		op_truncate(l);
	else if (what < 90)
		op_fsync(l);
	else
		look(l, first, first + 1 + random_below(r, SECTORS - first), true);
}

static void workload(struct life *l)
{
	while (l->op_count < OPS && !sim_world_power_is_cut(l->rig->world) && !l->problem) {
		op_random(l);
		for (unsigned turns = random_below(&l->r, 12); turns > 0; turns--)
			stripe_engine_run(volume_engine(l->rig->v), false);
	}
	for (unsigned i = 0; i < l->op_count; i++) {
		op_wait(l, &l->ops[i]);
		if (l->ops[i].err < 0 && !sim_world_power_is_cut(l->rig->world))
			problem(l, "failed with the power on: operation", i + 1);
	}
}

/* ---- lives ---- */

/* The power fails, if it has not; mount again, now and then with a cut in the middle of it. */
static void reboot(struct life *l, bool clean)
{
	struct rig *rig = l->rig;
	if (!clean)
		sim_world_cut_power_after(rig->world, 0);
	int ret = rig_unmount(rig);
	if (clean && ret < 0)
		problem(l, "an unmount failed", (uint64_t)-ret);
	sim_world_reboot(rig->world);
	if (random_below(&l->r, 5) == 0) {
		sim_world_cut_power_after(rig->world, random_below(&l->r, 12));
		if (rig_try_mount(rig, false) == 0) {
			sim_world_cut_power_after(rig->world, 0);
			(void)rig_unmount(rig);
		}
		sim_world_reboot(rig->world);
	}
	if (rig_try_mount(rig, false) < 0)
		problem(l, "the volume cannot be mounted", 0);
}

/* One workload, cut after @n writes. False: it ended before that. */
static bool one_cut(struct life *l, uint64_t n, bool scrub)
{
	sim_world_cut_power_after(l->rig->world, n);
	workload(l);
	bool was_cut = sim_world_power_is_cut(l->rig->world), clean = false;
	if (!was_cut && random_below(&l->r, 2)) {
		op_fsync(l);
		clean = !sim_world_power_is_cut(l->rig->world);
	}
	if (clean)
		sim_world_cut_power_after(l->rig->world, UINT64_MAX);
	reboot(l, clean);
	if (l->rig->fs)
		recovered_check(l, scrub);
	begin_anew(l);
	return was_cut;
}

struct tally {
	unsigned cuts, problems;
};

static void live(const struct volume_create_options *create, uint64_t seed, bool careless,
	struct tally *tally)
{
	static struct life life;
	uint64_t n = seed % 7;
	clock_ns = UINT64_C(1000000000000000000);
	life = (struct life){.r = {seed}, .next_id = 1, .careless = careless};
	life.rig = rig_new_with(seed, *create);
	life.rig->cache_bytes = seed / 1000 % 2 * 32 * BLOCK_BYTES;
	rig_mount(life.rig);
	life.ino = rig_create(life.rig, FS_ROOT_INO, "file");
	assert_int_equal(fs_sync(life.rig->fs), 0);
	for (unsigned i = 0; i < CUTS && !life.problem; i++) {
		bool more = one_cut(&life, n, i % 16 == 0 || i + 1 == CUTS);
		tally->cuts += more;
		n = more ? n + 1 + random_below(&life.r, 3) : random_below(&life.r, 3);
		if (life.problem && !careless)
			printf("# in life %#llx at cut %u\n", (unsigned long long)seed, i);
	}
	tally->problems += life.problem != NULL;
	rig_free(life.rig);
}

static struct tally run_case(
	struct sweep *sweep, const struct volume_create_options *create, bool careless)
{
	struct tally tally = {0};
	for (unsigned round = 0; round < sweep->rounds; round++) {
		uint64_t seed = sweep->seed + (uint64_t)round * 1000 + (unsigned)sweep->cases;
		live(create, seed, careless, &tally);
	}
	return tally;
}

int main(int argc, char **argv)
{
	static const struct {
		enum raid_level level;
		unsigned members;
	} volumes[] = {{RAID_SINGLE, 1}, {RAID_RAID1, 2}, {RAID_RAID5, 3}};
	struct volume_create_options create = {
		.size_bytes = 16 * MIB, .chunk_bytes = 16384, .system_bytes = 2 * MIB};
	struct sweep sweep = sweep_start("sweep_atomic", argc, argv, 9);
	char name[128];
	for (unsigned i = 0; i < 6; i++) {
		create.level = volumes[i / 2].level;
		create.members = volumes[i / 2].members;
		create.pi = i % 2 ? PI_T10 : PI_NONE;
		if (!sweep_next(&sweep))
			continue;
		struct tally t = run_case(&sweep, &create, false);
		snprintf(name, sizeof(name), "%s x%u, pi %s, atomic writes cut %u times",
			raid_level_name(create.level), create.members, pi_name(create.pi), t.cuts);
		sweep_report(&sweep, t.problems == 0, name);
	}
	if (sweep_next(&sweep))
		sweep_report(&sweep, run_case(&sweep, &create, true).problems > 0,
			"ordinary writes are noticed");
	return sweep_end(&sweep);
}
