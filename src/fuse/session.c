/* SPDX-License-Identifier: MIT */
/* The session: threads that receive requests and serve them (receive.h), and the end of all that.
 *
 *	serving --umount, aborted--> every worker reads ENODEV and ends
 *	serving --signal, stop_fd--> mount_detach -> (as above, or still in use after a second:
 *				     workers are told to stop) -> mount_sever
 *
 * A worker blocks in read(2) and is told to stop by a signal, again and again until it has ended:
 * one that comes just before the read is not seen. */
#include "fuse/internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include "base/log.h"
#include "fuse/awake.h"
#include "fuse/receive.h"

#define MAX_WORKERS   64u
#define GRACE_MS      1000 /* for users of a detached mount */
#define STOP_AGAIN_MS 10

struct session {
	struct front *f;
	unsigned worker_count;
	pthread_t workers[MAX_WORKERS];
	struct sigaction old_wake;
	atomic_uint running;
	atomic_bool stopping;
	struct receiver receiver;
	struct awake awake;
	int ended_fd; /* owned eventfd: the last worker has ended */
};

static int wake_signal(void)
{
	return SIGRTMIN;
}

/* ---- a worker ---- */

static void *work(void *arg)
{
	struct session *s = arg;
	while (!s->stopping && receiver_serve(&s->receiver))
		;
	bench_open(&s->receiver.bench);
	receiver_leave(&s->receiver);
	uint64_t one = 1;
	if (--s->running == 0 && write(s->ended_fd, &one, sizeof(one)) < 0)
		log_error("eventfd: %s", strerror(errno));
	return NULL;
}

static void woken(int signal)
{
	(void)signal;
}

static unsigned choose_workers(const struct front_options *o)
{
	unsigned n = o->workers;
	if (!n) {
		n = 2 * (unsigned)get_nprocs();
		n = n < 4 ? 4 : n > 16 ? 16 : n;
	}
	return n < MAX_WORKERS ? n : MAX_WORKERS;
}

