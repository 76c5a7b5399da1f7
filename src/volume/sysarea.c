/* SPDX-License-Identifier: MIT */
/* The system area, by whole blocks where possible and by edges where not.
 *
 * A transfer is cut into pieces: an edge is a part of one block, a run is whole blocks.
 *
 *	|....xxxx|xxxxxxxx|xxxxxxxx|xx......|
 *	  edge	     run		edge
 *
 * Invariants beside those of sysarea.h: I4 an edge is written by reading the block of each copy,
 * changing the part and writing it back to the same copy: bytes beside the write never travel from
 * one copy to another, which may be the only good one. I5 `last` is a block whose bytes are known
 * to be the same on all copies; appending in small steps (a log) then reads nothing. I6 a member
 * that fails a write is out, durably (config.failed()), before the caller learns that the write
 * succeeded: else its old bytes, whose checksums are right, could be believed at the next open. I7
 * a copy that is being filled takes every write, and no read comes from it before it is whole.
 *
 * `lock` protects all of this, the I/O engine included: it is held across I/O, and by the volume
 * while it writes superblocks. */
#include "volume/sysarea_open.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"

#define BOUNCE_BYTES SYSAREA_PIECE_BYTES

struct sysarea {
	pthread_mutex_t lock;
	struct sysarea_config config;
	struct io_engine *io;                    /* owned */
	struct member *copies[RAID_MAX_MEMBERS]; /* owned, by member index; NULL: none */
	uint32_t filling;                        /* bit i: copy i is not whole yet */
	uint32_t fresh;                          /* bit i: it held zeros when its filling began */
	uint64_t filled_to[RAID_MAX_MEMBERS];
	uint64_t mended[RAID_MAX_MEMBERS]; /* pages */
	unsigned count;
	struct super_area area;
	bool read_only;
	uint8_t *bounce; /* owned: BOUNCE_BYTES, page-aligned */
	uint8_t *edge;   /* owned: one block */
	uint8_t *last;   /* owned: one block, valid where last_block is not UINT64_MAX */
	uint64_t last_block;
};

/* One piece of a transfer. */
struct piece {
	uint64_t offset_bytes; /* in the area */
	uint64_t len_bytes;
	bool is_edge;
};

uint64_t sysarea_size_bytes(const struct sysarea *area)
{
	return area->area.len_bytes;
}

static bool is_whole(const struct sysarea *area, unsigned index)
{
	return area->copies[index] && !(area->filling >> index & 1);
}

unsigned sysarea_copies(struct sysarea *area)
{
	unsigned n = 0;
	pthread_mutex_lock(&area->lock);
	for (unsigned i = 0; i < area->count; i++)
		n += is_whole(area, i);
	pthread_mutex_unlock(&area->lock);
	return n;
}

bool sysarea_is_read_only(const struct sysarea *area)
{
	return area->read_only;
}

static int index_of(const struct sysarea *area, unsigned copy)
{
	for (unsigned i = 0; i < area->count; i++) {
		if (is_whole(area, i) && copy-- == 0)
			return (int)i;
	}
	return -1;
}

static struct member *copy_at(const struct sysarea *area, unsigned copy)
{
	int index = index_of(area, copy);
	return index < 0 ? NULL : area->copies[index];
}

/* ---- opening and closing ---- */

int sysarea_open_member(struct sysarea *area, const char *path, const struct super *super,
	unsigned flags, struct member **out, struct errmsg *why)
{
	struct member_probe probe = {.super = *super};
	int err = io_open(area->io, path, flags, 0, &probe.file, why);
	if (err < 0)
		return err;
	io_set_timeout(probe.file, area->config.timeout_ns);
	err = member_open(area->io, path, &probe, out);
	if (err < 0)
		return errmsg_set(why, err, "%s: %s", path, strerror(-err));
	member_set_tuple_cache(*out, 1);
	return 0;
}

static int allocate(struct sysarea *area)
{
	area->bounce = mem_alloc_blocks(BOUNCE_BYTES);
	area->edge = mem_alloc_blocks(BLOCK_BYTES);
	area->last = mem_alloc_blocks(BLOCK_BYTES);
	return area->bounce && area->edge && area->last ? 0 : -ENOMEM;
}

static void sysarea_closep(struct sysarea **area)
{
	sysarea_close(*area);
}

