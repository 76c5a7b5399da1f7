/* SPDX-License-Identifier: MIT */
/* Scrub: every stripe is examined, and what is found is counted and listed by stripe and row.
 *
 * Who is wrong where copies or parity disagree? Without PI nobody can tell. With PI a block that
 * fails its guard is the one. Where all of a row pass, the row tag names the block whose member
 * has lost a write, else the parity must be wrong, although its own guard fits it (it was computed
 * from other bytes than were stored). Mirrors have no such tag. */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>

#define PROGRESS_STRIPES 64u

static struct scrub *scrub_of(struct sweep *sweep)
{
	return container_of(sweep, struct scrub, sweep);
}

static const struct geometry *shape_of(const struct scrub *s)
{
	return &s->sweep.volume->geometry;
}

static bool has_pi(const struct scrub *s)
{
	return s->sweep.volume->super.pi != PI_NONE;
}

/* ---- the list ---- */

static int list_grow(struct scrub *s)
{
	if (s->out->damage_count < s->room)
		return 0;
	uint64_t room = s->room ? s->room * 2 : 64;
	struct scrub_damage *list = realloc(s->out->damage, room * sizeof(*list));
	if (!list)
		return -ENOMEM;
	s->out->damage = list;
	s->room = room;
	return 0;
}

static int list_add(struct scrub *s, const struct scrub_damage *damage)
{
	if (s->out->damage_count < SCRUB_MAX_DAMAGE) {
		int err = list_grow(s);
		if (err < 0)
			return err;
		s->out->damage[s->out->damage_count] = *damage;
	}
	s->out->damage_count++;
	return 0;
}

/* ---- one row ---- */

/* The slot whose block fails its guard, where it is the only one of the row; else -1. */
static int only_bad_slot(
	const struct geometry *g, const struct stripe_check *c, unsigned row, unsigned *count)
{
	int found = -1;
	*count = 0;
	for (unsigned slot = 0; slot < geometry_slots(g); slot++) {
		if (!rows_has(&c->guard_bad[slot], row))
			continue;
		found = (int)slot;
		++*count;
	}
	return *count == 1 ? found : -1;
}

/* The one that the row tag, or else two parities, call wrong; -1 where they do not. */
static int told_slot(const struct geometry *g, const struct stripe_check *c, unsigned row)
{
	int told = -1;
	for (unsigned slot = 0; slot < geometry_slots(g); slot++) {
		if (rows_has(&c->stale[slot], row))
			return (int)slot;
		if (rows_has(&c->wrong[slot], row))
			told = (int)slot;
	}
	return told;
}

/* Whose guard is bad; where every guard is good, what row tag or parities say, or the only parity.
 */
static int wrong_slot(const struct scrub *s, const struct stripe_check *c, unsigned row)
{
	const struct geometry *g = shape_of(s);
	unsigned count;
	int bad = only_bad_slot(g, c, row, &count), told = told_slot(g, c, row);
	if (count || told >= 0)
		return count ? bad : told;
	return has_pi(s) && geometry_parity_slots(g) == 1 ? (int)geometry_data_slots(g) : -1;
}

static bool any_rebuilt(const struct geometry *g, const struct stripe_check *c, unsigned row)
{
	for (unsigned slot = 0; slot < geometry_slots(g); slot++) {
		if (rows_has(&c->rebuilt[slot], row))
			return true;
	}
	return false;
}

/* Parity or mirrors of a row that disagree. */
static int add_row(
	struct scrub *s, const struct stripe_check *c, unsigned row, enum scrub_kind kind)
{
	const struct geometry *g = shape_of(s);
	int slot = wrong_slot(s, c, row);
	struct scrub_damage d = {.kind = kind,
		.stripe = c->stripe,
		.row = row,
		.member = slot < 0 ? -1 : (int)geometry_member(g, c->stripe, (unsigned)slot),
		.member_block = geometry_member_block(g, c->stripe, row),
		.volume_block = kind == SCRUB_MIRROR ? geometry_volume_block(g, c->stripe, 0, row)
						     : UINT64_MAX,
		.repaired = any_rebuilt(g, c, row)};
	return list_add(s, &d);
}

static uint64_t volume_block_of(
	const struct geometry *g, uint64_t stripe, unsigned slot, unsigned row)
{
	if (g->level == RAID_RAID1)
		return geometry_volume_block(g, stripe, 0, row);
	return slot < geometry_data_slots(g) ? geometry_volume_block(g, stripe, slot, row)
					     : UINT64_MAX;
}

