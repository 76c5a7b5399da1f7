/* SPDX-License-Identifier: MIT */
/* The two sources of a write's bytes: the bounce copy, and the writer's own memory.
 *
 * Invariants: those of source.h. Why I5: to go back and forth would build a write of which some
 *   blocks are old because the writer had not stored yet and others because we could not look, and
 *   nobody could tell the two apart in what the members then hold. */
#include "inflight/source.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "inflight/live.h"

#define SAMPLE_POINTS (SAMPLE_DATA + 1)

/* ---- bounce ---- */

static const void *bounce_sample(struct source *src, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, void *scratch)
{
	return src->bounce + offset_bytes;
}

static void bounce_free(struct source *src)
{
	/* Embedded in the caller's request; the copy is the caller's, too. */
}

void source_init_bounce(struct source *out, const void *data, uint32_t len_bytes)
{
	static const struct source_ops ops = {.sample = bounce_sample, .free = bounce_free};
	*out = (struct source){.ops = &ops,
		.stable = true,
		.bounce = data,
		.len_bytes = len_bytes,
		.found.first_changed = UINT32_MAX};
}

/* ---- live ---- */

/* What the present pass over the write has differed by, at one sampling point. The pipeline samples
 * a write in ascending pieces; for mirrors each piece, or all, once more for each member. */
struct pass {
	uint32_t settled;     /* bytes that differed in the pieces before the last one */
	uint32_t last_offset; /* of the last piece */
	uint32_t last_changed;
};

struct source_live {
	struct source src;          /* first: this is what callers hold */
	struct sampler *sampler;    /* borrowed */
	struct live_buffer *buffer; /* owned */
	int lost;                   /* I5: what the reading failed with */
	struct pass passes[SAMPLE_POINTS];
	/* keep_guarded, else NULL. Owned; of the write's bytes those that have been sampled, and a
	 * bit for each of them. */
	uint8_t *guarded;
	uint64_t *is_guarded;
	struct flip flip;
};

/* Bytes that differ; @first is the index of the lowest (unchanged where none does). */
static uint32_t bytes_differ(const uint8_t *a, const uint8_t *b, uint32_t len, uint32_t *first)
{
	if (memcmp(a, b, len) == 0)
		return 0;
	uint32_t lowest = 0, count = 0;
	while (a[lowest] == b[lowest])
		lowest++;
	for (uint32_t i = lowest; i < len; i++)
		count += a[i] != b[i];
	*first = lowest;
	return count;
}

/* Add a piece to its pass, and return what the pass has differed by so far. No byte is counted
 * twice: the same piece again counts once, an earlier piece begins a new pass. */
static uint32_t pass_add(struct pass *pass, uint32_t offset_bytes, uint32_t changed)
{
	if (offset_bytes > pass->last_offset) {
		pass->settled += pass->last_changed;
		pass->last_changed = changed;
	} else if (offset_bytes < pass->last_offset) {
		*pass = (struct pass){.last_changed = changed};
	} else if (changed > pass->last_changed) {
		pass->last_changed = changed;
	}
	pass->last_offset = offset_bytes;
	return pass->settled + pass->last_changed;
}

static void note_differences(struct source_live *live, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, const uint8_t *seen)
{
	struct source_findings *found = &live->src.found;
	uint32_t first = 0;
	uint32_t changed = bytes_differ(seen, live->src.bounce + offset_bytes, len_bytes, &first);
	if (changed && offset_bytes + first < found->first_changed)
		found->first_changed = offset_bytes + first;
	uint32_t of_pass = pass_add(&live->passes[point], offset_bytes, changed);
	if (of_pass > found->changed_bytes)
		found->changed_bytes = of_pass;
}

/* ---- what the guard was made of ---- */

#define WORD_BITS ((uint32_t)(sizeof(uint64_t) * CHAR_BIT))

static bool guard_allocate(struct source_live *live)
{
	uint32_t len = live->src.len_bytes;
	live->guarded = malloc(len);
	live->is_guarded = calloc(len / WORD_BITS + 1, sizeof(*live->is_guarded));
	return live->guarded && live->is_guarded;
}

