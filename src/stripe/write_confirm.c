/* SPDX-License-Identifier: MIT */
/* The last look at the writers' memory, while the stripe is still theirs.
 *
 *	write_confirm		all is stored, or refused: fetch once more
 *	memory_fetched		source->confirm(): is it what the guards were made of?
 *		--> write_confirmed	it is, or the source does not care	write.c
 *		--> write_again		not: the operation from the guards on, by the same plan
 *
 * Why here and not when the request is answered: once the stripe is released, a reader finds blocks
 * that do not fit their tuples, scrub finds damage, and who rebuilds a missing member's block from
 * parity that does not fit gets a wrong one. Here nobody has seen anything, and the old blocks that
 * parity was made from are still at hand: it is right afterwards though a member be missing.
 *
 * Invariants: C1 a part whose memory changed is stored from its source's copy, all of it; one whose
 *   memory did not is stored from what was confirmed. So the second time confirms nothing. C2 it
 *   needs no memory that the first time had not: nothing but a member's error can end it.
 * Owner thread: the engine's. */
#include "stripe/write.h"

/* The bytes of the write that are its part in this stripe. */
static void part_judge(struct stripe_part *part)
{
	struct source_findings *found = &part->req->source->found;
	bool refused = part->err == -EILSEQ && source_mutated(part->req->source);
	if (part->len_bytes > found->confirmed_bytes)
		found->confirmed_bytes = part->len_bytes;
	if (!part->suspect && !refused)
		return;
	found->unlike_guard = found->unlike_guard || refused;
	found->replaced_bytes += part->len_bytes;
	part->from_copy = true;
}

static void write_again(struct write_op *op)
{
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		s->part->err = 0;
		if (span_must_confirm(s))
			span_freeze(s);
	}
	op->again = true;
	op->hold_ns = 0;
	write_sample(op);
}

/* True: some part is to be stored from the copy. */
static bool parts_judge(struct write_op *op)
{
	bool any = false;
	list_for_each (n, &op->parts) {
		struct stripe_part *part = container_of(n, struct stripe_part, node);
		if (!part->req->source->ops->confirm || part->from_copy)
			continue;
		part_judge(part);
		any = any || part->from_copy;
	}
	return any;
}

static void memory_fetched(struct write_op *op)
{
	assert_engine_thread(op->eng);
	for (unsigned i = 0; i < op->span_count; i++) {
		struct span *s = &op->spans[i];
		if (span_must_confirm(s) && span_confirm(s) != SOURCE_SAME)
			s->part->suspect = true;
	}
	if (parts_judge(op))
		write_again(op);
	else
		write_confirmed(op);
}

void write_confirm(struct write_op *op)
{
	if (op->again) /* C1 */
		write_confirmed(op);
	else
		write_fetch(op, span_must_confirm, 0, memory_fetched);
}
