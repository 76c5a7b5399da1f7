/* SPDX-License-Identifier: MIT */
/* What a listener does with a request, be it a worker or the engine's thread. */
#include "fuse/receive.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <linux/fuse.h>
#include "base/log.h"

/* So many requests, and what they want is sent off before more of them are received: the members
 * are to work while we do. */
#define TURN_REQUESTS 4u

/* Above that the copies are what costs, and they are made side by side by workers. */
#define LIGHT_BYTES (32u << 10)

static _Thread_local struct {
	struct buffer *buffer; /* the next request's; NULL after its handler has taken it */
	bool is_engine;
} here;

bool receiver_is_engine(void)
{
	return here.is_engine;
}

struct buffer *receiver_take_buffer(void)
{
	struct buffer *b = here.buffer;
	assert(b);
	here.buffer = NULL;
	return b;
}

void receiver_hand(struct front *f, struct buffer *b, void (*go_on)(struct buffer *b))
{
	b->go_on = go_on;
	stats_add(&f->stats.handed_over, 1);
	bench_hand(&f->receiver->bench, &b->node);
}

/* ---- what it is ---- */

/* What the policies say that look at nobody's memory, and let it be sent at once. */
static bool is_plain(struct front *f, uint64_t fh, uint32_t flags)
{
	if (!(flags & O_DIRECT))
		return true;
	if (!trees_empty(f->trees))
		return false;
	const struct coherence_file *file = (const struct coherence_file *)(uintptr_t)fh;
	enum dio_policy policy = front_policy_of(f, file, 0);
	return dio_policy_is_stable(policy) && !dio_policy_checks(policy) && policy != DIO_BUFFERED;
}

static bool read_is_light(struct front *f, const struct fuse_in_header *head)
{
	const struct fuse_read_in *in = (const void *)(head + 1);
	return !control_owns(head->nodeid) && in->size <= LIGHT_BYTES &&
	       is_plain(f, in->fh, in->flags);
}

static bool write_is_light(struct front *f, const struct fuse_in_header *head)
{
	const struct fuse_write_in *in = (const void *)(head + 1);
	struct coherence_file *file = (struct coherence_file *)(uintptr_t)in->fh;
	if (control_owns(head->nodeid) || in->size > LIGHT_BYTES)
		return false;
	if (in->write_flags & FUSE_WRITE_CACHE)
		return true;
	return !coherence_may_have_privs(file) && is_plain(f, in->fh, in->flags);
}

/* Slow is what waits for a disk, or for others who do. */
static enum bench_kind kind_of(struct front *f, const struct fuse_in_header *head)
{
	switch (head->opcode) {
	case FUSE_READ:
		return read_is_light(f, head) ? BENCH_DATA : BENCH_OTHER;
	case FUSE_WRITE:
		return write_is_light(f, head) ? BENCH_DATA : BENCH_OTHER;
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_SYNCFS:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
		return BENCH_SLOW;
	default:
		return BENCH_OTHER;
	}
}

/* ---- serving ---- */

/* In the thread's buffer. */
static void decode(struct front *f, size_t len)
{
	void *mem = buffer_receive_start(here.buffer);
	struct fuse_buf buf = {.mem = mem, .size = len};
	wire_request_set(&f->caps, mem);
	stats_add(&f->stats.requests[wire_opcode()], 1);
	fuse_session_process_buf(f->session, &buf);
	wire_request_set(&f->caps, NULL);
}

/* What another thread has received. */
static void take_up(struct front *f, struct list_node *n)
{
	struct buffer *b = container_of(n, struct buffer, node);
	if (b->go_on) {
		b->go_on(b);
		return;
	}
	buffer_put(here.buffer);
	here.buffer = b;
	decode(f, b->received_bytes);
}

/* ---- a worker ---- */

/* Memory comes back as transfers end: there is nothing to fail here. */
static void buffer_ensure(struct front *f)
{
	while (!here.buffer) {
		here.buffer = buffer_get(f->buffers);
		if (!here.buffer)
			poll(NULL, 0, 1);
	}
}

/* ENOENT: the request was interrupted before we got it. */
static bool is_nothing(int err)
{
	return err == EINTR || err == EAGAIN || err == ENOENT;
}

static bool serve_received(struct front *f, ssize_t len, int err)
{
	if (len > 0)
		decode(f, (size_t)len);
	else if (len < 0 && !is_nothing(err) && err != ENODEV && err != ECONNABORTED)
		log_error("reading requests: %s", strerror(err));
	return len > 0 || (len < 0 && is_nothing(err));
}

static ssize_t receive(struct front *f)
{
	return read(fuse_session_fd(f->session), buffer_receive_start(here.buffer),
		BUFFER_RECEIVE_BYTES);
}

bool receive_first(struct front *f)
{
	buffer_ensure(f);
	ssize_t len = receive(f);
	bool goes_on = serve_received(f, len, errno);
	buffer_put(here.buffer);
	here.buffer = NULL;
	return goes_on;
}

