/* SPDX-License-Identifier: MIT */
/* Transfers: data and tuples travel together, and the member acts as a PI disk.
 *
 *	read:	xfer_admit: hold pages, start their loads | data I/O, unless all blocks are known to
 *		be never written -> xfer_end: tuples out, zeros for what was never written
 *	write:	device check -> xfer_admit: hold pages, start their loads | data I/O
 *		-> xfer_end: tuples into the pages
 *
 * Invariants: I1 a tuple enters the cache only after its data has been written: no flush can make
 *   it durable earlier. I2 a transfer holds its pages from admission to its end. I3 done() is the
 *   last thing that happens to a transfer, and never happens within member_read() or
 *   member_write(): where no I/O is needed an alarm of the engine stands in for it. */
#include "member/internal.h"

#include <errno.h>
#include <string.h>

enum xfer_kind { XFER_READ, XFER_WRITE };

static struct block_cursor cursor_at(const struct member_xfer *xfer)
{
	return (struct block_cursor){.iov = xfer->iov};
}

static const uint8_t *tuple_at(const struct member_xfer *xfer, uint32_t i)
{
	return xfer->tuples + (size_t)i * xfer->member->tuple_bytes;
}

/* The part of the transfer that lies in its @n-th page: @first is 0-based in the transfer. */
struct page_part {
	uint64_t index;
	unsigned at, count;
	uint32_t first;
};

static struct page_part part_of(const struct member_xfer *xfer, unsigned n)
{
	unsigned per_page = tuples_per_page(&xfer->member->tuples);
	uint64_t index = xfer->block / per_page + n;
	uint64_t from = max_u64(xfer->block, index * per_page);
	uint64_t to = min_u64(xfer->block + xfer->blocks, (index + 1) * per_page);
	return (struct page_part){.index = index,
		.at = (unsigned)(from - index * per_page),
		.count = from < to ? (unsigned)(to - from) : 0,
		.first = (uint32_t)(from - xfer->block)};
}

static void pages_release(struct member_xfer *xfer)
{
	while (xfer->pages)
		tuple_page_release(xfer->uses[--xfer->pages].page);
}

static void xfer_finish(struct member_xfer *xfer, int err)
{
	struct member *m = xfer->member;
	if (xfer->pages) {
		pages_release(xfer);
		member_unpark(m);
	}
	if (err < 0)
		counter_add(err == -EILSEQ ? &m->counters.refused : &m->counters.errors, 1);
	xfer->done(xfer, err);
}

static void alarm_rang(struct io_req *io, int err)
{
	struct member_xfer *xfer = container_of(io, struct member_xfer, io);
	xfer_finish(xfer, xfer->err < 0 ? xfer->err : err);
}

/* End the transfer with @err from the engine's loop, without I/O. */
static void xfer_finish_later(struct member_xfer *xfer, int err)
{
	struct member *m = xfer->member;
	xfer->err = err;
	xfer->io =
		(struct io_req){.kind = IO_ALARM, .due_ns = io_now_ns(m->io), .done = alarm_rang};
	io_submit(m->io, &xfer->io);
}

static void tuples_collect(struct member_xfer *xfer)
{
	for (unsigned n = 0; n < xfer->pages; n++) {
		struct page_part part = part_of(xfer, n);
		tuple_page_get(xfer->uses[n].page, part.at, part.count,
			(uint8_t *)tuple_at(xfer, part.first));
	}
}

static void tuples_store(struct member_xfer *xfer)
{
	for (unsigned n = 0; n < xfer->pages; n++) {
		struct page_part part = part_of(xfer, n);
		tuple_page_put(xfer->uses[n].page, part.at, part.count, tuple_at(xfer, part.first));
	}
	struct tuple_cache *cache = &xfer->member->tuples;
	if (cache->dirty_pages > cache->max_pages / 2)
		flush_write_back(xfer->member);
}

static bool all_never_written(const struct member_xfer *xfer)
{
	for (uint32_t i = 0; i < xfer->blocks; i++)
		if (!pi_is_escape(xfer->member->super.pi, tuple_at(xfer, i)))
			return false;
	return true;
}

static void never_written_zero(struct member_xfer *xfer)
{
	struct block_cursor cursor = cursor_at(xfer);
	for (uint32_t i = 0; i < xfer->blocks; i++) {
		uint8_t *block = block_cursor_next(&cursor);
		if (pi_is_escape(xfer->member->super.pi, tuple_at(xfer, i)))
			memset(block, 0, BLOCK_BYTES);
	}
}

/* Data and pages are there. What the medium said of blocks never written does not matter. */
static int read_end(struct member_xfer *xfer)
{
	if (!xfer->member->tuple_bytes)
		return xfer->data_err;
	if (xfer->err < 0)
		return xfer->err;
	tuples_collect(xfer);
	if (xfer->data_err < 0 && !all_never_written(xfer))
		return xfer->data_err;
	never_written_zero(xfer);
	return 0;
}

static int write_end(struct member_xfer *xfer)
{
	int err = xfer->data_err < 0 ? xfer->data_err : xfer->err;
	if (err == 0 && xfer->member->tuple_bytes)
		tuples_store(xfer);
	return err;
}

static void part_ended(struct member_xfer *xfer)
{
	assert(xfer->parts_pending);
	if (--xfer->parts_pending)
		return;
	xfer_finish(xfer, xfer->kind == XFER_READ ? read_end(xfer) : write_end(xfer));
}

