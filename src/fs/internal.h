/* SPDX-License-Identifier: MIT */
/* What the parts of the file system share. The order of the locks, outermost first:
 *
 *	db_lock		the database, the namespace, every removal from an extent map that leaves a
 *			hole
 *	inode->lock	one inode's attributes, map, transfers
 *	table lock	which inodes are in memory, their references, the dirty list
 *	allocator	the bitmap
 *	commit_lock	who commits; held to agree on it, not while it is done
 *
 * The engine's thread takes all but the first, and none of those is held across a call of SQLite
 * or a transfer. */
#ifndef STABLEFS_FS_INTERNAL_H
#define STABLEFS_FS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "fs/acl.h"
#include "fs/allocator.h"
#include "fs/db.h"
#include "fs/extent_map.h"
#include "fs/fs.h"
#include "fs/parked.h"
#include "fs/range_set.h"
#include "fs/row.h"

/* What the kernel takes: it has no other limit for FUSE, and buffered writes beyond one of ours
 * would fail when they are written back, and not before. */
#define FS_MAX_BYTES  ((uint64_t)INT64_MAX)
#define FS_MAX_BLOCKS (FS_MAX_BYTES / BLOCK_BYTES + 1)
#define FS_IO_MAX     (1u << 20)

/* ---- inodes ---- */

/* What a row of the inode table says. */
struct inode_attr {
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev, size;
	int64_t atime, mtime, ctime, btime; /* ns */
	uint64_t parent, cookie;            /* an entry that leads here; 0: none known */
};

/* What atomic writes replaced in a map, for as long as a commit may need it (replaced.c). */
struct replaced {
	struct extent_map stored; /* rows point to it, or may: CLEAN and UNWRITTEN */
	struct extent_map sealed; /* WRITTEN in an epoch that ended before it was replaced */
};

/* Errors that open files are to be told of (heard.c). */
struct lost {
	uint32_t count;
	int err;      /* of the last one */
	bool unheard; /* nobody was told of it */
};

/* Answered first writes that are not stored yet, by the parity of their epoch (taken.c). */
struct taken {
	pthread_mutex_t lock;
	uint64_t count[2];
	struct volume_waiter *waiter; /* borrowed: of the commit that waits for one epoch's */
	uint64_t waits_for;
};

struct inode {
	struct fs *fs; /* borrowed */
	uint64_t ino;
	/* The table's: */
	struct inode *hash_next;
	struct list_node lru;    /* idle ones */
	size_t weight;           /* of an idle one */
	struct list_node dirty;  /* rows are out of date: the table's list, or a commit's */
	struct list_node commit; /* a commit's second list */
	struct list_node reclaim;
	uint64_t lookups, opens, pins;
	bool orphan;               /* no link is left: goes when nothing refers to it */
	bool stored;               /* has a row */
	bool counted;              /* among fs->dirty_rows */
	bool no_xattrs;            /* known to have none; under db_lock */
	uint32_t xattr_list_bytes; /* of their names; 0: not known; under db_lock */

	pthread_mutex_t lock; /* everything below */
	struct inode_attr attr;
	bool attr_dirty;  /* the row is out of date */
	bool times_dirty; /* in its times only */
	bool not_cached;  /* not opened through the page cache since the kernel got to know it */
	/* The size as it was when its epoch began, for a commit that flushed only what was
	 * written before (commit.c). */
	uint64_t size_epoch, size_before;
	uint64_t row_size;    /* as its row says */
	uint64_t stored_end;  /* of a commit that writes its extents: bytes up to where it has */
	uint64_t transaction; /* the last one that concerns its data or existence */
	uint64_t cut;         /* the last one that shortened it */
	/* Bytes behind the end of the file, in its last block, may not be zeros: after an open, a
	 * truncation, or an overwrite there. Whoever lets the file grow across a gap zeroes them
	 * first. */
	bool tail_stale;
	uint64_t db_blocks; /* what the rows of its extents add up to */
	bool map_loaded;
	struct extent_map map;
	struct replaced replaced;
	struct range_set changed; /* file blocks whose rows are out of date */
	uint64_t new_extents;     /* since its rows were written */
	struct list transfers;    /* admitted */
	unsigned atomics;         /* how many of them are atomic writes */
	unsigned taken;           /* how many of them were answered when their bytes were taken */
	struct list held;         /* held back by a barrier */
	struct lost lost;         /* writes that failed after their answer */
	struct list barriers;     /* the first one holds */
};

