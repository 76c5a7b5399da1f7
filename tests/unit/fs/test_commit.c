/* SPDX-License-Identifier: MIT */
/* Power cuts: a workload on names and data, cut at every write of a member, mounted again, compared
 * with a model. Names and sizes are as they were after one of the operations, none before the last
 * sync that returned; bytes are those of that time or of a later write to that place, and zero
 * where nothing was written: never foreign, never half a change of the namespace. */
#include "rig.h"

#include <linux/falloc.h>
#include <linux/fs.h>

#define NAMES    4u
#define DIRS     3u /* the root and two others */
#define FILES    100u
#define FILE_MAX 30000u
#define OPS      200u

/* Names that lead to inodes; 0: none. */
struct names {
	uint64_t ino[DIRS][NAMES];
};

struct file {
	uint64_t ino;
	uint32_t size;
	bool settled; /* no byte may be anything but what it is */
	uint8_t now[FILE_MAX];
	uint8_t allowed[FILE_MAX][32]; /* bit sets of byte values */
};

struct model {
	uint64_t dirs[DIRS];
	unsigned op, synced; /* the last one done; the last one known to be durable */
	struct names names[OPS + 2];
	uint32_t sizes[OPS + 2][FILES];
	unsigned files;
	struct file *file[FILES];
};

/* ---- the model ---- */

static struct file *file_of(struct model *m, uint64_t ino)
{
	for (unsigned i = 0; i < m->files; i++) {
		if (m->file[i]->ino == ino)
			return m->file[i];
	}
	return NULL;
}

static void allow(struct file *f, uint32_t at, uint8_t value)
{
	f->allowed[at][value / 8] |= (uint8_t)(1u << (value % 8));
}

static bool is_allowed(const struct file *f, uint32_t at, uint8_t value)
{
	return f->allowed[at][value / 8] >> (value % 8) & 1;
}

/* From now on the bytes are what they are. */
static void file_settle(struct file *f)
{
	if (f->settled)
		return;
	f->settled = true;
	memset(f->allowed, 0, sizeof(f->allowed));
	for (uint32_t i = 0; i < FILE_MAX; i++)
		allow(f, i, f->now[i]);
}

static void file_put(struct file *f, uint32_t at, const uint8_t *data, uint32_t len)
{
	f->settled = false;
	for (uint32_t i = 0; i < len; i++) {
		f->now[at + i] = data ? data[i] : 0;
		allow(f, at + i, f->now[at + i]);
	}
}

static struct file *file_new(struct model *m, uint64_t ino)
{
	assert_true(m->files < FILES);
	struct file *f = m->file[m->files++] = calloc(1, sizeof(*f));
	f->ino = ino;
	file_settle(f);
	return f;
}

static void model_free(struct model *m)
{
	for (unsigned i = 0; i < m->files; i++)
		free(m->file[i]);
	free(m);
}

static const char *name_of(unsigned i)
{
	static const char *const names[NAMES] = {"zero", "one", "two", "three"};
	return names[i];
}

/* ---- operations: 0, or the error of a power cut ---- */

struct run {
	struct rig *rig;
	struct model *m;
	struct random *r;
	struct names *n; /* as the operation leaves them */
};

static int op_create(struct run *x, unsigned d, unsigned i)
{
	struct stat st;
	int ret =
		fs_mknod(x->rig->fs, x->m->dirs[d], name_of(i), S_IFREG | 0644, 0, &rig_owner, &st);
	if (x->n->ino[d][i]) {
		assert_true(ret == -EEXIST || ret == -ESHUTDOWN || ret == -EIO);
		return ret == -EEXIST ? 0 : ret;
	}
	if (ret == 0) {
		x->n->ino[d][i] = st.st_ino;
		file_new(x->m, st.st_ino);
		fs_forget(x->rig->fs, st.st_ino, 1);
	}
	return ret;
}

static int op_unlink(struct run *x, unsigned d, unsigned i)
{
	int ret = fs_unlink(x->rig->fs, x->m->dirs[d], name_of(i));
	if (ret == 0)
		x->n->ino[d][i] = 0;
	return ret == -ENOENT ? 0 : ret;
}

