/* SPDX-License-Identifier: MIT */
/* The shared log of submissions, and a daemon's private index over it.
 *
 *	header: magic, entry count, size of a slot, head (entries ever put), piece count, piece head
 *	(pieces ever put)
 *	slot n % AIO_TABLE_ENTRIES: sequence number 2 * (n + 1) around entry n (odd while it is
 *	written), then its fields, one 64-bit word each; its pieces are those from number WORD_FIRST
 *	piece p % AIO_TABLE_PIECES: address and length of piece p
 *
 * A writer says that it will replace (an odd sequence number, the piece head) before it does, and
 * each word is stored by release and loaded by acquire: so who reads a word that replaced another
 * one sees afterwards that this was said.
 *
 * The private part holds the last AIO_KEPT_ENTRIES of them, with up to AIO_KEPT_PIECES pieces,
 * where those of one entry lie side by side. An entry waits on the chain of its process, direction
 * and megabyte (a request is at most that long, so a submission of up to a megabyte that covers it
 * begins in its megabyte or in the one before); longer ones wait on one chain of their process. It
 * leaves the chain when all of it is given out, when it is too old, or when another one takes its
 * place. */
#include "inflight/aio_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "base/cleanup.h"
#include "base/list.h"

#define TABLE_MAGIC    UINT64_C(0x32304f4941534253) /* "SBSAIO02", little-endian */
#define TABLE_SEALS    (F_SEAL_SHRINK | F_SEAL_GROW)
#define CHAINS         4096u
#define GIVEN_MAX      8u
#define CANDIDATES_MAX 16u /* to choose from */
#define MEGABYTE_SHIFT 20
#define LONG_ONES      UINT64_MAX /* in place of the megabyte */

enum slot_word {
	WORD_SEQ,
	WORD_TGID,
	WORD_KIND, /* piece count, bit 32: is a read */
	WORD_INO,
	WORD_DEV,
	WORD_OFFSET,
	WORD_LEN,
	WORD_TIME,  /* CLOCK_MONOTONIC */
	WORD_FIRST, /* number of its first piece */
	SLOT_WORDS
};

struct shared_piece {
	_Atomic uint64_t base, len;
};

struct shared {
	_Atomic uint64_t magic, entries, slot_bytes, head;
	_Atomic uint64_t pieces_count, piece_head;
	uint64_t reserved[2];
	_Atomic uint64_t slots[AIO_TABLE_ENTRIES][SLOT_WORDS];
	struct shared_piece pieces[AIO_TABLE_PIECES];
};

struct range {
	uint64_t from, to;
};

/* An entry that a daemon remembers. */
struct kept {
	struct list_node node;  /* on a chain; alone: free, or all given out */
	struct aio_entry entry; /* its pieces are in the table's */
	uint64_t number;        /* in the log */
	uint64_t first_piece;   /* their number among those taken */
	uint64_t put_ns;
	uint64_t ambiguous_ns; /* since when nobody can tell what it is; 0: it can be told */
	uint32_t given_count;
	struct range given[GIVEN_MAX]; /* in order, not touching each other */
};

struct aio_table {
	struct shared *shared;
	bool is_daemon;
	uint64_t put_count, piece_count; /* the supervisor's */
	/* lock protects what follows, the daemon's; nobody is asked under it. */
	pthread_mutex_t lock;
	uint64_t seen_count; /* how much of the log was read */
	struct kept *kept;   /* owned: AIO_KEPT_ENTRIES */
	uint64_t taken_pieces;
	struct iovec *pieces; /* owned: AIO_KEPT_PIECES; piece p is at p % AIO_KEPT_PIECES */
	struct list chains[CHAINS];
};

/* ---- the shared log ---- */

static struct aio_table *table_new(int memfd, int protection)
{
	void *memory = mmap(NULL, sizeof(struct shared), protection, MAP_SHARED, memfd, 0);
	if (memory == MAP_FAILED)
		return NULL;
	struct aio_table *t = calloc(1, sizeof(*t));
	if (!t) {
		munmap(memory, sizeof(struct shared));
		return NULL;
	}
	t->shared = memory;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < CHAINS; i++)
		list_init(&t->chains[i]);
	return t;
}

