/* SPDX-License-Identifier: MIT */
/* The database: one connection, its statements, one long transaction.
 * Owner thread: whoever holds the database lock.
 * The content is not trusted (docs/filesystem.md, "Damaged and hostile volumes").
 * Invariants: I1 no statement is left stepping when the lock is given up. I2 SQLite is never
 *   driven into SQLITE_FULL, which would roll the whole transaction back: db_reserve() is asked
 *   before an operation that grows the database, db_log_is_full() before any that writes. I3 a
 *   COMMIT that returned 0 is durable. */
#ifndef STABLEFS_FS_DB_H
#define STABLEFS_FS_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include "base/errmsg.h"
#include "fs/damage.h"
#include "fs/vfs.h"

/* Prepared once, when first wanted; the texts are in db.c. */
enum db_statement {
	DB_BEGIN,
	DB_COMMIT,
	DB_SAVEPOINT,
	DB_RELEASE,
	DB_ROLLBACK_TO,
	DB_PAGE_COUNT,
	DB_FREELIST_COUNT,
	DB_INODE_GET,
	DB_INODE_PUT,
	DB_INODE_DELETE,
	DB_INODE_ORPHANS,
	DB_INODE_MAX,
	DB_DIRENT_GET,
	DB_DIRENT_AT,
	DB_DIRENT_LIST,
	DB_DIRENT_PUT,
	DB_DIRENT_DELETE,
	DB_DIRENT_OF,
	DB_SYMLINK_GET,
	DB_SYMLINK_PUT,
	DB_SYMLINK_DELETE,
	DB_XATTR_GET,
	DB_XATTR_LIST,
	DB_XATTR_PUT,
	DB_XATTR_COPY,
	DB_XATTR_DELETE,
	DB_XATTR_DELETE_ALL,
	DB_EXTENT_OF,
	DB_EXTENT_BEFORE,
	DB_EXTENT_PUT,
	DB_EXTENT_DELETE,
	DB_EXTENT_TAIL,
	DB_EXTENT_ALL,
	DB_EXTENT_AT,
	DB_EXTENT_FROM,
	DB_META_GET,
	DB_META_PUT,
	DB_STATEMENTS
};

struct db {
	sqlite3 *handle;
	struct area_vfs *vfs; /* owned */
	sqlite3_stmt *statements[DB_STATEMENTS];
	bool opened; /* SQLite reads it */
	bool in_transaction;
	bool lost; /* SQLite rolled the transaction back after an error: nothing is to follow */
	uint64_t capacity_pages, reserve_pages, cache_pages;
	uint64_t budget_pages; /* known to be available to operations that grow */
	struct damage_log damage;
	uint64_t subject; /* the inode that the last statement was about; 0: none */
};

/* Make an empty database with its tables in a freshly formatted area. */
int db_create(struct sysarea *area, struct errmsg *why);

/* -EUCLEAN: damaged or absent; -EPROTONOSUPPORT: of another schema. */
int db_open(struct db *db, struct sysarea *area, struct errmsg *why);
/* For a checker: any tables, no statements prepared; the log is brought into the database where it
 * may be written. @first_page: area_vfs_stand_in(), or NULL. After an error what was opened so far
 * is to be closed. */
int db_open_unchecked(
	struct db *db, struct sysarea *area, const uint8_t *first_page, struct errmsg *why);
/* What is not committed is dropped. Accepts a zeroed or half-opened one. */
int db_close(struct db *db);

/* Bind by @format and step once: 'i' an int64_t, 'u' an uint64_t, 'b' pointer and size_t, 'z' a C
 * string. 1: a row is there (read it with row.h, go on with db_next(), end with db_end()); 0: done;
 * or -errno. */
int db_run(struct db *db, enum db_statement s, const char *format, ...);
int db_next(struct db *db, enum db_statement s);
void db_end(struct db *db, enum db_statement s);
sqlite3_stmt *db_row(struct db *db, enum db_statement s);

/* As db_run() where no row is wanted or one at most: ended already. */
int db_exec(struct db *db, enum db_statement s, const char *format, ...);

/* Start the transaction unless it runs. -EIO: an earlier one was lost. */
int db_begin(struct db *db);
/* End it, durably; 0 where none runs. */
int db_commit(struct db *db);
/* Bring the log's pages into the database; the log begins anew with the next write. */
int db_checkpoint(struct db *db);

/* The transaction must be committed before anything else is written to it. */
bool db_log_is_full(const struct db *db);
/* How many pages may be changed between two questions whether it is full. */
uint64_t db_log_slack_pages(const struct db *db);
/* How many pages it holds, of which a commit can count on the half. */
uint64_t db_log_pages(const struct db *db);
/* The log is long enough to be worth a checkpoint. */
bool db_log_is_long(const struct db *db);

/* Room for @pages more, beside the reserve that lets deletes and commits always work? -ENOSPC. */
int db_reserve(struct db *db, uint64_t pages);
/* How many pages operations that grow may still take. */
int64_t db_available_pages(struct db *db);
uint64_t db_page_count(struct db *db);

/* 0 or -errno for a code of SQLite. */
int db_errno(int code);

#endif