static int op_rename(struct run *x, unsigned d, unsigned i)
{
	unsigned e = random_below(x->r, DIRS), k = random_below(x->r, NAMES);
	bool exchange = random_below(x->r, 3) == 0;
	uint64_t from = x->n->ino[d][i], to = x->n->ino[e][k];
	int ret = fs_rename(x->rig->fs, x->m->dirs[d], name_of(i), x->m->dirs[e], name_of(k),
		exchange ? RENAME_EXCHANGE : 0);
	if (ret == 0 && from != to) {
		x->n->ino[d][i] = exchange ? to : 0;
		x->n->ino[e][k] = from;
	}
	return ret == -ENOENT ? 0 : ret;
}

static int op_link(struct run *x, unsigned d, unsigned i)
{
	struct stat st;
	unsigned e = random_below(x->r, DIRS), k = random_below(x->r, NAMES);
	if (!x->n->ino[d][i])
		return 0;
	int ret = fs_link(x->rig->fs, x->n->ino[d][i], x->m->dirs[e], name_of(k), &st);
	if (ret == 0) {
		x->n->ino[e][k] = st.st_ino;
		fs_forget(x->rig->fs, st.st_ino, 1);
	}
	return ret == -EEXIST ? 0 : ret;
}

static int op_write(struct run *x, struct file *f)
{
	static uint8_t data[FILE_MAX];
	uint32_t at = random_below(x->r, 2) ? random_below(x->r, FILE_MAX - 10000) : f->size;
	uint32_t len = 1 + random_below(x->r, random_below(x->r, 2) ? 200 : 9000);
	len = at + len > FILE_MAX ? FILE_MAX - at : len;
	if (len == 0)
		return 0;
	random_fill(x->r, data, len);
	file_put(f, at, data, len);
	ssize_t put = fs_write(x->rig->fs, f->ino, at, data, len);
	if (put < 0)
		return (int)put;
	f->size = at + len > f->size ? at + len : f->size;
	return 0;
}

static int op_truncate(struct run *x, struct file *f)
{
	uint32_t size = random_below(x->r, FILE_MAX);
	if (size < f->size)
		file_put(f, size, NULL, f->size - size);
	int ret = rig_truncate(x->rig, f->ino, size);
	if (ret == 0)
		f->size = size;
	return ret;
}

static int op_fallocate(struct run *x, struct file *f)
{
	int mode = random_below(x->r, 2) ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	uint32_t at = random_below(x->r, FILE_MAX - 12000), len = 1 + random_below(x->r, 12000);
	if (mode)
		file_put(f, at, NULL, len);
	int ret = fs_fallocate(x->rig->fs, f->ino, mode, at, len);
	if (ret == 0 && !mode && at + len > f->size)
		f->size = at + len;
	return ret;
}

static int op_fsync(struct run *x, struct file *f)
{
	int ret = fs_fsync(x->rig->fs, f->ino, random_below(x->r, 2));
	if (ret == 0)
		file_settle(f);
	return ret;
}

static int op_sync(struct run *x)
{
	int ret = fs_sync(x->rig->fs);
	if (ret < 0)
		return ret;
	x->m->synced = x->m->op;
	for (unsigned i = 0; i < x->m->files; i++)
		file_settle(x->m->file[i]);
	return 0;
}

static int op_any(struct run *x)
{
	unsigned what = random_below(x->r, 100), d = random_below(x->r, DIRS);
	unsigned i = random_below(x->r, NAMES);
	struct file *f = x->n->ino[d][i] ? file_of(x->m, x->n->ino[d][i]) : NULL;
	if (what < 22)
		return op_create(x, d, i);
	if (what < 30)
		return op_unlink(x, d, i);
	if (what < 40)
		return op_rename(x, d, i);
	if (what < 44)
		return op_link(x, d, i);
	if (what < 50)
		return op_sync(x);
	if (!f)
		return op_create(x, d, i);
	if (what < 76)
		return op_write(x, f);
	if (what < 85)
		return op_truncate(x, f);
	return what < 93 ? op_fallocate(x, f) : op_fsync(x, f);
}

