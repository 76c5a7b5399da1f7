/* SPDX-License-Identifier: MIT */
/* The order of a check:
 *
 *	system area -> what SQLite says, and the schema --damaged--> (repair) copy what is readable
 *	-> rows one by one -> blocks that are shared -> names and owners -> the tree -> numbers
 *	-> (repair) open and close it as a mount does, which reclaims orphans; look once more
 *
 * Each part relies on what the ones before it have put right, so a repair does more in one go than
 * a look finds. */
#include "fs/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "fs/area_scrub.h"
#include "fs/check_internal.h"
#include "fs/db_guard.h"

#define STEP_ROWS 4096u

const char *check_kind_name(enum check_kind kind)
{
	static const char *const names[CHECK_KINDS] = {[CHECK_AREA] = "area",
		[CHECK_DATABASE] = "database",
		[CHECK_SCHEMA] = "schema",
		[CHECK_META] = "meta",
		[CHECK_INODE] = "inode",
		[CHECK_ENTRY] = "entry",
		[CHECK_UNREACHABLE] = "unreachable",
		[CHECK_LINKS] = "links",
		[CHECK_PARENT] = "parent",
		[CHECK_BLOCKS] = "blocks",
		[CHECK_EXTENT] = "extent",
		[CHECK_SHARED] = "shared",
		[CHECK_SYMLINK] = "symlink",
		[CHECK_XATTR] = "xattr",
		[CHECK_ORPHAN] = "orphan"};
	return names[kind];
}

/* ---- statements ---- */

int check_prepare(struct check *c, const char *sql, sqlite3_stmt **out)
{
	return db_errno(sqlite3_prepare_v2(c->db.handle, sql, -1, out, NULL));
}

static int bind_args(sqlite3_stmt *stmt, const char *format, va_list args)
{
	for (int i = 1; *format; i++, format++) {
		int code;
		if (*format == 'b') {
			const void *bytes = va_arg(args, const void *);
			code = sqlite3_bind_blob64(
				stmt, i, bytes, va_arg(args, size_t), SQLITE_TRANSIENT);
		} else if (*format == 'z') {
			code = sqlite3_bind_text(
				stmt, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
		} else {
			code = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
		}
		if (code != SQLITE_OK)
			return db_errno(code);
	}
	return 0;
}

int check_bind(sqlite3_stmt *stmt, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int ret = bind_args(stmt, format, args);
	va_end(args);
	return ret;
}

int check_next(struct check *c, sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 : db_errno(sqlite3_extended_errcode(c->db.handle));
}

int check_run(struct check *c, uint64_t *number, const char *sql, const char *format, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list args;
	int ret = check_prepare(c, sql, &stmt);
	va_start(args, format);
	if (ret == 0)
		ret = bind_args(stmt, format, args);
	va_end(args);
	if (ret == 0)
		ret = check_next(c, stmt);
	if (ret > 0 && number)
		*number = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return ret;
}

/* ---- findings ---- */

/* The name that the inode remembers, in front of what is at path[*at]. Returns the directory's
 * number, 0 where the way ends. */
static uint64_t path_step(struct check *c, uint64_t ino, char *path, size_t *at)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t parent = 0;
	if (check_prepare(c,
		    "SELECT d.name, d.parent FROM inode i JOIN dirent d"
		    " ON d.parent = i.parent AND d.cookie = i.cookie AND d.ino = i.ino"
		    " WHERE i.ino = ?1",
		    &stmt) == 0 &&
		check_bind(stmt, "u", ino) == 0 && check_next(c, stmt) > 0) {
		struct row_reader row = {.stmt = stmt};
		size_t len;
		const void *name = row_blob(&row, 0, "name", 1, FS_NAME_MAX, &len);
		if (name && *at > len) {
			*at -= len + 1;
			path[*at] = '/';
			memcpy(path + *at + 1, name, len);
			parent = row_u64(&row, 1, "parent", 0, FS_INO_MAX);
		}
	}
	sqlite3_finalize(stmt);
	return parent;
}

/* From the root, or as much of the end of it as is known. NULL: nothing is. */
static const char *path_of(struct check *c, uint64_t ino, char path[CHECK_PATH_BYTES])
{
	size_t at = CHECK_PATH_BYTES - 4;
	memset(path + at, 0, 4);
	if (ino == FS_ROOT_INO)
		return "/";
	unsigned depth = 0;
	while (ino && ino != FS_ROOT_INO && depth++ < 256)
		ino = path_step(c, ino, path, &at);
	if (!path[at])
		return NULL;
	if (ino != FS_ROOT_INO && at >= 3)
		memcpy(path + (at -= 3), "...", 3);
	return path + at;
}