/* One block that fails its guard, cannot be read, or (on a missing member) cannot be rebuilt. */
static int add_block(struct scrub *s, const struct stripe_check *c, unsigned slot, unsigned row)
{
	const struct geometry *g = shape_of(s);
	bool guard = rows_has(&c->guard_bad[slot], row), lost = rows_has(&c->lost[slot], row);
	if (!guard && !lost && !rows_has(&c->unreadable[slot], row))
		return 0;
	struct scrub_damage d = {.kind = guard ? SCRUB_GUARD : SCRUB_UNREADABLE,
		.stripe = c->stripe,
		.row = row,
		.member = (int)geometry_member(g, c->stripe, slot),
		.member_block = geometry_member_block(g, c->stripe, row),
		.volume_block = volume_block_of(g, c->stripe, slot, row),
		.repaired = rows_has(&c->rebuilt[slot], row),
		.lost = lost};
	return list_add(s, &d);
}

static int add_damage(struct scrub *s, const struct stripe_check *c, unsigned row)
{
	int err = 0;
	if (rows_has(&c->parity_bad, row))
		err = add_row(s, c, row, SCRUB_PARITY);
	if (err == 0 && rows_has(&c->mirror_bad, row))
		err = add_row(s, c, row, SCRUB_MIRROR);
	for (unsigned slot = 0; slot < geometry_slots(shape_of(s)) && err == 0; slot++)
		err = add_block(s, c, slot, row);
	return err;
}

/* ---- one stripe ---- */

/* Adds to @out; returns the rows that something is wrong with. */
static struct rows count_stripe(
	const struct geometry *g, const struct stripe_check *c, struct scrub_result *out)
{
	struct rows damaged = rows_or(c->parity_bad, c->mirror_bad);
	out->stripes++;
	out->rows += g->chunk_blocks;
	out->parity_mismatches += rows_count(&c->parity_bad);
	out->mirror_mismatches += rows_count(&c->mirror_bad);
	for (unsigned slot = 0; slot < geometry_slots(g); slot++) {
		out->guard_mismatches += rows_count(&c->guard_bad[slot]);
		out->unreadable += rows_count(&c->unreadable[slot]);
		out->repaired += rows_count(&c->rebuilt[slot]);
		out->lost += rows_count(&c->lost[slot]);
		rows_add_all(&damaged, &c->guard_bad[slot]);
		rows_add_all(&damaged, &c->unreadable[slot]);
		rows_add_all(&damaged, &c->lost[slot]);
	}
	return damaged;
}

static int report_progress(struct scrub *s)
{
	uint64_t done = s->out->stripes, total = shape_of(s)->stripes;
	if (!s->progress || (done % PROGRESS_STRIPES != 0 && done != total))
		return 0;
	return s->progress(s->ctx, done, total) ? 0 : -ECANCELED;
}

int scrub_take(struct scrub *s, const struct stripe_check *check, int err)
{
	if (err < 0)
		return err;
	struct rows damaged = count_stripe(shape_of(s), check, s->out);
	unsigned row = rows_find(&damaged, 0, true);
	while (row < ROWS_MAX && err == 0) {
		err = add_damage(s, check, row);
		row = row + 1 < ROWS_MAX ? rows_find(&damaged, row + 1, true) : ROWS_MAX;
	}
	return err;
}

/* ---- all of them, while the caller waits ---- */

static int take_result(struct sweep *sweep, const struct stripe_check *check, int err)
{
	struct scrub *s = scrub_of(sweep);
	err = scrub_take(s, check, err);
	return err < 0 ? err : report_progress(s);
}

static uint64_t next_stripe(struct sweep *sweep, uint64_t from)
{
	return from;
}

int volume_scrub(struct volume *v, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
	struct scrub_result *out)
{
	*out = (struct scrub_result){0};
	if (repair && v->read_only)
		return -EROFS;
	struct scrub s = {.sweep = {.volume = v,
				  .mode = repair ? STRIPE_REPAIR : STRIPE_CHECK,
				  .next = next_stripe,
				  .result = take_result,
				  .wait = volume_wait},
		.progress = progress,
		.ctx = ctx,
		.out = out};
	int err = scrub_area(v, repair, &out->area);
	if (err == 0)
		err = sweep_run(&s.sweep);
	return err == 0 && repair ? volume_flush(v) : err;
}

void scrub_result_free(struct scrub_result *r)
{
	free(r->damage);
	*r = (struct scrub_result){0};
}
