/* SPDX-License-Identifier: MIT */
/* A volume's life: open, serve, wait, close.
 *
 *	open:	members (assemble.c) -> intent log -> generation (I2) -> system area
 *		-> stripe engine -> engine thread -> resync of marked regions
 *	close:	flush -> end the thread -> clear the marks -> superblocks say clean (I3)
 *
 * Threads: the members, the intent log and the engine belong to the opening thread, then to the
 * engine thread, then to the closing one; starting and joining the thread is the hand-over. Without
 * a thread (simulated tests) volume_wait() runs the engine. `lock` protects waiters only, and
 * nothing else is called while it is held. */
#include "volume/internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "volume/generation.h"
#include "volume/sysarea_open.h"

#define PIECE_BYTES 1048576u

/* ---- the engine thread ---- */

/* Nothing of the engine's own is under way either: repairs, marks on their way out. */
static bool is_quiet(const struct volume *v)
{
	return stripe_engine_idle(v->eng) && !intent_busy(v->intent);
}

static void *engine_thread(void *arg)
{
	struct volume *v = arg;
	while (!atomic_load(&v->stop) || !is_quiet(v)) {
		int ret = stripe_engine_run(v->eng, true);
		if (ret >= 0)
			continue;
		log_error("the I/O engine fails: %s", strerror(-ret));
		if (atomic_load(&v->stop))
			break;
		nanosleep(&(struct timespec){.tv_nsec = 100 * (long)NS_PER_MS}, NULL);
	}
	return NULL;
}

/* Signals are for the threads that the program meant for them. */
static int thread_start(struct volume *v)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&v->thread, NULL, engine_thread, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	v->has_thread = true;
	pthread_setname_np(v->thread, "stablefs-engine");
	return 0;
}

/* The engine stops for good, when it is quiet. */
static void engine_stop(struct volume *v)
{
	if (!v->eng || atomic_exchange(&v->stop, true))
		return;
	while (!v->has_thread && !is_quiet(v)) {
		if (stripe_engine_run(v->eng, true) < 0)
			return;
	}
	if (!v->has_thread)
		return;
	stripe_engine_wake(v->eng);
	pthread_join(v->thread, NULL);
	v->has_thread = false;
}

/* ---- waiting ---- */

/* Without a thread: run the engine. Where nothing is under way any more and nobody signalled,
 * nobody ever will: that is a bug of the caller. */
static void wait_running(struct volume *v, struct volume_waiter *waiter)
{
	unsigned idle_turns = 0;
	while (!waiter->ready) {
		int ret = stripe_engine_run(v->eng, true);
		idle_turns = ret == 0 && stripe_engine_idle(v->eng) ? idle_turns + 1 : 0;
		assert(ret >= 0 && idle_turns < 1000);
	}
}

