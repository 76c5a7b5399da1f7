/* SPDX-License-Identifier: MIT */
/* Members as callers see and change them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "volume/generation.h"
#include "volume/internal.h"
#include "volume/sysarea_open.h"

const char *volume_member_state_name(enum volume_member_state state)
{
	static const char *const names[] = {"missing", "active", "rebuilding", "failed"};
	return names[state];
}

static bool is_in(const struct place *p)
{
	return p->state == VOLUME_MEMBER_ACTIVE || p->state == VOLUME_MEMBER_REBUILDING;
}

struct volume_member_info volume_member(struct volume *v, unsigned index)
{
	struct volume_member_info info = {.state = VOLUME_MEMBER_MISSING};
	if (index >= v->geometry.members)
		return info;
	pthread_mutex_lock(&v->lock);
	const struct place *p = &v->set.places[index];
	const struct member *m = v->members[index];
	info.state = p->state;
	info.present = is_in(p);
	info.read_errors = p->read_errors;
	info.check_errors = p->check_errors;
	snprintf(info.reason, sizeof(info.reason), "%s", p->reason);
	if (info.state != VOLUME_MEMBER_MISSING && p->path)
		snprintf(info.path, sizeof(info.path), "%s", p->path);
	if (m)
		info.stats = member_stats(m);
	if (info.state == VOLUME_MEMBER_REBUILDING)
		info.stale_stripes = stripe_engine_stale(v->eng, index);
	pthread_mutex_unlock(&v->lock);
	return info;
}

const struct super *volume_member_super(const struct volume *v, unsigned index)
{
	return index < RAID_MAX_MEMBERS && v->supers[index].members ? &v->supers[index] : NULL;
}

unsigned volume_missing(const struct volume *v)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&v->lock;
	pthread_mutex_lock(lock);
	unsigned n = members_not_active(v);
	pthread_mutex_unlock(lock);
	return n;
}

unsigned volume_spares(struct volume *v, char (*paths)[4096], unsigned room)
{
	pthread_mutex_lock(&v->lock);
	unsigned count = v->set.spare_count;
	for (unsigned i = 0; i < count && i < room; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s", v->set.spares[i].path);
	pthread_mutex_unlock(&v->lock);
	return count;
}

/* ---- failing ---- */

static int check_index(const struct volume *v, unsigned index, struct errmsg *why)
{
	if (v->read_only)
		return errmsg_set(why, -EROFS, "the volume is open read-only");
	if (index >= v->geometry.members)
		return errmsg_set(why, -EINVAL, "there is no member %u: the volume has 0 to %u",
			index, v->geometry.members - 1);
	return 0;
}

/* volume->lock is held. */
static int fail_begin(struct volume *v, unsigned index, const char *reason, struct errmsg *why)
{
	struct place *p = &v->set.places[index];
	if (!is_in(p))
		return errmsg_set(why, -ENODEV, "member %u is out already", index);
	if (p->failing)
		return 0;
	if (!members_can_lose(v, index))
		return errmsg_set(why, -EBUSY,
			"the volume cannot do without member %u (%s): too few others are up to "
			"date",
			index, p->path);
	p->failing = true;
	p->written_out = false;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	pthread_cond_broadcast(&v->ready);
	return 0;
}

int volume_fail_member(struct volume *v, unsigned index, const char *reason, struct errmsg *why)
{
	int err = check_index(v, index, why);
	if (err < 0)
		return err;
	const struct place *p = &v->set.places[index];
	pthread_mutex_lock(&v->lock);
	err = fail_begin(v, index, reason, why);
	while (err == 0 && p->failing) {
		if (v->threaded) {
			pthread_cond_wait(&v->ready, &v->lock);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		members_run(v);
		pthread_mutex_lock(&v->lock);
	}
	bool out = !is_in(p);
	pthread_mutex_unlock(&v->lock);
	if (err == 0 && !out)
		return errmsg_set(
			why, -EIO, "member %u stays: the others could not be written", index);
	return err;
}

/* ---- replacing ---- */

/* What is to take a place. */
struct replacement {
	char *path; /* owned; NULL: the first spare */
	int spare;  /* index among the spares; -1 */
	bool same;  /* it is the member that had the place */
	bool force;
	struct super super; /* where it is the same */
};

static void replacement_release(struct replacement *r)
{
	free(r->path);
}

static int spare_at(struct volume *v, const char *path)
{
	int found = -1;
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->set.spare_count && found < 0; i++) {
		if (!path || strcmp(v->set.spares[i].path, path) == 0)
			found = (int)i;
	}
	pthread_mutex_unlock(&v->lock);
	return found;
}

static int choose_path(struct volume *v, unsigned index, const char *path, struct replacement *r,
	struct errmsg *why)
{
	r->spare = spare_at(v, path);
	if (r->spare >= 0)
		return 0;
	pthread_mutex_lock(&v->lock);
	const char *chosen = path ? path : v->set.places[index].path;
	r->path = chosen ? strdup(chosen) : NULL;
	pthread_mutex_unlock(&v->lock);
	if (!chosen)
		return errmsg_set(why, -EINVAL,
			"there is no spare, and where member %u was is not known: give a path",
			index);
	return r->path ? 0 : -ENOMEM;
}

