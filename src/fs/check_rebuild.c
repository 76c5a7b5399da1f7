/* SPDX-License-Identifier: MIT */
/* A database that SQLite calls damaged is copied, row by row, as far as rows can be read, into one
 * in memory, which then takes its place.
 *
 * Each table is read from both ends until something cannot be read, and what is between is halved
 * and tried again: a leaf that is lost costs its own rows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "base/mem.h"
#include "fs/area_replace.h"
#include "fs/check_internal.h"
#include "fs/schema.h"

#define PROBES_MAX 2000u /* in a row, that find nothing */
#define DEPTH_MAX  256u

typedef unsigned __int128 key128;

static const struct table {
	const char *name, *forward, *backward, *insert;
	unsigned columns, keys;
} tables[] = {
	{"inode", "SELECT * FROM inode WHERE ino >= ?1 ORDER BY ino",
		"SELECT * FROM inode WHERE ino <= ?1 ORDER BY ino DESC",
		"INSERT OR IGNORE INTO inode VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
		"?14)",
		14, 1},
	{"dirent",
		"SELECT * FROM dirent WHERE (parent, cookie) >= (?1, ?2) ORDER BY parent, cookie",
		"SELECT * FROM dirent WHERE (parent, cookie) <= (?1, ?2)"
		" ORDER BY parent DESC, cookie DESC",
		"INSERT OR IGNORE INTO dirent VALUES(?1,?2,?3,?4,?5)", 5, 2},
	{"symlink", "SELECT * FROM symlink WHERE ino >= ?1 ORDER BY ino",
		"SELECT * FROM symlink WHERE ino <= ?1 ORDER BY ino DESC",
		"INSERT OR IGNORE INTO symlink VALUES(?1,?2)", 2, 1},
	{"xattr", "SELECT * FROM xattr WHERE ino >= ?1 ORDER BY ino",
		"SELECT * FROM xattr WHERE ino <= ?1 ORDER BY ino DESC",
		"INSERT OR IGNORE INTO xattr VALUES(?1,?2,?3)", 3, 1},
	{"extent",
		"SELECT * FROM extent WHERE (ino, file_block) >= (?1, ?2) ORDER BY ino, file_block",
		"SELECT * FROM extent WHERE (ino, file_block) <= (?1, ?2)"
		" ORDER BY ino DESC, file_block DESC",
		"INSERT OR IGNORE INTO extent VALUES(?1,?2,?3,?4,?5)", 5, 2},
};

struct copy {
	struct check *c;
	sqlite3 *into; /* owned */
	const struct table *table;
	sqlite3_stmt *insert, *forward, *backward; /* owned */
	uint64_t probes;                           /* since something was found */
};

/* ---- one row ---- */

static key128 key_of(const struct table *t, sqlite3_stmt *row)
{
	key128 key = (key128)(uint64_t)sqlite3_column_int64(row, 0) << 64;
	return t->keys > 1 ? key | (uint64_t)sqlite3_column_int64(row, 1) : key;
}

static bool key_is_good(const struct table *t, sqlite3_stmt *row)
{
	for (unsigned i = 0; i < t->keys; i++) {
		if (sqlite3_column_type(row, (int)i) != SQLITE_INTEGER ||
			sqlite3_column_int64(row, (int)i) < 0)
			return false;
	}
	return true;
}

static int row_copy(struct copy *k, sqlite3_stmt *row)
{
	if (!key_is_good(k->table, row))
		return 0;
	for (unsigned i = 0; i < k->table->columns; i++)
		(void)sqlite3_bind_value(k->insert, (int)i + 1, sqlite3_column_value(row, (int)i));
	int code = sqlite3_step(k->insert);
	sqlite3_reset(k->insert);
	int ret = code == SQLITE_DONE ? 0 : db_errno(code);
	k->probes = 0;
	return ret < 0 ? ret : check_step(k->c);
}

/* ---- a range of keys ---- */

struct span {
	key128 from, to; /* both are part of it */
};

/* Rows from one end, as far as they can be read: what is left is in @span. 0: nothing is; 1: from
 * there on it is damaged. */
