/* SPDX-License-Identifier: MIT */
/* One thing is damaged by SQL: it is found, mended, and the file system serves again. */
#include "check_rig.h"

static bool list_entry(void *ctx, const struct fs_dirent *entry)
{
	struct check_rig *k = ctx;
	struct stat st;
	if (entry->cookie <= 2)
		return true;
	uint64_t ino = entry->ino;
	if (fs_getattr(k->rig->fs, ino, &st) != 0)
		fail_msg("%s leads to inode %llu", entry->name, (unsigned long long)ino);
	assert_int_equal(st.st_mode & S_IFMT, entry->type);
	if (S_ISDIR(st.st_mode))
		assert_int_equal(fs_readdir(k->rig->fs, ino, 0, list_entry, ctx), 0);
	return true;
}

static const struct spoiled {
	const char *name, *sql;
	enum check_kind kind;
} cases[] = {
	{"a_link_count_of_a_file_is_set_right", "UPDATE inode SET nlink = 9 WHERE ino = 3",
		CHECK_LINKS},
	{"a_link_count_of_0_with_names_is_set_right", "UPDATE inode SET nlink = 0 WHERE ino = 3",
		CHECK_LINKS},
	{"a_link_count_of_a_directory_is_set_right", "UPDATE inode SET nlink = 2 WHERE ino = 2",
		CHECK_LINKS},
	{"a_link_count_of_the_root_is_set_right", "UPDATE inode SET nlink = 1 WHERE ino = 1",
		CHECK_LINKS},
	{"a_number_of_blocks_is_set_right", "UPDATE inode SET blocks = 700 WHERE ino = 3",
		CHECK_BLOCKS},
	{"a_way_up_is_set_right", "UPDATE inode SET parent = 4 WHERE ino = 4", CHECK_PARENT},
	{"a_way_up_of_the_root_is_set_right", "UPDATE inode SET parent = 4 WHERE ino = 1",
		CHECK_PARENT},
	{"an_unknown_type_of_file_is_made_one", "UPDATE inode SET mode = 511 WHERE ino = 3",
		CHECK_INODE},
	{"a_root_that_is_no_directory_is_made_one", "UPDATE inode SET mode = 33188 WHERE ino = 1",
		CHECK_INODE},
	{"a_directory_that_is_a_file_is_made_one", "UPDATE inode SET mode = 33188 WHERE ino = 4",
		CHECK_INODE},
	{"a_file_that_is_a_fifo_loses_its_blocks", "UPDATE inode SET mode = 4516 WHERE ino = 3",
		CHECK_EXTENT},
	{"a_negative_size_is_mended", "UPDATE inode SET size = -1 WHERE ino = 3", CHECK_INODE},
	{"a_number_of_blocks_below_0_is_mended", "UPDATE inode SET blocks = -4 WHERE ino = 3",
		CHECK_INODE},
	{"texts_in_columns_of_numbers_are_mended",
		"UPDATE inode SET uid = 'root', gid = x'00', atime = 1.5, mtime = NULL"
		" WHERE ino = 3",
		CHECK_INODE},
	{"an_inode_of_a_number_below_1_is_removed",
		"INSERT INTO inode SELECT -5, mode, nlink, uid, gid, rdev, size, blocks, atime,"
		" mtime, ctime, parent, cookie, btime FROM inode WHERE ino = 3",
		CHECK_DATABASE},
	{"an_inode_without_a_name_is_put_into_lost_and_found", "DELETE FROM dirent WHERE ino = 8",
		CHECK_UNREACHABLE},
	{"a_directory_without_a_name_is_put_into_lost_and_found",
		"DELETE FROM dirent WHERE ino = 4", CHECK_UNREACHABLE},
	{"a_file_keeps_its_name_when_another_is_lost",
		"DELETE FROM dirent WHERE ino = 3 AND parent = 2", CHECK_LINKS},
	{"directories_in_a_circle_are_cut_and_kept",
		"UPDATE dirent SET parent = 4 WHERE ino = 2;"
		"UPDATE inode SET parent = 4 WHERE ino = 2",
		CHECK_UNREACHABLE},
	{"a_directory_inside_itself_is_cut_and_kept",
		"UPDATE dirent SET parent = 4 WHERE ino = 4;"
		"UPDATE inode SET parent = 4 WHERE ino = 4",
		CHECK_UNREACHABLE},
	{"a_directory_of_two_names_keeps_one",
		"INSERT INTO dirent SELECT 1, cookie, name, ino, type FROM dirent WHERE ino = 4",
		CHECK_ENTRY},
	{"a_name_of_the_root_is_removed", "UPDATE dirent SET ino = 1, type = 16384 WHERE ino = 8",
		CHECK_ENTRY},
	{"an_entry_of_no_inode_is_removed", "UPDATE dirent SET ino = 99 WHERE ino = 8",
		CHECK_ENTRY},
	{"an_entry_of_an_impossible_inode_is_removed", "UPDATE dirent SET ino = -1 WHERE ino = 8",
		CHECK_ENTRY},
	{"an_entry_of_another_type_is_set_right", "UPDATE dirent SET type = 16384 WHERE ino = 3",
		CHECK_ENTRY},
	{"an_entry_of_no_type_is_set_right", "UPDATE dirent SET type = 7 WHERE ino = 3",
		CHECK_ENTRY},
	{"a_name_with_a_slash_is_replaced", "UPDATE dirent SET name = x'612f62' WHERE ino = 8",
		CHECK_ENTRY},
	{"a_name_with_a_nul_is_replaced", "UPDATE dirent SET name = x'610062' WHERE ino = 8",
		CHECK_ENTRY},
	{"an_empty_name_is_replaced", "UPDATE dirent SET name = x'' WHERE ino = 8", CHECK_ENTRY},
	{"a_name_of_two_dots_is_replaced", "UPDATE dirent SET name = x'2e2e' WHERE ino = 8",
		CHECK_ENTRY},
	{"a_name_of_300_bytes_is_replaced", "UPDATE dirent SET name = zeroblob(300) WHERE ino = 8",
		CHECK_ENTRY},
	{"a_name_that_is_a_number_is_replaced", "UPDATE dirent SET name = 5 WHERE ino = 8",
		CHECK_ENTRY},
	{"a_cookie_that_is_not_the_name's_is_set_right",
		"UPDATE dirent SET cookie = 4611686018427387000 WHERE ino = 8", CHECK_ENTRY},
	{"a_cookie_below_all_is_removed", "UPDATE dirent SET cookie = -4 WHERE ino = 8",
		CHECK_DATABASE},
	{"two_entries_of_one_name_become_two_names",
		"INSERT INTO dirent SELECT parent, cookie + 1, name, 6, 40960 FROM dirent"
		" WHERE ino = 8; UPDATE inode SET nlink = 2 WHERE ino = 6",
		CHECK_ENTRY},
	{"entries_in_a_file_make_it_a_directory", "UPDATE dirent SET parent = 8 WHERE ino = 7",
		CHECK_INODE},
	{"entries_in_no_directory_make_one", "UPDATE dirent SET parent = 50 WHERE ino = 7",
		CHECK_INODE},
	{"an_inode_row_that_is_lost_is_made_anew", "DELETE FROM inode WHERE ino = 3", CHECK_INODE},
	{"a_directory_row_that_is_lost_is_made_anew", "DELETE FROM inode WHERE ino = 4",
		CHECK_INODE},
	{"the_root's_row_that_is_lost_is_made_anew", "DELETE FROM inode WHERE ino = 1",
		CHECK_INODE},
	{"all_rows_of_inodes_that_are_lost_are_made_anew", "DELETE FROM inode", CHECK_INODE},
	{"everything_that_is_lost_leaves_a_root",
		"DELETE FROM inode; DELETE FROM dirent; DELETE FROM extent; DELETE FROM symlink",
		CHECK_INODE},
	{"an_extent_outside_the_volume_is_cut_out",
		"UPDATE extent SET volume_block = 100000000 WHERE ino = 3", CHECK_EXTENT},
	{"an_extent_across_the_volume's_end_is_cut_out",
		"UPDATE extent SET blocks = 4000000000 WHERE ino = 3", CHECK_EXTENT},
	{"an_extent_at_a_negative_place_is_cut_out",
		"UPDATE extent SET volume_block = -1 WHERE ino = 3", CHECK_EXTENT},
	{"an_extent_without_blocks_is_removed", "UPDATE extent SET blocks = 0 WHERE ino = 3",
		CHECK_EXTENT},
	{"an_extent_at_a_negative_file_block_is_removed",
		"UPDATE extent SET file_block = -7 WHERE ino = 3", CHECK_DATABASE},
	{"an_extent_with_unknown_flags_is_removed", "UPDATE extent SET flags = 4 WHERE ino = 3",
		CHECK_EXTENT},
	{"extents_that_overlap_in_a_file_are_cut", "INSERT INTO extent VALUES(3, 1, 4000, 5, 0)",
		CHECK_EXTENT},
	{"blocks_of_two_files_are_cut_out_of_one",
		"INSERT INTO extent SELECT 8, 0, volume_block + 1, blocks, 0 FROM extent"
		" WHERE ino = 3",
		CHECK_SHARED},
	{"blocks_twice_in_one_file_are_cut_out",
		"INSERT INTO extent SELECT 3, 50, volume_block, blocks, 0 FROM extent"
		" WHERE ino = 3",
		CHECK_SHARED},
	{"an_extent_of_a_directory_is_removed", "INSERT INTO extent VALUES(4, 0, 3000, 5, 0)",
		CHECK_EXTENT},
	{"an_extent_of_no_inode_gets_one", "INSERT INTO extent VALUES(40, 0, 3000, 5, 0)",
		CHECK_INODE},
	{"a_symbolic_link's_size_is_set_right", "UPDATE inode SET size = 3 WHERE ino = 6",
		CHECK_SYMLINK},
	{"a_symbolic_link_without_a_target_is_removed", "DELETE FROM symlink", CHECK_SYMLINK},
	{"a_symbolic_link_of_a_target_with_a_nul_is_removed",
		"UPDATE symlink SET target = x'610062'", CHECK_SYMLINK},
	{"a_symbolic_link_of_a_target_too_long_is_removed",
		"UPDATE symlink SET target = zeroblob(9000)", CHECK_SYMLINK},
	{"a_target_of_a_file_is_removed", "INSERT INTO symlink VALUES(3, x'61')", CHECK_SYMLINK},
	{"a_target_of_no_inode_gets_one", "INSERT INTO symlink VALUES(77, x'61')", CHECK_INODE},
	{"attributes_of_no_inode_are_removed", "INSERT INTO xattr VALUES(77, x'61', x'62')",
		CHECK_XATTR},
	{"an_attribute_of_no_name_is_removed", "INSERT INTO xattr VALUES(3, x'', x'62')",
		CHECK_XATTR},
	{"an_attribute_whose_value_is_a_number_is_removed", "UPDATE xattr SET value = 7",
		CHECK_XATTR},
	{"an_attribute_too_long_is_removed", "UPDATE xattr SET value = zeroblob(70000)",
		CHECK_XATTR},
	{"an_attribute_whose_name_is_a_text_is_removed", "INSERT INTO xattr VALUES(3, 'a', x'62')",
		CHECK_XATTR},
	{"the_number_of_inodes_is_set_right", "UPDATE meta SET value = 5000 WHERE key = 'inodes'",
		CHECK_META},
	{"the_next_number_is_set_right", "UPDATE meta SET value = 3 WHERE key = 'next_ino'",
		CHECK_META},
	{"a_next_number_behind_all_is_set_right",
		"UPDATE meta SET value = 9223372036854775807 WHERE key = 'next_ino'", CHECK_META},
	{"a_next_number_that_leaves_none_is_set_right",
		"UPDATE meta SET value = 4611686018427387904 WHERE key = 'next_ino'", CHECK_META},
	{"figures_that_are_gone_are_made_anew", "DELETE FROM meta", CHECK_META},
	{"a_key_that_is_a_text_is_drawn_anew",
		"UPDATE meta SET value = 'key' WHERE key = 'hash_key'", CHECK_META},
	{"a_trigger_is_thrown_out",
		"CREATE TRIGGER t AFTER INSERT ON dirent BEGIN DELETE FROM inode; END",
		CHECK_SCHEMA},
	{"a_view_is_thrown_out", "CREATE VIEW v AS SELECT * FROM inode", CHECK_SCHEMA},
	{"a_table_too_many_is_thrown_out", "CREATE TABLE more(a)", CHECK_SCHEMA},
	{"an_index_that_is_missing_comes_back", "DROP INDEX extent_place", CHECK_SCHEMA},
	{"a_table_that_is_missing_comes_back_empty", "DROP TABLE xattr", CHECK_SCHEMA},
	{"a_database_that_is_of_nobody_is_taken_for_ours", "PRAGMA application_id = 7",
		CHECK_SCHEMA},
};

