/* SPDX-License-Identifier: MIT */
/* Queries: the state of one open of the file, and the thread that answers.
 *
 * A parked request can be answered by three: the query's thread, an interrupt, the release. Whoever
 * takes it out of q->parked, under the lock, answers it. */
#include "fuse/query.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "report/json.h"

enum query_state { QUERY_IDLE, QUERY_RUNNING, QUERY_READY };

struct query_group {
	query_fn *fn; /* NULL: nothing answers */
	void *ctx;
	pthread_mutex_t lock; /* running; taken last */
	pthread_cond_t ended;
	unsigned running;
};

struct query {
	struct query_group *group; /* borrowed */
	pthread_mutex_t lock;      /* all below */
	enum query_state state;
	bool abandoned;                  /* nobody has it open: the thread frees it */
	char line[QUERY_LINE_BYTES + 1]; /* the thread's while RUNNING */
	char *answer;                    /* owned */
	size_t answer_len, answer_read;
	fuse_req_t parked;
	size_t parked_size;
};

struct query_group *query_group_new(query_fn *fn, void *ctx)
{
	struct query_group *g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->fn = fn;
	g->ctx = ctx;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->ended, NULL);
	return g;
}

void query_group_wait(struct query_group *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->running)
		pthread_cond_wait(&g->ended, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void query_group_free(struct query_group *g)
{
	if (!g)
		return;
	pthread_cond_destroy(&g->ended);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static bool group_enter(struct query_group *g)
{
	pthread_mutex_lock(&g->lock);
	bool room = g->running < QUERY_MAX_RUNNING;
	g->running += room;
	pthread_mutex_unlock(&g->lock);
	return room;
}

static void group_leave(struct query_group *g)
{
	pthread_mutex_lock(&g->lock);
	if (!--g->running)
		pthread_cond_broadcast(&g->ended);
	pthread_mutex_unlock(&g->lock);
}

struct query *query_new(struct query_group *g)
{
	struct query *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->group = g;
	pthread_mutex_init(&q->lock, NULL);
	return q;
}

static void query_release(struct query *q)
{
	free(q->answer);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static char *error_document(int err, size_t *len)
{
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	json_field_string(&j, "error", strerror(-err));
	json_object_end(&j);
	return json_take(&j, len);
}

static char *answer_make(struct query *q, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	if (!out)
		return NULL;
	int err = q->group->fn(q->group->ctx, q->line, out);
	if (fclose(out) != 0)
		err = -ENOMEM;
	if (err < 0 && (!text || !*len)) {
		free(text);
		text = error_document(err, len);
	}
	return text;
}

/* With the lock held: give what is left of the answer, at most @size. */
static void reply_part(struct query *q, fuse_req_t req, size_t size)
{
	size_t left = q->answer_len - q->answer_read;
	size = size < left ? size : left;
	fuse_reply_buf(req, q->answer ? q->answer + q->answer_read : NULL, size);
	q->answer_read += size;
	if (!size)
		q->state = QUERY_IDLE;
}

static void *answer(void *arg)
{
	struct query *q = arg;
	struct query_group *g = q->group;
	size_t len = 0;
	char *text = answer_make(q, &len);
	pthread_mutex_lock(&q->lock);
	q->answer = text;
	q->answer_len = text ? len : 0;
	q->answer_read = 0;
	q->state = QUERY_READY;
	fuse_req_t req = q->parked;
	q->parked = NULL;
	if (req)
		reply_part(q, req, q->parked_size);
	bool abandoned = q->abandoned;
	pthread_mutex_unlock(&q->lock);
	if (abandoned)
		query_release(q);
	group_leave(g);
	return NULL;
}

static int thread_start(struct query *q)
{
	if (!group_enter(q->group))
		return -EBUSY;
	sigset_t all, old;
	pthread_attr_t detached;
	pthread_t thread;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&thread, &detached, answer, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&detached);
	if (err)
		group_leave(q->group);
	return -err;
}

/* The line: up to the first newline or NUL, or all there is. */
static size_t line_length(const char *data, size_t len)
{
	const char *end = memchr(data, '\n', len);
	return strnlen(data, end ? (size_t)(end - data) : len);
}

int query_ask(struct query *q, const char *data, size_t len_bytes)
{
	size_t len = line_length(data, len_bytes);
	if (!q->group->fn)
		return -EOPNOTSUPP;
	if (!len || len > QUERY_LINE_BYTES)
		return -EINVAL;
	pthread_mutex_lock(&q->lock);
	int err = -EBUSY;
	if (q->state != QUERY_RUNNING) {
		free(q->answer);
		q->answer = NULL;
		q->answer_len = q->answer_read = 0;
		memcpy(q->line, data, len);
		q->line[len] = '\0';
		err = thread_start(q);
		q->state = err < 0 ? QUERY_IDLE : QUERY_RUNNING;
	}
	pthread_mutex_unlock(&q->lock);
	return err;
}

/* libfuse calls it with a lock of the request held, also from fuse_req_interrupt_func() itself. */
static void reader_interrupted(fuse_req_t req, void *data)
{
	struct query *q = data;
	pthread_mutex_lock(&q->lock);
	bool ours = q->parked == req;
	if (ours)
		q->parked = NULL;
	pthread_mutex_unlock(&q->lock);
	if (ours)
		fuse_reply_err(req, EINTR);
}

void query_read(struct query *q, fuse_req_t req, size_t size)
{
	fuse_req_interrupt_func(req, reader_interrupted, q);
	pthread_mutex_lock(&q->lock);
	if (q->state != QUERY_RUNNING) {
		reply_part(q, req, size);
	} else if (q->parked) {
		fuse_reply_err(req, EBUSY);
	} else if (fuse_req_interrupted(req)) {
		fuse_reply_err(req, EINTR);
	} else {
		q->parked = req;
		q->parked_size = size;
	}
	pthread_mutex_unlock(&q->lock);
}

void query_free(struct query *q)
{
	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	if (q->parked)
		fuse_reply_err(q->parked, EIO);
	q->parked = NULL;
	bool running = q->state == QUERY_RUNNING;
	q->abandoned = running;
	pthread_mutex_unlock(&q->lock);
	if (!running)
		query_release(q);
}
