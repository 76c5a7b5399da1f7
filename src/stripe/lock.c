/* SPDX-License-Identifier: MIT */
/* The stripe lock: who may work on a stripe now, and who waits, in order of arrival.
 *
 *	            reads side by side             writes of other rows, or one check
 *	free --enqueue--> shared --release--> free --enqueue--> exclusive --release--> free
 *
 * Nothing starts from within another operation's end: enqueue and release only mark the stripe, and
 * stripe_lock_settle(), called by the run loop, starts what may start. So the stack stays flat.
 *
 * Writes that wait for the same stripe start as one operation as long as they share no block:
 * several small writes become fewer and fuller ones. A later write never overtakes an earlier one
 * that it overlaps, nor a read or check between them.
 *
 * Rows are independent of each other: a parity is made of its row and of nothing else. So writes of
 * a stream may begin while others are at work on other rows of the stripe (stream.h says when).
 * Damage is mended stripe by stripe: who meets it waits until he has the stripe for himself.
 *
 * A stripe that its stream is about to fill waits for the rest (stream.h).
 *
 * A stripe in doubt is resynced before the first who wants it gets it. While a member is leaving
 * (membership.h) no write and no check begins, and reads that wait behind them wait as well. */
#include "stripe/doubt.h"

#include <stdlib.h>

#define MERGE_MAX_PARTS 64u

/* Worth a system call of its own. */
#define PUSH_BYTES (256u << 10)

static unsigned bucket_of(uint64_t stripe)
{
	return (unsigned)(stripe * UINT64_C(0x9e3779b97f4a7c15) >> 54) % STATE_BUCKETS;
}

static struct stripe_state *state_find(struct stripe_engine *eng, uint64_t stripe)
{
	struct stripe_state *s = eng->states[bucket_of(stripe)];
	while (s && s->stripe != stripe)
		s = s->next;
	return s;
}

static struct stripe_state *state_new(struct stripe_engine *eng, uint64_t stripe)
{
	struct stripe_state *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	struct stripe_state **chain = &eng->states[bucket_of(stripe)];
	s->stripe = stripe;
	list_init(&s->queue);
	list_init(&s->alone);
	list_node_init(&s->settle);
	list_node_init(&s->wait.node);
	s->wait.due_ns = UINT64_MAX;
	s->next = *chain;
	*chain = s;
	return s;
}

static void state_free(struct stripe_engine *eng, struct stripe_state *state)
{
	struct stripe_state **at = &eng->states[bucket_of(state->stripe)];
	while (*at != state)
		at = &(*at)->next;
	*at = state->next;
	if (list_linked(&state->settle))
		list_remove(&state->settle);
	free(state);
}

static struct stripe_part *queue_head(struct stripe_state *state)
{
	struct list_node *n = list_first(&state->queue);
	return n ? container_of(n, struct stripe_part, node) : NULL;
}

static bool is_read(const struct stripe_part *part)
{
	return part->req && part->req->kind == STRIPE_READ;
}

static bool is_write(const struct stripe_part *part)
{
	return part->req && part->req->kind == STRIPE_WRITE;
}

static bool share_a_block(const struct stripe_part *a, const struct stripe_part *b)
{
	uint32_t a_first = a->offset_bytes / BLOCK_BYTES, b_first = b->offset_bytes / BLOCK_BYTES;
	uint32_t a_last = (a->offset_bytes + a->len_bytes - 1) / BLOCK_BYTES;
	uint32_t b_last = (b->offset_bytes + b->len_bytes - 1) / BLOCK_BYTES;
	return a_first <= b_last && b_first <= a_last;
}

static bool can_join(struct list *parts, unsigned count, const struct stripe_part *part)
{
	if (count >= MERGE_MAX_PARTS || !is_write(part) || (count && part->alone))
		return false;
	list_for_each (n, parts) {
		const struct stripe_part *other = container_of(n, struct stripe_part, node);
		if (other->alone || share_a_block(other, part))
			return false;
	}
	return true;
}

static struct rows rows_of(const struct stripe_engine *eng, const struct stripe_part *part)
{
	unsigned chunk = eng->config.geometry.chunk_blocks;
	unsigned first = part->offset_bytes / BLOCK_BYTES;
	unsigned blocks = (part->offset_bytes + part->len_bytes - 1) / BLOCK_BYTES - first + 1;
	struct rows rows = {0};
	unsigned row = first % chunk, here = blocks < chunk - row ? blocks : chunk - row;
	rows_add_range(&rows, row, here);
	rows_add_range(&rows, 0, blocks - here < chunk ? blocks - here : chunk);
	return rows;
}

/* What may begin together, from the queue's head on: into @parts. Returns how many. */
static unsigned take_writes(const struct stripe_engine *eng, struct stripe_state *state,
	struct list *parts, struct rows *rows)
{
	unsigned count = 0;
	for (struct stripe_part *p = queue_head(state); p && can_join(parts, count, p);
		p = queue_head(state)) {
		struct rows more = rows_of(eng, p), taken = rows_and(more, state->rows);
		if (!rows_empty(&taken))
			break;
		rows_add_all(rows, &more);
		list_remove(&p->node);
		list_push_back(parts, &p->node);
		count++;
	}
	return count;
}

static void grant_writes(struct stripe_engine *eng, struct stripe_state *state)
{
	struct list parts;
	struct rows rows = {0};
	list_init(&parts);
	unsigned count = take_writes(eng, state, &parts, &rows);
	if (!count)
		return;
	if (count > 1)
		counter_add(&eng->count.merged, count);
	if (state->writers)
		counter_add(&eng->count.beside, 1);
	state->writers++;
	rows_add_all(&state->rows, &rows);
	state->wait.in_vain = false;
	state->wait.due_ns = UINT64_MAX;
	stripe_write_start(eng, state, &parts, &rows);
}

