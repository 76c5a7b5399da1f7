/* SPDX-License-Identifier: MIT */
/* The set of mutations that are armed.
 * Owning thread: any; the set's mutex protects the list. */
#include "inflight/flip.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/block.h"
#include "base/list.h"

struct armed {
	struct list_node node;
	int id;
	uint64_t ino, nth, met, fired;
	struct flip flip;
};

struct flip_set {
	pthread_mutex_t lock; /* all but count */
	struct list armed;
	int last_id;
	atomic_uint count;
};

static struct armed *armed_of(struct list_node *node)
{
	return container_of(node, struct armed, node);
}

void flip_apply(const struct flip *flip, uint32_t offset_bytes, uint32_t len_bytes, void *bytes)
{
	uint64_t first = max_u64(flip->offset_bytes, offset_bytes);
	uint64_t end = min_u64(
		(uint64_t)flip->offset_bytes + flip->len_bytes, (uint64_t)offset_bytes + len_bytes);
	for (uint64_t at = first; at < end; at++)
		((uint8_t *)bytes)[at - offset_bytes] ^= flip->xor_byte;
}

struct flip_set *flip_set_new(void)
{
	struct flip_set *set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	pthread_mutex_init(&set->lock, NULL);
	list_init(&set->armed);
	return set;
}

void flip_set_free(struct flip_set *set)
{
	if (!set)
		return;
	while (!list_empty(&set->armed))
		free(armed_of(list_pop_front(&set->armed)));
	pthread_mutex_destroy(&set->lock);
	free(set);
}

int flip_set_arm(struct flip_set *set, uint64_t ino, uint64_t nth, const struct flip *flip)
{
	struct armed *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->ino = ino;
	a->nth = nth;
	a->flip = *flip;
	pthread_mutex_lock(&set->lock);
	int id = a->id = ++set->last_id;
	list_push_back(&set->armed, &a->node);
	atomic_fetch_add(&set->count, 1);
	pthread_mutex_unlock(&set->lock);
	return id;
}

static struct armed *find(struct flip_set *set, int id)
{
	list_for_each (n, &set->armed) {
		if (armed_of(n)->id == id)
			return armed_of(n);
	}
	return NULL;
}

int flip_set_disarm(struct flip_set *set, int id)
{
	pthread_mutex_lock(&set->lock);
	struct armed *a = find(set, id);
	if (a) {
		list_remove(&a->node);
		atomic_fetch_sub(&set->count, 1);
	}
	pthread_mutex_unlock(&set->lock);
	free(a);
	return a ? 0 : -ENOENT;
}

int flip_set_look(struct flip_set *set, int id, uint64_t *met, uint64_t *fired)
{
	pthread_mutex_lock(&set->lock);
	struct armed *a = find(set, id);
	if (a) {
		*met = a->met;
		*fired = a->fired;
	}
	pthread_mutex_unlock(&set->lock);
	return a ? 0 : -ENOENT;
}

struct flip flip_set_meet(struct flip_set *set, uint64_t ino)
{
	struct flip flip = {0};
	if (!set || atomic_load_explicit(&set->count, memory_order_relaxed) == 0)
		return flip;
	pthread_mutex_lock(&set->lock);
	list_for_each (n, &set->armed) {
		struct armed *a = armed_of(n);
		if (a->ino != ino || a->fired)
			continue;
		if (++a->met < a->nth || flip.xor_byte)
			continue;
		a->fired = 1;
		flip = a->flip;
	}
	pthread_mutex_unlock(&set->lock);
	return flip;
}
