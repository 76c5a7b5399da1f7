/* SPDX-License-Identifier: MIT */
/* Flushes: dirty tuple pages go to the medium, then the medium is flushed.
 *
 * Work is done in rounds, one at a time. Flushes that arrive during a round are served together by
 * the next: so no page is written twice at the same time, and many small fsyncs cost few writes.
 *
 *	round_start -> slots_fill -> slot_written ... -> pages_written -> [IO_FLUSH] -> round_end
 *	                   ^_______________|  while pages remain
 *
 * Invariants: I1 what a slot writes is a copy: a page changed meanwhile is dirty again, and the
 *   medium gets no half of two states. I2 a page is in at most one slot. I3 a round that serves
 *   flushes takes every page that is dirty at its start. */
#include "member/internal.h"

#include <errno.h>
#include <stdlib.h>
#include "base/mem.h"

static void slots_fill(struct member *m);

int flush_round_init(struct member *m)
{
	struct flush_round *r = &m->round;
	list_init(&r->pages);
	list_init(&r->flushes);
	list_init(&r->queued);
	if (!m->tuple_bytes)
		return 0;
	r->bounce = mem_alloc_blocks(FLUSH_SLOTS * SLOT_PAGES * TUPLE_PAGE_BYTES);
	if (!r->bounce)
		return -ENOMEM;
	for (unsigned i = 0; i < FLUSH_SLOTS; i++) {
		r->slots[i].member = m;
		r->slots[i].bounce = r->bounce + i * SLOT_PAGES * TUPLE_PAGE_BYTES;
	}
	return 0;
}

void flush_round_fini(struct member *m)
{
	free(m->round.bounce);
	m->round.bounce = NULL;
}

static void round_start(struct member *m);

/* The round's last step. Its flushes are told at the very end: the last may close the member. */
static void round_end(struct member *m, int err)
{
	struct flush_round *r = &m->round;
	struct list served;
	list_init(&served);
	list_splice_back(&served, &r->flushes);
	r->active = false;
	if (err < 0)
		counter_add(&m->counters.errors, 1);
	m->tuples.write_back_err = r->err;
	member_unpark(m);
	m->tuples.write_back_err = 0;
	if (!r->active && !list_empty(&r->queued))
		round_start(m);
	struct list_node *node;
	while ((node = list_pop_front(&served))) {
		struct member_flush *flush = container_of(node, struct member_flush, node);
		flush->done(flush, err);
	}
}

static void medium_flushed(struct io_req *io, int err)
{
	round_end(container_of(io, struct member, round.io), err);
}

static void pages_written(struct member *m)
{
	struct flush_round *r = &m->round;
	if (r->err < 0 || list_empty(&r->flushes)) {
		round_end(m, r->err);
		return;
	}
	r->io = (struct io_req){.kind = IO_FLUSH, .file = m->file, .done = medium_flushed};
	io_submit(m->io, &r->io);
}

static void slot_written(struct io_req *io, int err)
{
	struct flush_slot *slot = container_of(io, struct flush_slot, io);
	struct member *m = slot->member;
	for (unsigned i = 0; i < slot->count; i++)
		tuple_page_write_ended(slot->pages[i], err);
	slot->count = 0;
	if (err < 0 && !m->round.err)
		m->round.err = err;
	member_unpark(m);
	slots_fill(m);
}

static bool page_is_writable(const struct tuple_page *page)
{
	return page && page->dirty && !page->writing;
}

/* Gather the run of dirty pages around @page into @slot: those before it first. */
static void run_gather(struct tuple_page *page, struct flush_slot *slot)
{
	struct tuple_cache *cache = page->cache;
	uint64_t index = page->index;
	unsigned before = 0;
	while (before + 1 < SLOT_PAGES && index &&
		page_is_writable(tuple_page_find(cache, index - 1))) {
		index--;
		before++;
	}
	for (struct tuple_page *p = tuple_page_find(cache, index);
		slot->count < SLOT_PAGES && page_is_writable(p);
		p = tuple_page_find(cache, ++index)) {
		memcpy(slot->bounce + slot->count * TUPLE_PAGE_BYTES, p->bytes, TUPLE_PAGE_BYTES);
		slot->pages[slot->count++] = p;
		tuple_page_write_begun(p);
	}
}

static void slot_submit(struct flush_slot *slot)
{
	struct member *m = slot->member;
	slot->iov = (struct iovec){slot->bounce, slot->count * TUPLE_PAGE_BYTES};
	slot->io = (struct io_req){.kind = IO_WRITE,
		.file = m->file,
		.offset_bytes =
			m->super.tuples.offset_bytes + slot->pages[0]->index * TUPLE_PAGE_BYTES,
		.iov = &slot->iov,
		.iov_count = 1,
		.done = slot_written};
	counter_add(&m->counters.tuple_page_writes, slot->count);
	io_submit(m->io, &slot->io);
}

/* Keep the slots busy while the round has pages; go on where it has none and all are idle. */
static void slots_fill(struct member *m)
{
	struct flush_round *r = &m->round;
	bool busy = false;
	for (unsigned i = 0; i < FLUSH_SLOTS; i++) {
		struct flush_slot *slot = &r->slots[i];
		struct list_node *node = slot->count ? NULL : list_first(&r->pages);
		if (node) {
			run_gather(container_of(node, struct tuple_page, node), slot);
			slot_submit(slot);
		}
		busy = busy || slot->count;
	}
	if (!busy)
		pages_written(m);
}

/* Take all dirty pages where flushes wait, else the older half. */
static void round_start(struct member *m)
{
	struct flush_round *r = &m->round;
	assert(!r->active);
	r->active = true;
	r->err = 0;
	list_splice_back(&r->flushes, &r->queued);
	if (!m->tuple_bytes) {
		pages_written(m);
		return;
	}
	if (!list_empty(&r->flushes)) {
		list_splice_back(&r->pages, &m->tuples.dirty);
	} else {
		for (unsigned n = (m->tuples.dirty_pages + 1) / 2; n; n--)
			list_push_back(&r->pages, list_pop_front(&m->tuples.dirty));
	}
	slots_fill(m);
}

void flush_write_back(struct member *m)
{
	if (!m->round.active && m->tuples.dirty_pages)
		round_start(m);
}

void member_flush(struct member_flush *flush)
{
	struct member *m = flush->member;
	counter_add(&m->counters.flushes, 1);
	list_push_back(&m->round.queued, &flush->node);
	if (!m->round.active)
		round_start(m);
}