/* The number of the last operation, in the file system itself. */
static int mark(struct run *x, unsigned op)
{
	uint8_t value = (uint8_t)op;
	return fs_setxattr(x->rig->fs, FS_ROOT_INO, "user.op", &value, 1, 0);
}

static int workload(struct run *x)
{
	struct model *m = x->m;
	for (unsigned i = 1; i <= OPS; i++) {
		m->names[i] = m->names[i - 1];
		x->n = &m->names[i];
		int ret = op_any(x);
		if (ret == 0)
			ret = mark(x, i);
		for (unsigned k = 0; k < m->files; k++)
			m->sizes[i][k] = m->file[k]->size;
		m->op = i;
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ---- after the crash ---- */

static bool names_match(struct rig *rig, const struct model *m, unsigned op)
{
	for (unsigned d = 0; d < DIRS; d++) {
		for (unsigned i = 0; i < NAMES; i++) {
			struct stat st = {0};
			int ret = fs_lookup(rig->fs, m->dirs[d], name_of(i), &st);
			if (ret == 0)
				fs_forget(rig->fs, st.st_ino, 1);
			if (ret < 0 && ret != -ENOENT)
				fail_msg("lookup: %d", ret);
			if (st.st_ino != m->names[op].ino[d][i])
				return false;
		}
	}
	return true;
}

static unsigned links_of(const struct names *n, uint64_t ino)
{
	unsigned links = 0;
	for (unsigned d = 0; d < DIRS; d++) {
		for (unsigned i = 0; i < NAMES; i++)
			links += n->ino[d][i] == ino;
	}
	return links;
}

static uint64_t file_check(struct rig *rig, struct model *m, unsigned index, unsigned op)
{
	static uint8_t got[FILE_MAX + 1];
	struct file *f = m->file[index];
	unsigned links = links_of(&m->names[op], f->ino);
	if (links == 0)
		return 0;
	struct stat st = rig_stat(rig, f->ino);
	assert_int_equal(st.st_nlink, links);
	if (st.st_size != m->sizes[op][index])
		fail_msg("inode %u has size %u, not %u, after operation %u", (unsigned)f->ino,
			(unsigned)st.st_size, m->sizes[op][index], op);
	assert_int_equal(fs_read(rig->fs, f->ino, 0, got, sizeof(got)), st.st_size);
	for (uint32_t i = 0; i < (uint32_t)st.st_size; i++) {
		if (!is_allowed(f, i, got[i]))
			fail_msg("inode %u byte %u of %u is %02x, foreign after operation %u",
				(unsigned)f->ino, i, (unsigned)st.st_size, got[i], op);
	}
	return (uint64_t)st.st_blocks / 8;
}

static void recovered_check(struct rig *rig, struct model *m)
{
	uint8_t value = 0;
	ssize_t ret = fs_getxattr(rig->fs, FS_ROOT_INO, "user.op", &value, 1);
	assert_true(ret == 1 || (ret == -ENODATA && m->synced <= 1));
	unsigned op = value;
	if (!names_match(rig, m, op))
		op++; /* committed between an operation and its mark */
	if (!names_match(rig, m, op))
		fail_msg("the names are not those after operation %u", op);
	/* A sync is itself an operation, marked after it. */
	assert_true(op + 1 >= m->synced);
	uint64_t blocks = 0;
	for (unsigned i = 0; i < m->files; i++)
		blocks += file_check(rig, m, i, op);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, volume_blocks(rig->v) - blocks);
	rig_create(rig, FS_ROOT_INO, "new");
}

static struct model *model_new(struct rig *rig)
{
	struct model *m = calloc(1, sizeof(*m));
	m->dirs[0] = FS_ROOT_INO;
	m->dirs[1] = rig_mkdir(rig, FS_ROOT_INO, "dir1");
	m->dirs[2] = rig_mkdir(rig, FS_ROOT_INO, "dir2");
	assert_int_equal(fs_sync(rig->fs), 0);
	return m;
}

/* Run, cut after @cut writes, mount, check. False: the workload ended before. */
static bool one_cut(uint64_t seed, struct volume_create_options create, uint64_t cut)
{
	struct rig *rig = rig_new_with(seed, create);
	rig_mount(rig);
	struct random r = {seed};
	struct model *m = model_new(rig);
	struct run x = {.rig = rig, .m = m, .r = &r};
	sim_world_cut_power_after(rig->world, cut);
	int ret = workload(&x);
	bool was_cut = sim_world_power_is_cut(rig->world);
	if (ret < 0 && !was_cut)
		fail_msg("an operation failed without a power cut: %d", ret);
	(void)rig_unmount(rig);
	sim_world_reboot(rig->world);
	if (rig_try_mount(rig, false) < 0)
		fail_msg("seed %#llx, cut after %llu: %s", (unsigned long long)seed,
			(unsigned long long)cut, rig->why.text);
	recovered_check(rig, m);
	model_free(m);
	rig_free(rig);
	return was_cut;
}

static void sweep(const char *name, uint64_t seed, struct volume_create_options create)
{
	struct random r = random_start(name, seed);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t s = random_u64(&r), cut = 0;
		while (one_cut(s, create, cut))
			cut += 1 + random_below(&r, 4);
		print_message("%llu writes\n", (unsigned long long)cut);
		assert_true(cut > 50);
	}
}

