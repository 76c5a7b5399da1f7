/* SPDX-License-Identifier: MIT */
/* Events: emitted by any thread into a ring, completed by one, read as text by anybody.
 *
 * Invariants: I1 emitting never waits for a reader or a disk: a full ring drops, and says how many.
 *   I2 a byte of the text keeps its offset for good; what is discarded reads as newlines. I3 each
 *   event is a line or is counted in one ("dropped"), at the latest when events_stop() returns. */
#include "fuse/events.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "fuse/event_rate.h"

#define RING_EVENTS    4096u
#define TEXT_MAX_BYTES (32u << 20)

struct front_events {
	struct event_sink sink;
	pthread_mutex_t lock; /* all below but the thread's own; held for copies only */
	pthread_cond_t filled;
	struct event ring[RING_EVENTS];
	unsigned first, count;
	uint64_t dropped_unsaid; /* by a full ring, since the last line */
	struct event_rate rate;
	bool running, stopping;
	struct front_event_totals totals;
	char *text; /* owned */
	size_t text_len, text_room;
	uint64_t text_base; /* offset of text[0] */
	/* The thread's. */
	pthread_t thread;
	struct events_config config;
};

static void count_kind(struct front_event_totals *t, enum event_kind kind)
{
	switch (kind) {
	case EVENT_MUTATION:
	case EVENT_READ_MUTATION:
		t->mutations++;
		break;
	case EVENT_REFUSED:
		t->refused++;
		break;
	case EVENT_REPAIRED:
		t->repaired++;
		break;
	case EVENT_UNREPAIRABLE:
		t->unrepairable++;
		break;
	case EVENT_MEMBER_ERROR:
		t->member_errors++;
		break;
	case EVENT_MEMBER_STATE:
		t->member_states++;
		break;
	}
}

static bool is_mutation(const struct event *event)
{
	return event->kind == EVENT_MUTATION || event->kind == EVENT_READ_MUTATION;
}

/* Under the lock. */
static bool above_rate(struct front_events *e, const struct event *event)
{
	return is_mutation(event) &&
	       !event_rate_admit(&e->rate, event->writer.pid, clock_monotonic_ns());
}

static void ring_put(struct front_events *e, const struct event *event)
{
	struct event *slot = &e->ring[(e->first + e->count++) % RING_EVENTS];
	*slot = *event;
	if (!slot->time_ns)
		slot->time_ns = clock_read_ns(CLOCK_REALTIME);
}

static void emit(struct event_sink *sink, const struct event *event)
{
	struct front_events *e = container_of(sink, struct front_events, sink);
	pthread_mutex_lock(&e->lock);
	count_kind(&e->totals, event->kind);
	/* Who waits, waits until this is due. */
	uint64_t due_ns = e->rate.due_ns;
	if (above_rate(e, event)) {
		e->totals.dropped++;
		e->totals.above_rate++;
	} else if (e->count == RING_EVENTS) {
		e->totals.dropped++;
		e->dropped_unsaid++;
	} else {
		ring_put(e, event);
	}
	if (e->count || e->rate.due_ns != due_ns)
		pthread_cond_signal(&e->filled);
	pthread_mutex_unlock(&e->lock);
}

int front_events_new(struct front_events **out)
{
	struct front_events *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->sink.emit = emit;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->filled, &attr);
	pthread_condattr_destroy(&attr);
	event_rate_init(&e->rate, FRONT_EVENT_RATE);
	*out = e;
	return 0;
}

void front_events_free(struct front_events *e)
{
	if (!e)
		return;
	assert(!e->running);
	pthread_cond_destroy(&e->filled);
	pthread_mutex_destroy(&e->lock);
	free(e->text);
	free(e);
}

struct event_sink *front_events_sink(struct front_events *e)
{
	return &e->sink;
}

struct front_event_totals front_events_totals(struct front_events *e)
{
	pthread_mutex_lock(&e->lock);
	struct front_event_totals t = e->totals;
	pthread_mutex_unlock(&e->lock);
	return t;
}

/* ---- the text ---- */

uint64_t front_events_size(struct front_events *e)
{
	pthread_mutex_lock(&e->lock);
	uint64_t size = e->text_base + e->text_len;
	pthread_mutex_unlock(&e->lock);
	return size;
}

size_t front_events_read(struct front_events *e, uint64_t offset, void *buf, size_t size)
{
	pthread_mutex_lock(&e->lock);
	uint64_t end = e->text_base + e->text_len;
	size = offset < end ? (size_t)min_u64(size, end - offset) : 0;
	size_t gone = offset < e->text_base ? (size_t)min_u64(size, e->text_base - offset) : 0;
	memset(buf, '\n', gone);
	if (size > gone)
		memcpy((char *)buf + gone, e->text + (offset + gone - e->text_base), size - gone);
	pthread_mutex_unlock(&e->lock);
	return size;
}

