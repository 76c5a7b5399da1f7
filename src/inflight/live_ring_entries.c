/* SPDX-License-Identifier: MIT */
/* From a ring's memory to the list of what is to be found.
 *
 *	ring_refresh	attach
 *			read_header	form_conclude, at first
 *			indices_load	which slots were published since?
 *			entries_copy	their contents
 *			drop_overwritten	slots that were used again meanwhile
 *			resolve_vectors	where the iovecs of vectored entries point
 *
 * Invariants: I1 an entry is in ring->open only if no later one was published in its slot before
 *   its copy was complete. I2 numbers in ring->open ascend. */
#include "inflight/live_ring_entries.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "inflight/live_maps.h"

#define ARRAY_AT_ONCE 256u
#define CHUNK         64u /* entries that are copied at once */
#define ROUNDS        4u  /* for who publishes as fast as we read */
#define KEEP_MIN      64u
#define NUMBER_BASE   (UINT64_C(1) << 32) /* so that numbers before the first are positive */

static struct iovec range_at(uint64_t addr, uint64_t len_bytes)
{
	return (struct iovec){(void *)(uintptr_t)addr, len_bytes};
}

static int read_range(const struct ring *r, uint64_t addr, void *out, uint64_t len_bytes)
{
	struct iovec range = range_at(addr, len_bytes);
	return ring_memory_read(&r->memory, &range, 1, out);
}

/* ---- form ---- */

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

enum array_look { LOOKS_ZERO, LOOKS_RIGHT, LOOKS_WRONG };

static enum array_look look_at_array(struct ring *r, uint64_t offset)
{
	size_t len = sizeof(uint32_t) * (size_t)r->form.entries;
	if (offset + len > r->memory.ring_bytes ||
		read_range(r, r->memory.ring + offset, r->array, len) < 0)
		return LOOKS_WRONG;
	for (uint32_t i = 0; i < r->form.entries; i++) {
		if (r->array[i] >= r->form.entries)
			return LOOKS_WRONG;
	}
	return is_zero((const uint8_t *)r->array, len) ? LOOKS_ZERO : LOOKS_RIGHT;
}

/* All indices are zero: either there are none, or each entry was put into slot 0. Slot 1 tells,
 * once two were published. */
static enum ring_indices conclude_from_slot_one(struct ring *r, uint32_t tail)
{
	uint8_t sqe[RING_SQE_BYTES];
	if (r->form.entries == 1)
		return RING_INDICES_NONE;
	if (tail < 2 || read_range(r, r->memory.sqes + r->sqe_bytes, sqe, sizeof(sqe)) < 0)
		return RING_INDICES_UNKNOWN;
	return is_zero(sqe, sizeof(sqe)) ? RING_INDICES_ARRAY : RING_INDICES_NONE;
}

static void conclude_indices(struct ring *r, uint32_t tail)
{
	uint64_t places[RING_ARRAY_PLACES];
	ring_array_places(&r->form, places);
	unsigned zero = RING_ARRAY_PLACES; /* the first place that could be one of zeros */
	for (unsigned i = 0; i < RING_ARRAY_PLACES; i++) {
		enum array_look look = look_at_array(r, places[i]);
		r->array_offset = places[i];
		r->indices = RING_INDICES_ARRAY;
		if (look == LOOKS_RIGHT)
			return;
		if (look == LOOKS_ZERO && zero == RING_ARRAY_PLACES)
			zero = i;
	}
	r->indices = RING_INDICES_NONE;
	if (zero == RING_ARRAY_PLACES)
		return;
	r->array_offset = places[zero];
	memset(r->array, 0, sizeof(*r->array) * r->form.entries);
	r->indices = conclude_from_slot_one(r, tail);
}

static uint64_t page_align(uint64_t len_bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	return (len_bytes + page - 1) / page * page;
}

/* Memory for entries of 128 bytes is twice as long. Where one page holds either, what is behind the
 * last entry of 64 bytes was never written, unless entries have 128. */
