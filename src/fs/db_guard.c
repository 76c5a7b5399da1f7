/* SPDX-License-Identifier: MIT */
/* The bounds that are set to SQLite.
 *
 * Reading a schema runs nothing of it: views, triggers, defaults, expressions of indexes come to
 * life in statements alone. So a handle is confined first, its schema compared second, and only
 * then are statements made. No limit of the heap is set: it would be the whole process's, and
 * everything that a row can make SQLite hold is bounded by the limits here. */
#include "fs/db_guard.h"

#include <errno.h>
#include <stdbool.h>
#include <pthread.h>
#include <string.h>
#include "fs/area_disk.h"
#include "fs/db.h"
#include "fs/schema.h"

/* The longest row: an attribute of 64 KiB, and what stands beside it. */
#define LENGTH_MAX 131072

static const struct {
	int op, on;
} switches[] = {
	{SQLITE_DBCONFIG_DEFENSIVE, 1},
	{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
	{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
	{SQLITE_DBCONFIG_ENABLE_VIEW, 0},
	{SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
	{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
	{SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
	{SQLITE_DBCONFIG_DQS_DDL, 0},
	{SQLITE_DBCONFIG_DQS_DML, 0},
};

static const struct {
	int id, value;
} limits[] = {
	{SQLITE_LIMIT_LENGTH, LENGTH_MAX},
	{SQLITE_LIMIT_SQL_LENGTH, 8192},
	{SQLITE_LIMIT_COLUMN, 32},
	{SQLITE_LIMIT_EXPR_DEPTH, 32},
	{SQLITE_LIMIT_COMPOUND_SELECT, 8},
	{SQLITE_LIMIT_VDBE_OP, 65536},
	{SQLITE_LIMIT_FUNCTION_ARG, 8},
	{SQLITE_LIMIT_ATTACHED, 0},
	{SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64},
	{SQLITE_LIMIT_VARIABLE_NUMBER, 32},
	{SQLITE_LIMIT_TRIGGER_DEPTH, 1},
	{SQLITE_LIMIT_WORKER_THREADS, 0},
};

int db_guard_config(sqlite3 *handle)
{
	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		(void)sqlite3_db_config(handle, switches[i].op, switches[i].on, NULL);
	for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		(void)sqlite3_limit(handle, limits[i].id, limits[i].value);
	return db_errno(sqlite3_exec(
		handle, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;", NULL, NULL, NULL));
}

/* ---- the schema ---- */

static const char list_sql[] = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
			       " ORDER BY type, name, rowid";
#define LIST_COLUMNS 4

static bool same_text(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
	const char *x = (const char *)sqlite3_column_text(a, column);
	const char *y = (const char *)sqlite3_column_text(b, column);
	return x && y ? strcmp(x, y) == 0 : x == y;
}

/* Both step side by side, to the end of both. 0, -EUCLEAN, or -errno. */
static int lists_compare(sqlite3_stmt *here, sqlite3_stmt *wanted)
{
	for (;;) {
		int a = sqlite3_step(here), b = sqlite3_step(wanted);
		if (b != SQLITE_ROW && b != SQLITE_DONE)
			return -ENOMEM;
		if (a != SQLITE_ROW && a != SQLITE_DONE)
			return db_errno(sqlite3_extended_errcode(sqlite3_db_handle(here)));
		if (a != b)
			return -EUCLEAN;
		if (a == SQLITE_DONE)
			return 0;
		for (int column = 0; column < LIST_COLUMNS; column++) {
			if (!same_text(here, wanted, column))
				return -EUCLEAN;
		}
	}
}

/* What schema.c makes of an empty database: made once, for all that are opened. */
static pthread_mutex_t fresh_lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3 *fresh;
static sqlite3_stmt *fresh_list;

static int fresh_make(void)
{
	int code = sqlite3_open_v2(":memory:", &fresh,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(fresh, schema_sql, NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(fresh, list_sql, -1, &fresh_list, NULL);
	if (code == SQLITE_OK)
		return 0;
	sqlite3_close(fresh);
	fresh = NULL;
	return db_errno(code);
}

/* That is what must be here. */
static int tables_compare(sqlite3 *handle)
{
	sqlite3_stmt *here = NULL;
	int ret = db_errno(sqlite3_prepare_v2(handle, list_sql, -1, &here, NULL));
	pthread_mutex_lock(&fresh_lock);
	if (ret == 0 && !fresh)
		ret = fresh_make();
	if (ret == 0) {
		ret = lists_compare(here, fresh_list);
		sqlite3_reset(fresh_list);
	}
	pthread_mutex_unlock(&fresh_lock);
	sqlite3_finalize(here);
	return ret;
}

static int number_of(sqlite3 *handle, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL);
	if (code == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	else if (code == SQLITE_OK)
		code = sqlite3_extended_errcode(handle);
	sqlite3_finalize(stmt);
	return db_errno(code);
}

static bool text_is(sqlite3 *handle, const char *sql, const char *wanted)
{
	sqlite3_stmt *stmt = NULL;
	const char *text = NULL;
	if (sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL) == SQLITE_OK &&
		sqlite3_step(stmt) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(stmt, 0);
	bool same = text && strcmp(text, wanted) == 0;
	sqlite3_finalize(stmt);
	return same;
}

/* A rollback journal would not survive a crash here, and other pages cannot be sealed. */
static bool form_is_ours(sqlite3 *handle)
{
	int64_t page = 0, vacuum = 1;
	int reserved = -1;
	return number_of(handle, "PRAGMA page_size", &page) == 0 && page == AREA_PAGE_BYTES &&
	       number_of(handle, "PRAGMA auto_vacuum", &vacuum) == 0 && vacuum == 0 &&
	       sqlite3_file_control(handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved) ==
		       SQLITE_OK &&
	       reserved == (int)AREA_TRAILER_BYTES && text_is(handle, "PRAGMA encoding", "UTF-8") &&
	       text_is(handle, "PRAGMA journal_mode", "wal");
}

int db_guard_schema(sqlite3 *handle, struct errmsg *why)
{
	int64_t application = 0, version = 0;
	int ret = number_of(handle, "PRAGMA application_id", &application);
	if (ret == 0)
		ret = number_of(handle, "PRAGMA user_version", &version);
	if (ret < 0)
		return errmsg_set(why, ret, "the database is damaged (%s): see stablefs fsck",
			sqlite3_errmsg(handle));
	if (application != SCHEMA_APPLICATION_ID || version < 1)
		return errmsg_set(why, -EUCLEAN, "the system area holds no file system");
	if (version != SCHEMA_VERSION)
		return errmsg_set(why, -EPROTONOSUPPORT,
			"the file system has schema %d, this program knows %d", (int)version,
			SCHEMA_VERSION);
	if (!form_is_ours(handle))
		return errmsg_set(why, -EUCLEAN,
			"the database is not of the form of a file system: see stablefs fsck");
	ret = tables_compare(handle);
	return ret < 0 ? errmsg_set(why, ret,
				 "the tables of the database are not those of a file system: see"
				 " stablefs fsck")
		       : 0;
}

/* ---- statements ---- */

static bool is_known_function(const char *name)
{
	static const char *const known[] = {"count", "sum", "min", "max", "length", "typeof"};
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(name, known[i]) == 0)
			return true;
	}
	return false;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *database,
	const char *inner)
{
	if (inner) /* from within a view or trigger */
		return SQLITE_DENY;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
	case SQLITE_PRAGMA:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return b && is_known_function(b) ? SQLITE_OK : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

int db_guard_statements(sqlite3 *handle)
{
	return db_errno(sqlite3_set_authorizer(handle, authorize, NULL));
}
