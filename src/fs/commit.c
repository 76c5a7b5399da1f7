/* SPDX-License-Identifier: MIT */
/* Commits: one at a time, for everybody who asked before it began.
 *
 *	end the epoch -> [first writes that were answered in it are stored (taken.c)]
 *	-> flush the array -> [db_lock: rows follow memory -> COMMIT -> blocks that
 *	the transaction freed are free -> checkpoint if it is worth it]
 *
 * Invariants: I1, I2, I5 of fs.h. C1: data written in an epoch <= E is durable after a flush that
 * began when the epoch was > E: a completion stores `unflushed` before it reads the epoch. C2: the
 * rows of all inodes are written before a transaction is divided (where the log would not hold all
 * rows): names never stand in a committed transaction without their inodes; only times may. So no
 * more of these rows are out of date than the log has room for at any time (rows_max()). A file's
 * extents are divided in the order of the file, and its size does not grow before them; not inside
 * of a range that changed where a file has atomic writes: each is in one transaction. C3: a commit
 * that fails stops all changes: memory and database have parted. */
#include "fs/internal.h"

#include <errno.h>
#include <time.h>
#include "base/log.h"

#define DEFAULT_COMMIT_NS (UINT64_C(5) * NS_PER_S)

/* ---- errors ---- */

void fs_fail(struct fs *fs, int err)
{
	int none = 0;
	if (atomic_compare_exchange_strong(&fs->error, &none, err) && err != -ESHUTDOWN)
		log_error("the file system stops all changes after an error (%d)", -err);
}

int fs_check_writable(struct fs *fs)
{
	return fs->read_only ? -EROFS : atomic_load(&fs->error);
}

/* ---- one commit ---- */

/* Take the dirty inodes, pinned. */
static void dirty_steal(struct fs *fs, struct list *out)
{
	struct list_node *n;
	pthread_mutex_lock(&fs->table.lock);
	while ((n = list_pop_front(&fs->table.dirty))) {
		struct inode *inode = container_of(n, struct inode, dirty);
		inode->pins++;
		inode->counted = false;
		list_push_back(out, &inode->commit);
	}
	fs->table.dirty_count = 0;
	atomic_store(&fs->dirty_rows, 0);
	pthread_mutex_unlock(&fs->table.lock);
}

/* How many inodes there are is kept beside them: counting a million would take a mount a second.
 * The table holds as many as memory says when the rows of all dirty ones are written. */
static int inodes_store(struct fs *fs)
{
	uint64_t inodes = atomic_load(&fs->inodes);
	if (!fs->db.in_transaction || inodes == fs->inodes_stored)
		return 0;
	fs->inodes_stored = inodes;
	return db_exec(&fs->db, DB_META_PUT, "zu", "inodes", inodes);
}

int commit_divide(struct fs *fs, struct commit_rest *rest)
{
	int ret = 0;
	list_for_each (n, &rest->inodes) {
		if (ret == 0)
			ret = inode_write_row(
				fs, container_of(n, struct inode, commit), rest->epoch, true);
	}
	if (ret == 0)
		ret = inodes_store(fs);
	if (ret == 0)
		ret = db_commit(&fs->db);
	if (ret == 0)
		ret = db_checkpoint(&fs->db);
	return ret < 0 ? ret : db_begin(&fs->db);
}

/* Bring the rows of all dirty inodes up to date. An inode leaves the list of dirty ones before its
 * rows are written: who changes it meanwhile puts it on that list anew. */
static int rows_write(struct fs *fs, uint64_t epoch)
{
	struct commit_rest rest = {.epoch = epoch};
	list_init(&rest.inodes);
	dirty_steal(fs, &rest.inodes);
	int ret = list_empty(&rest.inodes) ? 0 : db_begin(&fs->db);
	struct list_node *n;
	while ((n = list_first(&rest.inodes))) {
		struct inode *inode = container_of(n, struct inode, commit);
		if (ret == 0 && db_log_is_full(&fs->db))
			ret = commit_divide(fs, &rest);
		if (ret == 0)
			ret = inode_write_extents(fs, inode, &rest);
		list_remove(n);
		if (ret == 0)
			ret = inode_write_row(fs, inode, epoch, false);
		inode_unpin(fs, inode);
	}
	return ret;
}

static int transaction_commit(struct fs *fs, uint64_t epoch)
{
	int ret = rows_write(fs, epoch);
	if (ret == 0)
		ret = inodes_store(fs);
	if (ret == 0)
		ret = inode_numbers_promise(fs);
	if (ret == 0)
		ret = db_commit(&fs->db);
	if (ret < 0)
		return ret;
	atomic_fetch_add(&fs->transaction, 1);
	allocator_commit(fs->allocator);
	fs_measure_room(fs);
	fs->db.budget_pages = 0;
	return db_log_is_long(&fs->db) ? db_checkpoint(&fs->db) : 0;
}

