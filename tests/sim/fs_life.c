/* SPDX-License-Identifier: MIT */
/* A random workload on a small file system.
 *
 * Names, links and attributes are told to the model before the file system is asked: a commit in
 * the middle of an operation may show them. What a call returns is needed for a new inode alone,
 * whose name no commit can have before its call returns. */
#include "fs_life.h"

#include <assert.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sqlite3.h>
#include <sys/sysmacros.h>
#include <time.h>

/* ---- clock and chance ---- */

static uint64_t clock_ns;
static struct random chance;

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	(void)clock;
	uint64_t coarse = (clock_ns += 300000) / 1000000 * 1000000;
	*out = (struct timespec){
		.tv_sec = (time_t)(coarse / 1000000000), .tv_nsec = (long)(coarse % 1000000000)};
	return 0;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
	(void)flags;
	random_fill(&chance, buf, len);
	return (ssize_t)len;
}

struct fs_life_chance fs_life_chance_save(uint64_t seed)
{
	struct fs_life_chance c = {clock_ns, chance.state};
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SAVE);
	chance.state = seed;
	return c;
}

void fs_life_chance_restore(const struct fs_life_chance *c)
{
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_RESTORE);
	clock_ns = c->clock_ns;
	chance.state = c->random;
}

/* ---- telling ---- */

static void say(struct fs_life *l, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	if (l->config.verbose)
		printf("#   %u: %s %llu %llu %llu\n", l->model.now, what, (unsigned long long)a,
			(unsigned long long)b, (unsigned long long)c);
}

static void expect(struct fs_life *l, const char *what, int ret)
{
	if (ret >= 0 || l->problem)
		return;
	l->problem = what;
	l->problem_err = ret;
}

/* ---- choosing ---- */

static unsigned below(struct fs_life *l, unsigned bound)
{
	return random_below(&l->random, bound);
}

static struct model_inode *dir_choose(struct fs_life *l)
{
	struct fs_model *m = &l->model;
	for (unsigned tries = 0; tries < 6; tries++) {
		struct model_inode *i = &m->inodes[below(l, m->inode_count)];
		if (S_ISDIR(i->mode) && i->nlink)
			return i;
	}
	return &m->inodes[0];
}

/* Any entry; NULL: there is none. */
static struct model_entry *entry_choose(struct fs_life *l)
{
	struct fs_model *m = &l->model;
	return m->entry_count ? &m->entries[below(l, m->entry_count)] : NULL;
}

/* A regular file with room for more versions, named or open. */
static struct model_inode *file_choose(struct fs_life *l)
{
	struct fs_model *m = &l->model;
	for (unsigned tries = 0; tries < 24; tries++) {
		struct model_inode *i = &m->inodes[below(l, m->inode_count)];
		if (i->file && (i->nlink || i->opens) && model_has_room(i))
			return i;
	}
	return NULL;
}

/* A range of cells: blocks, parts of them, often at the end. */
static void range_choose(
	struct fs_life *l, const struct model_inode *i, unsigned *first, unsigned *end)
{
	unsigned size = (unsigned)(model_size(i) / MODEL_CELL_BYTES);
	unsigned len = below(l, 2) ? 32 * (1 + below(l, 6)) : 1 + below(l, 90);
	unsigned at = below(l, 3) == 0 ? size : below(l, size + 40);
	if (below(l, 2))
		at -= at % 32;
	*first = at < MODEL_CELLS ? at : MODEL_CELLS - 1;
	*end = *first + len < MODEL_CELLS ? *first + len : MODEL_CELLS;
}

/* ---- creating ---- */

static void created(struct fs_life *l, uint64_t parent, unsigned name, const struct stat *st)
{
	(void)model_add(&l->model, st->st_ino, st);
	model_link(&l->model, parent, name, st->st_ino);
	model_moment(&l->model);
	fs_forget(l->rig->fs, st->st_ino, 1);
}