int aio_table_new(int *memfd, struct aio_table **out)
{
	cleanup(cleanup_closep) int fd =
		memfd_create("stablefs-aio", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, sizeof(struct shared)) < 0 ||
		fcntl(fd, F_ADD_SEALS, TABLE_SEALS | F_SEAL_SEAL) < 0)
		return -errno;
	struct aio_table *t = table_new(fd, PROT_READ | PROT_WRITE);
	if (!t)
		return -ENOMEM;
	atomic_store(&t->shared->magic, TABLE_MAGIC);
	atomic_store(&t->shared->entries, AIO_TABLE_ENTRIES);
	atomic_store(&t->shared->slot_bytes, sizeof(t->shared->slots[0]));
	atomic_store(&t->shared->pieces_count, AIO_TABLE_PIECES);
	*memfd = take_fd(&fd);
	*out = t;
	return 0;
}

/* Its size is ours for good, and a page of it that was never written reads as zeros. (A sealed file
 * of huge pages could lack them.) */
static bool is_table_file(int memfd)
{
	struct stat st;
	struct statfs fs;
	int seals = fcntl(memfd, F_GET_SEALS);
	return seals >= 0 && (seals & TABLE_SEALS) == TABLE_SEALS && fstat(memfd, &st) == 0 &&
	       st.st_size == (off_t)sizeof(struct shared) && fstatfs(memfd, &fs) == 0 &&
	       fs.f_type == TMPFS_MAGIC;
}

static bool has_table_header(const struct shared *s)
{
	return atomic_load(&s->magic) == TABLE_MAGIC &&
	       atomic_load(&s->entries) == AIO_TABLE_ENTRIES &&
	       atomic_load(&s->slot_bytes) == sizeof(s->slots[0]) &&
	       atomic_load(&s->pieces_count) == AIO_TABLE_PIECES;
}

int aio_table_map(int memfd, struct aio_table **out)
{
	if (!is_table_file(memfd))
		return -EINVAL;
	struct aio_table *t = table_new(memfd, PROT_READ);
	if (!t)
		return -ENOMEM;
	t->is_daemon = true;
	t->kept = calloc(AIO_KEPT_ENTRIES, sizeof(*t->kept));
	t->pieces = calloc(AIO_KEPT_PIECES, sizeof(*t->pieces));
	int err = !t->kept || !t->pieces ? -ENOMEM : has_table_header(t->shared) ? 0 : -EINVAL;
	if (err < 0) {
		aio_table_free(t);
		return err;
	}
	for (unsigned i = 0; i < AIO_KEPT_ENTRIES; i++)
		list_node_init(&t->kept[i].node);
	*out = t;
	return 0;
}

void aio_table_free(struct aio_table *t)
{
	if (!t)
		return;
	munmap(t->shared, sizeof(*t->shared));
	free(t->kept);
	free(t->pieces);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void entry_to_words(const struct aio_entry *e, uint64_t *words)
{
	words[WORD_TGID] = (uint64_t)e->tgid;
	words[WORD_KIND] = e->piece_count | (uint64_t)e->is_read << 32;
	words[WORD_INO] = e->ino;
	words[WORD_DEV] = e->dev;
	words[WORD_OFFSET] = e->offset_bytes;
	words[WORD_LEN] = e->len_bytes;
}

/* What any content means, but for its pieces: false where it is nothing that a supervisor would
 * say. */
static bool entry_from_words(const uint64_t *words, struct aio_entry *e)
{
	*e = (struct aio_entry){.tgid = (pid_t)words[WORD_TGID],
		.is_read = words[WORD_KIND] >> 32 & 1,
		.piece_count = (uint32_t)words[WORD_KIND],
		.ino = words[WORD_INO],
		.dev = words[WORD_DEV],
		.offset_bytes = words[WORD_OFFSET],
		.len_bytes = words[WORD_LEN]};
	return e->tgid > 0 && e->piece_count <= AIO_MAX_PIECES && e->len_bytes &&
	       e->offset_bytes <= INT64_MAX && e->len_bytes <= INT64_MAX;
}

/* Do the pieces make up the whole? */
static bool pieces_fit(const struct aio_entry *e, const struct iovec *pieces)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < e->piece_count; i++) {
		if (pieces[i].iov_len > e->len_bytes - total)
			return false;
		total += pieces[i].iov_len;
	}
	return total == e->len_bytes;
}

