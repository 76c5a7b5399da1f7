/* SPDX-License-Identifier: MIT */
/* The medium of a simulated disk: what a read returns now, what a power cut would leave.
 *
 * A page that is written keeps its durable bytes aside until a flush leaves nothing volatile. Each
 * unflushed write is also kept as a record: at a flush its bytes go into the durable copies, at a
 * power cut all, a prefix or nothing of them does, each record drawing for itself.
 * Invariants: I1 a byte whose now and durable differ belongs to a record, or its page is dirty.
 * I2 records are applied in the order in which they reached the disk; a flush that takes one takes
 * the older ones that overlap it too, so that no older byte returns over a durable newer one.
 * I3 memory that runs out leaves the medium as it was.
 * Owning thread: the world's. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "io/draw.h"
#include "io/sim_internal.h"

/* The part of a byte range that lies in one page. */
struct span {
	uint64_t page;
	unsigned in_page, len_bytes;
	uint64_t done_bytes; /* of the range, before this part */
};

/* Step to the next part; start with a zeroed @s. False: the range is at its end. */
static bool span_next(struct span *s, uint64_t offset_bytes, uint64_t len_bytes)
{
	s->done_bytes += s->len_bytes;
	if (s->done_bytes >= len_bytes)
		return false;
	uint64_t at = offset_bytes + s->done_bytes;
	s->page = at / SIM_PAGE_BYTES;
	s->in_page = (unsigned)(at % SIM_PAGE_BYTES);
	s->len_bytes = (unsigned)min_u64(SIM_PAGE_BYTES - s->in_page, len_bytes - s->done_bytes);
	return true;
}

static struct sim_page *page_of(struct list_node *node)
{
	return container_of(node, struct sim_page, node);
}

static struct sim_write *write_of(struct list_node *node)
{
	return container_of(node, struct sim_write, node);
}

/* ---- bytes ---- */

struct sim_bytes *sim_bytes_new(void)
{
	struct sim_bytes *b = calloc(1, sizeof(*b));
	if (b)
		b->refs = 1;
	return b;
}

struct sim_bytes *sim_bytes_share(struct sim_bytes *b)
{
	b->refs++;
	return b;
}

void sim_bytes_put(struct sim_bytes *b)
{
	if (b && --b->refs == 0)
		free(b);
}

int sim_bytes_own(struct sim_bytes **b)
{
	if ((*b)->refs == 1)
		return 0;
	struct sim_bytes *own = malloc(sizeof(*own));
	if (!own)
		return -ENOMEM;
	memcpy(own->bytes, (*b)->bytes, SIM_PAGE_BYTES);
	own->refs = 1;
	(*b)->refs--;
	*b = own;
	return 0;
}

static void page_clean(struct sim_page *page)
{
	list_remove(&page->node);
	sim_bytes_put(page->durable);
	page->durable = NULL;
}

static void write_free(struct sim_write *w)
{
	list_remove(&w->node);
	if (w->req)
		w->req->record = NULL;
	free(w->data);
	free(w);
}

static uint64_t page_count_of(uint64_t size_bytes)
{
	return round_up_u64(size_bytes, SIM_PAGE_BYTES) / SIM_PAGE_BYTES;
}

static void drop_contents(struct sim_disk *disk)
{
	while (!list_empty(&disk->unflushed))
		write_free(write_of(list_first(&disk->unflushed)));
	for (uint64_t i = 0; disk->pages && i < page_count_of(disk->size_bytes); i++) {
		struct sim_page *page = disk->pages[i];
		if (!page)
			continue;
		sim_bytes_put(page->now);
		sim_bytes_put(page->durable);
		free(page->before);
		free(page);
	}
	list_init(&disk->dirty);
	free(disk->pages);
	disk->pages = NULL;
}