static struct model_inode *create(struct fs_life *l, uint64_t parent, unsigned name, mode_t mode)
{
	struct stat st;
	model_begin(&l->model);
	say(l, "create", parent, name, mode);
	int ret = fs_mknod(l->rig->fs, parent, model_name(name), mode,
		S_ISCHR(mode) ? makedev(1, 3) : 0, &rig_owner, &st);
	expect(l, "a create failed", ret);
	if (ret < 0)
		return NULL;
	created(l, parent, name, &st);
	return model_inode(&l->model, st.st_ino);
}

static bool has_room(const struct fs_model *m)
{
	return m->inode_count + 2 < MODEL_INODES && m->entry_count + 2 < MODEL_ENTRIES;
}

static void op_create(struct fs_life *l)
{
	static const mode_t modes[] = {S_IFREG | 0644, S_IFREG | 0644, S_IFREG | 0600,
		S_IFDIR | 0755, S_IFDIR | 0700, S_IFIFO | 0644, S_IFCHR | 0600};
	struct model_inode *dir = dir_choose(l);
	unsigned name = below(l, MODEL_NAMES);
	mode_t mode = modes[below(l, 7)];
	if (has_room(&l->model) && !model_entry(&l->model, dir->ino, name))
		(void)create(l, dir->ino, name, mode);
}

static void op_symlink(struct fs_life *l)
{
	struct model_inode *dir = dir_choose(l);
	unsigned name = below(l, MODEL_NAMES), len = 1 + below(l, MODEL_TARGET_MAX - 2);
	char *target = calloc(1, MODEL_TARGET_MAX);
	struct stat st;
	assert(target);
	memset(target, 'a' + (int)below(l, 26), len);
	if (!has_room(&l->model) || model_entry(&l->model, dir->ino, name)) {
		free(target);
		return;
	}
	model_begin(&l->model);
	say(l, "symlink", dir->ino, name, len);
	int ret = fs_symlink(l->rig->fs, dir->ino, model_name(name), target, &rig_owner, &st);
	expect(l, "a symlink failed", ret);
	if (ret < 0) {
		free(target);
		return;
	}
	model_add(&l->model, st.st_ino, &st)->target = target;
	model_link(&l->model, dir->ino, name, st.st_ino);
	model_moment(&l->model);
	fs_forget(l->rig->fs, st.st_ino, 1);
}

static void op_link(struct fs_life *l)
{
	struct model_entry *e = entry_choose(l);
	struct model_inode *dir = dir_choose(l);
	unsigned name = below(l, MODEL_NAMES);
	struct stat st;
	if (!e || S_ISDIR(model_inode(&l->model, e->ino)->mode) || !has_room(&l->model) ||
		model_entry(&l->model, dir->ino, name))
		return;
	uint64_t ino = e->ino;
	model_begin(&l->model);
	say(l, "link", ino, dir->ino, name);
	model_link(&l->model, dir->ino, name, ino);
	model_moment(&l->model);
	int ret = fs_link(l->rig->fs, ino, dir->ino, model_name(name), &st);
	expect(l, "a link failed", ret);
	if (ret == 0)
		fs_forget(l->rig->fs, ino, 1);
}

/* ---- removing and moving ---- */

/* What the entry leads to loses it; a directory is gone then. */
static void entry_drop(struct fs_life *l, struct model_entry *e)
{
	struct model_inode *i = model_inode(&l->model, e->ino);
	model_unlink(&l->model, e);
	if (S_ISDIR(i->mode))
		i->nlink = 0;
}

static void op_remove(struct fs_life *l)
{
	struct model_entry *e = entry_choose(l);
	if (!e)
		return;
	bool is_dir = S_ISDIR(model_inode(&l->model, e->ino)->mode);
	if (is_dir && !model_is_empty(&l->model, e->ino))
		return;
	struct model_entry was = *e;
	model_begin(&l->model);
	say(l, is_dir ? "rmdir" : "unlink", was.parent, was.name, was.ino);
	entry_drop(l, e);
	model_moment(&l->model);
	expect(l, "a removal failed",
		is_dir ? fs_rmdir(l->rig->fs, was.parent, model_name(was.name))
		       : fs_unlink(l->rig->fs, was.parent, model_name(was.name)));
}