static bool text_make_room(struct front_events *e, size_t len)
{
	if (e->text_len + len > TEXT_MAX_BYTES) {
		size_t gone = e->text_len / 2;
		memmove(e->text, e->text + gone, e->text_len - gone);
		e->text_base += gone;
		e->text_len -= gone;
	}
	if (e->text_len + len <= e->text_room)
		return true;
	size_t room = (e->text_room ? e->text_room : 65536) * 2 + len;
	char *text = realloc(e->text, room);
	if (!text)
		return false;
	e->text = text;
	e->text_room = room;
	return true;
}

/* Takes @line. */
static void text_append(struct front_events *e, char *line, size_t len)
{
	if (!line)
		return;
	pthread_mutex_lock(&e->lock);
	bool room = text_make_room(e, len + 1);
	if (room) {
		memcpy(e->text + e->text_len, line, len);
		e->text[e->text_len + len] = '\n';
		e->text_len += len + 1;
		e->totals.emitted++;
	}
	uint64_t size = e->text_base + e->text_len;
	pthread_mutex_unlock(&e->lock);
	free(line);
	if (room && e->config.grown)
		e->config.grown(e->config.ctx, size);
}

static void append_dropped(struct front_events *e, pid_t pid, uint64_t count)
{
	size_t len;
	char *line = event_json_dropped(pid, count, &len);
	text_append(e, line, len);
}

/* ---- the thread ---- */

/* What there is to write, each part or not. */
struct work {
	bool got_event, got_drop;
	struct event event;
	uint64_t dropped; /* by a full ring */
	struct event_rate_drop drop;
};

/* Under the lock. False: nothing. */
static bool work_find(struct front_events *e, struct work *w)
{
	w->got_event = e->count;
	if (e->count) {
		w->event = e->ring[e->first];
		e->first = (e->first + 1) % RING_EVENTS;
		e->count--;
	}
	w->dropped = e->dropped_unsaid;
	e->dropped_unsaid = 0;
	bool all = e->stopping && !w->got_event;
	w->got_drop = event_rate_take(&e->rate, clock_monotonic_ns(), all, &w->drop);
	return w->got_event || w->dropped || w->got_drop;
}

static void wait_for_work(struct front_events *e)
{
	uint64_t due_ns = e->rate.due_ns;
	const struct timespec due = {
		.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
	if (due_ns == UINT64_MAX)
		pthread_cond_wait(&e->filled, &e->lock);
	else
		pthread_cond_timedwait(&e->filled, &e->lock, &due);
}

/* False: told to stop, and nothing is left. */
static bool next_work(struct front_events *e, struct work *w)
{
	pthread_mutex_lock(&e->lock);
	bool found;
	while (!(found = work_find(e, w)) && !e->stopping)
		wait_for_work(e);
	pthread_mutex_unlock(&e->lock);
	return found;
}

static void warn_once(struct front_events *e, const struct event *event)
{
	struct processes *processes = e->config.world.processes;
	if (!processes || !processes_first_warning(processes, &event->writer))
		return;
	char *text = event_warning(event, &e->config.world);
	if (text)
		log_warn("%s", text);
	free(text);
}

static void complete(struct front_events *e, const struct event *event)
{
	size_t len;
	char *line = event_json(event, &e->config.world, &len);
	text_append(e, line, len);
	if (is_mutation(event))
		warn_once(e, event);
}

static void *complete_events(void *arg)
{
	struct front_events *e = arg;
	struct work w;
	while (next_work(e, &w)) {
		if (w.dropped)
			append_dropped(e, -1, w.dropped);
		if (w.got_event)
			complete(e, &w.event);
		if (w.got_drop)
			append_dropped(e, w.drop.pid, w.drop.count);
	}
	return NULL;
}

int events_start(struct front_events *e, const struct events_config *config)
{
	e->config = *config;
	e->stopping = false;
	e->rate.limit = config->rate ? config->rate : FRONT_EVENT_RATE;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&e->thread, NULL, complete_events, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	e->running = !err;
	return -err;
}

void events_set_rate(struct front_events *e, unsigned rate)
{
	pthread_mutex_lock(&e->lock);
	e->rate.limit = rate;
	pthread_mutex_unlock(&e->lock);
}

void events_stop(struct front_events *e)
{
	if (!e->running)
		return;
	pthread_mutex_lock(&e->lock);
	e->stopping = true;
	pthread_cond_signal(&e->filled);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	e->running = false;
}
