/* SPDX-License-Identifier: MIT */
/* Transfers: from a range of a file to requests of the array, and back.
 *
 *	fs_submit --transfer_begin--> (held by a barrier) --transfer_start--> admitted
 *	fs_submit_now --transfer_begin_now--> the same, unless that would have to wait
 *	admitted --transfer_prepare--> ready --post--> under way --piece_done--> finished
 *	           `--one admitted before is in the way--> parked --it finished--> prepared again
 *
 * Invariants: T1 a block of a file is allocated once: a hole becomes PENDING, tagged with the
 * transfer, under the inode's mutex. T2 the first write of a block (STRIPE_FRESH, which zeroes the
 * rest) is over before any other write of it begins: no bytes are lost. T3 transfers wait only for
 * those admitted before them, so none waits for ever. T4 a first write that fails leaves a hole (or
 * an unwritten block), never unknown bytes. T5 what a barrier covers is not touched. T6 an atomic
 * write has its blocks for itself: it begins when all that were admitted before it there are over,
 * reads too, and those admitted after it wait. So nobody reads or writes blocks that it replaces
 * (atomic.c), and a reader finds the old bytes or the new. T7 an overwrite that the array has in
 * its log is settled then (answered), and under way until it is done; a flush waits for it
 * (stripe.h, I9), so C1 of commit.c holds. First writes are not: T4 needs to know how they end. T8
 * a write of the page cache that is a first write all over is answered when it is posted (taken.c):
 * it counts as written from then on, so a read of its blocks waits for it (T3). Should it fail, T4
 * holds, but the file has grown, and fsync tells. */
#include "fs/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_write(const struct transfer *t)
{
	return t->io->kind == STRIPE_WRITE;
}

/* ---- claims: under inode->lock ---- */

static bool is_mine(const struct transfer *t, const struct extent *e)
{
	return e->state == EXTENT_PENDING && e->tag == t->tag;
}

/* Take the holes and unwritten blocks of the range for a first write. */
static int claim(struct transfer *t)
{
	struct inode *inode = t->inode;
	int ret = inode_allocate(t->fs, inode, t->first, t->end, EXTENT_PENDING, t->tag);
	struct extent e;
	uint64_t at = t->first;
	while (ret == 0 && at < t->end && extent_map_find(&inode->map, at, &e)) {
		uint64_t first = max_u64(e.file_block, at), end = min_u64(extent_end(&e), t->end);
		if (e.state == EXTENT_UNWRITTEN && atomic_load(&t->fs->database_spent))
			ret = -ENOSPC;
		else if (e.state == EXTENT_UNWRITTEN)
			ret = extent_map_restate(
				&inode->map, first, end - first, EXTENT_PENDING, t->tag, true);
		at = end;
	}
	return ret;
}

/* Call @fn on each block run that the transfer claimed. @fn may change its state. */
static void each_claim(struct transfer *t, void (*fn)(struct transfer *t, const struct extent *e))
{
	struct extent e;
	uint64_t at = t->first;
	while (at < t->end && extent_map_find(&t->inode->map, at, &e) && e.file_block < t->end) {
		at = extent_end(&e);
		if (is_mine(t, &e))
			fn(t, &e);
	}
}

/* T4 */
static void claim_revert(struct transfer *t, const struct extent *e)
{
	struct extent_map *map = &t->inode->map;
	if (e->reserved) {
		(void)extent_map_restate(map, e->file_block, e->blocks, EXTENT_UNWRITTEN, 0, false);
		return;
	}
	(void)extent_map_remove(map, e->file_block, e->blocks, NULL, NULL);
	allocator_release(t->fs->allocator, e->volume_block, e->blocks);
}

static void claim_settle(struct transfer *t, const struct extent *e)
{
	t->io->allocated |= !e->reserved;
	(void)extent_map_restate(
		&t->inode->map, e->file_block, e->blocks, EXTENT_WRITTEN, t->epoch, e->reserved);
	range_set_add(&t->inode->changed, e->file_block, extent_end(e));
}

/* T8 */
static bool taken_in_way(const struct transfer *t)
{
	if (t->inode->taken == 0)
		return false;
	list_for_each (n, &t->inode->transfers) {
		const struct transfer *other = container_of(n, struct transfer, node);
		if (other == t)
			return false;
		if (other->taken && ranges_overlap(t->first, t->end, other->first, other->end))
			return true;
	}
	return false;
}