struct inode_table {
	pthread_mutex_t lock;
	struct inode **buckets; /* owned */
	size_t bucket_count, count;
	struct list lru;
	size_t idle; /* their weights */
	struct parked parked;
	struct list dirty, reclaim;
	size_t dirty_count;
};

struct fs {
	struct volume *volume; /* borrowed, as is all that is got from it */
	bool threaded;
	bool closing;          /* nobody makes anything any more */
	atomic_bool read_only; /* set by fs_set_read_only(), and where the volume is */
	bool orphans_reaped;   /* what an earlier mount left; fs_set_read_only()'s after the open */
	atomic_uint_fast64_t commit_ns;
	const char *const *inherited; /* borrowed: fs_inherit_xattrs(); NULL: none */
	struct {
		_Atomic enum fs_atime rule;
		atomic_bool no_directories, lazy;
		atomic_uint_fast64_t lazy_since_ns; /* the oldest that waits; 0: none */
	} atime;

	pthread_mutex_t db_lock;
	struct db db;
	uint64_t hash_key; /* of names; constant */
	atomic_uint_fast64_t
		names_version; /* rises with each entry that comes or goes, under db_lock */

	struct inode_table table;
	struct allocator *allocator;
	/* Inode numbers are given out once (numbers.c); numbers_end is under db_lock. */
	atomic_uint_fast64_t next_ino, inodes;
	uint64_t inodes_stored; /* as the database says; under db_lock */
	uint64_t numbers_end;

	/* Epochs: data written in an epoch is durable after a flush that began after the epoch
	 * ended. */
	atomic_uint_fast64_t epoch;
	struct taken taken;
	atomic_bool unflushed;            /* something was written since the last flush */
	atomic_bool urgent;               /* a row is out of date, and not in its atime alone */
	atomic_uint_fast64_t transaction; /* number of the one that is open or comes next */
	atomic_uint_fast64_t changes;     /* piled up since the last commit */
	atomic_uint_fast64_t dirty_rows;  /* inodes whose row is out of date in the database */
	atomic_uint_fast64_t transfer_tag;
	atomic_uint_fast64_t replaced_blocks; /* that the next commit frees, beside deferred ones */
	atomic_int error; /* the first failure of a commit: nothing is changed any more */
	atomic_uint_fast32_t flush_errors; /* how many flushes failed (heard.c) */
	atomic_int flush_error;            /* the last one */
	/* Extents that came into maps since the last commit, and how many may: the database must
	 * have room for their rows. One file has as many as the log holds in one transaction. */
	atomic_uint_fast64_t extents, extents_max;
	atomic_bool file_full;
	/* Beyond its reserve there is no room in the database: no new blocks, no new names. Half of
	 * the reserve is gone, too: no writes into preallocated space, which divide extents. */
	atomic_bool database_full, database_spent;

	pthread_mutex_t commit_lock;
	pthread_cond_t commit_cond, commit_wake;
	uint64_t commits_begun, commits_done, commits;
	bool committing, stopping, wanted;
	bool commit_runs; /* the thread; of who opens, closes and fs_set_read_only() */
	pthread_t commit_thread;
};

/* Pinned: give back with inode_unpin(). inode_get() takes db_lock where the inode is not in memory;
 * inode_get_locked() expects it held. -ENOENT. */