static int end_copy(struct copy *k, struct span *span, bool forward)
{
	sqlite3_stmt *stmt = forward ? k->forward : k->backward;
	key128 start = forward ? span->from : span->to;
	int ret = check_bind(
		stmt, k->table->keys > 1 ? "uu" : "u", (uint64_t)(start >> 64), (uint64_t)start);
	k->probes++;
	while (ret == 0 && (ret = check_next(k->c, stmt)) > 0) {
		key128 key = key_of(k->table, stmt);
		bool beyond = forward ? key > span->to : key < span->from;
		bool astray = forward ? key < span->from : key > span->to;
		ret = astray ? -EUCLEAN : 0;
		if (ret < 0 || beyond)
			break;
		ret = row_copy(k, stmt);
		if (forward)
			span->from = key;
		else
			span->to = key;
	}
	sqlite3_reset(stmt);
	return ret == -EUCLEAN ? 1 : ret;
}

/* The middle, in units of the first key where it is the only one. */
static key128 middle(const struct table *t, const struct span *s)
{
	key128 unit = t->keys > 1 ? 1 : (key128)1 << 64;
	return s->from + (s->to - s->from) / 2 / unit * unit;
}

static int span_copy(struct copy *k, struct span whole)
{
	struct span stack[DEPTH_MAX];
	unsigned depth = 0;
	key128 unit = k->table->keys > 1 ? 1 : (key128)1 << 64;
	stack[depth++] = whole;
	while (depth > 0) {
		struct span s = stack[--depth];
		int ret = end_copy(k, &s, true);
		if (ret > 0)
			ret = end_copy(k, &s, false);
		if (ret < 0)
			return ret;
		if (ret == 0 || s.to <= s.from + unit || k->probes > PROBES_MAX ||
			depth + 2 > DEPTH_MAX)
			continue;
		key128 mid = middle(k->table, &s);
		stack[depth++] = (struct span){mid, s.to};
		stack[depth++] = (struct span){s.from + unit, mid - (mid > s.from ? unit : 0)};
	}
	return 0;
}

/* ---- a table ---- */

/* Only what was made by our own words is read: no view, no virtual table, no other columns. */
static bool table_is_ours(struct check *c, const char *name)
{
	sqlite3_stmt *stmt = NULL;
	bool ours = false;
	if (check_prepare(c, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1",
		    &stmt) == 0 &&
		check_bind(stmt, "z", name) == 0 && check_next(c, stmt) > 0) {
		const char *sql = (const char *)sqlite3_column_text(stmt, 0);
		const char *at = sql ? strstr(schema_sql, sql) : NULL;
		ours = at && at[strlen(sql)] == ';';
	}
	sqlite3_finalize(stmt);
	return ours;
}

static int table_copy(struct copy *k, const struct table *t)
{
	struct span all = {(key128)1 << 64, ((key128)INT64_MAX << 64) | INT64_MAX};
	if (!table_is_ours(k->c, t->name)) {
		check_found(k->c, CHECK_SCHEMA, 0, NULL, "table %s is lost", t->name);
		return 0;
	}
	k->table = t;
	k->probes = 0;
	if (t->keys == 1)
		all.to = (key128)INT64_MAX << 64;
	int ret = db_errno(sqlite3_prepare_v2(k->into, t->insert, -1, &k->insert, NULL));
	if (ret == 0)
		ret = check_prepare(k->c, t->forward, &k->forward);
	if (ret == 0)
		ret = check_prepare(k->c, t->backward, &k->backward);
	if (ret == 0)
		ret = span_copy(k, all);
	sqlite3_finalize(k->insert);
	sqlite3_finalize(k->forward);
	sqlite3_finalize(k->backward);
	k->insert = k->forward = k->backward = NULL;
	return ret;
}

/* Three keys; those that cannot be read are found missing later. */
static int meta_copy(struct copy *k)
{
	static const char *const names[] = {"hash_key", "inodes", "next_ino"};
	int ret = table_is_ours(k->c, "meta") ? 1 : 0;
	for (unsigned i = 0; ret > 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		char sql[128];
		uint64_t value = 0;
		int there = check_run(k->c, &value,
			"SELECT value FROM meta WHERE key = ?1 AND typeof(value) = 'integer'", "z",
			names[i]);
		if (there <= 0)
			continue;
		snprintf(sql, sizeof(sql), "INSERT INTO meta VALUES('%s', %lld)", names[i],
			(long long)value);
		if (sqlite3_exec(k->into, sql, NULL, NULL, NULL) != SQLITE_OK)
			ret = -ENOMEM;
	}
	return ret < 0 ? ret : 0;
}

