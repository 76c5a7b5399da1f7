/* SPDX-License-Identifier: MIT */
/* Members that come: new ones, spares, and those that were away.
 *
 *	handles of both engines
 *	-> the intent log: what the member lacks is stale, durably		(J1)
 *	-> system area: it takes every write from here on; to be filled
 *	-> superblocks: it is in its place, REBUILDING				(J2)
 *	-> logs and stripe engine: it takes part
 *	-> when nobody works without it any more: marks make nothing stale, where none is missing
 *
 * Invariants: J1 no superblock says REBUILDING before everything that the member lacks is stale on
 *   those that have it: a member in that state is up to date but for stale regions, also after a
 *   crash here. J2 a new member is a spare, by its own superblock, until it is in its place: a
 *   crash leaves the one or the other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "volume/internal.h"
#include "volume/sysarea_open.h"

/* ---- handles ---- */

struct opening {
	struct engine_errand errand;
	const char *path;
	const struct super *super;
	struct member *m; /* out */
	struct errmsg *why;
};

/* Engine thread: its files are its own. The lock is with the other handle, so nothing waits. */
static int open_on_engine(struct engine_errand *errand)
{
	struct opening *o = container_of(errand, struct opening, errand);
	struct volume *v = errand->volume;
	struct member_probe probe = {.super = *o->super};
	int err = io_open(v->io, o->path, 0, 0, &probe.file, o->why);
	if (err < 0)
		return err;
	io_set_timeout(probe.file, v->timeout_ns);
	return member_open(v->io, o->path, &probe, &o->m);
}

static int open_handles(struct volume *v, struct joiner *j, struct errmsg *why)
{
	int err = 0;
	if (!j->copy) {
		sysarea_lock(v->sysarea);
		err = sysarea_open_member(
			v->sysarea, j->path, member_super(j->m), 0, &j->copy, why);
		sysarea_unlock(v->sysarea);
	}
	if (err < 0 || j->m)
		return err;
	struct opening o = {.errand.run = open_on_engine,
		.path = j->path,
		.super = member_super(j->copy),
		.why = why};
	err = engine_errand_run(v, &o.errand);
	j->m = o.m;
	return err;
}

struct closing {
	struct engine_errand errand;
	struct member *m;
};

static int close_on_engine(struct engine_errand *errand)
{
	member_free(container_of(errand, struct closing, errand)->m);
	return 0;
}

static void close_handles(struct volume *v, struct joiner *j)
{
	struct closing c = {.errand.run = close_on_engine, .m = j->m};
	if (c.m)
		(void)engine_errand_run(v, &c.errand);
	sysarea_lock(v->sysarea);
	member_free(j->copy);
	sysarea_unlock(v->sysarea);
	j->m = j->copy = NULL;
}

/* ---- the intent log (J1) ---- */

struct collecting {
	struct engine_errand errand;
	struct intent_sync sync;
	bool all;
};

static void collected(struct intent_sync *sync, int err)
{
	engine_errand_end(&container_of(sync, struct collecting, sync)->errand, err);
}

static int collect(struct engine_errand *errand)
{
	struct collecting *c = container_of(errand, struct collecting, errand);
	intent_stale_collect(errand->volume->intent, c->all);
	c->sync.done = collected;
	intent_sync(errand->volume->intent, &c->sync);
	return ENGINE_ERRAND_LATER;
}

/* ---- the place, by the superblocks (J2) ---- */

static void place_take(struct volume *v, unsigned index, const char *path)
{
	struct place *p = &v->set.places[index];
	char *copy = strdup(path);
	pthread_mutex_lock(&v->lock);
	if (copy) {
		free(p->path);
		p->path = copy;
	}
	p->state = VOLUME_MEMBER_REBUILDING;
	p->vacant = p->told = p->must_stay = p->written_out = false;
	p->reason[0] = '\0';
	p->read_errors = p->check_errors = p->score = 0;
	pthread_mutex_unlock(&v->lock);
}