/* May @from take the place of @to (NULL: nothing is there)? */
static bool may_replace(
	struct fs_life *l, const struct model_entry *from, const struct model_entry *to)
{
	if (!to)
		return true;
	bool from_dir = S_ISDIR(model_inode(&l->model, from->ino)->mode);
	bool to_dir = S_ISDIR(model_inode(&l->model, to->ino)->mode);
	return from->ino != to->ino && from_dir == to_dir &&
	       (!to_dir || model_is_empty(&l->model, to->ino));
}

static void rename_entry(
	struct fs_life *l, struct model_entry was, uint64_t parent, unsigned name, unsigned flags)
{
	struct fs_model *m = &l->model;
	struct model_entry *to = model_entry(m, parent, name);
	struct model_entry other = to ? *to : (struct model_entry){0};
	model_begin(m);
	say(l, flags == RENAME_EXCHANGE ? "exchange" : "rename", was.ino, parent, name);
	if (to && flags == RENAME_EXCHANGE)
		model_unlink(m, to);
	else if (to)
		entry_drop(l, to);
	model_unlink(m, model_entry(m, was.parent, was.name));
	model_link(m, parent, name, was.ino);
	if (to && flags == RENAME_EXCHANGE)
		model_link(m, was.parent, was.name, other.ino);
	model_moment(m);
	expect(l, "a rename failed",
		fs_rename(l->rig->fs, was.parent, model_name(was.name), parent, model_name(name),
			flags));
}

static void op_rename(struct fs_life *l)
{
	struct fs_model *m = &l->model;
	struct model_entry *e = entry_choose(l);
	struct model_inode *dir = dir_choose(l);
	unsigned name = below(l, MODEL_NAMES);
	if (!e || model_is_above(m, e->ino, dir->ino))
		return;
	struct model_entry *to = model_entry(m, dir->ino, name);
	bool exchange = to && below(l, 2);
	if (exchange && (to->ino == e->ino || model_is_above(m, to->ino, e->parent)))
		return;
	if (!exchange && !may_replace(l, e, to))
		return;
	unsigned flags = exchange ? RENAME_EXCHANGE : !to && below(l, 2) ? RENAME_NOREPLACE : 0;
	rename_entry(l, *e, dir->ino, name, flags);
}

/* ---- attributes ---- */

static void op_setattr(struct fs_life *l)
{
	struct model_entry *e = entry_choose(l);
	struct stat st = {.st_uid = 1000 + below(l, 50), .st_gid = 100 + below(l, 50)}, out;
	if (!e)
		return;
	struct model_inode *i = model_inode(&l->model, e->ino);
	unsigned set = below(l, 2) ? FS_SET_MODE : FS_SET_UID | FS_SET_GID;
	bool special = !i->file && !S_ISDIR(i->mode);
	if (special && below(l, 2))
		set |= FS_SET_MTIME;
	model_begin(&l->model);
	say(l, "setattr", i->ino, set, 0);
	st.st_mode = (i->mode & S_IFMT) | (0400 + below(l, 0377));
	st.st_mtim = (struct timespec){.tv_sec = 1 + below(l, 1000000), .tv_nsec = below(l, 999)};
	if (set & FS_SET_MODE)
		i->mode = st.st_mode;
	if (set & FS_SET_UID)
		i->uid = st.st_uid;
	if (set & FS_SET_GID)
		i->gid = st.st_gid;
	if (set & FS_SET_MTIME)
		i->mtime = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	if (set & (FS_SET_MODE | FS_SET_UID | FS_SET_GID))
		model_touch(&l->model, i);
	model_moment(&l->model);
	expect(l, "a setattr failed", fs_setattr(l->rig->fs, i->ino, set, &st, &out));
}

