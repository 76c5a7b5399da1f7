/* SPDX-License-Identifier: MIT */
/* A volume's life: open, serve, close.
 *
 *	open:	members that are up to date (assemble.c) -> intent log, partial-write log
 *		-> system area -> generation (I2) -> stripe engine -> engine thread
 *		-> members that come back (join.c) -> spares -> work thread
 *	close:	no more background work -> flush -> end the threads -> clear the marks
 *		-> superblocks say clean (I3)
 *
 * Threads: the members, the logs and the engine belong to the opening thread, then to the engine
 * thread, then to the closing one; starting and joining the thread is the hand-over. Without
 * threads (simulated tests) volume_wait() runs the engine. `lock` protects waiters and places, and
 * nothing else is called while it is held. */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "volume/generation.h"
#include "volume/sysarea_open.h"

/* ---- open ---- */

static uint64_t timeout_of(const struct volume_open_options *options)
{
	if (options->member_timeout_ns == UINT64_MAX)
		return 0;
	return options->member_timeout_ns ? options->member_timeout_ns : MEMBERS_TIMEOUT_NS;
}

static struct volume *volume_new(const struct volume_open_options *options)
{
	struct volume *v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->factory = options->factory;
	v->events = options->events;
	v->read_only = options->read_only || options->unlocked;
	v->threaded = options->threaded;
	v->timeout_ns = timeout_of(options);
	v->cache_bytes = options->cache_bytes;
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->area_lock, NULL);
	pthread_cond_init(&v->ready, &monotonic);
	pthread_condattr_destroy(&monotonic);
	work_init(v, options);
	return v;
}

/* Former members that nobody closed are closed by members_fini(). */
static void volume_free(struct volume *v)
{
	if (!v)
		return;
	work_stop(v);
	engine_stop(v);
	work_end(v);
	stripe_engine_free(v->eng);
	journal_free(v->journal);
	intent_free(v->intent);
	members_fini(v);
	sysarea_close(v->sysarea);
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
		member_free(v->members[i]);
	io_engine_free(v->io);
	work_fini(v);
	pthread_cond_destroy(&v->ready);
	pthread_mutex_destroy(&v->area_lock);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static void volume_freep(struct volume **v)
{
	volume_free(*v);
}

/* The shape is the same in all superblocks; v->super is the newest. */
static void take_members(struct volume *v, struct assembled *found)
{
	const struct super *s = &found->newest;
	v->super = *s;
	v->geometry = (struct geometry){.level = (enum raid_level)s->level,
		.members = s->members,
		.chunk_blocks = s->chunk_blocks,
		.stripes = s->stripes};
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (found->returning[i].m)
			io_set_timeout(member_file(found->returning[i].m), v->timeout_ns);
		v->members[i] = take_ptr(&found->members[i]);
		if (!v->members[i])
			continue;
		v->supers[i] = *member_super(v->members[i]);
		io_set_timeout(member_file(v->members[i]), v->timeout_ns);
	}
}

/* After a clean end what the partial-write log holds is of the past: it begins anew. */
static int load_journal(struct volume *v, struct errmsg *why)
{
	if (v->super.write_hole != SUPER_HOLE_JOURNAL)
		return 0;
	int err = journal_load(
		v->io, v->members, v->geometry.members, v->super.clean, &v->journal, why);
	if (err < 0 || v->read_only)
		return err;
	return v->super.clean ? journal_begin(v->journal, v->super.generation)
			      : journal_resume(v->journal);
}

/* Writes nothing but, after a clean end, the journal's headers, and else what of it is void. */
static int load(struct volume *v, const struct volume_open_options *options,
	struct assembled *found, struct errmsg *why)
{
	int err = v->factory->engine_new(v->factory, &v->io, why);
	if (err == 0)
		err = assemble_members(v->io, options, found, why);
	if (err < 0)
		return err;
	take_members(v, found);
	err = members_init(v, options, found);
	if (err == 0)
		err = intent_load(v->io, v->members, v->geometry.members, &v->intent, why);
	return err == 0 ? load_journal(v, why) : err;
}

static int open_sysarea(struct volume *v, struct errmsg *why)
{
	struct sysarea_config config = {.factory = v->factory,
		.count = v->geometry.members,
		.read_only = v->read_only,
		.timeout_ns = v->timeout_ns,
		.events = v->events,
		.failed = members_area_failed,
		.ctx = v};
	memcpy(config.members, v->members, sizeof(config.members));
	return sysarea_open(&config, &v->sysarea, why);
}

