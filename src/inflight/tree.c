/* SPDX-License-Identifier: MIT */
/* Which trees a thread is in: its chain of parents, from /proc/PID/stat (proc(5)), met with the
 * roots that are known.
 *
 * The walk is done without the lock. A parent is older than its child, so a pid that was used again
 * on the way is noticed by its start time (and ends the walk). Memberships are remembered by thread
 * for KNOWN_NS, and until trees come or go; a thread's number cannot come round within that time,
 * which is why its start time is not asked for each time. */
#include "inflight/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "inflight/live_procfs.h"

#define KNOWN_NS      (100 * NS_PER_MS)
#define KNOWN_THREADS 256u
#define WALK_DEPTH    256u
#define NESTED_MAX    8u /* trees that a thread is in; the outermost ones beyond it do not count */

struct tree {
	int number; /* 0: a free place */
	pid_t root;
	uint64_t root_ticks; /* when it started */
	struct dio_say say;
	struct aio_table *aio; /* owned */
	uid_t aio_owner;
	unsigned holders; /* look-ups under way: the table stays */
	bool removed;     /* and goes with the last of them */
};

/* The trees that a thread is in, the innermost first. */
struct chain {
	unsigned count;
	int numbers[NESTED_MAX];
};

struct known_thread {
	pid_t tid;
	uint64_t asked_ns;
	uint64_t generation;
	struct chain chain;
};

struct trees {
	atomic_uint count;
	/* lock protects what follows; nothing is called under it. */
	pthread_mutex_t lock;
	int last_number;
	uint64_t generation; /* of the set of trees */
	struct tree trees[TREES_MAX];
	struct known_thread known[KNOWN_THREADS];
};

int trees_new(struct trees **out)
{
	struct trees *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return 0;
}

void trees_free(struct trees *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < TREES_MAX; i++)
		aio_table_free(t->trees[i].aio);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

bool trees_empty(const struct trees *t)
{
	return !t || atomic_load_explicit(&t->count, memory_order_acquire) == 0;
}

/* ---- the set ---- */

/* With the lock held. */
static struct tree *find_tree(struct trees *t, int number)
{
	for (unsigned i = 0; i < TREES_MAX; i++)
		if (t->trees[i].number == number)
			return &t->trees[i];
	return NULL;
}

/* With the lock held: empties the place; the table is the caller's to free. */
static struct aio_table *clear_tree(struct tree *tree)
{
	struct aio_table *aio = tree->aio;
	*tree = (struct tree){0};
	return aio;
}

int trees_add(struct trees *t, const struct tree_config *config)
{
	struct procfs_kin root;
	if (config->root <= 0 || procfs_read_kin(config->root, &root) < 0) {
		aio_table_free(config->aio);
		return -ESRCH;
	}
	pthread_mutex_lock(&t->lock);
	struct tree *free_place = find_tree(t, 0);
	int number = free_place ? t->last_number = t->last_number % INT32_MAX + 1 : -ENOSPC;
	if (free_place) {
		*free_place = (struct tree){.number = number,
			.root = config->root,
			.root_ticks = root.start_ticks,
			.say = config->say,
			.aio = config->aio,
			.aio_owner = config->aio_owner};
		t->generation++;
		atomic_fetch_add(&t->count, 1);
	}
	pthread_mutex_unlock(&t->lock);
	if (!free_place)
		aio_table_free(config->aio);
	return number;
}

void trees_remove(struct trees *t, int number)
{
	struct aio_table *aio = NULL;
	pthread_mutex_lock(&t->lock);
	struct tree *tree = number > 0 ? find_tree(t, number) : NULL;
	if (tree && !tree->removed) {
		tree->removed = true;
		t->generation++;
		atomic_fetch_sub(&t->count, 1);
		if (!tree->holders)
			aio = clear_tree(tree);
	}
	pthread_mutex_unlock(&t->lock);
	aio_table_free(aio);
}

/* ---- membership ---- */

struct root {
	int number;
	pid_t pid;
	uint64_t ticks;
};

/* What a walk needs to know, the newest tree first: of two with one root it is the inner one. */
struct roots {
	uint64_t generation;
	unsigned count;
	struct root roots[TREES_MAX];
};

static int newer_first(const void *a, const void *b)
{
	const struct root *x = a, *y = b;
	return (y->number > x->number) - (y->number < x->number);
}

static void copy_roots(struct trees *t, struct roots *out)
{
	out->count = 0;
	pthread_mutex_lock(&t->lock);
	out->generation = t->generation;
	for (unsigned i = 0; i < TREES_MAX; i++) {
		const struct tree *tree = &t->trees[i];
		if (tree->number && !tree->removed)
			out->roots[out->count++] =
				(struct root){tree->number, tree->root, tree->root_ticks};
	}
	pthread_mutex_unlock(&t->lock);
	qsort(out->roots, out->count, sizeof(out->roots[0]), newer_first);
}

