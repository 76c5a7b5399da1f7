/* SPDX-License-Identifier: MIT */
/* The stripe engine's frame: what is posted to it, how requests are cut into parts, the run loop.
 *
 * Owner thread: whoever calls stripe_engine_run(). Posting takes post_lock for a list operation and
 * wakes the engine; everything else is the engine thread's alone. */
#include "stripe/internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "stripe/doubt.h"

#define ARENA_DEFAULT_BYTES (UINT64_C(64) << 20)

int stripe_engine_new(const struct stripe_config *config, struct stripe_engine **out)
{
	struct stripe_engine *eng = calloc(1, sizeof(*eng));
	if (!eng)
		return -ENOMEM;
	eng->config = *config;
	eng->slots = geometry_slots(&config->geometry);
	eng->data_slots = geometry_data_slots(&config->geometry);
	eng->tuple_bytes = pi_tuple_bytes(config->pi);
	pthread_mutex_init(&eng->post_lock, NULL);
	list_init(&eng->posted_reqs);
	list_init(&eng->posted_flushes);
	list_init(&eng->posted_checks);
	list_init(&eng->posted_calls);
	list_init(&eng->answered);
	list_init(&eng->flushes_waiting);
	list_init(&eng->flushes_sharing);
	list_init(&eng->to_settle);
	streams_init(eng);
	eng->arena = arena_new(config->arena_bytes ? config->arena_bytes : ARENA_DEFAULT_BYTES);
	if (!eng->arena || membership_init(eng) < 0 || doubt_init(eng) < 0) {
		stripe_engine_free(eng);
		return -ENOMEM;
	}
	if (config->cache_bytes) /* without it the engine reads more, nothing else */
		eng->cache = block_cache_new(config->cache_bytes, eng->tuple_bytes);
	/* Without registration (a memlock limit) transfers cost a little more; nothing else. */
	(void)io_register_memory(config->io, arena_base(eng->arena), arena_len_bytes(eng->arena));
	*out = eng;
	return 0;
}

void stripe_engine_free(struct stripe_engine *eng)
{
	if (!eng)
		return;
	assert(!eng->busy);
	membership_fini(eng);
	doubt_fini(eng);
	arena_free(eng->arena);
	block_cache_free(eng->cache);
	pthread_mutex_destroy(&eng->post_lock);
	free(eng);
}

void *stripe_buffer_alloc(struct stripe_engine *eng, uint32_t len_bytes)
{
	return arena_get(eng->arena, len_bytes);
}

void stripe_buffer_free(struct stripe_engine *eng, void *buf, uint32_t len_bytes)
{
	arena_put(eng->arena, buf, len_bytes);
}

/* ---- posting: any thread ---- */

/* The engine's own thread accepts it before it sleeps: it need not wake itself. */
static void post(struct stripe_engine *eng, struct list *queue, struct list_node *node)
{
	pthread_mutex_lock(&eng->post_lock);
	list_push_back(queue, node);
	pthread_mutex_unlock(&eng->post_lock);
	if (is_engine_thread(eng))
		atomic_store_explicit(&eng->posted_own, true, memory_order_relaxed);
	else
		io_wake(eng->config.io);
}

void stripe_submit(struct stripe_engine *eng, struct stripe_req *req)
{
	post(eng, &eng->posted_reqs, &req->node);
}

void stripe_flush(struct stripe_engine *eng, struct stripe_flush *flush)
{
	post(eng, &eng->posted_flushes, &flush->node);
}

void stripe_check(struct stripe_engine *eng, struct stripe_check *check)
{
	post(eng, &eng->posted_checks, &check->node);
}

void engine_call_post(struct stripe_engine *eng, struct engine_call *call)
{
	post(eng, &eng->posted_calls, &call->node);
}

int stripe_engine_watch(struct stripe_engine *eng, struct io_watch *watch)
{
	assert_engine_thread(eng);
	return io_watch(eng->config.io, watch);
}

void stripe_engine_unwatch(struct stripe_engine *eng)
{
	assert_engine_thread(eng);
	io_unwatch(eng->config.io);
}

void stripe_engine_wake(struct stripe_engine *eng)
{
	io_wake(eng->config.io);
}

/* ---- requests and their parts ---- */

