/* SPDX-License-Identifier: MIT */
/* Streams: recognised by where a write begins, trusted as long as they go on.
 *
 *	stream_write_begins	it begins where a stream is: that goes on, or is overtaken (requests
 *				are received by several threads), or something fills the gap
 *	stream_waits		a stripe is short of bytes that its stream is expected to bring, or
 *				has less than half of its small requests: it waits
 *	stream_write_ends	none of the stream's requests is on its way any more but those that
 *				wait: so its writer is about to send the next, or was at its end
 *		--> alarm	a moment later it was the end */
#include "stripe/stream.h"

#include "base/clock.h"
#include "stripe/internal.h"

/* So many requests of a stream may be received later than one behind them. */
#define OVERTAKES 2u

/* From the answer of one large request to the arrival of the next: a few hundred microseconds. */
#define MOMENT_NS (500 * NS_PER_US)

#define TRUST_MAX   8
#define TRUST_WAITS 2

static void alarm_rang(struct io_req *alarm, int err);

void streams_init(struct stripe_engine *eng)
{
	list_init(&eng->streams.waiting);
}

/* ---- which stream ---- */

static bool overtakes(const struct write_stream *s, const struct stripe_req *req)
{
	return req->offset_bytes > s->end &&
	       req->offset_bytes - s->end <= (uint64_t)OVERTAKES * req->len_bytes;
}

static bool in_gap(const struct write_stream *s, uint64_t at)
{
	return at >= s->gap && at < s->gap_end;
}

/* The one that goes on with @req, else the latest that it may belong to, else one to begin anew;
 * NULL: none is free. */
static struct write_stream *stream_of(struct streams *streams, const struct stripe_req *req)
{
	uint64_t offset = req->offset_bytes;
	struct write_stream *near = NULL, *oldest = NULL;
	for (unsigned i = 0; i < STREAMS; i++) {
		struct write_stream *s = &streams->all[i];
		if (s->last && s->end == offset)
			return s;
		bool may = s->last && (overtakes(s, req) || in_gap(s, offset));
		if (may && (!near || s->last > near->last))
			near = s;
		if (!s->under_way && (!oldest || s->last < oldest->last))
			oldest = s;
	}
	if (near || !oldest)
		return near;
	*oldest = (struct write_stream){.end = offset};
	return oldest;
}

static void trust(struct write_stream *s, int more)
{
	s->trust += more;
	s->trust = s->trust > TRUST_MAX ? TRUST_MAX : s->trust < 0 ? 0 : s->trust;
}

/* ---- what it is expected to bring ---- */

static void gap_fill(struct write_stream *s, uint64_t from, uint64_t to)
{
	if (from <= s->gap && to > s->gap)
		s->gap = min_u64(to, s->gap_end);
	else if (to >= s->gap_end)
		s->gap_end = max_u64(from, s->gap);
}

static void go_on(struct write_stream *s, uint64_t from, uint64_t to)
{
	bool ahead = from > s->end, next = from == s->end;
	if (next || in_gap(s, from))
		trust(s, s->under_way ? 1 : -2);
	else
		trust(s, -1);
	if (ahead) {
		s->gap = s->end;
		s->gap_end = from;
	} else if (!next) {
		gap_fill(s, from, to);
	}
	s->end = max_u64(s->end, to);
}

void stream_write_begins(struct stripe_engine *eng, struct stripe_req *req)
{
	struct streams *streams = &eng->streams;
	struct write_stream *s = stream_of(streams, req);
	req->stream = s;
	if (!s)
		return;
	go_on(s, req->offset_bytes, req->offset_bytes + req->len_bytes);
	s->last = ++streams->writes;
	s->under_way++;
	s->bytes_under_way += req->len_bytes;
}

/* ---- waiting ---- */

static void alarm_arm(struct stripe_engine *eng, uint64_t due_ns)
{
	struct streams *streams = &eng->streams;
	if (streams->armed)
		return; /* it looks for others when it rings */
	streams->armed = true;
	streams->alarm = (struct io_req){.kind = IO_ALARM, .due_ns = due_ns, .done = alarm_rang};
	io_submit(eng->config.io, &streams->alarm);
}

static void alarm_rang(struct io_req *alarm, int err)
{
	struct stripe_engine *eng = container_of(alarm, struct stripe_engine, streams.alarm);
	uint64_t now_ns = io_now_ns(eng->config.io), next_ns = UINT64_MAX;
	eng->streams.armed = false;
	list_for_each (n, &eng->streams.waiting) {
		struct stripe_state *state = container_of(n, struct stripe_state, wait.node);
		struct stream_wait *w = &state->wait;
		if (err < 0 || w->due_ns <= now_ns) {
			w->in_vain = true;
			trust(w->stream, -1);
			stripe_lock_look_again(eng, state);
		} else {
			next_ns = min_u64(next_ns, w->due_ns);
		}
	}
	if (next_ns != UINT64_MAX)
		alarm_arm(eng, next_ns);
}

/* Requests of the stream that do not wait themselves. */
static bool others_are_under_way(const struct write_stream *s)
{
	return s->under_way > s->waiting;
}

