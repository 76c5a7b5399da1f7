/* SPDX-License-Identifier: MIT */
/* The set of armed faults: which transfer meets which, and what that leaves of a write.
 *
 * A draw is taken only for a fault that matches: whether it fires where that is not certain, and
 * one number for what it leaves open when it does.
 * Owning thread: any; the set's mutex protects the list and the stream, and nothing else is locked
 * while it is held. */
#include "io/fault.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/list.h"
#include "io/draw.h"

#define SECTOR_BYTES 512u

static const char *const kind_names[FAULT_KINDS] = {
	[FAULT_READ_ERROR] = "read-error",
	[FAULT_WRITE_ERROR] = "write-error",
	[FAULT_FLUSH_ERROR] = "flush-error",
	[FAULT_LATENCY] = "latency",
	[FAULT_HANG] = "hang",
	[FAULT_BIT_FLIP] = "bit-flip",
	[FAULT_TORN_WRITE] = "torn-write",
	[FAULT_LOST_WRITE] = "lost-write",
	[FAULT_MISDIRECTED] = "misdirected",
	[FAULT_STALE_READ] = "stale-read",
	[FAULT_GONE] = "gone",
	[FAULT_POWER_CUT] = "power-cut",
};

/* A file that FAULT_GONE took away. */
struct gone_file {
	struct list_node node;
	char name[sizeof(((struct fault *)0)->name)];
};

struct armed {
	struct list_node node;
	int id;
	struct armed *leader; /* whose id, skip, count and firings it has: mostly itself */
	struct fault fault;
	uint64_t met, fired;
	struct list gone; /* gone_file */
};

struct fault_set {
	pthread_mutex_t lock; /* all but armed_count */
	uint64_t seed, rng;
	int last_id;
	struct list armed; /* in order of arming */
	atomic_uint armed_count;
};

static struct armed *armed_of(struct list_node *node)
{
	return container_of(node, struct armed, node);
}

const char *fault_kind_name(enum fault_kind kind)
{
	return (unsigned)kind < FAULT_KINDS ? kind_names[kind] : "unknown";
}

bool fault_kind_parse(const char *name, enum fault_kind *out)
{
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		if (strcmp(kind_names[i], name) == 0) {
			*out = (enum fault_kind)i;
			return true;
		}
	}
	return false;
}

/* Neighbouring seeds start far from each other. */
static void start_stream(struct fault_set *set, uint64_t seed)
{
	set->seed = set->rng = seed;
	set->rng = draw_next(&set->rng);
}

struct fault_set *fault_set_new(uint64_t seed)
{
	struct fault_set *set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	pthread_mutex_init(&set->lock, NULL);
	start_stream(set, seed);
	list_init(&set->armed);
	return set;
}

void fault_set_free(struct fault_set *set)
{
	if (!set)
		return;
	fault_set_disarm_all(set);
	pthread_mutex_destroy(&set->lock);
	free(set);
}

static struct armed *find(struct fault_set *set, int id)
{
	list_for_each (n, &set->armed) {
		if (armed_of(n)->id == id && armed_of(n)->leader == armed_of(n))
			return armed_of(n);
	}
	return NULL;
}

int fault_set_arm(struct fault_set *set, const struct fault *fault)
{
	if ((unsigned)fault->kind >= FAULT_KINDS)
		return -EINVAL;
	struct armed *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->fault = *fault;
	list_init(&a->gone);
	pthread_mutex_lock(&set->lock);
	a->leader = fault->with ? find(set, fault->with) : a;
	int id = a->leader ? ++set->last_id : -ENOENT;
	if (id > 0) {
		a->id = id;
		list_push_back(&set->armed, &a->node);
		atomic_fetch_add(&set->armed_count, 1);
	}
	pthread_mutex_unlock(&set->lock);
	if (id < 0)
		free(a);
	return id;
}

static void armed_free(struct fault_set *set, struct armed *a)
{
	list_remove(&a->node);
	while (!list_empty(&a->gone))
		free(container_of(list_pop_front(&a->gone), struct gone_file, node));
	free(a);
	atomic_fetch_sub(&set->armed_count, 1);
}