/* Is it the member itself that comes back? Only what it has missed is rebuilt then. */
static int recognise(struct volume *v, unsigned index, struct replacement *r, struct errmsg *why)
{
	uint8_t peer[16];
	if (r->spare >= 0 || r->force || prepare_probe(v, r->path, &r->super, NULL) < 0)
		return 0;
	sysarea_lock(v->sysarea);
	struct super says = v->set.says;
	sysarea_unlock(v->sysarea);
	memcpy(peer, says.peers[index], sizeof(peer));
	r->same = memcmp(r->super.volume_uuid, says.volume_uuid, 16) == 0 &&
		  r->super.index == index && memcmp(r->super.member_uuid, peer, 16) == 0;
	if (r->same && generation_went_apart(&r->super, &says))
		return errmsg_set(why, -ESTALE,
			"%s was written without the others since it was away: --force makes it a "
			"new member",
			r->path);
	return 0;
}

static int join_same(struct volume *v, unsigned index, struct replacement *r, struct errmsg *why)
{
	struct joiner j = {.path = r->path};
	sysarea_lock(v->sysarea);
	j.all = !v->set.says.stale_since || r->super.generation < v->set.says.stale_since;
	int err = sysarea_open_member(v->sysarea, r->path, &r->super, IO_OPEN_LOCK, &j.copy, why);
	sysarea_unlock(v->sysarea);
	return err < 0 ? err : members_join(v, index, &j, why);
}

static int join_replacement(
	struct volume *v, unsigned index, struct replacement *r, struct errmsg *why)
{
	if (r->spare >= 0)
		return members_join_spare(v, index, (unsigned)r->spare, why);
	if (r->same)
		return join_same(v, index, r, why);
	return 0;
}

/* A new member is made before the old one goes: what is wrong with it changes nothing. */
static int make_new(struct volume *v, struct replacement *r, struct errmsg *why)
{
	struct super super;
	int err = prepare_spare(v, r->path, r->force, &super, why);
	if (err == 0)
		err = members_add_spare(v, r->path, &super, why);
	if (err == 0)
		r->spare = spare_at(v, r->path);
	return err;
}

static int fail_present(struct volume *v, unsigned index, struct errmsg *why)
{
	pthread_mutex_lock(&v->lock);
	bool in = is_in(&v->set.places[index]);
	pthread_mutex_unlock(&v->lock);
	int err = in ? volume_fail_member(v, index, "replaced", why) : 0;
	if (err == 0 || err == -ENODEV)
		members_wait_retired(v, index);
	return err == -ENODEV ? 0 : err;
}

/* The array has to bear it, before anything is done. */
static int check_replaceable(struct volume *v, unsigned index, struct errmsg *why)
{
	const struct place *p = &v->set.places[index];
	pthread_mutex_lock(&v->lock);
	bool needed = is_in(p) && !members_can_lose(v, index);
	pthread_mutex_unlock(&v->lock);
	return needed ? errmsg_set(why, -EBUSY,
				"the volume cannot do without member %u (%s): too few others are "
				"up to date",
				index, p->path)
		      : 0;
}

/* Its own file, to be made anew, has to be let go first; any other new member is made before. */
static int replace(struct volume *v, unsigned index, struct replacement *r, struct errmsg *why)
{
	const char *former = v->set.places[index].path;
	bool own = r->path && former && strcmp(r->path, former) == 0;
	int err = r->spare < 0 && !r->same && !own ? make_new(v, r, why) : 0;
	if (err == 0)
		err = fail_present(v, index, why);
	if (err == 0 && r->spare < 0 && !r->same)
		err = make_new(v, r, why);
	return err == 0 ? join_replacement(v, index, r, why) : err;
}

int volume_replace_member(
	struct volume *v, unsigned index, const char *path, bool force, struct errmsg *why)
{
	cleanup(replacement_release) struct replacement r = {.force = force};
	int err = check_index(v, index, why);
	if (err < 0)
		return err;
	pthread_mutex_lock(&v->set.manage);
	err = check_replaceable(v, index, why);
	if (err == 0)
		err = choose_path(v, index, path, &r, why);
	if (err == 0)
		err = recognise(v, index, &r, why);
	members_hold_spares(v, true);
	if (err == 0)
		err = replace(v, index, &r, why);
	members_hold_spares(v, false);
	pthread_mutex_unlock(&v->set.manage);
	return err;
}

/* A spare of this volume that is not in hand is taken as it is. */
static int take_or_make(struct volume *v, const char *path, bool force, struct errmsg *why)
{
	struct super super;
	bool ours = prepare_probe(v, path, &super, NULL) == 0 && super.index == SUPER_INDEX_SPARE &&
		    memcmp(super.volume_uuid, v->super.volume_uuid, 16) == 0;
	if (ours && spare_at(v, path) >= 0)
		return errmsg_set(why, -EBUSY, "%s is a spare in hand already", path);
	int err = ours && !force ? 0 : prepare_spare(v, path, force, &super, why);
	return err == 0 ? members_add_spare(v, path, &super, why) : err;
}

int volume_add_spare(struct volume *v, const char *path, bool force, struct errmsg *why)
{
	if (v->read_only)
		return errmsg_set(why, -EROFS, "the volume is open read-only");
	if (geometry_redundancy(&v->geometry) == 0)
		return errmsg_set(why, -EINVAL, "a volume of one member has no use for a spare");
	pthread_mutex_lock(&v->set.manage);
	int err = take_or_make(v, path, force, why);
	pthread_mutex_unlock(&v->set.manage);
	work_wake(v);
	return err;
}
