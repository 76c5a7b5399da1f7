/* SPDX-License-Identifier: MIT */
/* File data against an array of bytes, one operation at a time and many at once. */
#include "rig.h"

#include <linux/falloc.h>
#include <unistd.h>

#define FILE_MAX (600u * 1024)

/* What one file should be. */
struct model {
	uint64_t ino;
	uint32_t size;
	uint8_t bytes[FILE_MAX];
};

static void model_compare(struct rig *rig, struct model *m)
{
	static uint8_t got[FILE_MAX + 5000];
	memset(got, 0x55, sizeof(got));
	assert_int_equal(rig_stat(rig, m->ino).st_size, m->size);
	assert_int_equal(fs_read(rig->fs, m->ino, 0, got, sizeof(got)), m->size);
	for (uint32_t i = 0; i < m->size; i++) {
		if (got[i] != m->bytes[i])
			fail_msg(
				"byte %u of %u is %02x, not %02x", i, m->size, got[i], m->bytes[i]);
	}
}

static uint32_t random_offset(struct random *r)
{
	uint32_t at = random_below(r, FILE_MAX - 70000);
	return random_below(r, 3) ? at : at & ~4095u;
}

static uint32_t random_len(struct random *r)
{
	switch (random_below(r, 4)) {
	case 0:
		return 1 + random_below(r, 300);
	case 1:
		return 4096 * (1 + random_below(r, 4));
	default:
		return 1 + random_below(r, 65000);
	}
}

static void model_write(struct rig *rig, struct model *m, struct random *r)
{
	uint32_t at = random_below(r, 4) ? random_offset(r) : m->size, len = random_len(r);
	if (at + len > FILE_MAX)
		return;
	random_fill(r, m->bytes + at, len);
	assert_int_equal(fs_write(rig->fs, m->ino, at, m->bytes + at, len), len);
	m->size = at + len > m->size ? at + len : m->size;
}

static void model_truncate(struct rig *rig, struct model *m, struct random *r)
{
	uint32_t size = random_below(r, 2) ? random_offset(r) : random_below(r, m->size + 100);
	size = size > FILE_MAX ? FILE_MAX : size;
	assert_int_equal(rig_truncate(rig, m->ino, size), 0);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

static void model_fallocate(struct rig *rig, struct model *m, struct random *r)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int mode = modes[random_below(r, 5)];
	uint32_t at = random_offset(r), len = random_len(r);
	assert_int_equal(fs_fallocate(rig->fs, m->ino, mode, at, len), 0);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(m->bytes + at, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && at + len > m->size)
		m->size = at + len;
}

static void model_step(struct rig *rig, struct model *m, struct random *r)
{
	unsigned what = random_below(r, 100);
	if (what < 60)
		model_write(rig, m, r);
	else if (what < 75)
		model_truncate(rig, m, r);
	else if (what < 95)
		model_fallocate(rig, m, r);
	else if (what < 97)
		assert_int_equal(fs_fsync(rig->fs, m->ino, random_below(r, 2)), 0);
	else if (what < 98)
		rig_remount(rig);
	else
		model_compare(rig, m);
}

static void a_file_is_an_array_of_bytes(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0xDA7A);
	static struct model m[2];
	for (unsigned round = 0; round < 6; round++) {
		struct rig *rig = rig_new(random_u64(&r), 16 * MIB, 8 * MIB);
		uint64_t free = fs_stats(rig->fs).free_blocks;
		memset(m, 0, sizeof(m));
		m[0].ino = rig_create(rig, FS_ROOT_INO, "a");
		m[1].ino = rig_create(rig, FS_ROOT_INO, "b");
		for (unsigned i = 0; i < 150; i++)
			model_step(rig, &m[random_below(&r, 2)], &r);
		rig_remount(rig);
		model_compare(rig, &m[0]);
		model_compare(rig, &m[1]);
		assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
		assert_int_equal(rig_truncate(rig, m[1].ino, 0), 0);
		assert_int_equal(fs_sync(rig->fs), 0);
		assert_int_equal(fs_stats(rig->fs).free_blocks, free);
		rig_free(rig);
	}
}

