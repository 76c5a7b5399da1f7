/* SPDX-License-Identifier: MIT */
/* Barriers: a part of a file without transfers, while its map changes or bytes are zeroed.
 *
 * From barrier_begin() on, new transfers that overlap are held back, so those under way come to an
 * end; barriers of one inode hold in the order of their coming. A transfer that was admitted is
 * under way also while it waits for another one's first write of a block (it owns blocks). */
#include "fs/internal.h"

static bool transfers_overlap(const struct inode *inode, const struct barrier *b)
{
	list_for_each (n, &inode->transfers) {
		const struct transfer *t = container_of(n, struct transfer, node);
		if (ranges_overlap(t->first, t->end, b->first, b->end))
			return true;
	}
	return false;
}

static bool barrier_holds(const struct inode *inode, const struct barrier *b)
{
	return inode->barriers.head.next == &b->node && !transfers_overlap(inode, b);
}

void barrier_begin(
	struct fs *fs, struct inode *inode, struct barrier *b, uint64_t first, uint64_t end)
{
	*b = (struct barrier){.first = first, .end = end};
	pthread_mutex_lock(&inode->lock);
	list_push_back(&inode->barriers, &b->node);
	while (!barrier_holds(inode, b)) {
		struct volume_waiter waiter = {0};
		b->waiter = &waiter;
		pthread_mutex_unlock(&inode->lock);
		volume_wait(fs->volume, &waiter);
		pthread_mutex_lock(&inode->lock);
	}
	pthread_mutex_unlock(&inode->lock);
}

void barrier_check(struct fs *fs, struct inode *inode)
{
	struct list_node *n = list_first(&inode->barriers);
	struct barrier *b = n ? container_of(n, struct barrier, node) : NULL;
	if (!b || !b->waiter || !barrier_holds(inode, b))
		return;
	struct volume_waiter *waiter = b->waiter;
	b->waiter = NULL;
	volume_signal(fs->volume, waiter, 0);
}

bool barrier_covers(const struct inode *inode, uint64_t first, uint64_t end)
{
	list_for_each (n, &inode->barriers) {
		const struct barrier *b = container_of(n, struct barrier, node);
		if (ranges_overlap(first, end, b->first, b->end))
			return true;
	}
	return false;
}

void barrier_end(struct fs *fs, struct inode *inode, struct barrier *b)
{
	struct list free;
	list_init(&free);
	pthread_mutex_lock(&inode->lock);
	list_remove(&b->node);
	barrier_check(fs, inode);
	list_for_each_safe (n, &inode->held) {
		struct transfer *t = container_of(n, struct transfer, node);
		if (barrier_covers(inode, t->first, t->end))
			continue;
		list_remove(n);
		list_push_back(&free, n);
	}
	pthread_mutex_unlock(&inode->lock);
	struct list_node *n;
	while ((n = list_pop_front(&free)))
		transfer_start(container_of(n, struct transfer, node));
}
