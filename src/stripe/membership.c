/* SPDX-License-Identifier: MIT */
/* Members that fail, go and come. Owner thread: the engine's. */
#include "stripe/membership.h"

#include "stripe/internal.h"

/* Regions end with stripes (member/super.h). */
static uint64_t region_stripes(const struct stripe_engine *eng)
{
	for (unsigned i = 0; i < eng->config.geometry.members; i++)
		if (eng->config.members[i])
			return member_super(eng->config.members[i])->region_blocks /
			       eng->config.geometry.chunk_blocks;
	return eng->config.geometry.stripes;
}

int membership_init(struct stripe_engine *eng)
{
	struct membership *ms = &eng->membership;
	eng->region_stripes = region_stripes(eng);
	list_init(&ms->views);
	list_init(&ms->changing);
	list_init(&ms->parked);
	for (unsigned i = 0; i < eng->config.geometry.members; i++)
		if (stripe_set_init(
			    &ms->stale[i], eng->config.geometry.stripes, eng->region_stripes) < 0)
			return -ENOMEM;
	return 0;
}

void membership_fini(struct stripe_engine *eng)
{
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
		stripe_set_fini(&eng->membership.stale[i]);
}

/* ---- views ---- */

void stripe_view_begin(
	struct stripe_engine *eng, struct stripe_view *view, uint64_t stripe, bool exclusive)
{
	*view = (struct stripe_view){
		.stripe = stripe, .exclusive = exclusive, .number = eng->membership.changes};
	for (unsigned slot = 0; slot < eng->slots; slot++) {
		unsigned index = geometry_member(&eng->config.geometry, stripe, slot);
		view->member[slot] = eng->config.members[index];
		if (!view->member[slot] || stripe_set_has(&eng->membership.stale[index], stripe))
			view->missing |= 1u << slot;
	}
	list_push_back(&eng->membership.views, &view->node);
}

void stripe_view_end(struct stripe_view *view)
{
	list_remove(&view->node);
}

/* ---- failures ---- */

/* Members that went are not found. */
static unsigned index_of(const struct stripe_engine *eng, const struct member *m)
{
	unsigned i = 0;
	while (i < eng->config.geometry.members && eng->config.members[i] != m)
		i++;
	return i;
}

enum member_fate engine_member_fate(const struct stripe_engine *eng, const struct member *m)
{
	unsigned index = index_of(eng, m);
	if (index == eng->config.geometry.members)
		return MEMBER_OUT;
	return eng->membership.leaving >> index & 1 ? MEMBER_LEAVES : MEMBER_STAYS;
}

enum member_fate engine_member_failed(struct stripe_engine *eng, const struct member *m, int err)
{
	const struct stripe_member_hooks *hooks = eng->config.hooks;
	enum member_fate fate = engine_member_fate(eng, m);
	assert_engine_thread(eng);
	if (fate != MEMBER_STAYS || !hooks || !hooks->failed)
		return fate;
	unsigned index = index_of(eng, m);
	if (!hooks->failed(eng->config.hooks_ctx, index, err))
		return MEMBER_STAYS;
	if (eng->config.members[index] != m)
		return MEMBER_OUT;
	eng->membership.leaving |= 1u << index;
	return MEMBER_LEAVES;
}

void engine_member_erred(struct stripe_engine *eng, const struct member *m, int err)
{
	const struct stripe_member_hooks *hooks = eng->config.hooks;
	unsigned index = index_of(eng, m);
	if (hooks && hooks->erred && index < eng->config.geometry.members)
		hooks->erred(eng->config.hooks_ctx, index, err);
}

void engine_read_failed(struct stripe_engine *eng, const struct member *m, int err)
{
	if (member_error_is_final(err))
		(void)engine_member_failed(eng, m, err);
	else
		engine_member_erred(eng, m, err);
}

void engine_park(struct stripe_engine *eng, struct engine_parked *parked)
{
	list_push_back(&eng->membership.parked, &parked->node);
}

/* ---- changes ---- */

static void fill_stale(struct stripe_engine *eng, unsigned index)
{
	struct stripe_set *stale = &eng->membership.stale[index];
	for (uint64_t region = 0; region < stale->regions; region++)
		if (intent_is_stale(eng->config.intent, region))
			stripe_set_add_region(stale, region);
}

