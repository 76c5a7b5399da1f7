/* SPDX-License-Identifier: MIT */
/* One request on its way through the injecting engine.
 *
 *	start -> fault? --error, lost--> settle -> (alarm) -> end
 *	           |    --latency, hang--> held -> (alarm, disarmed) -> go on
 *	           v                         | deadline: time_out -> end
 *	         go_on --images are kept--> read what is there -> old_data_read
 *	           |                                                  |
 *	           +---------------> send <---------------------------+
 *	                               | sent_done: stale bytes, a flipped bit
 *	                               +-> end -> the caller's done()
 *
 * Invariants: I1 a request ends once: outer is NULL from then on. I2 its memory is reused only when
 * neither its transfer nor an alarm of it is with the inner engine. I3 once the power is cut
 * nothing is sent but the part of a write that the cut met.
 * Owning thread: the engine's. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/mem.h"
#include "io/draw.h"
#include "io/inject_internal.h"

#define SECTOR_BYTES 512u

static struct inject_req *req_of_inner(struct io_req *inner)
{
	return container_of(inner, struct inject_req, inner);
}

static struct inject_req *req_of_held(struct list_node *node)
{
	return container_of(node, struct inject_req, held);
}

static struct inject_file *file_of(const struct inject_req *r)
{
	return inject_file_of(r->outer->file);
}

static bool is_cut(const struct inject_req *r)
{
	return atomic_load_explicit(&r->engine->world->cut, memory_order_relaxed);
}

/* ---- memory ---- */

static struct inject_req *take(struct inject_engine *e)
{
	struct inject_req *r;
	if (!list_empty(&e->idle)) {
		r = container_of(list_pop_front(&e->idle), struct inject_req, node);
	} else {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		list_node_init(&r->held);
		r->engine = e;
	}
	list_push_back(&e->busy, &r->node);
	return r;
}

static void drop_memory(struct inject_req *r)
{
	free(r->iov);
	free(r->buf);
	r->iov = NULL;
	r->buf = NULL;
}

void inject_request_free(struct inject_req *r)
{
	drop_memory(r);
	free(r);
}

static void recycle(struct inject_req *r)
{
	if (r->outer || r->pending) /* I1, I2 */
		return;
	drop_memory(r);
	list_remove(&r->node);
	list_push_front(&r->engine->idle, &r->node);
}

/* ---- the end ---- */

static void end(struct inject_req *r, int err)
{
	struct io_req *outer = r->outer;
	if (err == -ETIMEDOUT)
		file_of(r)->timed_out = true;
	if (is_cut(r))
		err = -ESHUTDOWN;
	r->outer = NULL;
	list_remove(&r->held);
	recycle(r);
	outer->done(outer, err);
}

static void settled(struct io_req *alarm, int err)
{
	struct inject_req *r = container_of(alarm, struct inject_req, settling);
	(void)err;
	r->pending--;
	end(r, r->result);
}

static void set_alarm(struct inject_req *r, struct io_req *alarm, uint64_t due_ns,
	void (*done)(struct io_req *req, int err))
{
	*alarm = (struct io_req){.kind = IO_ALARM, .due_ns = due_ns, .done = done};
	r->pending++;
	io_submit(r->engine->inner, alarm);
}

/* End it from io_run(), without a transfer. */
static void settle(struct inject_req *r, int err)
{
	r->result = err;
	set_alarm(r, &r->settling, io_now_ns(r->engine->inner), settled);
}

/* ---- the transfer ---- */

static void send(struct inject_req *r, void (*done)(struct io_req *req, int err))
{
	r->inner.done = done;
	r->pending++;
	io_submit(r->engine->inner, &r->inner);
}

/* A transfer of our own, of what is in buf. */
static void send_own(struct inject_req *r, enum io_kind kind, uint64_t offset_bytes,
	uint64_t len_bytes, void (*done)(struct io_req *req, int err))
{
	r->one = (struct iovec){.iov_base = r->buf, .iov_len = len_bytes};
	r->inner = (struct io_req){.kind = kind,
		.file = file_of(r)->inner,
		.offset_bytes = offset_bytes,
		.iov = &r->one,
		.iov_count = 1};
	send(r, done);
}

static uint64_t total_bytes(const struct io_req *req)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < req->iov_count; i++)
		total += req->iov[i].iov_len;
	return total;
}

static void flip_stored(struct io_req *inner, int err)
{
	struct inject_req *r = req_of_inner(inner);
	r->pending--;
	(void)err; /* the reader got the flipped bit in any case */
	end(r, 0);
}

/* The sector at byte @at of what was read. */
static uint8_t *sector_of(const struct io_req *req, uint64_t at)
{
	for (unsigned i = 0; i < req->iov_count; i++) {
		if (at < req->iov[i].iov_len)
			return (uint8_t *)req->iov[i].iov_base + at;
		at -= req->iov[i].iov_len;
	}
	return NULL;
}