static void place_leave(struct volume *v, unsigned index, const char *reason)
{
	struct place *p = &v->set.places[index];
	pthread_mutex_lock(&v->lock);
	p->state = VOLUME_MEMBER_FAILED;
	p->failing = false;
	p->vacant = true;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	pthread_mutex_unlock(&v->lock);
}

static int enter_superblocks(struct volume *v, unsigned index, struct joiner *j, struct errmsg *why)
{
	uint8_t before[16];
	uint8_t *peer = v->set.says.peers[index];
	sysarea_lock(v->sysarea);
	int err = hole_format(j->copy); /* whatever it held of the past */
	if (err < 0) {
		sysarea_unlock(v->sysarea);
		return err;
	}
	memcpy(before, peer, sizeof(before));
	memcpy(peer, member_super(j->copy)->member_uuid, sizeof(before));
	sysarea_attach(v->sysarea, index, j->copy, j->fresh);
	j->copy = NULL;
	place_take(v, index, j->path);
	sysarea_unlock(v->sysarea);
	err = members_say(v, why);
	if (err == 0)
		return 0;
	sysarea_lock(v->sysarea);
	memcpy(peer, before, sizeof(before));
	j->copy = sysarea_detach(v->sysarea, index);
	sysarea_unlock(v->sysarea);
	place_leave(v, index, strerror(-err));
	return err;
}

/* ---- the logs and the engine ---- */

struct entering {
	struct engine_errand errand;
	unsigned index;
	struct member *m;
	struct entered *entered;
};

/* Lives until nobody works without the member any more. */
struct entered {
	struct stripe_member_change change;
	struct volume *volume;
};

static void now_with_it(struct stripe_member_change *change)
{
	struct entered *e = container_of(change, struct entered, change);
	struct volume *v = e->volume;
	pthread_mutex_lock(&v->lock);
	bool none_missing = members_missing(v) == 0;
	for (unsigned i = 0; i < v->geometry.members; i++)
		none_missing = none_missing && !v->set.places[i].failing;
	pthread_mutex_unlock(&v->lock);
	if (none_missing)
		intent_stale_collect_end(v->intent);
	free(e);
}

static int enter_engine(struct engine_errand *errand)
{
	struct entering *e = container_of(errand, struct entering, errand);
	struct volume *v = errand->volume;
	pthread_mutex_lock(&v->lock);
	v->members[e->index] = e->m;
	pthread_mutex_unlock(&v->lock);
	intent_set_member(v->intent, e->index, e->m);
	hole_set_member(v, e->index, e->m);
	stripe_engine_set_member(v->eng, e->index, e->m, true, &e->entered->change);
	return 0;
}

/* It may have failed again meanwhile (place->failing): then it goes as any other. */
static int enter(struct volume *v, unsigned index, struct joiner *j, struct errmsg *why)
{
	struct entering e = {.errand.run = enter_engine, .index = index};
	struct collecting c = {.errand.run = collect, .all = j->all};
	e.entered = calloc(1, sizeof(*e.entered));
	if (!e.entered)
		return -ENOMEM;
	*e.entered = (struct entered){.change.quiet = now_with_it, .volume = v};
	int err = engine_errand_run(v, &c.errand);
	if (err < 0)
		errmsg_set(why, err, "the intent log cannot be written: %s", strerror(-err));
	else
		err = enter_superblocks(v, index, j, why);
	if (err < 0) {
		free(e.entered);
		return err;
	}
	e.m = take_ptr(&j->m);
	return engine_errand_run(v, &e.errand);
}

int members_join(struct volume *v, unsigned index, struct joiner *j, struct errmsg *why)
{
	members_change_begin(v);
	pthread_mutex_lock(&v->lock);
	const struct place *p = &v->set.places[index];
	bool taken = p->failing || p->state == VOLUME_MEMBER_ACTIVE ||
		     p->state == VOLUME_MEMBER_REBUILDING;
	pthread_mutex_unlock(&v->lock);
	int err = taken ? errmsg_set(why, -EBUSY, "member %u is not out", index)
			: open_handles(v, j, why);
	if (err == 0)
		err = enter(v, index, j, why);
	if (err == 0)
		members_tell(v, index, "rebuilding", j->all ? "all of it" : "where it differs");
	close_handles(v, j);
	members_change_end(v);
	work_wake(v);
	return err;
}