/* The bytes [at, end) of @is_guarded's word of @at, as a mask. */
static uint64_t word_mask(uint32_t at, uint32_t end)
{
	uint32_t first = at % WORD_BITS, count = end - at;
	uint64_t bits = count >= WORD_BITS ? UINT64_MAX : (UINT64_C(1) << count) - 1;
	return bits << first;
}

static void keep_word(
	struct source_live *live, uint32_t at, uint32_t end, const uint8_t *bytes, bool anew)
{
	uint64_t *word = &live->is_guarded[at / WORD_BITS];
	uint64_t mask = word_mask(at, end);
	if (anew || !(*word & mask))
		memcpy(live->guarded + at, bytes, end - at);
	else if ((*word & mask) != mask)
		for (uint32_t i = at; i < end; i++)
			if (!(*word >> i % WORD_BITS & 1))
				live->guarded[i] = bytes[i - at];
	*word |= mask;
}

/* Keep those bytes of which nothing has been kept; @anew: all. */
static void keep(struct source_live *live, uint32_t offset_bytes, uint32_t len_bytes,
	const uint8_t *bytes, bool anew)
{
	uint32_t end = offset_bytes + len_bytes;
	for (uint32_t at = offset_bytes; at < end;) {
		uint32_t stop = (at / WORD_BITS + 1) * WORD_BITS;
		stop = stop < end ? stop : end;
		keep_word(live, at, stop, bytes + (at - offset_bytes), anew);
		at = stop;
	}
}

/* A guard that is made once more is made of the later sample. */
static void note_kept(struct source_live *live, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, const uint8_t *bytes)
{
	keep(live, offset_bytes, len_bytes, bytes, point == SAMPLE_GUARD);
	live->src.found.torn |= memcmp(live->guarded + offset_bytes, bytes, len_bytes) != 0;
}

/* ---- samples ---- */

/* What the memory shows at @point, by request. */
static void flip_seen(const struct source_live *live, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, void *seen)
{
	bool flipped =
		point == SAMPLE_DATA || (point == SAMPLE_PARITY && live->flip.at == FLIP_AT_PARITY);
	if (live->flip.xor_byte && flipped)
		flip_apply(&live->flip, offset_bytes, len_bytes, seen);
}

/* What was looked at becomes a sample; where that failed, the copy does. */
static const void *sample_take(struct source_live *live, enum sample_point point,
	uint32_t offset_bytes, uint32_t len_bytes, void *seen)
{
	struct source *src = &live->src;
	const uint8_t *bytes = seen;
	if (!live->lost) {
		flip_seen(live, point, offset_bytes, len_bytes, seen);
		src->found.samples++;
		note_differences(live, point, offset_bytes, len_bytes, bytes);
	} else {
		src->found.failed++;
		bytes = src->bounce + offset_bytes;
	}
	if (live->guarded)
		note_kept(live, point, offset_bytes, len_bytes, bytes);
	return bytes;
}

static const void *live_sample(struct source *src, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, void *scratch)
{
	struct source_live *live = (struct source_live *)src;
	if (!live->lost)
		live->lost =
			sampler_read(live->sampler, live->buffer, offset_bytes, scratch, len_bytes);
	return sample_take(live, point, offset_bytes, len_bytes, scratch);
}

static void fetched(struct sampler_job *job, const void *bytes, int err)
{
	struct source_fetch *fetch = container_of(job, struct source_fetch, job);
	fetch->err = err;
	if (!err)
		memcpy(fetch->dest, bytes, fetch->len_bytes);
	fetch->done(fetch);
}

static void live_fetch(struct source *src, struct source_fetch *fetch)
{
	struct source_live *live = (struct source_live *)src;
	fetch->err = live->lost;
	if (live->lost) {
		fetch->done(fetch);
		return;
	}
	fetch->job = (struct sampler_job){.buffer = live->buffer,
		.offset_bytes = fetch->offset_bytes,
		.len_bytes = fetch->len_bytes,
		.seen = fetched};
	sampler_post(live->sampler, &fetch->job);
}