/* What is written back is as large as the reader's own unit, so that the device takes it. */
static void flip_bit(struct inject_req *r)
{
	const struct io_req *outer = r->outer;
	uint64_t at, len_bytes = total_bytes(outer);
	unsigned bit;
	fault_hit_choose_bit(&r->hit, &at, &bit);
	uint64_t unit =
		(outer->offset_bytes | len_bytes) % BLOCK_BYTES ? SECTOR_BYTES : BLOCK_BYTES;
	uint64_t start = round_down_u64(at, unit);
	*sector_of(outer, at - outer->offset_bytes) ^= (uint8_t)(1u << bit);
	r->buf = mem_alloc_blocks(unit);
	if (!r->buf) {
		end(r, -ENOMEM);
		return;
	}
	for (uint64_t i = 0; i < unit; i += SECTOR_BYTES)
		memcpy(r->buf + i, sector_of(outer, start - outer->offset_bytes + i), SECTOR_BYTES);
	send_own(r, IO_WRITE, start, unit, flip_stored);
}

static void read_done(struct inject_req *r, int err)
{
	struct io_req *outer = r->outer;
	if (err == 0 && r->hit.hit && r->hit.kind == FAULT_BIT_FLIP) {
		flip_bit(r);
		return;
	}
	if (err == 0 && r->hit.hit && r->hit.kind == FAULT_STALE_READ)
		inject_images_overlay(r->engine->world, file_of(r)->name, outer->offset_bytes,
			outer->iov, outer->iov_count);
	end(r, err);
}

static void sent_done(struct io_req *inner, int err)
{
	struct inject_req *r = req_of_inner(inner);
	struct inject_world *world = r->engine->world;
	r->pending--;
	switch (inner->kind) {
	case IO_READ:
		read_done(r, err);
		return;
	case IO_WRITE:
		if (r->image)
			inject_image_written(world, r->image, err == 0 && inner->durable);
		break;
	case IO_FLUSH:
		if (err == 0 && r->covers)
			inject_images_flushed(world, file_of(r)->name, r->covers);
		break;
	case IO_ALARM:
		break;
	}
	end(r, err);
}

/* The caller's transfer, as the fault has left it. */
static void fill_inner(struct inject_req *r, uint64_t offset_bytes)
{
	const struct io_req *outer = r->outer;
	r->inner = (struct io_req){.kind = outer->kind,
		.file = file_of(r)->inner,
		.offset_bytes = offset_bytes,
		.iov = r->iov ? r->iov : outer->iov,
		.iov_count = outer->iov_count,
		.durable = outer->durable};
	while (r->iov && r->inner.iov_count && !r->iov[r->inner.iov_count - 1].iov_len)
		r->inner.iov_count--;
}

/* What the write replaces is in buf. */
static void old_data_read(struct io_req *inner, int err)
{
	struct inject_req *r = req_of_inner(inner);
	uint64_t offset_bytes = inner->offset_bytes, len_bytes = r->one.iov_len;
	uint8_t *old = r->buf;
	r->pending--;
	r->buf = NULL;
	if (err < 0) {
		free(old);
		end(r, err);
		return;
	}
	r->image =
		inject_image_add(r->engine->world, file_of(r)->name, offset_bytes, len_bytes, old);
	if (!r->image) {
		end(r, -ENOMEM); /* or the power is cut: I3 */
		return;
	}
	fill_inner(r, offset_bytes);
	send(r, sent_done);
}

static void go_on(struct inject_req *r)
{
	struct inject_world *world = r->engine->world;
	uint64_t len_bytes = total_bytes(&r->inner);
	if (is_cut(r)) {
		settle(r, -ESHUTDOWN); /* I3 */
		return;
	}
	if (!atomic_load_explicit(&world->keeps_images, memory_order_relaxed)) {
		send(r, sent_done);
		return;
	}
	if (r->inner.kind == IO_FLUSH)
		r->covers = inject_images_acked(world);
	if (r->inner.kind != IO_WRITE) {
		send(r, sent_done);
		return;
	}
	r->buf = mem_alloc_blocks(len_bytes);
	if (r->buf)
		send_own(r, IO_READ, r->inner.offset_bytes, len_bytes, old_data_read);
	else
		settle(r, -ENOMEM);
}

/* ---- held back ---- */

/* One was out of time: who is held beside it does not wait as long. */
static void time_out(struct inject_engine *e, struct inject_file *f)
{
	struct list late;
	list_init(&late);
	f->timed_out = true;
	list_for_each_safe (n, &e->held) {
		if (file_of(req_of_held(n)) != f)
			continue;
		list_remove(n);
		list_push_back(&late, n);
	}
	while (!list_empty(&late))
		end(req_of_held(list_first(&late)), -ETIMEDOUT);
}

