/* SPDX-License-Identifier: MIT */
/* Sorted extents in leaves of up to LEAF_MAX: a search is two binary searches, an insertion moves
 * one leaf. */
#include "fs/extent_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_MAX   128u
#define LEAF_FIRST 4u

struct extent_leaf {
	unsigned count, capacity;
	struct extent e[];
};

/* A place in the map: leaf and index; at the end leaf == map->count. */
struct place {
	unsigned leaf, at;
};

void extent_map_init(struct extent_map *map)
{
	*map = (struct extent_map){0};
}

void extent_map_clear(struct extent_map *map)
{
	for (unsigned i = 0; i < map->count; i++)
		free(map->leaves[i]);
	free(map->leaves);
	extent_map_init(map);
}

bool extent_continues(const struct extent *a, const struct extent *b)
{
	return extent_end(a) == b->file_block && a->volume_block + a->blocks == b->volume_block &&
	       a->state == b->state && a->tag == b->tag && a->reserved == b->reserved;
}

/* ---- places ---- */

static struct extent *extent_at(const struct extent_map *map, struct place p)
{
	return &map->leaves[p.leaf]->e[p.at];
}

static bool place_valid(const struct extent_map *map, struct place p)
{
	return p.leaf < map->count;
}

static uint64_t leaf_end(const struct extent_leaf *leaf)
{
	return extent_end(&leaf->e[leaf->count - 1]);
}

/* The first extent that ends behind @file_block. */
static struct place place_find(const struct extent_map *map, uint64_t file_block)
{
	unsigned low = 0, high = map->count;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (leaf_end(map->leaves[mid]) > file_block)
			high = mid;
		else
			low = mid + 1;
	}
	struct place p = {.leaf = low};
	if (low == map->count)
		return p;
	const struct extent_leaf *leaf = map->leaves[low];
	unsigned from = 0, end = leaf->count;
	while (from < end) {
		unsigned mid = (from + end) / 2;
		if (extent_end(&leaf->e[mid]) > file_block)
			end = mid;
		else
			from = mid + 1;
	}
	p.at = from;
	return p;
}

static bool place_before(const struct extent_map *map, struct place p, struct place *out)
{
	if (place_valid(map, p) && p.at > 0) {
		*out = (struct place){p.leaf, p.at - 1};
		return true;
	}
	if (p.leaf == 0)
		return false;
	*out = (struct place){p.leaf - 1, map->leaves[p.leaf - 1]->count - 1};
	return true;
}

static struct place place_next(const struct extent_map *map, struct place p)
{
	if (p.at + 1 < map->leaves[p.leaf]->count)
		return (struct place){p.leaf, p.at + 1};
	return (struct place){p.leaf + 1, 0};
}

/* ---- leaves ---- */

static int leaf_insert_slot(struct extent_map *map, unsigned at, struct extent_leaf *leaf)
{
	if (map->count == map->capacity) {
		unsigned capacity = map->capacity ? map->capacity * 2 : 1;
		struct extent_leaf **leaves =
			realloc(map->leaves, capacity * sizeof(struct extent_leaf *));
		if (!leaves)
			return -ENOMEM;
		map->leaves = leaves;
		map->capacity = capacity;
	}
	memmove(&map->leaves[at + 1], &map->leaves[at],
		(map->count - at) * sizeof(struct extent_leaf *));
	map->leaves[at] = leaf;
	map->count++;
	return 0;
}

static struct extent_leaf *leaf_new(unsigned capacity)
{
	struct extent_leaf *leaf = malloc(sizeof(*leaf) + capacity * sizeof(struct extent));
	if (leaf) {
		leaf->count = 0;
		leaf->capacity = capacity;
	}
	return leaf;
}

static int leaf_grow(struct extent_map *map, unsigned at)
{
	struct extent_leaf *leaf = map->leaves[at];
	unsigned capacity = leaf->capacity * 2;
	leaf = realloc(leaf, sizeof(*leaf) + capacity * sizeof(struct extent));
	if (!leaf)
		return -ENOMEM;
	leaf->capacity = capacity;
	map->leaves[at] = leaf;
	return 0;
}

/* The upper half of a full leaf becomes a leaf of its own. An append at the very end of the map
 * leaves the leaf full, so that a sequential file packs its leaves. */
static int leaf_split(struct extent_map *map, struct place *p)
{
	struct extent_leaf *leaf = map->leaves[p->leaf], *upper = leaf_new(LEAF_MAX);
	if (!upper)
		return -ENOMEM;
	bool append = p->leaf + 1 == map->count && p->at == leaf->count;
	unsigned keep = append ? leaf->count : leaf->count / 2;
	upper->count = leaf->count - keep;
	memcpy(upper->e, &leaf->e[keep], upper->count * sizeof(struct extent));
	int ret = leaf_insert_slot(map, p->leaf + 1, upper);
	if (ret < 0) {
		free(upper);
		return ret;
	}
	leaf->count = keep;
	if (p->at > keep || append)
		*p = (struct place){p->leaf + 1, p->at - keep};
	return 0;
}

/* Make room for one extent in front of @p. */
static int place_open(struct extent_map *map, struct place *p)
{
	int ret = 0;
	if (map->count == 0) {
		struct extent_leaf *leaf = leaf_new(LEAF_FIRST);
		if (!leaf)
			return -ENOMEM;
		ret = leaf_insert_slot(map, 0, leaf);
		if (ret < 0)
			free(leaf);
		*p = (struct place){0};
	} else if (p->leaf == map->count) {
		*p = (struct place){map->count - 1, map->leaves[map->count - 1]->count};
	}
	if (ret == 0 && map->leaves[p->leaf]->count == map->leaves[p->leaf]->capacity)
		ret = map->leaves[p->leaf]->capacity < LEAF_MAX ? leaf_grow(map, p->leaf)
								: leaf_split(map, p);
	if (ret < 0)
		return ret;
	struct extent_leaf *leaf = map->leaves[p->leaf];
	memmove(&leaf->e[p->at + 1], &leaf->e[p->at],
		(leaf->count - p->at) * sizeof(struct extent));
	leaf->count++;
	map->extents++;
	return 0;
}

