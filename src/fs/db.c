/* SPDX-License-Identifier: MIT */
/* SQLite's connection and statements. */
#include "fs/db.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/block.h"
#include "base/log.h"
#include "fs/db_guard.h"
#include "fs/row.h"
#include "fs/schema.h"

#define FRAME_BYTES (AREA_PAGE_BYTES + 24u)

/* One operation changes no more pages than that (a 64 KiB attribute and the trees around it). */
#define OPERATION_PAGES 48u

static const char *const texts[DB_STATEMENTS] = {
	[DB_BEGIN] = "BEGIN IMMEDIATE",
	[DB_COMMIT] = "COMMIT",
	[DB_SAVEPOINT] = "SAVEPOINT op",
	[DB_RELEASE] = "RELEASE op",
	[DB_ROLLBACK_TO] = "ROLLBACK TO op",
	[DB_PAGE_COUNT] = "PRAGMA page_count",
	[DB_FREELIST_COUNT] = "PRAGMA freelist_count",
	[DB_INODE_GET] = "SELECT " ROW_INODE " FROM inode WHERE ino = ?1",
	[DB_INODE_PUT] = "INSERT OR REPLACE INTO inode VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
			 " ?10, ?11, ?12, ?13, ?14)",
	[DB_INODE_DELETE] = "DELETE FROM inode WHERE ino = ?1",
	[DB_INODE_ORPHANS] = "SELECT ino FROM inode WHERE nlink = 0 ORDER BY ino LIMIT 1",
	[DB_INODE_MAX] = "SELECT ino FROM inode ORDER BY ino DESC LIMIT 1",
	[DB_DIRENT_GET] = "SELECT " ROW_DIRENT " FROM dirent"
			  " WHERE parent = ?1 AND cookie BETWEEN ?2 AND ?3 ORDER BY cookie",
	[DB_DIRENT_AT] = "SELECT " ROW_DIRENT " FROM dirent WHERE parent = ?1 AND cookie = ?2",
	[DB_DIRENT_LIST] = "SELECT " ROW_DIRENT " FROM dirent"
			   " WHERE parent = ?1 AND cookie > ?2 ORDER BY cookie LIMIT ?3",
	[DB_DIRENT_PUT] = "INSERT INTO dirent VALUES(?1, ?2, ?3, ?4, ?5)",
	[DB_DIRENT_DELETE] = "DELETE FROM dirent WHERE parent = ?1 AND cookie = ?2",
	[DB_DIRENT_OF] = "SELECT parent, cookie FROM dirent WHERE ino = ?1 LIMIT 1",
	[DB_SYMLINK_GET] = "SELECT target FROM symlink WHERE ino = ?1",
	[DB_SYMLINK_PUT] = "INSERT INTO symlink VALUES(?1, ?2)",
	[DB_SYMLINK_DELETE] = "DELETE FROM symlink WHERE ino = ?1",
	[DB_XATTR_GET] = "SELECT value FROM xattr WHERE ino = ?1 AND name = ?2",
	[DB_XATTR_LIST] = "SELECT name FROM xattr WHERE ino = ?1 ORDER BY name",
	[DB_XATTR_PUT] = "INSERT OR REPLACE INTO xattr VALUES(?1, ?2, ?3)",
	[DB_XATTR_COPY] = "INSERT OR REPLACE INTO xattr"
			  " SELECT ?1, name, value FROM xattr WHERE ino = ?2 AND name = ?3",
	[DB_XATTR_DELETE] = "DELETE FROM xattr WHERE ino = ?1 AND name = ?2",
	[DB_XATTR_DELETE_ALL] = "DELETE FROM xattr WHERE ino = ?1",
	[DB_EXTENT_OF] = "SELECT " ROW_EXTENT " FROM extent"
			 " WHERE ino = ?1 AND file_block >= ?2 ORDER BY file_block",
	[DB_EXTENT_BEFORE] = "SELECT " ROW_EXTENT " FROM extent"
			     " WHERE ino = ?1 AND file_block < ?2 ORDER BY file_block DESC LIMIT 1",
	[DB_EXTENT_PUT] = "INSERT INTO extent VALUES(?1, ?2, ?3, ?4, ?5)",
	[DB_EXTENT_DELETE] = "DELETE FROM extent"
			     " WHERE ino = ?1 AND file_block >= ?2 AND file_block < ?3",
	[DB_EXTENT_TAIL] = "SELECT " ROW_EXTENT " FROM extent WHERE ino = ?1"
			   " ORDER BY file_block DESC LIMIT ?2",
	[DB_EXTENT_ALL] = "SELECT " ROW_EXTENT " FROM extent",
	[DB_EXTENT_AT] = "SELECT volume_block FROM extent WHERE volume_block <= ?1"
			 " ORDER BY volume_block DESC LIMIT 1",
	[DB_EXTENT_FROM] = "SELECT " ROW_EXTENT " FROM extent"
			   " WHERE volume_block >= ?1 AND volume_block < ?2 ORDER BY volume_block",
	[DB_META_GET] = "SELECT value FROM meta WHERE key = ?1",
	[DB_META_PUT] = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)",
};