static void meet_roots(const struct roots *r, pid_t pid, uint64_t ticks, struct chain *out)
{
	for (unsigned i = 0; i < r->count && out->count < NESTED_MAX; i++)
		if (r->roots[i].pid == pid && r->roots[i].ticks == ticks)
			out->numbers[out->count++] = r->roots[i].number;
}

static void walk(const struct roots *r, pid_t tid, struct chain *out)
{
	struct procfs_kin here, above;
	*out = (struct chain){0};
	if (procfs_read_kin(tid, &here) < 0)
		return;
	for (unsigned depth = 0; depth < WALK_DEPTH && here.parent > 0; depth++) {
		pid_t parent = here.parent;
		if (procfs_read_kin(parent, &above) < 0 || above.start_ticks > here.start_ticks)
			return;
		meet_roots(r, parent, above.start_ticks, out);
		here = above;
	}
}

static bool recall(struct trees *t, pid_t tid, uint64_t now_ns, struct chain *out)
{
	pthread_mutex_lock(&t->lock);
	const struct known_thread *known = &t->known[(unsigned)tid % KNOWN_THREADS];
	bool is_known = known->tid == tid && known->generation == t->generation &&
			now_ns - known->asked_ns < KNOWN_NS;
	if (is_known)
		*out = known->chain;
	pthread_mutex_unlock(&t->lock);
	return is_known;
}

static void find_chain(struct trees *t, pid_t tid, struct chain *out)
{
	uint64_t now_ns = clock_monotonic_ns();
	*out = (struct chain){0};
	if (tid <= 0 || recall(t, tid, now_ns, out))
		return;
	struct roots roots;
	copy_roots(t, &roots);
	walk(&roots, tid, out);
	pthread_mutex_lock(&t->lock);
	t->known[(unsigned)tid % KNOWN_THREADS] = (struct known_thread){
		.tid = tid, .asked_ns = now_ns, .generation = roots.generation, .chain = *out};
	pthread_mutex_unlock(&t->lock);
}

/* ---- what trees say ---- */

struct dio_say trees_say(struct trees *t, pid_t tid)
{
	struct dio_say say = {0};
	struct chain chain;
	if (trees_empty(t))
		return say;
	find_chain(t, tid, &chain);
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < chain.count && !say.said; i++) {
		const struct tree *tree = find_tree(t, chain.numbers[i]);
		if (tree && !tree->removed)
			say = tree->say;
	}
	pthread_mutex_unlock(&t->lock);
	return say;
}

/* The tree's table, which stays until it is let go. NULL: there is none. */
/* Its directory is root's where the process may do more than its user (proc(5), "dumpable"). */
static uid_t owner_of(pid_t tgid)
{
	char path[32];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d", (int)tgid);
	return stat(path, &st) < 0 ? 0 : st.st_uid;
}

/* @owner: of the process that is asked for. */
static struct aio_table *hold_table(struct trees *t, int number, uid_t owner)
{
	struct aio_table *aio = NULL;
	pthread_mutex_lock(&t->lock);
	struct tree *tree = find_tree(t, number);
	if (tree && !tree->removed && tree->aio && (!tree->aio_owner || tree->aio_owner == owner)) {
		tree->holders++;
		aio = tree->aio;
	}
	pthread_mutex_unlock(&t->lock);
	return aio;
}

static void release_table(struct trees *t, int number)
{
	struct aio_table *aio = NULL;
	pthread_mutex_lock(&t->lock);
	struct tree *tree = find_tree(t, number);
	if (--tree->holders == 0 && tree->removed)
		aio = clear_tree(tree);
	pthread_mutex_unlock(&t->lock);
	aio_table_free(aio);
}

enum aio_found trees_find_aio(
	struct trees *t, pid_t tid, const struct aio_wanted *wanted, struct aio_entry *out)
{
	enum aio_found found = AIO_NOT_FOUND;
	struct chain chain;
	if (trees_empty(t))
		return found;
	find_chain(t, tid, &chain);
	uid_t owner = chain.count ? owner_of(wanted->tgid) : 0;
	for (unsigned i = 0; i < chain.count && found == AIO_NOT_FOUND; i++) {
		struct aio_table *aio = hold_table(t, chain.numbers[i], owner);
		if (!aio)
			continue;
		found = aio_table_find(aio, wanted, out);
		release_table(t, chain.numbers[i]);
	}
	return found;
}
