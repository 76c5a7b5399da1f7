/* SPDX-License-Identifier: MIT */
/* SQLite's files on mirrors: damaged headers, pages and logs, and how they are mended. */
#include "rig.h"

#include "fs/page_store.h"
#include "fs/vfs.h"
#include "fs/wal_image.h"
#include "fs/wal_scan.h"

#define PAGE AREA_PAGE_BYTES

static struct area_layout layout_of(struct rig *rig)
{
	struct area_vfs *vfs = NULL;
	assert_int_equal(area_vfs_open(volume_sysarea(rig->v), &vfs, NULL), 0);
	struct area_layout layout = *area_vfs_layout(vfs);
	area_vfs_close(vfs);
	return layout;
}

/* A formatted volume, open, without its file system. */
static struct rig *new_rig(struct area_layout *layout)
{
	struct rig *rig = rig_new(0xF5, 16 * MIB, 4 * MIB);
	assert_int_equal(fs_close(rig->fs), 0);
	rig->fs = NULL;
	*layout = layout_of(rig);
	return rig;
}

static void free_rig(struct rig *rig)
{
	assert_int_equal(volume_close(rig->v), 0);
	rig->v = NULL;
	rig_free(rig);
}

static uint64_t area_offset(struct rig *rig, uint64_t offset)
{
	return volume_super(rig->v)->system.offset_bytes + offset;
}

static void peek(struct rig *rig, const char *disk, uint64_t offset, void *buf, size_t len)
{
	assert_int_equal(sim_disk_peek(rig->world, disk, area_offset(rig, offset), buf, len), 0);
}

static void poke(struct rig *rig, const char *disk, uint64_t offset, const void *buf, size_t len)
{
	assert_int_equal(sim_disk_poke(rig->world, disk, area_offset(rig, offset), buf, len), 0);
}