/* Their number: pieces that are in the way are gone from here on. */
static uint64_t pieces_put(struct aio_table *t, const struct aio_entry *e)
{
	uint64_t first = t->piece_count;
	t->piece_count += e->piece_count;
	atomic_store_explicit(&t->shared->piece_head, t->piece_count, memory_order_relaxed);
	for (unsigned i = 0; i < e->piece_count; i++) {
		struct shared_piece *p = &t->shared->pieces[(first + i) % AIO_TABLE_PIECES];
		uint64_t base = (uintptr_t)e->pieces[i].iov_base;
		atomic_store_explicit(&p->base, base, memory_order_release);
		atomic_store_explicit(&p->len, e->pieces[i].iov_len, memory_order_release);
	}
	return first;
}

void aio_table_put(struct aio_table *t, const struct aio_entry *entry)
{
	uint64_t n = t->put_count++, words[SLOT_WORDS];
	_Atomic uint64_t *slot = t->shared->slots[n % AIO_TABLE_ENTRIES];
	struct aio_entry e = *entry;
	if (e.piece_count > AIO_MAX_PIECES || !pieces_fit(&e, e.pieces))
		e.piece_count = 0;
	entry_to_words(&e, words);
	words[WORD_FIRST] = pieces_put(t, &e);
	words[WORD_TIME] = clock_monotonic_ns();
	atomic_store_explicit(&slot[WORD_SEQ], 2 * n + 1, memory_order_relaxed);
	for (unsigned i = WORD_SEQ + 1; i < SLOT_WORDS; i++)
		atomic_store_explicit(&slot[i], words[i], memory_order_release);
	atomic_store_explicit(&slot[WORD_SEQ], 2 * n + 2, memory_order_release);
	atomic_store_explicit(&t->shared->head, n + 1, memory_order_release);
}

/* Entry @n as words. False: another one has its place by now (I1). */
static bool slot_read(const struct shared *s, uint64_t n, uint64_t *words)
{
	const _Atomic uint64_t *slot = s->slots[n % AIO_TABLE_ENTRIES];
	if (atomic_load_explicit(&slot[WORD_SEQ], memory_order_acquire) != 2 * n + 2)
		return false;
	for (unsigned i = WORD_SEQ + 1; i < SLOT_WORDS; i++)
		words[i] = atomic_load_explicit(&slot[i], memory_order_acquire);
	return atomic_load_explicit(&slot[WORD_SEQ], memory_order_relaxed) == 2 * n + 2;
}

/* False: others have the place of one of them by now (I1). */
static bool pieces_read(const struct shared *s, uint64_t first, uint32_t count, struct iovec *out)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct shared_piece *p = &s->pieces[(first + i) % AIO_TABLE_PIECES];
		uint64_t base = atomic_load_explicit(&p->base, memory_order_acquire);
		uint64_t len = atomic_load_explicit(&p->len, memory_order_acquire);
		out[i] = (struct iovec){(void *)(uintptr_t)base, len};
	}
	uint64_t head = atomic_load_explicit(&s->piece_head, memory_order_relaxed);
	return head - first <= AIO_TABLE_PIECES && count <= head - first;
}

/* ---- the private index; all with the lock held ---- */

