/* SPDX-License-Identifier: MIT */
/* After a power cut:
 *	1. the volume is mounted, perhaps without a member, perhaps with the power gone once more on
 *	   the way;
 *	2. names, links, attributes and links' targets are walked, every file is read;
 *	3. there is a moment, not older than what was acknowledged, at which the model had all that;
 *	4. every block is free or of a file, every inode has a name;
 * and in one cut of THOROUGH:
 *	5. the database passes SQLite's own check, no row is left over;
 *	6. files are made, written, synced, cut off, removed, and read back;
 *	7. mounted once more it shows the same; scrub finds nothing. */
#include "fs_look.h"

#include <assert.h>
#include <stdarg.h>
#include "fs/internal.h"
#include "io/sim_snapshot.h"

#define THOROUGH 16u

struct found_file {
	uint64_t ino, size;
	const struct model_inode *model;
	unsigned cells;
	uint16_t shown[MODEL_CELLS];
};

/* A look at work. Large; one at a time. */
struct look {
	const struct fs_look *asked;
	const struct fs_model *model;
	struct random random;
	struct sim_world *world;
	struct io_factory factory;
	struct volume *volume;
	struct fs *fs; /* NULL: not mounted */
	unsigned lost; /* the member that is away; count: none */
	uint64_t digest;
	uint64_t blocks, inodes; /* of all that was found */
	uint64_t queue[MODEL_INODES];
	unsigned queued;
	uint64_t seen[MODEL_INODES]; /* inodes whose attributes are in the digest */
	struct found_file files[MODEL_INODES];
	unsigned file_count;
	uint8_t bytes[MODEL_FILE_BYTES] __attribute__((aligned(4096)));
	struct fs_looked out;
};

static __attribute__((format(printf, 3, 4))) void problem(
	struct look *k, const char *what, const char *format, ...)
{
	char where[sizeof(k->out.where)];
	va_list args;
	va_start(args, format);
	vsnprintf(where, sizeof(where), format, args);
	va_end(args);
	if (k->asked->verbose)
		printf("# %s: %s\n", what, where);
	if (k->out.problem)
		return;
	k->out.problem = what;
	memcpy(k->out.where, where, sizeof(where));
}

/* ---- mounting ---- */

static const struct volume_create_options *options_of(const struct look *k)
{
	return &k->asked->life->config.create;
}

static int try_mount(struct look *k)
{
	char *paths[4];
	unsigned count = 0;
	struct errmsg why = {0};
	for (unsigned i = 0; i < options_of(k)->members; i++) {
		if (i != k->lost)
			paths[count++] = rig_names[i];
	}
	struct volume_open_options vo = {.factory = &k->factory, .paths = paths, .count = count};
	struct fs_options fo = {0};
	int ret = volume_open(&vo, &k->volume, &why);
	if (ret == 0)
		ret = fs_open(k->volume, &fo, &k->fs, &why);
	if (ret < 0 && k->asked->verbose)
		printf("# not mounted: %s\n", why.text);
	return ret;
}

static int unmount(struct look *k)
{
	int ret = k->fs ? fs_close(k->fs) : 0;
	int closed = k->volume ? volume_close(k->volume) : 0;
	k->fs = NULL;
	k->volume = NULL;
	return ret < 0 ? ret : closed;
}

/* Without writing anything any more, which is cheaper. */
static void abandon(struct look *k)
{
	if (k->fs)
		fs_fail(k->fs, -ESHUTDOWN);
	sim_world_cut_power_after(k->world, 0);
	(void)unmount(k);
}

static void mount_again(struct look *k)
{
	if (random_below(&k->random, 8) == 0)
		sim_world_cut_power_after(k->world, random_below(&k->random, 10));
	int ret = try_mount(k);
	if (sim_world_power_is_cut(k->world)) {
		k->out.cut_twice = true;
		(void)unmount(k);
		sim_world_reboot(k->world);
		ret = try_mount(k);
	}
	sim_world_cut_power_after(k->world, UINT64_MAX >> 1);
	if (ret < 0)
		problem(k, "cannot be mounted", "%d", ret);
}

/* ---- walking ---- */

struct walk {
	struct look *look;
	uint64_t dir;
};

static bool entry_found(void *ctx, const struct fs_dirent *entry)
{
	struct walk *w = ctx;
	struct look *k = w->look;
	if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
		return true;
	struct stat st;
	if (strcmp(entry->name, FS_LIFE_FILLER) == 0 && fs_getattr(k->fs, entry->ino, &st) == 0) {
		k->blocks += (uint64_t)st.st_blocks / 8;
		k->inodes++;
		return true;
	}
	k->digest += model_digest_entry(w->dir, entry->name, entry->ino);
	k->out.names++;
	for (unsigned i = 0; i < k->queued; i++) {
		if (k->queue[i] == entry->ino)
			return true;
	}
	if (k->queued < MODEL_INODES)
		k->queue[k->queued++] = entry->ino;
	return true;
}