int db_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_IOERR:
		if (code == SQLITE_IOERR_DATA)
			return -EUCLEAN;
		return code == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
	default:
		return -EIO;
	}
}

/* ---- statements ---- */

/* Prepared when it is wanted first: most mounts want few. NULL: it cannot be. */
static sqlite3_stmt *statement(struct db *db, enum db_statement s)
{
	if (!db->statements[s])
		(void)sqlite3_prepare_v3(db->handle, texts[s], -1, SQLITE_PREPARE_PERSISTENT,
			&db->statements[s], NULL);
	return db->statements[s];
}

static int bind_all(sqlite3_stmt *stmt, const char *format, va_list args)
{
	for (int i = 1; *format; i++, format++) {
		int code = SQLITE_MISUSE;
		if (*format == 'i') {
			code = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
		} else if (*format == 'u') {
			code = sqlite3_bind_int64(stmt, i, (int64_t)va_arg(args, uint64_t));
		} else if (*format == 'b') {
			const void *bytes = va_arg(args, const void *);
			size_t len = va_arg(args, size_t);
			code = len ? sqlite3_bind_blob64(stmt, i, bytes, len, SQLITE_STATIC)
				   : sqlite3_bind_zeroblob(stmt, i, 0);
		} else if (*format == 'z') {
			code = sqlite3_bind_text(
				stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
		}
		if (code != SQLITE_OK)
			return db_errno(code);
	}
	return 0;
}

int db_next(struct db *db, enum db_statement s)
{
	int code = sqlite3_step(db->statements[s]);
	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE) {
		code = sqlite3_extended_errcode(db->handle);
		if (db_errno(code) == -EUCLEAN)
			(void)damage_say(&db->damage, db->subject, sqlite3_errmsg(db->handle));
		/* Errors of the medium take the whole transaction back, even those of a SELECT. */
		if (s != DB_COMMIT && db->in_transaction && sqlite3_get_autocommit(db->handle))
			db->lost = true;
	}
	db_end(db, s);
	return db_errno(code);
}

void db_end(struct db *db, enum db_statement s)
{
	sqlite3_reset(db->statements[s]);
}

sqlite3_stmt *db_row(struct db *db, enum db_statement s)
{
	return statement(db, s);
}

/* Whose rows it is about, for messages: the first number that it is given. */
static uint64_t subject_of(enum db_statement s, const char *format, va_list args)
{
	va_list copy;
	if (format[0] != 'u' || s == DB_EXTENT_AT || s == DB_EXTENT_FROM)
		return 0;
	va_copy(copy, args);
	uint64_t ino = va_arg(copy, uint64_t);
	va_end(copy);
	return ino;
}

static int run_args(struct db *db, enum db_statement s, const char *format, va_list args)
{
	db->subject = subject_of(s, format, args);
	sqlite3_stmt *stmt = statement(db, s);
	if (!stmt)
		return db_errno(sqlite3_extended_errcode(db->handle));
	int ret = bind_all(stmt, format, args);
	return ret < 0 ? ret : db_next(db, s);
}

int db_run(struct db *db, enum db_statement s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int ret = run_args(db, s, format, args);
	va_end(args);
	return ret;
}

int db_exec(struct db *db, enum db_statement s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int ret = run_args(db, s, format, args);
	va_end(args);
	db_end(db, s);
	return ret;
}

/* ---- opening ---- */

static int script(sqlite3 *handle, const char *sql)
{
	return db_errno(sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK
				? SQLITE_OK
				: sqlite3_extended_errcode(handle));
}

/* Half of the log may be dirty pages in memory, which a commit appends to it. */
static void sizes_choose(struct db *db)
{
	const struct area_layout *layout = area_vfs_layout(db->vfs);
	uint64_t frames = layout->wal_bytes / FRAME_BYTES;
	db->cache_pages = min_u64(frames / 4, 4096);
	db->capacity_pages = layout->db_bytes / AREA_PAGE_BYTES;
	db->reserve_pages = max_u64(db->capacity_pages / 16, 32);
}

static int connection_open(struct db *db, struct sysarea *area, int flags,
	const uint8_t *first_page, struct errmsg *why)
{
	*db = (struct db){0};
	int ret = area_vfs_open(area, &db->vfs, why);
	if (ret == 0 && first_page)
		ret = area_vfs_stand_in(db->vfs, first_page);
	if (ret < 0)
		return ret;
	sizes_choose(db);
	int code = sqlite3_open_v2(
		AREA_DB_NAME, &db->handle, flags | SQLITE_OPEN_NOMUTEX, area_vfs_name(db->vfs));
	if (code != SQLITE_OK)
		return errmsg_set(why, db_errno(code), "the database cannot be opened");
	sqlite3_extended_result_codes(db->handle, 1);
	ret = db_guard_config(db->handle);
	if (ret < 0)
		return ret;
	char pragmas[256];
	snprintf(pragmas, sizeof(pragmas),
		"PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA synchronous=FULL;"
		"PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=%llu;",
		(unsigned long long)db->cache_pages);
	ret = script(db->handle, pragmas);
	db->opened = ret == 0;
	return ret;
}

