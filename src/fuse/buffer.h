/* SPDX-License-Identifier: MIT */
/* Receive buffers: one page for a request's state, then room for the largest payload, so that what
 * read(2) puts 80 bytes before the second page has its payload at a page boundary.
 *
 *	| state of the request ...          | headers | payload: up to 1 MiB          |
 *	^ struct buffer                     ^ -80     ^ page boundary
 *
 * Whoever listens receives into its buffer. A handler that needs the payload beyond its own return
 * takes the buffer over (receiver_take_buffer), and the thread goes on with another. The pool: any
 * thread. */
#ifndef STABLEFS_FUSE_BUFFER_H
#define STABLEFS_FUSE_BUFFER_H

#include "base/block.h"
#include "base/list.h"
#include "fuse/wire.h"
#include "stripe/stripe.h"

#define BUFFER_PAYLOAD_BYTES (1u << 20)
#define BUFFER_STATE_BYTES   3840u

struct buffer_pool;

struct buffer {
	struct list_node node;    /* the pool's */
	struct buffer_pool *pool; /* borrowed, outlives the buffer */
	bool from_engine;         /* registered memory */
	/* Handed to a worker (receive.h): what is received, in bytes; or how to go on. */
	uint32_t received_bytes;
	void (*go_on)(struct buffer *b);
	/* Of the request, its handler's. */
	_Alignas(64) uint8_t state[BUFFER_STATE_BYTES];
};

/* @eng: gives registered memory while it has any; NULL: ordinary memory. */
struct buffer_pool *buffer_pool_new(struct stripe_engine *eng);
void buffer_pool_free(struct buffer_pool *p); /* accepts NULL; every buffer was given back */

struct buffer *buffer_get(struct buffer_pool *p); /* NULL: out of memory */
void buffer_put(struct buffer *b);                /* accepts NULL */

static inline uint8_t *buffer_payload(struct buffer *b)
{
	return (uint8_t *)b + BLOCK_BYTES;
}

/* Where a request is received, and how much. */
static inline void *buffer_receive_start(struct buffer *b)
{
	return buffer_payload(b) - WIRE_WRITE_HEADER_BYTES;
}
#define BUFFER_RECEIVE_BYTES (WIRE_WRITE_HEADER_BYTES + BUFFER_PAYLOAD_BYTES)

#endif