/* Whose data it was meant for is not known: every open file is told of an error. */
static int flush(struct fs *fs)
{
	int ret = volume_flush(fs->volume);
	if (ret < 0)
		fs_note_flush_error(fs, ret);
	return ret;
}

static int commit_once(struct fs *fs)
{
	int ret = fs_check_writable(fs);
	if (ret < 0)
		return ret;
	uint64_t epoch = taken_close(fs);
	atomic_store(&fs->changes, 0);
	atomic_store(&fs->urgent, false);
	atomic_store(&fs->atime.lazy_since_ns, 0);
	atomic_store(&fs->extents, 0);
	atomic_store(&fs->file_full, false);
	taken_wait(fs, epoch);
	if (atomic_exchange(&fs->unflushed, false))
		ret = flush(fs);
	if (ret == 0) {
		pthread_mutex_lock(&fs->db_lock);
		ret = transaction_commit(fs, epoch);
		pthread_mutex_unlock(&fs->db_lock);
	}
	if (ret < 0)
		fs_fail(fs, ret);
	return ret;
}

/* ---- who commits ---- */

int fs_commit(struct fs *fs)
{
	pthread_mutex_lock(&fs->commit_lock);
	uint64_t wanted = fs->commits_begun + 1;
	while (fs->committing && fs->commits_done < wanted)
		pthread_cond_wait(&fs->commit_cond, &fs->commit_lock);
	if (fs->commits_done >= wanted) {
		pthread_mutex_unlock(&fs->commit_lock);
		return atomic_load(&fs->error);
	}
	fs->committing = true;
	uint64_t mine = ++fs->commits_begun;
	pthread_mutex_unlock(&fs->commit_lock);
	int ret = commit_once(fs);
	pthread_mutex_lock(&fs->commit_lock);
	fs->committing = false;
	fs->commits_done = mine;
	fs->commits += ret == 0;
	pthread_cond_broadcast(&fs->commit_cond);
	pthread_mutex_unlock(&fs->commit_lock);
	return ret;
}

/* So many changes that a commit should not wait for its time; and so many that whoever adds more
 * has to make it. The reserve of the database must hold what piled up. */
static uint64_t changes_wanted(const struct fs *fs)
{
	return min_u64(8192, fs->db.reserve_pages * 8);
}

static void commit_want(struct fs *fs)
{
	if (!fs->threaded)
		return;
	pthread_mutex_lock(&fs->commit_lock);
	fs->wanted = true;
	pthread_cond_signal(&fs->commit_wake);
	pthread_mutex_unlock(&fs->commit_lock);
}

void fs_note_change(struct fs *fs)
{
	if (atomic_fetch_add(&fs->changes, 1) == changes_wanted(fs))
		commit_want(fs);
}

/* So many rows, each in another page, and some divided, fit behind what makes the log full. */
static uint64_t rows_max(const struct fs *fs)
{
	return db_log_slack_pages(&fs->db) / 2;
}

/* Of neighbours in a file, which share leaves of one tree; each may lie elsewhere in the other. */
uint64_t fs_extents_at_once(const struct fs *fs)
{
	return db_log_slack_pages(&fs->db) / 2;
}

void fs_note_row(struct fs *fs)
{
	if (atomic_fetch_add(&fs->dirty_rows, 1) == rows_max(fs) / 2)
		commit_want(fs);
}

/* A row of an extent changes a leaf in each of two trees, and may divide both. */
#define EXTENT_PAGES 4

/* As many rows fill half a page of each of them. */
#define PAGE_EXTENTS 20

/* So many extents of one file are enough for one commit. */
static uint64_t file_extents_max(const struct fs *fs)
{
	return db_log_pages(&fs->db) / EXTENT_PAGES;
}

void fs_note_extents(struct fs *fs, struct inode *inode, uint64_t extents)
{
	uint64_t before = atomic_fetch_add(&fs->extents, extents);
	uint64_t half = atomic_load(&fs->extents_max) / 2;
	inode->new_extents += extents;
	if (inode->new_extents > file_extents_max(fs))
		atomic_store(&fs->file_full, true);
	if (before <= half && before + extents > half)
		commit_want(fs);
}

/* Where extents come between others, each leaf is divided once, and then it is half empty. */
void fs_measure_room(struct fs *fs)
{
	int64_t available = db_available_pages(&fs->db), pages = (int64_t)db_page_count(&fs->db);
	int64_t room = available + (int64_t)fs->db.reserve_pages / 2, most = room / EXTENT_PAGES;
	if ((room - pages) * PAGE_EXTENTS > most)
		most = (room - pages) * PAGE_EXTENTS;
	atomic_store(&fs->extents_max, most > 0 ? (uint64_t)most : 0);
	atomic_store(&fs->database_full, available <= 0);
	atomic_store(&fs->database_spent, room <= 0);
}

