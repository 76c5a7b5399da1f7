/* SPDX-License-Identifier: MIT */
/* First writes whose bytes were taken: their writer was answered before they are stored.
 *
 *	taken_begin (answered, in epoch E) -> stored -> taken_end
 *	a commit: taken_close (E ends) -> taken_wait (all of E are stored) -> flush, rows, COMMIT
 *
 * No row points to their blocks, so a crash before the next commit has always taken them: to answer
 * before they are stored gives nothing away, as long as that commit still has them. It does: their
 * epoch is that of the answer, not that of their end, and the commit that ends it waits for them.
 * Of two epochs at most some are under way: the next commit begins when that of the last is over.
 *
 * Lock: taken.lock, innermost. The engine's thread takes it. */
#include "fs/internal.h"

#include <assert.h>

void taken_init(struct taken *taken)
{
	*taken = (struct taken){0};
	pthread_mutex_init(&taken->lock, NULL);
}

void taken_fini(struct taken *taken)
{
	pthread_mutex_destroy(&taken->lock);
}

uint64_t taken_begin(struct fs *fs)
{
	pthread_mutex_lock(&fs->taken.lock);
	uint64_t epoch = atomic_load(&fs->epoch);
	fs->taken.count[epoch % 2]++;
	pthread_mutex_unlock(&fs->taken.lock);
	return epoch;
}

void taken_end(struct fs *fs, uint64_t epoch)
{
	struct taken *taken = &fs->taken;
	pthread_mutex_lock(&taken->lock);
	assert(taken->count[epoch % 2] > 0);
	taken->count[epoch % 2]--;
	struct volume_waiter *waiter = NULL;
	if (taken->waiter && taken->waits_for == epoch && taken->count[epoch % 2] == 0) {
		waiter = taken->waiter;
		taken->waiter = NULL;
	}
	pthread_mutex_unlock(&taken->lock);
	if (waiter)
		volume_signal(fs->volume, waiter, 0);
}

bool taken_any(struct fs *fs)
{
	pthread_mutex_lock(&fs->taken.lock);
	bool any = fs->taken.count[0] || fs->taken.count[1];
	pthread_mutex_unlock(&fs->taken.lock);
	return any;
}

uint64_t taken_close(struct fs *fs)
{
	pthread_mutex_lock(&fs->taken.lock);
	uint64_t epoch = atomic_fetch_add(&fs->epoch, 1);
	pthread_mutex_unlock(&fs->taken.lock);
	return epoch;
}

void taken_wait(struct fs *fs, uint64_t epoch)
{
	struct taken *taken = &fs->taken;
	struct volume_waiter waiter = {0};
	pthread_mutex_lock(&taken->lock);
	bool waits = taken->count[epoch % 2] > 0;
	if (waits) {
		taken->waiter = &waiter;
		taken->waits_for = epoch;
	}
	pthread_mutex_unlock(&taken->lock);
	if (waits)
		volume_wait(fs->volume, &waiter);
}
