/* SPDX-License-Identifier: MIT */
/* What the rings hold, by stripe: which rows a crash would find a record of (held), and what was
 * found of them at load (found). A stripe is kept as long as its newest record can be found, that
 * is until a durable batch says that older ones are needed no more. */
#include "journal/internal.h"

#include <stdlib.h>

static struct journal_stripe **bucket_of(const struct journal *j, unsigned member, uint64_t stripe)
{
	uint64_t hash = (stripe * JOURNAL_MAX_MEMBERS + member) * UINT64_C(0x9e3779b97f4a7c15);
	return (struct journal_stripe **)&j->stripes[hash >> 50];
}

_Static_assert(STRIPE_BUCKETS == 1 << (64 - 50), "the hash's top bits number the buckets");

struct journal_stripe *journal_stripe_find(
	const struct journal *j, unsigned member, uint64_t stripe)
{
	struct journal_stripe *s = *bucket_of(j, member, stripe);
	while (s && (s->stripe != stripe || s->member != member))
		s = s->next;
	return s;
}

static struct journal_stripe *stripe_new(struct journal_member *jm, uint64_t stripe)
{
	struct journal_stripe *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	struct journal_stripe **bucket = bucket_of(jm->j, jm->index, stripe);
	s->stripe = stripe;
	s->member = jm->index;
	list_node_init(&s->node);
	s->next = *bucket;
	*bucket = s;
	return s;
}

void journal_stripe_rows_free(struct journal_stripe *s)
{
	while (s->found) {
		struct journal_row *row = s->found;
		s->found = row->next;
		free(row);
	}
}

static void stripe_free(struct journal *j, struct journal_stripe *s)
{
	struct journal_stripe **at = bucket_of(j, s->member, s->stripe);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	list_remove(&s->node);
	journal_stripe_rows_free(s);
	free(s);
}

static void row_set(struct journal_stripe *s, unsigned row, bool held)
{
	uint64_t bit = UINT64_C(1) << (row % 64);
	if (held)
		s->held[row / 64] |= bit;
	else
		s->held[row / 64] &= ~bit;
}

static bool any_partial(const struct journal_run *runs, unsigned run_count)
{
	for (unsigned i = 0; i < run_count; i++)
		if (!runs[i].superseded)
			return true;
	return false;
}

struct journal_stripe *journal_stripe_note(struct journal_member *jm, uint64_t stripe,
	const struct journal_run *runs, unsigned run_count, uint64_t seq)
{
	struct journal_stripe *s = journal_stripe_find(jm->j, jm->index, stripe);
	if (!s && any_partial(runs, run_count)) {
		s = stripe_new(jm, stripe);
		if (!s)
			jm->blind_seq = seq;
	}
	if (!s)
		return NULL;
	s->newest_seq = seq;
	list_remove(&s->node);
	list_push_back(&jm->stripes, &s->node);
	for (unsigned i = 0; i < run_count; i++)
		for (unsigned r = 0; r < runs[i].rows; r++)
			row_set(s, runs[i].row + r, !runs[i].superseded);
	return s;
}

bool journal_holds(const struct journal *j, unsigned member, uint64_t stripe, unsigned row)
{
	const struct journal_member *jm = &j->members[member];
	if (!jm->member)
		return false;
	if (jm->blind_seq && jm->blind_seq >= jm->durable_tail)
		return true;
	const struct journal_stripe *s = journal_stripe_find(j, member, stripe);
	return s && (s->held[row / 64] >> (row % 64) & 1);
}

void journal_stripes_release(struct journal_member *jm)
{
	struct list_node *n;
	while ((n = list_first(&jm->stripes))) {
		struct journal_stripe *s = container_of(n, struct journal_stripe, node);
		if (s->newest_seq >= jm->durable_tail)
			return;
		stripe_free(jm->j, s);
	}
}

void journal_stripes_drop(struct journal_member *jm)
{
	struct list_node *n;
	while ((n = list_first(&jm->stripes)))
		stripe_free(jm->j, container_of(n, struct journal_stripe, node));
	jm->blind_seq = 0;
}

/* ---- found at load ---- */

bool journal_find(const struct journal *j, unsigned member, uint64_t stripe, unsigned row,
	struct journal_found *out)
{
	const struct journal_stripe *s = journal_stripe_find(j, member, stripe);
	for (const struct journal_row *r = s ? s->found : NULL; r; r = r->next) {
		if (r->row != row)
			continue;
		*out = (struct journal_found){r->written_slots, r->partial};
		return true;
	}
	return false;
}

static void stripe_forget(struct journal *j, struct journal_stripe *s)
{
	if (!s->found)
		return;
	journal_stripe_rows_free(s);
	batch_part_ended(&j->members[s->member], s->found_seq);
}

void journal_forget(struct journal *j, uint64_t stripe)
{
	for (unsigned i = 0; i < j->members_count; i++) {
		struct journal_stripe *s = journal_stripe_find(j, i, stripe);
		if (s)
			stripe_forget(j, s);
	}
}

void journal_forget_unless(struct journal *j, bool (*keep)(void *ctx, uint64_t stripe), void *ctx)
{
	for (unsigned i = 0; i < j->members_count; i++) {
		list_for_each (n, &j->members[i].stripes) {
			struct journal_stripe *s = container_of(n, struct journal_stripe, node);
			if (!keep(ctx, s->stripe))
				stripe_forget(j, s);
		}
	}
}
