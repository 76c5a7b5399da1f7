/* SPDX-License-Identifier: MIT */
/* Files that are open, the marks of what was read of them, and the thread that has the kernel drop
 * pages. */
#include "fuse/coherence.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"

#define BUCKETS 1024u

/* A page that was dirtied anew while it was being dropped fails the call (EBUSY): its bytes are
 * newer than the write, yet its neighbours must go. */
#define DROP_TRIES 8

/* Files beyond 8 TiB that are open both ways have all their direct writes drop pages. */
#define MAX_REGIONS (UINT64_C(1) << 23)

struct coherence_inode {
	struct coherence_inode *next; /* in its bucket */
	uint64_t ino;
	struct list files; /* struct coherence_file; under the table's lock */
	/* Of them; under the table's lock. */
	unsigned may_dirty, may_extend;
	atomic_bool may_have_privs, times_stale, blocks_stale, no_space;
	_Atomic uint32_t word;
	atomic_uint direct;   /* of them; changed under the table's lock */
	pthread_mutex_t lock; /* all below; taken last */
	uint64_t *marks;      /* owned; one a region: 0, or the number of the last read */
	uint64_t regions;     /* that marks has room for */
	uint64_t reads;
	bool all_marked; /* for good: a region too far off, or no memory */
	bool turn_taken;
	struct list turns; /* struct coherence_turn: those who wait */
};

struct coherence {
	coherence_drop_fn *drop;
	void *ctx;
	pthread_mutex_t word_lock;  /* who makes a word; taken first, held while it is made */
	pthread_mutex_t table_lock; /* buckets, and the inodes' files */
	struct coherence_inode *buckets[BUCKETS];
	struct later *dropper; /* owned */
	_Atomic uint64_t drops;
};

/* ---- the thread ---- */

/* What was dropped needs no mark, unless it was read again meanwhile (I2). */
static void marks_clear(const struct coherence_drop *d)
{
	struct coherence_inode *i = d->marked;
	pthread_mutex_lock(&i->lock);
	for (unsigned n = 0; n < 2; n++) {
		uint64_t region = d->first_region + n;
		if (d->marks[n] && region < i->regions && i->marks[region] == d->marks[n])
			i->marks[region] = 0;
	}
	pthread_mutex_unlock(&i->lock);
}

static void drop_now(struct later_job *job)
{
	struct coherence_drop *d = container_of(job, struct coherence_drop, job);
	struct coherence *c = d->coherence;
	int err = -EBUSY;
	for (int i = 0; i < DROP_TRIES && err == -EBUSY; i++)
		err = c->drop(c->ctx, d);
	c->drops++;
	if (d->marked && err != -EBUSY)
		marks_clear(d);
	d->done(d);
}

void coherence_drop(struct coherence *c, struct coherence_drop *drop)
{
	drop->coherence = c;
	drop->job.run = drop_now;
	later_post(c->dropper, &drop->job);
}

uint64_t coherence_drop_count(struct coherence *c)
{
	return c->drops;
}

int coherence_new(coherence_drop_fn *drop, void *ctx, struct coherence **out)
{
	struct coherence *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->drop = drop;
	c->ctx = ctx;
	pthread_mutex_init(&c->word_lock, NULL);
	pthread_mutex_init(&c->table_lock, NULL);
	int err = later_new(&c->dropper);
	if (err < 0) {
		free(c);
		return err;
	}
	*out = c;
	return 0;
}

/* ---- open files ---- */

