/* SPDX-License-Identifier: MIT */
/* What the mutator's files share: its slots, and what an engine is. */
#ifndef STABLEFS_CLI_MUTATE_INTERNAL_H
#define STABLEFS_CLI_MUTATE_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "cli/mutate.h"

#define MUTATE_MAX_PIECES 4u

/* A buffer, and the transfer that is in flight with it. */
struct mutate_slot {
	uint8_t *buffer;                     /* owned; the storing thread stores into it */
	struct iovec iov[MUTATE_MAX_PIECES]; /* the buffer in pieces */
	unsigned pieces;

	/* Stores into this buffer, numbered from 1. The storing thread sets these. */
	_Atomic uint64_t begun, done;
	/* MUTATE_ONE_STORE, set by the caller: as many stores are asked for, the last one for a
	 * transfer of that number at that time. */
	_Atomic uint64_t asked, due_ns;
	_Atomic uint64_t random;

	/* The caller's own. */
	struct mutate_transfer *transfer; /* borrowed; NULL: idle */
	uint64_t number;                  /* of the transfer */
	uint64_t started_ns, begun_before;
	uint64_t seen, certain; /* stores: before the last look; before one that found it under way
				 */
	bool ended;             /* set by the engine, with result: bytes, or -errno */
	ssize_t result;
} __attribute__((aligned(64)));

struct mutate_engine_ops;

struct mutator {
	const struct mutate_options *options; /* borrowed */
	const struct mutate_engine_ops *engine;
	void *engine_state;        /* owned by the engine */
	struct mutate_slot *slots; /* owned: depth of them */
	unsigned depth;
	uint64_t sectors; /* of a block */
	uint8_t *expected;
	int fd; /* owned */
	bool reading;
	_Atomic bool stop;
};

/* A way to transfer. Called by the caller's thread alone. */
struct mutate_engine_ops {
	const char *name;
	bool vectored, fixed, deep; /* what it can do: see mutate_options */
	/* Slots and fd are there. May be NULL. 0 or -errno and why. */
	int (*open)(struct mutator *m, struct errmsg *why);
	/* Begin the transfer of the slot: m->reading, its buffer, its transfer's offset. 0 or
	 * -errno: it did not begin. An engine that waits has set ended and result. */
	int (*submit)(struct mutator *m, struct mutate_slot *slot);
	/* Set ended and result of all slots whose transfer has ended; do not wait. May be NULL. */
	int (*reap)(struct mutator *m);
	void (*close)(struct mutator *m); /* may be NULL; nothing is in flight */
};
extern const struct mutate_engine_ops mutate_psync, mutate_uring, mutate_aio, mutate_posixaio;

/* ---- mutate_content.c ---- */

uint64_t mutate_mix(uint64_t z);
uint64_t mutate_value_of(const struct mutator *m, uint64_t store);
void mutate_fill_pattern(const struct mutator *m, uint8_t *buffer);
/* Leaves the words alone that the other thread may be storing into. */
void mutate_stamp(const struct mutator *m, uint8_t *buffer, uint64_t write);
/* Can these bytes be what write @write stored, after no more than @last_store stores? */
bool mutate_block_is_right(
	const struct mutator *m, const uint8_t *block, uint64_t write, uint64_t last_store);

/* ---- mutate_store.c ---- */

void *mutate_store_continuously(void *mutator);
void *mutate_store_when_asked(void *mutator);

#endif