static void op_xattr(struct fs_life *l)
{
	struct model_entry *e = entry_choose(l);
	unsigned x = below(l, MODEL_XATTRS);
	uint8_t value[MODEL_VALUE_BYTES];
	if (!e)
		return;
	struct model_inode *i = model_inode(&l->model, e->ino);
	bool removes = i->xattrs[x] && below(l, 2);
	model_begin(&l->model);
	i->xattrs[x] = removes ? 0 : ++l->values;
	say(l, "xattr", i->ino, x, i->xattrs[x]);
	model_touch(&l->model, i);
	model_moment(&l->model);
	if (removes) {
		expect(l, "a removal of an attribute failed",
			fs_removexattr(l->rig->fs, i->ino, model_xattr_name(x)));
		return;
	}
	size_t len = model_xattr_value(i->xattrs[x], value);
	expect(l, "an attribute could not be set",
		fs_setxattr(l->rig->fs, i->ino, model_xattr_name(x), value, len, 0));
}

/* ---- bytes ---- */

static uint8_t *cells_make(uint64_t ino, unsigned version, unsigned first, unsigned end)
{
	uint8_t *data = aligned_alloc(4096, round_up_u64((end - first) * MODEL_CELL_BYTES, 4096));
	assert(data);
	for (unsigned c = first; c < end; c++)
		model_cell_fill(ino, version, c, data + (size_t)(c - first) * MODEL_CELL_BYTES);
	return data;
}

static void flight_end(struct fs_flight *f)
{
	free(f->data);
	f->data = NULL;
	f->inode = NULL;
}

static void flight_logged(struct fs_io *io)
{
	struct fs_flight *f = container_of(io, struct fs_flight, io);
	model_finish(&f->life->model, f->inode, f->version);
}

static void flight_done(struct fs_io *io, int err)
{
	struct fs_flight *f = container_of(io, struct fs_flight, io);
	expect(f->life, "a write failed", err);
	model_finish(&f->life->model, f->inode, f->version);
	flight_end(f);
}

static bool all_landed(const struct fs_life *l)
{
	for (unsigned k = 0; k < FS_LIFE_DEPTH; k++) {
		if (l->flights[k].inode)
			return false;
	}
	return true;
}

static void turn(struct fs_life *l, bool wait)
{
	stripe_engine_run(volume_engine(l->rig->v), wait);
}

static void drain(struct fs_life *l)
{
	while (!all_landed(l))
		turn(l, true);
}

static struct fs_flight *flight_find(struct fs_life *l)
{
	for (;;) {
		for (unsigned k = 0; k < FS_LIFE_DEPTH; k++) {
			if (!l->flights[k].inode)
				return &l->flights[k];
		}
		turn(l, true);
	}
}

/* One that is waited for. */
static void write_now(struct fs_life *l, struct model_inode *i, unsigned first, unsigned end)
{
	model_begin(&l->model);
	say(l, "write", i->ino, first, end);
	unsigned version = model_write(&l->model, i, first, end);
	uint8_t *data = cells_make(i->ino, version, first, end);
	uint32_t len = (end - first) * MODEL_CELL_BYTES;
	ssize_t n = fs_write(l->rig->fs, i->ino, (uint64_t)first * MODEL_CELL_BYTES, data, len);
	expect(l, "a write failed", n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EIO);
	model_finish(&l->model, i, version);
	free(data);
}

/* One that goes on beside others; sometimes all or nothing, sometimes from the page cache. */
static void write_later(struct fs_life *l, struct model_inode *i, unsigned first, unsigned end)
{
	struct fs_flight *f = flight_find(l);
	bool atomic = below(l, 8) == 0;
	if (atomic) {
		unsigned cells = 4u << below(l, 6);
		first -= first % cells;
		end = first + cells;
	}
	if (model_under_way(i, first, end) || end > MODEL_CELLS)
		return;
	model_begin(&l->model);
	say(l, atomic ? "starts an atomic write" : "starts a write", i->ino, first, end);
	uint32_t len = (end - first) * MODEL_CELL_BYTES;
	*f = (struct fs_flight){.life = l, .inode = i};
	f->version = model_write(&l->model, i, first, end);
	f->data = cells_make(i->ino, f->version, first, end);
	source_init_bounce(&f->source, f->data, len);
	f->io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = i->ino,
		.offset_bytes = (uint64_t)first * MODEL_CELL_BYTES,
		.len_bytes = len,
		.source = &f->source,
		.atomic = atomic,
		.keep_times = below(l, 2),
		.logged = below(l, 2) ? flight_logged : NULL,
		.taken = below(l, 2) ? flight_logged : NULL,
		.done = flight_done};
	/* Half of them as by one who must not wait. */
	bool begun = f->version % 2 && fs_submit_now(l->rig->fs, &f->io);
	if (!begun)
		fs_submit_rest(l->rig->fs, &f->io);
}