int inode_get(struct fs *fs, uint64_t ino, struct inode **out);
int inode_get_locked(struct fs *fs, uint64_t ino, struct inode **out);
/* The same, if it is in memory; NULL: it is not. */
struct inode *inode_find(struct fs *fs, uint64_t ino);
void inode_pin(struct fs *fs, struct inode *inode);
/* Any thread, no lock of an inode held. */
void inode_unpin(struct fs *fs, struct inode *inode);
void inode_unpinp(struct inode **inode); /* for cleanup(); accepts NULL inside */

/* A new inode, pinned, dirty, not yet linked. db_lock held. -ENOSPC: no number is left. */
int inode_new(struct fs *fs, const struct inode_attr *attr, struct inode **out);
/* So few promised numbers are left that a commit, which promises more, has to come before anything
 * is made. db_lock held. */
bool inode_numbers_short(const struct fs *fs);
/* The next number; 0: none is left. db_lock held. */
uint64_t inode_number_take(struct fs *fs);
/* Promise numbers where few are left, if a transaction runs; at the end take back those that were
 * not given out. db_lock held. */
int inode_numbers_promise(struct fs *fs);
/* Throw a new inode away whose link could not be made. Takes the pin. db_lock held. */
void inode_discard(struct fs *fs, struct inode *inode);
/* Out of the table and the lists, if nothing refers to it: its memory is the caller's then. */
bool inode_detach(struct fs *fs, struct inode *inode);
void inode_free(struct inode *inode); /* accepts NULL */

void inode_reference(struct fs *fs, struct inode *inode);  /* one lookup more */
void inode_mark_dirty(struct fs *fs, struct inode *inode); /* inode->lock may be held */
/* The same, in its atime alone, which is no reason to commit. Returns how many are dirty. */
size_t inode_mark_accessed(struct fs *fs, struct inode *inode);
void inode_set_orphan(struct fs *fs, struct inode *inode, bool orphan);
/* By somebody beside those who have pinned it. */
bool inode_is_referenced(struct fs *fs, struct inode *inode);

int inode_table_init(struct inode_table *table);
void inode_table_free(struct inode_table *table);

/* Under inode->lock: */
void inode_touch(struct inode *inode, bool mtime, bool ctime, int64_t now);
void inode_stat(const struct inode *inode, struct stat *st);

int64_t time_now_ns(void);

/* A read: the atime moves by the rule of the mount (atime.c). Under inode->lock. */
void inode_accessed(struct fs *fs, struct inode *inode);
/* Has a commit anything to do that should not wait any longer? */
bool fs_commit_is_due(struct fs *fs);

/* Give back what nothing refers to any more (reap.c). No lock held; any thread but the engine's. */
void inodes_reap_now(struct fs *fs);
int inodes_reap_orphans(struct fs *fs); /* at open */

/* The map is in memory from now on, as long as the inode is pinned. No lock held. */
int inode_load_map(struct fs *fs, struct inode *inode);

/* ---- transactions (commit.c) ---- */

/* Take db_lock with a transaction open and room in the log; @grows pages are reserved. -EROFS,
 * -ENOSPC, or the error that stopped the file system: the lock is not held then. */
int fs_begin(struct fs *fs, uint64_t grows);
void fs_end(struct fs *fs);

/* Commit what is done so far. No lock held; any thread but the engine's. */
int fs_commit(struct fs *fs);

/* The first error that stopped changes, or -EROFS, or 0. */
int fs_check_writable(struct fs *fs);
void fs_fail(struct fs *fs, int err);
void fs_note_change(struct fs *fs);
/* The row of one inode more is out of date. inode->lock may be held. */
void fs_note_row(struct fs *fs);
/* So many came into the map. inode->lock held. */
void fs_note_extents(struct fs *fs, struct inode *inode, uint64_t extents);
/* So many extents' rows can be deleted between two questions whether the log is full. */
uint64_t fs_extents_at_once(const struct fs *fs);
/* After a commit, and at open: how full is the database? db_lock held. */
void fs_measure_room(struct fs *fs);
/* An answered write has failed: under inode->lock. A flush has failed. (heard.c) */
void lost_note(struct lost *lost, int err);
void fs_note_flush_error(struct fs *fs, int err);

