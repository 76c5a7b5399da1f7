/* SPDX-License-Identifier: MIT */
/* The sampler: a small pool of threads that look, and one that watches them.
 *
 *	sampler_post	own memory, or a penalty: answered at once
 *		hand_over	an idle worker gets the job; else one is made; else it is queued
 *	worker_run	take the job's bytes into the worker's own memory, then answer
 *		job_finish	unless it was given up meanwhile
 *	watch_round	every WATCH_NS while there are jobs:
 *		give_up		the look takes too long: -ETIME, a penalty for the process
 *		expire		waited too long in the queue: -ETIME
 *		worker_start	in place of those that seem to hang
 *
 * A worker's phases:
 *
 *	IDLE --hand_over, worker_next--> PREPARING --look--> LOOKING --job_finish--> IDLE
 *	                                          LOOKING --give_up--> HANGING
 *	                                          HANGING --job_finish--> IDLE
 *
 * What hangs is looking, and that touches nothing but the worker's own memory and the buffer that
 * it holds. So only who looks is given up.
 *
 * Threads are made when there is something to do, and end where there are more than wanted. All of
 * them and sampler_free() share the sampler; the last one out frees it.
 * Lock: the one in struct sampler; nothing is looked at, and nobody answered, under it. */
#include "inflight/sampler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "inflight/gate.h"
#include "inflight/live_procfs.h"
#include "inflight/penalty.h"

#define WATCH_NS   (10 * NS_PER_MS)
#define STUCK_NS   (10 * NS_PER_MS) /* a look takes microseconds: this one is to blame */
#define SPIN_NS    (50 * NS_PER_US) /* what it costs to sleep and to be woken, in a guest */
#define LATE_NS    (100 * NS_PER_US)
#define GRUDGE     64u /* jobs */
#define MAX_WANTED 4u

enum phase { IDLE, PREPARING, LOOKING, HANGING };

struct worker {
	struct sampler *s;
	bool used;                /* lock */
	struct worker *next_idle; /* lock */
	struct gate gate;         /* opened when there is a job, or nothing more to come */
	/* lock; the worker itself may read it. NULL: none, or given up */
	struct sampler_job *job;
	bool refused;             /* lock; the job's process has a penalty */
	_Atomic enum phase phase; /* changed under the lock, but for PREPARING -> LOOKING */
	uint64_t since_ns;        /* lock; when it got the job */
	pid_t tid, hung_tgid;     /* lock; whose memory */
	_Atomic pid_t self;       /* its own number; 0: it has not begun */
	/* The worker's. */
	uint8_t *memory;
	uint32_t memory_bytes;
	bool spins;      /* its last job came soon */
	unsigned grudge; /* jobs to come until it spins again */
};

struct sampler {
	pthread_mutex_t lock; /* everything below; also where it says so in struct worker */
	pthread_cond_t ended; /* a thread has ended */
	struct worker workers[SAMPLER_MAX_THREADS];
	struct worker *idle; /* the last to have been busy first: its caches are warm */
	struct list queue;   /* of sampler_job: all are busy */
	struct penalties penalties;
	unsigned wanted, alive, hanging;
	unsigned holders; /* threads, and the owner until sampler_free() */
	bool watched;     /* the watch runs */
	bool watch_idle;  /* and waits for the next job */
	bool stopping;
	struct gate watch;
	uint64_t reads, writes, timeouts;
	_Atomic bool waits_spin; /* the last who waited got its answer soon */
	bool may_spin;           /* there is a processor to spare */
};

/* A job whose poster waits for it. */
struct waiting {
	struct sampler_job job;
	void *out;
	struct gate gate;
	int err;
};

static void *worker_main(void *arg);

/* ---- threads ---- */

/* A detached thread that no signal is delivered to. */
static int thread_start(struct sampler *s, void *(*main)(void *arg), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int err = pthread_create(&thread, &attr, main, arg);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		s->holders++;
	return -err;
}

