/* SPDX-License-Identifier: MIT */
/* From a request to the writer's memory, and reading that.
 *
 *	live_locate	describe_lately		who is it? (see live_threads.h)
 *			await_call		which call, which arguments?
 *			iovec_read		where is its memory?
 *			live_call_match		is the request a part of it?
 *			is_right_file		and of this file?
 *			buffer_new		the pieces of memory that belong to the request
 *			check_mappings		can they be read without our own help?
 *
 * Invariants: I1 the writer waits for our answer, so its call and arguments stay as they are until
 *   then; the bytes do not. I2 nothing here enters our own file system, which would wait for us
 *   (see live_procfs.h): no memory is read, neither iovecs nor a buffer, before it was found to lie
 *   outside of mappings of our files (see live_maps.h).
 * Deliberately not done: io_uring and libaio, whose buffers are not arguments of a waiting call. */
#include "inflight/live.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "inflight/live_call.h"
#include "inflight/live_maps.h"
#include "inflight/live_procfs.h"
#include "inflight/live_threads.h"

struct live {
	struct live_threads threads;
	struct trees *trees; /* borrowed; may be NULL */
};

struct live_buffer {
	_Atomic unsigned holders;
	pid_t tid; /* 0: our own process */
	unsigned piece_count;
	struct iovec *window;  /* room for piece_count, in this allocation: the part to read */
	struct iovec pieces[]; /* in the other process */
};

const char *live_miss_name(enum live_miss miss)
{
	static const char *const names[LIVE_MISS_COUNT] = {
		[LIVE_FOUND] = "found",
		[LIVE_NOT_PERMITTED] = "not permitted",
		[LIVE_NOT_IN_CALL] = "not in a synchronous call",
		[LIVE_NO_MATCH] = "no match",
		[LIVE_GONE] = "gone",
		[LIVE_OWN_MAPPING] = "a mapping of this mount",
		[LIVE_AMBIGUOUS] = "ambiguous",
		[LIVE_RING_HIDDEN] = "ring hidden",
		[LIVE_AIO_UNSEEN] = "libaio not followed",
	};
	return names[miss];
}

static enum live_miss miss_of_error(int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:
		return LIVE_NOT_PERMITTED;
	case ENOENT:
	case ESRCH:
		return LIVE_GONE;
	case EAGAIN: /* it runs: whatever it wrote, it does not wait for that */
		return LIVE_NOT_IN_CALL;
	default:
		return LIVE_NO_MATCH;
	}
}

/* The part [skip, skip + len) of @from, into @to, which has room for as many. How many it took. */
static unsigned iovec_cut(const struct iovec *from, unsigned count, uint64_t skip_bytes,
	uint64_t len_bytes, struct iovec *to)
{
	unsigned taken = 0;
	for (unsigned i = 0; i < count && len_bytes; i++) {
		if (skip_bytes >= from[i].iov_len) {
			skip_bytes -= from[i].iov_len;
			continue;
		}
		uint64_t part = from[i].iov_len - skip_bytes;
		part = part < len_bytes ? part : len_bytes;
		to[taken++] = (struct iovec){(char *)from[i].iov_base + skip_bytes, part};
		skip_bytes = 0;
		len_bytes -= part;
	}
	return taken;
}