static void a_spoiled_file_system_is_mended(void **state)
{
	const struct spoiled *spoiled = *state;
	struct check_rig *k = check_rig_new();
	struct stat st;
	check_rig_sql(k, spoiled->sql);
	check_rig_mends(k, spoiled->kind);
	assert_int_equal(fs_readdir(k->rig->fs, FS_ROOT_INO, 0, list_entry, k), 0);
	/* It can be used. */
	uint64_t ino = rig_create(k->rig, FS_ROOT_INO, "new");
	assert_int_equal(fs_write(k->rig->fs, ino, 0, "new", 3), 3);
	assert_int_equal(rig_unmount(k->rig), 0);
	check_rig_run(k, false);
	if (k->result.problems)
		fail_msg("after it was used:\n%s", k->text);
	(void)st;
	check_rig_free(k);
}

/* ---- what becomes of it ---- */

static void a_sound_file_system_is_clean(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_run(k, false);
	assert_string_equal(k->text, "");
	assert_int_equal(k->result.problems + k->result.orphans, 0);
	assert_int_equal(k->result.inodes, 8);
	assert_int_equal(k->result.entries, 8);
	assert_int_equal(k->result.extents, 2);
	assert_int_equal(k->result.used_blocks, 4);
	check_rig_run(k, true);
	assert_string_equal(k->text, "");
	check_rig_free(k);
}

