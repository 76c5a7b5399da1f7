/* SPDX-License-Identifier: MIT */
/* Who loses by a mutation: the owners of the parity rows that a mutated write has left wrong. */
#include "fuse/event_blast.h"

#include <errno.h>
#include <string.h>
#include "inflight/policy.h"

struct search {
	const struct geometry *geometry;
	struct fs *fs;
	uint64_t ino; /* whose write it was */
	struct event_blast_zone *zone;
};

/* Other blocks of the writer's own file are no strangers. */
static bool stranger_found(void *ctx, const struct fs_extent *part)
{
	struct search *s = ctx;
	struct event_blast_zone *z = s->zone;
	if (part->ino == s->ino)
		return true;
	for (unsigned i = 0; i < z->count; i++) {
		if (z->strangers[i].ino == part->ino) {
			z->strangers[i].blocks += part->blocks;
			return true;
		}
	}
	if (z->count == EVENT_MAX_STRANGERS)
		return false;
	z->strangers[z->count].ino = part->ino;
	z->strangers[z->count++].blocks = part->blocks;
	return true;
}

/* Rows [row, row + rows) of @stripe have wrong parity: every slot's blocks in them. */
static void rows_look(struct search *s, uint64_t stripe, unsigned row, unsigned rows)
{
	for (unsigned slot = 0; slot < geometry_data_slots(s->geometry); slot++)
		fs_owners(s->fs, geometry_volume_block(s->geometry, stripe, slot, row), rows,
			stranger_found, s);
}

/* A run of the volume's blocks that was written: cut at chunk ends, each piece a run of rows. */
static void run_look(struct search *s, uint64_t volume_block, uint64_t blocks)
{
	if (s->zone->volume_block == UINT64_MAX) {
		s->zone->volume_block = volume_block;
		s->zone->stripe = geometry_locate(s->geometry, volume_block).stripe;
	}
	s->zone->volume_blocks += blocks;
	while (blocks && geometry_has_parity(s->geometry)) {
		struct geometry_place at = geometry_locate(s->geometry, volume_block);
		uint64_t n = min_u64(blocks, s->geometry->chunk_blocks - at.row);
		rows_look(s, at.stripe, at.row, (unsigned)n);
		volume_block += n;
		blocks -= n;
	}
}

/* The write's runs on the volume, found by walking the file's extents. */
struct runs {
	uint64_t first_block, last_block; /* of the file */
	struct {
		uint64_t volume_block, blocks;
	} run[64];
	unsigned count;
};

static bool extent_found(void *ctx, const struct fs_extent *x)
{
	struct runs *r = ctx;
	if (x->file_block > r->last_block || r->count == sizeof(r->run) / sizeof(r->run[0]))
		return false;
	if (x->file_block + x->blocks <= r->first_block)
		return true;
	uint64_t from = max_u64(x->file_block, r->first_block);
	uint64_t to = min_u64(x->file_block + x->blocks, r->last_block + 1);
	r->run[r->count].volume_block = x->volume_block + (from - x->file_block);
	r->run[r->count++].blocks = to - from;
	return true;
}

static void strangers_find(struct search *s, const struct event *e)
{
	if (!e->len_bytes)
		return;
	/* Only what lies at or behind the first changed byte can differ; unknown: anything. */
	uint32_t first = e->first_changed == UINT32_MAX ? 0 : e->first_changed;
	uint64_t changed = e->file_offset_bytes + min_u64(first, e->len_bytes - 1);
	struct runs r = {.first_block = changed / BLOCK_BYTES,
		.last_block = (e->file_offset_bytes + e->len_bytes - 1) / BLOCK_BYTES};
	fs_file_extents(s->fs, e->ino, extent_found, &r);
	for (unsigned i = 0; i < r.count; i++)
		run_look(s, r.run[i].volume_block, r.run[i].blocks);
}

/* Every member got the same bytes, and parity and guards were made of them. An unknown policy is
 * taken for one that promises nothing. */
static bool is_stored_alike(const struct event *e)
{
	static const char *const outcomes[] = {"verified", "copy stored", "redone", "rejected"};
	for (unsigned i = 0; e->what && i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
		if (!strcmp(e->what, outcomes[i]))
			return true;
	for (unsigned i = 0; e->policy && i < DIO_POLICY_COUNT; i++)
		if (!strcmp(e->policy, dio_policy_name((enum dio_policy)i)))
			return dio_policy_is_stable((enum dio_policy)i);
	return false;
}

static enum event_blast blast_of(
	const struct event *e, const struct super *super, const struct event_blast_zone *zone)
{
	bool checked = super->pi != PI_NONE && super->pi_check == PI_CHECK_DEVICE;
	if (e->kind != EVENT_MUTATION || is_stored_alike(e))
		return BLAST_NOBODY;
	if (checked && e->error == -EILSEQ)
		return BLAST_NOBODY;
	return !checked && zone->count ? BLAST_STRANGERS : BLAST_WRITER;
}

void event_blast_find(
	const struct event *e, struct fs *fs, struct volume *v, struct event_blast_zone *out)
{
	struct search s = {.geometry = volume_geometry(v), .fs = fs, .ino = e->ino, .zone = out};
	*out = (struct event_blast_zone){.volume_block = UINT64_MAX};
	strangers_find(&s, e);
	out->who = blast_of(e, volume_super(v), out);
	if (out->who != BLAST_STRANGERS)
		out->count = 0;
}

const char *event_blast_name(enum event_blast who)
{
	static const char *const names[] = {[BLAST_NOBODY] = "nobody",
		[BLAST_WRITER] = "writer",
		[BLAST_STRANGERS] = "strangers"};
	return names[who];
}