/* ---- many at once ---- */

#define MANY 24u

struct many {
	struct fs_io io;
	struct source source;
	struct volume_waiter waiter;
	struct volume *v;
	uint8_t data[20000];
};

static void many_done(struct fs_io *io, int err)
{
	struct many *m = container_of(io, struct many, io);
	volume_signal(m->v, &m->waiter, err);
}

static void many_write(struct rig *rig, struct many *m, uint64_t ino, uint32_t at, uint32_t len)
{
	m->v = rig->v;
	m->waiter = (struct volume_waiter){0};
	source_init_bounce(&m->source, m->data, len);
	m->io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = ino,
		.offset_bytes = at,
		.len_bytes = len,
		.source = &m->source,
		.done = many_done};
	fs_submit(rig->fs, &m->io);
}

/* Disjoint bytes of the same fresh blocks. */
static void concurrent_writes_into_fresh_blocks_lose_no_bytes(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0x3A27);
	static struct many many[MANY];
	static struct model m;
	for (unsigned round = 0; round < 40; round++) {
		struct rig *rig = rig_new(random_u64(&r), 16 * MIB, 8 * MIB);
		memset(&m, 0, sizeof(m));
		m.ino = rig_create(rig, FS_ROOT_INO, "a");
		if (random_below(&r, 2))
			assert_int_equal(
				fs_fallocate(rig->fs, m.ino, FALLOC_FL_KEEP_SIZE, 0, 60000), 0);
		uint32_t at = random_below(&r, 5000);
		uint64_t blocks = 0;
		for (unsigned i = 0; i < MANY; i++) {
			uint32_t len = 1 + random_below(&r, random_below(&r, 2) ? 500 : 20000);
			random_fill(&r, many[i].data, len);
			memcpy(m.bytes + at, many[i].data, len);
			many[i].io.offset_bytes = at;
			many[i].io.len_bytes = len;
			at += len;
		}
		m.size = at;
		unsigned order[MANY];
		for (unsigned i = 0; i < MANY; i++) {
			unsigned k = random_below(&r, i + 1);
			order[i] = order[k];
			order[k] = i;
		}
		for (unsigned i = 0; i < MANY; i++) {
			struct many *w = &many[order[i]];
			many_write(rig, w, m.ino, (uint32_t)w->io.offset_bytes, w->io.len_bytes);
		}
		for (unsigned i = 0; i < MANY; i++) {
			volume_wait(rig->v, &many[i].waiter);
			assert_int_equal(many[i].waiter.err, 0);
		}
		model_compare(rig, &m);
		blocks = (uint64_t)rig_stat(rig, m.ino).st_blocks / 8;
		assert_true(blocks <= (at + 4095) / 4096 + 15);
		rig_remount(rig);
		model_compare(rig, &m);
		rig_free(rig);
	}
}

/* Each byte of overlapping writes is one writer's, and no block is allocated twice. */
static void concurrent_overlapping_writes_mix_only_their_own_bytes(void **unused)
{
	(void)unused;
	struct random r = random_start(__func__, 0x0E1A);
	static struct many many[MANY];
	static uint8_t got[65536];
	for (unsigned round = 0; round < 30; round++) {
		struct rig *rig = rig_new(random_u64(&r), 16 * MIB, 8 * MIB);
		uint64_t free = fs_stats(rig->fs).free_blocks;
		uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
		uint32_t end = 0;
		for (unsigned i = 0; i < MANY; i++) {
			uint32_t at = random_below(&r, 40000), len = 1 + random_below(&r, 20000);
			memset(many[i].data, (int)(i + 1), len);
			end = at + len > end ? at + len : end;
			many_write(rig, &many[i], ino, at, len);
		}
		for (unsigned i = 0; i < MANY; i++) {
			volume_wait(rig->v, &many[i].waiter);
			assert_int_equal(many[i].waiter.err, 0);
		}
		assert_int_equal(fs_read(rig->fs, ino, 0, got, sizeof(got)), end);
		for (uint32_t b = 0; b < end; b++) {
			bool wanted = false, covered = false;
			for (unsigned i = 0; i < MANY; i++) {
				const struct fs_io *io = &many[i].io;
				bool in = b >= io->offset_bytes &&
					  b < io->offset_bytes + io->len_bytes;
				covered |= in;
				wanted |= in && got[b] == i + 1;
			}
			assert_true(covered ? wanted : got[b] == 0);
		}
		assert_int_equal(fs_sync(rig->fs), 0);
		uint64_t blocks = (uint64_t)rig_stat(rig, ino).st_blocks / 8;
		assert_int_equal(fs_stats(rig->fs).free_blocks, free - blocks);
		rig_free(rig);
	}
}