static void xattrs_walk(struct look *k, uint64_t ino)
{
	char names[512];
	ssize_t len = fs_listxattr(k->fs, ino, names, sizeof(names));
	if (len < 0)
		problem(k, "attributes cannot be listed", "inode %llu", (unsigned long long)ino);
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t n = fs_getxattr(k->fs, ino, names + at, k->bytes, sizeof(k->bytes));
		if (n < 0)
			problem(k, "an attribute cannot be read", "inode %llu",
				(unsigned long long)ino);
		else
			k->digest += model_digest_bytes(ino, names + at, k->bytes, (size_t)n);
	}
}

static void file_found(struct look *k, const struct stat *st)
{
	struct found_file *f = &k->files[k->file_count++];
	f->ino = st->st_ino;
	f->size = (uint64_t)st->st_size;
	f->model = NULL;
	f->cells = 0;
}

static void inode_walk(struct look *k, uint64_t ino)
{
	struct stat st;
	char target[4096];
	int ret = fs_getattr(k->fs, ino, &st);
	if (ret < 0) {
		problem(k, "an inode cannot be read", "%llu (%d)", (unsigned long long)ino, ret);
		return;
	}
	bool dir = S_ISDIR(st.st_mode), regular = S_ISREG(st.st_mode);
	struct model_attr a = {ino, st.st_mode, (uint32_t)st.st_nlink, st.st_uid, st.st_gid, 0};
	if (!dir && !regular)
		a.mtime = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	k->digest += model_digest_attr(&a);
	k->blocks += (uint64_t)st.st_blocks / 8;
	k->inodes++;
	xattrs_walk(k, ino);
	if (regular)
		file_found(k, &st);
	if (S_ISLNK(st.st_mode) && fs_readlink(k->fs, ino, target, sizeof(target)) == 0)
		k->digest += model_digest_bytes(ino, "", target, strlen(target));
	struct walk w = {k, ino};
	if (dir && fs_readdir(k->fs, ino, 0, entry_found, &w) < 0)
		problem(k, "a directory cannot be read", "%llu", (unsigned long long)ino);
}

static void tree_walk(struct look *k)
{
	k->digest = k->blocks = k->inodes = 0;
	k->file_count = k->out.names = 0;
	k->queue[0] = FS_ROOT_INO;
	k->queued = 1;
	for (unsigned at = 0; at < k->queued; at++)
		inode_walk(k, k->queue[at]);
}

/* ---- files ---- */

static bool lost_with_parity(const struct look *k)
{
	enum raid_level level = options_of(k)->level;
	return k->out.lost_member && (level == RAID_RAID5 || level == RAID_RAID6);
}

/* Where the volume lost a member of a parity group with the power, blocks in flight may be lost
 * with it (docs/reliability.md). */
static bool tolerated(const struct look *k, const struct found_file *f, unsigned cell)
{
	return lost_with_parity(k) && f->model && model_block_in_flight(f->model, cell);
}

static void block_read(struct look *k, struct found_file *f, uint64_t at, uint32_t len)
{
	ssize_t n = fs_read(k->fs, f->ino, at, k->bytes + at, len);
	unsigned cell = (unsigned)(at / MODEL_CELL_BYTES);
	if (n == (ssize_t)len)
		return;
	if (!tolerated(k, f, cell))
		problem(k, "bytes cannot be read", "inode %llu, offset %llu (%zd)",
			(unsigned long long)f->ino, (unsigned long long)at, n);
	memset(k->bytes + at, 0, len);
}

static void cell_note(struct look *k, struct found_file *f, unsigned cell)
{
	unsigned version = 0;
	bool good =
		model_cell_read(f->ino, cell, k->bytes + (size_t)cell * MODEL_CELL_BYTES, &version);
	if (!good && !tolerated(k, f, cell))
		problem(k, "foreign or torn bytes", "inode %llu, cell %u",
			(unsigned long long)f->ino, cell);
	f->shown[cell] = tolerated(k, f, cell) ? MODEL_ANY : (uint16_t)version;
}

