/* SPDX-License-Identifier: MIT */
/* Members that fail, and what the superblocks say.
 *
 *	engine: a write fails --> hook_failed() --> members_can_lose()? place->failing
 *	                          (the engine begins no write from here on: stripe.h)
 *	members_run(): say_locked()	 the others' superblocks say that it is out	(M1)
 *	               engine_take_out() intent log: without it, stale regions collected, synced
 *	                                 stripe engine: without it; what waited goes on	(M2)
 *	               close_retired()	 its files are closed when nobody knows it any more
 *
 * Invariants: M1 the superblocks are durable before the engine goes on without a member, so nobody
 *   is told that a write is done which the member missed before it is out. M2 what a member that is
 *   out may have missed is marked or stale, durably: until the engine goes on without it, it got
 *   every write; what it had not flushed then is still marked; from the collecting on, marks are
 *   stale too. M3 `stale_since` is said with the first member that goes, and taken back when all
 *   are up to date; the stale map is cleared after that. M4 members that are not failing, and up to
 *   date, are never fewer than the level needs. M5 generations grow in two steps (generation.h).
 *
 * A crash between two steps. Before the announcement: the member is in, and no write that it missed
 * was acknowledged. Behind the announcement of some: the same, since nothing is written under it.
 * In the middle of the commit: the member is out, since one member says so; the marks that are
 * found at the next open become stale there (M2). Behind the commit, before the collecting: the
 * same.
 *
 * A member that cannot be written while that is said fails too. Where the array cannot do without
 * it, neither goes: who waits gets the error of the first (place->must_stay), until the members
 * change in another way. */
#include "volume/members.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/log.h"
#include "volume/generation.h"
#include "volume/internal.h"
#include "volume/sysarea_open.h"

/* A former member, until nobody knows it any more. */
struct retiree {
	struct list_node node; /* in set->retiring */
	struct stripe_member_change change;
	struct volume *volume;
	struct member *m; /* owned; NULL: nothing to close */
	unsigned index;
	bool quiet;
};

/* ---- who can go: volume->lock is held ---- */

bool members_can_lose(const struct volume *v, unsigned index)
{
	const struct geometry *g = &v->geometry;
	unsigned good = 0;
	for (unsigned i = 0; i < g->members; i++) {
		const struct place *p = &v->set.places[i];
		good += i != index && p->state == VOLUME_MEMBER_ACTIVE && !p->failing;
	}
	return good >= g->members - geometry_redundancy(g);
}

unsigned members_missing(const struct volume *v)
{
	unsigned n = 0;
	for (unsigned i = 0; i < v->geometry.members; i++)
		n += v->set.places[i].state != VOLUME_MEMBER_ACTIVE &&
		     v->set.places[i].state != VOLUME_MEMBER_REBUILDING;
	return n;
}

unsigned members_not_active(const struct volume *v)
{
	unsigned n = 0;
	for (unsigned i = 0; i < v->geometry.members; i++)
		n += v->set.places[i].state != VOLUME_MEMBER_ACTIVE;
	return n;
}

/* Member @index fails, where the array can do without it. */
static bool decide(struct volume *v, unsigned index, const char *reason)
{
	struct place *p = &v->set.places[index];
	bool in = p->state == VOLUME_MEMBER_ACTIVE || p->state == VOLUME_MEMBER_REBUILDING;
	if (p->failing)
		return true;
	if (v->read_only || (in && (p->must_stay || !members_can_lose(v, index)))) {
		if (!p->told && in)
			log_error("%s (member %u) fails (%s), and the array cannot do without it",
				p->path, index, reason);
		p->told = true;
		return false;
	}
	p->failing = true;
	p->written_out = !in;
	if (in)
		snprintf(p->reason, sizeof(p->reason), "%s", reason);
	pthread_cond_broadcast(&v->ready);
	return true;
}

/* ---- what the engine meets: engine thread ---- */

static bool hook_failed(void *ctx, unsigned index, int err)
{
	struct volume *v = ctx;
	pthread_mutex_lock(&v->lock);
	bool out = err != -ESHUTDOWN && decide(v, index, strerror(-err));
	pthread_mutex_unlock(&v->lock);
	return out;
}

