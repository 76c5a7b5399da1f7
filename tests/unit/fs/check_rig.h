/* SPDX-License-Identifier: MIT */
/* A small file system that is spoiled by SQL, or page by page, then checked. */
#ifndef STABLEFS_TESTS_FS_CHECK_RIG_H
#define STABLEFS_TESTS_FS_CHECK_RIG_H

#include "rig.h"

#include "fs/check.h"
#include "fs/db.h"

/* What check_rig() makes, by number. */
enum {
	DIR_INO = 2, /* /dir */
	FILE_INO,    /* /dir/file and /hard: 3 blocks; an attribute */
	SUB_INO,     /* /dir/sub */
	DEEP_INO,    /* /dir/sub/deep: 1 block */
	SYM_INO,     /* /sym -> dir/file */
	FIFO_INO,    /* /fifo */
	EMPTY_INO,   /* /empty */
};

struct check_rig {
	struct rig *rig;
	unsigned found[CHECK_KINDS];
	char text[8192]; /* what was found, a line each */
	struct check_result result;
};

static inline struct check_rig *check_rig_new(void)
{
	struct check_rig *k = calloc(1, sizeof(*k));
	assert_non_null(k);
	k->rig = rig_new(77, 16 * MIB, 4 * MIB);
	struct rig *rig = k->rig;
	struct stat st;
	uint8_t data[3 * 4096];
	memset(data, 'x', sizeof(data));
	assert_int_equal(rig_mkdir(rig, FS_ROOT_INO, "dir"), DIR_INO);
	assert_int_equal(rig_create(rig, DIR_INO, "file"), FILE_INO);
	assert_int_equal(rig_mkdir(rig, DIR_INO, "sub"), SUB_INO);
	assert_int_equal(rig_create(rig, SUB_INO, "deep"), DEEP_INO);
	assert_int_equal(fs_symlink(rig->fs, FS_ROOT_INO, "sym", "dir/file", &rig_owner, &st), 0);
	assert_int_equal(
		fs_mknod(rig->fs, FS_ROOT_INO, "fifo", S_IFIFO | 0644, 0, &rig_owner, &st), 0);
	assert_int_equal(rig_create(rig, FS_ROOT_INO, "empty"), EMPTY_INO);
	assert_int_equal(fs_link(rig->fs, FILE_INO, FS_ROOT_INO, "hard", &st), 0);
	assert_int_equal(fs_write(rig->fs, FILE_INO, 0, data, sizeof(data)), sizeof(data));
	assert_int_equal(fs_write(rig->fs, DEEP_INO, 0, data, 4096), 4096);
	assert_int_equal(fs_setxattr(rig->fs, FILE_INO, "user.a", "b", 1, 0), 0);
	assert_int_equal(rig_unmount(rig), 0);
	return k;
}

static inline void check_rig_free(struct check_rig *k)
{
	rig_free(k->rig);
	free(k);
}

static inline void check_rig_open(struct check_rig *k, bool read_only)
{
	struct volume_open_options vo = {.factory = &k->rig->factory,
		.paths = rig_names,
		.count = k->rig->create.members,
		.read_only = read_only};
	assert_int_equal(volume_open(&vo, &k->rig->v, &k->rig->why), 0);
}

static inline void check_rig_close(struct check_rig *k)
{
	assert_int_equal(volume_close(k->rig->v), 0);
	k->rig->v = NULL;
}

/* Do SQL to the database, whatever it is. */
static inline void check_rig_sql(struct check_rig *k, const char *sql)
{
	struct db db;
	char *text = NULL;
	check_rig_open(k, false);
	assert_int_equal(db_open_unchecked(&db, volume_sysarea(k->rig->v), NULL, NULL), 0);
	sqlite3_db_config(db.handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	sqlite3_db_config(db.handle, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
	sqlite3_limit(db.handle, SQLITE_LIMIT_LENGTH, 1 << 20);
	if (sqlite3_exec(db.handle, sql, NULL, NULL, &text) != SQLITE_OK)
		fail_msg("%s: %s", sql, text);
	assert_int_equal(db_close(&db), 0);
	check_rig_close(k);
}

static inline void check_rig_found(void *ctx, const struct check_finding *f)
{
	struct check_rig *k = ctx;
	size_t len = strlen(k->text);
	k->found[f->kind]++;
	snprintf(k->text + len, sizeof(k->text) - len, "%s: inode %llu %s: %s -- %s\n",
		check_kind_name(f->kind), (unsigned long long)f->ino, f->path ? f->path : "?",
		f->what, f->done ? f->done : "");
}

static inline int check_rig_try(struct check_rig *k, bool repair)
{
	struct check_options o = {.repair = repair, .found = check_rig_found, .ctx = k};
	memset(k->found, 0, sizeof(k->found));
	k->text[0] = k->rig->why.text[0] = '\0';
	check_rig_open(k, !repair);
	int ret = fs_check(k->rig->v, &o, &k->result, &k->rig->why);
	check_rig_close(k);
	return ret;
}

static inline void check_rig_run(struct check_rig *k, bool repair)
{
	int ret = check_rig_try(k, repair);
	if (ret < 0)
		fail_msg("check: %d (%s)\n%s", ret, k->rig->why.text, k->text);
}

/* Found, mended, not found any more, and it can be mounted. */
static inline void check_rig_mends(struct check_rig *k, enum check_kind kind)
{
	check_rig_run(k, false);
	if (!k->found[kind])
		fail_msg("%s was not found:\n%s", check_kind_name(kind), k->text);
	check_rig_run(k, true);
	if (!k->found[kind] || k->result.remaining)
		fail_msg("%llu are left:\n%s", (unsigned long long)k->result.remaining, k->text);
	char mended[sizeof(k->text)];
	memcpy(mended, k->text, sizeof(mended));
	check_rig_run(k, false);
	if (k->result.problems)
		fail_msg("after\n%sthere is\n%s", mended, k->text);
	rig_mount(k->rig);
}

#endif