static void a_check_without_repair_writes_nothing(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_sql(k, "DELETE FROM dirent WHERE ino = 8; UPDATE inode SET nlink = 0");
	uint64_t writes = sim_world_writes(k->rig->world);
	check_rig_run(k, false);
	assert_true(k->result.problems > 3);
	assert_int_equal(k->result.mended, 0);
	assert_int_equal(sim_world_writes(k->rig->world), writes);
	check_rig_free(k);
}

static void what_lost_its_name_is_found_by_its_number(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	struct stat st;
	check_rig_sql(k, "DELETE FROM dirent WHERE ino = 2");
	check_rig_mends(k, CHECK_UNREACHABLE);
	uint64_t ino;
	assert_int_equal(fs_resolve(k->rig->fs, "/lost+found/#2/sub/deep", &ino), 0);
	assert_int_equal(ino, DEEP_INO);
	assert_int_equal(rig_lookup(k->rig, FS_ROOT_INO, "lost+found", 0), 0);
	assert_int_equal(fs_getattr(k->rig->fs, FILE_INO, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	check_rig_free(k);
}

static void a_file_whose_row_is_lost_keeps_names_and_data(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	char byte = 0;
	check_rig_sql(k, "DELETE FROM inode WHERE ino = 3");
	check_rig_mends(k, CHECK_INODE);
	struct stat st = rig_stat(k->rig, FILE_INO);
	assert_int_equal(st.st_size, 3 * 4096);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(rig_lookup(k->rig, FS_ROOT_INO, "hard", FILE_INO), 0);
	assert_int_equal(fs_read(k->rig->fs, FILE_INO, 4096, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	check_rig_free(k);
}

static void a_file_that_was_cut_has_a_hole(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	char byte = 1;
	check_rig_sql(k, "INSERT INTO extent SELECT 8, 0, volume_block + 1, 5, 0 FROM extent"
			 " WHERE ino = 3; UPDATE inode SET size = 20480 WHERE ino = 8");
	check_rig_mends(k, CHECK_SHARED);
	struct stat st = rig_stat(k->rig, FILE_INO);
	assert_int_equal(st.st_blocks, 3 * 8);
	st = rig_stat(k->rig, EMPTY_INO);
	assert_true(st.st_blocks <= 3 * 8);
	assert_int_equal(fs_read(k->rig->fs, EMPTY_INO, 0, &byte, 1), 1);
	assert_int_equal(byte, 0);
	check_rig_free(k);
}

/* There is no number behind it. */
#define LAST_INO "4611686018427387904"

static void an_inode_of_the_last_number_leaves_room_for_lost_and_found(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_sql(k, "UPDATE inode SET ino = " LAST_INO " WHERE ino = 7;"
			 "UPDATE dirent SET ino = " LAST_INO " WHERE ino = 7;"
			 "DELETE FROM dirent WHERE ino = 8");
	check_rig_mends(k, CHECK_UNREACHABLE);
	assert_int_equal(rig_lookup(k->rig, FS_ROOT_INO, "lost+found", 7), 0);
	assert_int_equal(rig_lookup(k->rig, FS_ROOT_INO, "fifo", UINT64_C(1) << 62), 0);
	check_rig_free(k);
}

static void orphans_are_listed_and_reclaimed(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_sql(k, "UPDATE inode SET nlink = 0 WHERE ino = 8;"
			 "DELETE FROM dirent WHERE ino = 8");
	check_rig_run(k, false);
	assert_int_equal(k->found[CHECK_ORPHAN], 1);
	assert_int_equal(k->result.orphans, 1);
	assert_int_equal(k->result.problems, 0);
	check_rig_run(k, true);
	assert_int_equal(k->result.remaining, 0);
	check_rig_run(k, false);
	assert_int_equal(k->result.orphans, 0);
	assert_int_equal(k->result.inodes, 7);
	check_rig_free(k);
}

static void findings_name_paths(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_sql(k, "UPDATE inode SET nlink = 3 WHERE ino = 5");
	check_rig_run(k, false);
	assert_non_null(strstr(k->text, "inode 5 /dir/sub/deep"));
	check_rig_free(k);
}

static bool stop(void *ctx, uint64_t done, uint64_t total)
{
	return false;
}

static void a_check_can_be_stopped(void **unused)
{
	(void)unused;
	struct check_rig *k = check_rig_new();
	check_rig_sql(k, "WITH RECURSIVE n(i) AS (VALUES(100) UNION ALL SELECT i + 1 FROM n"
			 " WHERE i < 5000) INSERT INTO xattr SELECT i, x'61', x'62' FROM n");
	struct check_options o = {.progress = stop};
	check_rig_open(k, true);
	assert_int_equal(fs_check(k->rig->v, &o, &k->result, NULL), -ECANCELED);
	check_rig_close(k);
	check_rig_free(k);
}

#define CASES (sizeof(cases) / sizeof(cases[0]))

int main(void)
{
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(a_sound_file_system_is_clean),
		cmocka_unit_test(a_check_without_repair_writes_nothing),
		cmocka_unit_test(what_lost_its_name_is_found_by_its_number),
		cmocka_unit_test(a_file_whose_row_is_lost_keeps_names_and_data),
		cmocka_unit_test(a_file_that_was_cut_has_a_hole),
		cmocka_unit_test(an_inode_of_the_last_number_leaves_room_for_lost_and_found),
		cmocka_unit_test(orphans_are_listed_and_reclaimed),
		cmocka_unit_test(findings_name_paths),
		cmocka_unit_test(a_check_can_be_stopped),
	};
	static struct CMUnitTest tests[CASES + sizeof(others) / sizeof(others[0])];
	for (unsigned i = 0; i < CASES; i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
			.test_func = a_spoiled_file_system_is_mended,
			.initial_state = (void *)&cases[i]};
	memcpy(tests + CASES, others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