/* I2: before the first write of any kind. A member that is missing may lack what is marked. */
static int take_generation(struct volume *v, struct errmsg *why)
{
	if (v->read_only)
		return 0;
	int err = members_say(v, why);
	v->marked_dirty = err == 0;
	if (err == 0 && members_missing(v))
		intent_stale_collect(v->intent, false);
	return err;
}

static int start_engine(struct volume *v)
{
	struct stripe_config config = {.io = v->io,
		.geometry = v->geometry,
		.pi = v->super.pi,
		.intent = v->intent,
		.journal = v->journal,
		.hooks = &members_hooks,
		.hooks_ctx = v,
		.events = v->events,
		.read_only = v->read_only,
		.cache_bytes = v->cache_bytes};
	memcpy(config.members, v->members, sizeof(config.members));
	int err = stripe_engine_new(&config, &v->eng);
	return err == 0 && v->threaded ? engine_thread_start(v) : err;
}

static void warn_unclean(const struct volume *v)
{
	uint64_t marked = intent_marked_count(v->intent);
	if (v->read_only && marked)
		log_warn("the volume was not closed cleanly: %" PRIu64
			 " regions may be inconsistent until it is opened for writing",
			marked);
}

static int start(struct volume *v, struct assembled *found, struct errmsg *why)
{
	warn_unclean(v);
	int err = open_sysarea(v, why);
	if (err == 0)
		err = take_generation(v, why);
	if (err == 0)
		err = start_engine(v);
	if (err < 0)
		return err;
	resync_announce(v);
	err = v->threaded ? work_start(v) : 0;
	if (err == 0 && !v->read_only)
		err = members_join_returning(v, found, why);
	if (err == 0 && !v->read_only)
		members_take_spares(v, found);
	work_wake(v);
	return err;
}

int volume_open(const struct volume_open_options *options, struct volume **out, struct errmsg *why)
{
	cleanup(volume_freep) struct volume *v = volume_new(options);
	cleanup(assembled_release) struct assembled found = {0};
	if (!v)
		return errmsg_set(why, -ENOMEM, "out of memory");
	int err = load(v, options, &found, why);
	if (err == 0)
		err = start(v, &found, why);
	if (err < 0)
		return errmsg_set(why, err, "cannot open the volume of %s: %s",
			options->count ? options->paths[0] : "no members", strerror(-err));
	*out = take_ptr(&v);
	return 0;
}

/* ---- close ---- */

/* Did a member fail anything while it was open? Then the marks stay: the next open examines their
 * stripes, which costs little and settles what the failure left behind. */
static bool had_errors(const struct volume *v)
{
	uint64_t errors = intent_failed_members(v->intent);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		if (v->members[i])
			errors += member_stats(v->members[i]).errors;
	}
	return errors > 0;
}

/* I3. The threads have ended. */
static int settle_clean(struct volume *v)
{
	if (stripe_engine_in_doubt(v->eng) || stripe_engine_unsettled(v->eng) || had_errors(v))
		return 0;
	int err = intent_clear_all(v->intent);
	return err < 0 ? err : members_say_clean(v);
}

int volume_close(struct volume *v)
{
	int err = 0;
	work_stop(v);
	if (v->marked_dirty) {
		err = volume_flush(v);
		int ret = sysarea_flush(v->sysarea);
		err = err ? err : ret;
	}
	engine_stop(v);
	work_end(v);
	if (v->marked_dirty && err == 0)
		err = settle_clean(v);
	volume_free(v);
	return err;
}

/* ---- what it is ---- */

struct stripe_engine *volume_engine(struct volume *v)
{
	return v->eng;
}

struct sysarea *volume_sysarea(struct volume *v)
{
	return v->sysarea;
}

const struct super *volume_super(const struct volume *v)
{
	return &v->super;
}

const struct geometry *volume_geometry(const struct volume *v)
{
	return &v->geometry;
}

uint64_t volume_blocks(const struct volume *v)
{
	return geometry_volume_blocks(&v->geometry);
}

bool volume_is_read_only(const struct volume *v)
{
	return v->read_only;
}

bool volume_is_threaded(const struct volume *v)
{
	return v->threaded;
}