/* Old errors count for less and less: halved every hour. */
static uint64_t score_add(struct place *p, uint64_t now_ns)
{
	uint64_t halvings = (now_ns - p->score_ns) / MEMBERS_HALF_LIFE_NS;
	p->score = halvings < 64 ? p->score >> halvings : 0;
	p->score_ns += halvings * MEMBERS_HALF_LIFE_NS;
	return ++p->score;
}

/* A block that fails its check says nothing against the member: a program that changed its buffer
 * in flight may have made it so, and no program may break a healthy array. */
static void hook_erred(void *ctx, unsigned index, int err)
{
	struct volume *v = ctx;
	pthread_mutex_lock(&v->lock);
	struct place *p = &v->set.places[index];
	bool of_medium = err != -EILSEQ;
	p->check_errors += !of_medium;
	p->read_errors += of_medium;
	if (of_medium && score_add(p, io_now_ns(v->io)) >= v->set.max_errors)
		(void)decide(v, index, "too many errors");
	pthread_mutex_unlock(&v->lock);
}

const struct stripe_member_hooks members_hooks = {.erred = hook_erred, .failed = hook_failed};

/* ---- superblocks: the system area's lock is held ---- */

/* Fill in what is to be said of the members; returns the mask of those that go. */
static uint32_t describe(struct volume *v)
{
	struct super *s = &v->set.says;
	uint32_t out = 0;
	bool all_active = true;
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		const struct place *p = &v->set.places[i];
		s->states[i] = SUPER_MEMBER_MISSING;
		if (p->failing)
			out |= 1u << i;
		else if (p->state == VOLUME_MEMBER_ACTIVE)
			s->states[i] = SUPER_MEMBER_ACTIVE;
		else if (p->state == VOLUME_MEMBER_REBUILDING)
			s->states[i] = SUPER_MEMBER_REBUILDING;
		all_active = all_active && s->states[i] == SUPER_MEMBER_ACTIVE;
	}
	pthread_mutex_unlock(&v->lock);
	if (all_active)
		s->stale_since = 0; /* M3 */
	else if (!s->stale_since)
		s->stale_since = generation_committed(s->generation);
	return out;
}

/* Every member but those of the mask @out. @failed: who could not be written. */
static int write_supers(struct volume *v, uint32_t out, unsigned *failed, struct errmsg *why)
{
	for (unsigned i = 0; i < v->geometry.members; i++) {
		struct member *m = sysarea_member(v->sysarea, i);
		if (!m || out >> i & 1)
			continue;
		struct super *s = member_super(m);
		*s = v->set.says;
		s->index = i;
		memcpy(s->member_uuid, s->peers[i], sizeof(s->member_uuid));
		int err = member_super_write(m);
		if (err < 0) {
			*failed = i;
			return errmsg_set(why, err,
				"%s (member %u): cannot write the superblock: %s", member_path(m),
				i, strerror(-err));
		}
	}
	return 0;
}

/* M5 */
static int advance(struct volume *v, uint32_t out, unsigned *failed, struct errmsg *why)
{
	struct super *s = &v->set.says;
	s->clean = false;
	s->generation |= 1;
	int err = write_supers(v, out, failed, why);
	if (err < 0)
		return err;
	s->generation++;
	return write_supers(v, out, failed, why);
}

/* The members of the mask are out by what the others say: the area goes on without them. */
static void detach(struct volume *v, uint32_t out)
{
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (out >> i & 1)
			member_free(sysarea_detach(v->sysarea, i));
	}
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		v->set.places[i].must_stay = false;
		if (out >> i & 1)
			v->set.places[i].written_out = true;
	}
	pthread_mutex_unlock(&v->lock);
}

static int say_locked(struct volume *v, struct errmsg *why)
{
	uint64_t stale_since = v->set.says.stale_since;
	for (;;) {
		unsigned failed = 0;
		uint32_t out = describe(v);
		int err = advance(v, out, &failed, why);
		if (err == 0) {
			detach(v, out);
			return 0;
		}
		pthread_mutex_lock(&v->lock);
		bool goes = err != -ESHUTDOWN && decide(v, failed, "the superblock");
		pthread_mutex_unlock(&v->lock);
		if (!goes) {
			v->set.says.stale_since = stale_since;
			return err;
		}
	}
}

