/* SPDX-License-Identifier: MIT */
/* A database that cannot be trusted is copied: whichever page is lost, and wherever the power fails
 * meanwhile. */
#include "check_rig.h"

#include "fs/area_disk.h"

#define PAGE  AREA_PAGE_BYTES
#define FILES 100u

static void name_of(unsigned i, char name[256])
{
	snprintf(name, 256, "%0200u", i);
}

static struct check_rig *new_rig(void)
{
	struct check_rig *k = check_rig_new();
	char name[256];
	rig_mount(k->rig);
	for (unsigned i = 0; i < FILES; i++) {
		name_of(i, name);
		uint64_t ino = rig_create(k->rig, FS_ROOT_INO, name);
		assert_int_equal(fs_write(k->rig->fs, ino, 0, "data", 4), 4);
	}
	assert_int_equal(rig_unmount(k->rig), 0);
	log_set_level(LOG_LEVEL_NONE);
	return k;
}

static uint64_t database_offset(struct check_rig *k)
{
	struct area_layout layout;
	assert_int_equal(area_layout_choose(4 * MIB, &layout), 0);
	check_rig_open(k, true);
	uint64_t offset = volume_super(k->rig->v)->system.offset_bytes + layout.db_offset;
	check_rig_close(k);
	return offset;
}

static unsigned page_count(struct check_rig *k, uint64_t database)
{
	uint8_t be[4];
	assert_int_equal(sim_disk_peek(k->rig->world, "d0", database + 28, be, 4), 0);
	return (unsigned)be[0] << 24 | (unsigned)be[1] << 16 | (unsigned)be[2] << 8 | be[3];
}

/* On both members. */
static void lose_page(struct check_rig *k, uint64_t database, unsigned page)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sim_disk_poke(k->rig->world, rig_names[i],
					 database + page * PAGE + 500, "lost", 4),
			0);
}

static unsigned files_there(struct check_rig *k)
{
	unsigned count = 0;
	char name[256];
	for (unsigned i = 0; i < FILES; i++) {
		name_of(i, name);
		count += rig_lookup(k->rig, FS_ROOT_INO, name, 0) == 0;
	}
	return count;
}

static void whichever_page_is_lost_the_rest_is_there(void **unused)
{
	(void)unused;
	struct check_rig *k = new_rig();
	uint64_t database = database_offset(k);
	unsigned pages = page_count(k, database);
	check_rig_free(k);
	assert_true(pages > 10);
	for (unsigned page = 0; page < pages; page++) {
		k = new_rig();
		if (page >= page_count(k, database)) { /* names hash by a random key */
			check_rig_free(k);
			break;
		}
		lose_page(k, database, page);
		check_rig_run(k, false);
		if (!k->result.problems)
			fail_msg("page %u of %u is not missed", page, page_count(k, database));
		check_rig_run(k, true);
		if (k->result.remaining)
			fail_msg("page %u:\n%s", page, k->text);
		rig_mount(k->rig);
		/* A leaf costs its own rows, an inner page those below it: names, or what else the
		 * row of an inode said, but no file as a whole. */
		assert_true(fs_stats(k->rig->fs).inodes >= FILES);
		assert_int_equal(rig_unmount(k->rig), 0);
		check_rig_free(k);
	}
}

static void pages_lost_here_and_there_leave_what_is_between(void **unused)
{
	(void)unused;
	struct check_rig *k = new_rig();
	uint64_t database = database_offset(k);
	unsigned pages = page_count(k, database);
	for (unsigned page = 10; page < pages; page += 5)
		lose_page(k, database, page);
	check_rig_run(k, true);
	assert_int_equal(k->result.remaining, 0);
	rig_mount(k->rig);
	assert_true(files_there(k) > FILES / 4);
	assert_int_equal(rig_unmount(k->rig), 0);
	check_rig_free(k);
}

static void the_power_may_fail_anywhere_in_a_repair(void **unused)
{
	(void)unused;
	bool cut = true;
	unsigned n = 0;
	for (; cut; n += 7) {
		struct check_rig *k = new_rig();
		check_rig_sql(k, "CREATE VIEW v AS SELECT * FROM inode;"
				 "DELETE FROM dirent WHERE ino = 8");
		struct check_options o = {.repair = true};
		check_rig_open(k, false);
		sim_world_cut_power_after(k->rig->world, n);
		(void)fs_check(k->rig->v, &o, &k->result, NULL);
		(void)volume_close(k->rig->v);
		k->rig->v = NULL;
		cut = sim_world_power_is_cut(k->rig->world);
		sim_world_reboot(k->rig->world);
		check_rig_run(k, true);
		if (k->result.remaining)
			fail_msg("cut at write %u:\n%s", n, k->text);
		rig_mount(k->rig);
		assert_int_equal(files_there(k), FILES);
		assert_int_equal(rig_unmount(k->rig), 0);
		check_rig_free(k);
	}
	assert_true(n > 20);
}

static void without_room_for_two_databases_it_says_so(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	log_set_level(LOG_LEVEL_NONE);
	for (char a = 'a'; a < 'e'; a++) {
		char sql[300];
		snprintf(sql, sizeof(sql),
			"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n"
			" WHERE i < 7) INSERT INTO xattr SELECT 3, CAST('user.%c' || i AS BLOB),"
			" zeroblob(60000) FROM n",
			a);
		check_rig_sql(k, sql);
	}
	check_rig_sql(k, "CREATE TABLE more(a)");
	assert_int_equal(check_rig_try(k, true), -ENOSPC);
	assert_non_null(strstr(k->rig->why.text, "no room for a second database"));
	/* Nothing is worse than before. */
	check_rig_sql(k, "DROP TABLE more");
	check_rig_run(k, false);
	assert_int_equal(k->result.problems, 0);
	check_rig_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whichever_page_is_lost_the_rest_is_there),
		cmocka_unit_test(pages_lost_here_and_there_leave_what_is_between),
		cmocka_unit_test(the_power_may_fail_anywhere_in_a_repair),
		cmocka_unit_test(without_room_for_two_databases_it_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
