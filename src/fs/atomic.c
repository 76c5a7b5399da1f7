/* SPDX-License-Identifier: MIT */
/* Atomic writes: all or nothing across a power cut.
 *
 * The bytes go where no row points to: holes and unwritten blocks are claimed as by any write, and
 * for stored blocks there are new ones. When all is written, and not before, the new blocks take
 * the place of the old ones in the map, and the file may grow: both in the same epoch, so one
 * transaction makes both durable, behind the flush of the data (I1 of fs.h). What was replaced is
 * kept until then (replaced.c).
 *
 *	atomic_claim --> (parked) --> atomic_plan_copy --> atomic_copy --old_block_read--> written
 *	                                    `-- whole blocks ---------------------------^
 *	written --> atomic_settle, or after an error atomic_revert
 *
 * Nobody else is in the range meanwhile (T6 of transfer.c). The bytes come from a stable source: a
 * part of a block is copied from it, once, when the rest of the block has been read. */
#include "fs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

int atomic_check(const struct fs_io *io)
{
	uint32_t len = io->len_bytes;
	bool power = len != 0 && (len & (len - 1)) == 0;
	bool good = power && len >= FS_ATOMIC_MIN && len <= FS_ATOMIC_MAX;
	return good && io->offset_bytes % len == 0 ? 0 : -EINVAL;
}

struct atomic_write *atomic_new(struct transfer *t)
{
	struct atomic_write *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->transfer = t;
	extent_map_init(&a->blocks);
	return a;
}

void atomic_free(struct atomic_write *a)
{
	if (!a)
		return;
	extent_map_clear(&a->blocks);
	free(a->whole);
	free(a);
}

bool atomic_in_way(const struct transfer *t)
{
	if (t->inode->atomics == 0)
		return false;
	list_for_each (n, &t->inode->transfers) {
		const struct transfer *other = container_of(n, struct transfer, node);
		if (other == t)
			return false;
		if ((t->atomic || other->atomic) &&
			ranges_overlap(t->first, t->end, other->first, other->end))
			return true;
	}
	return false;
}

/* ---- blocks ---- */

/* Is the block stored, or may it be when those before are over; and has no new one yet? */
static bool wants_block(const struct transfer *t, uint64_t block)
{
	struct extent e;
	if (extent_map_find(&t->atomic->blocks, block, &e) && e.file_block <= block)
		return false;
	if (!extent_map_find(&t->inode->map, block, &e) || e.file_block > block)
		return false;
	return e.state != EXTENT_PENDING || e.tag != t->tag;
}

static int blocks_take(struct transfer *t, uint64_t first, uint64_t end)
{
	struct allocator *allocator = t->fs->allocator;
	struct extent e = {.state = EXTENT_PENDING, .tag = t->tag};
	for (; first < end; first += e.blocks) {
		e.file_block = first;
		e.blocks =
			allocator_take(allocator, ALLOCATOR_NO_GOAL, end - first, &e.volume_block);
		if (e.blocks == 0)
			return -ENOSPC;
		int ret = extent_map_insert(&t->atomic->blocks, &e);
		if (ret < 0) {
			allocator_release(allocator, e.volume_block, e.blocks);
			return ret;
		}
	}
	return 0;
}

int atomic_claim(struct transfer *t)
{
	uint64_t end, at = t->first;
	int ret = 0;
	for (; ret == 0 && at < t->end; at = end) {
		end = at + 1;
		if (!wants_block(t, at))
			continue;
		if (atomic_load(&t->fs->database_full))
			return -ENOSPC;
		while (end < t->end && wants_block(t, end))
			end++;
		ret = blocks_take(t, at, end);
	}
	return ret;
}

/* ---- a part of a block ---- */