int sysarea_open(const struct sysarea_config *config, struct sysarea **out, struct errmsg *why)
{
	cleanup(sysarea_closep) struct sysarea *area = calloc(1, sizeof(*area));
	if (!area)
		return -ENOMEM;
	pthread_mutex_init(&area->lock, NULL);
	area->config = *config;
	area->count = config->count;
	area->read_only = config->read_only;
	area->last_block = UINT64_MAX;
	int err = allocate(area);
	if (err == 0)
		err = config->factory->engine_new(config->factory, &area->io, why);
	if (err == 0) /* whoever holds the lock uses it: many threads, in turn */
		err = io_share(area->io);
	for (unsigned i = 0; i < config->count && err == 0; i++) {
		struct member *m = config->members[i];
		if (!m)
			continue;
		area->area = member_super(m)->system;
		err = sysarea_open_member(area, member_path(m), member_super(m),
			area->read_only ? IO_OPEN_READONLY : 0, &area->copies[i], why);
	}
	if (err < 0)
		return err;
	*out = take_ptr(&area);
	return 0;
}

void sysarea_close(struct sysarea *area)
{
	if (!area)
		return;
	for (unsigned i = 0; i < area->count; i++)
		member_free(area->copies[i]);
	io_engine_free(area->io);
	free(area->bounce);
	free(area->edge);
	free(area->last);
	pthread_mutex_destroy(&area->lock);
	free(area);
}

/* ---- for the volume: members that come and go ---- */

void sysarea_lock(struct sysarea *area)
{
	pthread_mutex_lock(&area->lock);
}

void sysarea_unlock(struct sysarea *area)
{
	pthread_mutex_unlock(&area->lock);
}

struct member *sysarea_member(struct sysarea *area, unsigned index)
{
	return area->copies[index];
}

void sysarea_attach(struct sysarea *area, unsigned index, struct member *m, bool fresh)
{
	assert(!area->copies[index]);
	area->copies[index] = m;
	area->filling |= 1u << index;
	area->fresh = fresh ? area->fresh | 1u << index : area->fresh & ~(1u << index);
	area->filled_to[index] = 0;
	area->last_block = UINT64_MAX; /* it does not hold that block yet */
}

struct member *sysarea_detach(struct sysarea *area, unsigned index)
{
	struct member *m = area->copies[index];
	area->copies[index] = NULL;
	area->filling &= ~(1u << index);
	return m;
}

/* ---- pieces ---- */

static int check_range(const struct sysarea *area, uint64_t offset, uint64_t len)
{
	return offset <= area->area.len_bytes && len <= area->area.len_bytes - offset ? 0 : -EINVAL;
}

/* The first piece of a range. */
static struct piece next_piece(uint64_t offset, uint64_t len)
{
	uint64_t in_block = offset % BLOCK_BYTES;
	if (in_block || len < BLOCK_BYTES)
		return (struct piece){offset, min_u64(len, BLOCK_BYTES - in_block), true};
	return (struct piece){offset, round_down_u64(len, BLOCK_BYTES), false};
}

static bool is_aligned(const void *p)
{
	return (uintptr_t)p % BLOCK_ALIGN == 0;
}

static uint64_t medium_offset(const struct sysarea *area, uint64_t offset)
{
	return area->area.offset_bytes + offset;
}

/* ---- reading ---- */

static int read_edge(struct sysarea *area, struct member *copy, const struct piece *p, uint8_t *out)
{
	uint64_t start = round_down_u64(p->offset_bytes, BLOCK_BYTES);
	int err = io_sync_read(
		member_file(copy), medium_offset(area, start), area->edge, BLOCK_BYTES);
	if (err == 0)
		memcpy(out, area->edge + (p->offset_bytes - start), p->len_bytes);
	return err;
}

static int read_run(struct sysarea *area, struct member *copy, const struct piece *p, uint8_t *out)
{
	uint64_t at = medium_offset(area, p->offset_bytes);
	if (is_aligned(out))
		return io_sync_read(member_file(copy), at, out, p->len_bytes);
	for (uint64_t done = 0; done < p->len_bytes;) {
		uint64_t len = min_u64(p->len_bytes - done, BOUNCE_BYTES);
		int err = io_sync_read(member_file(copy), at + done, area->bounce, len);
		if (err < 0)
			return err;
		memcpy(out + done, area->bounce, len);
		done += len;
	}
	return 0;
}