int sim_disk_empty(struct sim_disk *disk, uint64_t size_bytes)
{
	struct sim_page **pages = calloc(page_count_of(size_bytes) + 1, sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	drop_contents(disk);
	disk->pages = pages;
	disk->size_bytes = size_bytes;
	return 0;
}

void sim_disk_free(struct sim_disk *disk)
{
	if (!disk)
		return;
	drop_contents(disk);
	free(disk->name);
	free(disk);
}

static void disk_freep(struct sim_disk **disk)
{
	sim_disk_free(*disk);
}

struct sim_disk *sim_disk_new(const char *name, uint64_t size_bytes)
{
	cleanup(disk_freep) struct sim_disk *disk = calloc(1, sizeof(*disk));
	if (!disk)
		return NULL;
	list_init(&disk->dirty);
	list_init(&disk->unflushed);
	disk->name = strdup(name);
	if (!disk->name || sim_disk_empty(disk, size_bytes) < 0)
		return NULL;
	return take_ptr(&disk);
}

bool sim_disk_holds(const struct sim_disk *disk, uint64_t offset_bytes, uint64_t len_bytes)
{
	return offset_bytes <= disk->size_bytes && len_bytes <= disk->size_bytes - offset_bytes;
}

void sim_disk_load(const struct sim_disk *disk, uint64_t offset_bytes, void *buf,
	uint64_t len_bytes, bool before)
{
	for (struct span s = {0}; span_next(&s, offset_bytes, len_bytes);) {
		const struct sim_page *page = disk->pages[s.page];
		const uint8_t *from = !page ? NULL : before ? page->before : page->now->bytes;
		uint8_t *to = (uint8_t *)buf + s.done_bytes;
		if (from)
			memcpy(to, from + s.in_page, s.len_bytes);
		else
			memset(to, 0, s.len_bytes);
	}
}

static struct sim_page *page_new(void)
{
	struct sim_page *page = calloc(1, sizeof(*page));
	if (!page)
		return NULL;
	list_node_init(&page->node);
	page->now = sim_bytes_new();
	if (page->now)
		return page;
	free(page);
	return NULL;
}

/* Make all that the write needs of a page, so that storing cannot fail (I3). */
static int page_prepare(struct sim_disk *disk, uint64_t index, bool zeros)
{
	struct sim_page *page = disk->pages[index];
	if (!page && zeros)
		return 0; /* it is zeros already */
	if (!page) {
		page = disk->pages[index] = page_new();
		if (!page)
			return -ENOMEM;
	} else if (!page->before) {
		page->before = calloc(1, SIM_PAGE_BYTES);
		if (!page->before)
			return -ENOMEM;
	}
	if (!page->durable) {
		page->durable = sim_bytes_share(page->now);
		list_push_back(&disk->dirty, &page->node);
	}
	int ret = sim_bytes_own(&page->now);
	return ret < 0 ? ret : sim_bytes_own(&page->durable);
}

static void copy_or_zero(uint8_t *to, const uint8_t *from, size_t len_bytes)
{
	if (from)
		memcpy(to, from, len_bytes);
	else
		memset(to, 0, len_bytes);
}

static void store_now(struct sim_disk *disk, const struct sim_write *w)
{
	for (struct span s = {0}; span_next(&s, w->offset_bytes, w->len_bytes);) {
		struct sim_page *page = disk->pages[s.page];
		if (!page)
			continue;
		if (page->before)
			memcpy(page->before + s.in_page, page->now->bytes + s.in_page, s.len_bytes);
		copy_or_zero(page->now->bytes + s.in_page, w->data ? w->data + s.done_bytes : NULL,
			s.len_bytes);
	}
}

/* The first @len_bytes of the record become durable. */
static void store_durable(struct sim_disk *disk, const struct sim_write *w, uint64_t len_bytes)
{
	for (struct span s = {0}; span_next(&s, w->offset_bytes, len_bytes);) {
		struct sim_page *page = disk->pages[s.page];
		if (page && page->durable && sim_bytes_own(&page->durable) == 0)
			copy_or_zero(page->durable->bytes + s.in_page,
				w->data ? w->data + s.done_bytes : NULL, s.len_bytes);
	}
}

int sim_disk_store(struct sim_disk *disk, const struct sim_write *write)
{
	struct sim_write *w = malloc(sizeof(*w));
	int ret = w ? 0 : -ENOMEM;
	for (struct span s = {0}; ret == 0 && span_next(&s, write->offset_bytes, write->len_bytes);)
		ret = page_prepare(disk, s.page, !write->data);
	if (ret < 0) {
		free(w);
		free(write->data);
		return ret;
	}
	*w = *write;
	list_push_back(&disk->unflushed, &w->node);
	if (w->req)
		w->req->record = w;
	store_now(disk, w);
	return 0;
}

void sim_disk_acknowledge(struct io_req *req, uint64_t at)
{
	struct sim_write *w = req->record;
	if (!w)
		return;
	w->acked_at = at;
	w->req = NULL;
	req->record = NULL;
}

static bool writes_overlap(const struct sim_write *a, const struct sim_write *b)
{
	return a->offset_bytes < b->offset_bytes + b->len_bytes &&
	       b->offset_bytes < a->offset_bytes + a->len_bytes;
}

static bool overlapped_by_newer(const struct sim_disk *disk, struct sim_write *w)
{
	for (struct list_node *n = w->node.next; n != &disk->unflushed.head; n = n->next) {
		if (write_of(n)->committing && writes_overlap(w, write_of(n)))
			return true;
	}
	return false;
}

/* Newest first: what is committing decides about what is older. */
static void commit_chosen(struct sim_disk *disk)
{
	struct list_node *n = disk->unflushed.head.prev;
	for (; n != &disk->unflushed.head; n = n->prev) {
		if (!write_of(n)->committing)
			write_of(n)->committing = overlapped_by_newer(disk, write_of(n)); /* I2 */
	}
	list_for_each_safe (m, &disk->unflushed) {
		struct sim_write *w = write_of(m);
		if (!w->committing)
			continue;
		store_durable(disk, w, w->len_bytes);
		write_free(w);
	}
	while (list_empty(&disk->unflushed) && !list_empty(&disk->dirty))
		page_clean(page_of(list_first(&disk->dirty)));
}

void sim_disk_flush(struct sim_disk *disk, uint64_t at)
{
	list_for_each (n, &disk->unflushed)
		write_of(n)->committing = write_of(n)->acked_at && write_of(n)->acked_at <= at;
	commit_chosen(disk);
}

void sim_disk_flush_write(struct sim_disk *disk, const struct io_req *req)
{
	if (!req->record)
		return;
	list_for_each (n, &disk->unflushed)
		write_of(n)->committing = write_of(n) == req->record;
	commit_chosen(disk);
}

void sim_disk_flip(struct sim_disk *disk, uint64_t offset_bytes, unsigned bit)
{
	struct sim_page **slot = &disk->pages[offset_bytes / SIM_PAGE_BYTES];
	unsigned in_page = (unsigned)(offset_bytes % SIM_PAGE_BYTES);
	if (!*slot)
		*slot = page_new();
	struct sim_page *page = *slot;
	if (!page || sim_bytes_own(&page->now) < 0 ||
		(page->durable && sim_bytes_own(&page->durable) < 0))
		return;
	page->now->bytes[in_page] ^= (uint8_t)(1u << bit);
	if (page->durable)
		page->durable->bytes[in_page] ^= (uint8_t)(1u << bit);
}

uint64_t sim_disk_fate_bytes(const struct sim_write *w, uint64_t *rng)
{
	uint64_t sectors = w->len_bytes / SIM_SECTOR_BYTES;
	switch (draw_range(rng, 0, sectors > 1 ? 2 : 1)) {
	case 0:
		return 0;
	case 1:
		return w->len_bytes;
	default:
		return draw_range(rng, 1, sectors - 1) * SIM_SECTOR_BYTES;
	}
}

void sim_disk_lose_power(struct sim_disk *disk, uint64_t *rng)
{
	while (!list_empty(&disk->unflushed)) {
		struct sim_write *w = write_of(list_first(&disk->unflushed));
		store_durable(disk, w, rng ? sim_disk_fate_bytes(w, rng) : w->len_bytes);
		write_free(w);
	}
	while (!list_empty(&disk->dirty)) {
		struct sim_page *page = page_of(list_first(&disk->dirty));
		sim_bytes_put(page->now);
		page->now = sim_bytes_share(page->durable);
		page_clean(page);
	}
}

static int find_range(struct sim_world *world, const char *name, uint64_t offset_bytes,
	uint64_t len_bytes, struct sim_disk **out)
{
	*out = sim_world_find(world, name);
	if (!*out)
		return -ENOENT;
	return sim_disk_holds(*out, offset_bytes, len_bytes) ? 0 : -ERANGE;
}

int sim_disk_peek(struct sim_world *world, const char *name, uint64_t offset_bytes, void *buf,
	uint64_t len_bytes)
{
	struct sim_disk *disk;
	int ret = find_range(world, name, offset_bytes, len_bytes, &disk);
	if (ret == 0)
		sim_disk_load(disk, offset_bytes, buf, len_bytes, false);
	return ret;
}

int sim_disk_poke(struct sim_world *world, const char *name, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes)
{
	struct sim_disk *disk;
	struct sim_write w = {
		.offset_bytes = offset_bytes, .len_bytes = len_bytes, .data = (uint8_t *)buf};
	int ret = find_range(world, name, offset_bytes, len_bytes, &disk);
	for (struct span s = {0}; ret == 0 && span_next(&s, offset_bytes, len_bytes);)
		ret = page_prepare(disk, s.page, false);
	if (ret < 0)
		return ret;
	store_now(disk, &w);
	store_durable(disk, &w, len_bytes);
	return 0;
}