bool receiver_serve(struct receiver *r)
{
	struct front *f = r->f;
	struct list_node *handed = bench_listen(&r->bench);
	if (handed) {
		take_up(f, handed);
		return true;
	}
	buffer_ensure(f);
	ssize_t len = receive(f);
	int err = errno;
	bool whole = len >= (ssize_t)sizeof(struct fuse_in_header);
	bench_serve(&r->bench, whole ? kind_of(f, buffer_receive_start(here.buffer)) : BENCH_OTHER);
	return serve_received(f, len, err);
}

void receiver_leave(struct receiver *r)
{
	struct list_node *n;
	while ((n = bench_take(&r->bench)))
		take_up(r->f, n);
	buffer_put(here.buffer);
	here.buffer = NULL;
}

/* ---- the engine's thread ---- */

static struct stripe_engine *engine_of(const struct receiver *r)
{
	return volume_engine(r->f->volume);
}

static void leave(struct receiver *r)
{
	stripe_engine_unwatch(engine_of(r));
	buffer_put(here.buffer);
	here.buffer = NULL;
	bench_engine_rises(&r->bench, false);
}

static void hand_received(struct receiver *r, size_t len)
{
	struct buffer *b = receiver_take_buffer();
	b->received_bytes = (uint32_t)len;
	receiver_hand(r->f, b, NULL);
}

enum received { RECEIVED, NOTHING, HAD_ENOUGH };

/* What is wrong with the connection is for a worker to find out. */
static enum received receive_one(struct receiver *r)
{
	struct front *f = r->f;
	if (!here.buffer)
		here.buffer = buffer_get(f->buffers);
	if (!here.buffer)
		return HAD_ENOUGH;
	ssize_t len = receive(f);
	if (len < 0 && is_nothing(errno))
		return errno == EAGAIN ? NOTHING : RECEIVED;
	if (len < (ssize_t)sizeof(struct fuse_in_header))
		return HAD_ENOUGH;
	enum bench_kind kind = kind_of(f, buffer_receive_start(here.buffer));
	stats_add(&f->stats.by_engine, 1);
	if (kind == BENCH_DATA)
		decode(f, (size_t)len);
	else
		hand_received(r, (size_t)len);
	return bench_engine_got(&r->bench, kind) ? RECEIVED : HAD_ENOUGH;
}

static bool requests_came(struct io_watch *watch)
{
	struct receiver *r = container_of(watch, struct receiver, watch);
	enum received last = RECEIVED;
	here.is_engine = true;
	for (unsigned n = 0; n < TURN_REQUESTS && last == RECEIVED; n++)
		last = receive_one(r);
	here.is_engine = false;
	if (last == HAD_ENOUGH)
		leave(r);
	return last == RECEIVED;
}

static void engine_called(struct engine_call *call)
{
	struct receiver *r = container_of(call, struct receiver, called);
	if (!bench_engine_sits(&r->bench))
		return;
	stats_add(&r->f->stats.engine_turns, 1);
	if (stripe_engine_watch(engine_of(r), &r->watch) < 0)
		bench_engine_rises(&r->bench, true);
}

static void call_engine(struct bench_engine *engine)
{
	struct receiver *r = container_of(engine, struct receiver, engine);
	engine_call_post(engine_of(r), &r->called);
}

static void engine_ended(struct engine_call *call)
{
	struct receiver *r = container_of(call, struct receiver, ended);
	if (bench_engine_listens(&r->bench))
		leave(r);
	volume_signal(r->f->volume, &r->risen, 0);
}

/* ---- the session's ---- */

int receiver_begin(struct receiver *r, struct front *f)
{
	*r = (struct receiver){.f = f,
		.engine.call = call_engine,
		.watch = {.fd = fuse_session_fd(f->session), .ready = requests_came},
		.called.run = engine_called,
		.ended.run = engine_ended};
	bool has_engine = f->volume && volume_is_threaded(f->volume);
	int err =
		bench_init(&r->bench, fuse_session_fd(f->session), has_engine ? &r->engine : NULL);
	f->receiver = err < 0 ? NULL : r;
	return err;
}

/* The engine's thread has done what it was called for until now, and does not listen. */
static void engine_settle(struct receiver *r)
{
	if (!r->f->volume)
		return;
	r->risen = (struct volume_waiter){0};
	engine_call_post(engine_of(r), &r->ended);
	volume_wait(r->f->volume, &r->risen);
}

void receiver_open(struct receiver *r)
{
	bench_open(&r->bench);
	engine_settle(r);
}

/* A worker may have called the engine's thread just before it ended. */
void receiver_end(struct receiver *r)
{
	bench_open(&r->bench);
	engine_settle(r);
	receiver_leave(r);
	r->f->receiver = NULL;
	bench_fini(&r->bench);
}
