/* SPDX-License-Identifier: MIT */
/* A table of processes with the rings of each, and the search in these.
 *
 * Locks: the table's protects who is in it, and is held for moments only; a process's protects its
 * rings while they are read and searched. The table's comes first; both are held together only to
 * take a process that nobody uses. */
#include "inflight/live_ring.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "inflight/live_maps.h"
#include "inflight/live_procfs.h"
#include "inflight/live_ring_choice.h"
#include "inflight/live_ring_entries.h"

#define LOOK_SHARE 10u /* a look that took a second is not repeated for ten */

struct process {
	pid_t tgid;     /* 0: nobody. Protected by the table's lock, as the next two are */
	unsigned users; /* threads that are in it, or wait for its lock */
	uint64_t used_ns;
	pthread_mutex_t lock; /* protects what follows */
	pid_t owner;          /* whose rings these are: tgid, once they were looked for */
	int maps_fd;          /* -1: none */
	uint64_t maps_ns;     /* when it was opened */
	int statm_fd;         /* -1: none */
	uint64_t looked_ns;   /* the last look for rings ended; 0: never */
	uint64_t look_cost_ns;
	uint64_t pages; /* the process's size then */
	bool hidden;    /* it has a ring whose memory is not to be found */
	struct ring *rings;
	unsigned ring_count;
};

struct live_rings {
	struct live_files *files;
	_Atomic int way; /* enum ring_way */
	pthread_mutex_t lock;
	struct process processes[LIVE_RINGS_PROCESSES];
};

/* ---- processes ---- */

static void fd_close(int *fd)
{
	cleanup_closep(fd);
	*fd = -1;
}

static void rings_clear(struct process *p)
{
	for (unsigned i = 0; i < p->ring_count; i++)
		ring_clear(&p->rings[i]);
	free(p->rings);
	p->rings = NULL;
	p->ring_count = 0;
}

/* Nothing is known of it. */
static void process_reset(struct process *p)
{
	rings_clear(p);
	fd_close(&p->maps_fd);
	fd_close(&p->statm_fd);
	p->looked_ns = 0;
	p->hidden = false;
	p->owner = 0;
}

/* With the table's lock held: the place of the process, or the one that was not used for the
 * longest time. NULL: all are in use. */
static struct process *process_find(struct live_rings *t, pid_t tgid)
{
	struct process *oldest = NULL;
	for (unsigned i = 0; i < LIVE_RINGS_PROCESSES; i++) {
		struct process *p = &t->processes[i];
		if (p->tgid == tgid)
			return p;
		if (!p->users && (!oldest || p->used_ns < oldest->used_ns))
			oldest = p;
	}
	return oldest;
}

/* The process, locked; process_leave() gives it back. NULL: too many at once. */
static struct process *process_enter(struct live_rings *t, pid_t tgid)
{
	pthread_mutex_lock(&t->lock);
	struct process *p = process_find(t, tgid);
	if (p) {
		p->tgid = tgid;
		p->users++;
		p->used_ns = clock_monotonic_ns();
	}
	pthread_mutex_unlock(&t->lock);
	if (!p)
		return NULL;
	pthread_mutex_lock(&p->lock);
	if (p->owner != tgid) {
		process_reset(p);
		p->owner = tgid;
	}
	return p;
}

static void process_leave(struct live_rings *t, struct process *p)
{
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_lock(&t->lock);
	p->users--;
	pthread_mutex_unlock(&t->lock);
}

/* A descriptor of its maps that is not old: one of before an execve() shows the old ones. */
static int process_open_maps(struct process *p, uint64_t now_ns)
{
	if (p->maps_fd >= 0 && now_ns - p->maps_ns < LIVE_RINGS_MAPS_NS)
		return 0;
	fd_close(&p->maps_fd);
	int fd = procfs_open("/proc/%d/maps", p->owner);
	if (fd < 0)
		return fd;
	p->maps_fd = fd;
	p->maps_ns = now_ns;
	return 0;
}

/* ---- looking for rings ---- */