static void a_truncation_waits_for_writes_under_way(void **unused)
{
	(void)unused;
	static struct many many[4];
	struct rig *rig = rig_new(0x7A17, 16 * MIB, 8 * MIB);
	uint64_t free = fs_stats(rig->fs).free_blocks;
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	for (unsigned i = 0; i < 4; i++) {
		memset(many[i].data, 'x', 20000);
		many_write(rig, &many[i], ino, i * 15000, 20000);
	}
	assert_int_equal(rig_truncate(rig, ino, 0), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_true(many[i].waiter.ready);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 0);
	assert_int_equal(fs_sync(rig->fs), 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_free(rig);
}

/* ---- holes, ends, space ---- */

static void what_a_truncation_cut_off_reads_as_zeros_after_growth(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x2E40, 16 * MIB, 8 * MIB);
	char buf[4096], x[4096];
	memset(x, 'x', sizeof(x));
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	for (unsigned how = 0; how < 4; how++) {
		assert_int_equal(fs_write(rig->fs, ino, 0, x, 4096), 4096);
		assert_int_equal(rig_truncate(rig, ino, 100), 0);
		if (how == 1)
			assert_int_equal(fs_sync(rig->fs), 0);
		if (how == 2)
			rig_remount(rig);
		if (how == 3)
			assert_int_equal(fs_write(rig->fs, ino, 3000, x, 1), 1);
		else
			assert_int_equal(rig_truncate(rig, ino, 3001), 0);
		assert_int_equal(fs_read(rig->fs, ino, 0, buf, 4096), 3001);
		for (unsigned i = 100; i < 3000; i++)
			assert_int_equal(buf[i], 0);
		assert_int_equal(buf[99], 'x');
		assert_int_equal(rig_truncate(rig, ino, 0), 0);
	}
	rig_free(rig);
}

static void expect_sparse_file_to(struct rig *rig, const char *name, uint64_t end)
{
	uint64_t ino = rig_create(rig, FS_ROOT_INO, name), last = (end - 1) & ~UINT64_C(4095);
	char c = 0;
	assert_int_equal(rig_truncate(rig, ino, end), 0);
	assert_int_equal(fs_write(rig->fs, ino, end - 1, "z", 1), 1);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 8);
	rig_remount(rig);
	assert_int_equal(fs_read(rig->fs, ino, end - 1, &c, 1), 1);
	assert_int_equal(c, 'z');
	assert_int_equal(fs_seek(rig->fs, ino, 0, SEEK_DATA), last);
	assert_int_equal(fs_seek(rig->fs, ino, 0, SEEK_HOLE), 0);
	assert_int_equal(fs_seek(rig->fs, ino, last, SEEK_HOLE), end);
	assert_int_equal(fs_seek(rig->fs, ino, end, SEEK_DATA), -ENXIO);
	assert_int_equal(rig_truncate(rig, ino, end - 1), 0);
	assert_int_equal(rig_truncate(rig, ino, 1), 0);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 0);
}

static void a_sparse_file_may_be_as_long_as_the_kernel_takes(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x16, 16 * MIB, 8 * MIB);
	expect_sparse_file_to(rig, "a", UINT64_C(16) << 40);
	expect_sparse_file_to(rig, "b", INT64_MAX);
	rig_free(rig);
}

