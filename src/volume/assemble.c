/* SPDX-License-Identifier: MIT */
/* Assembly: from paths to the members of one volume, or a refusal that says which path is wrong.
 *
 *	given twice?  readable, a member?  one volume, one shape?  spares apart.  the newest
 *	replaced meanwhile?  doubled index?  out of date?  enough?
 *
 * A member that is out of date comes back: where its generation is not before stale_since, the
 * intent log's stale regions are all that it lacks, else it lacks everything. One that has gone
 * apart (generation.h) is refused: what is in it and nowhere else is for people to judge.
 *
 * A refusal changes nothing, and neither does success. With options->degraded a path that cannot
 * serve is left out with a warning, where leaving out can be right; members of another volume or in
 * use are refused all the same. */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "volume/generation.h"

struct candidate {
	const char *path; /* borrowed */
	struct member_probe probe;
	bool taken; /* probed, and not left out */
	bool spare;
	bool stale; /* to be rebuilt: all of it, or where it differs */
	bool all;
};

struct assembly {
	struct io_engine *io; /* borrowed */
	const struct volume_open_options *options;
	struct candidate *list; /* owned */
	unsigned count;
	struct candidate *newest; /* the first taken one with the highest generation */
	struct errmsg *why;
};

/* It is up to date, as far as is known. */
static bool serves(const struct candidate *c)
{
	return c->taken && !c->spare && !c->stale;
}

static const struct super *super_of(const struct candidate *c)
{
	return &c->probe.super;
}

static void leave_out(struct candidate *c)
{
	io_close(c->probe.file);
	c->probe.file = NULL;
	c->taken = false;
}

static void assembly_release(struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++)
		leave_out(&a->list[i]);
	free(a->list);
}

/* ---- given twice? (The lock would say so too, but late and less clearly.) ---- */

static bool same_file(const struct assembly *a, const char *x, const char *y)
{
	if (strcmp(x, y) == 0)
		return true;
	struct stat sx, sy;
	if (!engine_names_are_paths(a->io) || stat(x, &sx) < 0 || stat(y, &sy) < 0)
		return false;
	if (S_ISBLK(sx.st_mode) && S_ISBLK(sy.st_mode))
		return sx.st_rdev == sy.st_rdev;
	return sx.st_dev == sy.st_dev && sx.st_ino == sy.st_ino;
}

static int refuse_repeated(const struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++) {
		for (unsigned j = 0; j < i; j++) {
			if (same_file(a, a->list[i].path, a->list[j].path))
				return errmsg_set(
					a->why, -EINVAL, "%s is given twice", a->list[i].path);
		}
	}
	return 0;
}

/* ---- readable, a member? ---- */

/* Errors of one path that a degraded volume can do without. */
static bool can_be_left_out(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
	case -EIO:
	case -ENOMSG:
	case -EUCLEAN:
		return true;
	default:
		return false;
	}
}

static void warn_copies(const struct candidate *c, bool read_only)
{
	if (!c->probe.copy_a_bad && !c->probe.copy_b_bad)
		return;
	log_warn("%s: superblock copy %s is damaged, the other serves%s", c->path,
		c->probe.copy_a_bad ? "A" : "B", read_only ? "" : "; writing it anew");
}

static int probe_one(struct assembly *a, struct candidate *c)
{
	const struct volume_open_options *o = a->options;
	bool read_only = o->read_only || o->unlocked;
	unsigned flags = (read_only ? IO_OPEN_READONLY : 0) | (o->unlocked ? 0 : IO_OPEN_LOCK);
	struct errmsg why = {0};
	int err = member_probe(a->io, c->path, flags, &c->probe, &why);
	if (err == 0) {
		c->taken = true;
		warn_copies(c, read_only);
		return 0;
	}
	c->probe.file = NULL;
	if (o->degraded && can_be_left_out(err)) {
		log_warn("%s is left out: %s", c->path, why.text[0] ? why.text : strerror(-err));
		return 0;
	}
	return errmsg_set(a->why, err == -ENOMSG ? -EINVAL : err, "%s",
		why.text[0] ? why.text : strerror(-err));
}