/* Its size in pages; 0 where that is not known. */
static uint64_t process_pages(struct process *p)
{
	if (p->statm_fd < 0)
		p->statm_fd = procfs_open("/proc/%d/statm", p->owner);
	char text[64] = "";
	if (p->statm_fd < 0 || pread(p->statm_fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

static struct ring *ring_of(struct process *p, uint64_t ino)
{
	for (unsigned i = 0; i < p->ring_count; i++) {
		if (p->rings[i].memory.ino == ino)
			return &p->rings[i];
	}
	return NULL;
}

/* Rings that are still there keep what is known of them. */
static int rings_replace(struct process *p, const struct ring_memory *found, unsigned count)
{
	struct ring *rings = calloc(count ? count : 1, sizeof(*rings));
	if (!rings)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		struct ring *old = ring_of(p, found[i].ino);
		if (old) {
			rings[i] = *old;
			*old = (struct ring){0};
		}
		rings[i].memory = found[i];
	}
	rings_clear(p);
	p->rings = rings;
	p->ring_count = count;
	return 0;
}

static bool has_hidden(const struct process *p)
{
	uint64_t inos[RING_MAX_RINGS];
	for (unsigned i = 0; i < p->ring_count; i++)
		inos[i] = p->rings[i].memory.ino;
	return ring_memory_has_other(p->owner, inos, p->ring_count);
}

static int rings_look(struct live_rings *t, struct process *p)
{
	uint64_t begun_ns = clock_monotonic_ns();
	p->pages = process_pages(p);
	cleanup(cleanup_freep) struct ring_memory *found = calloc(RING_MAX_RINGS, sizeof(*found));
	if (!found)
		return -ENOMEM;
	int count = ring_memory_scan(p->owner, (enum ring_way)t->way, found);
	if (count < 0)
		return count;
	int ret = rings_replace(p, found, (unsigned)count);
	p->hidden = ret == 0 && has_hidden(p);
	p->looked_ns = clock_monotonic_ns();
	p->look_cost_ns = p->looked_ns - begun_ns;
	return ret;
}

/* Nothing was found. Could there be a ring that is not known yet? */
static bool may_look_again(struct process *p, bool is_sure)
{
	uint64_t since_ns = clock_monotonic_ns() - p->looked_ns;
	bool has_changed = process_pages(p) != p->pages;
	if (is_sure && has_changed)
		return true;
	bool may_take_time = since_ns >= LOOK_SHARE * p->look_cost_ns;
	return may_take_time && (is_sure || has_changed || since_ns > LIVE_RINGS_LOOK_NS);
}

/* ---- reading ---- */

static void ring_remove(struct process *p, unsigned i)
{
	ring_clear(&p->rings[i]);
	p->ring_count--;
	memmove(&p->rings[i], &p->rings[i + 1], (p->ring_count - i) * sizeof(*p->rings));
}

/* All rings as they are now. 0, -ENOTTY or -EPERM. @unreadable: there is one that cannot be
 * read. */
static int rings_refresh(struct process *p, const struct ring_reader *reader, bool *unreadable)
{
	for (unsigned i = 0; i < p->ring_count;) {
		int ret = ring_refresh(&p->rings[i], reader);
		if (ret == -EPERM || ret == -EACCES || ret == -ENOTTY)
			return ret;
		*unreadable |= ret == -EFAULT;
		if (ret == -ENOENT || ret == -ESRCH)
			ring_remove(p, i);
		else
			i++;
	}
	return 0;
}

/* Through mappings; where the kernel is too old for that, through descriptors from now on. */
static int rings_read(struct live_rings *t, struct process *p, uint64_t dev, bool *unreadable)
{
	int ret;
	if (t->way == RING_BY_MAPPING) {
		ret = process_open_maps(p, clock_monotonic_ns());
		if (ret == 0)
			ret = rings_refresh(p, &(struct ring_reader){p->maps_fd, dev}, unreadable);
		if (ret != -ENOTTY)
			return ret;
		t->way = RING_BY_DESCRIPTOR;
		rings_clear(p);
		ret = rings_look(t, p);
		if (ret < 0)
			return ret;
	}
	return rings_refresh(p, &(struct ring_reader){-1, dev}, unreadable);
}

/* ---- searching ---- */

static enum live_miss miss_of(int err)
{
	if (err == -EPERM || err == -EACCES)
		return LIVE_NOT_PERMITTED;
	return err == -ENOENT || err == -ESRCH ? LIVE_GONE : LIVE_NO_MATCH;
}

static enum live_miss search(struct live_rings *t, struct process *p,
	const struct live_ring_question *q, struct live_ring_answer *out)
{
	if (!p->ring_count)
		return p->hidden ? LIVE_RING_HIDDEN : LIVE_NOT_IN_CALL;
	bool unreadable = false;
	int ret = rings_read(t, p, q->req->dev, &unreadable);
	if (ret < 0)
		return miss_of(ret);
	struct ring_choice choice = {.files = t->files, .question = q};
	for (unsigned i = 0; i < p->ring_count; i++)
		ring_choice_offer(&choice, &p->rings[i]);
	enum live_miss miss = ring_choice_make(&choice, out);
	if (miss != LIVE_NO_MATCH)
		return miss;
	for (unsigned i = 0; i < p->ring_count; i++)
		ring_forget_form(&p->rings[i]);
	return p->hidden || unreadable ? LIVE_RING_HIDDEN : miss;
}

static enum live_miss find_in_process(struct live_rings *t, struct process *p,
	const struct live_ring_question *q, struct live_ring_answer *out)
{
	int ret = p->looked_ns ? 0 : rings_look(t, p);
	if (ret < 0)
		return miss_of(ret);
	enum live_miss miss = search(t, p, q, out);
	if (miss == LIVE_FOUND || miss == LIVE_AMBIGUOUS || miss == LIVE_NOT_PERMITTED ||
		!may_look_again(p, q->is_sure))
		return miss;
	ret = rings_look(t, p);
	return ret < 0 ? miss_of(ret) : search(t, p, q, out);
}

enum live_miss live_rings_find(
	struct live_rings *rings, const struct live_ring_question *q, struct live_ring_answer *out)
{
	if (q->tgid <= 0)
		return LIVE_NOT_IN_CALL;
	struct process *p = process_enter(rings, q->tgid);
	if (!p)
		return LIVE_NO_MATCH;
	enum live_miss miss = find_in_process(rings, p, q, out);
	if (miss == LIVE_GONE || miss == LIVE_NOT_PERMITTED)
		process_reset(p);
	process_leave(rings, p);
	return miss;
}

int live_rings_new(struct live_files *files, enum ring_way way, struct live_rings **out)
{
	struct live_rings *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->files = files;
	t->way = way;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < LIVE_RINGS_PROCESSES; i++) {
		struct process *p = &t->processes[i];
		pthread_mutex_init(&p->lock, NULL);
		p->maps_fd = p->statm_fd = -1;
	}
	*out = t;
	return 0;
}

void live_rings_free(struct live_rings *rings)
{
	if (!rings)
		return;
	for (unsigned i = 0; i < LIVE_RINGS_PROCESSES; i++) {
		process_reset(&rings->processes[i]);
		pthread_mutex_destroy(&rings->processes[i].lock);
	}
	pthread_mutex_destroy(&rings->lock);
	free(rings);
}