static void mirrors_keep_what_was_committed_through_every_power_cut(void **unused)
{
	(void)unused;
	sweep(__func__, 0xC0117,
		(struct volume_create_options){.level = RAID_RAID1,
			.members = 2,
			.size_bytes = 16 * MIB,
			.chunk_bytes = 65536,
			.pi = PI_NONE,
			.system_bytes = 2 * MIB});
}

static void raid5_with_pi_keeps_what_was_committed_through_every_power_cut(void **unused)
{
	(void)unused;
	sweep(__func__, 0xC0118,
		(struct volume_create_options){.level = RAID_RAID5,
			.members = 3,
			.size_bytes = 16 * MIB,
			.chunk_bytes = 16384,
			.pi = PI_T10,
			.system_bytes = 2 * MIB});
}

static void a_single_member_keeps_what_was_committed_through_every_power_cut(void **unused)
{
	(void)unused;
	sweep(__func__, 0xC0119,
		(struct volume_create_options){.level = RAID_SINGLE,
			.members = 1,
			.size_bytes = 16 * MIB,
			.chunk_bytes = 65536,
			.pi = PI_CRC32C,
			.system_bytes = 2 * MIB});
}

/* ---- what needs a commit, and what does not ---- */

static void an_overwrite_and_its_fdatasync_need_no_commit(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xFDA, 16 * MIB, 8 * MIB);
	static uint8_t buf[65536];
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_write(rig->fs, ino, 0, buf, 65536), 65536);
	uint64_t commits = fs_stats(rig->fs).commits;
	assert_int_equal(fs_fsync(rig->fs, ino, true), 0);
	assert_int_equal(fs_stats(rig->fs).commits, commits + 1);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(fs_write(rig->fs, ino, 4096, buf, 10000), 10000);
	assert_int_equal(fs_fsync(rig->fs, ino, true), 0);
	assert_int_equal(fs_stats(rig->fs).commits, commits + 1);
	rig_crash(rig);
	assert_int_equal(fs_read(rig->fs, ino, 0, buf, 65536), 65536);
	assert_int_equal(buf[4095], 0);
	assert_int_equal(buf[4096], 'x');
	assert_int_equal(buf[14095], 'x');
	rig_free(rig);
}

static void what_was_not_committed_leaves_no_trace(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x7ACE, 16 * MIB, 8 * MIB);
	char block[4096], got[4096];
	uint64_t free = fs_stats(rig->fs).free_blocks;
	memset(block, 's', sizeof(block));
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_write(rig->fs, a, 0, block, 100), 100);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_write(rig->fs, a, 100, block, 3996), 3996);
	uint64_t b = rig_create(rig, FS_ROOT_INO, "b");
	assert_int_equal(fs_write(rig->fs, b, 0, block, 4096), 4096);
	assert_int_equal(volume_flush(rig->v), 0);
	rig_crash(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "b", 0), -ENOENT);
	assert_int_equal(rig_stat(rig, a).st_size, 100);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free - 1);
	/* Bytes that the lost append left in the block do not come back. */
	assert_int_equal(rig_truncate(rig, a, 4096), 0);
	assert_int_equal(fs_read(rig->fs, a, 0, got, 4096), 4096);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(got[i], i < 100 ? 's' : 0);
	rig_free(rig);
}

