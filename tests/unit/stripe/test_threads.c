/* SPDX-License-Identifier: MIT */
/* Several threads post to an engine that a thread of its own runs, over files on io_uring. Made for
 * ThreadSanitizer too. */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "io/uring.h"

#define POSTERS      4u
#define RANGE_BYTES  70001u /* neighbours share blocks and stripes */
#define POSTER_STEPS 120u

/* ---- the engine's thread ---- */

struct engine_thread {
	pthread_t thread;
	struct rig *rig;
	atomic_bool stop;
};

static void *engine_main(void *arg)
{
	struct engine_thread *t = arg;
	while (!atomic_load(&t->stop) || !stripe_engine_idle(t->rig->eng) ||
		intent_busy(t->rig->intent))
		stripe_engine_run(t->rig->eng, true);
	return NULL;
}

static void engine_start(struct engine_thread *t, struct rig *rig)
{
	t->rig = rig;
	atomic_init(&t->stop, false);
	assert_int_equal(pthread_create(&t->thread, NULL, engine_main, t), 0);
}

static void engine_stop(struct engine_thread *t)
{
	atomic_store(&t->stop, true);
	stripe_engine_wake(t->rig->eng);
	pthread_join(t->thread, NULL);
}

/* ---- a poster: one request at a time, and waits for it ---- */

struct waiter {
	pthread_mutex_t lock; /* protects ended and err */
	pthread_cond_t changed;
	bool ended;
	int err;
};

static void waiter_tell(struct waiter *w, int err)
{
	pthread_mutex_lock(&w->lock);
	w->ended = true;
	w->err = err;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static int waiter_wait(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->ended)
		pthread_cond_wait(&w->changed, &w->lock);
	w->ended = false;
	int err = w->err;
	pthread_mutex_unlock(&w->lock);
	return err;
}

struct poster {
	pthread_t thread;
	struct rig *rig;
	uint64_t first_byte;
	struct random random;
	uint8_t model[RANGE_BYTES], buf[RANGE_BYTES];
	struct waiter waiter;
	struct stripe_req req;
	struct stripe_flush flush;
	struct source source;
	unsigned failures;
};

static void req_done(struct stripe_req *req, int err)
{
	waiter_tell(&container_of(req, struct poster, req)->waiter, err);
}

static void flush_done(struct stripe_flush *flush, int err)
{
	waiter_tell(&container_of(flush, struct poster, flush)->waiter, err);
}

static int transfer(struct poster *p, enum stripe_kind kind, uint32_t at, uint32_t len)
{
	p->req = (struct stripe_req){.kind = kind,
		.offset_bytes = p->first_byte + at,
		.len_bytes = len,
		.source = &p->source,
		.source_offset = at,
		.data = p->buf,
		.done = req_done};
	stripe_submit(p->rig->eng, &p->req);
	return waiter_wait(&p->waiter);
}

static void poster_step(struct poster *p)
{
	uint32_t at = random_below(&p->random, RANGE_BYTES);
	uint32_t len = 1 + random_below(&p->random, RANGE_BYTES - at);
	switch (random_below(&p->random, 6)) {
	case 0:
		p->flush = (struct stripe_flush){.done = flush_done};
		stripe_flush(p->rig->eng, &p->flush);
		p->failures += waiter_wait(&p->waiter) != 0;
		break;
	case 1:
	case 2:
		p->failures += transfer(p, STRIPE_READ, at, len) != 0;
		p->failures += memcmp(p->buf, p->model + at, len) != 0;
		break;
	default:
		random_fill(&p->random, p->model + at, min_u64(len, 5000));
		p->failures += transfer(p, STRIPE_WRITE, at, len) != 0;
		stripe_engine_stats(p->rig->eng);
	}
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;
	for (unsigned i = 0; i < POSTER_STEPS; i++)
		poster_step(p);
	p->failures += transfer(p, STRIPE_READ, 0, RANGE_BYTES) != 0;
	p->failures += memcmp(p->buf, p->model, RANGE_BYTES) != 0;
	return NULL;
}

static struct poster *poster_start(struct rig *rig, unsigned i)
{
	struct poster *p = calloc(1, sizeof(*p));
	assert_non_null(p);
	p->rig = rig;
	p->first_byte = 1000 + (uint64_t)i * RANGE_BYTES;
	p->random = (struct random){rig->config.seed + i};
	pthread_mutex_init(&p->waiter.lock, NULL);
	pthread_cond_init(&p->waiter.changed, NULL);
	source_init_bounce(&p->source, p->model, RANGE_BYTES);
	assert_int_equal(pthread_create(&p->thread, NULL, poster_main, p), 0);
	return p;
}

static void threads_post_to_a_running_engine_and_each_finds_its_bytes(void **unused)
{
	(void)unused;
	char dir[64] = "/tmp/stablefs-stripe-XXXXXX";
	struct random random = random_start("threads", 31);
	assert_non_null(mkdtemp(dir));
	struct rig *rig = rig_new(&(struct rig_config){.level = RAID_RAID5,
		.members = 3,
		.chunk_blocks = 4,
		.stripes = 16,
		.pi = PI_T10,
		.pi_check = PI_CHECK_DEVICE,
		.seed = random.state,
		.dir = dir});
	struct engine_thread engine;
	struct poster *posters[POSTERS];
	unsigned failures = 0;
	engine_start(&engine, rig);
	for (unsigned i = 0; i < POSTERS; i++)
		posters[i] = poster_start(rig, i);
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(posters[i]->thread, NULL);
		failures += posters[i]->failures;
		pthread_mutex_destroy(&posters[i]->waiter.lock);
		pthread_cond_destroy(&posters[i]->waiter.changed);
		free(posters[i]);
	}
	engine_stop(&engine);
	assert_int_equal(failures, 0);
	assert_true(rig_is_clean(rig)); /* by this thread, now that nothing is under way */
	rig_free(rig);
	assert_int_equal(rmdir(dir), 0);
}

/* The status that tells the runner "skipped", where the system has no io_uring; else 0. */
static int uring_missing(void)
{
	struct io_engine *io;
	struct errmsg why = {0};
	if (uring_engine_new(8, &io, &why) < 0) {
		printf("1..0 # skipped: %s\n", why.text);
		return 77;
	}
	io_engine_free(io);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_post_to_a_running_engine_and_each_finds_its_bytes),
	};
	int missing = uring_missing();
	return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
