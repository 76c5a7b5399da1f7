/* SPDX-License-Identifier: MIT */
/* What a power cut at this moment would leave of a world, as a world of its own: so one run of a
 * workload can be cut at each of its writes, with any number of fates each, and goes on.
 *
 * Owning thread: the world's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "io/sim_internal.h"
#include "io/sim_snapshot.h"

/* The durable bytes of each page, which is all that it keeps; shared until one side writes. */
static int pages_copy(const struct sim_disk *from, struct sim_disk *to)
{
	uint64_t pages = round_up_u64(from->size_bytes, SIM_PAGE_BYTES) / SIM_PAGE_BYTES;
	for (uint64_t i = 0; i < pages; i++) {
		const struct sim_page *page = from->pages[i];
		if (!page)
			continue;
		struct sim_page *copy = to->pages[i] = malloc(sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		list_node_init(&copy->node);
		copy->durable = NULL;
		copy->before = NULL;
		copy->now = sim_bytes_share(page->durable ? page->durable : page->now);
	}
	return 0;
}

/* The first @len_bytes of an unflushed write did get there. */
static int write_copy(struct sim_disk *to, const struct sim_write *w, uint64_t len_bytes)
{
	for (uint64_t done = 0, part; done < len_bytes; done += part) {
		uint64_t at = w->offset_bytes + done, in_page = at % SIM_PAGE_BYTES;
		struct sim_page *page = to->pages[at / SIM_PAGE_BYTES];
		part = min_u64(SIM_PAGE_BYTES - in_page, len_bytes - done);
		if (!page)
			continue;
		if (sim_bytes_own(&page->now) < 0)
			return -ENOMEM;
		if (w->data)
			memcpy(page->now->bytes + in_page, w->data + done, part);
		else
			memset(page->now->bytes + in_page, 0, part);
	}
	return 0;
}

static int disk_snapshot(struct sim_world *world, const struct sim_disk *disk)
{
	struct sim_disk *copy = sim_disk_new(disk->name, disk->size_bytes);
	if (!copy)
		return -ENOMEM;
	list_push_back(&world->disks, &copy->node);
	if (pages_copy(disk, copy) < 0)
		return -ENOMEM;
	list_for_each (n, &disk->unflushed) {
		const struct sim_write *w = container_of(n, struct sim_write, node);
		int ret = write_copy(copy, w, sim_disk_fate_bytes(w, &world->fate_rng));
		if (ret < 0)
			return ret;
	}
	return 0;
}

struct sim_world *sim_world_snapshot(const struct sim_world *world, uint64_t seed)
{
	struct sim_world *copy = sim_world_new(seed);
	int ret = copy ? 0 : -ENOMEM;
	list_for_each (n, &world->disks) {
		if (ret == 0)
			ret = disk_snapshot(copy, container_of(n, struct sim_disk, node));
	}
	if (ret == 0)
		return copy;
	sim_world_free(copy);
	return NULL;
}

void sim_world_on_write(struct sim_world *world, void (*reached)(void *ctx), void *ctx)
{
	world->write_reached = reached;
	world->write_reached_ctx = ctx;
}

void sim_world_on_flush(struct sim_world *world, void (*reached)(void *ctx), void *ctx)
{
	world->flush_reached = reached;
	world->flush_reached_ctx = ctx;
}

void sim_world_ignore_flushes(struct sim_world *world, bool ignore)
{
	world->ignores_flushes = ignore;
}