static void old_block_read(struct stripe_req *req, int err)
{
	struct atomic_write *a = container_of(req, struct atomic_write, read);
	struct transfer *t = a->transfer;
	struct fs_io *io = t->io;
	uint8_t *place = a->whole + io->offset_bytes % BLOCK_BYTES;
	if (err == 0) {
		memset(a->whole + a->kept, 0, BLOCK_BYTES - a->kept);
		const void *bytes = source_sample(io->source, SAMPLE_DATA, 0, io->len_bytes, place);
		if (bytes != place)
			memcpy(place, bytes, io->len_bytes);
	}
	transfer_go_on(t, err);
}

/* The request that stores the part becomes one that stores the whole block. */
static void piece_widen(struct atomic_write *a, struct stripe_req *req)
{
	uint64_t skip = req->offset_bytes % BLOCK_BYTES;
	source_init_bounce(&a->source, a->whole, BLOCK_BYTES);
	req->offset_bytes -= skip;
	req->file_offset_bytes -= skip;
	req->len_bytes = BLOCK_BYTES;
	req->source = &a->source;
	req->source_offset = 0;
}

int atomic_plan_copy(struct transfer *t)
{
	struct atomic_write *a = t->atomic;
	struct extent e, own;
	if (t->io->len_bytes >= BLOCK_BYTES || !extent_map_find(&a->blocks, t->first, &own) ||
		!extent_map_find(&t->inode->map, t->first, &e) || e.file_block > t->first ||
		(e.state != EXTENT_CLEAN && e.state != EXTENT_WRITTEN))
		return 0;
	a->whole = mem_alloc_blocks(BLOCK_BYTES);
	if (!a->whole)
		return -ENOMEM;
	uint64_t start = t->first << BLOCK_SHIFT, size = t->inode->attr.size;
	a->kept = size > start ? (uint32_t)min_u64(size - start, BLOCK_BYTES) : 0;
	a->read = (struct stripe_req){
		.kind = STRIPE_READ,
		.offset_bytes = (e.volume_block + t->first - e.file_block) << BLOCK_SHIFT,
		.len_bytes = BLOCK_BYTES,
		.data = a->whole,
		.ino = t->io->ino,
		.file_offset_bytes = start,
		.done = old_block_read,
	};
	piece_widen(a, &t->pieces[0].req);
	return 0;
}

void atomic_copy(struct transfer *t)
{
	stripe_submit(volume_engine(t->fs->volume), &t->atomic->read);
}

/* ---- the end ---- */

struct replacing {
	struct transfer *transfer;
	int err;
};

static void part_replaced(void *ctx, const struct extent *part)
{
	struct replacing *r = ctx;
	struct transfer *t = r->transfer;
	int err = replaced_add(t->fs, t->inode, part, t->epoch);
	r->err = r->err ? r->err : err;
}

static int replace(struct transfer *t, const struct extent *own)
{
	struct replacing r = {.transfer = t};
	struct extent_map *map = &t->inode->map;
	int ret = extent_map_remove(map, own->file_block, own->blocks, part_replaced, &r);
	if (ret == 0)
		ret = r.err;
	return ret < 0 ? ret : extent_map_insert(map, own);
}

/* The new blocks are claims in the map from now on, for the transfer to settle. Without memory in
 * the middle of it what rows are to say is not known any more: then none is written. */
int atomic_settle(struct transfer *t)
{
	struct extent own;
	uint64_t at = t->first;
	int ret = 0;
	while (ret == 0 && at < t->end && extent_map_find(&t->atomic->blocks, at, &own)) {
		ret = replace(t, &own);
		at = extent_end(&own);
	}
	extent_map_clear(&t->atomic->blocks);
	if (ret < 0)
		fs_fail(t->fs, ret);
	return ret;
}

void atomic_revert(struct transfer *t)
{
	struct extent own;
	uint64_t at = t->first;
	while (at < t->end && extent_map_find(&t->atomic->blocks, at, &own)) {
		allocator_release(t->fs->allocator, own.volume_block, own.blocks);
		at = extent_end(&own);
	}
	extent_map_clear(&t->atomic->blocks);
}
