/* SPDX-License-Identifier: MIT */
/* The simulated world: one clock, one order of events, one power supply for all its disks.
 *
 *	submitted --event_ns--> reached the disk --ack_ns--> completed --io_run--> done()
 *	     | alarm, or result known at submit ----------------^
 *
 * Invariants: I1 everything follows from the seed and the order of calls: no address, no real time
 * and no hash enters a decision. I2 time never goes back. I3 after a power cut no disk changes, and
 * each done() that still runs gets -ESHUTDOWN. I4 no request is an event later than its deadline.
 * Owning thread: one for the world; now_ns alone is read by others. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"
#include "io/draw.h"
#include "io/sim_internal.h"

/* A request's way to the disk and back, drawn between these. */
#define REACH_MIN_NS (5 * NS_PER_US)
#define REACH_MAX_NS (90 * NS_PER_US)
#define FLUSH_MAX_NS (500 * NS_PER_US)
#define ACK_MIN_NS   (1 * NS_PER_US)
#define ACK_MAX_NS   (40 * NS_PER_US)

static struct io_req *req_of(struct list_node *node)
{
	return container_of(node, struct io_req, node);
}

static struct sim_disk *disk_of(struct list_node *node)
{
	return container_of(node, struct sim_disk, node);
}

struct sim_world *sim_world_new(uint64_t seed)
{
	struct sim_world *world = calloc(1, sizeof(*world));
	if (!world)
		return NULL;
	atomic_init(&world->now_ns, NS_PER_S);
	world->order_rng = draw_next(&seed);
	world->faults = fault_set_new(draw_next(&seed));
	world->fate_rng = draw_next(&seed);
	world->cut_at = UINT64_MAX;
	list_init(&world->events);
	list_init(&world->disks);
	list_init(&world->removed);
	if (world->faults)
		return world;
	free(world);
	return NULL;
}

void sim_world_free(struct sim_world *world)
{
	if (!world)
		return;
	assert(world->engine_count == 0);
	fault_set_free(world->faults);
	list_splice_back(&world->disks, &world->removed);
	while (!list_empty(&world->disks))
		sim_disk_free(disk_of(list_pop_front(&world->disks)));
	free(world);
}

struct fault_set *sim_world_faults(struct sim_world *world)
{
	return world->faults;
}

int sim_world_arm(struct sim_world *world, const struct sim_fault *fault)
{
	struct fault f = {.kind = (enum fault_kind)fault->kind,
		.offset_bytes = fault->offset_bytes,
		.len_bytes = fault->len_bytes,
		.skip = fault->skip,
		.count = fault->count,
		.per_mille = fault->per_mille,
		.latency_ns = fault->latency_ns};
	if (fault->name && strlen(fault->name) >= sizeof(f.name))
		return -ENAMETOOLONG;
	if (fault->name)
		strcpy(f.name, fault->name);
	int id = fault_set_arm(world->faults, &f);
	return id < 0 ? id : 0;
}

void sim_world_disarm_all(struct sim_world *world)
{
	fault_set_disarm_all(world->faults);
}

struct sim_disk *sim_world_find(struct sim_world *world, const char *name)
{
	list_for_each (n, &world->disks) {
		if (strcmp(disk_of(n)->name, name) == 0)
			return disk_of(n);
	}
	return NULL;
}

int sim_disk_remove(struct sim_world *world, const char *name)
{
	struct sim_disk *disk = sim_world_find(world, name);
	if (!disk)
		return -ENOENT;
	list_remove(&disk->node);
	disk->removed = true;
	list_push_back(&world->removed, &disk->node);
	return 0;
}

void sim_world_pass(struct sim_world *world, uint64_t ns)
{
	atomic_fetch_add(&world->now_ns, ns);
}

static void event_insert(struct sim_world *world, struct io_req *req)
{
	struct list_node *at = world->events.head.prev;
	while (at != &world->events.head && req_of(at)->event_ns > req->event_ns)
		at = at->prev;
	list_insert_before(at->next, &req->node);
}

static struct sim_engine *engine_of(const struct io_req *req)
{
	return container_of(req->engine, struct sim_engine, base);
}

static struct sim_file *file_of(const struct io_req *req)
{
	return container_of(req->file, struct sim_file, base);
}

/* When a request that starts now is out of time. */
static uint64_t deadline_of(const struct sim_world *world, const struct io_req *req)
{
	uint64_t timeout_ns = req->kind == IO_ALARM ? 0 : file_of(req)->timeout_ns;
	return timeout_ns ? world->now_ns + timeout_ns : UINT64_MAX;
}

static void end_at_deadline(struct io_req *req) /* I4 */
{
	req->event_ns = req->deadline_ns;
	req->ack_ns = 0;
	req->result = -ETIMEDOUT;
}