/* A thread, or the owner, goes. Takes the lock, which must be held. */
static void leave(struct sampler *s)
{
	bool last = --s->holders == 0;
	pthread_cond_broadcast(&s->ended);
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct worker *find_unused(struct sampler *s)
{
	for (unsigned i = 0; i < SAMPLER_MAX_THREADS; i++)
		if (!s->workers[i].used)
			return &s->workers[i];
	return NULL;
}

static void worker_give(struct worker *w, struct sampler_job *job, uint64_t now_ns)
{
	w->tid = live_buffer_tid(job->buffer);
	w->refused = penalty_applies(&w->s->penalties, w->tid, now_ns);
	w->since_ns = now_ns;
	w->job = job;
	atomic_store(&w->phase, PREPARING);
}

/* One more, with @job. False: there cannot be one. */
static bool worker_start(struct sampler *s, struct sampler_job *job, uint64_t now_ns)
{
	struct worker *w = find_unused(s);
	if (!w)
		return false;
	*w = (struct worker){.s = s, .used = true};
	gate_init(&w->gate);
	worker_give(w, job, now_ns);
	if (thread_start(s, worker_main, w) < 0) {
		w->used = false;
		return false;
	}
	s->alive++;
	return true;
}

/* ---- workers ---- */

static int worker_make_room(struct worker *w, uint32_t len_bytes)
{
	if (w->memory_bytes >= len_bytes)
		return 0;
	free(w->memory);
	w->memory_bytes = 0;
	w->memory = mem_alloc_blocks(len_bytes);
	if (!w->memory)
		return -ENOMEM;
	w->memory_bytes = len_bytes;
	return 0;
}

/* The job is over, unless it was given up: then the worker is one of many again. */
static bool job_finish(struct worker *w, bool was_write, int err)
{
	struct sampler *s = w->s;
	pthread_mutex_lock(&s->lock);
	bool mine = w->job;
	if (atomic_load(&w->phase) == HANGING) {
		s->hanging--;
		penalty_unhang(&s->penalties, w->hung_tgid);
	}
	w->job = NULL;
	atomic_store(&w->phase, IDLE);
	s->reads += !was_write && !err;
	s->writes += was_write && !err;
	s->timeouts += mine && err == -ETIME;
	pthread_mutex_unlock(&s->lock);
	return mine;
}

/* A read's bytes are in w->memory. Nothing of its job is touched while it looks. */
static int look(struct worker *w, const struct sampler_job *job)
{
	struct live_buffer *buffer = job->buffer;
	uint32_t len = job->len_bytes, offset = job->offset_bytes;
	const void *data = job->data;
	int err = data ? 0 : worker_make_room(w, len);
	if (err < 0)
		return err;
	live_buffer_hold(buffer);
	atomic_store(&w->phase, LOOKING); /* from here on it may be given up */
	if (data)
		err = live_buffer_write(buffer, offset, data, len);
	else
		err = live_buffer_read(buffer, offset, w->memory, len);
	live_buffer_free(buffer);
	return err;
}

static void worker_run(struct worker *w)
{
	struct sampler_job *job = w->job;
	bool writes = job->data;
	int err = w->refused ? -ETIME : look(w, job);
	if (job_finish(w, writes, err))
		job->seen(job, err < 0 ? NULL : writes ? job->data : w->memory, err);
}

/* True: it got a job from the queue, or sits among the idle ones. */
static bool worker_next(struct worker *w)
{
	struct sampler *s = w->s;
	struct list_node *n = list_pop_front(&s->queue);
	if (n) {
		worker_give(w, container_of(n, struct sampler_job, node), clock_monotonic_ns());
		gate_open(&w->gate);
		return true;
	}
	if (s->stopping || s->alive - s->hanging > s->wanted)
		return false;
	w->next_idle = s->idle;
	s->idle = w;
	return true;
}

/* It spins where the last job came so soon that sleeping would have cost more. Where somebody else
 * wants its processor, who spins may lose it for long, and is not woken: then it sleeps for a
 * while of jobs. */
static void worker_await(struct worker *w)
{
	uint64_t begun_ns = clock_monotonic_ns();
	gate_wait(&w->gate, w->spins ? SPIN_NS : 0);
	if (w->spins && clock_monotonic_ns() > w->since_ns + LATE_NS)
		w->grudge = GRUDGE;
	else if (w->grudge)
		w->grudge--;
	w->spins = w->s->may_spin && !w->grudge && w->since_ns < begun_ns + SPIN_NS;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct sampler *s = w->s;
	w->self = gettid();
	pthread_mutex_lock(&s->lock); /* whoever made us may still hold it */
	pthread_mutex_unlock(&s->lock);
	while (w->job) {
		worker_run(w);
		pthread_mutex_lock(&s->lock);
		bool goes_on = worker_next(w);
		if (!goes_on)
			break;
		pthread_mutex_unlock(&s->lock);
		worker_await(w);
		if (!w->job)
			pthread_mutex_lock(&s->lock);
	}
	free(w->memory);
	w->used = false;
	s->alive--;
	leave(s);
	return NULL;
}

/* ---- the watch ---- */

/* It waits for a processor, and for nothing else: nobody's memory is to blame. Asked only of a
 * worker that takes long. */
static bool worker_is_runnable(const struct worker *w)
{
	pid_t self = w->self;
	cleanup(cleanup_closep) int fd = procfs_open("/proc/self/task/%d/stat", self);
	char text[256] = "";
	ssize_t n = self && fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
	return !self || (name_end && strncmp(name_end, ") R", 3) == 0);
}

/* A read's job is over; a write's is not (see sampler.h). */
static void give_up(struct worker *w, uint64_t now_ns, struct list *given_up)
{
	struct sampler *s = w->s;
	if (!w->job->data) {
		list_push_back(given_up, &w->job->node);
		w->job = NULL;
	}
	atomic_store(&w->phase, HANGING);
	w->hung_tgid = penalty_hang(&s->penalties, w->tid, now_ns);
	s->hanging++;
	s->timeouts++;
}

static void expire(struct sampler *s, uint64_t now_ns, struct list *given_up)
{
	list_for_each_safe (n, &s->queue) {
		if (container_of(n, struct sampler_job, node)->due_ns > now_ns)
			continue;
		list_remove(n);
		list_push_back(given_up, n);
		s->timeouts++;
	}
}

struct survey {
	unsigned fresh; /* those that are not stuck: they finish what they have */
	unsigned busy;
};

static struct survey look_after_workers(struct sampler *s, uint64_t now_ns, struct list *given_up)
{
	struct survey survey = {0};
	for (unsigned i = 0; i < SAMPLER_MAX_THREADS; i++) {
		struct worker *w = &s->workers[i];
		if (!w->used || atomic_load(&w->phase) == HANGING)
			continue;
		bool stuck = w->job && now_ns - w->since_ns >= STUCK_NS && !worker_is_runnable(w);
		if (stuck && w->job->due_ns <= now_ns && atomic_load(&w->phase) == LOOKING)
			give_up(w, now_ns, given_up);
		survey.fresh += !stuck;
		survey.busy += w->job != NULL;
	}
	return survey;
}

/* Returns whether to come again soon. */
static bool watch_round(struct sampler *s, struct list *given_up)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct survey survey = look_after_workers(s, now_ns, given_up);
	if (!survey.fresh)
		expire(s, now_ns, given_up);
	struct list_node *n = list_first(&s->queue);
	if (n && !survey.fresh) {
		list_remove(n);
		if (!worker_start(s, container_of(n, struct sampler_job, node), now_ns))
			list_push_front(&s->queue, n);
	}
	return n || survey.busy;
}