static struct list *chain_of(struct aio_table *t, pid_t tgid, bool is_read, uint64_t megabyte)
{
	uint64_t key = (uint64_t)tgid << 1 | is_read;
	key = (key ^ megabyte * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
	return &t->chains[key >> 40 & (CHAINS - 1)];
}

static void keep(struct aio_table *t, struct kept *k)
{
	const struct aio_entry *e = &k->entry;
	bool is_long = e->len_bytes > UINT64_C(1) << MEGABYTE_SHIFT;
	list_push_front(chain_of(t, e->tgid, e->is_read,
				is_long ? LONG_ONES : e->offset_bytes >> MEGABYTE_SHIFT),
		&k->node);
}

/* Room for pieces in a row; what was there is forgotten. Their number. */
static uint64_t take_room(struct aio_table *t, uint32_t count)
{
	uint64_t first = t->taken_pieces, left = AIO_KEPT_PIECES - first % AIO_KEPT_PIECES;
	if (count > left)
		first += left;
	t->taken_pieces = first + count;
	return first;
}

/* An entry whose pieces cannot be had is kept: it may be what is asked for. */
static void take_pieces(struct aio_table *t, struct kept *k, uint64_t first)
{
	struct aio_entry *e = &k->entry;
	k->first_piece = take_room(t, e->piece_count);
	e->pieces = &t->pieces[k->first_piece % AIO_KEPT_PIECES];
	if (!pieces_read(t->shared, first, e->piece_count, e->pieces) || !pieces_fit(e, e->pieces))
		e->piece_count = 0;
}

/* Read what is new in the log. A head that goes back, or jumps, costs its owner its entries, and us
 * a bounded time. */
static void take_new(struct aio_table *t, uint64_t now_ns)
{
	uint64_t head = atomic_load_explicit(&t->shared->head, memory_order_acquire);
	if (head <= t->seen_count)
		return;
	if (head - t->seen_count > AIO_KEPT_ENTRIES)
		t->seen_count = head - AIO_KEPT_ENTRIES;
	for (; t->seen_count < head; t->seen_count++) {
		uint64_t words[SLOT_WORDS];
		struct kept *k = &t->kept[t->seen_count % AIO_KEPT_ENTRIES];
		list_remove(&k->node);
		if (!slot_read(t->shared, t->seen_count, words) ||
			!entry_from_words(words, &k->entry))
			continue;
		take_pieces(t, k, words[WORD_FIRST]);
		k->put_ns = words[WORD_TIME] < now_ns ? words[WORD_TIME] : now_ns;
		k->number = t->seen_count;
		k->ambiguous_ns = 0;
		k->given_count = 0;
		keep(t, k);
	}
}

static bool is_over(const struct kept *k, uint64_t now_ns)
{
	return now_ns - k->put_ns > AIO_KEPT_NS ||
	       (k->ambiguous_ns && now_ns - k->ambiguous_ns > AIO_AMBIGUOUS_NS);
}

static bool was_given(const struct kept *k, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < k->given_count; i++)
		if (from < k->given[i].to && to > k->given[i].from)
			return true;
	return false;
}

static bool covers(const struct aio_entry *e, const struct aio_wanted *w)
{
	return e->tgid == w->tgid && e->is_read == w->is_read &&
	       (!e->ino || !w->ino || e->ino == w->ino) &&
	       (!e->dev || !w->dev || e->dev == w->dev) && e->offset_bytes <= w->offset_bytes &&
	       w->len_bytes <= e->len_bytes &&
	       w->offset_bytes - e->offset_bytes <= e->len_bytes - w->len_bytes;
}

/* The range is given out now (I4). Parts come nearly in order, so there are few gaps; with too many
 * of them the rest is never given. */
static void give(struct kept *k, uint64_t from, uint64_t to)
{
	unsigned at = 0;
	while (at < k->given_count && k->given[at].to < from)
		at++;
	unsigned end = at;
	for (; end < k->given_count && k->given[end].from <= to; end++) {
		from = from < k->given[end].from ? from : k->given[end].from;
		to = to > k->given[end].to ? to : k->given[end].to;
	}
	unsigned count = k->given_count - (end - at) + 1;
	const struct aio_entry *e = &k->entry;
	if (count > GIVEN_MAX || (from == e->offset_bytes && to - from == e->len_bytes)) {
		list_remove(&k->node);
		return;
	}
	memmove(&k->given[at + 1], &k->given[end], (k->given_count - end) * sizeof(k->given[0]));
	k->given[at] = (struct range){from, to};
	k->given_count = count;
}

static bool same_buffer(
	const struct aio_entry *a, const struct aio_entry *b, const struct aio_wanted *w)
{
	struct iovec in_a[AIO_MAX_PIECES], in_b[AIO_MAX_PIECES];
	uint32_t n = aio_entry_slice(a, w->offset_bytes, w->len_bytes, in_a);
	return n && aio_entry_slice(b, w->offset_bytes, w->len_bytes, in_b) == n &&
	       memcmp(in_a, in_b, n * sizeof(in_a[0])) == 0;
}