static void beyond_that_there_is_nothing_to_read_and_nothing_to_write(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x17, 16 * MIB, 8 * MIB);
	uint64_t end = INT64_MAX, ino = rig_create(rig, FS_ROOT_INO, "a");
	char buf[16];
	assert_int_equal(fs_write(rig->fs, ino, end, "z", 1), -EFBIG);
	assert_int_equal(fs_write(rig->fs, ino, end - 1, "zz", 2), -EFBIG);
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, end - 1, 2), -EFBIG);
	assert_int_equal(fs_read(rig->fs, ino, end - 1, buf, sizeof(buf)), 0);
	assert_int_equal(rig_stat(rig, ino).st_size, 0);
	rig_free(rig);
}

static void preallocated_space_is_a_hole_that_takes_blocks(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xFA, 16 * MIB, 8 * MIB);
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	char buf[100];
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, 0, 1 * MIB), 0);
	assert_int_equal(rig_stat(rig, ino).st_size, 1 * MIB);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 2048);
	assert_int_equal(fs_write(rig->fs, ino, 5000, "q", 1), 1);
	rig_remount(rig);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 2048);
	assert_int_equal(fs_seek(rig->fs, ino, 0, SEEK_DATA), 4096);
	assert_int_equal(fs_seek(rig->fs, ino, 4096, SEEK_HOLE), 8192);
	assert_int_equal(fs_read(rig->fs, ino, 4990, buf, 100), 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(buf[i], i == 10 ? 'q' : 0);
	assert_int_equal(fs_fallocate(rig->fs, ino, FALLOC_FL_COLLAPSE_RANGE, 0, 1), -EOPNOTSUPP);
	assert_int_equal(fs_fallocate(rig->fs, ino, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
	rig_free(rig);
}

/* Fill the volume; how many bytes went in. */
static uint64_t fill(struct rig *rig, uint64_t ino)
{
	static uint8_t buf[1u << 20];
	uint64_t at = 0;
	ssize_t put;
	while ((put = fs_write(rig->fs, ino, at, buf, sizeof(buf))) > 0)
		at += (uint64_t)put;
	assert_int_equal(put, -ENOSPC);
	while ((put = fs_write(rig->fs, ino, at, buf, 4096)) > 0)
		at += (uint64_t)put;
	assert_int_equal(put, -ENOSPC);
	return at;
}

static void a_full_volume_says_so_and_what_is_freed_is_had_at_once(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xF011, 16 * MIB, 8 * MIB);
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	uint64_t size = fill(rig, ino);
	assert_int_equal(size, volume_blocks(rig->v) * 4096);
	assert_int_equal(fs_stats(rig->fs).free_blocks, 0);
	assert_int_equal(fs_fallocate(rig->fs, ino, 0, size, 1), -ENOSPC);
	/* Overwriting needs no space; neither does a hole. */
	assert_int_equal(fs_write(rig->fs, ino, 12345, "x", 1), 1);
	/* Freed, not committed: the next write commits. */
	assert_int_equal(rig_truncate(rig, ino, size / 2), 0);
	uint64_t other = rig_create(rig, FS_ROOT_INO, "b");
	assert_int_equal(fs_write(rig->fs, other, 0, "y", 1), 1);
	fs_forget(rig->fs, ino, 1);
	assert_int_equal(fs_unlink(rig->fs, FS_ROOT_INO, "a"), 0);
	assert_int_equal(fill(rig, other), size);
	struct statvfs st;
	assert_int_equal(fs_statfs(rig->fs, &st), 0);
	assert_int_equal(st.f_bavail, 0);
	rig_free(rig);
}

static void a_refused_first_write_leaves_a_hole_and_its_blocks_free(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xBAD, 16 * MIB, 8 * MIB);
	uint64_t ino = rig_create(rig, FS_ROOT_INO, "a");
	uint64_t free = fs_stats(rig->fs).free_blocks;
	struct super super = *volume_super(rig->v);
	struct sim_fault fault = {.kind = SIM_WRITE_ERROR,
		.offset_bytes = super.data.offset_bytes,
		.len_bytes = super.data.len_bytes,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
	assert_true(fs_write(rig->fs, ino, 0, "x", 1) < 0);
	sim_world_disarm_all(rig->world);
	assert_int_equal(rig_stat(rig, ino).st_size, 0);
	assert_int_equal(rig_stat(rig, ino).st_blocks, 0);
	assert_int_equal(fs_stats(rig->fs).free_blocks, free);
	rig_free(rig);
}

/* ---- who owns what ---- */

struct owners {
	struct fs_extent parts[64];
	unsigned count;
};

static bool owners_add(void *ctx, const struct fs_extent *e)
{
	struct owners *o = ctx;
	assert_true(o->count < 64);
	o->parts[o->count++] = *e;
	return true;
}

static void owners_of_blocks_are_found_before_and_after_a_commit(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0x0A5, 16 * MIB, 8 * MIB);
	static uint8_t buf[65536];
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a"), b = rig_create(rig, FS_ROOT_INO, "b");
	assert_int_equal(fs_write(rig->fs, a, 0, buf, 65536), 65536);
	assert_int_equal(fs_write(rig->fs, b, 8192, buf, 65536), 65536);
	for (unsigned committed = 0; committed < 2; committed++) {
		struct owners ea = {0}, eb = {0}, o = {0};
		assert_int_equal(fs_file_extents(rig->fs, a, owners_add, &ea), 0);
		assert_int_equal(fs_file_extents(rig->fs, b, owners_add, &eb), 0);
		assert_int_equal(ea.count, 1);
		assert_int_equal(eb.count, 1);
		assert_int_equal(eb.parts[0].file_block, 2);
		uint64_t from = ea.parts[0].volume_block + 10;
		assert_int_equal(eb.parts[0].volume_block, from + 6);
		assert_int_equal(fs_owners(rig->fs, from, 10, owners_add, &o), 0);
		assert_int_equal(o.count, 2);
		assert_int_equal(o.parts[0].ino, a);
		assert_int_equal(o.parts[0].file_block, 10);
		assert_int_equal(o.parts[0].blocks, 6);
		assert_int_equal(o.parts[1].ino, b);
		assert_int_equal(o.parts[1].file_block, 2);
		assert_int_equal(o.parts[1].blocks, 4);
		rig_remount(rig);
	}
	rig_free(rig);
}

