/* SPDX-License-Identifier: MIT */
/* Copy-on-write of a buffer in flight.
 *
 * A write samples its bytes several times, by address: the processor for guard and parity, the
 * kernel when it pins the pages for a member, which may be long after the submission (a worker of
 * io_uring, the rest of a short transfer, the second mirror). A page that stayed at the program's
 * address until somebody stores there could be exchanged between two of these. So the pages are
 * taken away at submission, to a place that no program knows, and all samples read them there:
 *
 *	program's address                 shadow (ours)
 *	[page page page]   --cow_take-->  [page page page]   mremap(DONTUNMAP): nothing is copied
 *	[  -    -    -  ]                      ^ guard, parity, io_uring
 *	touched: userfaultfd -> handler copies that one page back; it is the program's own
 *	[  -   copy  -  ]
 *	                 <-cow_give_back- untouched pages move home, the others are dropped
 *
 * Invariants:
 * C1 What a hold shows never changes: nobody but us has the shadow's address, and we only read it.
 * C2 A page of the program is away with one extent at most. It is away, or present at home, or was
 *    never touched: a fault on a watched page finds out under the lock which.
 * C3 Memory is watched only while an extent has it, and extents have whole pages of buffers in
 *    flight only. So our own data are never on a watched page, and nobody who holds the lock, the
 *    handler least of all, can meet a fault that the handler would have to answer. (The handler's
 *    stack is mapped by itself, not taken from the C library's used ones.)
 * C4 The lock is held across system calls that change our address space, never while memory of the
 *    program is touched, and nothing else is taken under it. So the handler always gets it, and
 *    every fault ends, whatever order writes are submitted and completed in.
 * C5 An extent that several writes of the same pages share goes home with the last of them.
 * C6 Across fork(2) no page is away: the child, which has no handler, finds all its bytes.
 * C7 What was unmapped by its program while it was away is dropped: nothing is mapped over what may
 *    lie there by now. */
#include "inflight/cow.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "inflight/cow_kernel.h"

#define CLASSES        15u /* 1 to 16384 pages */
#define HANDLER_STACK  (UINT64_C(1) << 20)
#define FAULTS_AT_ONCE 16u

enum page_state { PAGE_AWAY, PAGE_HOME };

struct cow_extent {
	struct list_node node; /* of cow->extents, or of cow->idle */
	unsigned class;
	uintptr_t shadow; /* owned: 1 << class pages of address space */
	uintptr_t home;
	size_t pages, away;
	unsigned refs;
	uint8_t state[]; /* of 1 << class pages; enum page_state */
};

struct cow {
	struct cow_kernel kernel;
	/* lock protects everything below, and what is mapped at homes and shadows (C4). */
	pthread_mutex_t lock;
	struct list extents; /* in flight; looked through one by one: they are few */
	struct list idle[CLASSES];
	struct cow_stats stats;
	bool forked;

	pthread_t handler;
	bool has_handler;
	void *handler_stack; /* owned */
	int stop_fd;         /* owned */
	struct list_node registry_node;
};

const char *cow_refusal_name(enum cow_refusal refusal)
{
	static const char *const names[COW_REFUSAL_COUNT] = {
		[COW_TAKEN] = "taken",
		[COW_UNALIGNED] = "unaligned",
		[COW_TOO_LONG] = "too long",
		[COW_NOT_PLAIN] = "not plain memory",
		[COW_OVERLAP] = "overlaps other writes",
		[COW_FRAGMENTED] = "too many mappings",
		[COW_BUSY] = "watched by others",
		[COW_GONE] = "after a fork",
	};
	return names[refusal];
}

/* ---- extents ---- */

static unsigned class_of(size_t pages)
{
	unsigned class = 0;
	while ((size_t)1 << class < pages)
		class ++;
	return class;
}

static void extent_free(struct cow_extent *e)
{
	if (!e)
		return;
	munmap((void *)e->shadow, (size_t)BLOCK_BYTES << e->class);
	free(e);
}

static struct cow_extent *extent_new(unsigned class)
{
	size_t pages = (size_t)1 << class;
	struct cow_extent *e = malloc(sizeof(*e) + pages);
	if (!e)
		return NULL;
	void *shadow = mmap(NULL, pages * BLOCK_BYTES, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shadow == MAP_FAILED) {
		free(e);
		return NULL;
	}
	*e = (struct cow_extent){.class = class, .shadow = (uintptr_t)shadow};
	list_node_init(&e->node);
	return e;
}

