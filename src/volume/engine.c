/* SPDX-License-Identifier: MIT */
/* The engine thread, and waiting for it. Without a thread (simulated tests) whoever waits runs the
 * engine, and handles members that fail meanwhile. */
#include <assert.h>
#include <signal.h>
#include "base/clock.h"
#include "base/log.h"
#include "volume/internal.h"

/* Nothing of the engine's own is under way either: repairs, marks on their way out; and nobody is
 * about to change the members. */
static bool is_quiet(struct volume *v)
{
	pthread_mutex_lock(&v->lock);
	bool settled = !v->set.changing && list_empty(&v->set.retiring) &&
		       !members_pending_locked(v, false);
	pthread_mutex_unlock(&v->lock);
	return settled && stripe_engine_idle(v->eng) && !intent_busy(v->intent);
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
int volume_thread_start(pthread_t *out, void *(*run)(void *arg), struct volume *v, const char *name)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(out, NULL, run, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	pthread_setname_np(*out, name);
	return 0;
}

int engine_thread_start(struct volume *v)
{
	int err = volume_thread_start(&v->thread, engine_thread, v, "stablefs-engine");
	v->has_thread = err == 0;
	return err;
}

void engine_stop(struct volume *v)
{
	if (!v->eng || atomic_exchange(&v->stop, true))
		return;
	while (!v->has_thread && !is_quiet(v)) {
		if (stripe_engine_run(v->eng, true) < 0)
			return;
		members_run(v);
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
		members_run(v);
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

void volume_wait_working(struct volume *v, struct volume_waiter *waiter)
{
	if (!v->threaded) {
		wait_running(v, waiter);
		return;
	}
	pthread_mutex_lock(&v->lock);
	while (!waiter->ready) {
		if (!members_pending_locked(v, true)) {
			pthread_cond_wait(&v->ready, &v->lock);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		members_run(v);
		pthread_mutex_lock(&v->lock);
	}
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

/* ---- errands ---- */

static void errand_called(struct engine_call *call)
{
	struct engine_errand *errand = container_of(call, struct engine_errand, call);
	int err = errand->run(errand);
	if (err != ENGINE_ERRAND_LATER)
		engine_errand_end(errand, err);
}

void engine_errand_end(struct engine_errand *errand, int err)
{
	volume_signal(errand->volume, &errand->waiter, err);
}

int engine_errand_run(struct volume *v, struct engine_errand *errand)
{
	errand->volume = v;
	errand->waiter = (struct volume_waiter){0};
	errand->call.run = errand_called;
	engine_call_post(v->eng, &errand->call);
	volume_wait(v, &errand->waiter);
	return errand->waiter.err;
}

/* ---- sleeping ---- */

struct nap {
	struct engine_errand errand;
	struct io_req alarm;
};

static void nap_over(struct io_req *alarm, int err)
{
	engine_errand_end(&container_of(alarm, struct nap, alarm)->errand, err);
}

static int nap_begin(struct engine_errand *errand)
{
	struct nap *nap = container_of(errand, struct nap, errand);
	io_submit(errand->volume->io, &nap->alarm);
	return ENGINE_ERRAND_LATER;
}

void engine_sleep_until(struct volume *v, uint64_t due_ns)
{
	if (!v->threaded) {
		struct nap nap = {.errand.run = nap_begin,
			.alarm = {.kind = IO_ALARM, .due_ns = due_ns, .done = nap_over}};
		(void)engine_errand_run(v, &nap.errand);
		return;
	}
	struct timespec until = {
		.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
	pthread_mutex_lock(&v->lock);
	while (!members_pending_locked(v, true) && !work_is_disturbed(v)) {
		if (pthread_cond_timedwait(&v->ready, &v->lock, &until))
			break;
	}
	pthread_mutex_unlock(&v->lock);
}