static int probe_all(struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++) {
		int err = probe_one(a, &a->list[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- one volume, one shape? ---- */

static void uuid_format(const uint8_t uuid[16], char out[37])
{
	char *at = out;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += sprintf(at, "%02x", uuid[i]);
	}
}

static int refuse_foreign(
	const struct assembly *a, const struct candidate *first, const struct candidate *c)
{
	char ours[37], theirs[37];
	uuid_format(super_of(first)->volume_uuid, ours);
	uuid_format(super_of(c)->volume_uuid, theirs);
	return errmsg_set(a->why, -EINVAL, "%s belongs to volume %s, but %s belongs to volume %s",
		c->path, theirs, first->path, ours);
}

static bool same_area(const struct super_area *x, const struct super_area *y)
{
	return x->offset_bytes == y->offset_bytes && x->len_bytes == y->len_bytes;
}

static bool same_shape(const struct super *x, const struct super *y)
{
	return x->level == y->level && x->members == y->members &&
	       x->chunk_blocks == y->chunk_blocks && x->stripes == y->stripes && x->pi == y->pi &&
	       x->pi_check == y->pi_check && x->region_blocks == y->region_blocks &&
	       same_area(&x->intent, &y->intent) && same_area(&x->journal, &y->journal) &&
	       same_area(&x->system, &y->system) && same_area(&x->tuples, &y->tuples) &&
	       same_area(&x->data, &y->data) && x->write_hole == y->write_hole;
}

static int check_together(struct assembly *a)
{
	const struct candidate *first = NULL;
	for (unsigned i = 0; i < a->count; i++) {
		const struct candidate *c = &a->list[i];
		if (!c->taken)
			continue;
		if (!first)
			first = c;
		if (memcmp(super_of(first)->volume_uuid, super_of(c)->volume_uuid, 16) != 0)
			return refuse_foreign(a, first, c);
		if (!same_shape(super_of(first), super_of(c)))
			return errmsg_set(a->why, -EUCLEAN,
				"%s and %s are of one volume but disagree about its shape",
				first->path, c->path);
	}
	if (!first)
		return errmsg_set(
			a->why, -ENODEV, "none of the %u members given can be used", a->count);
	return 0;
}

static int refuse_doubled(const struct assembly *a)
{
	const struct candidate *holder[RAID_MAX_MEMBERS] = {NULL};
	for (unsigned i = 0; i < a->count; i++) {
		const struct candidate *c = &a->list[i];
		if (!c->taken || c->spare)
			continue;
		const struct candidate **h = &holder[super_of(c)->index];
		if (*h)
			return errmsg_set(a->why, -EINVAL,
				"%s and %s are both member %u of the volume: one is a copy",
				(*h)->path, c->path, super_of(c)->index);
		*h = c;
	}
	return 0;
}

/* ---- spares, the newest, those that were replaced ---- */

static void find_spares(struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++) {
		struct candidate *c = &a->list[i];
		c->spare = c->taken && super_of(c)->index == SUPER_INDEX_SPARE;
	}
}

static int find_newest(struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++) {
		struct candidate *c = &a->list[i];
		if (serves(c) &&
			(!a->newest || super_of(c)->generation > super_of(a->newest)->generation))
			a->newest = c;
	}
	if (a->newest)
		return 0;
	return errmsg_set(a->why, -ENODEV, "none of the %u members given can be used", a->count);
}

static bool is_its_own_peer(const struct candidate *c, const struct super *says)
{
	const struct super *s = super_of(c);
	return memcmp(says->peers[s->index], s->member_uuid, sizeof(s->member_uuid)) == 0;
}

static int leave_out_replaced(struct assembly *a)
{
	const struct super *newest = super_of(a->newest);
	if (!is_its_own_peer(a->newest, newest))
		return errmsg_set(a->why, -EUCLEAN,
			"%s: the superblock does not list its own member", a->newest->path);
	for (unsigned i = 0; i < a->count; i++) {
		struct candidate *c = &a->list[i];
		if (!serves(c) || is_its_own_peer(c, newest))
			continue;
		log_warn("%s is left out: another disk has replaced it as member %u; 'stablefs "
			 "add --force' makes it a spare",
			c->path, super_of(c)->index);
		leave_out(c);
	}
	return 0;
}

/* ---- out of date? ---- */

/* Two halves that were each mounted without the other both look new. */
static bool went_apart(const struct super *super, const struct super *newest)
{
	if (super->generation == newest->generation)
		return generation_is_committed(super) &&
		       super->states[newest->index] == SUPER_MEMBER_MISSING;
	return generation_is_stale(super, newest) && generation_went_apart(super, newest);
}

