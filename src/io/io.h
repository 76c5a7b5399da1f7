/* SPDX-License-Identifier: MIT */
/* The I/O seam: everything above runs on io_uring and on the simulated engine unchanged.
 * Owner thread: the one that calls io_run(); it alone may submit, and callbacks run on it.
 * Invariants: I1 each submitted request's done() runs exactly once, from io_run(), never from
 *   io_submit(). I2 a request that succeeds transferred all its bytes: engines complete short
 *   transfers themselves. I3 writes are volatile until an IO_FLUSH submitted after their
 *   completion has completed. I4 a request beyond the end of its file fails (-EIO for a read,
 *   -ENOSPC for a write) and changes nothing: files do not grow.
 * May use: base. Must not know: members, tuples, stripes. */
#ifndef STABLEFS_IO_IO_H
#define STABLEFS_IO_IO_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/errmsg.h"
#include "base/list.h"

struct io_engine;
struct io_file;

enum io_kind {
	IO_READ,
	IO_WRITE,
	IO_FLUSH, /* make the file's completed writes durable */
	IO_ALARM, /* no transfer: done() runs once engine time has reached due_ns */
};

/* One request. The caller owns it and what iov points at until done() has run; done() may free it
 * or submit it again. Offsets, lengths and addresses are multiples of the logical block (512; of
 * BLOCK_BYTES where the member's device wants that); else -EINVAL. */
struct io_req {
	struct list_node node; /* the engine's while submitted */
	enum io_kind kind;
	struct io_file *file; /* borrowed; not for IO_ALARM */
	uint64_t offset_bytes;
	const struct iovec *iov; /* borrowed; at most IO_MAX_IOV */
	unsigned iov_count;
	uint64_t due_ns; /* IO_ALARM: in io_now_ns() time */
	bool durable;    /* IO_WRITE: on the medium, whatever happens, when done() runs with 0 */
	/* On the owner thread. @err: 0 or -errno (-EIO, -ENOSPC, -ESHUTDOWN after a power cut). */
	void (*done)(struct io_req *req, int err);
	/* Engine scratch, never read by callers. */
	struct io_engine *engine;
	struct iovec rest_iov;
	uint64_t done_bytes;
	uint64_t event_ns, ack_ns, deadline_ns;
	void *record;
	unsigned tries;
	int result;
};

#define IO_MAX_IOV 256

enum io_open_flags {
	IO_OPEN_READONLY = 1,
	IO_OPEN_CREATE = 2,   /* make a new file of @size_bytes; -EEXIST where there is one, unless
	                         IO_OPEN_REPLACE */
	IO_OPEN_REPLACE = 4,  /* with CREATE: an existing file is emptied first; a device is kept */
	IO_OPEN_LOCK = 8,     /* exclusive among openers with this flag, also of this process, while
	                         open; waits up to IO_LOCK_WAIT_NS for a holder */
	IO_OPEN_BUFFERED = 16 /* do not use O_DIRECT (file systems that have none: see below) */
};

#define IO_LOCK_WAIT_NS (UINT64_C(10) * 1000000000)

/* A descriptor of somebody else's that the engine's owner listens to beside its own work. The
 * caller owns it until io_unwatch() has returned. */
struct io_watch {
	int fd; /* borrowed; what poll(2) can wait for */
	/* On the owner thread, from io_run(), which counts it as a done(): @fd has become readable.
	 * False: everything was read (the next call comes when there is more); true: it may be
	 * readable still, and the next io_run() calls again, and does not block before. May submit,
	 * and may end the watch. Also called where nothing is there to read: above all behind any
	 * done(), of which a run has only a few while somebody watches, since who was answered may
	 * ask for more already, and that is to start while others are answered. */
	bool (*ready)(struct io_watch *watch);
};