static int read_member(
	struct sysarea *area, struct member *copy, uint64_t offset, uint8_t *out, uint64_t len)
{
	while (len > 0) {
		struct piece p = next_piece(offset, len);
		int err =
			p.is_edge ? read_edge(area, copy, &p, out) : read_run(area, copy, &p, out);
		if (err < 0)
			return err;
		offset += p.len_bytes;
		out += p.len_bytes;
		len -= p.len_bytes;
	}
	return 0;
}

int sysarea_read_copy(
	struct sysarea *area, unsigned copy, uint64_t offset_bytes, void *buf, uint64_t len_bytes)
{
	pthread_mutex_lock(&area->lock);
	struct member *m = copy_at(area, copy);
	int err = m ? check_range(area, offset_bytes, len_bytes) : -EINVAL;
	if (err == 0)
		err = read_member(area, m, offset_bytes, buf, len_bytes);
	pthread_mutex_unlock(&area->lock);
	return err;
}

/* From the first whole copy that gives no error. */
static int read_any(struct sysarea *area, uint64_t offset, uint8_t *out, uint64_t len)
{
	int first = 0;
	for (unsigned i = 0; i < area->count; i++) {
		if (!is_whole(area, i))
			continue;
		int err = read_member(area, area->copies[i], offset, out, len);
		if (err == 0)
			return 0;
		first = first ? first : err;
	}
	return first ? first : -EIO;
}

int sysarea_read(struct sysarea *area, uint64_t offset_bytes, void *buf, uint64_t len_bytes)
{
	int err = check_range(area, offset_bytes, len_bytes);
	if (err < 0)
		return err;
	pthread_mutex_lock(&area->lock);
	err = read_any(area, offset_bytes, buf, len_bytes);
	pthread_mutex_unlock(&area->lock);
	return err;
}

/* ---- members that fail ---- */

/* What the results of a write or flush on all copies come to: 0 where one whole copy at least has
 * it and those that have not are out (I6). Without power, where every copy fails, or where the
 * volume cannot do without one of them, none is left out. */
static int settle(struct sysarea *area, const int *errs)
{
	int first = 0;
	bool any_good = false;
	for (unsigned i = 0; i < area->count; i++) {
		if (!area->copies[i])
			continue;
		any_good |= errs[i] == 0 && is_whole(area, i);
		if (errs[i] < 0 && !first)
			first = errs[i];
	}
	if (!first || !any_good)
		return first;
	int err = 0;
	for (unsigned i = 0; i < area->count && err == 0; i++) {
		if (!area->copies[i] || errs[i] == 0)
			continue;
		bool out = errs[i] != -ESHUTDOWN && area->config.failed &&
			   area->config.failed(area->config.ctx, i, errs[i]);
		err = out ? 0 : errs[i];
	}
	return err;
}

static void copy_files(const struct sysarea *area, struct io_file *files[RAID_MAX_MEMBERS])
{
	for (unsigned i = 0; i < area->count; i++)
		files[i] = area->copies[i] ? member_file(area->copies[i]) : NULL;
}

/* ---- writing ---- */

static int write_all(struct sysarea *area, uint64_t offset, const void *buf, uint64_t len)
{
	struct io_file *files[RAID_MAX_MEMBERS];
	int errs[RAID_MAX_MEMBERS];
	copy_files(area, files);
	io_sync_write_all(files, area->count, medium_offset(area, offset), buf, len, errs);
	return settle(area, errs);
}

static void forget_last(struct sysarea *area, uint64_t offset, uint64_t len)
{
	uint64_t at = area->last_block * BLOCK_BYTES;
	if (area->last_block != UINT64_MAX && at < offset + len && offset < at + BLOCK_BYTES)
		area->last_block = UINT64_MAX;
}

static int write_run(struct sysarea *area, const struct piece *p, const uint8_t *in)
{
	forget_last(area, p->offset_bytes, p->len_bytes);
	if (is_aligned(in))
		return write_all(area, p->offset_bytes, in, p->len_bytes);
	for (uint64_t done = 0; done < p->len_bytes;) {
		uint64_t len = min_u64(p->len_bytes - done, BOUNCE_BYTES);
		memcpy(area->bounce, in + done, len);
		int err = write_all(area, p->offset_bytes + done, area->bounce, len);
		if (err < 0)
			return err;
		done += len;
	}
	return 0;
}