static int refuse_apart(struct assembly *a, struct candidate *c)
{
	const struct super *super = super_of(c), *newest = super_of(a->newest);
	struct errmsg why = {0};
	errmsg_set(&why, -ESTALE,
		"%s (member %u) was written without %s (member %u), and that without it: "
		"generations %" PRIu64 " and %" PRIu64
		"; leave one of them away, or make it a new member: stablefs replace --force",
		c->path, super->index, a->newest->path, newest->index, super->generation,
		newest->generation);
	if (!a->options->degraded)
		return errmsg_set(a->why, -ESTALE, "%s", why.text);
	log_warn("left out: %s", why.text);
	leave_out(c);
	return 0;
}

/* What the volume last recorded of a member that is up to date. What is announced and not committed
 * (generation.h) takes nobody out. */
static bool was_rebuilding(const struct super *super, const struct super *newest)
{
	enum super_member_state state = newest->states[super->index];
	if (state == SUPER_MEMBER_MISSING)
		state = super->states[super->index];
	return state == SUPER_MEMBER_REBUILDING;
}

static void mark_stale(struct candidate *c, const struct super *newest)
{
	const struct super *super = super_of(c);
	c->stale = true;
	c->all = !newest->stale_since || super->generation < newest->stale_since;
}

static int handle_stale(struct assembly *a)
{
	const struct super *newest = super_of(a->newest);
	for (unsigned i = 0; i < a->count; i++) {
		struct candidate *c = &a->list[i];
		int err = 0;
		if (!serves(c))
			continue;
		if (c != a->newest && went_apart(super_of(c), newest))
			err = refuse_apart(a, c);
		else if (generation_is_stale(super_of(c), newest) ||
			 was_rebuilding(super_of(c), newest))
			mark_stale(c, newest);
		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- enough? ---- */

static struct geometry geometry_of(const struct super *s)
{
	return (struct geometry){.level = (enum raid_level)s->level,
		.members = s->members,
		.chunk_blocks = s->chunk_blocks,
		.stripes = s->stripes};
}

/* "1, 3" */
static void list_missing(const struct assembly *a, char *out, size_t size)
{
	size_t len = 0;
	out[0] = '\0';
	for (unsigned index = 0; index < super_of(a->newest)->members; index++) {
		bool here = false;
		for (unsigned i = 0; i < a->count; i++)
			here |= serves(&a->list[i]) && super_of(&a->list[i])->index == index;
		if (!here && len < size)
			len += (size_t)snprintf(
				out + len, size - len, "%s%u", len ? ", " : "", index);
	}
}

/* How many stripes a member lacks that is out of date in part, as the log of the newest says; all
 * of them where that cannot be read. Costs the newest its file: before a refusal only. */
static uint64_t stale_stripes(const struct assembly *a)
{
	const struct super *s = super_of(a->newest);
	struct member *members[RAID_MAX_MEMBERS] = {NULL};
	struct intent_log *log = NULL;
	uint64_t stripes = s->stripes;
	if (member_open(a->io, a->newest->path, &a->newest->probe, &members[s->index]) < 0)
		return stripes;
	if (intent_load(a->io, members, s->members, &log, NULL) == 0)
		stripes = intent_stale_count(log) * (s->region_blocks / s->chunk_blocks);
	intent_free(log);
	member_free(members[s->index]);
	return min_u64(stripes, s->stripes);
}

/* "; out of date: d0 (member 0, 12 stripes), d1 (member 1, 1000 stripes)" */
static void list_stale(const struct assembly *a, char *out, size_t size)
{
	uint64_t in_part = stale_stripes(a);
	size_t len = 0;
	out[0] = '\0';
	for (unsigned i = 0; i < a->count && len < size; i++) {
		const struct candidate *c = &a->list[i];
		if (!c->taken || !c->stale)
			continue;
		len += (size_t)snprintf(out + len, size - len,
			"%s%s (member %u, %" PRIu64 " stripes)",
			len ? ", " : "; out of date: ", c->path, super_of(c)->index,
			c->all ? super_of(a->newest)->stripes : in_part);
	}
}

static int check_enough(const struct assembly *a)
{
	struct geometry g = geometry_of(super_of(a->newest));
	unsigned here = 0, needed = g.members - geometry_redundancy(&g);
	for (unsigned i = 0; i < a->count; i++)
		here += serves(&a->list[i]);
	if (here == g.members)
		return 0;
	char missing[80], stale[300];
	list_missing(a, missing, sizeof(missing));
	if (here < needed) {
		list_stale(a, stale, sizeof(stale));
		return errmsg_set(a->why, -ENODEV,
			"the volume of %s has too few members: %u of %u can be used, %s needs %u; "
			"missing: %s%s",
			a->newest->path, here, g.members, raid_level_name(g.level), needed, missing,
			stale);
	}
	log_warn("the volume of %s goes on without member %s", a->newest->path, missing);
	return 0;
}

/* ---- all together ---- */

static int assembly_judge(struct assembly *a)
{
	int err = refuse_repeated(a);
	if (err == 0)
		err = probe_all(a);
	if (err == 0)
		err = check_together(a);
	if (err < 0)
		return err;
	find_spares(a);
	err = find_newest(a);
	if (err == 0)
		err = leave_out_replaced(a);
	if (err == 0)
		err = refuse_doubled(a);
	if (err == 0)
		err = handle_stale(a);
	return err < 0 ? err : check_enough(a);
}

static int open_one(struct assembly *a, struct candidate *c, struct member **out)
{
	const struct super *super = super_of(c);
	c->taken = false;
	int err = member_open(a->io, c->path, &c->probe, out);
	if (err == -EOPNOTSUPP)
		return errmsg_set(a->why, err,
			"the volume of %s is protected by %s, which this build cannot compute",
			c->path, pi_name(super->pi));
	return err < 0 ? errmsg_set(a->why, err, "%s: %s", c->path, strerror(-err)) : 0;
}

/* Spares are opened again by those who use them: their files are closed here. */
static int take_spare(struct candidate *c, struct assembled *out)
{
	if (out->spare_count == SPARES_MAX) {
		log_warn("%s is left out: one spare too many", c->path);
		return 0;
	}
	struct assembled_spare *s = &out->spares[out->spare_count];
	s->super = *super_of(c);
	s->path = strdup(c->path);
	out->spare_count += s->path != NULL;
	leave_out(c);
	return s->path ? 0 : -ENOMEM;
}

/* A volume that writes nothing has no use for a member that would have to be rebuilt. */
static int take_stale(struct assembly *a, struct candidate *c, struct assembled *out)
{
	unsigned index = super_of(c)->index;
	if (a->options->read_only || a->options->unlocked) {
		out->absent[index] = strdup("out of date");
		leave_out(c);
		return out->absent[index] ? 0 : -ENOMEM;
	}
	out->returning[index].all = c->all;
	return open_one(a, c, &out->returning[index].m);
}

static int open_taken(struct assembly *a, struct assembled *out)
{
	out->newest = *super_of(a->newest);
	for (unsigned i = 0; i < a->count; i++) {
		struct candidate *c = &a->list[i];
		int err = 0;
		if (!c->taken)
			continue;
		if (c->spare)
			err = take_spare(c, out);
		else if (c->stale)
			err = take_stale(a, c, out);
		else
			err = open_one(a, c, &out->members[super_of(c)->index]);
		if (err < 0)
			return err;
	}
	return 0;
}

void assembled_release(struct assembled *a)
{
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		member_free(a->members[i]);
		member_free(a->returning[i].m);
		free(a->absent[i]);
	}
	for (unsigned i = 0; i < a->spare_count; i++)
		free(a->spares[i].path);
	*a = (struct assembled){0};
}

int assemble_members(struct io_engine *io, const struct volume_open_options *options,
	struct assembled *out, struct errmsg *why)
{
	cleanup(assembly_release) struct assembly a = {.io = io,
		.options = options,
		.list = calloc(options->count + 1, sizeof(*a.list)),
		.why = why};
	*out = (struct assembled){0};
	if (!a.list)
		return -ENOMEM;
	a.count = options->count;
	for (unsigned i = 0; i < a.count; i++)
		a.list[i].path = options->paths[i];
	int err = assembly_judge(&a);
	if (err == 0)
		err = open_taken(&a, out);
	if (err < 0)
		assembled_release(out);
	return err;
}