static void a_truncation_that_is_not_committed_takes_nothing_away(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x7A11, 16 * MIB, 8 * MIB);
	static char buf[20000], got[20000];
	memset(buf, 'k', sizeof(buf));
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a"), b = rig_create(rig, FS_ROOT_INO, "b");
	assert_int_equal(fs_write(rig->fs, a, 0, buf, 20000), 20000);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(rig_truncate(rig, a, 5000), 0);
	/* Its blocks must not be used by others before the commit. */
	memset(buf, 'z', sizeof(buf));
	assert_int_equal(fs_write(rig->fs, b, 0, buf, 20000), 20000);
	assert_int_equal(volume_flush(rig->v), 0);
	rig_crash(rig);
	assert_int_equal(rig_stat(rig, a).st_size, 20000);
	assert_int_equal(fs_read(rig->fs, a, 0, got, 20000), 20000);
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(got[i], 'k');
	rig_free(rig);
}

static void growth_across_a_truncation_that_is_not_committed_takes_nothing_away(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x7A12, 16 * MIB, 8 * MIB);
	char buf[4096];
	memset(buf, 'k', sizeof(buf));
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_write(rig->fs, a, 0, buf, 4096), 4096);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(rig_truncate(rig, a, 100), 0);
	assert_int_equal(rig_truncate(rig, a, 4000), 0);
	assert_int_equal(volume_flush(rig->v), 0);
	rig_crash(rig);
	/* Before the truncation, behind it, or behind the growth; never between. */
	off_t size = rig_stat(rig, a).st_size;
	assert_true(size == 4096 || size == 100 || size == 4000);
	assert_int_equal(fs_read(rig->fs, a, 0, buf, 4096), size);
	for (off_t i = 0; i < size; i++)
		assert_int_equal(buf[i], size == 4096 || i < 100 ? 'k' : 0);
	rig_free(rig);
}

/* ---- writes under way while a commit runs ---- */

#define MANY 32u

struct many {
	struct fs_io io;
	struct source source;
	struct volume_waiter waiter;
	struct volume *v;
};

static void many_done(struct fs_io *io, int err)
{
	struct many *m = container_of(io, struct many, io);
	volume_signal(m->v, &m->waiter, err);
}

static void many_write(struct rig *rig, struct many *m, uint64_t ino, uint64_t at, const void *buf)
{
	*m = (struct many){.v = rig->v};
	source_init_bounce(&m->source, buf, 4096);
	m->io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = ino,
		.offset_bytes = at,
		.len_bytes = 4096,
		.source = &m->source,
		.done = many_done};
	fs_submit(rig->fs, &m->io);
}

/* Leave bytes of a file that is gone all over the volume. */
static void foreign_bytes_everywhere(struct rig *rig)
{
	static char buf[1u << 20];
	memset(buf, 'F', sizeof(buf));
	uint64_t at = 0, old = rig_create(rig, FS_ROOT_INO, "old");
	while (fs_write(rig->fs, old, at, buf, sizeof(buf)) > 0)
		at += sizeof(buf);
	fs_forget(rig->fs, old, 1);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "old"), 0);
	assert_int_equal(fs_sync(rig->fs), 0);
}

static void a_commit_leaves_out_what_was_written_while_it_flushed(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0x57E4);
	static struct many many[MANY];
	static char buf[MANY * 4096];
	unsigned zeros = 0, kept = 0;
	for (unsigned round = 0; round < 12; round++) {
		struct rig *rig = rig_new_with(
			random_u64(&r), (struct volume_create_options){.level = RAID_SINGLE,
						.members = 1,
						.size_bytes = 16 * MIB,
						.chunk_bytes = 16384,
						.pi = PI_NONE,
						.system_bytes = 2 * MIB});
		rig_mount(rig);
		foreign_bytes_everywhere(rig);
		memset(buf, 'N', sizeof(buf));
		uint64_t ino = rig_create(rig, FS_ROOT_INO, "new");
		for (unsigned i = 0; i < MANY; i++)
			many_write(rig, &many[i], ino, (uint64_t)i * 4096, buf);
		volume_wait(rig->v, &many[random_below(&r, MANY)].waiter);
		assert_int_equal(fs_sync(rig->fs), 0);
		rig_crash(rig);
		ssize_t size = fs_read(rig->fs, ino, 0, buf, sizeof(buf));
		assert_true(size >= 0);
		for (ssize_t i = 0; i < size; i++) {
			assert_true(buf[i] == 0 || buf[i] == 'N');
			zeros += buf[i] == 0;
			kept += buf[i] == 'N';
		}
		rig_free(rig);
	}
	/* Else nothing was under way, or everything. */
	assert_true(zeros > 0 && kept > 0);
}

