/* SPDX-License-Identifier: MIT */
/* Live memory: where in the writer's address space the bytes of a direct write are, or those of a
 * direct read are to go.
 *
 * A FUSE request carries the thread id of its writer. Three ways lead from there to the memory:
 *  - The thread waits in a synchronous call (write, pwrite64, writev, pwritev, pwritev2, and the
 *    same to read): /proc/TID/syscall (proc(5)) shows the call and its arguments, and the iovec
 *    array is read with process_vm_readv(2). POSIX aio is threads that do this.
 *  - Its process has an io_uring, whose shared memory keeps the submission: live_ring.h.
 *  - It uses libaio in a tree of processes that is followed, or is still inside io_submit(2):
 *    live_aio.h.
 * One call or submission may reach us as several requests, each for a part of the range. Needs the
 * same user or CAP_SYS_PTRACE; under Yama's ptrace_scope 1 an ancestor, or the writer's
 * prctl(PR_SET_PTRACER).
 *
 * Any thread; one reading of a buffer at a time. Reads nothing but the arguments and the buffer of
 * the call that is being served, the rings of its process, and where its iovecs point. Never asks
 * our own file system for anything, which would wait for us: so a buffer that lies, also in part,
 * in a mapping of a file of the mount is not read, be its pages present or not (they may go at any
 * time). Limits:
 *  - A reading waits where the memory must be paged in from elsewhere, and while a thread of the
 *    writer's process holds its mmap lock. Should that thread wait for us meanwhile (mmap(2) of a
 *    file that is open for direct I/O writes that file's dirty pages back under the lock), and can
 *    nobody but the thread that reads serve it, then neither goes on until the mount is aborted.
 *    Threads that look into the rings of one process take turns, and so wait together.
 *  - A mapping of the mount that replaces a located buffer while the write is in flight is not
 *    noticed.
 *  - Nor is one that reaches the mount by a detour (see live_maps.h).
 *  - Of a child of vfork(2) that writes, executes a program and writes again, all within a tenth of
 *    a second, the mappings may be looked at that it had before (see live_handle.h).
 *  - Several writes of one range that are in flight at once in rings or by libaio, with the same
 *    bytes from different buffers, are LIVE_AMBIGUOUS. */
#ifndef STABLEFS_INFLIGHT_LIVE_H
#define STABLEFS_INFLIGHT_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/event.h"

/* Why a write could not be observed; counted by reason. */
enum live_miss {
	LIVE_FOUND,
	LIVE_NOT_PERMITTED, /* may not read that process */
	LIVE_NOT_IN_CALL,   /* the thread is in no call that writes, and its process has no ring */
	LIVE_NO_MATCH,      /* call or rings are of another range or file; or it is a 32-bit one */
	LIVE_GONE,          /* the process has ended */
	LIVE_OWN_MAPPING,   /* buffer or iovecs are in a mapping of a file of this mount */
	LIVE_AMBIGUOUS,     /* several submissions of a ring or of libaio could be this one */
	LIVE_RING_HIDDEN,   /* the process has a ring whose entries cannot be seen */
	LIVE_AIO_UNSEEN,    /* libaio, of a program that neither check nor run has started */
	LIVE_MISS_COUNT
};
const char *live_miss_name(enum live_miss miss); /* "not permitted", ... */

/* The request, as FUSE delivers it.
 *
 * With O_APPEND (also where only the descriptor's flags or RWF_APPEND say so: that is found out
 * here) the call's offset does not count. Where in the file such a call began, and so which part of
 * it a request is, cannot be known from outside: it is found only where it is one request. */
struct live_request {
	pid_t tid;             /* fuse_in_header.pid: the calling thread */
	uint64_t offset_bytes; /* of this request in the file */
	uint32_t len_bytes;
	uint64_t ino; /* st_ino, to tell a thread's files apart; 0: do not check */
	uint64_t dev; /* st_dev of the mount; 0: unknown: not checked, and see live_maps.h */
	bool append;  /* the file is open with O_APPEND */
	bool is_read; /* a read: its buffer is where the bytes are to go */
	/* The bytes of a write as the kernel copied them, borrowed for the call; NULL: unknown.
	 * They decide where several submissions could be this one. */
	const void *bytes;
};

/* A locator: what it remembers of threads and of their rings, and the process trees that somebody
 * runs (tree.h; borrowed, may be NULL). Any thread. */
struct live;
struct trees;
int live_new(struct trees *trees, struct live **out);
void live_free(struct live *live); /* accepts NULL */

/* A located buffer: up to some pieces of another process's memory. Opaque; counted. */
struct live_buffer;

/* Memory of our own process, as a buffer: read and written directly. It must stay mapped. NULL: out
 * of memory. */
struct live_buffer *live_buffer_own(void *memory, uint32_t len_bytes);

bool live_buffer_is_own(const struct live_buffer *buffer);
pid_t live_buffer_tid(const struct live_buffer *buffer); /* a thread of that process */

/* Once for each request: what a ring has submitted is found once. LIVE_FOUND: *@out is the
 * buffer of this request (release with live_buffer_free, or give it to source_live_new), and
 * @writer has pid, tid, uid, comm and call (the system call's name, "io_uring" or "libaio").
 * Else *@out is NULL and @writer has what is known; fields that nothing is known of stay as
 * they are. Who a thread is may be as old as a tenth of a second. A thread that has not fallen
 * asleep yet is waited for, for up to two milliseconds (less, for a while, where that was in
 * vain several times: see live_threads.h); then it counts as not in a call, which happens to
 * some writes where more threads want to run than there are processors. */
enum live_miss live_locate(struct live *live, const struct live_request *req,
	struct live_buffer **out, struct event_writer *writer);

/* Copy [offset, offset + len) of the buffer as it is now. 0, -ESRCH, -EPERM, -EFAULT (a part is not
 * mapped, or the range ends outside of the buffer; @out may then hold a part). */
int live_buffer_read(
	struct live_buffer *buffer, uint32_t offset_bytes, void *out, uint32_t len_bytes);

/* Store into it: a read's bytes. Errors as above. */
int live_buffer_write(
	struct live_buffer *buffer, uint32_t offset_bytes, const void *data, uint32_t len_bytes);

/* One more who holds it; live_buffer_free() gives it back. Any thread. */
void live_buffer_hold(struct live_buffer *buffer);
void live_buffer_free(struct live_buffer *buffer); /* accepts NULL */

#endif
