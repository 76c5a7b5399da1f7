/* SPDX-License-Identifier: MIT */
/* Page-aligned buffers by size class. A class takes slabs from the range as it needs them and keeps
 * what comes back on a free list; slabs are never split for another class, so a get or put is a
 * push or pop. One class is a page longer than 1 MiB: a receive buffer with its headers. */
#include "stripe/arena.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "base/block.h"

#define CLASSES 11u

static const uint32_t class_pages[CLASSES] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 257, 512};

struct free_buffer {
	struct free_buffer *next;
};

struct arena {
	uint8_t *base;
	uint64_t len_bytes;
	/* lock protects used_bytes and free; taken alone. */
	pthread_mutex_t lock;
	uint64_t used_bytes;
	struct free_buffer *free[CLASSES];
};

struct arena *arena_new(uint64_t len_bytes)
{
	struct arena *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->len_bytes = round_up_u64(len_bytes, BLOCK_BYTES);
	void *base = mmap(NULL, a->len_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		free(a);
		return NULL;
	}
	a->base = base;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	munmap(a->base, a->len_bytes);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void *arena_base(const struct arena *a)
{
	return a->base;
}

uint64_t arena_len_bytes(const struct arena *a)
{
	return a->len_bytes;
}

/* The smallest class that holds @len_bytes; CLASSES where none does. */
static unsigned class_of(uint32_t len_bytes)
{
	unsigned c = 0;
	while (c < CLASSES && class_pages[c] * BLOCK_BYTES < len_bytes)
		c++;
	return c;
}

static void *take(struct arena *a, unsigned c)
{
	struct free_buffer *buf = a->free[c];
	if (buf) {
		a->free[c] = buf->next;
		return buf;
	}
	uint64_t bytes = (uint64_t)class_pages[c] * BLOCK_BYTES;
	if (a->len_bytes - a->used_bytes < bytes)
		return NULL;
	a->used_bytes += bytes;
	return a->base + a->used_bytes - bytes;
}

void *arena_get(struct arena *a, uint32_t len_bytes)
{
	unsigned c = class_of(len_bytes);
	void *buf = NULL;
	if (c < CLASSES) {
		pthread_mutex_lock(&a->lock);
		buf = take(a, c);
		pthread_mutex_unlock(&a->lock);
	}
	if (!buf && posix_memalign(&buf, BLOCK_ALIGN, len_bytes))
		return NULL;
	return buf;
}

void arena_put(struct arena *a, void *buf, uint32_t len_bytes)
{
	uint8_t *p = buf;
	if (!p || p < a->base || p >= a->base + a->len_bytes) {
		free(buf);
		return;
	}
	unsigned c = class_of(len_bytes);
	struct free_buffer *f = buf;
	pthread_mutex_lock(&a->lock);
	f->next = a->free[c];
	a->free[c] = f;
	pthread_mutex_unlock(&a->lock);
}
