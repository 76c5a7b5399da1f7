/* SPDX-License-Identifier: MIT */
/* The table of processes: rows by pid in a hash, in two lists by their last use.
 *
 * Invariants of its own: P1 a row is in the hash as long as its pid is its own; a row whose pid
 *   went to another process stays in the table, for people to read. P2 a row is on one of the two
 *   lists: with findings or without, the most recently used first. */
#include "inflight/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "inflight/live_procfs.h"

#define BUCKETS        1024u
#define TRUST_NS       NS_PER_S /* how long an unused row's pid cannot have become another's */
#define FILES_AT_FIRST 4u

struct row {
	struct list_node hash; /* in a bucket; alone: P1 */
	struct list_node age;  /* in processes.plain or .found */
	unsigned slot;         /* in processes.slots */
	uint64_t number;       /* never used again */
	uint64_t start;        /* of the process, in the kernel's ticks; 0: unknown */
	uint64_t used_ns, named_ns;
	pid_t pid;
	uid_t uid;
	char comm[16], call[16], exe[256];
	char main_comm[16]; /* of its first thread when it was last asked for */
	bool bounced, warned;
	struct process_file total;
	struct process_file *files; /* owned */
	uint32_t file_count, file_room;
};

struct processes {
	pthread_mutex_t lock; /* all below */
	struct list buckets[BUCKETS];
	struct list plain, found; /* P2 */
	struct row *slots[PROCESS_MAX_ROWS];
	unsigned count;
	uint64_t last_number;
	struct row others; /* pid 0: on no list */
	atomic_bool any_bounced;
};

/* ---- who a process is, by procfs ---- */

struct identity {
	uint64_t start; /* 0: there is no such process, or it cannot be seen */
	char comm[16];
	char exe[PATH_MAX];
};