/* What a look through the chains has come to. */
struct look {
	const struct aio_wanted *wanted;
	uint64_t now_ns;
	unsigned chain_count;
	struct list *chains[3];
	unsigned count; /* of candidates; may exceed what is kept */
	struct kept *candidates[CANDIDATES_MAX];
	struct kept *best; /* the newest */
	bool ambiguous;
	uint64_t ambiguous_ns; /* the longest of all candidates; 0: none was so before */
};

static void look_at(struct look *l, struct kept *k)
{
	const struct aio_wanted *w = l->wanted;
	if (!covers(&k->entry, w) || was_given(k, w->offset_bytes, w->offset_bytes + w->len_bytes))
		return;
	if (k->ambiguous_ns && (!l->ambiguous_ns || k->ambiguous_ns < l->ambiguous_ns))
		l->ambiguous_ns = k->ambiguous_ns;
	l->ambiguous |= k->ambiguous_ns || (l->best && !same_buffer(&k->entry, &l->best->entry, w));
	if (!l->best || k->number > l->best->number)
		l->best = k;
	if (l->count < CANDIDATES_MAX)
		l->candidates[l->count] = k;
	l->count++;
}

static void look_through(const struct aio_table *t, struct look *l, struct list *chain)
{
	list_for_each_safe (n, chain) {
		struct kept *k = container_of(n, struct kept, node);
		if (t->taken_pieces - k->first_piece > AIO_KEPT_PIECES)
			k->entry.piece_count = 0; /* later ones are in their place */
		if (is_over(k, l->now_ns))
			list_remove(n);
		else
			look_at(l, k);
	}
}

/* Where an entry that covers the range may be. */
static void add_chain(struct aio_table *t, struct look *l, uint64_t megabyte)
{
	struct list *chain = chain_of(t, l->wanted->tgid, l->wanted->is_read, megabyte);
	for (unsigned i = 0; i < l->chain_count; i++)
		if (l->chains[i] == chain)
			return;
	l->chains[l->chain_count++] = chain;
}

static void look(struct aio_table *t, struct look *l)
{
	uint64_t megabyte = l->wanted->offset_bytes >> MEGABYTE_SHIFT;
	add_chain(t, l, megabyte);
	if (megabyte)
		add_chain(t, l, megabyte - 1);
	add_chain(t, l, LONG_ONES);
	take_new(t, l->now_ns);
	for (unsigned i = 0; i < l->chain_count; i++)
		look_through(t, l, l->chains[i]);
}

/* Nobody can tell what the candidates are. They end together: if each new one began the time anew,
 * it would never end for a program that writes one range all the time. */
static void mark_ambiguous(const struct look *l)
{
	uint64_t since_ns = l->ambiguous_ns ? l->ambiguous_ns : l->now_ns;
	for (unsigned i = 0; i < l->chain_count; i++)
		list_for_each (n, l->chains[i]) {
			struct kept *k = container_of(n, struct kept, node);
			if (covers(&k->entry, l->wanted) && !k->ambiguous_ns)
				k->ambiguous_ns = since_ns;
		}
}

/* What the entry says of the range, and that is given out then. */
static enum aio_found hand_out(struct kept *k, const struct aio_wanted *w, struct aio_entry *out)
{
	struct iovec *room = out->pieces;
	*out = k->entry;
	out->pieces = room;
	out->piece_count = aio_entry_slice(&k->entry, w->offset_bytes, w->len_bytes, room);
	out->offset_bytes = w->offset_bytes;
	out->len_bytes = w->len_bytes;
	give(k, w->offset_bytes, w->offset_bytes + w->len_bytes);
	return out->piece_count ? AIO_FOUND : AIO_NOT_FOUND;
}

/* ---- a choice by the bytes ---- */

struct candidate {
	struct kept *kept;
	uint64_t number; /* that it had; another one: its place was taken */
	struct iovec *pieces;
	uint32_t piece_count;
};

struct choice {
	unsigned count;
	struct candidate candidates[CANDIDATES_MAX];
	struct iovec pieces[AIO_MAX_PIECES]; /* of all of them */
};