static uint32_t conclude_sqe_bytes(const struct ring *r)
{
	uint64_t all = (uint64_t)RING_SQE_BYTES * r->form.entries;
	uint8_t sqe[RING_SQE_BYTES];
	if (r->memory.sqes_bytes < 2 * all ||
		read_range(r, r->memory.sqes + 2 * all - sizeof(sqe), sqe, sizeof(sqe)) < 0)
		return RING_SQE_BYTES;
	if (page_align(2 * all) > page_align(all))
		return 2 * RING_SQE_BYTES;
	for (uint64_t at = all; at < 2 * all; at += sizeof(sqe)) {
		if (read_range(r, r->memory.sqes + at, sqe, sizeof(sqe)) < 0)
			return RING_SQE_BYTES;
		if (!is_zero(sqe, sizeof(sqe)))
			return 2 * RING_SQE_BYTES;
	}
	return RING_SQE_BYTES;
}

void ring_forget_form(struct ring *ring)
{
	if (!ring->proven)
		ring->form.entries = 0;
}

static void forget_entries(struct ring *r)
{
	for (unsigned i = 0; i < r->open_count; i++)
		free(r->open[i].many);
	r->open_count = 0;
}

/* The ring is seen for the first time, or has another size now. */
static int form_conclude(struct ring *r, const struct ring_header *h)
{
	forget_entries(r);
	free(r->array);
	free(r->last_number);
	r->array = calloc(h->entries, sizeof(*r->array));
	r->last_number = calloc(h->entries, sizeof(*r->last_number));
	if (!r->array || !r->last_number)
		return -ENOMEM;
	r->form = *h;
	r->sqe_bytes = conclude_sqe_bytes(r);
	conclude_indices(r, h->tail);
	uint64_t tail = NUMBER_BASE + h->tail;
	uint64_t past = h->tail < h->entries ? h->tail : h->entries;
	r->next = tail - past;
	return 0;
}

/* The header, and with it the indices, where they are few: one call less. */
static int read_beginning(struct ring *r, uint8_t *header)
{
	uint8_t copy[RING_HEADER_BYTES + ARRAY_AT_ONCE * sizeof(*r->array)];
	size_t array_bytes = sizeof(*r->array) * r->form.entries;
	r->array_is_fresh = r->indices == RING_INDICES_ARRAY && r->form.entries &&
			    r->form.entries <= ARRAY_AT_ONCE;
	const struct iovec ranges[] = {range_at(r->memory.ring, RING_HEADER_BYTES),
		range_at(r->memory.ring + r->array_offset, array_bytes)};
	int ret = ring_memory_read(&r->memory, ranges, r->array_is_fresh ? 2 : 1, copy);
	if (ret < 0)
		return ret;
	memcpy(header, copy, RING_HEADER_BYTES);
	if (r->array_is_fresh)
		memcpy(r->array, copy + RING_HEADER_BYTES, array_bytes);
	return 0;
}

static int read_header(struct ring *r, struct ring_header *out)
{
	uint8_t memory[RING_HEADER_BYTES];
	int ret = read_beginning(r, memory);
	if (ret < 0)
		return ret;
	if (!ring_header_decode(memory, out))
		return -ENOENT;
	if (r->form.entries == out->entries && r->form.cq_entries == out->cq_entries)
		return 0;
	r->array_is_fresh = false;
	return form_conclude(r, out);
}

/* The tail as a number. */
static uint64_t tail_number(const struct ring *r, uint32_t tail)
{
	return r->next + (uint32_t)(tail - (uint32_t)r->next);
}

/* ---- indices ---- */

static uint32_t slot_of(const struct ring *r, uint64_t number)
{
	uint32_t i = (uint32_t)number & (r->form.entries - 1);
	return r->indices == RING_INDICES_ARRAY ? r->array[i] : i;
}