int fault_set_disarm(struct fault_set *set, int id)
{
	pthread_mutex_lock(&set->lock);
	struct armed *a = find(set, id);
	list_for_each_safe (n, &set->armed) {
		if (a && armed_of(n)->leader == a && armed_of(n) != a)
			armed_free(set, armed_of(n));
	}
	if (a)
		armed_free(set, a);
	pthread_mutex_unlock(&set->lock);
	return a ? 0 : -ENOENT;
}

void fault_set_disarm_all(struct fault_set *set)
{
	pthread_mutex_lock(&set->lock);
	while (!list_empty(&set->armed))
		armed_free(set, armed_of(list_first(&set->armed)));
	pthread_mutex_unlock(&set->lock);
}

void fault_set_seed(struct fault_set *set, uint64_t seed)
{
	pthread_mutex_lock(&set->lock);
	start_stream(set, seed);
	pthread_mutex_unlock(&set->lock);
}

uint64_t fault_set_get_seed(struct fault_set *set)
{
	pthread_mutex_lock(&set->lock);
	uint64_t seed = set->seed;
	pthread_mutex_unlock(&set->lock);
	return seed;
}

static bool spent(const struct armed *a)
{
	const struct armed *l = a->leader;
	return l->fault.count && l->fired >= l->fault.count;
}

static bool concerns(enum fault_kind fault, enum io_kind kind)
{
	switch (fault) {
	case FAULT_READ_ERROR:
	case FAULT_BIT_FLIP:
	case FAULT_STALE_READ:
		return kind == IO_READ;
	case FAULT_WRITE_ERROR:
	case FAULT_TORN_WRITE:
	case FAULT_LOST_WRITE:
	case FAULT_MISDIRECTED:
	case FAULT_POWER_CUT:
		return kind == IO_WRITE;
	case FAULT_FLUSH_ERROR:
		return kind == IO_FLUSH;
	case FAULT_LATENCY:
	case FAULT_HANG:
	case FAULT_GONE:
		return kind != IO_ALARM;
	}
	return false;
}

static bool in_range(const struct fault *f, enum io_kind kind, struct fault_hit *hit)
{
	uint64_t end_bytes = f->len_bytes ? f->offset_bytes + f->len_bytes : UINT64_MAX;
	if (kind == IO_FLUSH)
		return f->kind == FAULT_FLUSH_ERROR || (f->offset_bytes == 0 && f->len_bytes == 0);
	hit->first_bytes = max_u64(f->offset_bytes, hit->first_bytes);
	hit->end_bytes = min_u64(end_bytes, hit->end_bytes);
	return hit->first_bytes < hit->end_bytes;
}

static bool fires(struct fault_set *set, struct armed *a)
{
	a = a->leader;
	a->met++;
	if (a->met <= a->fault.skip)
		return false;
	if (a->fault.per_mille < 1000 && draw_range(&set->rng, 0, 999) >= a->fault.per_mille)
		return false;
	a->fired++;
	return true;
}

static const struct armed *who_took(struct fault_set *set, const char *name)
{
	list_for_each (n, &set->armed) {
		struct armed *a = armed_of(n);
		list_for_each (g, &a->gone) {
			if (strcmp(container_of(g, struct gone_file, node)->name, name) == 0)
				return a;
		}
	}
	return NULL;
}

/* Out of memory the fault is of this transfer alone. */
static void take_away(struct armed *a, const char *name)
{
	struct gone_file *g = calloc(1, sizeof(*g));
	if (!g)
		return;
	strncpy(g->name, name, sizeof(g->name) - 1);
	list_push_back(&a->gone, &g->node);
}

static struct fault_hit hit_of(struct fault_set *set, struct armed *a, struct fault_hit range)
{
	range.hit = true;
	range.kind = a->fault.kind;
	range.id = a->leader->id;
	range.latency_ns = a->fault.latency_ns;
	range.draw = draw_next(&set->rng);
	return range;
}