/* All of @remote, one after the other, into @out. 0 or -errno. */
static int memory_read(
	pid_t tid, const struct iovec *remote, unsigned count, void *out, size_t len_bytes)
{
	struct iovec local = {out, len_bytes};
	ssize_t n = process_vm_readv(tid, &local, 1, remote, count, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EFAULT; /* less: the rest is not mapped */
}

/* LIVE_FOUND: these pieces can be read, and nobody will ask us for them. */
static enum live_miss check_mappings(
	const struct live_request *req, const struct iovec *pieces, unsigned count)
{
	struct live_maps_question question = {pieces, count, req->dev};
	int ret = live_maps_ask(req->tid, &question);
	if (ret < 0)
		return miss_of_error(ret);
	return ret ? LIVE_OWN_MAPPING : LIVE_FOUND;
}

/* The memory that the call writes from. @iov has room for IOV_MAX. LIVE_FOUND or why not. */
static enum live_miss iovec_read(const struct live_request *req, const struct live_call *call,
	const struct procfs_syscall *now, struct iovec *iov, unsigned *count)
{
	void *where = (void *)(uintptr_t)now->args[1];
	*count = 1;
	iov[0] = (struct iovec){where, now->args[2]};
	if (!call->vectored)
		return LIVE_FOUND;
	if (now->args[2] == 0 || now->args[2] > IOV_MAX) /* no such call can have reached us */
		return LIVE_NO_MATCH;
	*count = (unsigned)now->args[2];
	struct iovec array = {where, *count * sizeof(*iov)};
	enum live_miss miss = check_mappings(req, &array, 1);
	if (miss != LIVE_FOUND)
		return miss;
	int ret = memory_read(req->tid, &array, 1, iov, array.iov_len);
	return ret < 0 ? miss_of_error(ret) : LIVE_FOUND;
}

/* What the call writes in all; 0 where the lengths are absurd (write(2) takes up to SSIZE_MAX). */
static uint64_t iovec_total(const struct iovec *iov, unsigned count)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < count; i++) {
		if (iov[i].iov_len > SSIZE_MAX - total)
			return 0;
		total += iov[i].iov_len;
	}
	return total;
}

static bool is_right_file(const struct live_request *req, int fd, const struct procfs_fd *info)
{
	if (!req->ino)
		return true;
	if (info->ino && info->ino != req->ino)
		return false;
	uint64_t dev;
	return !req->dev || (procfs_read_fd_dev(req->tid, fd, &dev) == 0 && dev == req->dev);
}

static struct live_buffer *buffer_new(
	pid_t tid, const struct iovec *iov, unsigned count, uint64_t skip_bytes, uint32_t len_bytes)
{
	struct live_buffer *buffer = malloc(sizeof(*buffer) + 2 * count * sizeof(*iov));
	if (!buffer)
		return NULL;
	buffer->holders = 1;
	buffer->tid = tid;
	buffer->piece_count = iovec_cut(iov, count, skip_bytes, len_bytes, buffer->pieces);
	buffer->window = buffer->pieces + buffer->piece_count;
	return buffer;
}

static void buffer_freep(struct live_buffer **buffer)
{
	free(*buffer);
}

/* The thread is in @call. Is the request a part of it? */
static enum live_miss locate_in_call(const struct live_request *req, const struct live_call *call,
	const struct procfs_syscall *now, struct live_buffer **out)
{
	int fd = (int)now->args[0];
	struct iovec iov[IOV_MAX];
	unsigned count;
	enum live_miss miss = iovec_read(req, call, now, iov, &count);
	if (miss != LIVE_FOUND)
		return miss;
	struct procfs_fd info;
	int ret = procfs_read_fd(req->tid, fd, &info);
	if (ret < 0) /* a descriptor that another thread has closed tells nothing */
		return ret == -ENOENT ? LIVE_NO_MATCH : miss_of_error(ret);
	uint64_t skip;
	if (!live_call_match(call, now, &info, req, iovec_total(iov, count), &skip) ||
		!is_right_file(req, fd, &info))
		return LIVE_NO_MATCH;
	cleanup(buffer_freep) struct live_buffer *buffer =
		buffer_new(req->tid, iov, count, skip, req->len_bytes);
	if (!buffer)
		return LIVE_NO_MATCH;
	miss = check_mappings(req, buffer->pieces, buffer->piece_count);
	if (miss == LIVE_FOUND)
		*out = take_ptr(&buffer);
	return miss;
}

/* ---- the thread ---- */

static void describe_lately(struct live *live, pid_t tid, struct event_writer *writer)
{
	uint64_t now_ns = clock_monotonic_ns();
	writer->tid = tid;
	if (live_threads_recall(&live->threads, tid, now_ns, writer))
		return;
	if (procfs_read_writer(tid, writer) == 0)
		live_threads_describe(&live->threads, tid, now_ns, writer);
}

/* What it is in, as soon as it is asleep. 0 or -errno as procfs_read_syscall(). */
static int await_call(struct live *live, pid_t tid, struct procfs_syscall *now)
{
	uint64_t begun_ns = clock_monotonic_ns();
	int ret = procfs_read_syscall(
		tid, live_threads_patience_ns(&live->threads, tid, begun_ns), now);
	if (ret == -EAGAIN)
		live_threads_ran(&live->threads, tid, begun_ns, clock_monotonic_ns());
	return ret;
}