/* The indices of entries [from, to), and which entry each slot was used for last. */
static int indices_load(struct ring *r, uint64_t from, uint64_t to)
{
	uint32_t mask = r->form.entries - 1, begin = (uint32_t)from & mask;
	uint64_t count = to - from;
	if (r->indices == RING_INDICES_ARRAY && !r->array_is_fresh) {
		uint64_t first = count < r->form.entries - begin ? count : r->form.entries - begin;
		uint64_t array = r->memory.ring + r->array_offset;
		int ret = read_range(r, array + sizeof(uint32_t) * (uint64_t)begin,
			r->array + begin, sizeof(uint32_t) * first);
		if (ret == 0 && count > first)
			ret = read_range(r, array, r->array, sizeof(uint32_t) * (count - first));
		if (ret < 0)
			return ret;
	}
	for (uint64_t n = from; n < to; n++) {
		uint32_t slot = slot_of(r, n);
		if (slot < r->form.entries)
			r->last_number[slot] = n;
	}
	return 0;
}

/* ---- entries ---- */

static int open_reserve(struct ring *r, unsigned more)
{
	if (r->open_count + more <= r->open_room)
		return 0;
	unsigned room =
		r->open_room * 2 > r->open_count + more ? r->open_room * 2 : r->open_count + more;
	struct ring_entry *open = reallocarray(r->open, room, sizeof(*open));
	if (!open)
		return -ENOMEM;
	r->open = open;
	r->open_room = room;
	return 0;
}

static void open_add(struct ring *r, uint64_t number, uint32_t slot, const uint8_t *memory)
{
	struct ring_entry e = {.number = number, .slot = slot};
	if (!ring_sqe_decode(memory, &e.sqe) || e.sqe.buffer_group)
		return;
	if (!e.sqe.vectored) {
		e.one = range_at(e.sqe.addr, e.sqe.len);
		e.piece_count = 1;
		e.total_bytes = e.sqe.len;
	}
	r->open[r->open_count++] = e;
}

/* Entries [from, from + count), at most CHUNK. @tail: what it is after that. */
static int chunk_copy(struct ring *r, uint64_t from, unsigned count, uint32_t *tail)
{
	uint8_t copy[CHUNK * RING_SQE_BYTES + RING_HEADER_BYTES];
	struct iovec ranges[CHUNK + 1];
	uint32_t slots[CHUNK];
	for (unsigned i = 0; i < count; i++) {
		slots[i] = slot_of(r, from + i);
		if (slots[i] >= r->form.entries) /* the kernel drops such an entry, too */
			slots[i] = 0;
		ranges[i] = range_at(
			r->memory.sqes + (uint64_t)slots[i] * r->sqe_bytes, RING_SQE_BYTES);
	}
	ranges[count] = range_at(r->memory.ring, RING_HEADER_BYTES);
	int ret = ring_memory_read(&r->memory, ranges, count + 1, copy);
	if (ret == 0)
		ret = open_reserve(r, count);
	struct ring_header h;
	if (ret < 0 || !ring_header_decode(copy + count * RING_SQE_BYTES, &h))
		return ret < 0 ? ret : -ENOENT;
	*tail = h.tail;
	for (unsigned i = 0; i < count; i++)
		open_add(r, from + i, slots[i], copy + i * RING_SQE_BYTES);
	return 0;
}

static int entries_copy(struct ring *r, uint64_t from, uint64_t to, uint32_t *tail)
{
	for (uint64_t n = from; n < to; n += CHUNK) {
		unsigned count = to - n < CHUNK ? (unsigned)(to - n) : CHUNK;
		int ret = chunk_copy(r, n, count, tail);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static void entry_free(struct ring_entry *e)
{
	free(e->many);
}

/* Of the entries from @first on in ring->open, those whose slot was used again. */
static void drop_overwritten(struct ring *r, unsigned first)
{
	unsigned kept = first;
	for (unsigned i = first; i < r->open_count; i++) {
		if (r->last_number[r->open[i].slot] == r->open[i].number)
			r->open[kept++] = r->open[i];
		else
			entry_free(&r->open[i]);
	}
	r->open_count = kept;
}

/* ---- vectors ---- */

static uint64_t pieces_total(const struct iovec *iov, unsigned count)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < count; i++) {
		if (iov[i].iov_len > SSIZE_MAX - total)
			return 0;
		total += iov[i].iov_len;
	}
	return total;
}

/* The iovecs of an entry, at once: their memory is the process's again after the submission. One
 * that cannot be read has no bytes, and so is never found. */