void check_found(
	struct check *c, enum check_kind kind, uint64_t ino, const char *done, const char *fmt, ...)
{
	char what[CHECK_WHAT_BYTES], path[CHECK_PATH_BYTES];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	struct check_finding f = {.kind = kind, .ino = ino, .what = what};
	f.path = ino && c->db.handle ? path_of(c, ino, path) : NULL;
	f.done = c->repair ? done : NULL;
	if (kind == CHECK_ORPHAN)
		c->out->orphans++;
	else
		c->out->problems++;
	c->out->mended += f.done && kind != CHECK_ORPHAN;
	if (c->options->found)
		c->options->found(c->options->ctx, &f);
}

int check_step(struct check *c)
{
	const struct check_options *o = c->options;
	if (++c->rows_done % STEP_ROWS != 0 || !o->progress)
		return 0;
	uint64_t total = max_u64(c->rows_total, c->rows_done);
	return o->progress(o->ctx, c->rows_done, total) ? 0 : -ECANCELED;
}

/* ---- the system area ---- */

static void area_say(struct check *c)
{
	const struct scrub_area *a = &c->out->area;
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (a->wrong[i])
			check_found(c, CHECK_AREA, 0, "written back from another member",
				"member %u: %llu pages of its copy of the system area are damaged",
				i, (unsigned long long)a->wrong[i]);
	}
	if (a->lost)
		check_found(c, CHECK_AREA, 0, NULL,
			"%llu pages of the system area are damaged on all members",
			(unsigned long long)a->lost);
}

int check_area(struct check *c)
{
	uint64_t at = 0;
	int ret = 1;
	while (ret > 0)
		ret = area_scrub_step(c->db.vfs, c->repair, &at, &c->out->area);
	if (ret == 0)
		area_say(c);
	return ret;
}

/* ---- what SQLite says ---- */

/* Its findings, a line each. 1: there are some. */
static int integrity(struct check *c)
{
	sqlite3_stmt *stmt = NULL;
	int ret = check_prepare(c, "PRAGMA integrity_check(100)", &stmt), bad = 0;
	while (ret == 0 && (ret = check_next(c, stmt)) > 0) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);
		ret = 0;
		if (text && strcmp(text, "ok") == 0)
			continue;
		bad = 1;
		check_found(c, CHECK_DATABASE, 0, "copied what can be read", "the database: %.400s",
			text ? text : "?");
	}
	if (ret == -EUCLEAN) {
		bad = 1;
		check_found(c, CHECK_DATABASE, 0, "copied what can be read", "the database: %s",
			sqlite3_errmsg(c->db.handle));
		ret = 0;
	}
	sqlite3_finalize(stmt);
	return ret < 0 ? ret : bad;
}

int check_database(struct check *c)
{
	struct errmsg why = {0};
	int bad = 0, ret = db_guard_schema(c->db.handle, &why);
	if (ret == -EUCLEAN) {
		bad = 1;
		check_found(c, CHECK_SCHEMA, 0, "copied what can be read", "%s", why.text);
	} else if (ret < 0) {
		return ret;
	}
	ret = integrity(c);
	return ret < 0 ? ret : ret | bad;
}

/* ---- figures of the whole ---- */

static int meta_put(struct check *c, const char *key, uint64_t value)
{
	return check_run(c, NULL, "INSERT OR REPLACE INTO meta VALUES(?1, ?2)", "zu", key, value);
}

/* A number that must be as @wanted, or between that and @most; where not it becomes @wanted. */
static int meta_check(struct check *c, const char *key, uint64_t wanted, uint64_t most)
{
	uint64_t value = 0, type = 0;
	int ret = check_run(c, &value, "SELECT value FROM meta WHERE key = ?1", "z", key);
	if (ret > 0)
		ret = check_run(c, &type,
			"SELECT count(*) FROM meta WHERE key = ?1 AND typeof(value) = 'integer'",
			"z", key);
	if (ret < 0)
		return ret;
	if (type && value >= wanted && value <= most)
		return 0;
	check_found(c, CHECK_META, 0, "set right", "meta: %s is %s, not %llu", key,
		!type          ? "no number"
		: value > most ? "too great"
			       : "too small",
		(unsigned long long)wanted);
	return c->repair ? meta_put(c, key, wanted) : 0;
}

/* Without the key of the hash no cookie can be right: a new one is drawn from the volume's. */
static int hash_key_load(struct check *c)
{
	uint64_t good = 0;
	int ret = check_run(c, &good,
		"SELECT count(*) FROM meta WHERE key = 'hash_key' AND typeof(value) = 'integer'"
		" AND value >= 0",
		"");
	if (ret > 0 && good)
		return check_run(c, &c->hash_key, "SELECT value FROM meta WHERE key = 'hash_key'",
			       "") < 0
			       ? -EIO
			       : 0;
	if (ret < 0)
		return ret;
	c->hash_key = area_vfs_layout(c->db.vfs)->salt >> 1;
	check_found(
		c, CHECK_META, 0, "a new one drawn", "meta: the key of the hash of names is lost");
	return c->repair ? meta_put(c, "hash_key", c->hash_key) : 0;
}