enum live_miss live_locate(struct live *live, const struct live_request *req,
	struct live_buffer **out, struct event_writer *writer)
{
	*out = NULL;
	if (req->tid <= 0) /* the kernel's own, or of a PID namespace that we do not see */
		return LIVE_NOT_IN_CALL;
	/* First, since it gives the thread the time to fall asleep. */
	describe_lately(live, req->tid, writer);
	struct procfs_syscall now;
	int ret = await_call(live, req->tid, &now);
	if (ret < 0)
		return miss_of_error(ret);
	if (live_call_is_foreign(&now))
		return LIVE_NO_MATCH;
	const struct live_call *call = live_call_find(now.nr);
	if (!call)
		return LIVE_NOT_IN_CALL;
	snprintf(writer->call, sizeof(writer->call), "%s", call->name);
	if (!call->writes)
		return LIVE_NOT_IN_CALL;
	live_threads_waited(&live->threads, req->tid);
	return locate_in_call(req, call, &now, out);
}

int live_new(struct trees *trees, struct live **out)
{
	struct live *live = calloc(1, sizeof(*live));
	if (!live)
		return -ENOMEM;
	live->trees = trees;
	pthread_mutex_init(&live->threads.lock, NULL);
	*out = live;
	return 0;
}

void live_free(struct live *live)
{
	if (!live)
		return;
	pthread_mutex_destroy(&live->threads.lock);
	free(live);
}

/* ---- buffers ---- */

struct live_buffer *live_buffer_own(void *memory, uint32_t len_bytes)
{
	struct iovec all = {memory, len_bytes};
	return buffer_new(0, &all, 1, 0, len_bytes);
}

bool live_buffer_is_own(const struct live_buffer *buffer)
{
	return buffer->tid == 0;
}

pid_t live_buffer_tid(const struct live_buffer *buffer)
{
	return buffer->tid;
}

/* The part of the window that [offset, offset + len) is; 0: it ends outside. */
static unsigned buffer_aim(struct live_buffer *buffer, uint32_t offset_bytes, uint32_t len_bytes)
{
	return iovec_cut(
		buffer->pieces, buffer->piece_count, offset_bytes, len_bytes, buffer->window);
}

static uint8_t *own_memory(
	const struct live_buffer *buffer, uint32_t offset_bytes, uint32_t len_bytes)
{
	const struct iovec *all = buffer->pieces;
	if (offset_bytes > all->iov_len || len_bytes > all->iov_len - offset_bytes)
		return NULL;
	return (uint8_t *)all->iov_base + offset_bytes;
}

int live_buffer_read(
	struct live_buffer *buffer, uint32_t offset_bytes, void *out, uint32_t len_bytes)
{
	if (live_buffer_is_own(buffer)) {
		const uint8_t *from = own_memory(buffer, offset_bytes, len_bytes);
		return from ? (memcpy(out, from, len_bytes), 0) : -EFAULT;
	}
	unsigned count = buffer_aim(buffer, offset_bytes, len_bytes);
	return memory_read(buffer->tid, buffer->window, count, out, len_bytes);
}

int live_buffer_write(
	struct live_buffer *buffer, uint32_t offset_bytes, const void *data, uint32_t len_bytes)
{
	if (live_buffer_is_own(buffer)) {
		uint8_t *to = own_memory(buffer, offset_bytes, len_bytes);
		return to ? (memcpy(to, data, len_bytes), 0) : -EFAULT;
	}
	unsigned count = buffer_aim(buffer, offset_bytes, len_bytes);
	struct iovec local = {(void *)(uintptr_t)data, len_bytes};
	ssize_t n = process_vm_writev(buffer->tid, &local, 1, buffer->window, count, 0);
	if (n < 0)
		return -errno;
	return (size_t)n == len_bytes ? 0 : -EFAULT;
}

void live_buffer_hold(struct live_buffer *buffer)
{
	atomic_fetch_add(&buffer->holders, 1);
}

void live_buffer_free(struct live_buffer *buffer)
{
	if (buffer && atomic_fetch_sub(&buffer->holders, 1) == 1)
		free(buffer);
}
