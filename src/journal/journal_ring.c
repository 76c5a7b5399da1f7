/* SPDX-License-Identifier: MIT */
/* Room in a ring. Batches stand behind each other in order of their numbers and never wrap:
 *
 *	0        tail            head          end
 *	|  free  | oldest .. newest |   free   |   the next goes behind head, or where it is
 *						   too large for that, to 0
 *	0        head            tail          end
 *	| .. newest |    free    | oldest ..   |   the next goes behind head
 *
 * So the oldest are overwritten first, and of what is not needed any more the newest batch last:
 * for one that goes to 0 the head is in the last third (no batch has more than a third of the
 * ring), and so the newest batch ends there and begins behind the first third. What a torn batch
 * destroys is therefore older than the newest whole one, and a loader that comes down from that
 * finds a gap before anything older which may have been superseded in what is lost (I5). Where
 * several batches can be torn at once, since the first of them is not durable yet, the room of the
 * newest durable one is taken, needed or not.
 *
 * Appends leave some blocks free, so that after a crash there is room to say what is void. */
#include "journal/internal.h"

uint64_t journal_ring_tail(const struct journal_member *jm)
{
	return jm->durable_seq ? min_u64(jm->oldest_seq, jm->durable_seq) : jm->oldest_seq;
}

/* Alone a batch does not reach it (above), and must not wait for room that nobody would free. */
static uint64_t kept_seq(const struct journal_member *jm)
{
	return journal_member_busy(jm) ? journal_ring_tail(jm) : jm->oldest_seq;
}

static uint32_t tail_of(const struct journal_member *jm)
{
	return batch_of(jm, kept_seq(jm))->at;
}

static bool ring_is_empty(const struct journal_member *jm)
{
	return kept_seq(jm) == jm->next_seq;
}

static uint32_t used(const struct journal_member *jm, uint32_t tail, uint32_t head)
{
	return head > tail ? head - tail : jm->j->ring_blocks - tail + head;
}

bool journal_ring_place(const struct journal_member *jm, uint32_t blocks, uint32_t *at)
{
	uint32_t ring = jm->j->ring_blocks, head = jm->head;
	bool empty = ring_is_empty(jm);
	uint32_t tail = empty ? head : tail_of(jm);
	if (!empty && head <= tail) {
		*at = head;
		return tail - head >= blocks;
	}
	*at = ring - head >= blocks ? head : 0;
	return *at == head || (empty ? ring : tail) >= blocks;
}

uint32_t journal_ring_used(const struct journal_member *jm)
{
	return ring_is_empty(jm) ? 0 : used(jm, tail_of(jm), jm->head);
}

bool journal_ring_admits(const struct journal_member *jm, uint32_t blocks, uint32_t *at)
{
	if (!journal_ring_place(jm, blocks, at))
		return false;
	uint32_t tail = ring_is_empty(jm) ? *at : tail_of(jm);
	return used(jm, tail, *at + blocks) + jm->j->reserve_blocks <= jm->j->ring_blocks;
}
