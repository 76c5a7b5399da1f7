/* SPDX-License-Identifier: MIT */
/* Lookups of inodes that are not in memory. */
#include "fs/parked.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define CAPACITY_FIRST 1024u

void parked_clear(struct parked *p)
{
	free(p->slots);
	*p = (struct parked){0};
}

static size_t home_of(const struct parked *p, uint64_t ino)
{
	return (ino * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (p->capacity - 1);
}

/* The slot that has @ino, or the free one where it would be. */
static size_t slot_find(const struct parked *p, uint64_t ino)
{
	size_t at = home_of(p, ino);
	while (p->slots[at].ino != 0 && p->slots[at].ino != ino)
		at = (at + 1) & (p->capacity - 1);
	return at;
}

static int resize(struct parked *p, size_t capacity)
{
	struct parked other = {.capacity = capacity, .count = p->count};
	other.slots = calloc(capacity, sizeof(*other.slots));
	if (!other.slots)
		return -ENOMEM;
	for (size_t i = 0; i < p->capacity; i++)
		if (p->slots[i].ino != 0)
			other.slots[slot_find(&other, p->slots[i].ino)] = p->slots[i];
	free(p->slots);
	*p = other;
	return 0;
}

int parked_add(struct parked *p, uint64_t ino, uint64_t lookups)
{
	if (p->count >= p->capacity - p->capacity / 4) {
		int ret = resize(p, p->capacity ? p->capacity * 2 : CAPACITY_FIRST);
		if (ret < 0)
			return ret;
	}
	struct parked_slot *slot = &p->slots[slot_find(p, ino)];
	p->count += slot->ino == 0;
	*slot = (struct parked_slot){ino, slot->lookups + lookups};
	return 0;
}

/* Close the gap: whatever stands behind it only because its place was taken moves up. */
static void slot_free(struct parked *p, size_t gap)
{
	size_t mask = p->capacity - 1;
	for (size_t at = (gap + 1) & mask; p->slots[at].ino != 0; at = (at + 1) & mask) {
		size_t home = home_of(p, p->slots[at].ino);
		if (((at - home) & mask) >= ((at - gap) & mask)) {
			p->slots[gap] = p->slots[at];
			gap = at;
		}
	}
	p->slots[gap] = (struct parked_slot){0};
	p->count--;
	/* Memory that cannot be had for a smaller one is no loss: the larger one stays. */
	if (p->capacity > CAPACITY_FIRST && p->count < p->capacity / 8)
		(void)resize(p, p->capacity / 2);
}

uint64_t parked_take(struct parked *p, uint64_t ino)
{
	if (p->count == 0)
		return 0;
	size_t at = slot_find(p, ino);
	uint64_t lookups = p->slots[at].lookups;
	if (p->slots[at].ino != 0)
		slot_free(p, at);
	return lookups;
}

void parked_drop(struct parked *p, uint64_t ino, uint64_t lookups)
{
	if (p->count == 0)
		return;
	struct parked_slot *slot = &p->slots[slot_find(p, ino)];
	if (slot->lookups > lookups)
		slot->lookups -= lookups;
	else if (slot->ino != 0)
		slot_free(p, (size_t)(slot - p->slots));
}
