/* SPDX-License-Identifier: MIT */
/* The pool of receive buffers. As many as are under way at once exist; a few more are kept, the one
 * used last first, since its memory is in the caches. */
#include "fuse/buffer.h"

#include <pthread.h>
#include "base/mem.h"

#define BUFFER_BYTES    (BLOCK_BYTES + BUFFER_PAYLOAD_BYTES)
#define MAX_IDLE        32u
#define MAX_FROM_ENGINE 24u /* the engine wants some of its registered memory for itself */

_Static_assert(sizeof(struct buffer) + WIRE_WRITE_HEADER_BYTES <= BLOCK_BYTES,
	"a request's state and its headers share the first page");

struct buffer_pool {
	struct stripe_engine *eng; /* borrowed, may be NULL */
	pthread_mutex_t lock;      /* idle, and the counts */
	struct list idle;
	unsigned idle_count, engine_tries;
};

struct buffer_pool *buffer_pool_new(struct stripe_engine *eng)
{
	struct buffer_pool *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->eng = eng;
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->idle);
	return p;
}

static void buffer_release(struct buffer *b)
{
	if (b->from_engine)
		stripe_buffer_free(b->pool->eng, b, BUFFER_BYTES);
	else
		free(b);
}

void buffer_pool_free(struct buffer_pool *p)
{
	if (!p)
		return;
	struct list_node *n;
	while ((n = list_pop_front(&p->idle)))
		buffer_release(container_of(n, struct buffer, node));
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct buffer *buffer_new(struct buffer_pool *p)
{
	pthread_mutex_lock(&p->lock);
	bool try_engine = p->eng && p->engine_tries < MAX_FROM_ENGINE;
	p->engine_tries += try_engine;
	pthread_mutex_unlock(&p->lock);
	struct buffer *b = try_engine ? stripe_buffer_alloc(p->eng, BUFFER_BYTES) : NULL;
	bool from_engine = b;
	void *memory = NULL;
	if (!b && !posix_memalign(&memory, BLOCK_ALIGN, BUFFER_BYTES))
		b = memory;
	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	list_node_init(&b->node);
	b->pool = p;
	b->from_engine = from_engine;
	return b;
}

struct buffer *buffer_get(struct buffer_pool *p)
{
	pthread_mutex_lock(&p->lock);
	struct list_node *n = list_pop_front(&p->idle);
	p->idle_count -= n != NULL;
	pthread_mutex_unlock(&p->lock);
	return n ? container_of(n, struct buffer, node) : buffer_new(p);
}

void buffer_put(struct buffer *b)
{
	if (!b)
		return;
	struct buffer_pool *p = b->pool;
	pthread_mutex_lock(&p->lock);
	bool keep = b->from_engine || p->idle_count < MAX_IDLE;
	if (keep) {
		list_push_front(&p->idle, &b->node);
		p->idle_count++;
	}
	pthread_mutex_unlock(&p->lock);
	if (!keep)
		buffer_release(b);
}