void volume_wait(struct volume *v, struct volume_waiter *waiter)
{
	if (!v->threaded) {
		wait_running(v, waiter);
		return;
	}
	pthread_mutex_lock(&v->lock);
	while (!waiter->ready)
		pthread_cond_wait(&v->ready, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

/* The waiter may be gone once the lock is released. */
void volume_signal(struct volume *v, struct volume_waiter *waiter, int err)
{
	pthread_mutex_lock(&v->lock);
	waiter->err = err;
	waiter->ready = true;
	pthread_cond_broadcast(&v->ready);
	pthread_mutex_unlock(&v->lock);
}

/* ---- open ---- */

static struct volume *volume_new(const struct volume_open_options *options)
{
	struct volume *v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->read_only = options->read_only || options->unlocked;
	v->threaded = options->threaded;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->ready, NULL);
	return v;
}

static void volume_free(struct volume *v)
{
	if (!v)
		return;
	engine_stop(v);
	stripe_engine_free(v->eng);
	sysarea_close(v->sysarea);
	intent_free(v->intent);
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++)
		member_free(v->members[i]);
	io_engine_free(v->io);
	pthread_cond_destroy(&v->ready);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static void volume_freep(struct volume **v)
{
	volume_free(*v);
}

/* The members, their shape and their log. Writes nothing. */
static int load_members(
	struct volume *v, const struct volume_open_options *options, struct errmsg *why)
{
	int err = options->factory->engine_new(options->factory, &v->io, why);
	if (err == 0)
		err = assemble_members(v->io, options, v->members, why);
	if (err < 0)
		return err;
	const struct super *s = volume_super(v);
	v->geometry = (struct geometry){.level = (enum raid_level)s->level,
		.members = s->members,
		.chunk_blocks = s->chunk_blocks,
		.stripes = s->stripes};
	return intent_load(v->io, v->members, v->geometry.members, &v->intent, why);
}

/* I2: before the first write of any kind. */
static int take_generation(struct volume *v, struct errmsg *why)
{
	if (v->read_only)
		return 0;
	int err = generation_advance(v->members, v->geometry.members, why);
	v->marked_dirty = err == 0;
	return err;
}

static int open_sysarea(struct volume *v, const struct io_factory *factory, struct errmsg *why)
{
	struct sysarea_config config = {
		.factory = factory, .count = v->geometry.members, .read_only = v->read_only};
	memcpy(config.members, v->members, sizeof(config.members));
	return sysarea_open(&config, &v->sysarea, why);
}

static int start_engine(struct volume *v, struct event_sink *events)
{
	struct stripe_config config = {.io = v->io,
		.geometry = v->geometry,
		.pi = volume_super(v)->pi,
		.intent = v->intent,
		.events = events,
		.read_only = v->read_only};
	memcpy(config.members, v->members, sizeof(config.members));
	int err = stripe_engine_new(&config, &v->eng);
	return err == 0 && v->threaded ? thread_start(v) : err;
}

/* Marks are looked at before the thread owns the log, and worked off when it runs. */
static int serve_and_resync(struct volume *v, struct event_sink *events, struct errmsg *why)
{
	cleanup(cleanup_freep) struct resync *resync = NULL;
	int err = resync_collect(v, &resync);
	if (err == 0)
		err = start_engine(v, events);
	return err == 0 && resync ? resync_run(resync, why) : err;
}

int volume_open(const struct volume_open_options *options, struct volume **out, struct errmsg *why)
{
	cleanup(volume_freep) struct volume *v = volume_new(options);
	if (!v)
		return errmsg_set(why, -ENOMEM, "out of memory");
	int err = load_members(v, options, why);
	if (err == 0)
		err = take_generation(v, why);
	if (err == 0)
		err = open_sysarea(v, options->factory, why);
	if (err == 0)
		err = serve_and_resync(v, options->events, why);
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

/* Members that the system area left out are not written again: their superblocks stay behind. */
static void present_for_close(struct volume *v, struct member *present[RAID_MAX_MEMBERS])
{
	uint32_t dropped = sysarea_dropped(v->sysarea);
	for (unsigned i = 0; i < v->geometry.members; i++) {
		present[i] = dropped >> i & 1 ? NULL : v->members[i];
		if (!present[i])
			continue;
		struct super *super = member_super(present[i]);
		super->generation = sysarea_generation(v->sysarea);
		for (unsigned j = 0; j < v->geometry.members; j++) {
			if (dropped >> j & 1)
				super->states[j] = SUPER_MEMBER_MISSING;
		}
	}
}

/* I3. The engine thread has ended. */
static int settle_clean(struct volume *v)
{
	struct member *present[RAID_MAX_MEMBERS] = {NULL};
	if (v->resync_failed || had_errors(v))
		return 0;
	int err = intent_clear_all(v->intent);
	if (err < 0)
		return err;
	present_for_close(v, present);
	return generation_mark_clean(present, v->geometry.members);
}

int volume_close(struct volume *v)
{
	int err = 0;
	if (v->marked_dirty) {
		err = volume_flush(v);
		int ret = sysarea_flush(v->sysarea);
		err = err ? err : ret;
	}
	engine_stop(v);
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
	for (unsigned i = 0; i < RAID_MAX_MEMBERS; i++) {
		if (v->members[i])
			return member_super(v->members[i]);
	}
	return NULL;
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

struct volume_member_info volume_member(struct volume *v, unsigned index)
{
	const struct member *m = index < RAID_MAX_MEMBERS ? v->members[index] : NULL;
	struct volume_member_info info = {.state = VOLUME_MEMBER_MISSING};
	if (!m)
		return info;
	snprintf(info.path, sizeof(info.path), "%s", member_path(m));
	info.present = true;
	info.state = VOLUME_MEMBER_ACTIVE;
	info.stats = member_stats(m);
	return info;
}

const struct super *volume_member_super(const struct volume *v, unsigned index)
{
	struct member *m = index < RAID_MAX_MEMBERS ? v->members[index] : NULL;
	return m ? member_super(m) : NULL;
}

unsigned volume_missing(const struct volume *v)
{
	unsigned missing = 0;
	for (unsigned i = 0; i < v->geometry.members; i++)
		missing += v->members[i] == NULL;
	return missing;
}

/* ---- blocking transfers ---- */

struct blocking {
	struct volume *volume;
	struct volume_waiter waiter;
	struct stripe_req req;
	struct stripe_flush flush;
};

static void transfer_done(struct stripe_req *req, int err)
{
	struct blocking *b = container_of(req, struct blocking, req);
	volume_signal(b->volume, &b->waiter, err);
}

static void flush_done(struct stripe_flush *flush, int err)
{
	struct blocking *b = container_of(flush, struct blocking, flush);
	volume_signal(b->volume, &b->waiter, err);
}

int volume_flush(struct volume *v)
{
	struct blocking b = {.volume = v, .flush.done = flush_done};
	stripe_flush(v->eng, &b.flush);
	volume_wait(v, &b.waiter);
	return b.waiter.err;
}

/* @data is aligned; at most PIECE_BYTES. */
static int transfer_piece(
	struct volume *v, enum stripe_kind kind, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct source source;
	struct blocking b = {.volume = v,
		.req = {.kind = kind,
			.offset_bytes = offset,
			.len_bytes = len,
			.done = transfer_done}};
	if (kind == STRIPE_WRITE) {
		source_init_bounce(&source, data, len);
		b.req.source = &source;
	} else {
		b.req.data = data;
	}
	stripe_submit(v->eng, &b.req);
	volume_wait(v, &b.waiter);
	return b.waiter.err;
}

int volume_read(struct volume *v, uint64_t offset_bytes, void *buf, uint32_t len_bytes)
{
	cleanup(cleanup_freep) uint8_t *bounce = mem_alloc_blocks(PIECE_BYTES);
	if (!bounce)
		return -ENOMEM;
	for (uint32_t done = 0; done < len_bytes;) {
		uint32_t len = (uint32_t)min_u64(len_bytes - done, PIECE_BYTES);
		int err = transfer_piece(v, STRIPE_READ, offset_bytes + done, bounce, len);
		if (err < 0)
			return err;
		memcpy((uint8_t *)buf + done, bounce, len);
		done += len;
	}
	return 0;
}

int volume_write(struct volume *v, uint64_t offset_bytes, const void *buf, uint32_t len_bytes)
{
	cleanup(cleanup_freep) uint8_t *bounce = mem_alloc_blocks(PIECE_BYTES);
	if (!bounce)
		return -ENOMEM;
	for (uint32_t done = 0; done < len_bytes;) {
		uint32_t len = (uint32_t)min_u64(len_bytes - done, PIECE_BYTES);
		memcpy(bounce, (const uint8_t *)buf + done, len);
		int err = transfer_piece(v, STRIPE_WRITE, offset_bytes + done, bounce, len);
		if (err < 0)
			return err;
		done += len;
	}
	return 0;
}