static const void *live_accept(
	struct source *src, enum sample_point point, const struct source_fetch *fetch)
{
	struct source_live *live = (struct source_live *)src;
	if (!live->lost)
		live->lost = fetch->err;
	return sample_take(live, point, fetch->offset_bytes, fetch->len_bytes, fetch->dest);
}

static enum source_verdict live_confirm(struct source *src, const struct source_fetch *fetch)
{
	struct source_live *live = (struct source_live *)src;
	uint32_t offset = fetch->offset_bytes, len = fetch->len_bytes;
	if (!live->lost)
		live->lost = fetch->err;
	if (live->lost) {
		src->found.failed++;
		return SOURCE_UNSEEN;
	}
	src->found.samples++;
	flip_seen(live, SAMPLE_DATA, offset, len, fetch->dest);
	note_differences(live, SAMPLE_DATA, offset, len, fetch->dest);
	if (memcmp(live->guarded + offset, fetch->dest, len) == 0)
		return SOURCE_SAME;
	src->found.unlike_guard = true;
	return SOURCE_CHANGED;
}

static void live_source_free(struct source *src)
{
	struct source_live *live = (struct source_live *)src;
	live_buffer_free(live->buffer);
	free(live->guarded);
	free(live->is_guarded);
	free(live);
}

struct source *source_live_new(const struct source_live_config *config)
{
	static const struct source_ops ops = {.sample = live_sample,
		.fetch = live_fetch,
		.accept = live_accept,
		.free = live_source_free};
	static const struct source_ops confirmed = {.sample = live_sample,
		.fetch = live_fetch,
		.accept = live_accept,
		.confirm = live_confirm,
		.free = live_source_free};
	static const struct source_ops watched = {
		.sample = bounce_sample, .free = live_source_free};
	struct source_live *live = calloc(1, sizeof(*live));
	if (!live) {
		live_buffer_free(config->buffer);
		return NULL;
	}
	live->sampler = config->sampler;
	live->buffer = config->buffer;
	live->flip = config->flip;
	live->src = (struct source){.ops = config->watch_only     ? &watched
					   : config->keep_guarded ? &confirmed
								  : &ops,
		.stable = config->watch_only,
		.bounce = config->bounce,
		.len_bytes = config->len_bytes,
		.writer = *config->writer,
		.found.first_changed = UINT32_MAX};
	if (config->keep_guarded && !guard_allocate(live)) {
		live_source_free(&live->src);
		return NULL;
	}
	return &live->src;
}

/* ---- the look before completion ---- */

/* Bytes that were never sampled have the copy to stand for them. */
static bool guard_differs(struct source_live *live, const void *now)
{
	keep(live, 0, live->src.len_bytes, live->src.bounce, false);
	return memcmp(live->guarded, now, live->src.len_bytes) != 0;
}

static void check_failed(struct source_check *check, int err)
{
	check->src->found.failed++;
	check->done(check, err);
}

static void seen(struct sampler_job *job, const void *bytes, int err)
{
	struct source_check *check = container_of(job, struct source_check, job);
	struct source_live *live = (struct source_live *)check->src;
	if (err < 0) {
		live->lost = err;
		check_failed(check, err);
		return;
	}
	uint32_t len = check->src->len_bytes;
	uint8_t *flipped = live->flip.xor_byte ? malloc(len) : NULL;
	if (flipped) {
		memcpy(flipped, bytes, len);
		flip_seen(live, SAMPLE_DATA, 0, len, flipped);
		bytes = flipped;
	}
	check->src->found.samples++;
	note_differences(live, SAMPLE_DATA, 0, len, bytes);
	check->differs = check->kind == SOURCE_CHECK_GUARD ? guard_differs(live, bytes)
							   : source_mutated(check->src);
	free(flipped);
	check->done(check, 0);
}

void source_check(struct source_check *check)
{
	struct source_live *live = (struct source_live *)check->src;
	assert(check->kind != SOURCE_CHECK_GUARD || live->guarded);
	check->differs = false;
	check->job = (struct sampler_job){
		.buffer = live->buffer, .len_bytes = check->src->len_bytes, .seen = seen};
	if (live->lost)
		check_failed(check, live->lost); /* I5 */
	else
		sampler_post(live->sampler, &check->job);
}