static void page_fill(uint8_t *page, unsigned seed)
{
	for (unsigned i = 0; i < PAGE; i++)
		page[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static bool page_is(const uint8_t *page, unsigned seed)
{
	uint8_t want[PAGE];
	page_fill(want, seed);
	return memcmp(page, want, PAGE - AREA_TRAILER_BYTES) == 0;
}

/* ---- header ---- */

static void a_header_of_any_copy_serves(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	uint8_t junk[AREA_HEADER_BYTES];
	memset(junk, 0xAB, sizeof(junk));
	poke(rig, "d0", 0, junk, sizeof(junk));
	poke(rig, "d0", AREA_HEADER_BYTES, junk, sizeof(junk));
	poke(rig, "d1", AREA_HEADER_BYTES, junk, sizeof(junk));
	struct area_layout again = layout_of(rig);
	assert_int_equal(again.salt, layout.salt);
	assert_int_equal(again.db_offset, layout.db_offset);
	/* All of them were written back; without any there is nothing to open. */
	for (unsigned i = 0; i < 2; i++) {
		poke(rig, rig_names[i], 0, junk, sizeof(junk));
		poke(rig, rig_names[i], AREA_HEADER_BYTES, junk, sizeof(junk));
	}
	struct area_vfs *vfs;
	assert_int_equal(area_vfs_open(volume_sysarea(rig->v), &vfs, &rig->why), -EUCLEAN);
	assert_non_null(strstr(rig->why.text, "no file system"));
	free_rig(rig);
}

static void every_flipped_bit_of_a_header_is_noticed(void **unused)
{
	(void)unused;
	struct area_layout layout, out;
	uint8_t buf[AREA_HEADER_BYTES];
	assert_int_equal(area_layout_choose(8 * MIB, &layout), 0);
	area_header_encode(&layout, buf);
	assert_int_equal(area_header_decode(buf, 8 * MIB, &out), 0);
	assert_int_equal(area_header_decode(buf, 4 * MIB, &out), -EUCLEAN);
	for (unsigned bit = 0; bit < AREA_HEADER_BYTES * 8; bit++) {
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(area_header_decode(buf, 8 * MIB, &out) < 0);
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* ---- pages ---- */

static struct page_store open_pages(struct rig *rig, const struct area_layout *layout)
{
	struct page_store ps;
	assert_int_equal(page_store_open(&ps, volume_sysarea(rig->v), layout), 0);
	return ps;
}

static void a_damaged_page_is_read_from_the_other_copy_and_mended(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	struct page_store ps = open_pages(rig, &layout);
	uint8_t page[PAGE], other[PAGE], bad[PAGE];
	static const uint64_t at = 40 * PAGE;
	page_fill(page, 1);
	page_fill(other, 2);
	assert_int_equal(page_store_write(&ps, at, page), 0);
	assert_int_equal(page_store_write(&ps, at + PAGE, other), 0);
	assert_int_equal(page_store_sync(&ps), 0);
	uint8_t good[PAGE];
	peek(rig, "d1", layout.db_offset + at, good, PAGE);
	for (unsigned how = 0; how < 4; how++) {
		memcpy(bad, good, PAGE);
		if (how == 0)
			bad[1234] ^= 16; /* a flipped bit */
		if (how == 1)
			memset(bad + 512, 0, PAGE - 512); /* torn: only a sector was stored */
		if (how == 2)
			peek(rig, "d0", layout.db_offset + at + PAGE, bad, PAGE); /* misdirected */
		if (how == 3)
			memset(bad, 0, PAGE); /* never stored */
		poke(rig, "d0", layout.db_offset + at, bad, PAGE);
		assert_int_equal(page_store_read(&ps, at, page), 0);
		assert_true(page_is(page, 1));
		assert_int_equal(sysarea_mended(volume_sysarea(rig->v), 0), how + 1);
		peek(rig, "d0", layout.db_offset + at, bad, PAGE);
		assert_memory_equal(bad, good, PAGE);
	}
	page_store_close(&ps);
	free_rig(rig);
}

static void a_page_without_a_good_copy_is_an_error_not_bytes(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	struct page_store ps = open_pages(rig, &layout);
	uint8_t page[PAGE];
	page_fill(page, 1);
	assert_int_equal(page_store_write(&ps, 40 * PAGE, page), 0);
	assert_int_equal(page_store_sync(&ps), 0);
	poke(rig, "d0", layout.db_offset + 40 * PAGE + 7, "x", 1);
	poke(rig, "d1", layout.db_offset + 40 * PAGE + 4000, "x", 1);
	assert_int_equal(page_store_read(&ps, 40 * PAGE, page), -EUCLEAN);
	/* What was never written reads as zeros. */
	assert_int_equal(page_store_read(&ps, 60 * PAGE, page), 0);
	assert_int_equal(page[0] | page[4095], 0);
	page_store_close(&ps);
	free_rig(rig);
}

static void pages_of_an_earlier_file_system_do_not_verify(void **unused)
{
	(void)unused;
	uint8_t page[PAGE];
	page_fill(page, 3);
	area_page_seal(page, 5, 0x1111);
	assert_true(area_page_verify(page, 5, 0x1111));
	assert_false(area_page_verify(page, 5, 0x1112));
	assert_false(area_page_verify(page, 6, 0x1111));
}

static void gathered_pages_are_read_before_they_are_written(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	struct page_store ps = open_pages(rig, &layout);
	uint8_t page[PAGE];
	for (unsigned i = 0; i < 300; i++) {
		page_fill(page, i);
		assert_int_equal(page_store_write(&ps, (40 + i) * PAGE, page), 0);
	}
	page_fill(page, 999);
	assert_int_equal(page_store_write(&ps, 45 * PAGE, page), 0);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(page_store_read(&ps, (40 + i) * PAGE, page), 0);
		assert_true(page_is(page, i == 5 ? 999 : i));
	}
	assert_int_equal(page_store_write(&ps, layout.db_bytes, page), -ENOSPC);
	page_store_close(&ps);
	free_rig(rig);
}

static void pages_read_ahead_are_as_fresh_and_as_good_as_others(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	struct page_store ps = open_pages(rig, &layout);
	uint8_t page[PAGE];
	for (unsigned i = 0; i < 100; i++) {
		page_fill(page, i);
		assert_int_equal(page_store_write(&ps, (40 + i) * PAGE, page), 0);
	}
	assert_int_equal(page_store_sync(&ps), 0);
	poke(rig, "d0", layout.db_offset + 70 * PAGE + 7, "x", 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(page_store_read(&ps, (40 + i) * PAGE, page), 0);
		assert_true(page_is(page, i == 33 ? 999 : i));
		if (i == 25) { /* one of the next, which are in memory now */
			page_fill(page, 999);
			assert_int_equal(page_store_write(&ps, 73 * PAGE, page), 0);
			assert_int_equal(page_store_sync(&ps), 0);
		}
	}
	assert_int_equal(sysarea_mended(volume_sysarea(rig->v), 0), 1);
	assert_true(ps.ahead.windows[0].len || ps.ahead.windows[1].len);
	page_store_close(&ps);
	free_rig(rig);
}

/* ---- the log ---- */

static void log_region(struct rig *rig, const struct area_layout *l, const char *disk, uint8_t *out)
{
	peek(rig, disk, l->wal_offset, out, 1 * MIB);
}

/* Leave a log behind: files that only the log knows. */
static struct rig *crashed_rig(struct area_layout *layout, unsigned files)
{
	struct rig *rig = new_rig(layout);
	assert_int_equal(volume_close(rig->v), 0);
	rig->v = NULL;
	rig_mount(rig);
	char name[16];
	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		rig_create(rig, FS_ROOT_INO, name);
		assert_int_equal(fs_sync(rig->fs), 0);
	}
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_unmount(rig);
	sim_world_reboot(rig->world);
	struct volume_open_options vo = {.factory = &rig->factory, .paths = rig_names, .count = 2};
	assert_int_equal(volume_open(&vo, &rig->v, &rig->why), 0);
	return rig;
}

static void all_there(struct rig *rig, unsigned files)
{
	struct fs_options fo = {0};
	assert_int_equal(fs_open(rig->v, &fo, &rig->fs, &rig->why), 0);
	char name[16];
	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(rig_lookup(rig, FS_ROOT_INO, name, 0), 0);
	}
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "none", 0), -ENOENT);
}