/* Its writer has been told that it is stored. */
static void answered_write_failed(struct stripe_engine *eng, const struct stripe_req *req)
{
	struct event event = event_new(EVENT_MEMBER_ERROR);
	event.writer = req->source->writer;
	event.ino = req->ino;
	event.file_offset_bytes = req->file_offset_bytes;
	event.len_bytes = req->len_bytes;
	event.volume_block = req->offset_bytes / BLOCK_BYTES;
	event.error = req->err;
	event.what = "lost after its answer";
	log_error("a write of %u bytes at byte %llu of inode %llu failed after it had been "
		  "answered: %s",
		req->len_bytes, (unsigned long long)req->file_offset_bytes,
		(unsigned long long)req->ino, strerror(-req->err));
	event_emit(eng->config.events, &event);
}

static void request_done(struct stripe_engine *eng, struct stripe_req *req)
{
	if (req->answered)
		list_remove(&req->node);
	stream_write_ends(eng, req);
	if (req->answered && req->err < 0 && req->err != -ESHUTDOWN)
		answered_write_failed(eng, req);
	req->done(req, req->err);
}

static void request_part_done(struct stripe_engine *eng, struct stripe_req *req, int err)
{
	if (err < 0 && !req->err)
		req->err = err;
	if (--req->pieces == 0)
		request_done(eng, req);
}

void part_logged(struct stripe_engine *eng, struct stripe_part *part)
{
	struct stripe_req *req = part->req;
	assert_engine_thread(eng);
	if (!req->logged || part->logged)
		return;
	part->logged = true;
	if (--req->unlogged || req->err < 0)
		return;
	req->answered = ++eng->answers;
	list_push_back(&eng->answered, &req->node);
	stream_write_ends(eng, req);
	req->logged(req);
}

void part_unlogged(struct stripe_part *part)
{
	if (!part->logged || part->req->answered)
		return;
	part->logged = false;
	part->req->unlogged++;
}

void part_finish(struct stripe_engine *eng, struct stripe_part *part)
{
	assert_engine_thread(eng);
	struct stripe_req *req = part->req;
	struct stripe_check *check = part->check;
	int err = part->err;
	free(part);
	eng->busy--;
	if (req)
		request_part_done(eng, req, err);
	else
		check->done(check, err);
}

static bool in_volume(const struct stripe_engine *eng, const struct stripe_req *req)
{
	uint64_t end = geometry_volume_blocks(&eng->config.geometry) * BLOCK_BYTES;
	return req->len_bytes && req->offset_bytes <= end &&
	       req->len_bytes <= end - req->offset_bytes;
}

static void count_request(struct stripe_engine *eng, const struct stripe_req *req)
{
	bool read = req->kind == STRIPE_READ;
	atomic_store_explicit(
		&eng->last_request_ns, io_now_ns(eng->config.io), memory_order_relaxed);
	counter_add(read ? &eng->count.reads : &eng->count.writes, 1);
	counter_add(read ? &eng->count.read_bytes : &eng->count.write_bytes, req->len_bytes);
	if (!read && req->hold_ns)
		counter_add(&eng->count.held, 1);
}

/* Cut @req at the borders of stripes. The request counts as one piece more while that goes on, so
 * that it cannot end early. */
static void request_split(struct stripe_engine *eng, struct stripe_req *req)
{
	uint64_t stripe_bytes =
		(uint64_t)geometry_stripe_blocks(&eng->config.geometry) * BLOCK_BYTES;
	req->err = 0;
	req->pieces = 1;
	req->unlogged = 0;
	req->answered = 0;
	for (uint32_t at = 0; at < req->len_bytes;) {
		uint64_t offset = req->offset_bytes + at;
		struct stripe_part *part = calloc(1, sizeof(*part));
		if (!part) {
			req->err = -ENOMEM;
			break;
		}
		part->req = req;
		part->req_offset = at;
		part->offset_bytes = (uint32_t)(offset % stripe_bytes);
		part->len_bytes =
			(uint32_t)min_u64(req->len_bytes - at, stripe_bytes - part->offset_bytes);
		at += part->len_bytes;
		req->pieces++;
		req->unlogged++;
		eng->busy++;
		stripe_lock_enqueue(eng, offset / stripe_bytes, part);
	}
	request_part_done(eng, req, 0);
}

static void request_start(struct stripe_engine *eng, struct stripe_req *req)
{
	if (!in_volume(eng, req)) {
		req->done(req, -EINVAL);
		return;
	}
	if (req->kind == STRIPE_WRITE && eng->config.read_only) {
		req->done(req, -EROFS);
		return;
	}
	count_request(eng, req);
	req->stream = NULL;
	if (req->kind == STRIPE_WRITE)
		stream_write_begins(eng, req);
	request_split(eng, req);
}

