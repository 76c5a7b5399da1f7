/* SPDX-License-Identifier: MIT */
/* The two sources of a write's bytes: the bounce copy, and the writer's own memory.
 *
 * Invariants: those of source.h. Why I5: to go back and forth would build a write of which some
 *   blocks are old because the writer had not stored yet and others because we could not look, and
 *   nobody could tell the two apart in what the members then hold. */
#include "inflight/source.h"

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
	static const struct source_ops ops = {bounce_sample, bounce_free};
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
	bool lost;                  /* I5 */
	struct pass passes[SAMPLE_POINTS];
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

static const void *live_sample(struct source *src, enum sample_point point, uint32_t offset_bytes,
	uint32_t len_bytes, void *scratch)
{
	struct source_live *live = (struct source_live *)src;
	if (!live->lost)
		live->lost = sampler_read(live->sampler, live->buffer, offset_bytes, scratch,
				     len_bytes) < 0;
	if (live->lost) {
		src->found.failed++;
		return src->bounce + offset_bytes;
	}
	src->found.samples++;
	note_differences(live, point, offset_bytes, len_bytes, scratch);
	return scratch;
}

static void live_source_free(struct source *src)
{
	struct source_live *live = (struct source_live *)src;
	live_buffer_free(live->buffer);
	free(live);
}

struct source *source_live_new(const struct source_live_config *config)
{
	static const struct source_ops ops = {live_sample, live_source_free};
	static const struct source_ops watched = {bounce_sample, live_source_free};
	struct source_live *live = calloc(1, sizeof(*live));
	if (!live) {
		live_buffer_free(config->buffer);
		return NULL;
	}
	live->sampler = config->sampler;
	live->buffer = config->buffer;
	live->src = (struct source){.ops = config->watch_only ? &watched : &ops,
		.stable = config->watch_only,
		.bounce = config->bounce,
		.len_bytes = config->len_bytes,
		.writer = *config->writer,
		.found.first_changed = UINT32_MAX};
	return &live->src;
}

/* ---- the look before completion ---- */

static void seen(struct sampler_job *job, const void *bytes, int err)
{
	struct source_check *check = container_of(job, struct source_check, job);
	struct source_live *live = (struct source_live *)check->src;
	if (err < 0) {
		live->lost = true;
		check->src->found.failed++;
	} else {
		check->src->found.samples++;
		note_differences(live, SAMPLE_DATA, 0, check->src->len_bytes, bytes);
		check->differs = source_mutated(check->src);
	}
	check->done(check, err);
}

void source_check(struct source_check *check)
{
	struct source_live *live = (struct source_live *)check->src;
	check->differs = false;
	check->job = (struct sampler_job){
		.buffer = live->buffer, .len_bytes = check->src->len_bytes, .seen = seen};
	sampler_post(live->sampler, &check->job);
}