static void op_write(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	unsigned first, end;
	if (!i)
		return;
	range_choose(l, i, &first, &end);
	if (model_under_way(i, first, end))
		return;
	if (below(l, 2))
		write_now(l, i, first, end);
	else
		write_later(l, i, first, end);
}

static void wait_for_writes_of(struct fs_life *l, const struct model_inode *i)
{
	for (unsigned k = 0; k < FS_LIFE_DEPTH; k++) {
		while (l->flights[k].inode == i)
			turn(l, true);
	}
}

/* With the power on a file shows what was written last. */
static void op_read(struct fs_life *l)
{
	static uint8_t bytes[MODEL_FILE_BYTES] __attribute__((aligned(4096)));
	struct model_inode *i = file_choose(l);
	if (!i || model_under_way(i, 0, MODEL_CELLS))
		return;
	uint64_t size = model_size(i);
	if (fs_read(l->rig->fs, i->ino, 0, bytes, MODEL_FILE_BYTES) != (ssize_t)size)
		expect(l, "a read gave another length", -EIO);
	for (unsigned c = 0; c < size / MODEL_CELL_BYTES; c++) {
		unsigned newest = i->file->newest[c], shown;
		bool good =
			model_cell_read(i->ino, c, bytes + (size_t)c * MODEL_CELL_BYTES, &shown);
		if (!good || shown != (i->file->versions[newest].writes ? newest : 0))
			expect(l, "a read gave other bytes", -EIO);
	}
}

static void resize(struct fs_life *l, struct model_inode *i, unsigned cells)
{
	struct stat st = {.st_size = (off_t)((uint64_t)cells * MODEL_CELL_BYTES)}, out;
	model_begin(&l->model);
	say(l, "truncate", i->ino, cells, 0);
	model_resize(&l->model, i, (uint64_t)st.st_size);
	expect(l, "a truncation failed", fs_setattr(l->rig->fs, i->ino, FS_SET_SIZE, &st, &out));
}

/* A write under way that makes the file longer would come before or behind it. */
static void op_truncate(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	if (!i)
		return;
	if (model_growing(i))
		wait_for_writes_of(l, i);
	unsigned size = (unsigned)(model_size(i) / MODEL_CELL_BYTES);
	unsigned cells = below(l, 4) == 0 ? 0 : below(l, size + 50);
	cells = cells < MODEL_CELLS ? cells : MODEL_CELLS;
	resize(l, i, cells);
}

static void op_fallocate(struct fs_life *l)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	struct model_inode *i = file_choose(l);
	int mode = modes[below(l, 5)];
	unsigned first, end;
	if (!i)
		return;
	range_choose(l, i, &first, &end);
	model_begin(&l->model);
	say(l, "fallocate", i->ino, first, end);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		model_zero(&l->model, i, first, end);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		model_grow(&l->model, i, (uint64_t)end * MODEL_CELL_BYTES);
	expect(l, "fallocate failed",
		fs_fallocate(l->rig->fs, i->ino, mode, (uint64_t)first * MODEL_CELL_BYTES,
			(uint64_t)(end - first) * MODEL_CELL_BYTES));
}

/* ---- syncs ---- */