static bool read_text(int dir, const char *name, char *text, size_t room)
{
	cleanup(cleanup_closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The directory is held open meanwhile: all that it tells is of one process, though its number may
 * become another's. */
static void identity_read(pid_t pid, struct identity *id)
{
	char path[32], text[1024];
	id->start = 0;
	id->comm[0] = id->exe[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	cleanup(cleanup_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || !read_text(dir, "stat", text, sizeof(text)))
		return;
	struct procfs_kin kin;
	id->start = procfs_parse_stat(text, &kin) == 0 ? kin.start_ticks : 0;
	if (read_text(dir, "comm", id->comm, sizeof(id->comm)))
		id->comm[strcspn(id->comm, "\n")] = '\0';
	ssize_t n = readlinkat(dir, "exe", id->exe, sizeof(id->exe) - 1);
	id->exe[n > 0 ? n : 0] = '\0';
}

/* ---- the table ---- */

int processes_new(struct processes **out)
{
	struct processes *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&t->buckets[i]);
	list_init(&t->plain);
	list_init(&t->found);
	*out = t;
	return 0;
}

static void row_free(struct row *r)
{
	if (r)
		free(r->files);
	free(r);
}

void processes_free(struct processes *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < PROCESS_MAX_ROWS; i++)
		row_free(t->slots[i]);
	free(t->others.files);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct list *bucket_of(struct processes *t, pid_t pid)
{
	return &t->buckets[(unsigned)pid % BUCKETS];
}

static struct row *row_find(struct processes *t, pid_t pid)
{
	list_for_each (n, bucket_of(t, pid)) {
		struct row *r = container_of(n, struct row, hash);
		if (r->pid == pid)
			return r;
	}
	return NULL;
}

static bool row_has_findings(const struct row *r)
{
	return r->bounced || r->total.mutated || r->total.reads_mutated;
}

/* It was used: in front of those of its kind. */
static void row_touch(struct processes *t, struct row *r)
{
	if (r == &t->others)
		return;
	list_remove(&r->age);
	list_push_front(row_has_findings(r) ? &t->found : &t->plain, &r->age);
}

static void file_add(struct process_file *sum, const struct process_file *part)
{
	sum->writes += part->writes;
	sum->write_bytes += part->write_bytes;
	sum->observed += part->observed;
	sum->unobserved += part->unobserved;
	sum->mutated += part->mutated;
	sum->failed += part->failed;
	sum->reads += part->reads;
	sum->read_bytes += part->read_bytes;
	sum->reads_mutated += part->reads_mutated;
	sum->reads_failed += part->reads_failed;
}

static bool files_make_room(struct row *r)
{
	if (r->file_count < r->file_room)
		return true;
	uint32_t room = r->file_room ? r->file_room * 4 : FILES_AT_FIRST;
	struct process_file *files = reallocarray(r->files, room, sizeof(*files));
	if (!files)
		return false;
	r->files = files;
	r->file_room = room;
	return true;
}

/* The last place is for all files that have none of their own (ino 0). NULL: out of memory. */
static struct process_file *file_of(struct row *r, uint64_t ino)
{
	for (uint32_t i = r->file_count; i-- > 0;)
		if (r->files[i].ino == ino)
			return &r->files[i];
	if (ino && r->file_count >= PROCESS_MAX_FILES - 1)
		return file_of(r, 0);
	if (!files_make_room(r))
		return NULL;
	struct process_file *file = &r->files[r->file_count++];
	*file = (struct process_file){.ino = ino};
	return file;
}

static void row_count(struct row *r, uint64_t ino, const struct process_file *part)
{
	struct process_file *file = file_of(r, ino);
	file_add(&r->total, part);
	if (file)
		file_add(file, part);
}

/* The oldest row without findings goes: what it counted is the others' from now on (I2, I3). */
static bool make_room(struct processes *t)
{
	if (t->count < PROCESS_MAX_ROWS)
		return true;
	if (list_empty(&t->plain))
		return false;
	struct row *r = container_of(t->plain.head.prev, struct row, age);
	file_add(&t->others.total, &r->total);
	for (uint32_t i = 0; i < r->file_count; i++) {
		struct process_file *file = file_of(&t->others, r->files[i].ino);
		if (file)
			file_add(file, &r->files[i]);
	}
	list_remove(&r->hash);
	list_remove(&r->age);
	t->slots[r->slot] = NULL;
	t->count--;
	row_free(r);
	return true;
}

static void row_insert(struct processes *t, struct row *r)
{
	while (t->slots[r->slot])
		r->slot++;
	t->slots[r->slot] = r;
	t->count++;
	r->number = ++t->last_number;
	list_push_front(bucket_of(t, r->pid), &r->hash);
	list_node_init(&r->age);
	row_touch(t, r);
}

static void row_name(struct row *r, const struct identity *id, uint64_t now_ns)
{
	r->named_ns = now_ns;
	if (!id->start)
		return;
	r->start = id->start;
	memcpy(r->comm, id->comm, sizeof(r->comm));
	memcpy(r->main_comm, id->comm, sizeof(r->main_comm));
	if (id->exe[0])
		snprintf(r->exe, sizeof(r->exe), "%.*s", (int)sizeof(r->exe) - 1, id->exe);
}

static bool row_needs_look(const struct row *r, const struct event_writer *w, uint64_t now_ns)
{
	bool renamed = w->tid == w->pid && w->comm[0] &&
		       strncmp(w->comm, r->main_comm, sizeof(w->comm)) != 0;
	return now_ns > r->used_ns + TRUST_NS || (renamed && now_ns > r->named_ns + TRUST_NS);
}

/* A process that procfs does not show any more is still the one that the row is of. */
static bool row_is_of(const struct row *r, const struct identity *id)
{
	return !id->start || id->start == r->start;
}

/* Under the lock: the row of @w's process after procfs was asked; @fresh becomes it where there is
 * none. */
static struct row *row_settle(struct processes *t, const struct event_writer *w,
	const struct identity *id, struct row **fresh, uint64_t now_ns)
{
	struct row *r = row_find(t, w->pid);
	if (r && !row_is_of(r, id)) {
		list_remove(&r->hash); /* P1 */
		r = NULL;
	}
	if (!r && *fresh && make_room(t)) {
		r = take_ptr(fresh);
		r->pid = w->pid;
		r->uid = w->uid;
		memcpy(r->comm, w->comm, sizeof(r->comm));
		row_insert(t, r);
	}
	if (r)
		row_name(r, id, now_ns);
	return r;
}

/* Takes the lock and returns with it held, having let it go while procfs was asked. @make: where
 * the process has no row it gets one, else NULL is returned; NULL also where it cannot have one. */
static struct row *row_lock(struct processes *t, const struct event_writer *w, bool make)
{
	uint64_t now_ns = clock_monotonic_ns();
	pthread_mutex_lock(&t->lock);
	struct row *r = w->pid ? row_find(t, w->pid) : NULL;
	bool full = t->count == PROCESS_MAX_ROWS && list_empty(&t->plain);
	bool ask = r ? row_needs_look(r, w, now_ns) : w->pid && make && !full;
	if (ask) {
		pthread_mutex_unlock(&t->lock);
		struct identity id;
		struct row *fresh = make ? calloc(1, sizeof(*fresh)) : NULL;
		identity_read(w->pid, &id);
		pthread_mutex_lock(&t->lock);
		r = row_settle(t, w, &id, &fresh, now_ns);
		free(fresh);
	}
	if (r)
		r->used_ns = now_ns;
	return r;
}

/* The row to count in: the others' where the process has none. */
static struct row *row_lock_or_others(struct processes *t, const struct event_writer *w)
{
	struct row *r = row_lock(t, w, true);
	return r ? r : &t->others;
}

/* ---- what is counted ---- */

static struct process_file counts_of(const struct process_io *io)
{
	uint64_t bytes = io->error < 0 ? 0 : io->bytes;
	if (io->is_read)
		return (struct process_file){.reads = 1,
			.read_bytes = bytes,
			.reads_mutated = io->mutated,
			.reads_failed = io->error < 0};
	return (struct process_file){.writes = 1,
		.write_bytes = bytes,
		.observed = io->observed,
		.unobserved = io->unobserved,
		.mutated = io->mutated,
		.failed = io->error < 0};
}

void processes_count(struct processes *t, const struct process_io *io)
{
	const struct process_file counts = counts_of(io);
	struct row *r = row_lock_or_others(t, io->writer);
	row_count(r, io->ino, &counts);
	if (r != &t->others) {
		r->uid = io->writer->uid;
		if (io->writer->call[0])
			memcpy(r->call, io->writer->call, sizeof(r->call));
	}
	row_touch(t, r);
	pthread_mutex_unlock(&t->lock);
}

bool processes_first_warning(struct processes *t, const struct event_writer *writer)
{
	struct row *r = row_lock_or_others(t, writer);
	bool first = !r->warned;
	r->warned = true;
	pthread_mutex_unlock(&t->lock);
	return first;
}

void processes_set_bounced(struct processes *t, const struct event_writer *writer)
{
	struct row *r = row_lock(t, writer, true);
	if (r) {
		r->bounced = true;
		row_touch(t, r);
		t->any_bounced = true;
	}
	pthread_mutex_unlock(&t->lock);
}

bool processes_is_bounced(struct processes *t, pid_t pid)
{
	if (!t->any_bounced || !pid)
		return false;
	const struct event_writer writer = {.pid = pid};
	const struct row *r = row_lock(t, &writer, false);
	bool bounced = r && r->bounced;
	pthread_mutex_unlock(&t->lock);
	return bounced;
}

/* ---- what is asked for ---- */

void processes_exe(struct processes *t, pid_t pid, char *exe, size_t size)
{
	struct identity id;
	identity_read(pid, &id);
	pthread_mutex_lock(&t->lock);
	const struct row *r = row_find(t, pid);
	bool remembered = r && (r->start != id.start || !id.exe[0]);
	snprintf(exe, size, "%s", remembered ? r->exe : id.exe);
	pthread_mutex_unlock(&t->lock);
}

/* Which rows there are, and in what order they are to be shown. */
struct order {
	unsigned slot;
	uint64_t number, mutated, writes;
};

static int by_findings(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	if (x->mutated != y->mutated)
		return x->mutated > y->mutated ? -1 : 1;
	if (x->writes != y->writes)
		return x->writes > y->writes ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static unsigned order_take(struct processes *t, struct order order[PROCESS_MAX_ROWS])
{
	unsigned count = 0;
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < PROCESS_MAX_ROWS; i++) {
		const struct row *r = t->slots[i];
		if (r)
			order[count++] =
				(struct order){i, r->number, r->total.mutated, r->total.writes};
	}
	pthread_mutex_unlock(&t->lock);
	qsort(order, count, sizeof(*order), by_findings);
	return count;
}

static void row_copy(const struct row *r, struct process_row *out)
{
	out->pid = r->pid;
	out->uid = r->uid;
	memcpy(out->comm, r->comm, sizeof(out->comm));
	memcpy(out->call, r->call, sizeof(out->call));
	memcpy(out->exe, r->exe, sizeof(out->exe));
	out->bounced = r->bounced;
	out->total = r->total;
	out->file_count = r->file_count;
	if (r->file_count)
		memcpy(out->files, r->files, r->file_count * sizeof(*r->files));
}

/* False: the row went since it was ordered, and what it counted is among the others'. */
static bool row_copy_at(struct processes *t, const struct order *at, struct process_row *out)
{
	pthread_mutex_lock(&t->lock);
	const struct row *r = t->slots[at->slot];
	bool there = r && r->number == at->number;
	if (there)
		row_copy(r, out);
	pthread_mutex_unlock(&t->lock);
	return there;
}

int processes_each(
	struct processes *t, void (*each)(void *ctx, const struct process_row *row), void *ctx)
{
	cleanup(cleanup_freep) struct order *order = calloc(PROCESS_MAX_ROWS, sizeof(*order));
	cleanup(cleanup_freep) struct process_row *row = malloc(sizeof(*row));
	if (!order || !row)
		return -ENOMEM;
	unsigned count = order_take(t, order);
	for (unsigned i = 0; i < count; i++)
		if (row_copy_at(t, &order[i], row))
			each(ctx, row);
	/* Last: the counts of rows that went meanwhile are not missed. */
	pthread_mutex_lock(&t->lock);
	row_copy(&t->others, row);
	pthread_mutex_unlock(&t->lock);
	if (row->total.writes || row->total.reads)
		each(ctx, row);
	return 0;
}