int members_say(struct volume *v, struct errmsg *why)
{
	sysarea_lock(v->sysarea);
	int err = say_locked(v, why);
	sysarea_unlock(v->sysarea);
	return err;
}

int members_say_clean(struct volume *v)
{
	unsigned failed;
	sysarea_lock(v->sysarea);
	v->set.says.clean = true;
	int err = write_supers(v, 0, &failed, NULL);
	sysarea_unlock(v->sysarea);
	return err;
}

/* The engine is told by the thread that handles changes. */
bool members_area_failed(void *ctx, unsigned index, int err)
{
	struct volume *v = ctx;
	char reason[96];
	snprintf(reason, sizeof(reason), "system area: %s", strerror(-err));
	pthread_mutex_lock(&v->lock);
	bool goes = decide(v, index, reason);
	pthread_mutex_unlock(&v->lock);
	return goes && say_locked(v, NULL) == 0;
}

/* ---- taking out ---- */

void members_tell(struct volume *v, unsigned index, const char *what, const char *detail)
{
	struct event e = event_new(EVENT_MEMBER_STATE);
	e.time_ns = clock_read_ns(CLOCK_REALTIME);
	e.member = (int)index;
	e.what = what;
	event_emit(v->events, &e);
	const char *path = v->set.places[index].path;
	log_warn("%s (member %u): %s%s%s", path ? path : "?", index, what, *detail ? ": " : "",
		detail);
}

static void now_quiet(struct stripe_member_change *change)
{
	struct retiree *r = container_of(change, struct retiree, change);
	struct volume *v = r->volume;
	pthread_mutex_lock(&v->lock);
	r->quiet = true;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

struct going {
	struct engine_errand errand;
	struct intent_sync sync;
	struct retiree *retirees[RAID_MAX_MEMBERS]; /* by index; NULL: stays */
};

/* Engine thread. */
static void leave_engine(struct volume *v, unsigned index, struct retiree *r)
{
	struct place *p = &v->set.places[index];
	pthread_mutex_lock(&v->lock);
	r->m = v->members[index];
	v->members[index] = NULL;
	p->failing = false;
	p->state = VOLUME_MEMBER_FAILED;
	p->vacant = true;
	list_push_back(&v->set.retiring, &r->node);
	pthread_mutex_unlock(&v->lock);
	stripe_engine_set_member(v->eng, index, NULL, false, &r->change);
}

/* Where the log could not be written nothing can be marked either: no write begins (M2). */
static void stale_known(struct intent_sync *sync, int err)
{
	struct going *g = container_of(sync, struct going, sync);
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (g->retirees[i])
			leave_engine(g->errand.volume, i, g->retirees[i]);
	}
	(void)err;
	engine_errand_end(&g->errand, 0);
}

static int leave_logs(struct engine_errand *errand)
{
	struct going *g = container_of(errand, struct going, errand);
	struct volume *v = errand->volume;
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (!g->retirees[i])
			continue;
		hole_set_member(v, i, NULL);
		intent_set_member(v->intent, i, NULL);
	}
	intent_stale_collect(v->intent, false);
	g->sync.done = stale_known;
	intent_sync(v->intent, &g->sync);
	return ENGINE_ERRAND_LATER;
}

static int retirees_make(struct volume *v, uint32_t mask, struct going *g)
{
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (!(mask >> i & 1))
			continue;
		struct retiree *r = g->retirees[i] = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		*r = (struct retiree){.change.quiet = now_quiet, .volume = v, .index = i};
	}
	return 0;
}

static int engine_take_out(struct volume *v, uint32_t mask)
{
	struct going g = {.errand.run = leave_logs};
	int err = retirees_make(v, mask, &g);
	if (err < 0) {
		for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
			free(g.retirees[i]);
		return err;
	}
	(void)engine_errand_run(v, &g.errand);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (mask >> i & 1)
			members_tell(v, i, "failed", v->set.places[i].reason);
	}
	return 0;
}