/* What an engine implements. Wrappers below say what each does; engines check nothing twice. */
struct io_engine_ops {
	const char *name; /* "uring", "simulated" */
	int (*open)(struct io_engine *io, const char *path, unsigned flags, uint64_t size_bytes,
		struct io_file **out, struct errmsg *why);
	void (*close)(struct io_file *file);
	uint64_t (*size_bytes)(const struct io_file *file);
	int (*zero)(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes);
	void (*set_timeout)(struct io_file *file, uint64_t timeout_ns);
	void (*submit)(struct io_engine *io, struct io_req *req);
	int (*run)(struct io_engine *io, bool wait);
	void (*push)(struct io_engine *io); /* NULL: nothing to do */
	void (*wake)(struct io_engine *io);
	int (*share)(struct io_engine *io); /* NULL: nothing to do */
	/* NULL, both: it can listen to nothing. */
	int (*watch)(struct io_engine *io, struct io_watch *watch);
	void (*unwatch)(struct io_engine *io);
	int (*register_memory)(struct io_engine *io, void *base, uint64_t len_bytes);
	uint64_t (*now_ns)(struct io_engine *io);
	void (*free)(struct io_engine *io);
};

/* First field of every engine and of every file of an engine. */
struct io_engine {
	const struct io_engine_ops *ops;
};
struct io_file {
	struct io_engine *engine; /* borrowed, outlives the file */
};

/* Open a member: a regular file or a block device (path "NAME" in the simulated world).
 * Falls back from O_DIRECT to buffered I/O where the file system has none (tmpfs before 6.6).
 * With CREATE @size_bytes is a multiple of 512, and the empty file is durable on return.
 * Blocking; owner thread, or while nothing is under way. -EBUSY: locked by another opener for
 * IO_LOCK_WAIT_NS. @why names the path. */
static inline int io_open(struct io_engine *io, const char *path, unsigned flags,
	uint64_t size_bytes, struct io_file **out, struct errmsg *why)
{
	return io->ops->open(io, path, flags, size_bytes, out, why);
}

/* Accepts NULL. No request of @file may be under way. Owner thread, or while nothing is. */
static inline void io_close(struct io_file *file)
{
	if (file)
		file->engine->ops->close(file);
}

static inline void io_closep(struct io_file **file)
{
	io_close(*file);
}

static inline uint64_t io_file_size_bytes(const struct io_file *file)
{
	return file->engine->ops->size_bytes(file);
}

/* Make the range read as zeros, without writing where the file or device can (punched, discarded
 * with zeros). Blocking; not durable before an IO_FLUSH. 0 or -errno (-ENOSPC beyond the end). */
static inline int io_zero(struct io_file *file, uint64_t offset_bytes, uint64_t len_bytes)
{
	return file->engine->ops->zero(file, offset_bytes, len_bytes);
}

/* A transfer or flush of @file that has not ended @timeout_ns after it was submitted (on io_uring:
 * handed to the kernel, which a full queue delays) ends with -ETIMEDOUT, and from then on every
 * other one of the file does at once: who waited once does not wait again, until this is called
 * again. The memory of a read that ended so is the caller's again:
 * what the medium may still deliver goes elsewhere (where the pages cannot be taken out of its way,
 * because the memory is not private and anonymous, the request waits on). 0: wait for ever (the
 * default). Owner thread. The file may be closed while such requests are still with the kernel. */
static inline void io_set_timeout(struct io_file *file, uint64_t timeout_ns)
{
	file->engine->ops->set_timeout(file, timeout_ns);
}

/* Queue @req; it starts at the next io_run() at the latest (submissions are batched). */
static inline void io_submit(struct io_engine *io, struct io_req *req)
{
	io->ops->submit(io, req);
}

/* Start what is queued, run done() of what has completed. With @wait, block until at least one
 * done() ran or io_wake() was called since the last return; returns at once where nothing is
 * under way and no wake can come in the simulated engine. Returns how many done() ran, or -errno
 * of the engine itself (not of a request). A wake is used up only by a return of 0, so a wait
 * may return once more than it has to, and never once less.
 * Whoever calls this is the owner; another thread may become it while nothing is under way
 * (alarms may be). Not from done(). */
