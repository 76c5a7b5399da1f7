/* SPDX-License-Identifier: MIT */
/* What the parts of the io_uring engine share: uring.c (the turn of the engine), uring_ring.c (the
 * kernel's ring and its tables), uring_request.c (a request as entries), uring_flight.c (requests
 * that may be out of time), uring_file.c (members). */
#ifndef STABLEFS_IO_URING_INTERNAL_H
#define STABLEFS_IO_URING_INTERNAL_H

#include <liburing.h>
#include <stdatomic.h>
#include "io/io.h"

#define URING_FILES     64u   /* slots of the registered file table; further files work without */
#define URING_REGIONS   16u   /* slots of the registered buffer table */
#define URING_MAX_TRIES 1000u /* how often one request meets -EAGAIN before it fails with it */

/* user_data of the entry that waits for the eventfd, and of those that cancel others; requests have
 * their address, flights theirs and a bit, the entries of watches their number and these bits. */
#define URING_TAG_WAKE   UINT64_C(1)
#define URING_TAG_CANCEL UINT64_C(4)
#define URING_TAG_FLIGHT UINT64_C(2)
#define URING_TAG_WATCH  UINT64_C(5)
#define URING_TAG_BITS   UINT64_C(7)

struct uring_file {
	struct io_file base;
	int fd;
	int slot; /* of the registered table, -1: none */
	bool is_device;
	bool in_memory; /* of a memory file system (tmpfs) */
	bool locked;
	uint64_t size_bytes;
	unsigned under_way; /* requests; only to catch a close that is too early */

	uint64_t timeout_ns;         /* 0: none */
	struct list_node timed_node; /* on timed_files, where there is a timeout */
	struct list flights;         /* uring_flight, by deadline */
	bool timed_out;              /* one of its requests was out of time */
	bool no_nowait;              /* RWF_NOWAIT is not supported */
	bool closed;                 /* freed with its last orphan */
	unsigned orphan_count;
};

/* A request of a file with a timeout, from its entry to its completion. */
struct uring_flight {
	struct list_node node; /* on flights of its file, on orphans, or on idle_flights */
	struct io_req *req;    /* borrowed; NULL: it ended without the kernel */
	struct uring_file *file;
	uint64_t deadline_ns;
	void *staging;  /* owned; what a read is read into in the caller's stead */
	int err;        /* the entry does nothing, for this reason */
	bool nowait;    /* RWF_NOWAIT */
	bool cancelled; /* the kernel was asked to give it back */
};

struct uring_region {
	char *base;
	uint64_t len_bytes;
	int slot; /* of the kernel's table, -1: the ring at hand refused it */
};

/* The descriptor that is listened to, by an entry that polls it (uring_watch.c). */
struct uring_watch {
	struct io_watch *its; /* borrowed; NULL: none */
	uint64_t number;      /* of the entry */
	bool armed;           /* the entry is in the ring */
	bool stale;           /* an entry is in the ring whose watch has ended: to be cancelled */
	bool ready;           /* there may be something to read */
};

struct uring_engine {
	struct io_engine base;
	unsigned depth;
	struct io_uring ring;
	bool ring_ok;
	bool shared; /* io_share(): the ring belongs to no thread, and has no wake */
	bool has_file_table, has_buffer_table;
	bool wake_armed; /* the entry that polls wake_fd is in the ring */
	struct uring_watch watch;
	uint64_t owner;        /* thread number, 0: nobody has run the ring yet */
	unsigned in_flight;    /* requests with an entry in the ring, at most depth - 1 */
	uint64_t copied_bytes; /* without the ring, since it was last entered */
	struct list backlog;   /* requests that wait for an entry, oldest first */
	struct list settled;   /* requests whose result is known without the kernel */
	struct list alarms;    /* by due_ns, then age */
	struct list timed_files;
	struct list orphans, idle_flights; /* uring_flight */
	unsigned orphan_count;
	struct uring_file *files[URING_FILES];
	struct uring_region regions[URING_REGIONS];
	unsigned region_count;
	uint64_t lock_wait_ns;

	/* Any thread. A waker sets woken, then writes to wake_fd if it finds sleeping set; the
	 * owner sets sleeping, then sleeps if it finds woken clear. Both are sequentially
	 * consistent, so at least one of them sees the other. */
	int wake_fd;
	atomic_bool woken;
	atomic_bool sleeping;
};

static inline struct uring_engine *uring_engine_of(struct io_engine *io)
{
	return container_of(io, struct uring_engine, base);
}

static inline struct uring_file *uring_file_of(const struct io_file *file)
{
	return container_of(file, struct uring_file, base);
}

/* uring_ring.c. A ring belongs to the thread that first runs it (IORING_SETUP_SINGLE_ISSUER). */