/* Change a part of the block of one copy. @block is what was read and is what was written. */
static int change_block(struct sysarea *area, struct member *copy, const struct piece *p,
	const uint8_t *in, uint8_t *block)
{
	uint64_t start = round_down_u64(p->offset_bytes, BLOCK_BYTES);
	uint64_t at = medium_offset(area, start);
	int err = io_sync_read(member_file(copy), at, block, BLOCK_BYTES);
	if (err < 0)
		return err;
	memcpy(block + (p->offset_bytes - start), in, p->len_bytes);
	return io_sync_write(member_file(copy), at, block, BLOCK_BYTES);
}

/* An edge of a block that is not `last`: copy by copy (I4). */
static int write_edge_apart(struct sysarea *area, const struct piece *p, const uint8_t *in)
{
	int errs[RAID_MAX_MEMBERS] = {0};
	bool have_first = false, same = true;
	for (unsigned i = 0; i < area->count; i++) {
		if (!area->copies[i])
			continue;
		uint8_t *block = have_first ? area->edge : area->last;
		errs[i] = change_block(area, area->copies[i], p, in, block);
		same = same && errs[i] == 0 &&
		       (!have_first || memcmp(area->edge, area->last, BLOCK_BYTES) == 0);
		have_first = true;
	}
	int err = settle(area, errs);
	if (err == 0 && same)
		area->last_block = p->offset_bytes / BLOCK_BYTES;
	return err;
}

static int write_edge(struct sysarea *area, const struct piece *p, const uint8_t *in)
{
	uint64_t block = p->offset_bytes / BLOCK_BYTES;
	bool known = block == area->last_block;
	area->last_block = UINT64_MAX;
	if (!known)
		return write_edge_apart(area, p, in);
	memcpy(area->last + p->offset_bytes % BLOCK_BYTES, in, p->len_bytes);
	int err = write_all(area, block * BLOCK_BYTES, area->last, BLOCK_BYTES);
	if (err == 0)
		area->last_block = block;
	return err;
}

static int check_writable(const struct sysarea *area, uint64_t offset, uint64_t len)
{
	return area->read_only ? -EROFS : check_range(area, offset, len);
}

int sysarea_write(struct sysarea *area, uint64_t offset_bytes, const void *buf, uint64_t len_bytes)
{
	int err = check_writable(area, offset_bytes, len_bytes);
	const uint8_t *in = buf;
	pthread_mutex_lock(&area->lock);
	while (len_bytes > 0 && err == 0) {
		struct piece p = next_piece(offset_bytes, len_bytes);
		err = p.is_edge ? write_edge(area, &p, in) : write_run(area, &p, in);
		offset_bytes += p.len_bytes;
		in += p.len_bytes;
		len_bytes -= p.len_bytes;
	}
	pthread_mutex_unlock(&area->lock);
	return err;
}

static int repair_run(
	struct sysarea *area, struct member *copy, const struct piece *p, const uint8_t *in)
{
	for (uint64_t done = 0; done < p->len_bytes;) {
		uint64_t len = min_u64(p->len_bytes - done, BOUNCE_BYTES);
		memcpy(area->bounce, in + done, len);
		int err = io_sync_write(member_file(copy),
			medium_offset(area, p->offset_bytes + done), area->bounce, len);
		if (err < 0)
			return err;
		done += len;
	}
	return 0;
}

int sysarea_repair(struct sysarea *area, unsigned copy, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes)
{
	const uint8_t *in = buf;
	pthread_mutex_lock(&area->lock);
	struct member *m = copy_at(area, copy);
	int err = m ? check_writable(area, offset_bytes, len_bytes) : -EINVAL;
	forget_last(area, offset_bytes, len_bytes);
	while (len_bytes > 0 && err == 0) {
		struct piece p = next_piece(offset_bytes, len_bytes);
		err = p.is_edge ? change_block(area, m, &p, in, area->edge)
				: repair_run(area, m, &p, in);
		offset_bytes += p.len_bytes;
		in += p.len_bytes;
		len_bytes -= p.len_bytes;
	}
	pthread_mutex_unlock(&area->lock);
	return err;
}

/* ---- damage, told ---- */

int sysarea_copy_member(struct sysarea *area, unsigned copy)
{
	pthread_mutex_lock(&area->lock);
	int index = index_of(area, copy);
	pthread_mutex_unlock(&area->lock);
	return index;
}

