/* SPDX-License-Identifier: MIT */
/* Which entry a request comes from, among those that could be it. Private to src/inflight.
 *
 * A rule: a buffer that is only perhaps the right one is not taken. With one entry, of a file that
 * is known, there is no doubt; with several entries of one buffer it does not matter which. Else
 * the bytes decide: the request's own copy of them is in the buffer that it was made of, unless
 * that was changed already, and in no other, unless that holds the same. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_CHOICE_H
#define STABLEFS_INFLIGHT_LIVE_RING_CHOICE_H

#include "inflight/live_ring.h"
#include "inflight/live_ring_entries.h"

#define RING_CHOICE_MAX 16u /* more candidates are too many to choose from */

struct ring_candidate {
	struct ring *ring;
	unsigned index; /* in ring->open */
	uint64_t skip_bytes;
	bool of_file; /* the file was checked */
};

struct ring_choice {
	struct live_files *files;
	const struct live_ring_question *question;
	unsigned count; /* may exceed what is kept */
	struct ring_candidate candidates[RING_CHOICE_MAX];
};

/* Its entries that could be the request's become candidates. */
void ring_choice_offer(struct ring_choice *c, struct ring *ring);

/* LIVE_FOUND, LIVE_NO_MATCH or LIVE_AMBIGUOUS. What is found is taken from its ring. */
enum live_miss ring_choice_make(struct ring_choice *c, struct live_ring_answer *out);

#endif