/* Operations under way write without the member that comes: their stripes are stale for it, though
 * their regions may be marked only now. */
static void fill_under_way(struct stripe_engine *eng, unsigned index)
{
	const struct member *m = eng->config.members[index];
	list_for_each (n, &eng->membership.views) {
		const struct stripe_view *view = container_of(n, struct stripe_view, node);
		unsigned slot = geometry_slot(&eng->config.geometry, view->stripe, index);
		if (view->exclusive && (view->member[slot] != m || slot_missing(view, slot)))
			stripe_set_add(&eng->membership.stale[index], view->stripe);
	}
}

void stripe_engine_set_member(struct stripe_engine *eng, unsigned index, struct member *m,
	bool stale, struct stripe_member_change *change)
{
	struct membership *ms = &eng->membership;
	struct member *former = eng->config.members[index];
	assert_engine_thread(eng);
	eng->config.members[index] = m;
	ms->changes++;
	stripe_cache_forget_all(eng);
	if (m != former) {
		ms->told &= ~(1u << index);
		stripe_set_clear(&ms->stale[index]);
	}
	if (m && stale)
		fill_stale(eng, index);
	if (m && m != former)
		fill_under_way(eng, index);
	bool was_frozen = ms->leaving;
	ms->leaving &= ~(1u << index);
	if (was_frozen && !ms->leaving)
		stripe_lock_unfreeze(eng);
	if (!change)
		return;
	change->number = ms->changes;
	change->former = m == former ? NULL : former;
	list_push_back(&ms->changing, &change->node);
}

static bool change_is_quiet(
	const struct stripe_engine *eng, const struct stripe_member_change *change)
{
	const struct list_node *oldest = eng->membership.views.head.next;
	if (oldest != &eng->membership.views.head &&
		container_of(oldest, struct stripe_view, node)->number < change->number)
		return false;
	if (eng->flush_running && eng->flush_number < change->number)
		return false;
	return !change->former || !member_busy(change->former);
}

static void changes_end(struct stripe_engine *eng)
{
	list_for_each_safe (n, &eng->membership.changing) {
		struct stripe_member_change *change =
			container_of(n, struct stripe_member_change, node);
		if (!change_is_quiet(eng, change))
			return; /* nor are those behind it */
		list_remove(n);
		if (change->quiet)
			change->quiet(change);
	}
}

/* ---- the run loop's part ---- */

/* The logs go on as long as one member takes them; those that did not are out of date. */
static void tell_log_failures(struct stripe_engine *eng)
{
	struct membership *ms = &eng->membership;
	uint32_t failed = eng->config.read_only ? 0 : intent_failed_members(eng->config.intent);
	if (eng->config.journal)
		failed |= journal_failed_members(eng->config.journal);
	failed &= ~(ms->told | ms->leaving);
	for (unsigned i = 0; failed >> i; i++) {
		if (!(failed >> i & 1) || !eng->config.members[i])
			continue;
		ms->told |= 1u << i;
		(void)engine_member_failed(eng, eng->config.members[i], -EIO);
	}
}

static void resume_parked(struct stripe_engine *eng)
{
	struct list parked;
	list_init(&parked);
	if (eng->membership.leaving)
		return;
	list_splice_back(&parked, &eng->membership.parked);
	struct list_node *n;
	while ((n = list_pop_front(&parked))) {
		struct engine_parked *p = container_of(n, struct engine_parked, node);
		p->resume(p);
	}
}

bool membership_is_due(struct stripe_engine *eng)
{
	struct membership *ms = &eng->membership;
	if (!list_empty(&ms->parked) && !ms->leaving)
		return true;
	struct list_node *n = list_first(&ms->changing);
	return n && change_is_quiet(eng, container_of(n, struct stripe_member_change, node));
}

void membership_run(struct stripe_engine *eng)
{
	assert_engine_thread(eng);
	tell_log_failures(eng);
	resume_parked(eng);
	changes_end(eng);
}

/* ---- what others see ---- */

uint64_t stripe_engine_stale(const struct stripe_engine *eng, unsigned member)
{
	return stripe_set_count(&eng->membership.stale[member]);
}

uint64_t stripe_engine_stale_in_region(
	const struct stripe_engine *eng, unsigned member, uint64_t region)
{
	return stripe_set_region_count(&eng->membership.stale[member], region);
}