int db_create(struct sysarea *area, struct errmsg *why)
{
	struct db db;
	int ret = connection_open(&db, area, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL, why);
	int trailer = AREA_TRAILER_BYTES;
	if (ret == 0)
		ret = db_errno(sqlite3_file_control(
			db.handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &trailer));
	if (ret == 0)
		ret = script(db.handle, "PRAGMA journal_mode=WAL; BEGIN;");
	if (ret == 0)
		ret = script(db.handle, schema_sql);
	char versions[128];
	snprintf(versions, sizeof(versions), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
		SCHEMA_APPLICATION_ID, SCHEMA_VERSION);
	if (ret == 0)
		ret = script(db.handle, versions);
	if (ret == 0)
		ret = script(db.handle, "COMMIT");
	int closed = db_close(&db);
	ret = ret < 0 ? ret : closed;
	return ret < 0 ? errmsg_set(why, ret, "the database cannot be made") : 0;
}

int db_open(struct db *db, struct sysarea *area, struct errmsg *why)
{
	bool read_only = sysarea_is_read_only(area);
	int ret = connection_open(
		db, area, read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, NULL, why);
	if (ret == 0)
		ret = db_guard_schema(db->handle, why);
	if (ret == 0)
		ret = db_guard_statements(db->handle);
	/* What the log holds after an unclean end goes into the database, on every copy alike. */
	if (ret == 0 && !read_only)
		ret = db_checkpoint(db);
	if (ret < 0) {
		db_close(db);
		return errmsg_set(why, ret, "the database cannot be read");
	}
	return 0;
}

int db_open_unchecked(
	struct db *db, struct sysarea *area, const uint8_t *first_page, struct errmsg *why)
{
	bool read_only = sysarea_is_read_only(area);
	int ret = connection_open(db, area,
		read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, first_page, why);
	return ret < 0 || read_only ? ret : db_checkpoint(db);
}

int db_close(struct db *db)
{
	for (unsigned s = 0; s < DB_STATEMENTS; s++)
		sqlite3_finalize(db->statements[s]);
	int code = sqlite3_close(db->handle);
	area_vfs_close(db->vfs);
	*db = (struct db){0};
	return db_errno(code);
}

/* ---- transactions ---- */

int db_begin(struct db *db)
{
	if (db->lost)
		return -EIO;
	if (db->in_transaction)
		return 0;
	int ret = db_exec(db, DB_BEGIN, "");
	db->in_transaction = ret == 0;
	return ret;
}

int db_commit(struct db *db)
{
	if (db->lost)
		return -EIO;
	if (!db->in_transaction)
		return 0;
	int ret = db_exec(db, DB_COMMIT, "");
	db->in_transaction = ret < 0;
	return ret;
}

int db_checkpoint(struct db *db)
{
	int frames = 0, done = 0;
	int code = sqlite3_wal_checkpoint_v2(
		db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &done);
	if (code == SQLITE_OK && frames == done)
		area_vfs_log_done(db->vfs);
	return db_errno(code);
}

bool db_log_is_full(const struct db *db)
{
	uint64_t capacity = area_vfs_layout(db->vfs)->wal_bytes;
	return area_vfs_log_bytes(db->vfs) + (db->cache_pages + OPERATION_PAGES) * FRAME_BYTES >
	       capacity - capacity / 8;
}

uint64_t db_log_slack_pages(const struct db *db)
{
	return db_log_pages(db) / 8 + OPERATION_PAGES;
}

uint64_t db_log_pages(const struct db *db)
{
	return area_vfs_layout(db->vfs)->wal_bytes / FRAME_BYTES;
}

bool db_log_is_long(const struct db *db)
{
	return db_log_is_full(db) ||
	       area_vfs_log_bytes(db->vfs) > area_vfs_layout(db->vfs)->wal_bytes / 2;
}

/* ---- room ---- */

static int64_t number_of(struct db *db, enum db_statement s)
{
	int64_t n = 0;
	if (db_run(db, s, "") > 0)
		n = sqlite3_column_int64(db_row(db, s), 0);
	db_end(db, s);
	return n;
}

uint64_t db_page_count(struct db *db)
{
	return (uint64_t)number_of(db, DB_PAGE_COUNT);
}

int64_t db_available_pages(struct db *db)
{
	return (int64_t)(db->capacity_pages - db->reserve_pages) - number_of(db, DB_PAGE_COUNT) +
	       number_of(db, DB_FREELIST_COUNT);
}

int db_reserve(struct db *db, uint64_t pages)
{
	if (db->budget_pages < pages) {
		int64_t available = db_available_pages(db);
		db->budget_pages = available > 0 ? (uint64_t)available : 0;
	}
	if (db->budget_pages < pages)
		return -ENOSPC;
	db->budget_pages -= pages;
	return 0;
}
