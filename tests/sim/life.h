/* SPDX-License-Identifier: MIT */
/* One life of a small volume on simulated disks: a random workload, with a history of what the
 * volume may hold at each moment. Everything follows from the configuration and its seed. */
#ifndef STABLEFS_TESTS_SIM_LIFE_H
#define STABLEFS_TESTS_SIM_LIFE_H

#include "history.h"
#include "rig.h"

enum life_kind {
	LIFE_MIXED,      /* anything anywhere: parts of blocks, blocks, chunks */
	LIFE_HOT,        /* the same on two stripes: overlapping, merged, queued */
	LIFE_SEQUENTIAL, /* one stream */
	LIFE_STRIPES,    /* whole stripes among parts of them */
	LIFE_SMALL,      /* a stream of single blocks, which are at work side by side */
};
#define LIFE_KINDS 5u

enum life_trouble {
	LIFE_HEALTHY,
	LIFE_DEGRADED,  /* a member is missing from the start */
	LIFE_FAILING,   /* a member fails in the middle, and may come back later */
	LIFE_RETURNING, /* a member was away for a while and is brought up to date */
	LIFE_REPLACED,  /* a new disk has taken a member's place and is filled */
};
#define LIFE_TROUBLES 5u

struct life_config {
	struct rig_config rig;
	enum life_kind kind;
	enum life_trouble trouble;
	bool journal;     /* the write hole is closed by the log */
	bool lying_flush; /* control: takes each flush at its word before it has ended */
	bool verbose;
};

const char *life_kind_name(enum life_kind kind);
const char *life_trouble_name(enum life_trouble trouble);

#define LIFE_DEPTH 6u

struct life_op {
	struct rig_io *io; /* NULL: free */
	uint64_t number;   /* of a write in the history */
	uint8_t *wanted;   /* owned; of a read */
};

struct life {
	struct life_config config;
	struct rig *rig;
	struct history history;
	struct random random;
	struct life_op ops[LIFE_DEPTH];
	struct stripe_flush flush;
	bool flushing;
	uint64_t cursor;                       /* of the stream, in bytes */
	unsigned victim, fails_at, returns_at; /* the member in trouble, steps */
	unsigned errors, mismatches;
	uint8_t supers[RAID_MAX_MEMBERS][SUPER_BYTES]; /* as they were at first */
};

/* A volume whose every block was written and flushed. */
void life_begin(struct life *life, const struct life_config *config);

/* @steps random requests, then wait for all. */
void life_run(struct life *life, unsigned steps);
void life_end(struct life *life);

#endif