/* With the lock held. False: there are too many, or one whose buffer is not known. */
static bool choice_offer(const struct look *l, struct choice *c)
{
	const struct aio_wanted *w = l->wanted;
	uint64_t used = 0;
	if (!w->holds || l->count > CANDIDATES_MAX)
		return false;
	for (c->count = 0; c->count < l->count; c->count++) {
		struct kept *k = l->candidates[c->count];
		if (!k->entry.piece_count || k->entry.piece_count > AIO_MAX_PIECES - used)
			return false;
		struct iovec *pieces = c->pieces + used;
		uint32_t n = aio_entry_slice(&k->entry, w->offset_bytes, w->len_bytes, pieces);
		c->candidates[c->count] = (struct candidate){k, k->number, pieces, n};
		used += n;
	}
	return true;
}

/* Without the lock. The newest of those that hold the bytes, if all of these are one buffer; else
 * NULL. */
static const struct candidate *choice_make(const struct choice *c, const struct aio_wanted *w)
{
	const struct candidate *chosen = NULL;
	for (unsigned i = 0; i < c->count; i++) {
		const struct candidate *x = &c->candidates[i];
		if (!w->holds(w->ctx, x->pieces, x->piece_count, 0))
			continue;
		if (chosen && (chosen->piece_count != x->piece_count ||
				      memcmp(chosen->pieces, x->pieces,
					      x->piece_count * sizeof(*x->pieces)) != 0))
			return NULL;
		if (!chosen || x->number > chosen->number)
			chosen = x;
	}
	return chosen;
}

/* With the lock held: as it was when it was offered? */
static bool is_still_there(const struct candidate *x, const struct aio_wanted *w)
{
	const struct kept *k = x->kept;
	return k->number == x->number && list_linked(&k->node) && k->entry.piece_count &&
	       !was_given(k, w->offset_bytes, w->offset_bytes + w->len_bytes);
}

/* With the lock held, which is let go meanwhile. */
static enum aio_found find_by_bytes(
	struct aio_table *t, const struct look *l, struct aio_entry *out)
{
	struct choice choice;
	const struct candidate *chosen = NULL;
	if (choice_offer(l, &choice)) {
		pthread_mutex_unlock(&t->lock);
		chosen = choice_make(&choice, l->wanted);
		pthread_mutex_lock(&t->lock);
	}
	if (chosen && is_still_there(chosen, l->wanted))
		return hand_out(chosen->kept, l->wanted, out);
	mark_ambiguous(l);
	return AIO_AMBIGUOUS;
}

enum aio_found aio_table_find(
	struct aio_table *t, const struct aio_wanted *wanted, struct aio_entry *out)
{
	if (!t->is_daemon || !wanted->len_bytes || wanted->offset_bytes > INT64_MAX)
		return AIO_NOT_FOUND;
	struct look l = {.wanted = wanted};
	pthread_mutex_lock(&t->lock);
	l.now_ns = clock_monotonic_ns(); /* not before what others have taken meanwhile */
	look(t, &l);
	enum aio_found found = !l.best       ? AIO_NOT_FOUND
			       : l.ambiguous ? find_by_bytes(t, &l, out)
					     : hand_out(l.best, wanted, out);
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* ---- entries ---- */

uint32_t aio_entry_slice(const struct aio_entry *entry, uint64_t offset_bytes, uint64_t len_bytes,
	struct iovec *pieces)
{
	if (offset_bytes < entry->offset_bytes || len_bytes > entry->len_bytes ||
		offset_bytes - entry->offset_bytes > entry->len_bytes - len_bytes)
		return 0;
	uint64_t skip = offset_bytes - entry->offset_bytes;
	uint32_t count = 0;
	for (uint32_t i = 0; i < entry->piece_count && len_bytes; i++) {
		uint64_t len = entry->pieces[i].iov_len;
		if (skip >= len) {
			skip -= len;
			continue;
		}
		len = len - skip < len_bytes ? len - skip : len_bytes;
		/* An absurd address is met by whoever reads there. */
		uintptr_t base = (uintptr_t)entry->pieces[i].iov_base + skip;
		pieces[count++] = (struct iovec){(void *)base, len};
		len_bytes -= len;
		skip = 0;
	}
	return len_bytes ? 0 : count;
}