/* Answered first writes (taken.c). One begins: in the epoch that is returned. It is stored, or has
 * failed: what is to be told of that has been noted. Are any under way? */
void taken_init(struct taken *taken);
void taken_fini(struct taken *taken);
uint64_t taken_begin(struct fs *fs);
void taken_end(struct fs *fs, uint64_t epoch);
bool taken_any(struct fs *fs);
/* A commit: the epoch ends, and is returned; then those of it are waited for. One at a time. */
uint64_t taken_close(struct fs *fs);
void taken_wait(struct fs *fs, uint64_t epoch);

/* So many changes piled up that whoever adds one should commit first. */
bool fs_must_commit(struct fs *fs);

int fs_commit_start(struct fs *fs); /* the thread, where the volume is threaded */
void fs_commit_stop(struct fs *fs);

/* What a commit has still to write, of inodes by their node `commit`. db_lock held. */
struct commit_rest {
	struct list inodes;
	uint64_t epoch;
};
/* Where the log could be full before long: commit what there is, with the rows of all inodes
 * (C2). */
int commit_divide(struct fs *fs, struct commit_rest *rest);

/* ---- extents and rows (rows.c): db_lock held ---- */

/* @divided: the transaction ends before all of the file's extents are written: its size grows no
 * further than they do; times can wait. */
int inode_write_row(struct fs *fs, struct inode *inode, uint64_t epoch, bool divided);
/* The inode is among @rest: the transaction is divided where it must be. */
int inode_write_extents(struct fs *fs, struct inode *inode, struct commit_rest *rest);
/* -EUCLEAN, said in the log, where the row holds what no inode can have. */
int inode_read_row(struct fs *fs, uint64_t ino, struct inode_attr *attr, uint64_t *blocks);

/* The row that @s stands at. -EUCLEAN, said in the log. */
int extent_row_read(struct fs *fs, enum db_statement s, struct row_extent *out);
int dirent_row_read(struct fs *fs, enum db_statement s, uint64_t parent, struct row_dirent *out);

/* Say that something about @ino in the database cannot be: -EUCLEAN. */
int fs_damaged(struct fs *fs, uint64_t ino, const char *what);

/* ---- data ---- */

/* Who changes a part of a map keeps transfers away from it: those under way are waited for, new
 * ones are held back. [first, end) in file blocks. No lock held (barrier.c). */
struct barrier {
	struct list_node node;
	uint64_t first, end;
	struct volume_waiter *waiter; /* borrowed: of whoever waits for it to hold */
};
void barrier_begin(
	struct fs *fs, struct inode *inode, struct barrier *b, uint64_t first, uint64_t end);
/* Starts again what was held back. */
void barrier_end(struct fs *fs, struct inode *inode, struct barrier *b);

/* Under inode->lock: */
bool barrier_covers(const struct inode *inode, uint64_t first, uint64_t end);
/* A transfer or barrier is over: the first barrier may hold now. */
void barrier_check(struct fs *fs, struct inode *inode);

/* One transfer of a file (transfer.c). */
struct piece {
	struct stripe_req req;
	struct transfer *transfer; /* borrowed */
};
struct transfer {
	struct list_node node;  /* on inode->transfers or inode->held */
	struct list_node ready; /* to be posted once the inode's lock is given up */
	struct fs *fs;          /* borrowed */
	struct inode *inode;    /* pinned */
	struct fs_io *io;       /* the caller's */
	uint64_t first, end;    /* file blocks */
	uint64_t tag;           /* of the blocks whose first write this is */
	uint64_t epoch;         /* a write: in which it ended, or was taken */
	bool parked;            /* waits for others that were admitted before */
	int err;
	struct atomic_write *atomic;     /* owned; NULL: an ordinary read or write */
	unsigned count, pending, logged; /* pieces, not yet done, in the array's log */
	bool answered;                   /* a write that was settled when all were in the log */
	bool taken;                      /* a first write that was answered before it is stored */
	struct piece *pieces;            /* owned where not @one */
	struct piece one;
};

