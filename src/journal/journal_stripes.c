/* SPDX-License-Identifier: MIT */
/* What the rings hold, by stripe: which rows a crash would find a record of (held), and what was
 * found of them at load (found). A stripe is kept as long as its newest record can be found, that
 * is until a durable batch says that older ones are needed no more. */
#include "journal/internal.h"

#include <stdlib.h>
#include <string.h>

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
	s->newest_seq = jm->next_seq;
	list_push_back(&jm->stripes, &s->node);
	s->next = *bucket;
	*bucket = s;
	return s;
}

void journal_row_free(struct journal_row *row)
{
	for (unsigned i = 0; i < JOURNAL_MAX_MEMBERS; i++)
		free(row->block[i]);
	free(row);
}

static void rows_free(struct journal_stripe *s)
{
	while (s->found) {
		struct journal_row *row = s->found;
		s->found = row->next;
		journal_row_free(row);
	}
}

static void stripe_free(struct journal *j, struct journal_stripe *s)
{
	struct journal_stripe **at = bucket_of(j, s->member, s->stripe);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	list_remove(&s->node);
	rows_free(s);
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

int journal_stripe_get(struct journal_member *jm, uint64_t stripe, const struct journal_run *runs,
	unsigned run_count, struct journal_stripe **out)
{
	*out = journal_stripe_find(jm->j, jm->index, stripe);
	if (*out || !any_partial(runs, run_count))
		return 0;
	*out = stripe_new(jm, stripe);
	return *out ? 0 : -ENOMEM;
}

static void stripe_is_of(struct journal_member *jm, struct journal_stripe *s, uint64_t seq)
{
	s->newest_seq = seq;
	list_remove(&s->node);
	list_push_back(&jm->stripes, &s->node);
}

void journal_stripe_note(struct journal_member *jm, struct journal_stripe *s,
	const struct journal_run *runs, unsigned run_count, uint64_t seq)
{
	stripe_is_of(jm, s, seq);
	for (unsigned i = 0; i < run_count; i++)
		for (unsigned r = 0; r < runs[i].rows; r++)
			row_set(s, runs[i].row + r, !runs[i].superseded);
}

bool journal_holds(const struct journal *j, unsigned member, uint64_t stripe, unsigned row)
{
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
		if (s->waiting)
			stripe_is_of(jm, s, jm->next_seq);
		else
			stripe_free(jm->j, s);
	}
}

void journal_stripes_drop(struct journal_member *jm)
{
	list_for_each_safe (n, &jm->stripes) {
		struct journal_stripe *s = container_of(n, struct journal_stripe, node);
		if (!s->waiting) {
			stripe_free(jm->j, s);
			continue;
		}
		rows_free(s);
		memset(s->held, 0, sizeof(s->held));
		s->newest_seq = jm->next_seq;
	}
}

/* ---- found at load ---- */

static void row_show(const struct journal_row *row, struct journal_found *out)
{
	*out = (struct journal_found){0};
	for (unsigned i = 0; i < JOURNAL_MAX_MEMBERS; i++) {
		out->block[i] = row->block[i];
		if (row->block[i])
			out->slots |= (uint16_t)(1u << i);
	}
}

bool journal_find(const struct journal *j, unsigned member, uint64_t stripe, unsigned row,
	struct journal_found *out)
{
	const struct journal_stripe *s = journal_stripe_find(j, member, stripe);
	for (const struct journal_row *r = s ? s->found : NULL; r; r = r->next) {
		if (r->row != row)
			continue;
		row_show(r, out);
		return true;
	}
	return false;
}

static void stripe_forget(struct journal *j, struct journal_stripe *s)
{
	if (!s->found)
		return;
	rows_free(s);
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
