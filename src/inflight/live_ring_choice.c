/* SPDX-License-Identifier: MIT */
/* Matching entries with a request, and choosing. */
#include "inflight/live_ring_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "inflight/live_ring_files.h"

#ifndef RWF_NOAPPEND /* Linux 6.9 */
#define RWF_NOAPPEND 0x20
#endif

/* ---- could it be? ---- */

static bool entry_appends(const struct ring_entry *e, const struct live_request *req)
{
	if (e->sqe.is_read || (e->sqe.rw_flags & RWF_NOAPPEND))
		return false;
	return req->append || (e->sqe.rw_flags & RWF_APPEND);
}

/* Is the request in a range that begins at @begin? */
static bool is_part(const struct ring_entry *e, uint64_t begin, const struct live_request *req,
	uint64_t *skip_bytes)
{
	if (req->offset_bytes < begin)
		return false;
	*skip_bytes = req->offset_bytes - begin;
	return *skip_bytes <= e->total_bytes && req->len_bytes <= e->total_bytes - *skip_bytes;
}

/* By what the entry says alone. Where it begins in the file is not known of one that appends or
 * uses the file's position: it is found as a whole, as in live_call_match(). */
static bool range_matches(
	const struct ring_entry *e, const struct live_request *req, uint64_t *skip_bytes)
{
	*skip_bytes = 0;
	if (e->sqe.is_read != req->is_read)
		return false;
	if (entry_appends(e, req) || e->sqe.offset_bytes == RING_POSITION)
		return req->len_bytes == e->total_bytes;
	return is_part(e, e->sqe.offset_bytes, req, skip_bytes);
}

/* 1, 0, or -errno: it cannot be told. */
static int file_matches(
	const struct ring_choice *c, const struct ring *ring, const struct ring_entry *e)
{
	const struct live_ring_question *q = c->question;
	if (e->sqe.fixed_file)
		return q->req->ino ? -ENODATA : 1; /* later, where it matters */
	struct procfs_fd info;
	return live_file_ask(c->files,
		&(struct live_file_question){q->tgid, q->req->tid, e->sqe.fd, false}, q->req,
		&info);
}

void ring_choice_offer(struct ring_choice *c, struct ring *ring)
{
	for (unsigned i = 0; i < ring->open_count; i++) {
		const struct ring_entry *e = &ring->open[i];
		uint64_t skip_bytes;
		if (!range_matches(e, c->question->req, &skip_bytes))
			continue;
		int of_file = file_matches(c, ring, e);
		if (!of_file)
			continue;
		if (c->count < RING_CHOICE_MAX)
			c->candidates[c->count] =
				(struct ring_candidate){ring, i, skip_bytes, of_file > 0};
		c->count++;
	}
}

/* ---- which one is it? ---- */

static struct ring_entry *entry_of(const struct ring_candidate *candidate)
{
	return &candidate->ring->open[candidate->index];
}

static bool same_buffer(const struct ring_candidate *a, const struct ring_candidate *b)
{
	const struct ring_entry *x = entry_of(a), *y = entry_of(b);
	return a->skip_bytes == b->skip_bytes && x->piece_count == y->piece_count &&
	       memcmp(ring_entry_pieces(x), ring_entry_pieces(y),
		       x->piece_count * sizeof(struct iovec)) == 0;
}

static bool all_of_one_buffer(const struct ring_choice *c)
{
	for (unsigned i = 1; i < c->count; i++) {
		if (!same_buffer(&c->candidates[0], &c->candidates[i]))
			return false;
	}
	return true;
}

static bool holds_bytes(const struct ring_choice *c, const struct ring_candidate *candidate)
{
	const struct live_ring_question *q = c->question;
	const struct ring_entry *e = entry_of(candidate);
	return q->req->bytes &&
	       q->holds_bytes(q->ctx, ring_entry_pieces(e), e->piece_count, candidate->skip_bytes);
}

/* Keep those that hold the bytes. */
static void keep_holders(struct ring_choice *c)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < c->count; i++) {
		if (holds_bytes(c, &c->candidates[i]))
			c->candidates[kept++] = c->candidates[i];
	}
	c->count = kept;
}

/* Ask for the files of those whose file is still in doubt, and drop those of others. */
static void check_files(struct ring_choice *c)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < c->count; i++) {
		struct ring_candidate candidate = c->candidates[i];
		if (!candidate.of_file) {
			int ret = live_ring_file_ask(&candidate.ring->memory,
				(uint32_t)entry_of(&candidate)->sqe.fd, c->question->req);
			if (ret == 0)
				continue;
			candidate.of_file = ret > 0;
		}
		c->candidates[kept++] = candidate;
	}
	c->count = kept;
}

static bool is_certain(const struct ring_choice *c)
{
	return c->count == 1 ? c->candidates[0].of_file
			     : c->candidates[0].of_file && all_of_one_buffer(c);
}

/* One by its bytes, or none: then all candidates stay. */
static bool choose_by_bytes(struct ring_choice *c)
{
	struct ring_choice holders = *c;
	keep_holders(&holders);
	if (!holders.count || !all_of_one_buffer(&holders))
		return false;
	*c = holders;
	return true;
}

static enum live_miss take(struct ring_choice *c, struct live_ring_answer *out)
{
	const struct ring_candidate *oldest = &c->candidates[0];
	struct ring_entry *e = entry_of(oldest);
	out->count = e->piece_count;
	out->skip_bytes = oldest->skip_bytes;
	memcpy(out->pieces, ring_entry_pieces(e), e->piece_count * sizeof(struct iovec));
	ring_entry_found(oldest->ring, e, c->question->req->len_bytes);
	return LIVE_FOUND;
}

enum live_miss ring_choice_make(struct ring_choice *c, struct live_ring_answer *out)
{
	if (!c->count)
		return LIVE_NO_MATCH;
	if (c->count > RING_CHOICE_MAX)
		return LIVE_AMBIGUOUS;
	bool must_hold = c->question->must_hold;
	if ((!must_hold && is_certain(c)) || choose_by_bytes(c))
		return take(c, out);
	if (must_hold)
		return LIVE_AMBIGUOUS;
	check_files(c);
	if (!c->count)
		return LIVE_NO_MATCH;
	return is_certain(c) || choose_by_bytes(c) ? take(c, out) : LIVE_AMBIGUOUS;
}