/* As many as can be had; workers receive the wake signal and no other. */
static int workers_start(struct session *s)
{
	struct sigaction action = {.sa_handler = woken}; /* without SA_RESTART */
	sigset_t others, old;
	int err = 0;
	sigaction(wake_signal(), &action, &s->old_wake);
	sigfillset(&others);
	sigdelset(&others, wake_signal());
	pthread_sigmask(SIG_SETMASK, &others, &old);
	for (unsigned n = choose_workers(s->f->options); n && !err; n--) {
		s->running++;
		err = pthread_create(&s->workers[s->worker_count], NULL, work, s);
		if (err)
			s->running--;
		else
			s->worker_count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return s->worker_count ? 0 : -err;
}

/* False: they are still running after @timeout_ms. */
static bool workers_wait(struct session *s, int timeout_ms)
{
	struct pollfd ended = {.fd = s->ended_fd, .events = POLLIN};
	while (poll(&ended, 1, timeout_ms) < 0 && errno == EINTR)
		;
	return ended.revents;
}

static void workers_stop(struct session *s)
{
	s->stopping = true;
	do {
		for (unsigned i = 0; i < s->worker_count; i++)
			pthread_kill(s->workers[i], wake_signal());
	} while (!workers_wait(s, STOP_AGAIN_MS));
}

static void workers_join(struct session *s)
{
	for (unsigned i = 0; i < s->worker_count; i++)
		pthread_join(s->workers[i], NULL);
	sigaction(wake_signal(), &s->old_wake, NULL);
}

/* ---- signals: of the process, so one front at a time handles them ---- */

static const int end_signals[] = {SIGINT, SIGTERM, SIGHUP};
#define END_SIGNALS (sizeof(end_signals) / sizeof(end_signals[0]))

static _Atomic int signal_fd = -1; /* owned eventfd: a signal asked for the end */

static void end_requested(int signal)
{
	(void)signal;
	int saved = errno;
	uint64_t one = 1;
	ssize_t n = write(signal_fd, &one, sizeof(one));
	(void)n; /* it can only fail where many have been written before */
	errno = saved;
}

static void signals_catch(struct sigaction old[END_SIGNALS])
{
	struct sigaction action = {.sa_handler = end_requested, .sa_flags = SA_RESTART};
	signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < END_SIGNALS; i++) {
		sigaction(end_signals[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN) /* nohup(1) */
			sigaction(end_signals[i], &action, NULL);
	}
}

static void signals_give_back(const struct sigaction old[END_SIGNALS])
{
	for (unsigned i = 0; i < END_SIGNALS; i++)
		sigaction(end_signals[i], &old[i], NULL);
	close(signal_fd);
	signal_fd = -1;
}

/* ---- the whole ---- */

/* FUSE_INIT, on the caller's thread: what was negotiated is there before a worker starts. */
static int handshake(struct front *f, struct errmsg *why)
{
	while (!f->caps.ready && !fuse_session_exited(f->session) && receive_first(f))
		;
	if (f->caps.ready)
		return 0;
	return errmsg_set(why, -ECONNABORTED, "the mount was gone before it was used");
}

static void tick(struct session *s)
{
	struct bench *bench = &s->receiver.bench;
	bench_tick(bench);
	if (awake_tick(&s->awake, atomic_load(&bench->got)))
		stats_add(&s->f->stats.awake_turns, 1);
}

/* True: the session has ended by itself; false: somebody asked for the end. Runs the clock
 * meanwhile. */
static bool wait_for_end(struct session *s)
{
	const struct front_options *o = s->f->options;
	struct bench *bench = &s->receiver.bench;
	struct pollfd fds[] = {{.fd = s->ended_fd, .events = POLLIN},
		{.fd = signal_fd, .events = POLLIN},
		{.fd = o->stop_fd > 0 ? o->stop_fd : -1, .events = POLLIN},
		{.fd = bench->clock_fd, .events = POLLIN}};
	for (;;) {
		int timeout_ms = s->awake.held ? BENCH_TICK_MS : bench_timeout_ms(bench);
		/* While the clock runs, its start is no news. */
		int n = poll(fds, timeout_ms < 0 ? 4 : 3, timeout_ms);
		if (n == 0)
			tick(s);
		else if (n > 0 && (fds[0].revents || fds[1].revents || fds[2].revents))
			return fds[0].revents;
	}
}

static void serve_to_the_end(struct session *s)
{
	const struct front_options *o = s->f->options;
	if (o->ready)
		o->ready(o->ctx);
	bool ended = wait_for_end(s);
	receiver_open(&s->receiver);
	if (!ended) {
		mount_detach(s->f);
		if (!workers_wait(s, GRACE_MS))
			workers_stop(s);
	}
	workers_join(s);
}

int session_serve(struct front *f, struct errmsg *why)
{
	struct sigaction old[END_SIGNALS];
	int err = handshake(f, why);
	if (err < 0)
		return err;
	struct session s = {.f = f, .ended_fd = eventfd(0, EFD_CLOEXEC)};
	if (s.ended_fd < 0)
		return errmsg_set(why, -errno, "eventfd: %s", strerror(errno));
	err = receiver_begin(&s.receiver, f);
	if (err < 0) {
		close(s.ended_fd);
		return errmsg_set(why, err, "eventfd: %s", strerror(-err));
	}
	awake_init(&s.awake, f->options->awake ? AWAKE_DEVICE : NULL);
	if (!f->options->ignore_signals)
		signals_catch(old);
	cache_limits_set(f); /* whoever is answered finds them set */
	err = workers_start(&s);
	if (err < 0)
		errmsg_set(why, err, "no thread could be started: %s", strerror(-err));
	else
		serve_to_the_end(&s);
	if (!f->options->ignore_signals)
		signals_give_back(old);
	awake_fini(&s.awake);
	close(s.ended_fd);
	receiver_end(&s.receiver);
	return err;
}
