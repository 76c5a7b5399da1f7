/* SPDX-License-Identifier: MIT */
/* Flushes: one at a time; those that wait meanwhile share the next.
 *
 *	flush_accept: what was answered early (logged()) is waited for (I9)
 *	flush_start -> (each member) member_flushed -> flush_ended: a member that failed is waited
 *		for until it is out (stripe.h, I8): what the others made durable is what counts
 *		-> flush_finished: done() of all that share it
 *
 * Owner thread: the engine's. */
#include "base/clock.h"
#include "stripe/internal.h"

#define TICK_NS NS_PER_S

static void tick(struct stripe_engine *eng)
{
	uint64_t now = io_now_ns(eng->config.io);
	if (eng->config.read_only || now - eng->last_tick_ns < TICK_NS)
		return;
	eng->last_tick_ns = now;
	intent_idle_tick(eng->config.intent);
}

/* One flush did the work for all of flushes_sharing. */
static void flush_finished(struct stripe_flush *leader)
{
	struct stripe_engine *eng = leader->eng;
	int err = leader->err;
	if (!err && !eng->config.read_only)
		intent_flushed(eng->config.intent, leader->epoch);
	if (!err && eng->config.journal)
		journal_flushed(eng->config.journal, eng->log.epoch);
	struct list sharing;
	list_init(&sharing);
	list_splice_back(&sharing, &eng->flushes_sharing);
	eng->flush_running = NULL;
	struct list_node *n;
	while ((n = list_pop_front(&sharing))) {
		struct stripe_flush *f = container_of(n, struct stripe_flush, node);
		f->done(f, err);
	}
	tick(eng);
	flush_start(eng);
}

static void flush_ended(struct stripe_flush *leader);

static void flush_resumed(struct engine_parked *parked)
{
	struct stripe_engine *eng = container_of(parked, struct stripe_engine, flush_parked);
	flush_ended(eng->flush_running);
}

/* Every member has answered. */
static void flush_ended(struct stripe_flush *leader)
{
	struct stripe_engine *eng = leader->eng;
	for (unsigned i = 0; i < eng->config.geometry.members; i++) {
		if (!(leader->failed >> i & 1))
			continue;
		enum member_fate fate = engine_member_fate(eng, leader->members[i].member);
		if (fate == MEMBER_LEAVES) {
			eng->flush_parked.resume = flush_resumed;
			engine_park(eng, &eng->flush_parked);
			return;
		}
		if (fate == MEMBER_STAYS && !leader->err)
			leader->err = leader->errs[i];
	}
	flush_finished(leader);
}

static void member_flushed(struct member_flush *mf, int err)
{
	struct stripe_flush *leader = mf->owner;
	unsigned index = (unsigned)(mf - leader->members);
	leader->errs[index] = err;
	if (err < 0)
		stripe_cache_forget_all(leader->eng);
	if (member_error_is_its_own(err)) {
		leader->failed |= 1u << index;
		(void)engine_member_failed(leader->eng, mf->member, err);
	} else if (err < 0) {
		leader->err = worse_error(leader->err, err);
	}
	if (--leader->pending == 0)
		flush_ended(leader);
}

void flush_accept(struct stripe_engine *eng, struct stripe_flush *flush)
{
	flush->after = eng->answers;
	list_push_back(&eng->flushes_waiting, &flush->node);
}

/* Those that have nothing to wait for any more; the run loop comes back for the others. */
static void flushes_take(struct stripe_engine *eng)
{
	struct list_node *n = list_first(&eng->answered);
	uint64_t oldest = n ? container_of(n, struct stripe_req, node)->answered : UINT64_MAX;
	while ((n = list_first(&eng->flushes_waiting)) &&
		container_of(n, struct stripe_flush, node)->after < oldest)
		list_push_back(&eng->flushes_sharing, list_pop_front(&eng->flushes_waiting));
}

void flush_start(struct stripe_engine *eng)
{
	if (eng->flush_running)
		return;
	flushes_take(eng);
	if (list_empty(&eng->flushes_sharing))
		return;
	struct stripe_flush *leader =
		container_of(list_first(&eng->flushes_sharing), struct stripe_flush, node);
	eng->flush_running = leader;
	leader->eng = eng;
	leader->err = 0;
	leader->failed = 0;
	leader->pending = 1;
	eng->flush_number = eng->membership.changes;
	leader->epoch = intent_epoch(eng->config.intent);
	if (eng->config.journal)
		eng->log.epoch = journal_epoch(eng->config.journal);
	for (unsigned i = 0; i < eng->config.geometry.members; i++) {
		if (!eng->config.members[i])
			continue;
		leader->pending++;
		leader->members[i] = (struct member_flush){
			.member = eng->config.members[i], .done = member_flushed, .owner = leader};
		member_flush(&leader->members[i]);
	}
	if (--leader->pending == 0)
		flush_ended(leader);
}