/* ---- what cannot be taken out ---- */

struct staying {
	struct engine_errand errand;
	uint32_t mask;
};

static int stay_in_engine(struct engine_errand *errand)
{
	struct staying *s = container_of(errand, struct staying, errand);
	struct volume *v = errand->volume;
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (s->mask >> i & 1)
			stripe_engine_set_member(v->eng, i, v->members[i], false, NULL);
	}
	return 0;
}

static void let_stay(struct volume *v, uint32_t mask, int err, const char *why)
{
	struct staying s = {.errand.run = stay_in_engine, .mask = mask};
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (!(mask >> i & 1))
			continue;
		v->set.places[i].failing = false;
		v->set.places[i].must_stay = true;
	}
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
	if (err != -ESHUTDOWN)
		log_error("a member that fails cannot be taken out: %s", why);
	(void)engine_errand_run(v, &s.errand);
}

/* ---- the thread that handles changes ---- */

/* @unwritten: only those of which the superblocks do not say so yet. */
static uint32_t failing_mask(struct volume *v, bool unwritten)
{
	uint32_t mask = 0;
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		const struct place *p = &v->set.places[i];
		if (p->failing && !(unwritten && p->written_out))
			mask |= 1u << i;
	}
	pthread_mutex_unlock(&v->lock);
	return mask;
}

static void take_out_failing(struct volume *v)
{
	struct errmsg why = {0};
	int err = failing_mask(v, true) ? members_say(v, &why) : 0;
	uint32_t unwritten = failing_mask(v, true);
	if (err < 0 && unwritten)
		let_stay(v, unwritten, err, why.text);
	uint32_t out = failing_mask(v, false) & ~failing_mask(v, true);
	if (out && engine_take_out(v, out) < 0)
		let_stay(v, out, -ENOMEM, "out of memory");
}

struct closing {
	struct engine_errand errand;
	struct list closed; /* of retiree */
};

/* Engine thread. The logs may still be writing to the former member: then later. */
static int close_quiet(struct engine_errand *errand)
{
	struct closing *c = container_of(errand, struct closing, errand);
	struct volume *v = errand->volume;
	if (hole_busy(v))
		return 0;
	pthread_mutex_lock(&v->lock);
	list_for_each_safe (n, &v->set.retiring) {
		if (!container_of(n, struct retiree, node)->quiet)
			continue;
		list_remove(n);
		list_push_back(&c->closed, n);
	}
	pthread_mutex_unlock(&v->lock);
	list_for_each (n, &c->closed)
		member_free(container_of(n, struct retiree, node)->m);
	return 0;
}

static void close_retired(struct volume *v)
{
	struct closing c = {.errand.run = close_quiet};
	list_init(&c.closed);
	pthread_mutex_lock(&v->lock);
	bool any = members_pending_locked(v, false);
	pthread_mutex_unlock(&v->lock);
	if (!any)
		return;
	(void)engine_errand_run(v, &c.errand);
	struct list_node *n;
	while ((n = list_pop_front(&c.closed)))
		free(container_of(n, struct retiree, node));
	pthread_mutex_lock(&v->lock);
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

bool members_pending_locked(const struct volume *v, bool urgent)
{
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (v->set.places[i].failing)
			return true;
	}
	if (urgent)
		return false;
	list_for_each (n, &v->set.retiring) {
		if (container_of(n, struct retiree, node)->quiet)
			return true;
	}
	return false;
}

void members_change_begin(struct volume *v)
{
	pthread_mutex_lock(&v->set.change);
	pthread_mutex_lock(&v->lock);
	v->set.changing = true;
	pthread_mutex_unlock(&v->lock);
}

void members_change_end(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	v->set.changing = false;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
	pthread_mutex_unlock(&v->set.change);
	stripe_engine_wake(v->eng); /* it may be waiting for that to stop */
}

void members_run(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	bool inside = v->set.changing && !v->threaded;
	bool pending = members_pending_locked(v, false);
	pthread_mutex_unlock(&v->lock);
	if (inside || !pending)
		return;
	members_change_begin(v);
	take_out_failing(v);
	close_retired(v);
	members_change_end(v);
}

