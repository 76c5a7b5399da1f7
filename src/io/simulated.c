/* SPDX-License-Identifier: MIT */
/* The simulated engine: the I/O seam over a sim_world.
 *
 * An engine is a list of completed requests; order, time and media are the world's, which several
 * engines share. done() runs only from the engine's own io_run(), whoever moved the clock.
 * Owning thread: the world's; wake and now_ns are for any. */
#include "io/simulated.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/sim_internal.h"

/* What one io_run() takes, so that a loop that only polls gets on. */
#define RUN_NS NS_PER_US

static struct sim_engine *engine_of(struct io_engine *io)
{
	return container_of(io, struct sim_engine, base);
}

static struct sim_file *file_of(const struct io_file *file)
{
	return container_of(file, struct sim_file, base);
}

/* Find the disk or make it, as the flags say. */
static int take_disk(struct sim_world *world, const char *path, unsigned flags, uint64_t size_bytes,
	struct sim_disk **out, struct errmsg *why)
{
	struct sim_disk *disk = sim_world_find(world, path);
	*out = disk;
	if (disk && fault_set_is_gone(world->faults, path))
		return errmsg_set(why, -ENODEV, "cannot open %s: the disk is gone", path);
	if (disk && flags & IO_OPEN_LOCK && disk->locked)
		return errmsg_set(why, -EBUSY, "%s is in use: somebody has it locked", path);
	if (!(flags & IO_OPEN_CREATE))
		return disk ? 0 : errmsg_set(why, -ENOENT, "cannot open %s: no such disk", path);
	if (size_bytes % SIM_SECTOR_BYTES || flags & IO_OPEN_READONLY)
		return errmsg_set(why, -EINVAL, "cannot create %s: bad size or flags", path);
	if (disk && !(flags & IO_OPEN_REPLACE))
		return errmsg_set(why, -EEXIST, "%s exists already", path);
	if (disk)
		return sim_disk_empty(disk, size_bytes);
	disk = *out = sim_disk_new(path, size_bytes);
	if (!disk)
		return errmsg_set(why, -ENOMEM, "out of memory");
	list_push_back(&world->disks, &disk->node);
	return 0;
}

static int engine_open(struct io_engine *io, const char *path, unsigned flags, uint64_t size_bytes,
	struct io_file **out, struct errmsg *why)
{
	struct sim_world *world = engine_of(io)->world;
	if (world->power_cut)
		return errmsg_set(why, -ESHUTDOWN, "cannot open %s: the power is cut", path);
	cleanup(cleanup_freep) struct sim_file *f = calloc(1, sizeof(*f));
	if (!f)
		return errmsg_set(why, -ENOMEM, "out of memory");
	int ret = take_disk(world, path, flags, size_bytes, &f->disk, why);
	if (ret < 0)
		return ret;
	f->base.engine = io;
	f->readonly = flags & IO_OPEN_READONLY;
	f->holds_lock = flags & IO_OPEN_LOCK;
	if (f->holds_lock)
		f->disk->locked = true;
	*out = &f->base;
	f = NULL;
	return 0;
}

static void engine_close(struct io_file *file)
{
	struct sim_file *f = file_of(file);
	assert(f->under_way == 0);
	if (f->holds_lock)
		f->disk->locked = false;
	free(f);
}

static uint64_t engine_size_bytes(const struct io_file *file)
{
	return file_of(file)->disk->size_bytes;
}

static int engine_zero(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct sim_file *f = file_of(file);
	struct sim_world *world = engine_of(file->engine)->world;
	if (world->power_cut)
		return -ESHUTDOWN;
	if (f->readonly)
		return -EBADF;
	if ((offset_bytes | len_bytes) % SIM_SECTOR_BYTES)
		return -EINVAL;
	if (!sim_disk_holds(f->disk, offset_bytes, len_bytes))
		return -ENOSPC;
	/* It is complete on return, as if its done() had run. */
	struct sim_write zeros = {.offset_bytes = offset_bytes,
		.len_bytes = len_bytes,
		.acked_at = ++world->completions};
	if (len_bytes == 0)
		return 0;
	struct sim_outcome out = sim_world_write(world, f->disk, NULL, zeros);
	return out.hung_by ? -ETIMEDOUT : out.result;
}

static void engine_set_timeout(struct io_file *file, uint64_t timeout_ns)
{
	file_of(file)->timeout_ns = timeout_ns;
	file_of(file)->timed_out = false;
}