/* Takes the pin and @io: io->done() runs exactly once. Not on the engine's thread. */
void transfer_begin(struct fs *fs, struct inode *inode, struct fs_io *io);
/* The same on any thread. False: it would have to wait, and is not admitted: transfer_start() is
 * for io->map then. */
bool transfer_begin_now(struct fs *fs, struct inode *inode, struct fs_io *io);
/* One that was held back, or was not admitted, goes on. */
void transfer_start(struct transfer *t);
/* What the requests of an atomic write need has been read, or could not be. Engine thread. */
void transfer_go_on(struct transfer *t, int err);

/* The special part of an atomic write (atomic.c): blocks of its own for what is stored in its range
 * already, which take the old ones' place in the map when all of them are written. */
struct atomic_write {
	struct transfer *transfer; /* borrowed */
	struct extent_map blocks;  /* PENDING, with the transfer's tag; in no other map yet */
	/* A write of less than a stored block: the whole block, as it is to be. */
	uint8_t *whole; /* owned; NULL: not that case */
	uint32_t kept;  /* bytes of the old block that are inside the file */
	struct source source;
	struct stripe_req read;
};
int atomic_check(const struct fs_io *io); /* 0 or -EINVAL */
struct atomic_write *atomic_new(struct transfer *t);
void atomic_free(struct atomic_write *a); /* accepts NULL */
/* Under inode->lock: */
bool atomic_in_way(const struct transfer *t); /* must it wait for one admitted before? */
int atomic_claim(struct transfer *t);         /* after the holes; -ENOSPC, -ENOMEM */
int atomic_plan_copy(struct transfer *t);     /* after its requests were made; -ENOMEM */
int atomic_settle(struct transfer *t);        /* replace; an error stopped the file system */
void atomic_revert(struct transfer *t);
/* No lock held: read what is to be copied, then transfer_go_on(). */
void atomic_copy(struct transfer *t);

/* ---- what atomic writes replaced (replaced.c): under inode->lock ---- */

void replaced_init(struct replaced *r);
void replaced_clear(struct replaced *r);
/* @part has just left the map, in @epoch. -ENOMEM. */
int replaced_add(struct fs *fs, struct inode *inode, const struct extent *part, uint64_t epoch);
/* Nothing of [first, end) is needed any more once the open transaction is committed: db_lock held.
 * -ENOMEM. */
int replaced_drop(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end);
/* A commit that flushed @epoch is about to write the rows of the range: what is left in `stored`
 * is what rows shall go on pointing to. db_lock held. -ENOMEM. */
int replaced_advance(struct fs *fs, struct inode *inode, struct range range, uint64_t epoch);
/* Will a commit free blocks? */
bool fs_commit_frees(struct fs *fs);

/* Under inode->lock: allocate the holes of [first, end) in the given state. What was allocated
 * before an error stays. -ENOSPC, -ENOMEM. */
int inode_allocate(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end,
	enum extent_state state, uint64_t tag);
/* The same as unwritten, from *first on, in no more than @extents pieces; *first is where it
 * stopped. */
int inode_preallocate(
	struct fs *fs, struct inode *inode, uint64_t *first, uint64_t end, unsigned extents);
/* Under inode->lock and db_lock: a hole again; the blocks are free after the next commit. */
int inode_deallocate(struct fs *fs, struct inode *inode, uint64_t first, uint64_t end);

/* Under inode->lock. The size grows by a write / is set. */
void inode_grow(struct inode *inode, uint64_t size, uint64_t epoch);
void inode_set_size(struct fs *fs, struct inode *inode, uint64_t size);