/* Make the ring, with the best set of flags that the kernel takes. -errno and @why. */
int uring_ring_new(struct uring_engine *e, struct errmsg *why);
void uring_ring_free(struct uring_engine *e);

/* Make the calling thread the ring's owner: enables a new ring, replaces one that another thread
 * has run. -EBUSY: that thread still has requests under way. */
int uring_ring_own(struct uring_engine *e);

/* Does the ring know the calling thread as the one that may run it? */
bool uring_ring_is_ours(const struct uring_engine *e);

/* The same for a change of the tables, which is also allowed before anybody owns the ring. */
int uring_ring_touch(struct uring_engine *e);

/* Put a file into the table or take it out; without a slot it works all the same. */
void uring_ring_add_file(struct uring_engine *e, struct uring_file *f);
void uring_ring_remove_file(struct uring_engine *e, struct uring_file *f);

int uring_ring_add_region(struct uring_engine *e, void *base, uint64_t len_bytes);

/* From now on the kernel's table has none of this memory: its pages are others. */
void uring_ring_forget_region(struct uring_engine *e, void *base, uint64_t len_bytes);

/* uring_request.c */

/* What a request that left its SQE with @res (bytes or -errno) needs next: true where it is to be
 * handed to the kernel again (for the rest, or after -EAGAIN), false where req->result is final. */
bool uring_request_advance(struct io_req *req, int res);

/* Fill @sqe with what is left of the request. @flight: NULL where the file has no timeout. */
void uring_request_prepare(struct uring_engine *e, struct io_req *req, struct uring_flight *flight,
	struct io_uring_sqe *sqe);

/* A transfer of memory to memory, or next to nothing: the kernel does not do it in the ring, and a
 * thread that it wakes for it costs more than the copy. The second one does it, to the end. */
bool uring_request_is_copy(const struct uring_engine *e, const struct io_req *req);
void uring_request_copy(struct uring_engine *e, struct io_req *req);

/* What is left to transfer and goes as one entry: a vector, its length in *@count. */
const struct iovec *uring_request_rest(struct io_req *req, unsigned *count);

/* uring_flight.c */
void uring_file_set_timeout(struct io_file *file, uint64_t timeout_ns);

/* The request is about to get an entry. NULL: out of memory. */
struct uring_flight *uring_flight_begin(
	struct uring_engine *e, struct io_req *req, uint64_t now_ns);

/* Its entry is done: the request, where somebody still waits for it (*@res may change); or NULL. */
struct io_req *uring_flight_completed(
	struct uring_engine *e, struct uring_flight *flight, int *res);

/* Settle what is out of time. */
void uring_flight_expire(struct uring_engine *e);

/* When that is to be called next, UINT64_MAX: nothing waits. */
uint64_t uring_flight_next_deadline(struct uring_engine *e);

/* The ring goes with what is orphaned in it. */
void uring_flights_abandon(struct uring_engine *e);

/* Take orphans back that the kernel gives at once. On the ring's thread. */
void uring_flights_drain(struct uring_engine *e);
void uring_flights_free(struct uring_engine *e);

static inline uint64_t uring_flight_tag(const struct uring_flight *flight)
{
	return (uint64_t)(uintptr_t)flight | URING_TAG_FLIGHT;
}

/* NULL: the tag is of something else. */
static inline struct uring_flight *uring_flight_of_tag(uint64_t tag)
{
	if (tag == LIBURING_UDATA_TIMEOUT || !(tag & URING_TAG_FLIGHT))
		return NULL;
	return (struct uring_flight *)(uintptr_t)(tag & ~URING_TAG_FLIGHT);
}

/* uring_watch.c */
int uring_watch_begin(struct io_engine *io, struct io_watch *watch);
void uring_watch_end(struct io_engine *io);

/* Before the ring is entered: have its entry there, or have it taken back. */
void uring_watch_arm(struct uring_engine *e);

/* Its entry has said something. */
void uring_watch_told(struct uring_engine *e, uint64_t tag, uint32_t flags);

/* Tell the one who watches, if there is reason to; @likely: there may be, though the kernel has not
 * said so yet. Returns how often. */
int uring_watch_serve(struct uring_engine *e, bool likely);

/* The ring has gone, and its entry with it. */
void uring_watch_forget(struct uring_engine *e);

/* uring_file.c */
int uring_file_open(struct io_engine *io, const char *path, unsigned flags, uint64_t size_bytes,
	struct io_file **out, struct errmsg *why);
void uring_file_close(struct io_file *file);
void uring_file_free(struct uring_file *f);
uint64_t uring_file_size_bytes(const struct io_file *file);
int uring_file_zero(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes);

/* uring.c, for tests: a bound shorter than IO_LOCK_WAIT_NS. */
void uring_engine_set_lock_wait(struct io_engine *io, uint64_t wait_ns);

#endif
