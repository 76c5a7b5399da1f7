/* SPDX-License-Identifier: MIT */
/* Inodes in memory: found by number, kept while they are used or their row is out of date, and for
 * a while after that.
 *
 * References: lookups (the kernel's), opens, pins (a call or transfer under way). An inode that is
 * neither open nor pinned is
 *
 *	dirty		until a commit wrote it,
 *	idle		on the LRU. The oldest leave memory when there are many, or when their maps
 *			are large; their lookups stay behind, parked. A million files that the
 *			kernel knows cost their parked lookups, not their inodes,
 *	an orphan	without a link. It stays while there are lookups of it, then it is to be
 *			reclaimed. */
#include "fs/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 1024u
#define IDLE_MAX      8192u
/* An idle inode weighs 1, and 1 more for so many extents: half a million of them in all. */
#define EXTENTS_A_UNIT 64u

int64_t time_now_ns(void)
{
	return (int64_t)clock_read_ns(CLOCK_REALTIME_COARSE);
}

/* ---- one inode ---- */

static struct inode *inode_alloc(struct fs *fs, uint64_t ino)
{
	struct inode *inode = calloc(1, sizeof(*inode));
	if (!inode)
		return NULL;
	inode->fs = fs;
	inode->ino = ino;
	inode->pins = 1;
	inode->tail_stale = true;
	pthread_mutex_init(&inode->lock, NULL);
	list_node_init(&inode->lru);
	list_node_init(&inode->dirty);
	list_node_init(&inode->commit);
	list_node_init(&inode->reclaim);
	list_init(&inode->transfers);
	list_init(&inode->held);
	list_init(&inode->barriers);
	extent_map_init(&inode->map);
	replaced_init(&inode->replaced);
	return inode;
}

void inode_free(struct inode *inode)
{
	if (!inode)
		return;
	extent_map_clear(&inode->map);
	replaced_clear(&inode->replaced);
	range_set_clear(&inode->changed);
	pthread_mutex_destroy(&inode->lock);
	free(inode);
}

void inode_touch(struct inode *inode, bool mtime, bool ctime, int64_t now)
{
	if (mtime)
		inode->attr.mtime = now;
	if (ctime)
		inode->attr.ctime = now;
	inode->times_dirty = true;
}

void inode_stat(const struct inode *inode, struct stat *st)
{
	const struct inode_attr *a = &inode->attr;
	uint64_t blocks = inode->map_loaded ? inode->map.blocks : inode->db_blocks;
	*st = (struct stat){
		.st_ino = inode->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size,
		.st_blksize = BLOCK_BYTES,
		.st_blocks = (blkcnt_t)(blocks * (BLOCK_BYTES / 512)),
		.st_atim = times_to(a->atime),
		.st_mtim = times_to(a->mtime),
		.st_ctim = times_to(a->ctime),
	};
}

/* ---- the table: its lock is held ---- */

int inode_table_init(struct inode_table *table)
{
	pthread_mutex_init(&table->lock, NULL);
	list_init(&table->lru);
	list_init(&table->dirty);
	list_init(&table->reclaim);
	table->buckets = calloc(BUCKETS_FIRST, sizeof(struct inode *));
	table->bucket_count = table->buckets ? BUCKETS_FIRST : 0;
	return table->buckets ? 0 : -ENOMEM;
}

void inode_table_free(struct inode_table *table)
{
	for (size_t i = 0; i < table->bucket_count; i++) {
		while (table->buckets[i]) {
			struct inode *inode = table->buckets[i];
			table->buckets[i] = inode->hash_next;
			inode_free(inode);
		}
	}
	free(table->buckets);
	parked_clear(&table->parked);
	table->buckets = NULL;
	table->bucket_count = 0;
	pthread_mutex_destroy(&table->lock);
}

static struct inode **bucket_of(const struct inode_table *table, uint64_t ino)
{
	uint64_t mixed = ino * UINT64_C(0x9E3779B97F4A7C15);
	return &table->buckets[(mixed >> 32) & (table->bucket_count - 1)];
}

/* More buckets where there are more inodes than that; as many as before where memory is short. */
static void table_grow(struct inode_table *table)
{
	if (table->count < table->bucket_count)
		return;
	struct inode_table bigger = {.bucket_count = table->bucket_count * 2};
	bigger.buckets = calloc(bigger.bucket_count, sizeof(struct inode *));
	if (!bigger.buckets)
		return;
	for (size_t i = 0; i < table->bucket_count; i++) {
		struct inode *next;
		for (struct inode *inode = table->buckets[i]; inode; inode = next) {
			struct inode **bucket = bucket_of(&bigger, inode->ino);
			next = inode->hash_next;
			inode->hash_next = *bucket;
			*bucket = inode;
		}
	}
	free(table->buckets);
	table->buckets = bigger.buckets;
	table->bucket_count = bigger.bucket_count;
}