/* Before the file grows from its end to @offset: the rest of its last block becomes zeros where it
 * may not be. The map is loaded; no lock held. */
int inode_clean_tail(struct fs *fs, struct inode *inode, uint64_t offset);
/* Under inode->lock: would that have anything to do? */
bool inode_tail_in_way(const struct inode *inode, uint64_t offset);

/* ftruncate(2) on a pinned inode; no lock held. */
int inode_resize(struct fs *fs, struct inode *inode, uint64_t size);

/* ---- extended attributes (xattr.c): db_lock held. None of them touches the ctime. ---- */

/* As fs_getxattr(). */
ssize_t xattr_read(struct fs *fs, struct inode *inode, const char *name, void *value, size_t size);
int xattr_exists(struct fs *fs, struct inode *inode, const char *name); /* 1, 0, or -errno */
int xattr_write(
	struct fs *fs, struct inode *inode, const char *name, const void *value, size_t size);
int xattr_delete(struct fs *fs, struct inode *inode, const char *name);
/* The ctime moves, and the row follows in the open transaction. */
void xattr_changed(struct fs *fs, struct inode *inode);

/* The attributes of @dir that what is made in it takes over, to the new @inode (xattr.c). Nothing
 * is taken back where it fails: that is the caller's. db_lock held. */
int xattr_inherit(struct fs *fs, struct inode *dir, struct inode *inode);

/* ---- access control lists (acl_store.c) ---- */

bool acl_owns_xattr(const char *name);
/* A value of one of the two attributes becomes the inode's, and the mode follows it. @drop_sgid:
 * the caller is no member of the file's group. db_lock held. -EINVAL, -EOPNOTSUPP, -E2BIG: see
 * acl_decode(); -EACCES: a default list for what is no directory. */
int acl_set(struct fs *fs, struct inode *inode, const char *name, const void *value, size_t size,
	bool drop_sgid);
/* chmod(2): the mode's bits (07777), and with them the list. No lock held. */
int acl_set_mode(struct fs *fs, struct inode *inode, mode_t mode);

/* The lists of something new. */
struct acl_inherited {
	struct acl access, dflt;
};
/* The mode of what is to be made in @dir, and its lists: from the directory's default list, or
 * @umask where it has none. db_lock held. */
int acl_plan(
	struct fs *fs, struct inode *dir, mode_t umask, uint32_t *mode, struct acl_inherited *out);
/* Nothing is taken back where it fails. db_lock held. */
int acl_store(struct fs *fs, struct inode *inode, const struct acl_inherited *lists);

/* May @dir have @more subdirectories? 0 or -EMLINK. */
int directory_has_room(struct inode *dir, int more);
/* A link less: without any the inode is an orphan. db_lock held (namespace.c). */
void inode_drop_link(struct fs *fs, struct inode *inode);

/* ---- names (dirent.c): db_lock held ---- */

struct dirent_row {
	uint64_t cookie, ino;
	uint32_t type;
};
int name_check(const char *name); /* 0, -ENAMETOOLONG, -EINVAL */
/* The least cookie that an entry of this name may have; it is one of ROW_COOKIE_NUMBERS. */
uint64_t dirent_first_cookie(uint64_t hash_key, const char *name, size_t len);
int dirent_find(struct fs *fs, uint64_t parent, const char *name, struct dirent_row *out);
/* The inode that an entry leads to, pinned. -EUCLEAN: none, or not what the entry says. */
int dirent_inode(
	struct fs *fs, uint64_t parent, const struct dirent_row *entry, struct inode **out);
int dirent_insert(struct fs *fs, uint64_t parent, const char *name, struct inode *inode);
int dirent_delete(struct fs *fs, uint64_t parent, uint64_t cookie);
int dirent_any(struct fs *fs, uint64_t parent); /* 1: has entries, 0: empty */

#endif
