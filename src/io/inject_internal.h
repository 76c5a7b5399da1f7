/* SPDX-License-Identifier: MIT */
/* What the parts of the injecting engine share: inject.c (world, engines, files), inject_request.c
 * (what a request meets on its way), inject_image.c (what writes replaced). */
#ifndef STABLEFS_IO_INJECT_INTERNAL_H
#define STABLEFS_IO_INJECT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "io/inject.h"

struct inject_world {
	struct io_factory factory;
	const struct io_factory *inner; /* borrowed */
	struct fault_set *faults;       /* owned */
	atomic_bool keeps_images;       /* a fault is armed that needs them */
	atomic_bool cut;                /* the power is off */
	pthread_mutex_t lock;           /* all below; nothing is locked or called under it */
	struct list engines;            /* inject_engine */
	struct list images;             /* inject_image, in the order of their writes */
	uint64_t acks;                  /* writes with an image that were acknowledged */
	unsigned writes_under_way;      /* writes with an image */
	bool restoring;                 /* one engine at a time puts images back */
};

struct inject_engine {
	struct io_engine base;
	struct io_engine *inner;    /* owned */
	struct inject_world *world; /* borrowed */
	struct list_node node;      /* on the world's engines */
	struct list files;          /* inject_file */
	struct list held;           /* inject_req that latency or a hang keeps back */
	struct list busy, idle;     /* inject_req, all of them */
	struct list starved;        /* io_req that found no memory for an inject_req */
};

struct inject_file {
	struct io_file base;
	struct io_file *inner; /* owned */
	struct list_node node;
	char *name; /* owned */
	uint64_t timeout_ns;
	bool timed_out;
};

/* What a write replaced, and the write itself as far as a power cut must know. */
struct inject_image {
	struct list_node node;
	char *name; /* owned */
	uint64_t offset_bytes, len_bytes;
	uint8_t *old;        /* owned */
	uint64_t acked_at;   /* 0: not yet */
	bool is_volatile;    /* no flush covered it */
	bool dropping;       /* scratch */
	bool restored;       /* what it lost is back */
	uint64_t kept_bytes; /* once the power is cut: what of the write stays */
};

/* A request on its way: the caller's, and what is sent to the inner engine in its stead. */
struct inject_req {
	struct list_node node; /* on busy or idle */
	struct list_node held; /* on held */
	struct inject_engine *engine;
	struct io_req *outer; /* borrowed; NULL: ended */
	struct io_req inner;
	struct io_req holding;  /* alarm: latency is over, or the time of what is held */
	struct io_req settling; /* alarm: now */
	unsigned pending;       /* of these three, with the inner engine */
	struct fault_hit hit;
	uint64_t resume_ns;         /* of latency */
	int result;                 /* once settled */
	struct iovec *iov;          /* owned: what a bent write stores */
	struct iovec one;           /* of a transfer of our own */
	uint8_t *buf;               /* owned: its memory */
	struct inject_image *image; /* borrowed from the world while the write is under way */
	uint64_t covers;            /* of a flush: the acknowledgements before it */
};

static inline struct inject_engine *inject_engine_of(struct io_engine *io)
{
	return container_of(io, struct inject_engine, base);
}

static inline struct inject_file *inject_file_of(const struct io_file *file)
{
	return container_of(file, struct inject_file, base);
}

/* inject_request.c */
void inject_request_start(struct inject_engine *e, struct io_req *outer);

/* Let go what hung by a fault that is no longer armed. */
void inject_request_release(struct inject_engine *e);

void inject_request_free(struct inject_req *r);

/* inject.c: the power goes now. */
void inject_world_cut(struct inject_world *world);

/* inject_image.c */

/* A write replaces @old (taken) from now on. NULL: the power is cut, or out of memory: @old is
 * freed, and the write is not to be sent. */
struct inject_image *inject_image_add(struct inject_world *world, const char *name,
	uint64_t offset_bytes, uint64_t len_bytes, uint8_t *old);

/* The write is done. @durable: and needs no flush. */
void inject_image_written(struct inject_world *world, struct inject_image *image, bool durable);

/* A flush of @name that covers so many acknowledgements is done. */
void inject_images_flushed(struct inject_world *world, const char *name, uint64_t covers);
uint64_t inject_images_acked(struct inject_world *world);

/* Overlay what was there before the newest write of each sector. */
void inject_images_overlay(struct inject_world *world, const char *name, uint64_t offset_bytes,
	const struct iovec *iov, unsigned iov_count);

/* Decide what a power cut leaves of each volatile write. Under the world's lock. */
void inject_images_decide(struct inject_world *world);

/* The power is cut and no write is under way: put back what was lost, in files of @e. Not from
 * done(). */
void inject_images_restore(struct inject_engine *e);

/* Forget what nobody needs: all of them, or those that only a stale read could. */
void inject_images_trim(struct inject_world *world);

#endif