/* T6; T8; T2: is another one's first write in the range? */
static bool must_park(const struct transfer *t)
{
	struct extent e;
	uint64_t at = t->first;
	if (atomic_in_way(t) || taken_in_way(t))
		return true;
	if (!is_write(t))
		return false;
	while (at < t->end && extent_map_find(&t->inode->map, at, &e) && e.file_block < t->end) {
		if (e.state == EXTENT_PENDING && e.tag != t->tag)
			return true;
		at = extent_end(&e);
	}
	return false;
}

/* ---- pieces: under inode->lock ---- */

/* The run at byte @at of the file, up to @end: in the volume, or a hole. */
struct run {
	uint64_t len;
	uint64_t volume_offset;
	bool stored, fresh;
};

/* The extent that covers @block, or the first behind it, as the transfer sees it. */
static bool find_extent(const struct transfer *t, uint64_t block, struct extent *out)
{
	struct extent own;
	bool found = extent_map_find(&t->inode->map, block, out);
	if (!t->atomic || !extent_map_find(&t->atomic->blocks, block, &own))
		return found;
	if (own.file_block <= block || !found || own.file_block <= out->file_block)
		*out = own;
	else if (own.file_block < extent_end(out))
		*out = extent_clip(out, out->file_block, own.file_block);
	return true;
}

static struct run run_at(const struct transfer *t, uint64_t at, uint64_t end)
{
	struct extent e;
	uint64_t block = at >> BLOCK_SHIFT;
	struct run r = {.len = end - at};
	if (!find_extent(t, block, &e))
		return r;
	if (e.file_block > block) {
		r.len = min_u64(end, e.file_block << BLOCK_SHIFT) - at;
		return r;
	}
	r.len = min_u64(end, extent_end(&e) << BLOCK_SHIFT) - at;
	r.volume_offset = (e.volume_block << BLOCK_SHIFT) + (at - (e.file_block << BLOCK_SHIFT));
	r.fresh = is_mine(t, &e);
	r.stored = r.fresh || e.state == EXTENT_CLEAN || e.state == EXTENT_WRITTEN;
	return r;
}

static unsigned count_pieces(const struct transfer *t, uint64_t end)
{
	unsigned n = 0;
	for (uint64_t at = t->io->offset_bytes; at < end;) {
		struct run r = run_at(t, at, end);
		n += r.stored;
		at += r.len;
	}
	return n;
}

static void piece_logged(struct stripe_req *req);
static void piece_done(struct stripe_req *req, int err);

static void piece_fill(struct transfer *t, struct piece *p, const struct run *r, uint64_t at)
{
	struct fs_io *io = t->io;
	uint64_t skip = at - io->offset_bytes;
	p->transfer = t;
	p->req = (struct stripe_req){
		.kind = io->kind,
		.flags = (r->fresh ? STRIPE_FRESH : 0u) | (io->mend ? STRIPE_MEND : 0u),
		.offset_bytes = r->volume_offset,
		.len_bytes = (uint32_t)r->len,
		.source = io->source,
		.source_offset = (uint32_t)skip,
		.hold_ns = io->hold_ns,
		.data = is_write(t) ? NULL : io->data + skip,
		.sink = io->sink,
		.sink_offset = (uint32_t)skip,
		.ino = io->ino,
		.file_offset_bytes = at,
		.logged = io->logged ? piece_logged : NULL,
		.done = piece_done,
	};
}

/* Make the requests for [offset, end); what a read finds unwritten is zeroed here. */
static int build(struct transfer *t, uint64_t end)
{
	unsigned n = count_pieces(t, end);
	t->pieces = n <= 1 ? &t->one : calloc(n, sizeof(struct piece));
	if (!t->pieces)
		return -ENOMEM;
	for (uint64_t at = t->io->offset_bytes; at < end;) {
		struct run r = run_at(t, at, end);
		if (r.stored)
			piece_fill(t, &t->pieces[t->count++], &r, at);
		else
			memset(t->io->data + (at - t->io->offset_bytes), 0, r.len);
		at += r.len;
	}
	assert(t->count == n);
	t->pending = n;
	return 0;
}