void member_xfer_page_loaded(struct member_page_use *use, int err)
{
	struct member_xfer *xfer = use->xfer;
	if (err < 0 && !xfer->err)
		xfer->err = err;
	part_ended(xfer);
}

static void data_transferred(struct io_req *io, int err)
{
	struct member_xfer *xfer = container_of(io, struct member_xfer, io);
	xfer->data_err = err;
	part_ended(xfer);
}

static void data_submit(struct member_xfer *xfer)
{
	struct member *m = xfer->member;
	xfer->parts_pending++;
	xfer->io = (struct io_req){.kind = xfer->kind == XFER_READ ? IO_READ : IO_WRITE,
		.file = m->file,
		.offset_bytes = m->super.data.offset_bytes + xfer->block * BLOCK_BYTES,
		.iov = xfer->iov,
		.iov_count = xfer->iov_count,
		.done = data_transferred};
	io_submit(m->io, &xfer->io);
}

/* Does the transfer write every tuple of the page that stands for a block? */
static bool part_is_whole(const struct member_xfer *xfer, const struct page_part *part)
{
	unsigned per_page = tuples_per_page(&xfer->member->tuples);
	uint64_t left = super_data_blocks(&xfer->member->super) - part->index * per_page;
	return part->at == 0 && part->count == min_u64(per_page, left);
}

static int pages_hold(struct member_xfer *xfer)
{
	for (unsigned n = 0; n < 2; n++) {
		struct page_part part = part_of(xfer, n);
		if (!part.count)
			break;
		enum tuple_want want = xfer->kind == XFER_READ      ? TUPLE_WANT_READ
				       : part_is_whole(xfer, &part) ? TUPLE_WANT_OVERWRITE
								    : TUPLE_WANT_WRITE;
		struct member_page_use *use = &xfer->uses[n];
		use->xfer = xfer;
		int err = tuple_page_hold(&xfer->member->tuples, part.index, want, &use->page);
		if (err < 0) {
			pages_release(xfer);
			return err;
		}
		xfer->pages++;
	}
	return 0;
}

/* Get the pages and start whatever I/O is needed; or wait for room in the cache. */
static void xfer_admit(struct member_xfer *xfer)
{
	int err = pages_hold(xfer);
	if (err == -EAGAIN) {
		list_push_back(&xfer->member->parked, &xfer->wait);
		return;
	}
	if (err < 0) {
		xfer_finish_later(xfer, err);
		return;
	}
	for (unsigned n = 0; n < xfer->pages; n++) {
		if (xfer->uses[n].page->state != TUPLE_LOADING)
			continue;
		xfer->parts_pending++;
		tuple_page_wait(&xfer->uses[n]);
	}
	if (xfer->kind == XFER_READ && !xfer->parts_pending) {
		tuples_collect(xfer);
		if (all_never_written(xfer)) {
			never_written_zero(xfer);
			xfer_finish_later(xfer, 0);
			return;
		}
	}
	data_submit(xfer);
}

void member_unpark(struct member *m)
{
	struct list parked;
	list_init(&parked);
	list_splice_back(&parked, &m->parked);
	struct list_node *node;
	while ((node = list_pop_front(&parked)))
		xfer_admit(container_of(node, struct member_xfer, wait));
}

static void xfer_prepare(struct member_xfer *xfer, enum xfer_kind kind)
{
	uint64_t blocks = super_data_blocks(&xfer->member->super);
	assert(xfer->blocks && xfer->blocks <= 256 && xfer->block < blocks &&
		xfer->blocks <= blocks - xfer->block);
	assert(xfer->tuples || !xfer->member->tuple_bytes);
	xfer->kind = kind;
	xfer->pages = xfer->parts_pending = 0;
	xfer->err = xfer->data_err = 0;
}

static void xfer_start(struct member_xfer *xfer)
{
	if (xfer->member->tuple_bytes)
		xfer_admit(xfer);
	else
		data_submit(xfer);
}

void member_read(struct member_xfer *xfer)
{
	struct member_counters *counters = &xfer->member->counters;
	xfer_prepare(xfer, XFER_READ);
	counter_add(&counters->reads, 1);
	counter_add(&counters->read_bytes, (uint64_t)xfer->blocks * BLOCK_BYTES);
	xfer_start(xfer);
}

void member_write(struct member_xfer *xfer)
{
	struct member *m = xfer->member;
	enum pi_verdict verdict;
	xfer_prepare(xfer, XFER_WRITE);
	counter_add(&m->counters.writes, 1);
	counter_add(&m->counters.write_bytes, (uint64_t)xfer->blocks * BLOCK_BYTES);
	if (m->super.pi_check == PI_CHECK_DEVICE && member_verify(xfer, 0, &verdict) < xfer->blocks)
		xfer_finish_later(xfer, -EILSEQ);
	else
		xfer_start(xfer);
}

uint32_t member_verify(const struct member_xfer *xfer, uint32_t from, enum pi_verdict *verdict)
{
	enum pi_type type = xfer->member->super.pi;
	*verdict = PI_GOOD;
	if (type == PI_NONE)
		return xfer->blocks;
	struct block_cursor cursor = cursor_at(xfer);
	for (uint32_t i = 0; i < xfer->blocks; i++) {
		const uint8_t *block = block_cursor_next(&cursor);
		if (i < from)
			continue;
		*verdict = pi_verify(type, block, xfer->block + i, tuple_at(xfer, i));
		if (*verdict == PI_BAD_REF || *verdict == PI_BAD_GUARD)
			return i;
	}
	*verdict = PI_GOOD;
	return xfer->blocks;
}
