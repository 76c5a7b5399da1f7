/* SPDX-License-Identifier: MIT */
/* The bundled mutator: direct writes (or reads) from buffers that a second thread stores into
 * meanwhile, and the truth about each, to hold against what a volume saw of it.
 * Owner thread: the caller transfers; a thread of the run's own stores.
 * Invariants: I1 every store changes its word: values never repeat. I2 the truth is conservative:
 *   a store counts for a transfer only if it began after the transfer was about to start, and had
 *   ended when the call had returned (psync) or when the transfer was last seen under way (the
 *   other engines, whose transfers end before anybody looks). A transfer without such a store may
 *   have met one all the same, at its edge. I3 a buffer has one transfer in flight at a time.
 * May use: base, liburing (it is a client here, as any program is). Must not know: volumes; who
 * looks on. */
#ifndef STABLEFS_CLI_MUTATE_H
#define STABLEFS_CLI_MUTATE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"

#define MUTATE_SECTOR    512u /* one word in each of these is stored into */
#define MUTATE_MAX_DEPTH 256u

enum mutate_stores {
	MUTATE_CONTINUOUS, /* one word in every sector, over and over */
	MUTATE_ONE_STORE,  /* one word a transfer, at a random time after it began */
	MUTATE_STILL,      /* none: the control */
};

enum mutate_engine {
	MUTATE_PSYNC,    /* calls that wait */
	MUTATE_URING,    /* io_uring */
	MUTATE_AIO,      /* the kernel's: io_submit, as libaio does */
	MUTATE_POSIXAIO, /* the C library's: aio_write, with threads of its own */
};

/* Of psync. */
enum mutate_call {
	MUTATE_PWRITE,
	MUTATE_WRITE,
	MUTATE_PWRITEV,
	MUTATE_PWRITEV2,
	MUTATE_WRITEV,
};

/* "psync", ... */
const char *mutate_engine_name(enum mutate_engine engine);
bool mutate_engine_parse(const char *name, enum mutate_engine *out);

/* "pwrite", ...; the vectored calls take up to four pieces of the buffer. */
const char *mutate_call_name(enum mutate_call call);
/* "pread", ...: what reads in its stead. */
const char *mutate_read_call_name(enum mutate_call call);
bool mutate_call_parse(const char *name, enum mutate_call *out);

struct mutate_options {
	/* Made where it is missing; the engines that do not wait extend it first. */
	const char *path;
	uint64_t block_bytes;  /* a multiple of MUTATE_SECTOR */
	uint64_t count;        /* of blocks, each transferred once a pass */
	uint64_t offset_bytes; /* of the first */
	uint64_t stride_bytes; /* from one to the next; 0: block_bytes */
	unsigned passes;       /* 0: one */
	enum mutate_engine engine;
	enum mutate_call call; /* psync */
	unsigned depth;        /* transfers in flight, each with its own buffer; 0: one */
	bool vectored;         /* uring, aio: up to four pieces of the buffer */
	bool fixed;            /* uring: registered buffers; not with vectored */
	bool sqpoll;           /* uring: a thread of the kernel's submits */
	enum mutate_stores stores;
	uint64_t delay_ns; /* MUTATE_ONE_STORE: the longest time from the beginning of a transfer */
	uint64_t seed;     /* of the bytes that are written, the words, the times */
	bool read;   /* write all with a still buffer, then read all, storing into the buffer */
	bool verify; /* read the blocks back afterwards, with a still buffer; goes with read */
};

/* One write or read. */
struct mutate_transfer {
	uint64_t offset_bytes;
	uint64_t stores;     /* that certainly came while it was in flight (I2) */
	uint64_t last_store; /* number of its buffer's last store that it may have met */
	uint64_t done_bytes;
	uint64_t time_ns; /* from its beginning to where its end was seen */
	int error;        /* errno, 0 where it was accepted */
};

/* All transfers of one kind. */
struct mutate_tally {
	uint64_t total;
	uint64_t changed; /* with stores */
	uint64_t failed;  /* with an error, or cut short */
	int first_error;  /* errno of the first failed one */
	uint64_t time_ns; /* of the transfers, summed up */
	uint64_t cpu_ns;  /* of the thread that transfers, in the calls and between them */
};

struct mutate_result {
	struct mutate_tally writes;
	struct mutate_tally reads; /* options.read; what verifies is not among them */
	uint64_t stores;           /* all there were, in flight or between transfers */

	/* With verify or read, of the blocks whose last write was accepted: */
	uint64_t verified;
	uint64_t unreadable; /* reading them failed */
	uint64_t wrong;      /* bytes that were never in the buffer at that place */
	int first_read_error;
	/* Failed reads of options.read whose block is right: nothing was wrong with the medium. */
	uint64_t false_errors;

	struct mutate_transfer *records; /* owned: one a write (read: one a read), in order */
};

/* Do the options make sense? 0, or -EINVAL and why not. Opens nothing. */
int mutate_options_check(const struct mutate_options *options, struct errmsg *why);

/* Run it. 0 when it went to its end: transfers that failed with EILSEQ or EIO are results. Else
 * -errno (-EINVAL: options that make no sense, or no direct I/O there; -ENOSYS, -EPERM: the engine
 * is not to be had), and @out tells how far it came. Release @out with mutate_result_free() in
 * every case. */
int mutate_run(const struct mutate_options *options, struct mutate_result *out, struct errmsg *why);

void mutate_result_free(struct mutate_result *result);

#endif
