/* SPDX-License-Identifier: MIT */
/* Files that are open, their transfers, and the thread that has the kernel drop pages. */
#include "fuse/coherence.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/block.h"

#define BUCKETS 1024u

/* A page that was dirtied anew while it was being dropped fails the call (EBUSY): its bytes are
 * newer than the write, yet its neighbours must go. */
#define DROP_TRIES 8

struct coherence_inode {
	struct coherence_inode *next; /* in its bucket */
	uint64_t ino;
	struct list files;  /* struct coherence_file; under the table's lock */
	unsigned may_dirty; /* of them; under the table's lock */
	atomic_bool may_have_privs, times_stale;
	pthread_mutex_t lock;      /* reads, writes; taken last */
	struct list reads, writes; /* struct coherence_io under way */
};

struct coherence {
	coherence_drop_fn *drop;
	void *ctx;
	pthread_mutex_t table_lock; /* buckets, and the inodes' files */
	struct coherence_inode *buckets[BUCKETS];
	pthread_mutex_t queue_lock; /* queue, stopping */
	pthread_cond_t queue_filled;
	struct list queue; /* struct coherence_drop */
	bool stopping;
	pthread_t thread;
	_Atomic uint64_t drops;
};

/* ---- the thread ---- */

static struct coherence_drop *next_drop(struct coherence *c)
{
	pthread_mutex_lock(&c->queue_lock);
	while (list_empty(&c->queue) && !c->stopping)
		pthread_cond_wait(&c->queue_filled, &c->queue_lock);
	struct list_node *n = list_pop_front(&c->queue);
	pthread_mutex_unlock(&c->queue_lock);
	return n ? container_of(n, struct coherence_drop, node) : NULL;
}

static void *drop_all(void *arg)
{
	struct coherence *c = arg;
	struct coherence_drop *d;
	while ((d = next_drop(c))) {
		for (int i = 0; i < DROP_TRIES; i++)
			if (c->drop(c->ctx, d) != -EBUSY)
				break;
		c->drops++;
		d->done(d);
	}
	return NULL;
}

void coherence_drop(struct coherence *c, struct coherence_drop *drop)
{
	pthread_mutex_lock(&c->queue_lock);
	list_push_back(&c->queue, &drop->node);
	pthread_cond_signal(&c->queue_filled);
	pthread_mutex_unlock(&c->queue_lock);
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
	pthread_mutex_init(&c->table_lock, NULL);
	pthread_mutex_init(&c->queue_lock, NULL);
	pthread_cond_init(&c->queue_filled, NULL);
	list_init(&c->queue);
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&c->thread, NULL, drop_all, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(c);
		return -err;
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
	list_init(&i->reads);
	list_init(&i->writes);
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

bool coherence_may_be_dirty(struct coherence *c, uint64_t ino)
{
	pthread_mutex_lock(&c->table_lock);
	struct coherence_inode *i = inode_find(c, ino);
	bool may = i && i->may_dirty;
	pthread_mutex_unlock(&c->table_lock);
	return may;
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

void coherence_free(struct coherence *c, void (*forget)(void *ctx, uint64_t ino), void *ctx)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->queue_lock);
	c->stopping = true;
	pthread_cond_signal(&c->queue_filled);
	pthread_mutex_unlock(&c->queue_lock);
	pthread_join(c->thread, NULL);
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
	pthread_cond_destroy(&c->queue_filled);
	pthread_mutex_destroy(&c->queue_lock);
	pthread_mutex_destroy(&c->table_lock);
	free(c);
}

/* ---- transfers ---- */

static void overlaps_mark(struct list *others, struct coherence_io *io)
{
	list_for_each (n, others) {
		struct coherence_io *other = container_of(n, struct coherence_io, node);
		if (other->first_page <= io->last_page && io->first_page <= other->last_page)
			other->overlapped = io->overlapped = true;
	}
}

void coherence_begin(struct coherence_file *file, struct coherence_io *io, bool write,
	uint64_t offset_bytes, uint32_t len_bytes)
{
	struct coherence_inode *i = file->inode;
	uint64_t last_byte = offset_bytes + (len_bytes ? len_bytes - 1 : 0);
	*io = (struct coherence_io){.write = write,
		.first_page = offset_bytes / BLOCK_BYTES,
		.last_page = last_byte / BLOCK_BYTES};
	pthread_mutex_lock(&i->lock);
	overlaps_mark(write ? &i->reads : &i->writes, io);
	list_push_back(write ? &i->writes : &i->reads, &io->node);
	pthread_mutex_unlock(&i->lock);
}

bool coherence_end(struct coherence_file *file, struct coherence_io *io)
{
	pthread_mutex_lock(&file->inode->lock);
	list_remove(&io->node);
	bool must_drop = io->write && io->overlapped;
	pthread_mutex_unlock(&file->inode->lock);
	return must_drop;
}