static void a_failed_flush_stops_changes_and_loses_nothing_that_was_committed(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new_with(0xF1, (struct volume_create_options){.level = RAID_SINGLE,
						     .members = 1,
						     .size_bytes = 16 * MIB,
						     .chunk_bytes = 65536,
						     .pi = PI_NONE,
						     .system_bytes = 8 * MIB});
	rig_mount(rig);
	struct stat st;
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a");
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_write(rig->fs, a, 0, "x", 1), 1);
	struct sim_fault fault = {.kind = SIM_FLUSH_ERROR, .per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	log_set_level(LOG_LEVEL_ERROR);
	assert_true(fs_sync(rig->fs) < 0);
	sim_world_disarm_all(rig->world);
	assert_true(fs_mknod(rig->fs, FS_ROOT_INO, "b", S_IFREG, 0, &rig_owner, &st) < 0);
	assert_true(fs_sync(rig->fs) < 0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "a", a), 0);
	rig_crash(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "a", a), 0);
	assert_int_equal(rig_stat(rig, a).st_size, 0);
	rig_free(rig);
}

/* SQLite takes a transaction back when it cannot read: then nothing more may be written to it. */
static void a_read_error_of_the_database_leaves_no_half_transaction(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x4EAD, 16 * MIB, 2 * MIB);
	struct stat st;
	char name[80];
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "one of the names that fill many pages, it is %u", i);
		fs_forget(rig->fs, rig_create(rig, FS_ROOT_INO, name), 1);
	}
	rig_remount(rig);
	rig_create(rig, FS_ROOT_INO, "x");
	struct super super = *volume_super(rig->v);
	struct sim_fault fault = {.kind = SIM_READ_ERROR,
		.offset_bytes = super.system.offset_bytes,
		.len_bytes = super.system.len_bytes,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	int ret = 0;
	for (unsigned i = 0; i < 3000 && ret == 0; i++) {
		snprintf(name, sizeof(name), "one of the names that fill many pages, it is %u", i);
		ret = fs_lookup(rig->fs, FS_ROOT_INO, name, &st);
	}
	assert_true(ret < 0);
	sim_world_disarm_all(rig->world);
	assert_true(fs_mknod(rig->fs, FS_ROOT_INO, "y", S_IFREG, 0, &rig_owner, &st) < 0);
	assert_true(fs_sync(rig->fs) < 0);
	assert_true(rig_unmount(rig) < 0);
	rig_mount(rig);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, name, 0), 0);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "x", 0), -ENOENT);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "y", 0), -ENOENT);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mirrors_keep_what_was_committed_through_every_power_cut),
		cmocka_unit_test(raid5_with_pi_keeps_what_was_committed_through_every_power_cut),
		cmocka_unit_test(a_single_member_keeps_what_was_committed_through_every_power_cut),
		cmocka_unit_test(an_overwrite_and_its_fdatasync_need_no_commit),
		cmocka_unit_test(what_was_not_committed_leaves_no_trace),
		cmocka_unit_test(a_truncation_that_is_not_committed_takes_nothing_away),
		cmocka_unit_test(
			growth_across_a_truncation_that_is_not_committed_takes_nothing_away),
		cmocka_unit_test(a_commit_leaves_out_what_was_written_while_it_flushed),
		cmocka_unit_test(a_read_error_of_the_database_leaves_no_half_transaction),
		cmocka_unit_test(a_failed_flush_stops_changes_and_loses_nothing_that_was_committed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