static void place_erase(struct extent_map *map, struct place p)
{
	struct extent_leaf *leaf = map->leaves[p.leaf];
	memmove(&leaf->e[p.at], &leaf->e[p.at + 1],
		(leaf->count - p.at - 1) * sizeof(struct extent));
	map->extents--;
	if (--leaf->count > 0)
		return;
	free(leaf);
	memmove(&map->leaves[p.leaf], &map->leaves[p.leaf + 1],
		(map->count - p.leaf - 1) * sizeof(struct extent_leaf *));
	map->count--;
}

/* Join the extent at @p with its neighbours where they continue each other. Needs no memory. */
static void place_merge(struct extent_map *map, struct place p)
{
	struct place next = place_next(map, p), before;
	if (place_valid(map, next) && extent_continues(extent_at(map, p), extent_at(map, next))) {
		extent_at(map, p)->blocks += extent_at(map, next)->blocks;
		place_erase(map, next);
	}
	if (place_before(map, p, &before) &&
		extent_continues(extent_at(map, before), extent_at(map, p))) {
		extent_at(map, before)->blocks += extent_at(map, p)->blocks;
		place_erase(map, p);
	}
}

/* ---- the map ---- */

bool extent_map_find(const struct extent_map *map, uint64_t file_block, struct extent *out)
{
	struct place p = place_find(map, file_block);
	if (!place_valid(map, p))
		return false;
	*out = *extent_at(map, p);
	return true;
}

bool extent_map_find_before(const struct extent_map *map, uint64_t file_block, struct extent *out)
{
	struct place p = place_find(map, file_block);
	if (place_valid(map, p) && extent_at(map, p)->file_block < file_block) {
		*out = *extent_at(map, p);
		return true;
	}
	if (!place_before(map, p, &p))
		return false;
	*out = *extent_at(map, p);
	return true;
}

int extent_map_insert(struct extent_map *map, const struct extent *extent)
{
	assert(extent->blocks > 0);
	struct place p = place_find(map, extent->file_block), before;
	assert(!place_valid(map, p) || extent_at(map, p)->file_block >= extent_end(extent));
	if (place_before(map, p, &before) && extent_continues(extent_at(map, before), extent)) {
		extent_at(map, before)->blocks += extent->blocks;
		p = before;
	} else if (place_valid(map, p) && extent_continues(extent, extent_at(map, p))) {
		struct extent *next = extent_at(map, p);
		next->file_block = extent->file_block;
		next->volume_block = extent->volume_block;
		next->blocks += extent->blocks;
	} else {
		int ret = place_open(map, &p);
		if (ret < 0)
			return ret;
		*extent_at(map, p) = *extent;
	}
	map->blocks += extent->blocks;
	place_merge(map, p);
	return 0;
}

/* Cut the extent at @p so that one begins at @file_block, which lies inside it. */
static int place_cut(struct extent_map *map, struct place p, uint64_t file_block)
{
	struct extent head = *extent_at(map, p), tail = head;
	head.blocks = file_block - head.file_block;
	tail.file_block = file_block;
	tail.volume_block += head.blocks;
	tail.blocks -= head.blocks;
	struct place at = {p.leaf, p.at + 1};
	int ret = place_open(map, &at);
	if (ret < 0)
		return ret;
	*extent_at(map, at) = tail;
	struct place front;
	if (place_before(map, at, &front))
		*extent_at(map, front) = head;
	return 0;
}

/* See to it that extents begin and end at the borders of the range. */
static int range_cut(struct extent_map *map, uint64_t file_block, uint64_t end)
{
	uint64_t borders[2] = {file_block, end};
	for (unsigned i = 0; i < 2; i++) {
		struct place p = place_find(map, borders[i]);
		if (!place_valid(map, p) || extent_at(map, p)->file_block >= borders[i])
			continue;
		int ret = place_cut(map, p, borders[i]);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int extent_map_remove(struct extent_map *map, uint64_t file_block, uint64_t blocks,
	void (*removed)(void *ctx, const struct extent *part), void *ctx)
{
	uint64_t end = blocks > UINT64_MAX - file_block ? UINT64_MAX : file_block + blocks;
	int ret = range_cut(map, file_block, end);
	if (ret < 0)
		return ret;
	for (;;) {
		struct place p = place_find(map, file_block);
		if (!place_valid(map, p) || extent_at(map, p)->file_block >= end)
			return 0;
		struct extent gone = *extent_at(map, p);
		place_erase(map, p);
		map->blocks -= gone.blocks;
		if (removed)
			removed(ctx, &gone);
	}
}

int extent_map_restate(struct extent_map *map, uint64_t file_block, uint64_t blocks,
	enum extent_state state, uint64_t tag, bool reserved)
{
	int ret = range_cut(map, file_block, file_block + blocks);
	if (ret < 0)
		return ret;
	struct place p = place_find(map, file_block);
	struct extent *e = extent_at(map, p);
	assert(e->file_block == file_block && e->blocks == blocks);
	e->state = state;
	e->tag = tag;
	e->reserved = reserved;
	place_merge(map, p);
	return 0;
}