static void check_start(struct stripe_engine *eng, struct stripe_check *check)
{
	struct stripe_part *part = NULL;
	int err = 0;
	if (check->stripe >= eng->config.geometry.stripes ||
		(check->mode == STRIPE_REBUILD && check->member >= eng->config.geometry.members))
		err = -EINVAL;
	else if (check->mode != STRIPE_CHECK && eng->config.read_only)
		err = -EROFS;
	else if (!(part = calloc(1, sizeof(*part))))
		err = -ENOMEM;
	if (err) {
		check->done(check, err);
		return;
	}
	part->check = check;
	eng->busy++;
	stripe_lock_enqueue(eng, check->stripe, part);
}

/* ---- the run loop ---- */

static void accept_posted(struct stripe_engine *eng)
{
	struct list reqs, flushes, checks, calls;
	list_init(&reqs);
	list_init(&flushes);
	list_init(&checks);
	list_init(&calls);
	atomic_store_explicit(&eng->posted_own, false, memory_order_relaxed);
	pthread_mutex_lock(&eng->post_lock);
	list_splice_back(&reqs, &eng->posted_reqs);
	list_splice_back(&checks, &eng->posted_checks);
	list_splice_back(&calls, &eng->posted_calls);
	list_splice_back(&flushes, &eng->posted_flushes);
	pthread_mutex_unlock(&eng->post_lock);
	struct list_node *n;
	while ((n = list_pop_front(&calls))) {
		struct engine_call *call = container_of(n, struct engine_call, node);
		call->run(call);
	}
	while ((n = list_pop_front(&reqs)))
		request_start(eng, container_of(n, struct stripe_req, node));
	while ((n = list_pop_front(&checks)))
		check_start(eng, container_of(n, struct stripe_check, node));
	while ((n = list_pop_front(&flushes)))
		flush_accept(eng, container_of(n, struct stripe_flush, node));
	flush_start(eng);
}

/* The thread that runs the engine owns it; another may become it while nothing is under way. */
static void take_ownership(struct stripe_engine *eng)
{
	if (is_engine_thread(eng))
		return;
	assert(!eng->busy && !eng->flush_running);
	atomic_store(&eng->owner, pthread_self());
	atomic_store(&eng->has_owner, true);
}

int stripe_engine_run(struct stripe_engine *eng, bool wait)
{
	take_ownership(eng);
	accept_posted(eng);
	membership_run(eng);
	stripe_lock_settle(eng);
	write_log_run(eng);
	bool posted = atomic_load_explicit(&eng->posted_own, memory_order_relaxed);
	eng->unpushed_bytes = 0;
	bool may_block = list_empty(&eng->to_settle) && !membership_is_due(eng) && !posted;
	int ran = io_run(eng->config.io, wait && may_block);
	membership_run(eng);
	stripe_lock_settle(eng);
	write_log_run(eng);
	return ran;
}

bool stripe_engine_idle(struct stripe_engine *eng)
{
	pthread_mutex_lock(&eng->post_lock);
	bool posted = !list_empty(&eng->posted_reqs) || !list_empty(&eng->posted_flushes) ||
		      !list_empty(&eng->posted_checks);
	pthread_mutex_unlock(&eng->post_lock);
	return !posted && !eng->busy && !eng->flush_running && list_empty(&eng->flushes_waiting) &&
	       streams_are_idle(&eng->streams) && membership_is_idle(&eng->membership);
}

uint64_t stripe_engine_last_request_ns(const struct stripe_engine *eng)
{
	return atomic_load_explicit(&eng->last_request_ns, memory_order_relaxed);
}

struct stripe_stats stripe_engine_stats(const struct stripe_engine *eng)
{
	const struct engine_counters *c = &eng->count;
#define LOAD(field) .field = atomic_load_explicit(&c->field, memory_order_relaxed)
	struct stripe_stats s = {LOAD(reads), LOAD(writes), LOAD(read_bytes), LOAD(write_bytes),
		LOAD(plan_full), LOAD(plan_rmw), LOAD(plan_rcw), LOAD(plan_degraded),
		LOAD(plan_copy), LOAD(merged), LOAD(beside), LOAD(repaired_blocks),
		LOAD(unrepairable_blocks), LOAD(refused_writes), LOAD(degraded_reads), LOAD(held),
		LOAD(false_pi_errors), LOAD(repairs_unneeded), LOAD(cache_hits),
		LOAD(cache_misses)};
#undef LOAD
	if (eng->cache) {
		s.cache_bytes = block_cache_bytes_used(eng->cache);
		s.cache_max_bytes = block_cache_capacity(eng->cache);
	}
	return s;
}
