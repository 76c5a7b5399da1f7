/* SPDX-License-Identifier: MIT */
/* The simulated world: one clock, one order of events, one power supply for all its disks.
 *
 *	submitted --event_ns--> reached the disk --ack_ns--> completed --io_run--> done()
 *	     | alarm, or result known at submit ----------------^
 *
 * Invariants: I1 everything follows from the seed and the order of calls: no address, no real time
 * and no hash enters a decision. I2 time never goes back. I3 after a power cut no disk changes, and
 * each done() that still runs gets -ESHUTDOWN.
 * Owning thread: one for the world; now_ns alone is read by others. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/clock.h"
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

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
uint64_t sim_draw(uint64_t *rng)
{
	uint64_t z = *rng += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

uint64_t sim_draw_range(uint64_t *rng, uint64_t low, uint64_t high)
{
	return low + sim_draw(rng) % (high - low + 1);
}

struct sim_world *sim_world_new(uint64_t seed)
{
	struct sim_world *world = calloc(1, sizeof(*world));
	if (!world)
		return NULL;
	atomic_init(&world->now_ns, NS_PER_S);
	world->order_rng = sim_draw(&seed);
	world->fault_rng = sim_draw(&seed);
	world->fate_rng = sim_draw(&seed);
	world->cut_at = UINT64_MAX;
	list_init(&world->events);
	list_init(&world->disks);
	list_init(&world->removed);
	list_init(&world->faults);
	return world;
}

void sim_world_free(struct sim_world *world)
{
	if (!world)
		return;
	assert(world->engine_count == 0);
	sim_world_disarm_all(world);
	list_splice_back(&world->disks, &world->removed);
	while (!list_empty(&world->disks))
		sim_disk_free(disk_of(list_pop_front(&world->disks)));
	free(world);
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

/* ack_ns is 0 once the request needs nothing more of the disk. */
void sim_world_add(struct sim_world *world, struct io_req *req)
{
	uint64_t now_ns = world->now_ns;
	bool flush = req->kind == IO_FLUSH;
	req->record = NULL;
	req->ack_ns = 0;
	req->done_bytes = world->completions; /* of a flush: what it covers */
	if (world->power_cut || req->result) {
		req->event_ns = now_ns;
	} else if (req->kind == IO_ALARM) {
		req->event_ns = max_u64(now_ns, req->due_ns);
	} else {
		req->event_ns = now_ns + sim_draw_range(&world->order_rng, REACH_MIN_NS,
						 flush ? FLUSH_MAX_NS : REACH_MAX_NS);
		req->ack_ns =
			req->event_ns + sim_draw_range(&world->order_rng, ACK_MIN_NS, ACK_MAX_NS);
	}
	event_insert(world, req);
}

/* I3: requests under way will complete now, and their done() is told (in simulated.c). */
static void cut_power(struct sim_world *world)
{
	world->power_cut = true;
	list_for_each (n, &world->events) {
		req_of(n)->event_ns = world->now_ns;
		req_of(n)->ack_ns = 0;
	}
}

/* The write that the power cut meets: some sectors of it, or none; never all. */
static int write_cut_off(
	struct sim_world *world, struct sim_disk *disk, struct io_req *req, struct sim_write w)
{
	uint64_t sectors = w.len_bytes / SIM_SECTOR_BYTES;
	uint64_t kept = sectors > 1 ? sim_draw_range(&world->fate_rng, 0, sectors - 1) : 0;
	cut_power(world);
	w.len_bytes = kept * SIM_SECTOR_BYTES;
	w.req = req;
	if (kept)
		(void)sim_disk_store(disk, &w);
	else
		free(w.data);
	return -ESHUTDOWN;
}

/* Change @w as the fault says; an error fails the write. */
static int bend_write(struct sim_world *world, struct sim_disk *disk, int kind, struct sim_write *w)
{
	uint64_t sectors = w->len_bytes / SIM_SECTOR_BYTES;
	switch (kind) {
	case SIM_WRITE_ERROR:
		return -EIO;
	case SIM_GONE:
		disk->gone = true;
		return -ENODEV;
	case SIM_LOST_WRITE:
		w->len_bytes = 0;
		return 0;
	case SIM_TORN_WRITE:
		w->len_bytes = sectors > 1 ? sim_draw_range(&world->fault_rng, 1, sectors - 1) *
						     SIM_SECTOR_BYTES
					   : 0;
		return 0;
	case SIM_MISDIRECTED:
		w->offset_bytes += BLOCK_BYTES;
		w->len_bytes = w->offset_bytes >= disk->size_bytes
				       ? 0
				       : min_u64(w->len_bytes, disk->size_bytes - w->offset_bytes);
		return 0;
	default:
		return 0;
	}
}