/* Of one inode, or (NULL) everything. */
static void sync_now(struct fs_life *l, struct model_inode *i, bool data_only)
{
	model_begin(&l->model);
	say(l, !i ? "sync" : data_only ? "fdatasync" : "fsync", i ? i->ino : 0, 0, 0);
	struct model_sync sync = model_sync_begin(&l->model, i);
	if (l->config.control == FS_LIFE_EARLY)
		model_sync_end(&l->model, &sync);
	int ret = i ? fs_fsync(l->rig->fs, i->ino, data_only) : fs_sync(l->rig->fs);
	expect(l, "a sync failed", ret);
	if (ret == 0)
		model_sync_end(&l->model, &sync);
	say(l, "synced", 0, 0, 0);
}

static void op_sync(struct fs_life *l)
{
	unsigned what = below(l, 10);
	struct model_inode *i = what < 7 ? file_choose(l) : dir_choose(l);
	if (i)
		sync_now(l, what == 9 ? NULL : i, what < 4);
}

/* As with O_SYNC and O_DSYNC. */
static void op_write_sync(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	unsigned first, end;
	if (!i)
		return;
	range_choose(l, i, &first, &end);
	if (model_under_way(i, first, end))
		return;
	write_now(l, i, first, end);
	sync_now(l, i, below(l, 2));
}

/* An overwrite of what is there and durable, which a sync of data needs no commit for. */
static void op_overwrite(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	unsigned cells = i ? (unsigned)(model_size(i) / MODEL_CELL_BYTES) : 0;
	if (cells < 8)
		return;
	wait_for_writes_of(l, i);
	if (below(l, 2))
		write_now(l, i, 0, cells);
	sync_now(l, i, false);
	unsigned first = below(l, cells), end = first + 1 + below(l, cells - first);
	write_now(l, i, first, end);
	sync_now(l, i, true);
	write_now(l, i, first, end);
}

/* Cut off in the middle of a block, and longer again: what was cut off must not come back, and must
 * be there still where neither is committed. */
static void op_regrow(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	unsigned cells = i ? (unsigned)(model_size(i) / MODEL_CELL_BYTES) : 0;
	if (cells < 8 || cells + 40 > MODEL_CELLS)
		return;
	wait_for_writes_of(l, i);
	write_now(l, i, 0, cells);
	if (below(l, 2))
		sync_now(l, i, below(l, 2));
	resize(l, i, 1 + below(l, cells - 1));
	if (below(l, 2))
		sync_now(l, i, below(l, 2));
	if (below(l, 2))
		resize(l, i, cells + below(l, 40));
	else
		write_now(l, i, cells, cells + 1 + below(l, 39));
	if (below(l, 3) == 0)
		sync_now(l, i, below(l, 2));
}

/* First writes in holes, and a commit while they are under way. */
static void op_burst(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	if (!i || model_under_way(i, 0, MODEL_CELLS))
		return;
	unsigned first = below(l, 10) * 32;
	resize(l, i, 400 + below(l, 200));
	for (unsigned n = 0; n < 3; n++)
		write_later(l, i, first + n * 64, first + n * 64 + 20 + below(l, 40));
	for (unsigned turns = below(l, 80); turns; turns--)
		turn(l, false);
	sync_now(l, NULL, false);
}

/* A new file takes the place of an old one, most times synced before. */
static void op_idiom(struct fs_life *l)
{
	struct fs_model *m = &l->model;
	struct model_inode *dir = dir_choose(l);
	unsigned temporary = below(l, MODEL_NAMES), name = below(l, MODEL_NAMES);
	if (temporary == name || model_entry(m, dir->ino, temporary) || !has_room(m))
		return;
	struct model_inode *i = create(l, dir->ino, temporary, S_IFREG | 0644);
	if (!i)
		return;
	write_now(l, i, 0, 1 + below(l, 100));
	if (below(l, 4))
		sync_now(l, i, below(l, 2));
	struct model_entry *e = model_entry(m, dir->ino, temporary);
	if (may_replace(l, e, model_entry(m, dir->ino, name)))
		rename_entry(l, *e, dir->ino, name, 0);
	if (below(l, 3) == 0)
		sync_now(l, dir, false);
}

/* ---- open files, which live on without a name ---- */

