/* SPDX-License-Identifier: MIT */
/* Faults that members can have, as values, and the set of those that are armed. The simulated world
 * and the injecting engine (inject.h) ask the same set, so a fault means the same in both.
 * Owner thread: any; a set has a lock of its own.
 * Invariants: I1 of several armed faults that match a transfer the first that fires is the only
 *   one, but a member that is gone is gone first. I2 which transfers are hit follows from the seed
 *   and the order of transfers. I3 arming a fault that never matches changes no draw.
 * A flush touches no bytes: FAULT_FLUSH_ERROR meets it whatever its range, the others where they
 * have no range.
 * May use: base. Must not know: engines, members' areas, files. */
#ifndef STABLEFS_IO_FAULT_H
#define STABLEFS_IO_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"
#include "io/io.h"

enum fault_kind {
	FAULT_READ_ERROR,  /* the read fails with -EIO */
	FAULT_WRITE_ERROR, /* the write fails with -EIO, nothing stored */
	FAULT_FLUSH_ERROR, /* the flush fails with -EIO, nothing becomes durable; any range */
	FAULT_LATENCY,     /* the transfer or flush takes latency_ns longer */
	FAULT_HANG,        /* it does not end until the fault is disarmed */
	FAULT_BIT_FLIP,    /* one bit of what the read returns (in the range) is flipped, on the
	                    * medium too */
	FAULT_TORN_WRITE,  /* acknowledged; a proper prefix of its 512-byte sectors is stored */
	FAULT_LOST_WRITE,  /* acknowledged; nothing stored */
	FAULT_MISDIRECTED, /* acknowledged; stored one block (4 KiB) further, except what would be
	                    * beyond the end */
	FAULT_STALE_READ,  /* the read returns, for each sector, what was there before the newest
	                    * write to it (the injecting engine knows those since it was armed) */
	FAULT_GONE,        /* this transfer and all later ones of the member fail with -ENODEV,
	                    * until disarmed */
	FAULT_POWER_CUT,   /* at this write the power goes: what is volatile (in the injecting
	                    * engine: of what was written since the fault was armed) is kept, torn
	                    * or lost, write by write, as the seed says; every transfer from now on
	                    * fails with -ESHUTDOWN */
};
#define FAULT_KINDS 12u

struct fault {
	enum fault_kind kind;
	char name[256];                   /* of the file as it was opened; "": any */
	uint64_t offset_bytes, len_bytes; /* of the file; len 0: to the end */
	unsigned skip;                    /* let that many matching transfers pass first */
	unsigned count;                   /* fire that often; 0: for ever */
	unsigned per_mille;               /* probability of each firing; 1000: always */
	uint64_t latency_ns;
	int with;       /* id of an armed one, of which this is a further range: they have skip,
			 * count and firings in common, are listed and disarmed as one; 0: none */
	char label[64]; /* shown in listings: what the user asked for; may be "" */
};

const char *fault_kind_name(enum fault_kind kind); /* "read-error", "bit-flip", ... */
bool fault_kind_parse(const char *name, enum fault_kind *out);

struct fault_set;

struct fault_set *fault_set_new(uint64_t seed); /* NULL: out of memory */
void fault_set_free(struct fault_set *set);     /* accepts NULL */

/* Arm a copy of *@fault behind those armed. Returns its id (1 and up), or -ENOMEM, or -EINVAL for a
 * kind that there is not, -ENOENT where there is no fault->with. */
int fault_set_arm(struct fault_set *set, const struct fault *fault);
int fault_set_disarm(struct fault_set *set, int id); /* -ENOENT */
void fault_set_disarm_all(struct fault_set *set);

/* Start the draws anew. */
void fault_set_seed(struct fault_set *set, uint64_t seed);
uint64_t fault_set_get_seed(struct fault_set *set);

/* What a transfer meets. */
struct fault_hit {
	bool hit;
	enum fault_kind kind;
	int id;
	uint64_t first_bytes, end_bytes; /* where fault and transfer overlap */
	uint64_t latency_ns;
	uint64_t draw; /* a number of the set's stream, for what the fault leaves open */
};

/* A transfer of the file @name is about to reach it: which fault does it meet? Counts. */
struct fault_hit fault_set_meet(struct fault_set *set, const char *name, enum io_kind kind,
	uint64_t offset_bytes, uint64_t len_bytes);

/* What the fault makes of a write to a file of @file_bytes: returns -EIO, -ENODEV, or 0 with what
 * is to be stored in its stead (*@len_bytes may be 0). Hits of other kinds leave it as it is. */
int fault_hit_bend_write(const struct fault_hit *hit, uint64_t file_bytes, uint64_t *offset_bytes,
	uint64_t *len_bytes);

/* FAULT_BIT_FLIP: the byte of the file, and the bit of it, 0 to 7. */
void fault_hit_choose_bit(const struct fault_hit *hit, uint64_t *offset_bytes, unsigned *bit);

/* Has a FAULT_GONE that is still armed taken the file @name away? */
bool fault_set_is_gone(struct fault_set *set, const char *name);

/* Is any fault armed, spent or not? One relaxed load: what a healthy transfer pays. */
bool fault_set_is_empty(const struct fault_set *set);

/* Is any fault of @kind armed and not spent? (Engines prepare for stale reads and power cuts.) */
bool fault_set_has(struct fault_set *set, enum fault_kind kind);

/* Is fault @id still armed (a hung transfer asks)? */
bool fault_set_is_armed(struct fault_set *set, int id);

/* A listing, in order of arming: returns how many there are, fills at most @room. */
struct fault_listed {
	int id;
	struct fault fault;
	uint64_t met, fired; /* transfers that matched; that were hit */
};
unsigned fault_set_list(struct fault_set *set, struct fault_listed *out, unsigned room);

#endif
