/* SPDX-License-Identifier: MIT */
/* Sources: where the pipeline gets a write's bytes from, each time it needs them.
 * Owner thread: whoever runs the pipeline samples (the engine); others make and free sources.
 * Invariants: I1 the pipeline sees a writer's bytes only through source_sample(). I2 a stable
 *   source gives the same bytes at every sample. I3 a live source reads the writer's memory anew at
 *   each sample; where it cannot, it gives the bounce copy and says so (unobserved): no figure
 *   claims more than was seen. I4 after the writer was answered, its memory is not read. I5 a live
 *   source that failed once gives the bounce copy for the rest of its write, and is not looked at
 *   again.
 * May use: base. Must not know: stripes, members, policies' names in options.
 *
 *	sample(GUARD) -> tuples, sample(PARITY) -> parity, sample(DATA) once for each member
 */
#ifndef STABLEFS_INFLIGHT_SOURCE_H
#define STABLEFS_INFLIGHT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/event.h"
#include "inflight/flip.h"
#include "inflight/sampler.h"

enum sample_point { SAMPLE_GUARD, SAMPLE_PARITY, SAMPLE_DATA };

struct source;
struct source_fetch;

/* What a source has seen, for the event and the statistics. "Differ": from the bounce copy. */
struct source_findings {
	uint64_t samples;       /* readings of live memory that succeeded */
	uint64_t failed;        /* samples that got the bounce copy: memory was not readable */
	uint32_t first_changed; /* lowest byte that differed; UINT32_MAX: none */
	uint32_t changed_bytes; /* most bytes that differed in one pass over the write */
	bool torn;              /* keep_guarded: a sample was unlike what the guard was made of */
	/* Of a source with confirm(). The pipeline writes the last two. */
	bool unlike_guard;        /* what was confirmed was not what the guard was made of */
	uint32_t confirmed_bytes; /* most bytes that one operation of the pipeline has confirmed */
	uint32_t replaced_bytes;  /* that it stored once more, from the bounce copy */
};

/* Does the writer's memory hold what the guard was made of? */
enum source_verdict { SOURCE_SAME, SOURCE_CHANGED, SOURCE_UNSEEN };

struct source_ops {
	/* Bytes [offset, offset + len) of the write as they are at this moment: a pointer to stable
	 * memory (no copy), or @scratch filled with them. Never fails (I3). */
	const void *(*sample)(struct source *src, enum sample_point point, uint32_t offset_bytes,
		uint32_t len_bytes, void *scratch);
	/* Read the bytes for such a sample into fetch->dest, without keeping the caller waiting;
	 * then fetch->done(). The sample itself is taken by accept(), when done() has run. NULL:
	 * sampling takes no time. */
	void (*fetch)(struct source *src, struct source_fetch *fetch);
	const void *(*accept)(
		struct source *src, enum sample_point point, const struct source_fetch *fetch);
	/* When its data has been stored, and before anybody may see that: what the fetched bytes
	 * say (fetch->done() has run). Where they are not SOURCE_SAME, the pipeline stores the
	 * bounce copy in place of what it has sampled. NULL: what was sampled stays. */
	enum source_verdict (*confirm)(struct source *src, const struct source_fetch *fetch);
	void (*free)(struct source *src);
};

/* A sample whose bytes are read by another thread meanwhile. The caller's until done(). */
struct source_fetch {
	uint32_t offset_bytes, len_bytes; /* of the write */
	void *dest;
	void (*done)(struct source_fetch *fetch); /* any thread; or from within fetch() */
	int err;                                  /* why dest was not filled */
	struct sampler_job job;                   /* the source's */
};

struct source {
	const struct source_ops *ops;
	bool stable;           /* I2 holds: samples need no scratch */
	const uint8_t *bounce; /* borrowed: the copy made at submission */
	uint32_t len_bytes;
	struct event_writer writer;
	struct source_findings found;
};

/* @scratch: at least @len_bytes, unused by stable sources. The pointer is valid until the next
 * sample into the same scratch, for stable sources as long as the source. */
static inline const void *source_sample(struct source *src, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, void *scratch)
{
	return src->ops->sample(src, point, offset_bytes, len_bytes, scratch);
}

/* The same in two steps, for callers that must not wait: fetch, and after fetch->done() this. */
static inline const void *source_accept(
	struct source *src, enum sample_point point, const struct source_fetch *fetch)
{
	return src->ops->accept(src, point, fetch);
}

/* True where two samples could have differed, and did. */
static inline bool source_mutated(const struct source *src)
{
	return src->found.first_changed != UINT32_MAX;
}

/* Accepts NULL. */
static inline void source_free(struct source *src)
{
	if (src)
		src->ops->free(src);
}

/* The bounce buffer: every sample is @data, which the caller keeps until the source is freed. The
 * source is placed in @out (embedded in the caller's request): no allocation. */
void source_init_bounce(struct source *out, const void *data, uint32_t len_bytes);

struct live_buffer;
struct sampler;

/* The writer's own memory, looked at through @sampler (borrowed, outlives the source). Takes
 * @buffer in every case. @bounce as above: it is what live samples are compared with, and what is
 * used where memory cannot be read. NULL: out of memory. */
struct source_live_config {
	struct sampler *sampler;
	struct live_buffer *buffer;
	const void *bounce;
	uint32_t len_bytes;
	const struct event_writer *writer;
	/* Samples give the copy (I2), and the writer's memory is looked at by source_check() only:
	 * DIO_DETECT. */
	bool watch_only;
	/* What the guard was made of is kept, for confirm() and SOURCE_CHECK_GUARD: DIO_VERIFY,
	 * DIO_ADAPTIVE. Costs another copy of the write in memory. */
	bool keep_guarded;
	/* What the memory shows from a sampling point on, by request; xor_byte 0: nothing. */
	struct flip flip;
};
struct source *source_live_new(const struct source_live_config *config);

/* The look before completion: does the writer's memory still hold what it held? */
enum source_check_kind {
	/* At submission: compared with the bounce copy; into src->found. */
	SOURCE_CHECK_COPY,
	/* When the guard was made: compared with the latest sample for it, or, of bytes without
	 * such a sample, with the first one for anything else, or, of bytes never sampled, with
	 * the bounce copy. Needs keep_guarded. Into src->found as well. */
	SOURCE_CHECK_GUARD,
};
struct source_check {
	struct source *src; /* a live one; borrowed until done() */
	enum source_check_kind kind;
	/* Once; on a thread of the sampler's, or from within source_check(). @err: 0, or -errno
	 * where memory could not be looked at (counted in src->found.failed). Then @differs is
	 * false. */
	void (*done)(struct source_check *check, int err);
	bool differs;
	struct sampler_job job; /* the check's own */
};
void source_check(struct source_check *check);

#endif