bool fs_must_commit(struct fs *fs)
{
	return atomic_load(&fs->changes) > 2 * changes_wanted(fs) || atomic_load(&fs->file_full) ||
	       atomic_load(&fs->extents) > atomic_load(&fs->extents_max) ||
	       atomic_load(&fs->dirty_rows) >= rows_max(fs);
}

/* ---- operations ---- */

int fs_begin(struct fs *fs, uint64_t grows)
{
	int ret = fs_check_writable(fs);
	if (ret < 0)
		return ret;
	if (fs_must_commit(fs))
		ret = fs_commit(fs);
	pthread_mutex_lock(&fs->db_lock);
	if (ret == 0)
		ret = db_begin(&fs->db);
	while (ret == 0 && (db_log_is_full(&fs->db) || (grows && inode_numbers_short(fs)))) {
		pthread_mutex_unlock(&fs->db_lock);
		ret = fs_commit(fs);
		pthread_mutex_lock(&fs->db_lock);
		if (ret == 0)
			ret = db_begin(&fs->db);
	}
	if (fs->db.lost)
		fs_fail(fs, -EIO);
	if (ret == 0 && grows)
		ret = db_reserve(&fs->db, grows);
	if (ret < 0) {
		pthread_mutex_unlock(&fs->db_lock);
		return ret;
	}
	fs_note_change(fs);
	return 0;
}

void fs_end(struct fs *fs)
{
	if (fs->db.lost)
		fs_fail(fs, -EIO);
	pthread_mutex_unlock(&fs->db_lock);
}

/* ---- sync ---- */

int fs_sync(struct fs *fs)
{
	if (fs->read_only)
		return 0;
	inodes_reap_now(fs);
	return fs_commit(fs);
}

/* Does a commit have to make the inode durable, or is the flush of its data enough (I4)? */
static bool needs_commit(struct fs *fs, struct inode *inode, bool data_only)
{
	pthread_mutex_lock(&inode->lock);
	bool needed = inode->attr_dirty || inode->taken || inode->changed.count ||
		      inode->changed.everything ||
		      inode->transaction >= atomic_load(&fs->transaction) ||
		      (inode->times_dirty && !data_only);
	pthread_mutex_unlock(&inode->lock);
	return needed;
}

int fs_fsync(struct fs *fs, uint64_t ino, bool data_only)
{
	if (fs->read_only)
		return 0;
	struct inode *inode;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	if (needs_commit(fs, inode, data_only))
		ret = fs_commit(fs);
	else
		ret = flush(fs);
	inode_unpin(fs, inode);
	return ret;
}

/* ---- the thread ---- */

static void deadline_in(uint64_t ns, struct timespec *out)
{
	uint64_t at = clock_read_ns(CLOCK_MONOTONIC) + ns;
	*out = (struct timespec){(time_t)(at / NS_PER_S), (long)(at % NS_PER_S)};
}

static uint64_t commit_interval(struct fs *fs)
{
	uint64_t ns = fs->commit_ns;
	return ns ? ns : DEFAULT_COMMIT_NS;
}

void fs_set_commit_interval(struct fs *fs, uint64_t ns)
{
	if (atomic_exchange(&fs->commit_ns, ns) == ns)
		return;
	/* The deadline that the thread waits for is of the past. */
	pthread_mutex_lock(&fs->commit_lock);
	fs->wanted = true;
	pthread_cond_signal(&fs->commit_wake);
	pthread_mutex_unlock(&fs->commit_lock);
}

static void *commit_main(void *arg)
{
	struct fs *fs = arg;
	struct timespec at;
	deadline_in(commit_interval(fs), &at);
	pthread_mutex_lock(&fs->commit_lock);
	while (!fs->stopping) {
		if (!fs->wanted && pthread_cond_timedwait(
					   &fs->commit_wake, &fs->commit_lock, &at) != ETIMEDOUT)
			continue;
		fs->wanted = false;
		pthread_mutex_unlock(&fs->commit_lock);
		inodes_reap_now(fs);
		if (atomic_load(&fs->error) == 0 && fs_commit_is_due(fs))
			(void)fs_commit(fs);
		deadline_in(commit_interval(fs), &at);
		pthread_mutex_lock(&fs->commit_lock);
	}
	pthread_mutex_unlock(&fs->commit_lock);
	return NULL;
}

int fs_commit_start(struct fs *fs)
{
	if (!fs->threaded || fs->read_only || fs->commit_runs)
		return 0;
	int err = pthread_create(&fs->commit_thread, NULL, commit_main, fs);
	fs->commit_runs = !err;
	return -err;
}

void fs_commit_stop(struct fs *fs)
{
	if (fs->commit_runs) {
		pthread_mutex_lock(&fs->commit_lock);
		fs->stopping = true;
		pthread_cond_signal(&fs->commit_wake);
		pthread_mutex_unlock(&fs->commit_lock);
		pthread_join(fs->commit_thread, NULL);
	}
	fs->commit_runs = false;
	fs->threaded = false;
}