/* What O_DIRECT, the kernel and the size of the disk would say to the request at once. */
static int request_error(const struct io_req *req)
{
	const struct sim_file *f = file_of(req->file);
	uint64_t len_bytes = 0, bits = req->offset_bytes;
	for (unsigned i = 0; i < req->iov_count; i++) {
		len_bytes += req->iov[i].iov_len;
		bits |= req->iov[i].iov_len | (uintptr_t)req->iov[i].iov_base;
	}
	if (bits % SIM_SECTOR_BYTES || req->iov_count > IO_MAX_IOV)
		return -EINVAL;
	if (req->kind == IO_WRITE && f->readonly)
		return -EBADF;
	if (!sim_disk_holds(f->disk, req->offset_bytes, len_bytes))
		return req->kind == IO_READ ? -EIO : -ENOSPC;
	return 0;
}

static void engine_submit(struct io_engine *io, struct io_req *req)
{
	struct sim_engine *e = engine_of(io);
	req->engine = io;
	req->result = 0;
	if (req->kind == IO_READ || req->kind == IO_WRITE)
		req->result = request_error(req);
	if (req->kind != IO_ALARM)
		file_of(req->file)->under_way++;
	if (req->kind != IO_ALARM && !req->result && file_of(req->file)->timed_out)
		req->result = -ETIMEDOUT;
	e->under_way++;
	sim_world_add(e->world, req);
}

static void finish(struct sim_engine *e, struct io_req *req)
{
	struct sim_world *world = e->world;
	int err = world->power_cut ? -ESHUTDOWN : req->result;
	if (err == 0 && req->kind == IO_WRITE && req->durable && !world->ignores_flushes)
		sim_disk_flush_write(file_of(req->file)->disk, req);
	world->completions++;
	sim_disk_acknowledge(req, err ? 0 : world->completions);
	e->under_way--;
	if (req->kind != IO_ALARM)
		file_of(req->file)->under_way--;
	req->done(req, err);
}

static int finish_completed(struct sim_engine *e)
{
	struct list batch;
	int ran = 0;
	list_init(&batch);
	list_splice_back(&batch, &e->completed);
	for (; !list_empty(&batch); ran++)
		finish(e, container_of(list_pop_front(&batch), struct io_req, node));
	return ran;
}

static int engine_run(struct io_engine *io, bool wait)
{
	struct sim_engine *e = engine_of(io);
	sim_world_pass(e->world, RUN_NS);
	while (sim_world_step(e->world, e->world->now_ns))
		;
	int ran = finish_completed(e);
	while (wait && ran == 0 && e->under_way && !atomic_load(&e->woken)) {
		bool moved = sim_world_step(e->world, UINT64_MAX);
		ran = finish_completed(e);
		if (!moved)
			break; /* all that is under way hangs */
	}
	if (ran == 0)
		atomic_exchange(&e->woken, false);
	return ran;
}

static void engine_wake(struct io_engine *io)
{
	atomic_store(&engine_of(io)->woken, true);
}

static int engine_register_memory(struct io_engine *io, void *base, uint64_t len_bytes)
{
	(void)io, (void)base, (void)len_bytes;
	return 0;
}

static uint64_t engine_now_ns(struct io_engine *io)
{
	return engine_of(io)->world->now_ns;
}

static void engine_free(struct io_engine *io)
{
	struct sim_engine *e = engine_of(io);
	list_for_each (n, &e->completed)
		sim_disk_acknowledge(container_of(n, struct io_req, node), 0);
	sim_world_forget(e->world, e);
	e->world->engine_count--;
	free(e);
}

static const struct io_engine_ops simulated_ops = {
	.name = "simulated",
	.open = engine_open,
	.close = engine_close,
	.size_bytes = engine_size_bytes,
	.zero = engine_zero,
	.set_timeout = engine_set_timeout,
	.submit = engine_submit,
	.run = engine_run,
	.wake = engine_wake,
	.register_memory = engine_register_memory,
	.now_ns = engine_now_ns,
	.free = engine_free,
};

int sim_engine_new(struct sim_world *world, struct io_engine **out)
{
	struct sim_engine *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->base.ops = &simulated_ops;
	e->world = world;
	list_init(&e->completed);
	world->engine_count++;
	*out = &e->base;
	return 0;
}

static int factory_engine_new(
	const struct io_factory *factory, struct io_engine **out, struct errmsg *why)
{
	int ret = sim_engine_new(factory->ctx, out);
	return ret < 0 ? errmsg_set(why, ret, "out of memory") : 0;
}

struct io_factory sim_factory(struct sim_world *world)
{
	return (struct io_factory){.engine_new = factory_engine_new, .ctx = world};
}