int sim_world_write(
	struct sim_world *world, struct sim_disk *disk, struct io_req *req, struct sim_write w)
{
	if (disk->gone || disk->removed) {
		free(w.data);
		return -ENODEV;
	}
	if (world->writes == world->cut_at)
		return write_cut_off(world, disk, req, w);
	world->writes++;
	struct sim_hit hit = sim_faults_meet(world, disk, IO_WRITE, w.offset_bytes, w.len_bytes);
	int ret = bend_write(world, disk, hit.kind, &w);
	if (ret < 0 || w.len_bytes == 0) {
		free(w.data);
		return ret;
	}
	w.req = req;
	return sim_disk_store(disk, &w);
}

static uint64_t total_bytes(const struct io_req *req)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < req->iov_count; i++)
		total += req->iov[i].iov_len;
	return total;
}

static struct sim_disk *disk_of_req(const struct io_req *req)
{
	return container_of(req->file, struct sim_file, base)->disk;
}

/* The writer's memory is read here, and not at submission. */
static int write_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_write w = {.offset_bytes = req->offset_bytes, .len_bytes = total_bytes(req)};
	uint8_t *at = w.data = malloc(w.len_bytes + 1);
	if (!at)
		return -ENOMEM;
	for (unsigned i = 0; i < req->iov_count; at += req->iov[i++].iov_len)
		memcpy(at, req->iov[i].iov_base, req->iov[i].iov_len);
	return sim_world_write(world, disk_of_req(req), req, w);
}

static void fill_reader(const struct sim_disk *disk, struct io_req *req, bool stale)
{
	uint64_t offset_bytes = req->offset_bytes;
	for (unsigned i = 0; i < req->iov_count; i++) {
		uint64_t len_bytes = req->iov[i].iov_len;
		sim_disk_load(disk, offset_bytes, req->iov[i].iov_base, len_bytes, stale);
		offset_bytes += len_bytes;
	}
}

static int read_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_disk *disk = disk_of_req(req);
	if (disk->gone || disk->removed)
		return -ENODEV;
	struct sim_hit hit =
		sim_faults_meet(world, disk, IO_READ, req->offset_bytes, total_bytes(req));
	if (hit.kind == SIM_READ_ERROR)
		return -EIO;
	disk->gone = hit.kind == SIM_GONE;
	if (disk->gone)
		return -ENODEV;
	if (hit.kind == SIM_BIT_FLIP) {
		uint64_t at = sim_draw_range(&world->fault_rng, hit.first_bytes, hit.end_bytes - 1);
		sim_disk_flip(disk, at, (unsigned)sim_draw_range(&world->fault_rng, 0, 7));
	}
	fill_reader(disk, req, hit.kind == SIM_STALE_READ);
	return 0;
}

static int flush_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_disk *disk = disk_of_req(req);
	if (disk->gone || disk->removed)
		return -ENODEV;
	struct sim_hit hit = sim_faults_meet(world, disk, IO_FLUSH, 0, 0);
	if (hit.kind == SIM_FLUSH_ERROR)
		return -EIO;
	disk->gone = hit.kind == SIM_GONE;
	if (disk->gone)
		return -ENODEV;
	sim_disk_flush(disk, req->done_bytes);
	return 0;
}

static int request_reached(struct sim_world *world, struct io_req *req)
{
	switch (req->kind) {
	case IO_READ:
		return read_reached(world, req);
	case IO_WRITE:
		return write_reached(world, req);
	case IO_FLUSH:
		return flush_reached(world, req);
	case IO_ALARM:
		break;
	}
	return 0;
}

bool sim_world_step(struct sim_world *world, uint64_t until_ns)
{
	struct list_node *first = list_first(&world->events);
	if (!first || req_of(first)->event_ns > until_ns)
		return false;
	struct io_req *req = req_of(first);
	list_remove(first);
	world->now_ns = max_u64(world->now_ns, req->event_ns); /* I2 */
	uint64_t ack_ns = req->ack_ns;
	if (ack_ns && !world->power_cut) {
		req->ack_ns = 0;
		req->result = request_reached(world, req);
		req->event_ns = world->power_cut ? world->now_ns : ack_ns;
		event_insert(world, req);
	} else {
		list_push_back(&engine_of(req)->completed, &req->node);
	}
	return true;
}

void sim_world_forget(struct sim_world *world, const struct sim_engine *engine)
{
	list_for_each_safe (n, &world->events) {
		if (engine_of(req_of(n)) != engine)
			continue;
		list_remove(n);
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

void sim_world_reboot(struct sim_world *world)
{
	assert(world->engine_count == 0);
	list_for_each (n, &world->disks)
		sim_disk_lose_power(disk_of(n), &world->fate_rng);
	world->power_cut = false;
	world->cut_at = UINT64_MAX;
	sim_world_pass(world, NS_PER_S);
}

uint64_t sim_world_writes(const struct sim_world *world)
{
	return world->writes;
}
