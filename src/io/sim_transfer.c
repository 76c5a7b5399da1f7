/* SPDX-License-Identifier: MIT */
/* What a request does to its simulated disk when it gets there, and what faults make of that.
 *
 * Invariants: I1 the writer's memory is read here, and not at submission; a reader's is filled
 * here, and never later. I2 a fault draws from its hit alone, a power cut from the world's fates.
 * Owning thread: the world's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "io/draw.h"
#include "io/sim_internal.h"

static struct sim_outcome outcome(int result)
{
	return (struct sim_outcome){.result = result};
}

/* The write that the power cut meets: some sectors of it, or none; never all. */
static int write_cut_off(
	struct sim_world *world, struct sim_disk *disk, struct io_req *req, struct sim_write w)
{
	uint64_t sectors = w.len_bytes / SIM_SECTOR_BYTES;
	uint64_t kept = sectors > 1 ? draw_range(&world->fate_rng, 0, sectors - 1) : 0;
	sim_world_cut_power(world);
	w.len_bytes = kept * SIM_SECTOR_BYTES;
	w.req = req;
	if (kept)
		(void)sim_disk_store(disk, &w);
	else
		free(w.data);
	return -ESHUTDOWN;
}

/* Store what the fault leaves of the write. */
static int store_bent(struct sim_world *world, struct sim_disk *disk, struct io_req *req,
	const struct fault_hit *hit, struct sim_write w)
{
	int ret = fault_hit_bend_write(hit, disk->size_bytes, &w.offset_bytes, &w.len_bytes);
	if (ret < 0 || w.len_bytes == 0) {
		free(w.data);
		return ret;
	}
	w.req = req;
	ret = sim_disk_store(disk, &w);
	if (ret == 0 && world->write_reached)
		world->write_reached(world->write_reached_ctx);
	return ret;
}

/* A delay is the transfer's own; what hangs did not reach the disk. */
static bool only_waits(const struct fault_hit *hit, struct sim_outcome *out)
{
	*out = outcome(0);
	if (hit->hit && hit->kind == FAULT_LATENCY)
		out->delay_ns = hit->latency_ns;
	if (hit->hit && hit->kind == FAULT_HANG)
		out->hung_by = hit->id;
	return out->hung_by;
}

struct sim_outcome sim_world_write(
	struct sim_world *world, struct sim_disk *disk, struct io_req *req, struct sim_write w)
{
	struct sim_outcome out = outcome(-ENODEV);
	if (disk->removed || fault_set_is_gone(world->faults, disk->name)) {
		free(w.data);
		return out;
	}
	if (world->writes == world->cut_at)
		return outcome(write_cut_off(world, disk, req, w));
	struct fault_hit hit =
		fault_set_meet(world->faults, disk->name, IO_WRITE, w.offset_bytes, w.len_bytes);
	if (hit.hit && hit.kind == FAULT_POWER_CUT)
		return outcome(write_cut_off(world, disk, req, w));
	if (only_waits(&hit, &out)) {
		free(w.data);
		return out;
	}
	world->writes++;
	out.result = store_bent(world, disk, req, &hit, w);
	return out;
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

static struct sim_outcome write_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_write w = {.offset_bytes = req->offset_bytes, .len_bytes = total_bytes(req)};
	uint8_t *at = w.data = malloc(w.len_bytes + 1);
	if (!at)
		return outcome(-ENOMEM);
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

static void flip_bit(struct sim_disk *disk, const struct fault_hit *hit)
{
	uint64_t offset_bytes;
	unsigned bit;
	fault_hit_choose_bit(hit, &offset_bytes, &bit);
	sim_disk_flip(disk, offset_bytes, bit);
}

static struct sim_outcome read_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_disk *disk = disk_of_req(req);
	struct sim_outcome out = outcome(-ENODEV);
	if (disk->removed)
		return out;
	struct fault_hit hit = fault_set_meet(
		world->faults, disk->name, IO_READ, req->offset_bytes, total_bytes(req));
	if (only_waits(&hit, &out))
		return out;
	if (hit.hit && (hit.kind == FAULT_READ_ERROR || hit.kind == FAULT_GONE))
		return outcome(hit.kind == FAULT_GONE ? -ENODEV : -EIO);
	if (hit.hit && hit.kind == FAULT_BIT_FLIP)
		flip_bit(disk, &hit);
	fill_reader(disk, req, hit.hit && hit.kind == FAULT_STALE_READ);
	return out;
}

static struct sim_outcome flush_reached(struct sim_world *world, struct io_req *req)
{
	struct sim_disk *disk = disk_of_req(req);
	struct sim_outcome out = outcome(-ENODEV);
	if (disk->removed)
		return out;
	struct fault_hit hit = fault_set_meet(world->faults, disk->name, IO_FLUSH, 0, 0);
	if (only_waits(&hit, &out))
		return out;
	if (hit.hit && (hit.kind == FAULT_FLUSH_ERROR || hit.kind == FAULT_GONE))
		return outcome(hit.kind == FAULT_GONE ? -ENODEV : -EIO);
	if (!world->ignores_flushes)
		sim_disk_flush(disk, req->done_bytes);
	if (world->flush_reached)
		world->flush_reached(world->flush_reached_ctx);
	return out;
}

struct sim_outcome sim_request_reached(struct sim_world *world, struct io_req *req)
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
	return outcome(0);
}