static void op_open(struct fs_life *l)
{
	struct model_inode *i = file_choose(l);
	if (!i)
		return;
	model_begin(&l->model);
	if (i->opens) {
		say(l, "close", i->ino, 0, 0);
		wait_for_writes_of(l, i);
		i->opens--;
		fs_file_release(l->rig->fs, i->ino);
	} else {
		say(l, "open", i->ino, 0, 0);
		i->opens++;
		expect(l, "an open failed", fs_file_open(l->rig->fs, i->ino));
	}
}

/* ---- the whole ---- */

static void step(struct fs_life *l)
{
	static const struct {
		unsigned weight;
		void (*run)(struct fs_life *l);
	} ops[] = {{10, op_create}, {3, op_symlink}, {5, op_link}, {9, op_remove}, {11, op_rename},
		{5, op_setattr}, {5, op_xattr}, {26, op_write}, {6, op_read}, {7, op_truncate},
		{7, op_fallocate}, {14, op_sync}, {5, op_write_sync}, {6, op_idiom}, {5, op_open},
		{4, op_overwrite}, {5, op_regrow}, {4, op_burst}};
	unsigned total = 0, k = 0;
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		total += ops[i].weight;
	for (unsigned at = below(l, total); at >= ops[k].weight; k++)
		at -= ops[k].weight;
	ops[k].run(l);
	for (unsigned turns = below(l, 3) * 6; turns; turns--)
		turn(l, false);
}

/* Leave FREE_BLOCKS free, each of which holds what somebody else wrote: what shows up where it must
 * not is noticed, and blocks are soon used again. */
#define FREE_BLOCKS 512u

static void fill_up(struct fs_life *l)
{
	static uint8_t foreign[FREE_BLOCKS * BLOCK_BYTES];
	struct fs *fs = l->rig->fs;
	uint64_t filler = rig_create(l->rig, FS_ROOT_INO, FS_LIFE_FILLER);
	uint64_t blocks = fs_stats(fs).free_blocks - FREE_BLOCKS;
	assert_int_equal(fs_fallocate(fs, filler, 0, 0, blocks * BLOCK_BYTES), 0);
	memset(foreign, 0xf0, sizeof(foreign));
	uint64_t other = rig_create(l->rig, FS_ROOT_INO, "foreign");
	assert_int_equal(fs_write(fs, other, 0, foreign, sizeof(foreign)), sizeof(foreign));
	assert_int_equal(fs_sync(fs), 0);
	assert_int_equal(fs_unlink(fs, FS_ROOT_INO, "foreign"), 0);
	fs_forget(fs, other, 1);
	assert_int_equal(fs_sync(fs), 0);
}

void fs_life_begin(struct fs_life *l, const struct fs_life_config *config)
{
	struct stat st;
	clock_ns = UINT64_C(1000000000000000000);
	chance.state = config->seed;
	*l = (struct fs_life){.config = *config, .random = {config->seed ^ 1}};
	l->rig = rig_new_with(config->seed, config->create);
	l->rig->cache_bytes = (config->seed >> 4) % 2 * 64 * BLOCK_BYTES; /* in every other life */
	rig_mount(l->rig);
	fill_up(l);
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(config->seed | 1), NULL);
	assert_int_equal(fs_getattr(l->rig->fs, FS_ROOT_INO, &st), 0);
	model_init(&l->model, FS_ROOT_INO, st.st_mode);
}

void fs_life_run(struct fs_life *l, unsigned steps)
{
	for (unsigned i = 0; i < steps && !l->problem && l->model.now + 16 < MODEL_OPS; i++)
		step(l);
	drain(l);
}

void fs_life_unmount(struct fs_life *l)
{
	model_begin(&l->model);
	say(l, "unmount", 0, 0, 0);
	struct model_sync sync = model_sync_begin(&l->model, NULL);
	int ret = rig_unmount(l->rig);
	expect(l, "an unmount failed", ret);
	if (ret == 0)
		model_sync_end(&l->model, &sync);
}

void fs_life_end(struct fs_life *l)
{
	if (l->rig->fs)
		(void)rig_unmount(l->rig);
	model_free(&l->model);
	rig_free(l->rig);
}