static uintptr_t page_home(const struct cow_extent *e, size_t i)
{
	return e->home + i * BLOCK_BYTES;
}

static uintptr_t page_shadow(const struct cow_extent *e, size_t i)
{
	return e->shadow + i * BLOCK_BYTES;
}

/* The part of @e that lies in [home, home + pages): false where none does. */
static bool extent_overlap(
	const struct cow_extent *e, uintptr_t home, size_t pages, size_t *first, size_t *end)
{
	uintptr_t from = max_u64(e->home, home);
	uintptr_t to = min_u64(page_home(e, e->pages), home + pages * BLOCK_BYTES);
	if (from >= to)
		return false;
	*first = (from - e->home) / BLOCK_BYTES;
	*end = (to - e->home) / BLOCK_BYTES;
	return true;
}

static size_t count_away(const struct cow_extent *e, size_t first, size_t end)
{
	if (e->away == e->pages)
		return end - first;
	size_t n = 0;
	for (size_t i = first; i < end; i++)
		n += e->state[i] == PAGE_AWAY;
	return n;
}

/* The extent that @home's page is away with, or NULL. */
static struct cow_extent *extent_of(struct cow *c, uintptr_t home, size_t *index)
{
	list_for_each (n, &c->extents) {
		struct cow_extent *e = container_of(n, struct cow_extent, node);
		size_t end;
		if (extent_overlap(e, home, 1, index, &end) && e->state[*index] == PAGE_AWAY)
			return e;
	}
	return NULL;
}

/* The run of pages in the same state from @at on. */
static size_t run_end(const struct cow_extent *e, size_t at)
{
	size_t end = at + 1;
	while (end < e->pages && e->state[end] == e->state[at])
		end++;
	return end;
}

/* ---- the handler ---- */

static void page_copied_home(struct cow *c, struct cow_extent *e, size_t i)
{
	e->state[i] = PAGE_HOME;
	e->away--;
	c->stats.pages_copied++;
}

/* C2. Where it fails (no memory) the thread is woken, faults again, and so we try again. */
static void fault_resolve(struct cow *c, uintptr_t home)
{
	size_t i;
	pthread_mutex_lock(&c->lock);
	struct cow_extent *e = extent_of(c, home, &i);
	if (e) {
		c->stats.faults++;
		if (cow_kernel_put_copy(&c->kernel, home, page_shadow(e, i), BLOCK_BYTES) == 0)
			page_copied_home(c, e, i);
	} else {
		(void)cow_kernel_put_zeros(&c->kernel, home, BLOCK_BYTES);
	}
	cow_kernel_wake(&c->kernel, home, BLOCK_BYTES);
	pthread_mutex_unlock(&c->lock);
}

static void *handler_run(void *arg)
{
	struct cow *c = arg;
	uintptr_t homes[FAULTS_AT_ONCE];
	for (;;) {
		struct pollfd fds[] = {{.fd = c->kernel.uffd, .events = POLLIN},
			{.fd = c->stop_fd, .events = POLLIN}};
		(void)poll(fds, 2, -1);
		if (fds[1].revents)
			return NULL;
		size_t n = cow_kernel_read_faults(&c->kernel, homes, FAULTS_AT_ONCE);
		for (size_t i = 0; i < n; i++)
			fault_resolve(c, homes[i]);
	}
}

/* On a stack of its own (C3), and without the program's signals: a signal handler could touch a
 * buffer. */
static int handler_start(struct cow *c)
{
	void *stack = mmap(NULL, HANDLER_STACK, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED)
		return -ENOMEM;
	c->handler_stack = stack;
	pthread_attr_t attr;
	sigset_t all, before;
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, HANDLER_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&c->handler, &attr, handler_run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	c->has_handler = err == 0;
	if (c->has_handler)
		pthread_setname_np(c->handler, "stablefs-cow");
	return -err;
}