/* ack_ns is 0 once the request needs nothing more of the disk. */
void sim_world_add(struct sim_world *world, struct io_req *req)
{
	uint64_t now_ns = world->now_ns;
	bool flush = req->kind == IO_FLUSH;
	req->record = NULL;
	req->tries = 0; /* id of the fault that holds it */
	req->ack_ns = 0;
	req->deadline_ns = deadline_of(world, req);
	req->done_bytes = world->completions; /* of a flush: what it covers */
	if (world->power_cut || req->result) {
		req->event_ns = now_ns;
	} else if (req->kind == IO_ALARM) {
		req->event_ns = max_u64(now_ns, req->due_ns);
	} else {
		req->event_ns = now_ns + draw_range(&world->order_rng, REACH_MIN_NS,
						 flush ? FLUSH_MAX_NS : REACH_MAX_NS);
		req->ack_ns = req->event_ns + draw_range(&world->order_rng, ACK_MIN_NS, ACK_MAX_NS);
		if (req->event_ns > req->deadline_ns)
			end_at_deadline(req);
	}
	event_insert(world, req);
}

void sim_world_cut_power(struct sim_world *world) /* I3 */
{
	world->power_cut = true;
	list_for_each (n, &world->events) {
		req_of(n)->event_ns = world->now_ns;
		req_of(n)->ack_ns = 0;
	}
}

/* Move requests to other times: those of @file (NULL: those whose fault is no longer armed). */
static void reschedule(struct sim_world *world, struct sim_file *file)
{
	struct list moved;
	list_init(&moved);
	list_for_each_safe (n, &world->events) {
		struct io_req *req = req_of(n);
		if (req->kind == IO_ALARM)
			continue;
		bool moves =
			file ? file_of(req) == file
			     : req->tries && !fault_set_is_armed(world->faults, (int)req->tries);
		if (!moves)
			continue;
		list_remove(n);
		list_push_back(&moved, n);
	}
	while (!list_empty(&moved)) {
		struct io_req *req = req_of(list_pop_front(&moved));
		world->hung -= req->tries != 0;
		req->tries = 0;
		req->event_ns = world->now_ns;
		req->ack_ns = file ? 0 : world->now_ns + ACK_MIN_NS;
		if (file)
			req->result = -ETIMEDOUT;
		event_insert(world, req);
	}
}

/* One of its requests was out of time: the others do not wait as long. */
static void end_all_of(struct sim_world *world, struct sim_file *file)
{
	file->timed_out = true;
	if (!world->power_cut)
		reschedule(world, file);
}

/* The request goes to its disk, and what it meets there decides when it ends. */
static void reach(struct sim_world *world, struct io_req *req)
{
	uint64_t ack_ns = req->ack_ns;
	struct sim_outcome o = sim_request_reached(world, req);
	req->result = o.result;
	req->ack_ns = 0;
	req->event_ns = ack_ns + o.delay_ns;
	if (o.hung_by) {
		req->tries = (unsigned)o.hung_by;
		req->event_ns = UINT64_MAX;
		world->hung++;
	}
	if (req->event_ns > req->deadline_ns)
		end_at_deadline(req);
	if (world->power_cut)
		req->event_ns = world->now_ns;
	event_insert(world, req);
}

static void complete(struct sim_world *world, struct io_req *req)
{
	world->hung -= req->tries != 0;
	list_push_back(&engine_of(req)->completed, &req->node);
	if (req->result == -ETIMEDOUT && !file_of(req)->timed_out)
		end_all_of(world, file_of(req));
}

bool sim_world_step(struct sim_world *world, uint64_t until_ns)
{
	if (world->hung)
		reschedule(world, NULL);
	struct list_node *first = list_first(&world->events);
	if (!first || req_of(first)->event_ns > until_ns || req_of(first)->event_ns == UINT64_MAX)
		return false;
	struct io_req *req = req_of(first);
	list_remove(first);
	world->now_ns = max_u64(world->now_ns, req->event_ns); /* I2 */
	if (req->ack_ns && !world->power_cut)
		reach(world, req);
	else
		complete(world, req);
	return true;
}

void sim_world_forget(struct sim_world *world, const struct sim_engine *engine)
{
	list_for_each_safe (n, &world->events) {
		if (engine_of(req_of(n)) != engine)
			continue;
		list_remove(n);
		world->hung -= req_of(n)->tries != 0;
		sim_disk_acknowledge(req_of(n), 0);
	}
}

void sim_world_cut_power_after(struct sim_world *world, uint64_t n)
{
	world->cut_at = world->writes + n;
}

bool sim_world_power_is_cut(const struct sim_world *world)
{
	return world->power_cut;
}

static void begin_again(struct sim_world *world, uint64_t *fates)
{
	assert(world->engine_count == 0);
	list_for_each (n, &world->disks)
		sim_disk_lose_power(disk_of(n), fates);
	world->power_cut = false;
	world->cut_at = UINT64_MAX;
	sim_world_pass(world, NS_PER_S);
}

void sim_world_reboot(struct sim_world *world)
{
	begin_again(world, &world->fate_rng);
}

void sim_world_restart(struct sim_world *world)
{
	begin_again(world, NULL);
}

uint64_t sim_world_writes(const struct sim_world *world)
{
	return world->writes;
}