static void table_insert(struct inode_table *table, struct inode *inode)
{
	table_grow(table);
	struct inode **bucket = bucket_of(table, inode->ino);
	inode->hash_next = *bucket;
	*bucket = inode;
	table->count++;
}

static void table_remove(struct inode_table *table, struct inode *inode)
{
	struct inode **at = bucket_of(table, inode->ino);
	while (*at != inode)
		at = &(*at)->hash_next;
	*at = inode->hash_next;
	table->count--;
}

static struct inode *table_find(const struct inode_table *table, uint64_t ino)
{
	struct inode *inode = *bucket_of(table, ino);
	while (inode && inode->ino != ino)
		inode = inode->hash_next;
	return inode;
}

static bool unreferenced(const struct inode *inode)
{
	return inode->lookups == 0 && inode->opens == 0 && inode->pins == 0;
}

/* Nobody else looks at an inode that is not pinned. */
static size_t weight_of(const struct inode *inode)
{
	return 1 + inode->map.extents / EXTENTS_A_UNIT;
}

static void lru_add(struct inode_table *table, struct inode *inode)
{
	inode->weight = weight_of(inode);
	table->idle += inode->weight;
	list_push_back(&table->lru, &inode->lru);
}

static void lru_remove(struct inode_table *table, struct inode *inode)
{
	if (!list_linked(&inode->lru))
		return;
	list_remove(&inode->lru);
	table->idle -= inode->weight;
}

/* The oldest idle inode leaves memory. NULL: there is none, or it must stay: where its lookups
 * cannot be parked, and where a write failed whose writer has not heard of it. */
static struct inode *lru_evict(struct inode_table *table)
{
	struct list_node *first = list_first(&table->lru);
	if (!first)
		return NULL;
	struct inode *inode = container_of(first, struct inode, lru);
	bool stays =
		inode->lookups &&
		(inode->lost.unheard || parked_add(&table->parked, inode->ino, inode->lookups) < 0);
	lru_remove(table, inode);
	if (stays) {
		lru_add(table, inode);
		return NULL;
	}
	table_remove(table, inode);
	return inode;
}

/* An inode lost a reference: decide what becomes of it. Returns those to free, by hash_next. */
static struct inode *settle(struct inode_table *table, struct inode *inode)
{
	if (inode->opens || inode->pins)
		return NULL;
	if (inode->orphan) {
		if (!inode->lookups && !list_linked(&inode->reclaim))
			list_push_back(&table->reclaim, &inode->reclaim);
		return NULL;
	}
	if (list_linked(&inode->dirty) || list_linked(&inode->lru))
		return NULL;
	lru_add(table, inode);
	struct inode *gone = NULL, *next;
	while (table->idle > IDLE_MAX && (next = lru_evict(table))) {
		next->hash_next = gone;
		gone = next;
	}
	return gone;
}

static void inodes_free(struct inode *gone)
{
	while (gone) {
		struct inode *next = gone->hash_next;
		inode_free(gone);
		gone = next;
	}
}

/* ---- references ---- */

struct inode *inode_find(struct fs *fs, uint64_t ino)
{
	struct inode_table *table = &fs->table;
	pthread_mutex_lock(&table->lock);
	struct inode *inode = table_find(table, ino);
	if (inode) {
		inode->pins++;
		lru_remove(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	return inode;
}

/* Only under db_lock are inodes added, so none is added twice. */
int inode_get_locked(struct fs *fs, uint64_t ino, struct inode **out)
{
	*out = inode_find(fs, ino);
	if (*out)
		return 0;
	struct inode *inode = inode_alloc(fs, ino);
	if (!inode)
		return -ENOMEM;
	int ret = inode_read_row(fs, ino, &inode->attr, &inode->db_blocks);
	if (ret < 0) {
		inode_free(inode);
		return ret;
	}
	inode->orphan = inode->attr.nlink == 0;
	inode->stored = true;
	inode->size_before = inode->row_size = inode->attr.size;
	pthread_mutex_lock(&fs->table.lock);
	inode->lookups = parked_take(&fs->table.parked, ino);
	inode->not_cached = inode->lookups == 0;
	table_insert(&fs->table, inode);
	pthread_mutex_unlock(&fs->table.lock);
	*out = inode;
	return 0;
}

int inode_get(struct fs *fs, uint64_t ino, struct inode **out)
{
	*out = inode_find(fs, ino);
	if (*out)
		return 0;
	pthread_mutex_lock(&fs->db_lock);
	int ret = inode_get_locked(fs, ino, out);
	pthread_mutex_unlock(&fs->db_lock);
	return ret;
}

void inode_pin(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&fs->table.lock);
	inode->pins++;
	pthread_mutex_unlock(&fs->table.lock);
}

void inode_unpin(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&fs->table.lock);
	assert(inode->pins > 0);
	inode->pins--;
	struct inode *gone = settle(&fs->table, inode);
	pthread_mutex_unlock(&fs->table.lock);
	inodes_free(gone);
}