static void file_read(struct look *k, struct found_file *f)
{
	if (f->size > MODEL_FILE_BYTES || f->size % MODEL_CELL_BYTES) {
		problem(k, "a size that nobody gave", "inode %llu: %llu bytes",
			(unsigned long long)f->ino, (unsigned long long)f->size);
		return;
	}
	f->cells = (unsigned)(f->size / MODEL_CELL_BYTES);
	if (fs_read(k->fs, f->ino, 0, k->bytes, (uint32_t)f->size) != (ssize_t)f->size) {
		for (uint64_t at = 0; at < f->size; at += BLOCK_BYTES)
			block_read(k, f, at, (uint32_t)min_u64(BLOCK_BYTES, f->size - at));
	}
	for (unsigned c = 0; c < f->cells; c++)
		cell_note(k, f, c);
	k->out.bytes += f->size;
	k->out.files++;
}

static void files_read(struct look *k)
{
	for (unsigned i = 0; i < k->file_count; i++) {
		struct found_file *f = &k->files[i];
		f->model = model_inode((struct fs_model *)k->model, f->ino);
		if (f->model && !f->model->file)
			f->model = NULL;
		file_read(k, f);
	}
}

/* ---- the verdict ---- */

/* The files as they are, at that moment? @what names the first that is not. */
static bool files_fit(struct look *k, uint32_t moment, const struct found_file **what)
{
	for (unsigned i = 0; i < k->file_count; i++) {
		const struct found_file *f = &k->files[i];
		*what = f;
		bool size = f->model && model_size_fits(f->model, moment, f->size);
		bool cells = size && model_cells_fit(f->model, moment, f->shown, f->cells);
		if (!cells && k->asked->verbose)
			printf("# not moment %u: inode %llu, its %s (%llu bytes)\n", moment,
				(unsigned long long)f->ino, size ? "bytes" : "size",
				(unsigned long long)f->size);
		if (!cells)
			return false;
	}
	return true;
}

static void cells_check(struct look *k)
{
	for (unsigned i = 0; i < k->file_count; i++) {
		const struct found_file *f = &k->files[i];
		unsigned at = 0;
		const char *wrong =
			f->model ? model_cells_check(f->model, f->shown, f->cells, &at) : NULL;
		if (wrong)
			problem(k, wrong, "inode %llu, cell %u, version %u, acknowledged %u",
				(unsigned long long)f->ino, at, f->shown[at],
				f->model->file->floor[at]);
	}
}

static void moment_find(struct look *k)
{
	const struct fs_model *m = k->model;
	const struct found_file *what = NULL;
	bool known = false, new_enough = false;
	for (uint32_t p = m->now + 1; p-- > 0;) {
		if (m->digests[p] != k->digest)
			continue;
		known = true;
		if (p < m->floor)
			break;
		new_enough = true;
		if (files_fit(k, p, &what)) {
			if (k->asked->verbose)
				printf("# moment %u of %u to %u\n", p, m->floor, m->now);
			return;
		}
	}
	if (new_enough)
		problem(k, "sizes or holes of no moment", "inode %llu, %llu bytes",
			(unsigned long long)what->ino, (unsigned long long)what->size);
	else if (known)
		problem(k, "acknowledged names are lost", "floor %u of %u", m->floor, m->now);
	else
		problem(k, "names or attributes of no moment", "floor %u of %u", m->floor, m->now);
}

static void space_check(struct look *k)
{
	struct statvfs st;
	fs_statfs(k->fs, &st);
	if (st.f_bfree + k->blocks != st.f_blocks)
		problem(k, "blocks are neither free nor of a file", "%llu + %llu of %llu",
			(unsigned long long)st.f_bfree, (unsigned long long)k->blocks,
			(unsigned long long)st.f_blocks);
	uint64_t inodes = fs_stats(k->fs).inodes;
	if (inodes != k->inodes)
		problem(k, "inodes without a name", "%llu of %llu",
			(unsigned long long)(inodes - k->inodes), (unsigned long long)inodes);
}

static void compare(struct look *k)
{
	tree_walk(k);
	files_read(k);
	cells_check(k);
	moment_find(k);
	space_check(k);
}

/* ---- thoroughly ---- */

static int row_look(void *ctx, int columns, char **values, char **names)
{
	struct look *k = ctx;
	(void)columns, (void)names;
	if (strcmp(values[0], "ok") != 0 && strcmp(values[0], "0") != 0)
		problem(k, "the database is damaged", "%.80s", values[0]);
	return 0;
}

static void database_check(struct look *k)
{
	static const char *const questions[] = {"PRAGMA integrity_check",
		"SELECT count(*) FROM extent WHERE ino NOT IN (SELECT ino FROM inode)",
		"SELECT count(*) FROM xattr WHERE ino NOT IN (SELECT ino FROM inode)",
		"SELECT count(*) FROM symlink WHERE ino NOT IN (SELECT ino FROM inode)",
		"SELECT count(*) FROM dirent WHERE parent NOT IN (SELECT ino FROM inode)"};
	for (unsigned i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		if (sqlite3_exec(k->fs->db.handle, questions[i], row_look, k, NULL) != SQLITE_OK)
			problem(k, "the database cannot be read", "%.80s",
				sqlite3_errmsg(k->fs->db.handle));
	}
}

