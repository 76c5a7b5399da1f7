/* SPDX-License-Identifier: MIT */
/* Workers that sit, and the calls to them. */
#include "fuse/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A client that closes a file and goes on leaves two requests behind one: that is no pile. */
#define PILE 4u

/* To change who listens costs as much as a few hand-overs do. */
#define DATA_ROW  8u
#define OTHER_ROW 4u

/* What is handed over holds its buffer: beyond so many they may as well stay with the kernel. */
#define HANDED_MAX 64u

int bench_init(struct bench *b, int fd, struct bench_engine *engine)
{
	*b = (struct bench){.fd = fd,
		.engine = engine,
		.flags = fcntl(fd, F_GETFL),
		.clock_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (b->clock_fd < 0)
		return -errno;
	list_init(&b->handed);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->call, NULL);
	return 0;
}

void bench_fini(struct bench *b)
{
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->call);
	close(b->clock_fd);
}

static bool requests_wait(const struct bench *b)
{
	struct pollfd requests = {.fd = b->fd, .events = POLLIN};
	return poll(&requests, 1, 0) > 0;
}

/* Until something has changed. True: it is that one more is to listen. */
static bool sit_locked(struct bench *b)
{
	b->sitting++;
	pthread_cond_wait(&b->call, &b->lock);
	b->sitting--;
	bool called = b->called > 0;
	b->called -= called;
	return called;
}

static void call_one_locked(struct bench *b)
{
	if (b->called < b->sitting) {
		b->called++;
		pthread_cond_signal(&b->call);
	}
}

static void call_one(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	call_one_locked(b);
	pthread_mutex_unlock(&b->lock);
}

static struct list_node *take_locked(struct bench *b)
{
	struct list_node *n = list_pop_front(&b->handed);
	if (n)
		atomic_fetch_sub(&b->handed_count, 1);
	return n;
}

struct list_node *bench_take(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	struct list_node *n = take_locked(b);
	pthread_mutex_unlock(&b->lock);
	return n;
}

/* B1. Who was called listens beside others. */
static bool must_sit(const struct bench *b, bool called)
{
	if (b->turn != BENCH_WORKERS)
		return true;
	return !called && !b->open && atomic_load(&b->listening) > 0 && !requests_wait(b);
}

struct list_node *bench_listen(struct bench *b)
{
	struct list_node *n;
	bool called = false;
	pthread_mutex_lock(&b->lock);
	while (!(n = take_locked(b)) && must_sit(b, called))
		called = sit_locked(b);
	if (!n)
		atomic_fetch_add(&b->listening, 1);
	else if (b->turn == BENCH_WORKERS && atomic_load(&b->listening) == 0)
		call_one_locked(b);
	pthread_mutex_unlock(&b->lock);
	return n;
}

static void clock_start(struct bench *b)
{
	uint64_t one = 1;
	if (atomic_load(&b->clock_runs) || atomic_exchange(&b->clock_runs, true))
		return;
	ssize_t n = write(b->clock_fd, &one, sizeof(one));
	(void)n; /* it can only fail where many have been written before */
}

/* B1: not while another one is in read(2). */
static bool engine_call(struct bench *b)
{
	if (atomic_fetch_add(&b->row, 1) + 1 < DATA_ROW)
		return false;
	pthread_mutex_lock(&b->lock);
	bool call = b->engine && b->turn == BENCH_WORKERS && !b->open &&
		    atomic_load(&b->listening) == 0;
	if (call)
		b->turn = BENCH_CALLED;
	pthread_mutex_unlock(&b->lock);
	if (call)
		b->engine->call(b->engine);
	return call;
}

/* The last one that listened has something to do now. */
static void others_call(struct bench *b, bool slow)
{
	unsigned piled = requests_wait(b) ? atomic_fetch_add(&b->piled, 1) + 1 : 0;
	if (!slow && piled < PILE) {
		if (!piled)
			atomic_store(&b->piled, 0);
		return;
	}
	atomic_store(&b->piled, 0);
	call_one(b);
}

void bench_serve(struct bench *b, enum bench_kind kind)
{
	bool last = atomic_fetch_sub(&b->listening, 1) == 1;
	atomic_fetch_add(&b->got, 1);
	clock_start(b);
	if (kind != BENCH_DATA)
		atomic_store(&b->row, 0);
	else if (engine_call(b))
		return;
	if (last)
		others_call(b, kind == BENCH_SLOW);
}

/* ---- the engine's thread ---- */

bool bench_engine_sits(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	bool wanted = b->turn == BENCH_CALLED && !b->open;
	if (wanted) {
		b->turn = BENCH_ENGINE;
		fcntl(b->fd, F_SETFL, b->flags | O_NONBLOCK);
		atomic_fetch_add(&b->listening, 1);
		atomic_store(&b->row, 0);
	} else {
		b->turn = BENCH_WORKERS;
		pthread_cond_broadcast(&b->call);
	}
	pthread_mutex_unlock(&b->lock);
	return wanted;
}

bool bench_engine_listens(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	bool listens = b->turn == BENCH_ENGINE;
	pthread_mutex_unlock(&b->lock);
	return listens;
}

bool bench_engine_got(struct bench *b, enum bench_kind kind)
{
	atomic_fetch_add(&b->got, 1);
	clock_start(b);
	if (kind == BENCH_DATA) {
		atomic_store_explicit(&b->row, 0, memory_order_relaxed);
		return true;
	}
	return atomic_fetch_add(&b->row, 1) + 1 < OTHER_ROW &&
	       atomic_load(&b->handed_count) < HANDED_MAX;
}

void bench_hand(struct bench *b, struct list_node *n)
{
	pthread_mutex_lock(&b->lock);
	list_push_back(&b->handed, n);
	atomic_fetch_add(&b->handed_count, 1);
	pthread_cond_signal(&b->call);
	pthread_mutex_unlock(&b->lock);
}

void bench_engine_rises(struct bench *b, bool for_good)
{
	pthread_mutex_lock(&b->lock);
	if (b->turn == BENCH_ENGINE) {
		fcntl(b->fd, F_SETFL, b->flags);
		atomic_fetch_sub(&b->listening, 1);
		atomic_store(&b->row, 0);
	}
	b->turn = BENCH_WORKERS;
	if (for_good)
		b->engine = NULL;
	if (b->open)
		pthread_cond_broadcast(&b->call);
	else
		call_one_locked(b);
	pthread_mutex_unlock(&b->lock);
	clock_start(b);
}

/* ---- the clock ---- */

int bench_timeout_ms(const struct bench *b)
{
	return atomic_load(&b->clock_runs) ? BENCH_TICK_MS : -1;
}

/* Nothing came for a tick, and somebody listens: the clock stops, until the next request. It stops
 * first and looks then, so a request that comes meanwhile starts it again. */
void bench_tick(struct bench *b)
{
	uint64_t starts, got = atomic_load(&b->got);
	bool quiet = got == b->seen;
	b->seen = got;
	if (!quiet)
		return;
	if (atomic_load(&b->listening) == 0) {
		call_one(b);
		return;
	}
	ssize_t n = read(b->clock_fd, &starts, sizeof(starts));
	(void)n;
	atomic_store(&b->clock_runs, false);
	if (atomic_load(&b->got) != got || atomic_load(&b->listening) == 0)
		clock_start(b);
}

void bench_open(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	b->open = true;
	pthread_cond_broadcast(&b->call);
	pthread_mutex_unlock(&b->lock);
}