static inline int io_run(struct io_engine *io, bool wait)
{
	return io->ops->run(io, wait);
}

/* From now on several threads run the engine in turn, each until nothing is under way, under a lock
 * of theirs, and nobody wakes it. A request costs a little more; a change of thread, which else is
 * dear, costs nothing. Before the first file is opened. 0 or -errno. */
static inline int io_share(struct io_engine *io)
{
	return io->ops->share ? io->ops->share(io) : 0;
}

/* Listen to @watch->fd from the next io_run() on, which calls ready() first. One watch at a time
 * (-EBUSY). -EOPNOTSUPP: the engine has none. Owner thread. */
static inline int io_watch(struct io_engine *io, struct io_watch *watch)
{
	return io->ops->watch ? io->ops->watch(io, watch) : -EOPNOTSUPP;
}

/* ready() is not called any more. Owner thread; there is a watch. */
static inline void io_unwatch(struct io_engine *io)
{
	io->ops->unwatch(io);
}

/* Who owns the engine goes on to compute: where nothing is on its way yet, what was submitted goes
 * now, and not only at the next io_run(). No done() runs. */
static inline void io_push(struct io_engine *io)
{
	if (io->ops->push)
		io->ops->push(io);
}

/* Make a blocked io_run() return. Any thread; async-signal-safe. */
static inline void io_wake(struct io_engine *io)
{
	io->ops->wake(io);
}

/* Announce memory that many requests will use, so that the kernel need not map it each time
 * (registered buffers). Requests wholly inside such memory use it by themselves. The memory stays
 * mapped as it is until the engine is freed. Optional: an error (-ENOMEM under a memlock limit,
 * -ENOSPC beyond 16 regions) costs speed only. */
static inline int io_register_memory(struct io_engine *io, void *base, uint64_t len_bytes)
{
	return io->ops->register_memory(io, base, len_bytes);
}

/* The engine's clock: CLOCK_MONOTONIC, or virtual time in the simulated engine. Any thread. */
static inline uint64_t io_now_ns(struct io_engine *io)
{
	return io->ops->now_ns(io);
}

/* Accepts NULL. All files are closed before; alarms that wait are forgotten, and their memory can
 * go after that. */
static inline void io_engine_free(struct io_engine *io)
{
	if (io)
		io->ops->free(io);
}

static inline void io_engine_freep(struct io_engine **io)
{
	io_engine_free(*io);
}

/* How a volume makes its engines: one for the stripes, one for the system area, over the same
 * members. @ctx is what the factory is made for (a sim_world, or nothing). */
struct io_factory {
	int (*engine_new)(
		const struct io_factory *factory, struct io_engine **out, struct errmsg *why);
	void *ctx;
};

/* Blocking transfers on an engine whose owner waits for one thing at a time (io/sync.c): submit
 * and run until done; other requests' done() may run meanwhile. A wake that comes meanwhile is
 * kept for the next io_run(). 0 or -errno. Owner thread, not from done(). */
int io_sync_read(struct io_file *file, uint64_t offset_bytes, void *buf, uint64_t len_bytes);
int io_sync_write(struct io_file *file, uint64_t offset_bytes, const void *buf, uint64_t len_bytes);
int io_sync_flush(struct io_file *file);

/* The same transfer on @count files of one engine at once (the mirrors of the system area); errs[i]
 * gets each result. files[i] may be NULL, a mirror that is missing: -ENODEV. */
void io_sync_write_all(struct io_file *const *files, unsigned count, uint64_t offset_bytes,
	const void *buf, uint64_t len_bytes, int *errs);
void io_sync_flush_all(struct io_file *const *files, unsigned count, int *errs);

#endif
