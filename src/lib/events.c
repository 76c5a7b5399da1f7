/* SPDX-License-Identifier: MIT */
/* Events: a ring that whoever noticed fills without waiting, and that the program empties; file
 * names are found when it does, since that asks the database. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"
#include "lib/internal.h"

static void emit(struct event_sink *sink, const struct event *event)
{
	struct lib_events *e = container_of(sink, struct lib_events, sink);
	void (*notify)(void *ctx) = NULL;
	void *ctx = NULL;
	pthread_mutex_lock(&e->lock);
	if (e->count == LIB_EVENTS_MAX) {
		e->dropped++;
	} else {
		struct event *slot = &e->ring[(e->first + e->count++) % LIB_EVENTS_MAX];
		*slot = *event;
		slot->time_ns = event->time_ns ? event->time_ns : clock_read_ns(CLOCK_REALTIME);
		notify = e->notify;
		ctx = e->notify_ctx;
		pthread_cond_signal(&e->came);
	}
	pthread_mutex_unlock(&e->lock);
	if (notify)
		notify(ctx);
}

int lib_events_init(struct lib_events *e)
{
	pthread_condattr_t attr;
	e->sink.emit = emit;
	e->ring = calloc(LIB_EVENTS_MAX, sizeof(*e->ring));
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->came, &attr);
	pthread_condattr_destroy(&attr);
	return e->ring ? 0 : -ENOMEM;
}

void lib_events_free(struct lib_events *e)
{
	free(e->ring);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->came);
}

void stablefs_event_notify(struct stablefs *v, void (*notify)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&v->events.lock);
	v->events.notify = notify;
	v->events.notify_ctx = ctx;
	pthread_mutex_unlock(&v->events.lock);
}

/* ---- what the program gets ---- */

static enum stablefs_event_kind kind_of(enum event_kind kind)
{
	switch (kind) {
	case EVENT_REFUSED:
		return STABLEFS_EVENT_REFUSED;
	case EVENT_REPAIRED:
		return STABLEFS_EVENT_REPAIRED;
	case EVENT_UNREPAIRABLE:
		return STABLEFS_EVENT_UNREPAIRABLE;
	case EVENT_MEMBER_ERROR:
		return STABLEFS_EVENT_MEMBER_ERROR;
	case EVENT_MEMBER_STATE:
		return STABLEFS_EVENT_MEMBER_STATE;
	default:
		return STABLEFS_EVENT_CHANGED;
	}
}

/* A changed write that was done again leaves wrong parity behind where a member is missing:
 * the blocks that it would be made anew from are not all there. */
static bool leaves_parity_wrong(const struct volume *v)
{
	const struct super *super = volume_super(v);
	bool refused = super->pi != PI_NONE && super->pi_check == PI_CHECK_DEVICE;
	return !refused && volume_missing(v) && geometry_has_parity(volume_geometry(v));
}

/* Beside that only one that could not be done again leaves anything wrong behind. */
static enum stablefs_blast blast_of(struct stablefs *v, const struct event *e)
{
	if (e->kind != EVENT_MUTATION || !e->what)
		return STABLEFS_BLAST_NOBODY;
	bool redone = strcmp(e->what, "redone") == 0 && leaves_parity_wrong(v->volume);
	if (!redone && strcmp(e->what, "failed") != 0)
		return STABLEFS_BLAST_NOBODY;
	return geometry_has_parity(volume_geometry(v->volume)) ? STABLEFS_BLAST_STRANGERS
							       : STABLEFS_BLAST_WRITER;
}

static void translate(struct stablefs *v, const struct event *e, struct stablefs_event *out)
{
	*out = (struct stablefs_event){.kind = kind_of(e->kind),
		.time_ns = e->time_ns,
		.file_offset = e->file_offset_bytes,
		.len = e->len_bytes,
		.first_changed = e->first_changed,
		.changed_bytes = e->changed_bytes,
		.blast = blast_of(v, e),
		.error = e->error,
		.member = e->member,
		.stripe = e->stripe,
		.what = e->what,
		.policy = e->policy};
	if (e->ino)
		(void)fs_path(v->fs, e->ino, out->path, sizeof(out->path));
}

static bool take(struct lib_events *e, int timeout_ms, struct event *out)
{
	uint64_t due =
		clock_monotonic_ns() + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0) * NS_PER_MS;
	struct timespec ts = {(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};
	int err = 0;
	pthread_mutex_lock(&e->lock);
	while (!e->count && timeout_ms && !err)
		err = timeout_ms < 0 ? pthread_cond_wait(&e->came, &e->lock)
				     : pthread_cond_timedwait(&e->came, &e->lock, &ts);
	bool got = e->count > 0;
	if (got) {
		*out = e->ring[e->first];
		e->first = (e->first + 1) % LIB_EVENTS_MAX;
		e->count--;
	}
	pthread_mutex_unlock(&e->lock);
	return got;
}

int stablefs_event_next(struct stablefs *v, struct stablefs_event *out, int timeout_ms)
{
	struct event e;
	if (!take(&v->events, timeout_ms, &e))
		return 0;
	translate(v, &e, out);
	return 1;
}
