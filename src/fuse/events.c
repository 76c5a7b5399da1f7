/* SPDX-License-Identifier: MIT */
/* Events: emitted by any thread into a ring, completed by one, read as text by anybody.
 *
 * Invariants: I1 emitting never waits for a reader or a disk: a full ring drops, and says how many.
 *   I2 a byte of the text keeps its offset for good; what is discarded reads as newlines. */
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

#define RING_EVENTS    4096u
#define TEXT_MAX_BYTES (32u << 20)

struct front_events {
	struct event_sink sink;
	pthread_mutex_t lock; /* all below but the thread's own; held for copies only */
	pthread_cond_t filled;
	struct event ring[RING_EVENTS];
	unsigned first, count;
	uint64_t dropped_unsaid; /* since the last line */
	bool running, stopping;
	struct front_event_totals totals;
	char *text; /* owned */
	size_t text_len, text_room;
	uint64_t text_base; /* offset of text[0] */
	/* The thread's. */
	pthread_t thread;
	struct fs *fs;
	struct volume *volume;
	void (*grown)(void *ctx, uint64_t size_bytes);
	void *grown_ctx;
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
	}
}

static void emit(struct event_sink *sink, const struct event *event)
{
	struct front_events *e = container_of(sink, struct front_events, sink);
	pthread_mutex_lock(&e->lock);
	count_kind(&e->totals, event->kind);
	if (e->count == RING_EVENTS) {
		e->totals.dropped++;
		e->dropped_unsaid++;
	} else {
		struct event *slot = &e->ring[(e->first + e->count++) % RING_EVENTS];
		*slot = *event;
		if (!slot->time_ns)
			slot->time_ns = clock_read_ns(CLOCK_REALTIME);
		pthread_cond_signal(&e->filled);
	}
	pthread_mutex_unlock(&e->lock);
}

int front_events_new(struct front_events **out)
{
	struct front_events *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->sink.emit = emit;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->filled, NULL);
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
	if (room && e->grown)
		e->grown(e->grown_ctx, size);
}

static void append_dropped(struct front_events *e, uint64_t dropped)
{
	struct json j;
	size_t len;
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	json_field_string(&j, "event", "dropped");
	json_field_u64(&j, "count", dropped);
	json_object_end(&j);
	char *line = json_take(&j, &len);
	text_append(e, line, len);
}

/* ---- the thread ---- */

/* False: told to stop, and the ring is empty. */
static bool next_event(struct front_events *e, struct event *event, uint64_t *dropped)
{
	pthread_mutex_lock(&e->lock);
	while (!e->count && !e->stopping)
		pthread_cond_wait(&e->filled, &e->lock);
	bool got = e->count;
	if (got) {
		*event = e->ring[e->first];
		e->first = (e->first + 1) % RING_EVENTS;
		e->count--;
	}
	*dropped = e->dropped_unsaid;
	e->dropped_unsaid = 0;
	pthread_mutex_unlock(&e->lock);
	return got;
}

static void *complete_events(void *arg)
{
	struct front_events *e = arg;
	struct event event;
	uint64_t dropped;
	bool got;
	do {
		got = next_event(e, &event, &dropped);
		if (dropped)
			append_dropped(e, dropped);
		if (got) {
			size_t len;
			char *line = event_json(&event, e->fs, e->volume, &len);
			text_append(e, line, len);
		}
	} while (got);
	return NULL;
}

int events_start(struct front_events *e, struct fs *fs, struct volume *volume,
	void (*grown)(void *ctx, uint64_t size_bytes), void *ctx)
{
	e->fs = fs;
	e->volume = volume;
	e->grown = grown;
	e->grown_ctx = ctx;
	e->stopping = false;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&e->thread, NULL, complete_events, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	e->running = !err;
	return -err;
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