/* T8 */
static bool is_first_write(const struct transfer *t)
{
	bool all = is_write(t) && t->io->taken && t->io->keep_times && !t->atomic && !t->io->mend &&
		   t->count > 0;
	for (unsigned i = 0; i < t->count && all; i++)
		all = t->pieces[i].req.flags & STRIPE_FRESH;
	return all;
}

static void note_new_blocks(struct transfer *t, const struct extent *e)
{
	t->io->allocated |= !e->reserved;
}

/* From here on it counts as written. The rest of its last block will be zeros. */
static void take(struct transfer *t)
{
	struct inode *inode = t->inode;
	uint64_t end = t->io->offset_bytes + t->io->len_bytes;
	t->taken = true;
	t->epoch = taken_begin(t->fs);
	inode->taken++;
	each_claim(t, note_new_blocks);
	if (end > inode->attr.size)
		inode->tail_stale = false;
	inode_grow(inode, end, t->epoch);
	inode_mark_dirty(t->fs, inode);
}

/* Claim what is to be claimed; build the requests unless it has to be parked. */
static int transfer_prepare(struct transfer *t)
{
	uint64_t end = t->io->offset_bytes + t->io->len_bytes;
	int ret = is_write(t) ? claim(t) : 0;
	if (ret == 0 && t->atomic)
		ret = atomic_claim(t);
	t->parked = ret == 0 && must_park(t);
	if (ret < 0 || t->parked)
		return ret;
	if (!is_write(t))
		end = max_u64(min_u64(end, t->inode->attr.size), t->io->offset_bytes);
	t->io->done_bytes = (uint32_t)(end - t->io->offset_bytes);
	ret = build(t, end);
	if (ret == 0 && is_first_write(t))
		take(t);
	return ret == 0 && t->atomic ? atomic_plan_copy(t) : ret;
}

/* ---- the end: under inode->lock ---- */

/* Are the bytes behind the new end of the file, in its last block, known to be zeros? */
static bool tail_after_growth(const struct transfer *t, uint64_t old_size, uint64_t end)
{
	struct extent e;
	uint64_t last = end >> BLOCK_SHIFT;
	if (end % BLOCK_BYTES == 0)
		return false;
	if (extent_map_find(&t->inode->map, last, &e) && e.file_block <= last && is_mine(t, &e))
		return false;
	if (old_size >> BLOCK_SHIFT == last && old_size % BLOCK_BYTES != 0)
		return t->inode->tail_stale;
	return true;
}

static void write_settle(struct transfer *t)
{
	struct inode *inode = t->inode;
	uint64_t end = t->io->offset_bytes + t->io->len_bytes, old_size = inode->attr.size;
	bool grows = end > old_size;
	bool stale = grows ? tail_after_growth(t, old_size, end) : inode->tail_stale;
	each_claim(t, claim_settle);
	inode->tail_stale = stale;
	inode_grow(inode, end, t->epoch);
	if (!t->io->keep_times)
		inode_touch(inode, true, true, time_now_ns());
	if (grows || !t->io->keep_times || inode->changed.count || inode->changed.everything)
		inode_mark_dirty(t->fs, inode);
}

static void write_revert(struct transfer *t)
{
	each_claim(t, claim_revert);
	if (t->atomic)
		atomic_revert(t);
	if (t->io->offset_bytes + t->io->len_bytes > t->inode->attr.size)
		t->inode->tail_stale = true;
}

/* A write that only replaces bytes of the file (T7). */
static bool is_overwrite(const struct transfer *t)
{
	struct extent e;
	uint64_t at = t->first;
	if (t->atomic || t->io->mend ||
		t->io->offset_bytes + t->io->len_bytes > t->inode->attr.size)
		return false;
	while (at < t->end && extent_map_find(&t->inode->map, at, &e) && e.file_block < t->end) {
		if (is_mine(t, &e))
			return false;
		at = extent_end(&e);
	}
	return true;
}