static void handler_stop(struct cow *c)
{
	uint64_t one = 1;
	if (c->has_handler && write(c->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(c->handler, NULL);
	c->has_handler = false;
	if (c->handler_stack)
		munmap(c->handler_stack, HANDLER_STACK);
}

/* ---- fork: C6 ---- */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* protects registry */
static struct list registry;
static pthread_once_t registry_once = PTHREAD_ONCE_INIT;

static void extent_copy_home(struct cow *c, struct cow_extent *e)
{
	for (size_t at = 0, end; at < e->pages && e->away; at = end) {
		end = run_end(e, at);
		if (e->state[at] != PAGE_AWAY ||
			cow_kernel_put_copy(&c->kernel, page_home(e, at), page_shadow(e, at),
				(end - at) * BLOCK_BYTES) < 0)
			continue;
		for (size_t i = at; i < end; i++)
			page_copied_home(c, e, i);
	}
}

static void before_fork(void)
{
	pthread_mutex_lock(&registry_lock);
	list_for_each (n, &registry) {
		struct cow *c = container_of(n, struct cow, registry_node);
		pthread_mutex_lock(&c->lock);
		list_for_each (m, &c->extents)
			extent_copy_home(c, container_of(m, struct cow_extent, node));
	}
}

static void after_fork(bool forked)
{
	list_for_each (n, &registry) {
		struct cow *c = container_of(n, struct cow, registry_node);
		c->forked = c->forked || forked;
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&registry_lock);
}

static void after_fork_parent(void)
{
	after_fork(false);
}

static void after_fork_child(void)
{
	after_fork(true);
}

static void registry_init(void)
{
	list_init(&registry);
	(void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void registry_add(struct cow *c)
{
	pthread_once(&registry_once, registry_init);
	pthread_mutex_lock(&registry_lock);
	list_push_back(&registry, &c->registry_node);
	pthread_mutex_unlock(&registry_lock);
}

static void registry_remove(struct cow *c)
{
	pthread_mutex_lock(&registry_lock);
	list_remove(&c->registry_node);
	pthread_mutex_unlock(&registry_lock);
}

/* ---- take ---- */

static struct cow_extent *idle_take(struct cow *c, size_t pages)
{
	unsigned class = class_of(pages);
	pthread_mutex_lock(&c->lock);
	struct list_node *n = list_pop_front(&c->idle[class]);
	pthread_mutex_unlock(&c->lock);
	return n ? container_of(n, struct cow_extent, node) : extent_new(class);
}

/* Who has pages of the range away: nobody (*@out NULL), or one extent that has all of them. */
static enum cow_refusal find_away(
	struct cow *c, uintptr_t home, size_t pages, struct cow_extent **out, size_t *index)
{
	*out = NULL;
	list_for_each (n, &c->extents) {
		struct cow_extent *e = container_of(n, struct cow_extent, node);
		size_t first, end;
		if (!extent_overlap(e, home, pages, &first, &end))
			continue;
		size_t away = count_away(e, first, end);
		if (away == 0)
			continue;
		if (away < pages)
			return COW_OVERLAP;
		*out = e;
		*index = first;
		return COW_TAKEN;
	}
	return COW_TAKEN;
}

/* Nobody but the extents that still have a page away needs to hear of its faults. */
static void unwatch_rest(struct cow *c, uintptr_t home, size_t pages)
{
	size_t i, end;
	for (size_t at = 0; at < pages; at = end) {
		bool away = extent_of(c, home + at * BLOCK_BYTES, &i) != NULL;
		end = at + 1;
		while (end < pages && away == (extent_of(c, home + end * BLOCK_BYTES, &i) != NULL))
			end++;
		if (!away)
			(void)cow_kernel_unwatch(
				&c->kernel, home + at * BLOCK_BYTES, (end - at) * BLOCK_BYTES);
	}
}

/* Stores in flight leave a buffer cut up into mappings that the kernel does not join again while
 * they have pages: then each is moved by itself. */
static int move_pieces(struct cow *c, uintptr_t home, uintptr_t shadow, size_t len)
{
	size_t at = 0;
	while (at < len) {
		size_t n = cow_kernel_run(&c->kernel, home + at, len - at);
		if (n == 0 || cow_kernel_move(home + at, shadow + at, n) < 0)
			break;
		at += n;
	}
	if (at == len)
		return 0;
	if (at)
		(void)cow_kernel_put_copy(&c->kernel, home, shadow, at);
	return -EFAULT;
}

/* The pages of @e, which is not in flight yet, leave home. */
static enum cow_refusal extent_leave_home(struct cow *c, struct cow_extent *e)
{
	size_t len = e->pages * BLOCK_BYTES;
	int err = cow_kernel_watch(&c->kernel, e->home, len);
	if (err < 0)
		return err == -EBUSY || err == -ENOMEM ? COW_BUSY : COW_NOT_PLAIN;
	if (cow_kernel_move(e->home, e->shadow, len) == 0 ||
		move_pieces(c, e->home, e->shadow, len) == 0)
		return COW_TAKEN;
	unwatch_rest(c, e->home, e->pages);
	(void)madvise((void *)e->shadow, len, MADV_DONTNEED);
	return COW_FRAGMENTED;
}

/* Move the pages away: *@e becomes the extent, unless one that is there is shared. */
static enum cow_refusal take_locked(struct cow *c, uintptr_t home, size_t pages,
	struct cow_extent **spare, struct cow_hold *out)
{
	struct cow_extent *e;
	size_t index = 0;
	if (c->forked)
		return COW_GONE;
	enum cow_refusal refusal = find_away(c, home, pages, &e, &index);
	if (refusal)
		return refusal;
	if (!e) {
		e = *spare;
		e->home = home;
		e->pages = e->away = pages;
		e->refs = 0;
		memset(e->state, PAGE_AWAY, pages);
		refusal = extent_leave_home(c, e);
		if (refusal)
			return refusal;
		*spare = NULL;
		list_push_back(&c->extents, &e->node);
	}
	c->stats.shared += e->refs > 0;
	e->refs++;
	*out = (struct cow_hold){(const uint8_t *)page_shadow(e, index), e};
	return COW_TAKEN;
}

static enum cow_refusal take(struct cow *c, uintptr_t home, size_t len_bytes, struct cow_hold *out)
{
	if (home % BLOCK_BYTES || len_bytes % BLOCK_BYTES || !len_bytes)
		return COW_UNALIGNED;
	if (len_bytes > COW_MAX_BYTES)
		return COW_TOO_LONG;
	if (!cow_kernel_is_plain(&c->kernel, home, len_bytes))
		return COW_NOT_PLAIN;
	size_t pages = len_bytes / BLOCK_BYTES;
	struct cow_extent *spare = idle_take(c, pages);
	if (!spare)
		return COW_BUSY;
	unsigned class = spare->class;
	pthread_mutex_lock(&c->lock);
	enum cow_refusal refusal = take_locked(c, home, pages, &spare, out);
	if (spare)
		list_push_front(&c->idle[class], &spare->node);
	pthread_mutex_unlock(&c->lock);
	return refusal;
}

enum cow_refusal cow_take(struct cow *c, const void *memory, size_t len_bytes, struct cow_hold *out)
{
	enum cow_refusal refusal = take(c, (uintptr_t)memory, len_bytes, out);
	pthread_mutex_lock(&c->lock);
	c->stats.taken += refusal == COW_TAKEN;
	c->stats.refused[refusal] += refusal != COW_TAKEN;
	pthread_mutex_unlock(&c->lock);
	return refusal;
}

/* ---- give back ---- */

static bool is_still_there(struct cow *c, const struct cow_extent *e)
{
	size_t first = 0, last = e->pages - 1;
	while (first < last && e->state[first] != PAGE_AWAY)
		first++;
	while (last > first && e->state[last] != PAGE_AWAY)
		last--;
	return cow_kernel_is_watched(&c->kernel, page_home(e, first)) &&
	       (first == last || cow_kernel_is_watched(&c->kernel, page_home(e, last)));
}

static void put_runs_home(struct cow *c, struct cow_extent *e)
{
	for (size_t at = 0, end; at < e->pages; at = end) {
		end = run_end(e, at);
		if (e->state[at] == PAGE_AWAY)
			(void)cow_kernel_put(&c->kernel, page_home(e, at), page_shadow(e, at),
				(end - at) * BLOCK_BYTES);
	}
}

/* All untouched: the mapping itself moves home, over the empty one, and is not watched there. Else
 * page by page, since a mapping that is cut up could not be taken again as one. */
static void extent_go_home(struct cow *c, struct cow_extent *e)
{
	size_t len = e->pages * BLOCK_BYTES;
	list_remove(&e->node);
	bool there = !e->away || is_still_there(c, e);
	bool moved = there && e->away == e->pages && cow_kernel_move(e->shadow, e->home, len) == 0;
	c->stats.vanished += !there;
	if (there && !moved)
		put_runs_home(c, e);
	if (!moved) {
		unwatch_rest(c, e->home, e->pages);
		(void)madvise((void *)e->shadow, len, MADV_DONTNEED);
	}
	cow_kernel_wake(&c->kernel, e->home, len);
}

void cow_give_back(struct cow *c, struct cow_hold *hold)
{
	struct cow_extent *e = hold->extent;
	hold->extent = NULL;
	pthread_mutex_lock(&c->lock);
	assert(e->refs);
	if (--e->refs == 0) {
		if (!c->forked)
			extent_go_home(c, e);
		else
			list_remove(&e->node);
		list_push_front(&c->idle[e->class], &e->node);
	}
	pthread_mutex_unlock(&c->lock);
}

struct cow_stats cow_stats(struct cow *c)
{
	pthread_mutex_lock(&c->lock);
	struct cow_stats stats = c->stats;
	pthread_mutex_unlock(&c->lock);
	return stats;
}

/* ---- the beginning and the end ---- */

/* Two pages go through it: a store of ours into the first, one of the kernel's into the second. */
static bool try_pages(struct cow *c, volatile uint8_t *pages, int pipe_out)
{
	struct cow_hold hold;
	pages[0] = pages[BLOCK_BYTES] = 'a';
	if (cow_take(c, (const void *)pages, (size_t)2 * BLOCK_BYTES, &hold) != COW_TAKEN)
		return false;
	pages[1] = 'b';
	bool stored = read(pipe_out, (void *)(pages + BLOCK_BYTES + 1), 1) == 1;
	bool right = pages[0] == 'a' && pages[1] == 'b' && pages[BLOCK_BYTES] == 'a' &&
		     pages[BLOCK_BYTES + 1] == 'k' && hold.data[0] == 'a' && !hold.data[1] &&
		     !hold.data[BLOCK_BYTES + 1];
	cow_give_back(c, &hold);
	return stored && right;
}

static int try_out(struct cow *c, struct errmsg *why)
{
	int ends[2];
	void *pages = mmap(NULL, (size_t)2 * BLOCK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || pipe2(ends, O_CLOEXEC) < 0)
		return errmsg_set(why, -ENOMEM, "no memory or descriptors to try it out");
	bool works = write(ends[1], "k", 1) == 1 && try_pages(c, pages, ends[0]);
	close(ends[0]);
	close(ends[1]);
	munmap(pages, (size_t)2 * BLOCK_BYTES);
	c->stats = (struct cow_stats){0};
	return works ? 0
		     : errmsg_set(why, -EOPNOTSUPP,
			       "this kernel cannot take pages away (mremap with MREMAP_DONTUNMAP: "
			       "Linux 5.7)");
}

static struct cow *alloc(void)
{
	struct cow *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->kernel = (struct cow_kernel){.uffd = -1, .maps_fd = -1};
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->extents);
	for (unsigned i = 0; i < CLASSES; i++)
		list_init(&c->idle[i]);
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	registry_add(c);
	return c;
}

int cow_new(struct cow **out, struct errmsg *why)
{
	struct cow *c = alloc();
	if (!c)
		return errmsg_set(why, -ENOMEM, "out of memory");
	int err = c->stop_fd < 0 ? -EMFILE : cow_kernel_open(&c->kernel, why);
	if (!err)
		err = handler_start(c);
	if (!err)
		err = try_out(c, why);
	if (err < 0) {
		cow_free(c);
		return errmsg_set(why, err, "%s", strerror(-err));
	}
	*out = c;
	return 0;
}

/* In the child of a fork there is no handler to end, and the descriptors are the parent's: only
 * memory goes. */
void cow_free(struct cow *c)
{
	if (!c)
		return;
	assert(c->forked || list_empty(&c->extents));
	registry_remove(c);
	c->has_handler = c->has_handler && !c->forked;
	handler_stop(c);
	cow_kernel_close(&c->kernel);
	cleanup_closep(&c->stop_fd);
	for (unsigned i = 0; i < CLASSES; i++) {
		struct list_node *n;
		while ((n = list_pop_front(&c->idle[i])))
			extent_free(container_of(n, struct cow_extent, node));
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}
