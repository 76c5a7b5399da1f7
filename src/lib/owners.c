/* SPDX-License-Identifier: MIT */
/* Blast radius and damage, by name: from blocks of the volume to the files that own them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "lib/internal.h"

/* ---- who shares parity with a range of a file ---- */

struct runs {
	uint64_t first, end; /* blocks of the file */
	struct fs_extent *parts;
	size_t count, room;
	int err;
};

static bool run_found(void *ctx, const struct fs_extent *x)
{
	struct runs *r = ctx;
	uint64_t from = max_u64(x->file_block, r->first);
	uint64_t to = min_u64(x->file_block + x->blocks, r->end);
	if (from >= to)
		return x->file_block < r->end;
	if (r->count == r->room) {
		size_t room = r->room ? 2 * r->room : 16;
		struct fs_extent *bigger = realloc(r->parts, room * sizeof(*bigger));
		r->err = bigger ? 0 : -ENOMEM;
		if (!bigger)
			return false;
		r->parts = bigger;
		r->room = room;
	}
	r->parts[r->count++] = (struct fs_extent){
		x->ino, from, x->volume_block + (from - x->file_block), to - from};
	return true;
}

struct inodes {
	uint64_t self, *inos;
	size_t count, room;
	int err;
};

static bool stranger_found(void *ctx, const struct fs_extent *part)
{
	struct inodes *s = ctx;
	if (part->ino == s->self)
		return true;
	for (size_t i = 0; i < s->count; i++)
		if (s->inos[i] == part->ino)
			return true;
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 16;
		uint64_t *bigger = realloc(s->inos, room * sizeof(*bigger));
		s->err = bigger ? 0 : -ENOMEM;
		if (!bigger)
			return false;
		s->inos = bigger;
		s->room = room;
	}
	s->inos[s->count++] = part->ino;
	return true;
}

/* A run of blocks, cut at chunk ends: each piece is a run of rows of one stripe. */
static int rows_look(struct stablefs *v, uint64_t block, uint64_t blocks, struct inodes *s)
{
	const struct geometry *g = volume_geometry(v->volume);
	while (blocks) {
		struct geometry_place at = geometry_locate(g, block);
		uint64_t n = min_u64(blocks, g->chunk_blocks - at.row);
		for (unsigned slot = 0; slot < geometry_data_slots(g); slot++) {
			int err =
				fs_owners(v->fs, geometry_volume_block(g, at.stripe, slot, at.row),
					n, stranger_found, s);
			if (err < 0 || s->err)
				return err < 0 ? err : s->err;
		}
		block += n;
		blocks -= n;
	}
	return 0;
}

static int tell(struct stablefs *v, const struct inodes *s,
	bool (*each)(void *ctx, const char *path), void *ctx)
{
	char path[4096];
	for (size_t i = 0; i < s->count; i++) {
		int err = fs_path(v->fs, s->inos[i], path, sizeof(path));
		if (err < 0)
			return err;
		if (!each(ctx, path))
			break;
	}
	return 0;
}

int stablefs_neighbours(struct stablefs_file *f, uint64_t offset, uint64_t len,
	bool (*each)(void *ctx, const char *path), void *ctx)
{
	struct stablefs *v = f->v;
	if (!len || offset > UINT64_MAX - len)
		return -EINVAL;
	struct runs r = {
		.first = offset / BLOCK_BYTES, .end = (offset + len - 1) / BLOCK_BYTES + 1};
	struct inodes s = {.self = f->ino};
	if (!geometry_has_parity(volume_geometry(v->volume)))
		return 0;
	int err = fs_file_extents(v->fs, f->ino, run_found, &r);
	err = err < 0 ? err : r.err;
	for (size_t i = 0; i < r.count && err == 0; i++)
		err = rows_look(v, r.parts[i].volume_block, r.parts[i].blocks, &s);
	if (err == 0)
		err = tell(v, &s, each, ctx);
	free(r.parts);
	free(s.inos);
	return err;
}

/* ---- scrub ---- */

struct places {
	struct stablefs *v;
	struct stablefs_place *list; /* owned; room for one a slot */
	unsigned count;
};

static bool place_found(void *ctx, const struct fs_extent *part)
{
	struct places *p = ctx;
	struct stablefs_place *place = &p->list[p->count++];
	place->offset = part->file_block * BLOCK_BYTES;
	if (fs_path(p->v->fs, part->ino, place->path, sizeof(place->path)) < 0)
		place->path[0] = '\0';
	return p->count < RAID_MAX_SLOTS;
}

static void damage_tell(struct places *p, const struct scrub_damage *d,
	const struct stablefs_scrub_options *options)
{
	const struct geometry *g = volume_geometry(p->v->volume);
	static const enum stablefs_damage_kind kinds[] = {[SCRUB_PARITY] = STABLEFS_DAMAGE_PARITY,
		[SCRUB_MIRROR] = STABLEFS_DAMAGE_MIRROR,
		[SCRUB_GUARD] = STABLEFS_DAMAGE_GUARD,
		[SCRUB_UNREADABLE] = STABLEFS_DAMAGE_UNREADABLE};
	p->count = 0;
	if (d->volume_block != UINT64_MAX)
		(void)fs_owners(p->v->fs, d->volume_block, 1, place_found, p);
	for (unsigned slot = 0; d->volume_block == UINT64_MAX && slot < geometry_data_slots(g);
		slot++)
		(void)fs_owners(p->v->fs, geometry_volume_block(g, d->stripe, slot, d->row), 1,
			place_found, p);
	struct stablefs_damage out = {.kind = kinds[d->kind],
		.stripe = d->stripe,
		.row = d->row,
		.member = d->member,
		.repaired = d->repaired,
		.lost = d->lost,
		.places = p->list,
		.place_count = p->count};
	options->damage(options->ctx, &out);
}

static int damage_tell_all(struct stablefs *v, const struct scrub_result *r,
	const struct stablefs_scrub_options *options)
{
	struct places p = {.v = v, .list = calloc(RAID_MAX_SLOTS, sizeof(*p.list))};
	if (!p.list)
		return -ENOMEM;
	for (uint64_t i = 0; i < min_u64(r->damage_count, SCRUB_MAX_DAMAGE); i++)
		damage_tell(&p, &r->damage[i], options);
	free(p.list);
	return 0;
}

int stablefs_scrub(struct stablefs *v, const struct stablefs_scrub_options *options,
	struct stablefs_scrub_result *out)
{
	static const struct stablefs_scrub_options none;
	struct scrub_result r = {0};
	options = options ? options : &none;
	int err = volume_scrub(v->volume, options->repair, options->progress, options->ctx, &r);
	*out = (struct stablefs_scrub_result){.stripes = r.stripes,
		.rows = r.rows,
		.parity_mismatches = r.parity_mismatches,
		.mirror_mismatches = r.mirror_mismatches,
		.guard_mismatches = r.guard_mismatches,
		.unreadable = r.unreadable,
		.repaired = r.repaired,
		.lost = r.lost,
		.damage = r.damage_count};
	if (err == 0 && options->damage)
		err = damage_tell_all(v, &r, options);
	scrub_result_free(&r);
	return err;
}