static void *watch_main(void *arg)
{
	struct sampler *s = arg;
	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct list given_up;
		list_init(&given_up);
		s->watch_idle = !watch_round(s, &given_up);
		uint64_t pause_ns = s->watch_idle ? GATE_NO_LIMIT : WATCH_NS;
		pthread_mutex_unlock(&s->lock);
		struct list_node *n;
		while ((n = list_pop_front(&given_up))) {
			struct sampler_job *job = container_of(n, struct sampler_job, node);
			job->seen(job, NULL, -ETIME);
		}
		gate_wait_for(&s->watch, pause_ns);
		pthread_mutex_lock(&s->lock);
	}
	s->watched = false;
	leave(s);
	return NULL;
}

static int watch_rouse(struct sampler *s)
{
	if (!s->watched) {
		int err = thread_start(s, watch_main, s);
		if (err < 0)
			return err;
		s->watched = true;
	} else if (s->watch_idle) {
		s->watch_idle = false;
		gate_open(&s->watch);
	}
	return 0;
}

/* ---- jobs ---- */

/* 0, or why it fails at once. @wake: a worker that has it, to be woken. */
static int hand_over(struct sampler *s, struct sampler_job *job, struct worker **wake)
{
	uint64_t now_ns = clock_monotonic_ns();
	job->due_ns = now_ns + SAMPLER_LIMIT_NS;
	int err = watch_rouse(s);
	if (err < 0)
		return err;
	if (penalty_applies(&s->penalties, live_buffer_tid(job->buffer), now_ns)) {
		s->timeouts++;
		return -ETIME;
	}
	struct worker *w = s->idle;
	if (w) {
		s->idle = w->next_idle;
		worker_give(w, job, now_ns);
		*wake = w;
		return 0;
	}
	if (s->alive - s->hanging < s->wanted && worker_start(s, job, now_ns))
		return 0;
	if (s->alive == s->hanging) {
		s->timeouts++;
		return -ETIME;
	}
	list_push_back(&s->queue, &job->node);
	return 0;
}