static void vector_resolve(
	const struct ring *r, struct ring_entry *e, const struct ring_reader *reader)
{
	if (e->sqe.len == 0 || e->sqe.len > IOV_MAX)
		return;
	struct iovec array = range_at(e->sqe.addr, e->sqe.len * sizeof(struct iovec));
	struct live_maps_question question = {&array, 1, reader->dev};
	int own = reader->maps_fd < 0 ? live_maps_ask(r->memory.pid, &question)
				      : live_maps_query(reader->maps_fd, &question);
	if (own)
		return;
	cleanup(cleanup_freep) struct iovec *pieces = calloc(e->sqe.len, sizeof(*pieces));
	struct iovec local = {pieces, array.iov_len};
	if (!pieces ||
		process_vm_readv(r->memory.pid, &local, 1, &array, 1, 0) != (ssize_t)array.iov_len)
		return;
	e->piece_count = e->sqe.len;
	e->total_bytes = pieces_total(pieces, e->piece_count);
	if (e->piece_count == 1)
		e->one = pieces[0];
	else
		e->many = take_ptr(&pieces);
}

static void resolve_vectors(struct ring *r, unsigned first, const struct ring_reader *reader)
{
	for (unsigned i = first; i < r->open_count; i++) {
		if (r->open[i].sqe.vectored && !r->open[i].piece_count)
			vector_resolve(r, &r->open[i], reader);
	}
}

/* ---- all of it ---- */

static void drop_oldest(struct ring *r)
{
	uint64_t keep = 2 * (uint64_t)r->form.entries;
	keep = keep > KEEP_MIN ? keep : KEEP_MIN;
	unsigned old = 0;
	while (old < r->open_count && r->open[old].number + keep < r->next)
		entry_free(&r->open[old++]);
	if (!old)
		return;
	r->open_count -= old;
	memmove(r->open, r->open + old, r->open_count * sizeof(*r->open));
}

/* What was published up to @tail, which becomes what it is afterwards. */
static int refresh_round(struct ring *r, uint32_t *tail)
{
	uint64_t to = tail_number(r, *tail);
	uint64_t from = to - r->next > r->form.entries ? to - r->form.entries : r->next;
	unsigned first = r->open_count;
	int ret = indices_load(r, from, to);
	if (ret == 0)
		ret = entries_copy(r, from, to, tail);
	r->array_is_fresh = false;
	if (ret < 0) {
		r->open_count = first;
		return ret;
	}
	uint64_t now = to + (uint32_t)(*tail - (uint32_t)to);
	uint64_t since = now - to > r->form.entries ? now - r->form.entries : to;
	ret = indices_load(r, since, now);
	if (ret < 0)
		return ret;
	r->next = to;
	drop_overwritten(r, first);
	return 0;
}

static int refresh_attached(struct ring *r, const struct ring_reader *reader)
{
	struct ring_header h;
	int ret = read_header(r, &h);
	if (ret == 0 && r->indices == RING_INDICES_UNKNOWN)
		conclude_indices(r, h.tail);
	unsigned first = r->open_count;
	for (unsigned i = 0; i < ROUNDS && ret == 0 && h.tail != (uint32_t)r->next; i++)
		ret = refresh_round(r, &h.tail);
	if (ret < 0)
		return ret;
	resolve_vectors(r, first, reader);
	drop_oldest(r);
	return 0;
}

int ring_refresh(struct ring *ring, const struct ring_reader *reader)
{
	int ret = ring_memory_attach(&ring->memory, reader->maps_fd);
	if (ret < 0)
		return ret;
	ret = refresh_attached(ring, reader);
	ring_memory_detach(&ring->memory);
	return ret;
}

void ring_entry_found(struct ring *ring, struct ring_entry *e, uint32_t len_bytes)
{
	ring->proven = true;
	e->found_bytes += len_bytes;
	if (e->found_bytes < e->total_bytes)
		return;
	entry_free(e);
	unsigned at = (unsigned)(e - ring->open);
	ring->open_count--;
	memmove(e, e + 1, (ring->open_count - at) * sizeof(*e));
}

void ring_clear(struct ring *ring)
{
	forget_entries(ring);
	free(ring->open);
	free(ring->array);
	free(ring->last_number);
}