/* Where a member was lost with the cut, a row that was being written as a whole takes no part of
 * itself until it is written as a whole again (docs/reliability.md). */
static int use_bytes(struct look *k, uint64_t ino)
{
	static uint8_t out[20000], in[20000];
	random_fill(&k->random, out, sizeof(out));
	ssize_t n = fs_write(k->fs, ino, 1000, out, sizeof(out));
	if (n != (ssize_t)sizeof(out))
		return lost_with_parity(k) ? 0 : n < 0 ? (int)n : -EIO;
	int ret = fs_fsync(k->fs, ino, false);
	if (ret == 0 && fs_read(k->fs, ino, 1000, in, sizeof(in)) != (ssize_t)sizeof(in))
		ret = -EIO;
	if (ret == 0 && memcmp(in, out, sizeof(in)) != 0)
		problem(k, "reads something else than was written", "afterwards");
	return ret;
}

static void use(struct look *k)
{
	struct stat st;
	int ret = fs_mknod(k->fs, FS_ROOT_INO, "afterwards", S_IFREG | 0644, 0, &rig_owner, &st);
	if (ret == 0) {
		ret = use_bytes(k, st.st_ino);
		int removed = fs_unlink(k->fs, FS_ROOT_INO, "afterwards");
		ret = ret < 0 ? ret : removed;
		fs_forget(k->fs, st.st_ino, 1);
	}
	for (unsigned i = 0; i < k->file_count && ret == 0; i++)
		ret = fs_fsync(k->fs, k->files[i].ino, true);
	if (ret < 0)
		problem(k, "cannot be used any more", "%d", ret);
}

static void scrub(struct look *k)
{
	struct scrub_result s = {0};
	if (volume_work(k->volume) < 0)
		problem(k, "stripes cannot be brought into agreement", "volume");
	int ret = volume_scrub(k->volume, false, NULL, NULL, &s);
	if (ret < 0 || (s.damage_count && !k->out.lost_member))
		problem(k, "scrub finds damage", "%d, %llu", ret,
			(unsigned long long)s.damage_count);
	scrub_result_free(&s);
}

static void again(struct look *k)
{
	uint64_t digest = k->digest;
	int ret = unmount(k);
	if (ret < 0)
		problem(k, "cannot be unmounted", "%d", ret);
	if (random_below(&k->random, 2))
		sim_world_reboot(k->world);
	ret = try_mount(k);
	if (ret < 0) {
		problem(k, "cannot be mounted again", "%d", ret);
		return;
	}
	compare(k);
	if (k->digest != digest)
		problem(k, "is another when mounted again", "names");
	database_check(k);
}

static void look_thoroughly(struct look *k)
{
	k->out.thorough = true;
	database_check(k);
	use(k);
	if (random_below(&k->random, 4) == 0)
		scrub(k);
	again(k);
}

/* ---- one look ---- */

static uint64_t seed_of(const struct fs_look *asked)
{
	struct random r = {asked->life->config.seed};
	r.state = random_u64(&r) ^ asked->number;
	r.state = random_u64(&r) ^ asked->fate;
	return random_u64(&r);
}

static void lose_a_member(struct look *k)
{
	const struct volume_create_options *o = options_of(k);
	bool parity = o->level == RAID_RAID5 || o->level == RAID_RAID6;
	k->lost = o->members;
	if (o->level == RAID_SINGLE || random_below(&k->random, 4) ||
		(parity && o->write_hole != SUPER_HOLE_JOURNAL))
		return; /* without the log blocks at rest may be lost with it */
	k->lost = random_below(&k->random, o->members);
	k->out.lost_member = true;
}

struct fs_looked fs_look(const struct fs_look *asked)
{
	static struct look k;
	uint64_t seed = seed_of(asked);
	struct fs_life_chance chance = fs_life_chance_save(seed);
	k.asked = asked;
	k.model = &asked->life->model;
	k.random = (struct random){seed ^ 2};
	k.out = (struct fs_looked){0};
	k.volume = NULL;
	k.fs = NULL;
	k.world = sim_world_snapshot(asked->life->rig->world, seed);
	assert(k.world);
	k.factory = sim_factory(k.world);
	lose_a_member(&k);
	mount_again(&k);
	if (!k.out.problem)
		compare(&k);
	if (!k.out.problem && random_below(&k.random, THOROUGH) == 0)
		look_thoroughly(&k);
	abandon(&k);
	sim_world_free(k.world);
	fs_life_chance_restore(&chance);
	return k.out;
}