/* Those who wait for @s, and have no end of that yet, get one. */
static void waits_limit(struct stripe_engine *eng, const struct write_stream *s)
{
	uint64_t due_ns = io_now_ns(eng->config.io) + MOMENT_NS;
	bool any = false;
	list_for_each (n, &eng->streams.waiting) {
		struct stripe_state *state = container_of(n, struct stripe_state, wait.node);
		struct stream_wait *w = &state->wait;
		if (w->stream != s || w->gathers || w->due_ns != UINT64_MAX)
			continue;
		w->due_ns = due_ns;
		any = true;
	}
	if (any)
		alarm_arm(eng, due_ns);
}

/* What is under way has become less: the rest may be half of it. */
static void gathers_look_again(struct stripe_engine *eng, const struct write_stream *s)
{
	list_for_each (n, &eng->streams.waiting) {
		struct stripe_state *state = container_of(n, struct stripe_state, wait.node);
		if (state->wait.stream == s && state->wait.gathers)
			stripe_lock_look_again(eng, state);
	}
}

void stream_write_ends(struct stripe_engine *eng, struct stripe_req *req)
{
	struct write_stream *s = req->stream;
	if (!s)
		return;
	req->stream = NULL;
	s->under_way--;
	s->bytes_under_way -= req->len_bytes;
	if (!s->waiting)
		return;
	gathers_look_again(eng, s);
	if (!others_are_under_way(s))
		waits_limit(eng, s);
}

/* What is queued for a stripe, taken together. */
struct queued {
	struct write_stream *stream; /* NULL: there is somebody among them who does not join */
	unsigned parts;
	uint32_t from, to, bytes;
};

static bool joins(const struct stripe_part *part, const struct write_stream *s)
{
	const struct stripe_req *req = part->req;
	return req && req->kind == STRIPE_WRITE && req->stream && (!s || req->stream == s) &&
	       !part->alone && !req->hold_ns && part->offset_bytes % BLOCK_BYTES == 0 &&
	       part->len_bytes % BLOCK_BYTES == 0;
}

static struct queued queued_look(struct stripe_state *state)
{
	struct queued q = {.from = UINT32_MAX};
	list_for_each (n, &state->queue) {
		const struct stripe_part *part = container_of(n, struct stripe_part, node);
		if (!joins(part, q.stream))
			return (struct queued){0};
		q.stream = part->req->stream;
		q.parts++;
		q.bytes += part->len_bytes;
		q.from = (uint32_t)min_u64(q.from, part->offset_bytes);
		q.to = (uint32_t)max_u64(q.to, part->offset_bytes + part->len_bytes);
	}
	return q;
}

/* Is what @q lacks of the stripe on its way? */
static bool rest_is_expected(const struct queued *q, uint64_t stripe_offset, uint32_t stripe_bytes)
{
	const struct write_stream *s = q->stream;
	uint64_t from = stripe_offset + q->from, to = stripe_offset + q->to;
	if (q->bytes != q->to - q->from || q->bytes == stripe_bytes)
		return false;
	if (q->from && !in_gap(s, from - 1))
		return false;
	return q->to == stripe_bytes || to == s->end || in_gap(s, to);
}

static void wait_begin(
	struct stripe_engine *eng, struct stripe_state *state, const struct queued *q)
{
	struct stream_wait *w = &state->wait;
	w->stream = q->stream;
	w->parts = q->parts;
	w->stream->waiting += q->parts;
	list_push_back(&eng->streams.waiting, &w->node);
}

/* For what fills the stripe. */
static bool waits_for_rest(
	struct stripe_engine *eng, struct stripe_state *state, const struct queued *q)
{
	struct stream_wait *w = &state->wait;
	uint32_t stripe_bytes = geometry_stripe_blocks(&eng->config.geometry) * BLOCK_BYTES;
	if (w->in_vain || !rest_is_expected(q, state->stripe * stripe_bytes, stripe_bytes))
		return false;
	bool waited = w->due_ns != UINT64_MAX;
	if (!waited && q->stream->under_way <= q->stream->waiting + q->parts)
		return false;
	w->gathers = false;
	wait_begin(eng, state, q);
	if (!others_are_under_way(w->stream))
		waits_limit(eng, w->stream);
	return true;
}

/* For half of the stream's small requests to come together. */
static bool waits_for_half(
	struct stripe_engine *eng, struct stripe_state *state, const struct queued *q)
{
	const struct write_stream *s = q->stream;
	if (2 * q->parts >= s->under_way || s->under_way <= s->waiting + q->parts)
		return false;
	state->wait.gathers = true;
	wait_begin(eng, state, q);
	return true;
}

bool stream_waits(struct stripe_engine *eng, struct stripe_state *state)
{
	const struct geometry *g = &eng->config.geometry;
	struct queued q = queued_look(state);
	if (!geometry_has_parity(g) || !q.stream || q.stream->trust < TRUST_WAITS)
		return state->writers;
	bool small = q.stream->bytes_under_way < geometry_stripe_blocks(g) * BLOCK_BYTES;
	if (small && !eng->config.journal)
		return waits_for_half(eng, state, &q);
	return state->writers || (!small && waits_for_rest(eng, state, &q));
}

void stream_wait_end(struct stripe_state *state)
{
	struct stream_wait *w = &state->wait;
	if (!list_linked(&w->node))
		return;
	list_remove(&w->node);
	w->stream->waiting -= w->parts;
	w->stream = NULL;
}