/* ---- having the stripe alone ---- */

/* Nobody begins beside who waits for that. */
static bool is_closed(const struct stripe_state *state)
{
	return state->whole || !list_empty(&state->alone);
}

static void grant_alone(struct stripe_state *state)
{
	unsigned waiting = 0;
	list_for_each (n, &state->alone)
		waiting++;
	if (!waiting || state->whole || waiting < state->writers)
		return;
	struct list_node *n = list_pop_front(&state->alone);
	state->whole = true;
	struct stripe_alone *alone = container_of(n, struct stripe_alone, node);
	alone->run(alone);
}

void stripe_lock_alone(struct stripe_engine *eng, struct stripe_state *state,
	struct stripe_alone *alone, bool urgent)
{
	assert_engine_thread(eng);
	if (state->whole) { /* by whom if not by who asks: the others wait */
		alone->run(alone);
		return;
	}
	if (urgent)
		list_push_front(&state->alone, &alone->node);
	else
		list_push_back(&state->alone, &alone->node);
	grant_alone(state);
}

/* ---- granting ---- */

static bool is_resync(const struct stripe_part *part)
{
	return part->check && part->check->mode == STRIPE_RESYNC;
}

static bool is_frozen(const struct stripe_engine *eng)
{
	return eng->membership.leaving;
}

/* Start what may start; a stripe that nobody wants any more is forgotten. Operations that end at
 * once only mark the state again, so it lives until this returns. */
static void grant(struct stripe_engine *eng, struct stripe_state *state)
{
	struct stripe_part *part = queue_head(state);
	stream_wait_end(state);
	grant_alone(state);
	if (is_closed(state))
		return;
	if (part && doubt_has(eng, state->stripe) && !is_resync(part)) {
		if (state->exclusive || is_frozen(eng))
			return;
		assert(!state->writers); /* it is in doubt since before anybody wrote */
		state->exclusive = true;
		doubt_resync(eng, state);
		return;
	}
	while (!state->exclusive && !state->writers && queue_head(state) &&
		is_read(queue_head(state))) {
		part = queue_head(state);
		list_remove(&part->node);
		state->readers++;
		stripe_read_start(eng, state, part);
	}
	if (state->exclusive || state->readers)
		return;
	part = queue_head(state);
	if (!part) {
		if (!state->writers)
			state_free(eng, state);
	} else if (is_frozen(eng)) {
		return;
	} else if (is_write(part)) {
		if (!stream_waits(eng, state))
			grant_writes(eng, state);
	} else if (!state->writers) {
		list_remove(&part->node);
		state->exclusive = true;
		stripe_check_start(eng, state, part);
	}
}

static void settle_later(struct stripe_engine *eng, struct stripe_state *state)
{
	if (!list_linked(&state->settle))
		list_push_back(&eng->to_settle, &state->settle);
}

void stripe_lock_look_again(struct stripe_engine *eng, struct stripe_state *state)
{
	settle_later(eng, state);
}

void stripe_lock_enqueue(struct stripe_engine *eng, uint64_t stripe, struct stripe_part *part)
{
	assert_engine_thread(eng);
	struct stripe_state *state = state_find(eng, stripe);
	if (!state)
		state = state_new(eng, stripe);
	if (!state) {
		part->err = -ENOMEM;
		part_finish(eng, part);
		return;
	}
	list_push_back(&state->queue, &part->node);
	settle_later(eng, state);
}

void stripe_lock_requeue_all(struct stripe_state *state, struct list *parts)
{
	list_splice_back(parts, &state->queue);
	list_splice_back(&state->queue, parts);
}

void stripe_lock_split(struct stripe_state *state, struct list *parts)
{
	list_for_each (n, parts)
		container_of(n, struct stripe_part, node)->alone = true;
	stripe_lock_requeue_all(state, parts);
}

void stripe_lock_requeue(struct stripe_state *state, struct stripe_part *part)
{
	list_push_front(&state->queue, &part->node);
}

void stripe_lock_fail(struct stripe_engine *eng, uint64_t stripe, int err)
{
	struct stripe_state *state = state_find(eng, stripe);
	struct list_node *n;
	while (state && (n = list_pop_front(&state->queue))) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		part->err = err;
		part_finish(eng, part);
	}
}

void stripe_lock_unfreeze(struct stripe_engine *eng)
{
	for (unsigned i = 0; i < STATE_BUCKETS; i++)
		for (struct stripe_state *s = eng->states[i]; s; s = s->next)
			settle_later(eng, s);
}

void stripe_lock_release(struct stripe_engine *eng, struct stripe_state *state)
{
	assert_engine_thread(eng);
	if (state->exclusive)
		state->exclusive = false;
	else
		state->readers--;
	settle_later(eng, state);
}

void stripe_lock_release_rows(
	struct stripe_engine *eng, struct stripe_state *state, const struct rows *rows)
{
	assert_engine_thread(eng);
	state->writers--;
	state->rows = rows_without(state->rows, *rows);
	state->whole = false; /* who lacks it does not end */
	settle_later(eng, state);
}

/* Idle members need not wait until the parities of all stripes of a large write are made. */
static void push_if_much(struct stripe_engine *eng)
{
	if (eng->unpushed_bytes < PUSH_BYTES)
		return;
	eng->unpushed_bytes = 0;
	io_push(eng->config.io);
}

void stripe_lock_settle(struct stripe_engine *eng)
{
	assert_engine_thread(eng);
	struct list_node *n;
	while ((n = list_pop_front(&eng->to_settle))) {
		grant(eng, container_of(n, struct stripe_state, settle));
		push_if_much(eng);
	}
}
