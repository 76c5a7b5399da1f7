/* SPDX-License-Identifier: MIT */
/* Workers that sit, and the calls to them. */
#include "fuse/bench.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A client that closes a file and goes on leaves two requests behind one: that is no pile. */
#define PILE 4u

int bench_init(struct bench *b, int fd)
{
	*b = (struct bench){.fd = fd, .clock_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (b->clock_fd < 0)
		return -errno;
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

static void sit(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	b->sitting++;
	while (!b->called && !b->open)
		pthread_cond_wait(&b->call, &b->lock);
	if (b->called)
		b->called--;
	b->sitting--;
	pthread_mutex_unlock(&b->lock);
}

static void call_one(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	if (b->called < b->sitting) {
		b->called++;
		pthread_cond_signal(&b->call);
	}
	pthread_mutex_unlock(&b->lock);
}

void bench_listen(struct bench *b)
{
	if (atomic_load(&b->listening) > 0 && !requests_wait(b))
		sit(b);
	atomic_fetch_add(&b->listening, 1);
}

static void clock_start(struct bench *b)
{
	uint64_t one = 1;
	if (atomic_load(&b->clock_runs) || atomic_exchange(&b->clock_runs, true))
		return;
	ssize_t n = write(b->clock_fd, &one, sizeof(one));
	(void)n; /* it can only fail where many have been written before */
}

void bench_serve(struct bench *b, bool slow)
{
	bool last = atomic_fetch_sub(&b->listening, 1) == 1;
	atomic_fetch_add(&b->got, 1);
	clock_start(b);
	if (!last)
		return;
	unsigned piled = requests_wait(b) ? atomic_fetch_add(&b->piled, 1) + 1 : 0;
	if (!slow && piled < PILE) {
		if (!piled)
			atomic_store(&b->piled, 0);
		return;
	}
	atomic_store(&b->piled, 0);
	call_one(b);
}

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