int check_meta(struct check *c)
{
	uint64_t inodes = 0, last = 0;
	int ret = check_run(c, &inodes, "SELECT count(*) FROM inode", "");
	if (ret > 0)
		ret = check_run(c, &last, "SELECT max(ino) FROM inode", "");
	if (ret > 0)
		ret = meta_check(c, "inodes", inodes, inodes);
	if (ret >= 0)
		ret = meta_check(
			c, "next_ino", last + 1, min_u64(last + FS_INO_GAP_MAX, FS_INO_MAX + 1));
	return ret < 0 ? ret : 0;
}

/* ---- all of it ---- */

static int totals(struct check *c)
{
	int ret = check_run(c, &c->out->inodes, "SELECT count(*) FROM inode", "");
	if (ret > 0)
		ret = check_run(c, &c->out->entries, "SELECT count(*) FROM dirent", "");
	if (ret > 0)
		ret = check_run(c, &c->out->extents, "SELECT count(*) FROM extent", "");
	c->out->total_blocks = c->volume_blocks;
	c->rows_total = 2 * (c->out->inodes + c->out->entries + c->out->extents);
	return ret < 0 ? ret : 0;
}

static int part(struct check *c, int ret)
{
	if (ret == 0 && c->repair)
		ret = fixes_apply(c);
	return ret;
}

static int check_content(struct check *c)
{
	int ret = totals(c);
	if (ret == 0)
		ret = hash_key_load(c);
	ret = ret < 0 ? ret : part(c, check_rows(c));
	ret = ret < 0 ? ret : part(c, check_shared(c));
	if (c->repair) {
		ret = ret < 0 ? ret : part(c, check_census(c, CENSUS_THINGS));
		ret = ret < 0 ? ret : part(c, check_tree(c));
		ret = ret < 0 ? ret : part(c, check_census(c, CENSUS_COUNTS));
	} else {
		ret = ret < 0 ? ret : check_census(c, CENSUS_THINGS | CENSUS_COUNTS);
		ret = ret < 0 ? ret : check_tree(c);
	}
	ret = ret < 0 ? ret : check_meta(c);
	if (ret == 0 && c->repair)
		ret = check_commit(c);
	return ret;
}

static int check_parts(struct check *c, struct errmsg *why)
{
	int ret = check_area(c);
	if (ret == 0)
		ret = check_database(c);
	if (ret == 1 && !c->repair) {
		c->out->incomplete = true;
		return 0;
	}
	if (ret == 1)
		ret = check_rebuild(c, why);
	if (ret == 0)
		ret = check_content(c);
	return ret;
}

static void check_begin(struct check *c, struct volume *v, const struct check_options *options,
	struct check_result *out)
{
	*c = (struct check){.volume = v,
		.options = options,
		.out = out,
		.repair = options->repair,
		.volume_blocks = volume_blocks(v)};
	*out = (struct check_result){0};
}

static int check_once(struct volume *v, const struct check_options *options,
	struct check_result *out, struct errmsg *why)
{
	struct check c;
	check_begin(&c, v, options, out);
	int ret = db_open_unchecked(&c.db, volume_sysarea(v), NULL, why);
	if (ret == -EUCLEAN && c.repair && c.db.vfs) {
		check_found(&c, CHECK_DATABASE, 0, "copied what can be read",
			"the database cannot be opened");
		ret = check_rebuild(&c, why);
		if (ret == 0)
			ret = check_content(&c);
	} else if (ret == -EUCLEAN && c.db.vfs) {
		check_found(&c, CHECK_DATABASE, 0, NULL, "the database cannot be opened");
		out->incomplete = true;
		ret = 0;
	} else if (ret == 0) {
		ret = check_parts(&c, why);
	}
	free(c.fixes.list);
	if (ret < 0 && c.db.handle)
		errmsg_set(why, ret, "%s (%s)", strerror(-ret), sqlite3_errmsg(c.db.handle));
	int closed = db_close(&c.db);
	out->remaining = out->problems;
	return ret < 0 ? ret : options->repair ? closed : 0;
}

/* As a mount would: what was unlinked while open is reclaimed, and it must open. */
static int reclaim(struct volume *v, struct errmsg *why)
{
	struct fs *fs;
	struct fs_options options = {0};
	int ret = fs_open(v, &options, &fs, why);
	return ret < 0 ? ret : fs_close(fs);
}

int fs_check(struct volume *v, const struct check_options *options, struct check_result *out,
	struct errmsg *why)
{
	int ret = check_once(v, options, out, why);
	if (ret < 0 || !options->repair || (!out->problems && !out->orphans))
		return ret;
	ret = reclaim(v, why);
	if (ret < 0 && ret != -EUCLEAN)
		return ret;
	struct check_result again;
	struct check_options look = {.progress = options->progress, .ctx = options->ctx};
	ret = check_once(v, &look, &again, why);
	out->remaining = again.problems;
	return ret;
}