/* ---- at the start ---- */

int members_join_returning(struct volume *v, struct assembled *found, struct errmsg *why)
{
	for (unsigned i = 0; i < v->geometry.members; i++) {
		struct returning *r = &found->returning[i];
		if (!r->m)
			continue;
		char *path = strdup(member_path(r->m));
		if (!path)
			return -ENOMEM;
		struct joiner j = {.path = path, .m = take_ptr(&r->m), .all = r->all};
		int err = members_join(v, i, &j, why);
		if (err < 0)
			log_warn("%s (member %u) is left out: %s", path, i,
				why->text[0] ? why->text : strerror(-err));
		free(path);
		if (err == -ESHUTDOWN)
			return err;
	}
	return 0;
}

/* ---- spares ---- */

int members_add_spare(
	struct volume *v, const char *path, const struct super *super, struct errmsg *why)
{
	struct spare s = {.path = strdup(path)};
	sysarea_lock(v->sysarea);
	int err = !s.path ? -ENOMEM
			  : sysarea_open_member(v->sysarea, path, super, IO_OPEN_LOCK, &s.m, why);
	pthread_mutex_lock(&v->lock);
	if (err == 0 && v->set.spare_count == SPARES_MAX)
		err = errmsg_set(why, -ENOSPC, "%u spares are in hand already", SPARES_MAX);
	if (err == 0)
		v->set.spares[v->set.spare_count++] = s;
	pthread_mutex_unlock(&v->lock);
	if (err < 0) {
		member_free(s.m);
		free(s.path);
	}
	sysarea_unlock(v->sysarea);
	return err;
}

void members_take_spares(struct volume *v, const struct assembled *found)
{
	for (unsigned i = 0; i < found->spare_count; i++) {
		struct errmsg why = {0};
		int err =
			members_add_spare(v, found->spares[i].path, &found->spares[i].super, &why);
		if (err < 0)
			log_warn("the spare %s cannot be used: %s", found->spares[i].path,
				why.text[0] ? why.text : strerror(-err));
	}
}

/* The spare at @at is the caller's from now on. */
static struct spare pick_spare(struct volume *v, unsigned at)
{
	pthread_mutex_lock(&v->lock);
	struct spare s = v->set.spares[at];
	v->set.spare_count--;
	memmove(&v->set.spares[at], &v->set.spares[at + 1], (v->set.spare_count - at) * sizeof(s));
	pthread_mutex_unlock(&v->lock);
	return s;
}

/* The first vacant place; members where there is none. */
static unsigned vacant_place(const struct volume *v)
{
	unsigned i = 0;
	while (i < v->geometry.members && (!v->set.places[i].vacant || v->set.places[i].failing))
		i++;
	return i;
}

bool members_wants_spare(const struct volume *v)
{
	return !v->read_only && !v->set.spares_held && v->set.spare_count &&
	       vacant_place(v) < v->geometry.members;
}

void members_hold_spares(struct volume *v, bool hold)
{
	pthread_mutex_lock(&v->lock);
	v->set.spares_held += hold ? 1 : -1u;
	pthread_mutex_unlock(&v->lock);
}

int members_join_spare(struct volume *v, unsigned index, unsigned at, struct errmsg *why)
{
	struct spare s = pick_spare(v, at);
	struct joiner j = {.path = s.path, .copy = s.m, .all = true, .fresh = true};
	int err = members_join(v, index, &j, why);
	free(s.path);
	return err;
}

bool members_use_spare(struct volume *v)
{
	struct errmsg why = {0};
	pthread_mutex_lock(&v->lock);
	bool wanted = members_wants_spare(v);
	unsigned index = vacant_place(v);
	pthread_mutex_unlock(&v->lock);
	if (!wanted)
		return false;
	members_tell(v, index, "spare taken", "");
	int err = members_join_spare(v, index, 0, &why);
	if (err < 0 && err != -ESHUTDOWN)
		log_error("a spare cannot take the place of member %u: %s", index,
			why.text[0] ? why.text : strerror(-err));
	return true;
}