static void the_longer_log_wins_and_the_other_copy_is_mended(void **unused)
{
	(void)unused;
	for (unsigned how = 0; how < 3; how++) {
		struct area_layout layout;
		struct rig *rig = crashed_rig(&layout, 10);
		static uint8_t a[1048576], b[1048576];
		const char *victim = how == 2 ? "d1" : "d0";
		log_region(rig, &layout, "d0", a);
		uint64_t where = how == 0 ? 10 : 32 + 4120 * 6 + 100;
		a[where] ^= 1;
		poke(rig, victim, layout.wal_offset, a, sizeof(a));
		struct wal_image wal;
		assert_int_equal(wal_image_open(&wal, volume_sysarea(rig->v), &layout), 0);
		assert_true(wal.size > 32 + 4120 * 10);
		uint64_t len = wal.size;
		wal_image_close(&wal);
		log_region(rig, &layout, "d0", a);
		log_region(rig, &layout, "d1", b);
		assert_memory_equal(a, b, len);
		all_there(rig, 10);
		rig_free(rig);
	}
}

static void a_log_that_is_damaged_everywhere_ends_before_the_damage(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = crashed_rig(&layout, 10);
	static uint8_t a[1048576];
	struct wal_scan scan;
	log_region(rig, &layout, "d0", a);
	assert_true(wal_scan_begin(&scan, a));
	uint64_t at = WAL_HEADER_BYTES;
	while (wal_scan_frame(&scan, a + at))
		at += WAL_FRAME_HEADER_BYTES + PAGE;
	assert_true(scan.committed >= 10);
	/* Half of the last transaction is torn away: the nine before stay. */
	memset(a + at - 2000, 0, 2000);
	poke(rig, "d0", layout.wal_offset, a, sizeof(a));
	poke(rig, "d1", layout.wal_offset, a, sizeof(a));
	all_there(rig, 9);
	assert_int_equal(rig_lookup(rig, FS_ROOT_INO, "f9", 0), -ENOENT);
	rig_free(rig);
}

