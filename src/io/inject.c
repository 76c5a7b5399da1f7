/* SPDX-License-Identifier: MIT */
/* The injecting engine: a world of armed faults, and engines that ask it on the way to others.
 *
 *	submit -> inject_request.c -> inner engine -> done()
 *
 * Invariants: I1 with nothing armed a request is handed on as it is, on a copy (the inner engine
 * has files of its own). I2 done() runs from io_run() only, as the seam demands: what ends without
 * the inner engine ends by an alarm of it.
 * Not done: io_zero() waits for nothing and leaves no image, so a power cut does not undo it; two
 * writes of the same sectors that are under way at once may leave each other's image wrong.
 * Owning threads: each engine its owner's; the world's lock is for the engines' list and images. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "io/inject_internal.h"

/* ---- files ---- */

static void file_freep(struct inject_file **f)
{
	if (*f)
		free((*f)->name);
	free(*f);
}

static int refuse_open(
	struct inject_world *world, const char *path, unsigned flags, struct errmsg *why)
{
	(void)flags;
	if (atomic_load(&world->cut))
		return errmsg_set(why, -ESHUTDOWN, "cannot open %s: the power is cut", path);
	if (fault_set_is_gone(world->faults, path))
		return errmsg_set(why, -ENODEV, "cannot open %s: the member is gone", path);
	return 0;
}

static int engine_open(struct io_engine *io, const char *path, unsigned flags, uint64_t size_bytes,
	struct io_file **out, struct errmsg *why)
{
	struct inject_engine *e = inject_engine_of(io);
	int ret = refuse_open(e->world, path, flags, why);
	if (ret < 0)
		return ret;
	cleanup(file_freep) struct inject_file *f = calloc(1, sizeof(*f));
	if (f)
		f->name = strdup(path);
	if (!f || !f->name)
		return errmsg_set(why, -ENOMEM, "out of memory");
	f->base.engine = io;
	ret = io_open(e->inner, path, flags, size_bytes, &f->inner, why);
	if (ret < 0)
		return ret;
	list_push_back(&e->files, &f->node);
	*out = &take_ptr(&f)->base;
	return 0;
}

static void engine_close(struct io_file *file)
{
	struct inject_file *f = inject_file_of(file);
	inject_images_restore(inject_engine_of(file->engine));
	io_close(f->inner);
	list_remove(&f->node);
	file_freep(&f);
}

static uint64_t engine_size_bytes(const struct io_file *file)
{
	return io_file_size_bytes(inject_file_of(file)->inner);
}

static void engine_set_timeout(struct io_file *file, uint64_t timeout_ns)
{
	struct inject_file *f = inject_file_of(file);
	f->timeout_ns = timeout_ns;
	f->timed_out = false;
	io_set_timeout(f->inner, timeout_ns);
}

static int engine_zero(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct inject_file *f = inject_file_of(file);
	struct inject_world *world = inject_engine_of(file->engine)->world;
	if (atomic_load(&world->cut))
		return -ESHUTDOWN;
	struct fault_hit hit =
		fault_set_meet(world->faults, f->name, IO_WRITE, offset_bytes, len_bytes);
	if (hit.hit && hit.kind == FAULT_POWER_CUT) {
		inject_world_cut(world);
		return -ESHUTDOWN;
	}
	if (hit.hit && hit.kind == FAULT_HANG)
		return -ETIMEDOUT;
	int ret =
		fault_hit_bend_write(&hit, io_file_size_bytes(f->inner), &offset_bytes, &len_bytes);
	return ret < 0 ? ret : io_zero(f->inner, offset_bytes, len_bytes);
}

/* ---- engines ---- */

static void engine_submit(struct io_engine *io, struct io_req *req)
{
	struct inject_engine *e = inject_engine_of(io);
	if (req->kind == IO_ALARM)
		io_submit(e->inner, req);
	else
		inject_request_start(e, req);
}

static void retry_starved(struct inject_engine *e)
{
	struct list batch;
	list_init(&batch);
	list_splice_back(&batch, &e->starved);
	while (!list_empty(&batch))
		inject_request_start(e, container_of(list_pop_front(&batch), struct io_req, node));
}

static int engine_run(struct io_engine *io, bool wait)
{
	struct inject_engine *e = inject_engine_of(io);
	if (!list_empty(&e->starved))
		retry_starved(e);
	if (!list_empty(&e->held))
		inject_request_release(e);
	int ran = io_run(e->inner, wait && list_empty(&e->starved));
	if (atomic_load_explicit(&e->world->cut, memory_order_relaxed))
		inject_images_restore(e);
	return ran;
}

static void engine_wake(struct io_engine *io)
{
	io_wake(inject_engine_of(io)->inner);
}

static int engine_share(struct io_engine *io)
{
	return io_share(inject_engine_of(io)->inner);
}

static int engine_watch(struct io_engine *io, struct io_watch *watch)
{
	return io_watch(inject_engine_of(io)->inner, watch);
}

static void engine_push(struct io_engine *io)
{
	io_push(inject_engine_of(io)->inner);
}