/* A write has ended (C1 of commit.c: the order of these two). */
static void write_end(struct transfer *t)
{
	if (t->answered) {
		if (t->err < 0)
			lost_note(&t->inode->lost, t->err);
		return;
	}
	atomic_store(&t->fs->unflushed, true);
	if (!t->taken)
		t->epoch = atomic_load(&t->fs->epoch);
	else if (t->err < 0)
		lost_note(&t->inode->lost, t->err);
	if (t->err == 0 && t->atomic)
		t->err = atomic_settle(t);
	if (t->err < 0)
		write_revert(t);
	else
		write_settle(t);
}

static void read_settle(struct transfer *t)
{
	if (!t->io->keep_times)
		inode_accessed(t->fs, t->inode);
}

/* Those that waited for this one: prepare them in the order of their admission (T3). */
static void unpark(struct inode *inode, struct list *ready)
{
	list_for_each (n, &inode->transfers) {
		struct transfer *t = container_of(n, struct transfer, node);
		if (!t->parked)
			continue;
		t->err = transfer_prepare(t);
		if (!t->parked || t->err < 0)
			list_push_back(ready, &t->ready);
	}
}

/* ---- posting and finishing: no lock held ---- */

static void transfer_finish(struct transfer *t);

static void pieces_post(struct transfer *t)
{
	struct stripe_engine *eng = volume_engine(t->fs->volume);
	struct piece *pieces = t->pieces;
	/* The last of them may finish, and free, the transfer at once. */
	for (unsigned i = 0, n = t->count; i < n; i++)
		stripe_submit(eng, &pieces[i].req);
}

static void transfer_post(struct transfer *t)
{
	/* Before it is posted: it may end at once. */
	if (t->taken)
		t->io->taken(t->io);
	if (t->err < 0 || t->count == 0)
		transfer_finish(t);
	else if (t->atomic && t->atomic->whole)
		atomic_copy(t);
	else
		pieces_post(t);
}

void transfer_go_on(struct transfer *t, int err)
{
	t->err = err;
	if (err < 0)
		transfer_finish(t);
	else
		pieces_post(t);
}

static void transfer_free(struct transfer *t)
{
	if (t->pieces != &t->one)
		free(t->pieces);
	atomic_free(t->atomic);
	free(t);
}

static void transfer_finish(struct transfer *t)
{
	struct fs *fs = t->fs;
	struct inode *inode = t->inode;
	struct list ready;
	list_init(&ready);
	pthread_mutex_lock(&inode->lock);
	if (is_write(t))
		write_end(t);
	else if (t->err == 0)
		read_settle(t);
	bool counts = is_write(t) && inode->changed.count > 0;
	if (counts)
		fs_note_extents(fs, inode, t->count);
	list_remove(&t->node);
	inode->atomics -= t->atomic != NULL;
	inode->taken -= t->taken;
	barrier_check(fs, inode);
	unpark(inode, &ready);
	pthread_mutex_unlock(&inode->lock);
	if (t->taken)
		taken_end(fs, t->epoch);
	if (counts)
		fs_note_change(fs);
	struct list_node *n;
	while ((n = list_pop_front(&ready)))
		transfer_post(container_of(n, struct transfer, ready));
	/* After done() the file system may be closed: nothing of it is touched any more. */
	struct fs_io *io = t->io;
	int err = t->err;
	if (err < 0)
		io->done_bytes = 0;
	transfer_free(t);
	inode_unpin(fs, inode);
	io->done(io, err);
}

static void piece_logged(struct stripe_req *req)
{
	struct transfer *t = container_of(req, struct piece, req)->transfer;
	if (++t->logged < t->count || t->err < 0)
		return;
	pthread_mutex_lock(&t->inode->lock);
	if (is_overwrite(t)) {
		write_end(t);
		t->answered = true;
	}
	pthread_mutex_unlock(&t->inode->lock);
	if (t->answered)
		t->io->logged(t->io);
}

static void piece_done(struct stripe_req *req, int err)
{
	struct transfer *t = container_of(req, struct piece, req)->transfer;
	if (err < 0 && t->err == 0)
		t->err = err;
	if (--t->pending == 0)
		transfer_finish(t);
}

/* ---- the beginning ---- */