static void damage_of_one_copy_of_the_whole_database_is_not_noticed_by_users(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = crashed_rig(&layout, 10);
	all_there(rig, 10);
	assert_int_equal(rig_unmount(rig), 0);
	rig_mount(rig);
	static uint8_t junk[65536];
	memset(junk, 0x5A, sizeof(junk));
	uint8_t first[PAGE];
	peek(rig, "d0", layout.db_offset, first, PAGE);
	assert_memory_equal(first, "SQLite format 3", 16);
	assert_int_equal(fs_close(rig->fs), 0);
	rig->fs = NULL;
	poke(rig, "d0", layout.db_offset, junk, sizeof(junk));
	all_there(rig, 10);
	peek(rig, "d0", layout.db_offset, first, PAGE);
	assert_memory_equal(first, "SQLite format 3", 16);
	rig_free(rig);
}

/* ---- mount ---- */

static void a_volume_without_a_file_system_or_with_a_newer_one_is_refused(void **unused)
{
	(void)unused;
	struct area_layout layout;
	struct rig *rig = new_rig(&layout);
	struct fs_options fo = {0};
	sqlite3 *handle;
	struct area_vfs *vfs;
	struct sysarea *area = volume_sysarea(rig->v);
	assert_int_equal(area_vfs_open(area, &vfs, NULL), 0);
	assert_int_equal(
		sqlite3_open_v2(AREA_DB_NAME, &handle, SQLITE_OPEN_READWRITE, area_vfs_name(vfs)),
		SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(handle, "PRAGMA locking_mode=EXCLUSIVE;PRAGMA user_version=99;", NULL,
			NULL, NULL),
		SQLITE_OK);
	sqlite3_close(handle);
	area_vfs_close(vfs);
	assert_int_equal(fs_open(rig->v, &fo, &rig->fs, &rig->why), -EPROTONOSUPPORT);
	assert_int_equal(sysarea_zero(area, 0, 2 * AREA_HEADER_BYTES), 0);
	assert_int_equal(fs_open(rig->v, &fo, &rig->fs, &rig->why), -EUCLEAN);
	rig->fs = NULL;
	free_rig(rig);
}

static void nothing_outside_the_regions_is_written(void **unused)
{
	(void)unused;
	struct rig *rig = rig_new(0xF6, 16 * MIB, 4 * MIB);
	uint8_t before[65536], after[65536];
	peek(rig, "d0", 0, before, sizeof(before));
	char name[64];
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "a name that takes some space in a page %u", i);
		rig_create(rig, FS_ROOT_INO, name);
	}
	rig_remount(rig);
	peek(rig, "d0", 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(after));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_of_any_copy_serves),
		cmocka_unit_test(every_flipped_bit_of_a_header_is_noticed),
		cmocka_unit_test(a_damaged_page_is_read_from_the_other_copy_and_mended),
		cmocka_unit_test(a_page_without_a_good_copy_is_an_error_not_bytes),
		cmocka_unit_test(pages_of_an_earlier_file_system_do_not_verify),
		cmocka_unit_test(pages_read_ahead_are_as_fresh_and_as_good_as_others),
		cmocka_unit_test(gathered_pages_are_read_before_they_are_written),
		cmocka_unit_test(the_longer_log_wins_and_the_other_copy_is_mended),
		cmocka_unit_test(a_log_that_is_damaged_everywhere_ends_before_the_damage),
		cmocka_unit_test(damage_of_one_copy_of_the_whole_database_is_not_noticed_by_users),
		cmocka_unit_test(a_volume_without_a_file_system_or_with_a_newer_one_is_refused),
		cmocka_unit_test(nothing_outside_the_regions_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
