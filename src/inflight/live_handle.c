/* SPDX-License-Identifier: MIT */
/* Taking, giving back and using the descriptors of a thread. */
#include "inflight/live_handle.h"

#include <errno.h>
#include "base/cleanup.h"
#include "inflight/live_maps.h"

static const struct live_handle no_handle = {.syscall_fd = -1, .maps_fd = -1};

static void handle_close(struct live_handle *h)
{
	cleanup_closep(&h->syscall_fd);
	cleanup_closep(&h->maps_fd);
	*h = no_handle;
}

void live_handles_init(struct live_handles *t)
{
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < LIVE_HANDLES; i++)
		t->slots[i] = no_handle;
	t->swept = 0;
}

void live_handles_destroy(struct live_handles *t)
{
	for (unsigned i = 0; i < LIVE_HANDLES; i++)
		handle_close(&t->slots[i]);
	pthread_mutex_destroy(&t->lock);
}

/* With the lock held. Threads of a process have numbers in a row, and so slots of their own. */
static struct live_handle *slot_of(struct live_handles *t, pid_t tid)
{
	return &t->slots[(unsigned)tid % LIVE_HANDLES];
}

static bool is_old(const struct live_handle *h, uint64_t now_ns)
{
	return h->tid && now_ns - h->opened_ns > LIVE_HANDLE_NS;
}

void live_handle_take(struct live_handles *t, pid_t tid, struct live_handle *out)
{
	uint64_t now_ns = clock_monotonic_ns();
	*out = no_handle;
	pthread_mutex_lock(&t->lock);
	struct live_handle *slot = slot_of(t, tid);
	if (slot->tid == tid) {
		*out = *slot;
		*slot = no_handle;
	}
	pthread_mutex_unlock(&t->lock);
	if (is_old(out, now_ns))
		handle_close(out);
	if (!out->tid) {
		out->tid = tid;
		out->opened_ns = now_ns;
	}
}

void live_handle_give(struct live_handles *t, struct live_handle *h)
{
	pthread_mutex_lock(&t->lock);
	struct live_handle *slot = slot_of(t, h->tid);
	handle_close(slot);
	*slot = *h;
	struct live_handle *swept = &t->slots[t->swept++ % LIVE_HANDLES];
	if (is_old(swept, h->opened_ns))
		handle_close(swept);
	pthread_mutex_unlock(&t->lock);
	*h = no_handle;
}

/* 0, or -errno. */
static int open_once(int *fd, pid_t tid, const char *fmt)
{
	if (*fd < 0)
		*fd = procfs_open(fmt, tid);
	return *fd < 0 ? *fd : 0;
}

/* True where the maps are certainly of another address space than the thread's. */
static bool maps_are_stale(const struct live_handle *h, const struct procfs_syscall *now)
{
	struct live_mapping code;
	int ret = live_maps_at(h->maps_fd, now->pc, &code);
	return ret != -ENOTTY && (ret < 0 || !code.executable);
}

int live_handle_read_syscall(
	struct live_handle *h, uint64_t patience_ns, struct procfs_syscall *out)
{
	int ret = open_once(&h->syscall_fd, h->tid, "/proc/%d/syscall");
	if (ret == 0)
		ret = procfs_reread_syscall(h->syscall_fd, patience_ns, out);
	/* Threads of the kernel that work for the process have no program counter. */
	if (ret == 0 && h->maps_fd >= 0 && out->pc && maps_are_stale(h, out)) {
		close(h->maps_fd);
		h->maps_fd = -1;
	}
	return ret;
}

static int query(struct live_handle *h, const struct live_maps_question *question)
{
	int ret = open_once(&h->maps_fd, h->tid, "/proc/%d/maps");
	return ret < 0 ? ret : live_maps_query(h->maps_fd, question);
}

int live_handle_ask_maps(
	struct live_handle *h, const struct iovec *pieces, unsigned count, uint64_t dev)
{
	struct live_maps_question question = {pieces, count, dev};
	bool was_open = h->maps_fd >= 0;
	int ret = query(h, &question);
	if (ret == -ESRCH && was_open) { /* the address space of before an execve(2) */
		close(h->maps_fd);
		h->maps_fd = -1;
		ret = query(h, &question);
	}
	return ret == -ENOTTY ? live_maps_ask(h->tid, &question) : ret;
}