/* Space that a commit frees, in the array or in the database, is worth one. */
static bool commit_helps(struct fs *fs, int err)
{
	if (err != -ENOSPC)
		return false;
	inodes_reap_now(fs);
	bool worth = fs_commit_frees(fs) || atomic_load(&fs->database_full);
	return worth && fs_commit(fs) == 0;
}

enum admission { ADMITTED, HELD, TAIL_IN_WAY };

static void join(struct transfer *t)
{
	list_push_back(&t->inode->transfers, &t->node);
	t->inode->atomics += t->atomic != NULL;
}

static enum admission admit(struct transfer *t)
{
	struct inode *inode = t->inode;
	if (barrier_covers(inode, t->first, t->end)) {
		list_push_back(&inode->held, &t->node);
		return HELD;
	}
	if (is_write(t) && inode_tail_in_way(inode, t->io->offset_bytes))
		return TAIL_IN_WAY;
	join(t);
	t->err = transfer_prepare(t);
	return ADMITTED;
}

/* Admit, trying again once the tail is clean. */
static enum admission admit_clean(struct transfer *t)
{
	for (;;) {
		pthread_mutex_lock(&t->inode->lock);
		enum admission how = admit(t);
		bool parked = how == ADMITTED && t->parked && t->err == 0;
		pthread_mutex_unlock(&t->inode->lock);
		if (how != TAIL_IN_WAY)
			return parked ? HELD : how;
		t->err = inode_clean_tail(t->fs, t->inode, t->io->offset_bytes);
		if (t->err < 0) {
			pthread_mutex_lock(&t->inode->lock);
			join(t);
			pthread_mutex_unlock(&t->inode->lock);
			return ADMITTED;
		}
	}
}

static void admitted_again(struct transfer *t)
{
	pthread_mutex_lock(&t->inode->lock);
	t->err = transfer_prepare(t);
	bool parked = t->parked && t->err == 0;
	pthread_mutex_unlock(&t->inode->lock);
	if (!parked)
		transfer_post(t);
}

void transfer_start(struct transfer *t)
{
	if (admit_clean(t) == HELD)
		return;
	if (commit_helps(t->fs, t->err))
		admitted_again(t);
	else
		transfer_post(t);
}

/* NULL: out of memory; then @io is done, and the pin given back. */
static struct transfer *transfer_new(struct fs *fs, struct inode *inode, struct fs_io *io)
{
	struct transfer *t = calloc(1, sizeof(*t));
	bool atomic = io->kind == STRIPE_WRITE && io->atomic;
	struct atomic_write *own = t && atomic ? atomic_new(t) : NULL;
	if (!t || (atomic && !own)) {
		free(t);
		inode_unpin(fs, inode);
		io->done(io, -ENOMEM);
		return NULL;
	}
	*t = (struct transfer){.fs = fs,
		.inode = inode,
		.io = io,
		.first = io->offset_bytes >> BLOCK_SHIFT,
		.end = (io->offset_bytes + io->len_bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT,
		.tag = atomic_fetch_add(&fs->transfer_tag, 1) + 1,
		.atomic = own,
		.pieces = &t->one};
	list_node_init(&t->node);
	list_node_init(&t->ready);
	io->map = t;
	return t;
}

void transfer_begin(struct fs *fs, struct inode *inode, struct fs_io *io)
{
	struct transfer *t = transfer_new(fs, inode, io);
	if (t)
		transfer_start(t);
}

/* As if it had never been there: nobody has seen it yet. */
static void withdraw(struct transfer *t)
{
	each_claim(t, claim_revert);
	list_remove(&t->node);
	t->err = 0;
}

/* A transfer that waits, for others or to be taken up again, may go on by itself once the lock is
 * given up, and be gone. */
bool transfer_begin_now(struct fs *fs, struct inode *inode, struct fs_io *io)
{
	struct transfer *t = transfer_new(fs, inode, io);
	if (!t)
		return true;
	pthread_mutex_lock(&inode->lock);
	enum admission how = admit(t);
	bool waits = how == HELD || (how == ADMITTED && t->parked && t->err == 0);
	bool full = how == ADMITTED && t->err == -ENOSPC;
	if (full)
		withdraw(t);
	pthread_mutex_unlock(&inode->lock);
	if (full || how == TAIL_IN_WAY)
		return false;
	if (!waits)
		transfer_post(t);
	return true;
}