static struct fault_hit meet(struct fault_set *set, const char *name, enum io_kind kind,
	const struct fault_hit *transfer)
{
	const struct armed *taker = who_took(set, name);
	if (taker)
		return (struct fault_hit){.hit = true, .kind = FAULT_GONE, .id = taker->leader->id};
	list_for_each (n, &set->armed) {
		struct armed *a = armed_of(n);
		struct fault_hit range = *transfer;
		if (spent(a) || !concerns(a->fault.kind, kind) ||
			(a->fault.name[0] && strcmp(a->fault.name, name) != 0) ||
			!in_range(&a->fault, kind, &range) || !fires(set, a))
			continue;
		if (a->fault.kind == FAULT_GONE)
			take_away(a, name);
		return hit_of(set, a, range);
	}
	return (struct fault_hit){0};
}

struct fault_hit fault_set_meet(struct fault_set *set, const char *name, enum io_kind kind,
	uint64_t offset_bytes, uint64_t len_bytes)
{
	struct fault_hit transfer = {
		.first_bytes = offset_bytes, .end_bytes = offset_bytes + len_bytes};
	if (fault_set_is_empty(set))
		return (struct fault_hit){0};
	pthread_mutex_lock(&set->lock);
	struct fault_hit hit = meet(set, name, kind, &transfer);
	pthread_mutex_unlock(&set->lock);
	return hit;
}

int fault_hit_bend_write(const struct fault_hit *hit, uint64_t file_bytes, uint64_t *offset_bytes,
	uint64_t *len_bytes)
{
	uint64_t sectors = *len_bytes / SECTOR_BYTES, draw = hit->draw;
	if (!hit->hit)
		return 0;
	switch (hit->kind) {
	case FAULT_WRITE_ERROR:
		return -EIO;
	case FAULT_GONE:
		return -ENODEV;
	case FAULT_LOST_WRITE:
		*len_bytes = 0;
		return 0;
	case FAULT_TORN_WRITE:
		*len_bytes = sectors > 1 ? draw_range(&draw, 1, sectors - 1) * SECTOR_BYTES : 0;
		return 0;
	case FAULT_MISDIRECTED:
		*offset_bytes += BLOCK_BYTES;
		*len_bytes = *offset_bytes >= file_bytes
				     ? 0
				     : min_u64(*len_bytes, file_bytes - *offset_bytes);
		return 0;
	default:
		return 0;
	}
}

void fault_hit_choose_bit(const struct fault_hit *hit, uint64_t *offset_bytes, unsigned *bit)
{
	uint64_t draw = hit->draw;
	*offset_bytes = draw_range(&draw, hit->first_bytes, hit->end_bytes - 1);
	*bit = (unsigned)draw_range(&draw, 0, 7);
}

bool fault_set_is_gone(struct fault_set *set, const char *name)
{
	if (fault_set_is_empty(set))
		return false;
	pthread_mutex_lock(&set->lock);
	bool gone = who_took(set, name);
	pthread_mutex_unlock(&set->lock);
	return gone;
}

bool fault_set_is_empty(const struct fault_set *set)
{
	return atomic_load_explicit(&set->armed_count, memory_order_relaxed) == 0;
}

bool fault_set_has(struct fault_set *set, enum fault_kind kind)
{
	bool has = false;
	pthread_mutex_lock(&set->lock);
	list_for_each (n, &set->armed)
		has |= armed_of(n)->fault.kind == kind && !spent(armed_of(n));
	pthread_mutex_unlock(&set->lock);
	return has;
}

bool fault_set_is_armed(struct fault_set *set, int id)
{
	pthread_mutex_lock(&set->lock);
	bool armed = find(set, id);
	pthread_mutex_unlock(&set->lock);
	return armed;
}

unsigned fault_set_list(struct fault_set *set, struct fault_listed *out, unsigned room)
{
	unsigned count = 0;
	pthread_mutex_lock(&set->lock);
	list_for_each (n, &set->armed) {
		const struct armed *a = armed_of(n);
		if (a->leader != a)
			continue;
		if (count < room)
			out[count] = (struct fault_listed){
				.id = a->id, .fault = a->fault, .met = a->met, .fired = a->fired};
		count++;
	}
	pthread_mutex_unlock(&set->lock);
	return count;
}