static void hold_over(struct io_req *alarm, int err)
{
	struct inject_req *r = container_of(alarm, struct inject_req, holding);
	(void)err;
	r->pending--;
	if (!r->outer || !list_linked(&r->held)) {
		recycle(r); /* it ended, or went on, before */
		return;
	}
	if (r->resume_ns > alarm->due_ns) {
		time_out(r->engine, file_of(r));
		return;
	}
	list_remove(&r->held);
	go_on(r);
}

static void hold(struct inject_req *r, uint64_t resume_ns)
{
	uint64_t timeout_ns = file_of(r)->timeout_ns, due_ns = resume_ns;
	if (timeout_ns)
		due_ns = min_u64(due_ns, io_now_ns(r->engine->inner) + timeout_ns);
	r->resume_ns = resume_ns;
	list_push_back(&r->engine->held, &r->held);
	if (due_ns != UINT64_MAX)
		set_alarm(r, &r->holding, due_ns, hold_over);
}

void inject_request_release(struct inject_engine *e)
{
	struct list go;
	list_init(&go);
	bool cut = atomic_load(&e->world->cut);
	list_for_each_safe (n, &e->held) {
		struct inject_req *r = req_of_held(n);
		if (!cut && (r->hit.kind != FAULT_HANG ||
				    fault_set_is_armed(e->world->faults, r->hit.id)))
			continue;
		list_remove(n);
		list_push_back(&go, n);
	}
	while (!list_empty(&go))
		go_on(req_of_held(list_pop_front(&go)));
}

/* ---- the beginning ---- */

/* Only the first @len_bytes of the write are stored, at @offset_bytes. False: out of memory. */
static bool trim(struct inject_req *r, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct io_req *outer = r->outer;
	r->iov = calloc(outer->iov_count, sizeof(*r->iov));
	if (!r->iov)
		return false;
	for (unsigned i = 0; i < outer->iov_count; i++) {
		r->iov[i].iov_base = outer->iov[i].iov_base;
		r->iov[i].iov_len = min_u64(outer->iov[i].iov_len, len_bytes);
		len_bytes -= r->iov[i].iov_len;
	}
	fill_inner(r, offset_bytes);
	return true;
}

/* The write that the cut meets: some sectors of it, or none; never all. */
static void cut_power(struct inject_req *r)
{
	uint64_t draw = r->hit.draw, sectors = total_bytes(r->outer) / SECTOR_BYTES;
	uint64_t kept = sectors > 1 ? draw_range(&draw, 0, sectors - 1) : 0;
	inject_world_cut(r->engine->world);
	if (kept && trim(r, r->outer->offset_bytes, kept * SECTOR_BYTES))
		send(r, sent_done);
	else
		settle(r, -ESHUTDOWN);
}

static void write_bent(struct inject_req *r)
{
	uint64_t offset_bytes = r->outer->offset_bytes, len_bytes = total_bytes(r->outer);
	int ret = fault_hit_bend_write(
		&r->hit, io_file_size_bytes(file_of(r)->inner), &offset_bytes, &len_bytes);
	if (ret < 0 || len_bytes == 0)
		settle(r, ret);
	else if (trim(r, offset_bytes, len_bytes))
		go_on(r);
	else
		settle(r, -ENOMEM);
}

static void fault_met(struct inject_req *r)
{
	switch (r->hit.kind) {
	case FAULT_READ_ERROR:
	case FAULT_FLUSH_ERROR:
	case FAULT_WRITE_ERROR:
		settle(r, -EIO);
		break;
	case FAULT_GONE:
		settle(r, -ENODEV);
		break;
	case FAULT_LATENCY:
		hold(r, io_now_ns(r->engine->inner) + r->hit.latency_ns);
		break;
	case FAULT_HANG:
		hold(r, UINT64_MAX);
		break;
	case FAULT_TORN_WRITE:
	case FAULT_LOST_WRITE:
	case FAULT_MISDIRECTED:
		write_bent(r);
		break;
	case FAULT_POWER_CUT:
		cut_power(r);
		break;
	case FAULT_BIT_FLIP:
	case FAULT_STALE_READ:
		go_on(r);
		break;
	}
}

void inject_request_start(struct inject_engine *e, struct io_req *outer)
{
	struct inject_req *r = take(e);
	if (!r) {
		list_push_back(&e->starved, &outer->node);
		return;
	}
	struct inject_file *f = inject_file_of(outer->file);
	r->outer = outer;
	r->hit = (struct fault_hit){0};
	r->image = NULL;
	r->covers = 0;
	fill_inner(r, outer->offset_bytes);
	if (is_cut(r) || f->timed_out) {
		settle(r, is_cut(r) ? -ESHUTDOWN : -ETIMEDOUT);
		return;
	}
	if (!fault_set_is_empty(e->world->faults))
		r->hit = fault_set_meet(e->world->faults, f->name, outer->kind, outer->offset_bytes,
			total_bytes(outer));
	if (r->hit.hit)
		fault_met(r);
	else
		go_on(r);
}