void sysarea_tell(
	struct sysarea *area, unsigned copy, uint64_t offset_bytes, const char *what, int err)
{
	pthread_mutex_lock(&area->lock);
	int index = index_of(area, copy);
	if (index >= 0 && !err)
		area->mended[index]++;
	pthread_mutex_unlock(&area->lock);
	struct event e = event_new(err ? EVENT_UNREPAIRABLE : EVENT_REPAIRED);
	e.time_ns = clock_read_ns(CLOCK_REALTIME);
	e.member = index;
	e.area_page = offset_bytes / BLOCK_BYTES;
	e.what = what;
	e.error = err;
	log_warn("system area, member %d: %s %llu %s", index, what, (unsigned long long)e.area_page,
		err ? "is damaged, on the other members too"
		    : "was damaged: read from another"
		      " member, and written back");
	event_emit(area->config.events, &e);
}

uint64_t sysarea_mended(struct sysarea *area, unsigned index)
{
	pthread_mutex_lock(&area->lock);
	uint64_t mended = area->mended[index];
	pthread_mutex_unlock(&area->lock);
	return mended;
}

int sysarea_flush(struct sysarea *area)
{
	struct io_file *files[RAID_MAX_MEMBERS];
	int errs[RAID_MAX_MEMBERS];
	if (area->read_only)
		return 0;
	pthread_mutex_lock(&area->lock);
	copy_files(area, files);
	io_sync_flush_all(files, area->count, errs);
	int err = settle(area, errs);
	pthread_mutex_unlock(&area->lock);
	return err;
}

static int zero_run(struct sysarea *area, const struct piece *p)
{
	int errs[RAID_MAX_MEMBERS] = {0};
	forget_last(area, p->offset_bytes, p->len_bytes);
	for (unsigned i = 0; i < area->count; i++) {
		if (area->copies[i])
			errs[i] = io_zero(member_file(area->copies[i]),
				medium_offset(area, p->offset_bytes), p->len_bytes);
	}
	return settle(area, errs);
}

int sysarea_zero(struct sysarea *area, uint64_t offset_bytes, uint64_t len_bytes)
{
	static const uint8_t zeros[BLOCK_BYTES];
	int err = check_writable(area, offset_bytes, len_bytes);
	pthread_mutex_lock(&area->lock);
	while (len_bytes > 0 && err == 0) {
		struct piece p = next_piece(offset_bytes, len_bytes);
		err = p.is_edge ? write_edge(area, &p, zeros) : zero_run(area, &p);
		offset_bytes += p.len_bytes;
		len_bytes -= p.len_bytes;
	}
	pthread_mutex_unlock(&area->lock);
	return err;
}

/* ---- filling a copy ---- */

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* The lock is held from the read to the write: no write comes between them. */
static int fill_piece(struct sysarea *area, unsigned index, uint64_t offset, uint64_t len)
{
	int err = read_any(area, offset, area->bounce, len);
	if (err < 0 || ((area->fresh >> index & 1) && is_zero(area->bounce, len)))
		return err;
	struct member *m = area->copies[index];
	err = io_sync_write(member_file(m), medium_offset(area, offset), area->bounce, len);
	if (err < 0 && err != -ESHUTDOWN)
		(void)area->config.failed(area->config.ctx, index, err);
	return err;
}

int sysarea_fill(struct sysarea *area, unsigned index)
{
	pthread_mutex_lock(&area->lock);
	uint64_t *at = &area->filled_to[index];
	bool wanted = area->copies[index] && (area->filling >> index & 1);
	uint64_t len = min_u64(area->area.len_bytes - *at, BOUNCE_BYTES);
	int err = wanted ? fill_piece(area, index, *at, len) : -ENODEV;
	if (err == 0)
		*at += len;
	if (err == 0 && *at == area->area.len_bytes) {
		err = io_sync_flush(member_file(area->copies[index]));
		if (err == 0)
			area->filling &= ~(1u << index);
		else
			*at = 0;
	}
	pthread_mutex_unlock(&area->lock);
	return err;
}

bool sysarea_is_filling(struct sysarea *area, unsigned index)
{
	pthread_mutex_lock(&area->lock);
	bool filling = area->filling >> index & 1;
	pthread_mutex_unlock(&area->lock);
	return filling;
}