static struct coherence_inode **bucket_of(struct coherence *c, uint64_t ino)
{
	return &c->buckets[ino * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static struct coherence_inode *inode_find(struct coherence *c, uint64_t ino)
{
	struct coherence_inode *i = *bucket_of(c, ino);
	while (i && i->ino != ino)
		i = i->next;
	return i;
}

static struct coherence_inode *inode_find_or_add(struct coherence *c, uint64_t ino)
{
	struct coherence_inode *i = inode_find(c, ino);
	if (i)
		return i;
	i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	i->ino = ino;
	list_init(&i->files);
	list_init(&i->turns);
	pthread_mutex_init(&i->lock, NULL);
	i->may_have_privs = true;
	i->next = *bucket_of(c, ino);
	*bucket_of(c, ino) = i;
	return i;
}

static void inode_drop(struct coherence *c, struct coherence_inode *i)
{
	if (!list_empty(&i->files))
		return;
	struct coherence_inode **at = bucket_of(c, i->ino);
	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	pthread_mutex_destroy(&i->lock);
	free(i->marks);
	free(i);
}

struct coherence_file *coherence_open(
	struct coherence *c, uint64_t ino, bool direct, bool may_dirty)
{
	struct coherence_file *file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->ino = ino;
	file->direct = direct;
	file->may_dirty = may_dirty;
	pthread_mutex_lock(&c->table_lock);
	file->inode = inode_find_or_add(c, ino);
	if (file->inode) {
		list_push_back(&file->inode->files, &file->node);
		file->inode->may_dirty += may_dirty;
		file->inode->may_extend += may_dirty;
		file->inode->direct += direct;
	}
	pthread_mutex_unlock(&c->table_lock);
	if (file->inode)
		return file;
	free(file);
	return NULL;
}

bool coherence_release(struct coherence *c, struct coherence_file *file)
{
	struct coherence_inode *i = file->inode;
	pthread_mutex_lock(&c->table_lock);
	list_remove(&file->node);
	i->may_dirty -= file->may_dirty;
	i->may_extend -= file->may_dirty && !file->around_cache;
	i->direct -= file->direct;
	bool stale = list_empty(&i->files) && i->times_stale;
	inode_drop(c, i);
	pthread_mutex_unlock(&c->table_lock);
	free(file);
	return stale;
}

void coherence_set_times_stale(struct coherence_file *file)
{
	file->inode->times_stale = true;
}

bool coherence_take_stale_times(struct coherence *c, struct coherence_file *file)
{
	struct coherence_inode *i = file->inode;
	pthread_mutex_lock(&c->table_lock);
	bool alone = i->files.head.next == &file->node && i->files.head.prev == &file->node;
	bool stale = alone && i->times_stale;
	if (stale)
		i->times_stale = false;
	pthread_mutex_unlock(&c->table_lock);
	return stale;
}

bool coherence_take_times(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool stale = i && atomic_exchange(&i->times_stale, false);
	pthread_mutex_unlock(&c->table_lock);
	return stale;
}

void coherence_leave_times(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	if (i)
		i->times_stale = true;
	pthread_mutex_unlock(&c->table_lock);
}

bool coherence_times_unsure(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	/* Of those that may write, the ones that may not extend by the cache go around it. */
	bool unsure = i && (i->times_stale || i->may_dirty > i->may_extend);
	pthread_mutex_unlock(&c->table_lock);
	return unsure;
}

bool coherence_may_be_dirty(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool may = i && i->may_dirty;
	pthread_mutex_unlock(&c->table_lock);
	return may;
}

void coherence_set_around_cache(struct coherence *c, struct coherence_file *file)
{
	pthread_mutex_lock(&c->table_lock);
	file->around_cache = true;
	file->inode->may_extend -= file->may_dirty;
	pthread_mutex_unlock(&c->table_lock);
}

bool coherence_may_be_longer(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool may = i && i->may_extend;
	pthread_mutex_unlock(&c->table_lock);
	return may;
}

bool coherence_set_blocks_stale(struct coherence_file *file)
{
	return !atomic_exchange(&file->inode->blocks_stale, true);
}

bool coherence_take_stale_blocks(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool stale = i && atomic_exchange(&i->blocks_stale, false);
	pthread_mutex_unlock(&c->table_lock);
	return stale;
}

void coherence_set_no_space(struct coherence_file *file)
{
	file->inode->no_space = true;
}

bool coherence_take_no_space(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool none = i && atomic_exchange(&i->no_space, false);
	pthread_mutex_unlock(&c->table_lock);
	return none;
}

bool coherence_may_have_privs(struct coherence_file *file)
{
	return file->inode->may_have_privs;
}

void coherence_set_privs(struct coherence *c, uint64_t ino, bool may_have)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	if (i)
		i->may_have_privs = may_have;
	pthread_mutex_unlock(&c->table_lock);
}

uint32_t coherence_word(const struct coherence_file *file)
{
	return file->inode->word;
}

int coherence_refresh_word(
	struct coherence *c, uint64_t ino, coherence_make_word_fn *make, void *ctx)
{
	uint32_t word;
	pthread_mutex_lock(&c->word_lock);
	int err = make(ctx, ino, &word);
	if (err == 0) {
		pthread_mutex_lock(&c->table_lock);
		struct coherence_inode *i = inode_find(c, ino);
		if (i)
			i->word = word;
		pthread_mutex_unlock(&c->table_lock);
	}
	pthread_mutex_unlock(&c->word_lock);
	return err;
}

/* ---- turns ---- */

bool coherence_take_turn(struct coherence_file *file, struct coherence_turn *turn)
{
	struct coherence_inode *i = file->inode;
	pthread_mutex_lock(&i->lock);
	bool taken = !i->turn_taken;
	i->turn_taken = true;
	if (!taken)
		list_push_back(&i->turns, &turn->node);
	pthread_mutex_unlock(&i->lock);
	return taken;
}

struct coherence_turn *coherence_pass_turn(struct coherence_file *file)
{
	struct coherence_inode *i = file->inode;
	pthread_mutex_lock(&i->lock);
	struct list_node *n = list_pop_front(&i->turns);
	i->turn_taken = n;
	pthread_mutex_unlock(&i->lock);
	return n ? container_of(n, struct coherence_turn, node) : NULL;
}

void coherence_free(struct coherence *c, void (*forget)(void *ctx, uint64_t ino), void *ctx)
{
	if (!c)
		return;
	later_free(c->dropper);
	for (unsigned b = 0; b < BUCKETS; b++) {
		while (c->buckets[b]) {
			struct list_node *n = list_first(&c->buckets[b]->files);
			struct coherence_file *file = container_of(n, struct coherence_file, node);
			uint64_t ino = file->ino;
			coherence_release(c, file);
			if (forget)
				forget(ctx, ino);
		}
	}
	pthread_mutex_destroy(&c->table_lock);
	pthread_mutex_destroy(&c->word_lock);
	free(c);
}

/* ---- marks ---- */

static bool marks_make_room(struct coherence_inode *i, uint64_t regions)
{
	if (regions <= i->regions)
		return true;
	uint64_t room = max_u64(regions, 2 * i->regions);
	uint64_t *marks = regions <= MAX_REGIONS ? realloc(i->marks, room * sizeof(*marks)) : NULL;
	if (!marks)
		return false;
	memset(marks + i->regions, 0, (room - i->regions) * sizeof(*marks));
	i->marks = marks;
	i->regions = room;
	return true;
}

static uint64_t last_region(uint64_t offset_bytes, uint32_t len_bytes)
{
	return (offset_bytes + (len_bytes ? len_bytes - 1 : 0)) / COHERENCE_REGION_BYTES;
}

/* Without a direct open no direct write is under way: it would be open until its answer. */
void coherence_read_begins(struct coherence_file *file, uint64_t offset_bytes, uint32_t len_bytes)
{
	struct coherence_inode *i = file->inode;
	if (!i->direct)
		return;
	uint64_t last = last_region(offset_bytes, len_bytes);
	pthread_mutex_lock(&i->lock);
	i->reads++;
	if (marks_make_room(i, last + 1)) {
		for (uint64_t r = offset_bytes / COHERENCE_REGION_BYTES; r <= last; r++)
			i->marks[r] = i->reads;
	} else {
		i->all_marked = true;
	}
	pthread_mutex_unlock(&i->lock);
}

/* A write by a descriptor that was made direct after its open (fcntl) was not expected: reads have
 * left no marks. */
bool coherence_write_ended(struct coherence_file *file, uint64_t offset_bytes, uint32_t len_bytes,
	struct coherence_drop *drop)
{
	struct coherence_inode *i = file->inode;
	uint64_t first = offset_bytes / COHERENCE_REGION_BYTES;
	uint64_t last = last_region(offset_bytes, len_bytes);
	*drop = (struct coherence_drop){.ino = file->ino,
		.offset_bytes = first * COHERENCE_REGION_BYTES,
		.len_bytes = (last + 1 - first) * COHERENCE_REGION_BYTES,
		.marked = i,
		.first_region = first};
	pthread_mutex_lock(&i->lock);
	bool marked = i->all_marked || !file->direct;
	for (uint64_t r = first; r <= last && r < i->regions; r++) {
		drop->marks[r - first] = i->marks[r];
		marked |= i->marks[r] != 0;
	}
	pthread_mutex_unlock(&i->lock);
	return marked;
}