/* ---- the new database ---- */

static int fresh_open(sqlite3 **out)
{
	int trailer = AREA_TRAILER_BYTES;
	char versions[128];
	snprintf(versions, sizeof(versions), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
		SCHEMA_APPLICATION_ID, SCHEMA_VERSION);
	int code = sqlite3_open_v2(":memory:", out,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(*out, "PRAGMA page_size=4096;", NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_file_control(*out, "main", SQLITE_FCNTL_RESERVE_BYTES, &trailer);
	if (code == SQLITE_OK)
		code = sqlite3_exec(*out, schema_sql, NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(*out, versions, NULL, NULL, NULL);
	return db_errno(code);
}

/* Its bytes, as a file that is in write-ahead mode (file format, section 1.3.3). */
static int fresh_image(sqlite3 *db, uint8_t **out, uint64_t *len)
{
	sqlite3_int64 size = 0;
	unsigned char *bytes = sqlite3_serialize(db, "main", &size, 0);
	*out = bytes && size > 0 ? mem_alloc_blocks((size_t)size) : NULL;
	if (*out) {
		memcpy(*out, bytes, (size_t)size);
		(*out)[18] = (*out)[19] = 2;
		*len = (uint64_t)size;
	}
	sqlite3_free(bytes);
	return *out ? 0 : -ENOMEM;
}

static int copy_all(struct copy *k)
{
	int ret = fresh_open(&k->into);
	if (ret == 0)
		ret = db_errno(sqlite3_exec(k->into, "BEGIN", NULL, NULL, NULL));
	if (ret == 0)
		ret = meta_copy(k);
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]) && ret == 0; i++)
		ret = table_copy(k, &tables[i]);
	if (ret == 0)
		ret = db_errno(sqlite3_exec(k->into, "COMMIT", NULL, NULL, NULL));
	return ret;
}

static uint64_t salt_draw(const struct area_layout *layout)
{
	uint64_t salt = layout->salt * UINT64_C(0x9E3779B97F4A7C15) + layout->sequence;
	uint64_t drawn;
	return getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn) ? drawn : salt;
}

/* The first page is lost on all members: the one of an empty database of the same tables leads to
 * the same trees, since they are made in the same order. */
static int open_by_fresh_page(struct check *c, struct errmsg *why)
{
	sqlite3 *fresh = NULL;
	uint8_t *image = NULL;
	uint64_t len = 0;
	struct sysarea *area = volume_sysarea(c->volume);
	int ret = fresh_open(&fresh);
	if (ret == 0)
		ret = fresh_image(fresh, &image, &len);
	sqlite3_close(fresh);
	db_close(&c->db);
	if (ret == 0)
		ret = db_open_unchecked(&c->db, area, image, why);
	free(image);
	return ret;
}

int check_rebuild(struct check *c, struct errmsg *why)
{
	struct copy k = {.c = c};
	struct area_replace r = {.area = volume_sysarea(c->volume)};
	int ret = c->db.handle && c->db.opened ? 0 : open_by_fresh_page(c, why);
	if (ret == 0)
		ret = copy_all(&k);
	if (ret == 0)
		ret = fresh_image(k.into, &r.image, &r.image_bytes);
	sqlite3_close(k.into);
	if (ret == 0) {
		r.layout = *area_vfs_layout(c->db.vfs);
		r.used_bytes = area_vfs_database_bytes(c->db.vfs);
		r.salt = salt_draw(&r.layout);
		db_close(&c->db);
		ret = area_replace(&r, why);
	}
	free(r.image);
	if (ret == 0)
		ret = db_open_unchecked(&c->db, r.area, NULL, why);
	return ret < 0 ? errmsg_set(why, ret, "the database cannot be copied") : 0;
}