static void appends_of_a_file_are_one_extent(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xA99, 16 * MIB, 8 * MIB);
	struct owners o = {0};
	static uint8_t buf[10000];
	uint64_t a = rig_create(rig, FS_ROOT_INO, "a");
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(fs_write(rig->fs, a, i * 10000, buf, 10000), 10000);
		if (i % 20 == 0)
			assert_int_equal(fs_fsync(rig->fs, a, false), 0);
	}
	rig_remount(rig);
	assert_int_equal(fs_file_extents(rig->fs, a, owners_add, &o), 0);
	assert_int_equal(o.count, 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_an_array_of_bytes),
		cmocka_unit_test(concurrent_writes_into_fresh_blocks_lose_no_bytes),
		cmocka_unit_test(concurrent_overlapping_writes_mix_only_their_own_bytes),
		cmocka_unit_test(a_truncation_waits_for_writes_under_way),
		cmocka_unit_test(what_a_truncation_cut_off_reads_as_zeros_after_growth),
		cmocka_unit_test(a_sparse_file_may_be_as_long_as_the_kernel_takes),
		cmocka_unit_test(beyond_that_there_is_nothing_to_read_and_nothing_to_write),
		cmocka_unit_test(preallocated_space_is_a_hole_that_takes_blocks),
		cmocka_unit_test(a_full_volume_says_so_and_what_is_freed_is_had_at_once),
		cmocka_unit_test(a_refused_first_write_leaves_a_hole_and_its_blocks_free),
		cmocka_unit_test(owners_of_blocks_are_found_before_and_after_a_commit),
		cmocka_unit_test(appends_of_a_file_are_one_extent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
