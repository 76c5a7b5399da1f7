/* SPDX-License-Identifier: MIT */
/* The extents of one file in memory: sorted, without overlap, neighbours merged. Pure: no I/O, no
 * locks; whoever owns the map (an inode, under its mutex) owns everything in it.
 *
 * The life of an extent, and who moves it on:
 *
 *	hole --allocate--> PENDING --written--> WRITTEN --flushed, committed--> CLEAN
 *	UNWRITTEN (fallocate) --first write begins--> PENDING (reserved) --written--> WRITTEN ...
 *	PENDING --the write failed--> hole, or UNWRITTEN where reserved */
#ifndef STABLEFS_FS_EXTENT_MAP_H
#define STABLEFS_FS_EXTENT_MAP_H

#include <stdbool.h>
#include <stdint.h>

enum extent_state {
	EXTENT_CLEAN,     /* its data is durable: the database holds it or may */
	EXTENT_UNWRITTEN, /* allocated, reads as zeros; the database may hold it so */
	EXTENT_PENDING,   /* its first write is under way; reads as zeros */
	EXTENT_WRITTEN,   /* written, perhaps not durable: not for the database yet */
};

struct extent {
	uint64_t file_block, volume_block, blocks;
	uint64_t tag; /* PENDING: the transfer; WRITTEN: the epoch it was written in; else 0 */
	enum extent_state state;
	bool reserved; /* PENDING, WRITTEN: the database may hold it as unwritten meanwhile */
};

struct extent_leaf;

struct extent_map {
	struct extent_leaf **leaves; /* owned; none is empty */
	unsigned count, capacity;
	uint64_t extents, blocks; /* in all */
};

void extent_map_init(struct extent_map *map);
void extent_map_clear(struct extent_map *map);

/* The extent that covers @file_block, or the first behind it. False: none. */
bool extent_map_find(const struct extent_map *map, uint64_t file_block, struct extent *out);
/* The last extent that begins before @file_block. False: none. */
bool extent_map_find_before(const struct extent_map *map, uint64_t file_block, struct extent *out);

/* Add an extent whose range is a hole; merges it with neighbours that continue it. -ENOMEM. */
int extent_map_insert(struct extent_map *map, const struct extent *extent);

/* Make [file_block, file_block + blocks) a hole. @removed (may be NULL) is told each part that was
 * there. -ENOMEM: the map is unchanged from some part on. */
int extent_map_remove(struct extent_map *map, uint64_t file_block, uint64_t blocks,
	void (*removed)(void *ctx, const struct extent *part), void *ctx);

/* Give the part of an extent [file_block, + blocks), which lies in one extent, another state, tag,
 * reservation. Needs no memory where the part is the whole extent (a PENDING one always is its
 * writer's whole piece). -ENOMEM. */
int extent_map_restate(struct extent_map *map, uint64_t file_block, uint64_t blocks,
	enum extent_state state, uint64_t tag, bool reserved);

/* True where @b continues @a in file and volume and they differ in nothing else. */
bool extent_continues(const struct extent *a, const struct extent *b);

static inline uint64_t extent_end(const struct extent *e)
{
	return e->file_block + e->blocks;
}

/* Is its data durable once @epoch was flushed? */
static inline bool extent_is_durable(const struct extent *e, uint64_t epoch)
{
	return e->state == EXTENT_CLEAN || (e->state == EXTENT_WRITTEN && e->tag <= epoch);
}

/* The part of @e in [first, end), which is not empty. */
static inline struct extent extent_clip(const struct extent *e, uint64_t first, uint64_t end)
{
	struct extent part = *e;
	part.file_block = first > e->file_block ? first : e->file_block;
	part.volume_block += part.file_block - e->file_block;
	part.blocks = (extent_end(e) < end ? extent_end(e) : end) - part.file_block;
	return part;
}

#endif
