/* SPDX-License-Identifier: MIT */
/* What the parts of the checker share. Each looks at one thing; what it wants mended it writes down
 * while it reads, and mends when no statement reads any more. */
#ifndef STABLEFS_FS_CHECK_INTERNAL_H
#define STABLEFS_FS_CHECK_INTERNAL_H

#include "fs/check.h"
#include "fs/internal.h"

#define CHECK_PATH_BYTES 4096u
#define CHECK_WHAT_BYTES 512u

/* Something to be done to rows. */
enum fix_kind {
	FIX_INODE,        /* ino: its row holds what it cannot */
	FIX_INODE_MAKE,   /* ino: a row for what is left; a: mode, b: size */
	FIX_INODE_DELETE, /* ino, with all that is its */
	FIX_ENTRY, /* a: parent, b: cookie: made anew with a legal name, the right cookie, type */
	FIX_ENTRY_DELETE, /* a: parent, b: cookie */
	FIX_LINKS,        /* ino; a: how many */
	FIX_BLOCKS,       /* ino; a: how many */
	FIX_SIZE,         /* ino; a */
	FIX_PARENT,       /* ino; a: parent, b: cookie */
	FIX_EXTENT,       /* ino, a: file block: cut to what can be, or away; b: first free block */
	FIX_EXTENT_SHARED,  /* ino, a: file block; b: volume block up to which it is another's */
	FIX_EXTENTS_DELETE, /* ino */
	FIX_SYMLINK_DELETE, /* ino */
	FIX_XATTRS,         /* ino: those that cannot be */
	FIX_XATTRS_DELETE,  /* ino */
	FIX_CONNECT,        /* ino: a name in lost+found */
};

struct fix {
	enum fix_kind kind;
	uint64_t ino, a, b;
};

struct fixes {
	struct fix *list; /* owned */
	size_t count, capacity;
};
#define FIXES_MAX 65536u /* a part stops there, mends, and goes on */

struct check {
	struct volume *volume; /* borrowed */
	struct db db;
	const struct check_options *options; /* borrowed */
	struct check_result *out;            /* borrowed */
	bool repair;
	uint64_t volume_blocks, hash_key;
	struct fixes fixes;
	uint64_t rows_done, rows_total;
	uint64_t lost_found; /* its inode; 0: not looked for yet */
};

/* ---- check.c ---- */

/* Report; in a repair @done says how it is mended (NULL: it cannot be). */
void check_found(struct check *c, enum check_kind kind, uint64_t ino, const char *done,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* One more row: 0, or -ECANCELED. */
int check_step(struct check *c);

/* A statement; formats as in db.h. NULL in *@out on an error. */
int check_prepare(struct check *c, const char *sql, sqlite3_stmt **out);
int check_bind(sqlite3_stmt *stmt, const char *format, ...);
/* 1: a row; 0: the end; or -errno. */
int check_next(struct check *c, sqlite3_stmt *stmt);
/* Prepare, bind, run to the end. 1: there was a row (*@number: its first column, may be NULL). */
int check_run(struct check *c, uint64_t *number, const char *sql, const char *format, ...);

/* ---- check_fix.c ---- */

int fixes_add(struct check *c, enum fix_kind kind, uint64_t ino, uint64_t a, uint64_t b);
static inline bool fixes_full(const struct check *c)
{
	return c->fixes.count >= FIXES_MAX;
}
/* Do them, in order, and forget them. No statement reads. */
int fixes_apply(struct check *c);
/* The transaction is committed. */
int check_commit(struct check *c);

/* ---- check_names.c ---- */

/* Give @ino a name in @parent: @name, or where that is not to be had, "#INO". */
int names_put(struct check *c, uint64_t parent, const char *name, size_t len, uint64_t ino);
int names_connect(struct check *c, uint64_t ino); /* in lost+found, which is made if need be */
int names_renew(struct check *c, uint64_t parent, uint64_t cookie);

/* ---- the parts: 0 or -errno ---- */

int check_area(struct check *c);
/* 1: the database cannot be trusted. */
int check_database(struct check *c);
int check_rows(struct check *c);
int check_shared(struct check *c);
/* Which names lead to what, and what belongs to whom; or numbers that follow from it; or both. */
enum { CENSUS_THINGS = 1, CENSUS_COUNTS = 2 };
int check_census(struct check *c, unsigned what);
int check_tree(struct check *c);
int check_meta(struct check *c);

/* Copy what can be read into a database of its own, which takes the old one's place. The handle is
 * closed and opened anew. */
int check_rebuild(struct check *c, struct errmsg *why);

#endif