static void engine_unwatch(struct io_engine *io)
{
	io_unwatch(inject_engine_of(io)->inner);
}

static int engine_register_memory(struct io_engine *io, void *base, uint64_t len_bytes)
{
	return io_register_memory(inject_engine_of(io)->inner, base, len_bytes);
}

static uint64_t engine_now_ns(struct io_engine *io)
{
	return io_now_ns(inject_engine_of(io)->inner);
}

static void free_requests(struct list *requests)
{
	while (!list_empty(requests))
		inject_request_free(
			container_of(list_pop_front(requests), struct inject_req, node));
}

static void engine_free(struct io_engine *io)
{
	struct inject_engine *e = inject_engine_of(io);
	assert(list_empty(&e->files));
	pthread_mutex_lock(&e->world->lock);
	list_remove(&e->node);
	pthread_mutex_unlock(&e->world->lock);
	io_engine_free(e->inner);
	free_requests(&e->busy);
	free_requests(&e->idle);
	free(e);
}

static const struct io_engine_ops inject_ops = {
	.name = "inject",
	.open = engine_open,
	.close = engine_close,
	.size_bytes = engine_size_bytes,
	.zero = engine_zero,
	.set_timeout = engine_set_timeout,
	.submit = engine_submit,
	.run = engine_run,
	.wake = engine_wake,
	.share = engine_share,
	.watch = engine_watch,
	.push = engine_push,
	.unwatch = engine_unwatch,
	.register_memory = engine_register_memory,
	.now_ns = engine_now_ns,
	.free = engine_free,
};

static int engine_new(const struct io_factory *factory, struct io_engine **out, struct errmsg *why)
{
	struct inject_world *world = factory->ctx;
	cleanup(cleanup_freep) struct inject_engine *e = calloc(1, sizeof(*e));
	if (!e)
		return errmsg_set(why, -ENOMEM, "out of memory");
	int ret = world->inner->engine_new(world->inner, &e->inner, why);
	if (ret < 0)
		return ret;
	e->base.ops = &inject_ops;
	e->world = world;
	list_init(&e->files);
	list_init(&e->held);
	list_init(&e->busy);
	list_init(&e->idle);
	list_init(&e->starved);
	pthread_mutex_lock(&world->lock);
	list_push_back(&world->engines, &e->node);
	pthread_mutex_unlock(&world->lock);
	*out = &take_ptr(&e)->base;
	return 0;
}

/* ---- the world ---- */

struct inject_world *inject_world_new(const struct io_factory *inner, uint64_t seed)
{
	struct inject_world *world = calloc(1, sizeof(*world));
	if (!world)
		return NULL;
	world->factory = (struct io_factory){.engine_new = engine_new, .ctx = world};
	world->inner = inner;
	world->faults = fault_set_new(seed);
	pthread_mutex_init(&world->lock, NULL);
	list_init(&world->engines);
	list_init(&world->images);
	if (world->faults)
		return world;
	inject_world_free(world);
	return NULL;
}

void inject_world_free(struct inject_world *world)
{
	if (!world)
		return;
	assert(list_empty(&world->engines));
	atomic_store(&world->keeps_images, false);
	atomic_store(&world->cut, false);
	inject_images_trim(world);
	fault_set_free(world->faults);
	pthread_mutex_destroy(&world->lock);
	free(world);
}

const struct io_factory *inject_world_factory(struct inject_world *world)
{
	return &world->factory;
}

struct fault_set *inject_world_faults(struct inject_world *world)
{
	return world->faults;
}

/* What writes replace is kept while somebody may want it. */
static void prepare(struct inject_world *world)
{
	bool keeps = fault_set_has(world->faults, FAULT_STALE_READ) ||
		     fault_set_has(world->faults, FAULT_POWER_CUT);
	atomic_store(&world->keeps_images, keeps);
	inject_images_trim(world);
}

int inject_world_arm(struct inject_world *world, const struct fault *fault)
{
	/* First, so that no write slips in between. */
	if (fault->kind == FAULT_STALE_READ || fault->kind == FAULT_POWER_CUT)
		atomic_store(&world->keeps_images, true);
	int id = fault_set_arm(world->faults, fault);
	if (id < 0)
		prepare(world);
	return id;
}

/* Requests that hang sleep with their engine. */
static void wake_engines(struct inject_world *world)
{
	pthread_mutex_lock(&world->lock);
	list_for_each (n, &world->engines)
		io_wake(container_of(n, struct inject_engine, node)->inner);
	pthread_mutex_unlock(&world->lock);
}

int inject_world_disarm(struct inject_world *world, int id)
{
	int ret = 0;
	if (id)
		ret = fault_set_disarm(world->faults, id);
	else
		fault_set_disarm_all(world->faults);
	prepare(world);
	wake_engines(world);
	return ret;
}

void inject_world_cut(struct inject_world *world)
{
	pthread_mutex_lock(&world->lock);
	if (!atomic_exchange(&world->cut, true))
		inject_images_decide(world);
	pthread_mutex_unlock(&world->lock);
}

bool inject_world_power_is_cut(struct inject_world *world)
{
	return atomic_load(&world->cut);
}
