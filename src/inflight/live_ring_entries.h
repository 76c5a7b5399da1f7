/* SPDX-License-Identifier: MIT */
/* The entries of one ring: what its process has submitted and no request was found for yet. Private
 * to src/inflight.
 *
 * An entry stays in its slot until the slot is used again, which may be as soon as the kernel has
 * taken it, long before its write ends. So each is copied at the first look after it was published
 * (the tail has passed it), and kept here until the requests for all of its range were found, or
 * twice as many entries as the ring holds were published after it (as many writes may be in flight
 * in a ring that does not lose completions). Numbers of entries never repeat: what was found once
 * is not taken for a later write of the same range.
 *
 * Published, not taken: the kernel says that it has taken entries when it has started all of a
 * batch, and by then the first of them may be here.
 *
 * A slot that was used again before we looked is noticed by the index of a later entry, and its
 * older entry is given up. Not noticed: a slot that the process is filling at that moment and has
 * not published yet. */
#ifndef STABLEFS_INFLIGHT_LIVE_RING_ENTRIES_H
#define STABLEFS_INFLIGHT_LIVE_RING_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "inflight/live_ring_abi.h"
#include "inflight/live_ring_memory.h"

struct ring_entry {
	uint64_t number; /* since the ring was first seen; the low half is the tail's */
	uint32_t slot;
	struct ring_sqe sqe;
	struct iovec one;   /* where it has one piece */
	struct iovec *many; /* owned; else NULL */
	unsigned piece_count;
	uint64_t total_bytes;
	uint64_t found_bytes; /* of requests that were found */
};

enum ring_indices { RING_INDICES_UNKNOWN, RING_INDICES_NONE, RING_INDICES_ARRAY };

struct ring {
	struct ring_memory memory;
	struct ring_header form; /* entries == 0: not read yet */
	enum ring_indices indices;
	bool proven; /* an entry was found in it: the form is right */
	uint64_t array_offset;
	uint32_t sqe_bytes;      /* from one entry to the next */
	uint64_t next;           /* number of the first entry that was not copied yet */
	uint32_t *array;         /* owned: copy of the indices */
	bool array_is_fresh;     /* read after the tail that is being followed */
	uint64_t *last_number;   /* owned: of each slot, the latest entry published in it */
	struct ring_entry *open; /* owned: to be found; in order of numbers */
	unsigned open_count, open_room;
};

/* What vectored entries are read with. */
struct ring_reader {
	int maps_fd;  /* of the process; borrowed */
	uint64_t dev; /* of the mount: its mappings are not read */
};

/* Copy what was published since the last time. 0; -ENOENT: the ring is gone; -ENOMEM; errors of
 * ring_memory_attach(). */
int ring_refresh(struct ring *ring, const struct ring_reader *reader);

/* Look at its form anew, next time, unless it is proven: it may have been concluded from memory
 * that was not filled yet. */
void ring_forget_form(struct ring *ring);

static inline const struct iovec *ring_entry_pieces(const struct ring_entry *e)
{
	return e->many ? e->many : &e->one;
}

/* A request for so many bytes of it was found. Entries found in whole leave: pointers into
 * ring->open are invalid then. */
void ring_entry_found(struct ring *ring, struct ring_entry *e, uint32_t len_bytes);

void ring_clear(struct ring *ring); /* what it owns */

#endif