static bool is_retiring(const struct volume *v, unsigned index)
{
	list_for_each (n, &v->set.retiring) {
		if (container_of(n, struct retiree, node)->index == index)
			return true;
	}
	return false;
}

static int nothing(struct engine_errand *errand)
{
	(void)errand;
	return 0;
}

void members_wait_retired(struct volume *v, unsigned index)
{
	pthread_mutex_lock(&v->lock);
	while (is_retiring(v, index)) {
		if (v->threaded) {
			pthread_cond_wait(&v->ready, &v->lock);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		struct engine_errand turn = {.run = nothing};
		(void)engine_errand_run(v, &turn);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- a member that has everything ---- */

static int clear_stale(struct engine_errand *errand)
{
	intent_stale_clear(errand->volume->intent);
	return 0;
}

/* From @from to @to, unless it is failing. */
static bool place_turn(struct volume *v, unsigned index, enum volume_member_state from,
	enum volume_member_state to)
{
	struct place *p = &v->set.places[index];
	pthread_mutex_lock(&v->lock);
	bool turned = p->state == from && !p->failing;
	if (turned)
		p->state = to;
	pthread_mutex_unlock(&v->lock);
	return turned;
}

static int turn_active(struct volume *v, unsigned index)
{
	struct errmsg why = {0};
	if (!place_turn(v, index, VOLUME_MEMBER_REBUILDING, VOLUME_MEMBER_ACTIVE))
		return -ENODEV;
	int err = members_say(v, &why);
	if (err < 0) {
		if (err != -ESHUTDOWN)
			log_error("%s", why.text);
		(void)place_turn(v, index, VOLUME_MEMBER_ACTIVE, VOLUME_MEMBER_REBUILDING);
		return err;
	}
	members_tell(v, index, "active", "");
	sysarea_lock(v->sysarea);
	bool all_active = !v->set.says.stale_since;
	sysarea_unlock(v->sysarea);
	struct engine_errand clear = {.run = clear_stale};
	return all_active ? engine_errand_run(v, &clear) : 0;
}

int members_rebuilt(struct volume *v, unsigned index)
{
	members_change_begin(v);
	int err = turn_active(v, index);
	members_change_end(v);
	return err;
}

/* ---- life ---- */

static void place_init(struct volume *v, const struct assembled *found, unsigned index)
{
	struct place *p = &v->set.places[index];
	const struct member *m = v->members[index];
	p->score_ns = io_now_ns(v->io);
	if (m) {
		p->state = VOLUME_MEMBER_ACTIVE;
		p->path = strdup(member_path(m));
		return;
	}
	p->state = VOLUME_MEMBER_MISSING;
	p->vacant = found->newest.states[index] != SUPER_MEMBER_ACTIVE;
	snprintf(p->reason, sizeof(p->reason), "%s",
		found->absent[index] ? found->absent[index] : "not there");
}

int members_init(
	struct volume *v, const struct volume_open_options *options, const struct assembled *found)
{
	pthread_mutex_init(&v->set.change, NULL);
	pthread_mutex_init(&v->set.manage, NULL);
	list_init(&v->set.retiring);
	v->set.max_errors = options->max_errors ? options->max_errors : MEMBERS_MAX_ERRORS;
	v->set.says = found->newest;
	for (unsigned i = 0; i < v->geometry.members; i++) {
		place_init(v, found, i);
		if (v->members[i] && !v->set.places[i].path)
			return -ENOMEM;
	}
	return 0;
}

/* Nothing waits for quiet any more, and nobody runs. */
void members_fini(struct volume *v)
{
	struct list_node *n;
	if (!v->set.retiring.head.next)
		return;
	while ((n = list_pop_front(&v->set.retiring))) {
		struct retiree *r = container_of(n, struct retiree, node);
		member_free(r->m);
		free(r);
	}
	for (unsigned i = 0; i < v->set.spare_count; i++) {
		member_free(v->set.spares[i].m);
		free(v->set.spares[i].path);
	}
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
		free(v->set.places[i].path);
	pthread_mutex_destroy(&v->set.change);
	pthread_mutex_destroy(&v->set.manage);
}
