/* SPDX-License-Identifier: MIT */
/* The bundled mutator: direct writes from a buffer that a second thread stores into meanwhile, and
 * the truth about each write, to hold against what a volume saw of it.
 * Owner thread: the caller writes; a thread of the run's own stores.
 * Invariants: I1 every store changes its word: values never repeat. I2 the truth is conservative:
 *   a store counts for a write only if it began after the write was about to start, and had ended
 *   when the write had returned. A write without such a store may have been changed all the same,
 *   by a store that was under way at its edge.
 * May use: base. Must not know: volumes; who looks on. */
#ifndef STABLEFS_CLI_MUTATE_H
#define STABLEFS_CLI_MUTATE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"

#define MUTATE_SECTOR 512u /* one word in each of these is stored into */

enum mutate_stores {
	MUTATE_CONTINUOUS, /* one word in every sector, over and over */
	MUTATE_ONE_STORE,  /* one word a write, at a random time after the write began */
	MUTATE_STILL,      /* none: the control */
};

enum mutate_call {
	MUTATE_PWRITE,
	MUTATE_WRITE,
	MUTATE_PWRITEV,
	MUTATE_PWRITEV2,
	MUTATE_WRITEV,
};

/* "pwrite", ...; writes of the vectored calls come from up to four pieces of the buffer. */
const char *mutate_call_name(enum mutate_call call);
bool mutate_call_parse(const char *name, enum mutate_call *out);

struct mutate_options {
	const char *path;      /* made where it is missing */
	uint64_t block_bytes;  /* a multiple of MUTATE_SECTOR */
	uint64_t count;        /* of blocks, each written once a pass */
	uint64_t offset_bytes; /* of the first */
	uint64_t stride_bytes; /* from one to the next; 0: block_bytes */
	unsigned passes;       /* 0: one */
	enum mutate_call call;
	enum mutate_stores stores;
	uint64_t delay_ns; /* MUTATE_ONE_STORE: the longest time from the beginning of a write */
	uint64_t seed;     /* of the bytes that are written, the words, the times */
	bool verify;       /* read the blocks back afterwards */
};

/* One write. */
struct mutate_write {
	uint64_t offset_bytes;
	uint64_t stores;     /* that certainly changed the buffer while it was in flight (I2) */
	uint64_t last_store; /* number of the last store whose word may be in what was written */
	uint64_t written_bytes;
	int error; /* errno, 0 where it was accepted */
};

struct mutate_result {
	uint64_t writes;
	uint64_t changed;    /* writes with stores */
	uint64_t failed;     /* writes with an error, or cut short */
	uint64_t stores;     /* all there were, in flight or between writes */
	uint64_t in_call_ns; /* time spent in the calls */
	int first_error;     /* errno of the first failed write */

	/* With verify, of the blocks whose last write was accepted: */
	uint64_t verified;
	uint64_t unreadable; /* reading them failed */
	uint64_t wrong;      /* bytes that were never in the buffer at that place */
	int first_read_error;

	struct mutate_write *records; /* owned: one a write, in order */
};

/* Do the options make sense? 0, or -EINVAL and why not. Opens nothing. */
int mutate_options_check(const struct mutate_options *options, struct errmsg *why);

/* Run it. 0 when it went to its end: writes that failed with EILSEQ or EIO are results. Else -errno
 * (-EINVAL: options that make no sense, or no direct I/O there), and @out tells how far it came.
 * Release @out with mutate_result_free() in every case. */
int mutate_run(const struct mutate_options *options, struct mutate_result *out, struct errmsg *why);

void mutate_result_free(struct mutate_result *result);

#endif