/* Our own memory: it needs nobody's help. */
static void store_own(struct sampler_job *job)
{
	int err = live_buffer_write(job->buffer, job->offset_bytes, job->data, job->len_bytes);
	job->seen(job, err < 0 ? NULL : job->data, err);
}

static void see_own(struct sampler_job *job)
{
	cleanup(cleanup_freep) void *bytes = malloc(job->len_bytes);
	int err = bytes ? live_buffer_read(job->buffer, job->offset_bytes, bytes, job->len_bytes)
			: -ENOMEM;
	job->seen(job, err < 0 ? NULL : bytes, err);
}

static void post(struct sampler *s, struct sampler_job *job)
{
	struct worker *wake = NULL;
	pthread_mutex_lock(&s->lock);
	int err = hand_over(s, job, &wake);
	pthread_mutex_unlock(&s->lock);
	if (wake)
		gate_open(&wake->gate);
	if (err < 0)
		job->seen(job, NULL, err);
}

void sampler_post(struct sampler *s, struct sampler_job *job)
{
	if (!live_buffer_is_own(job->buffer))
		post(s, job);
	else if (job->data)
		store_own(job);
	else
		see_own(job);
}

static void waited_for(struct sampler_job *job, const void *bytes, int err)
{
	struct waiting *w = container_of(job, struct waiting, job);
	if (!err)
		memcpy(w->out, bytes, job->len_bytes);
	w->err = err;
	gate_open(&w->gate);
}

static int post_and_wait(struct sampler *s, struct waiting *w)
{
	w->job.seen = waited_for;
	gate_init(&w->gate);
	uint64_t begun_ns = clock_monotonic_ns();
	bool spin = atomic_load_explicit(&s->waits_spin, memory_order_relaxed);
	post(s, &w->job);
	gate_wait(&w->gate, spin ? SPIN_NS : 0);
	spin = s->may_spin && clock_monotonic_ns() - begun_ns < SPIN_NS;
	atomic_store_explicit(&s->waits_spin, spin, memory_order_relaxed);
	return w->err;
}

int sampler_read(struct sampler *s, struct live_buffer *buffer, uint32_t offset_bytes, void *out,
	uint32_t len_bytes)
{
	if (live_buffer_is_own(buffer))
		return live_buffer_read(buffer, offset_bytes, out, len_bytes);
	struct waiting w = {
		.job = {.buffer = buffer, .offset_bytes = offset_bytes, .len_bytes = len_bytes},
		.out = out};
	return post_and_wait(s, &w);
}

/* ---- the sampler ---- */

int sampler_new(unsigned threads, struct sampler **out)
{
	struct sampler *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned chosen = cpus < 2 ? 1 : cpus > MAX_WANTED ? MAX_WANTED : (unsigned)cpus;
	s->wanted = threads ? threads : chosen;
	if (s->wanted > SAMPLER_MAX_THREADS)
		s->wanted = SAMPLER_MAX_THREADS;
	s->may_spin = cpus > 1;
	s->holders = 1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
	list_init(&s->queue);
	gate_init(&s->watch);
	*out = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (struct worker *w = s->idle, *next; w; w = next) {
		next = w->next_idle;
		gate_open(&w->gate);
	}
	s->idle = NULL;
	if (s->watched)
		gate_open(&s->watch);
	while (s->alive > s->hanging || s->watched)
		pthread_cond_wait(&s->ended, &s->lock);
	leave(s);
}

struct sampler_stats sampler_stats(struct sampler *s)
{
	pthread_mutex_lock(&s->lock);
	struct sampler_stats stats = {.reads = s->reads,
		.writes = s->writes,
		.timeouts = s->timeouts,
		.threads = s->alive,
		.hanging = s->hanging};
	pthread_mutex_unlock(&s->lock);
	return stats;
}