void inode_unpinp(struct inode **inode)
{
	if (*inode)
		inode_unpin((*inode)->fs, *inode);
}

void inode_reference(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&fs->table.lock);
	inode->lookups++;
	pthread_mutex_unlock(&fs->table.lock);
}

void inode_set_orphan(struct fs *fs, struct inode *inode, bool orphan)
{
	pthread_mutex_lock(&fs->table.lock);
	inode->orphan = orphan;
	if (!orphan && list_linked(&inode->reclaim))
		list_remove(&inode->reclaim);
	pthread_mutex_unlock(&fs->table.lock);
}

bool inode_is_referenced(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&fs->table.lock);
	bool referenced = inode->lookups > 0 || inode->opens > 0;
	pthread_mutex_unlock(&fs->table.lock);
	return referenced;
}

/* @counts: a commit cannot leave its row to a later transaction. */
static size_t mark(struct fs *fs, struct inode *inode, bool counts)
{
	pthread_mutex_lock(&fs->table.lock);
	if (!list_linked(&inode->dirty)) {
		lru_remove(&fs->table, inode);
		list_push_back(&fs->table.dirty, &inode->dirty);
		fs->table.dirty_count++;
	}
	bool note = counts && inode->stored && !inode->counted;
	inode->counted |= note;
	size_t dirty = fs->table.dirty_count;
	pthread_mutex_unlock(&fs->table.lock);
	if (note)
		fs_note_row(fs);
	return dirty;
}

size_t inode_mark_accessed(struct fs *fs, struct inode *inode)
{
	return mark(fs, inode, false);
}

void inode_mark_dirty(struct fs *fs, struct inode *inode)
{
	atomic_store(&fs->urgent, true);
	mark(fs, inode, true);
}

int inode_new(struct fs *fs, const struct inode_attr *attr, struct inode **out)
{
	uint64_t ino = inode_number_take(fs);
	if (!ino)
		return -ENOSPC;
	struct inode *inode = inode_alloc(fs, ino);
	if (!inode)
		return -ENOMEM;
	inode->attr = *attr;
	inode->size_before = attr->size;
	inode->attr_dirty = inode->map_loaded = inode->no_xattrs = inode->not_cached = true;
	inode->tail_stale = false;
	inode->transaction = atomic_load(&fs->transaction);
	pthread_mutex_lock(&fs->table.lock);
	table_insert(&fs->table, inode);
	pthread_mutex_unlock(&fs->table.lock);
	inode_mark_dirty(fs, inode);
	atomic_fetch_add(&fs->inodes, 1);
	*out = inode;
	return 0;
}

bool inode_detach(struct fs *fs, struct inode *inode)
{
	struct inode_table *table = &fs->table;
	pthread_mutex_lock(&table->lock);
	bool free_of_refs = unreferenced(inode);
	if (list_linked(&inode->reclaim))
		list_remove(&inode->reclaim);
	if (free_of_refs) {
		if (list_linked(&inode->dirty)) {
			list_remove(&inode->dirty);
			table->dirty_count--;
			atomic_fetch_sub(&fs->dirty_rows, inode->counted);
		}
		lru_remove(table, inode);
		table_remove(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	return free_of_refs;
}

void inode_discard(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&fs->table.lock);
	inode->pins--;
	pthread_mutex_unlock(&fs->table.lock);
	/* Somebody may hold it by its number still: then it is thrown away once more, later. */
	if (!inode_detach(fs, inode))
		return;
	inode_free(inode);
	atomic_fetch_sub(&fs->inodes, 1);
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	pthread_mutex_lock(&fs->table.lock);
	struct inode *inode = table_find(&fs->table, ino), *gone = NULL;
	if (inode) {
		inode->lookups -= min_u64(count, inode->lookups);
		gone = settle(&fs->table, inode);
	} else {
		parked_drop(&fs->table.parked, ino, count);
	}
	pthread_mutex_unlock(&fs->table.lock);
	inodes_free(gone);
	inodes_reap_now(fs);
}

int fs_file_open(struct fs *fs, uint64_t ino)
{
	struct inode *inode;
	int ret = inode_get(fs, ino, &inode);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&fs->table.lock);
	inode->opens++;
	pthread_mutex_unlock(&fs->table.lock);
	inode_unpin(fs, inode);
	return 0;
}

void fs_file_release(struct fs *fs, uint64_t ino)
{
	pthread_mutex_lock(&fs->table.lock);
	struct inode *inode = table_find(&fs->table, ino), *gone = NULL;
	if (inode && inode->opens > 0) {
		inode->opens--;
		gone = settle(&fs->table, inode);
	}
	pthread_mutex_unlock(&fs->table.lock);
	inodes_free(gone);
	inodes_reap_now(fs);
}
