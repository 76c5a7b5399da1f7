/* SPDX-License-Identifier: MIT */
/* What writes replaced: for reads that return old bytes, and for power cuts, which undo.
 *
 * An image is read before its write is sent, while a stale read or a power cut is armed. At a cut
 * each write that no flush covered gets its fate; then, from the newest back to the oldest, the
 * sectors that it loses are put back, except where a newer write keeps its own.
 * Invariants: I1 images are in the order in which their writes were sent. I2 a flush that covers a
 * write covers the older ones that it overlaps: no older byte returns over a durable newer one.
 * I3 once the power is cut no image is added.
 * The world's lock protects all images. Owning thread: any. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "io/draw.h"
#include "io/inject_internal.h"

#define SECTOR_BYTES 512u

static struct inject_image *image_of(struct list_node *node)
{
	return container_of(node, struct inject_image, node);
}

static void image_free(struct inject_image *image)
{
	list_remove(&image->node);
	free(image->name);
	free(image->old);
	free(image);
}

static bool is_under_way(const struct inject_image *image)
{
	return image->is_volatile && !image->acked_at;
}

static bool same_range(const struct inject_image *a, const struct inject_image *b)
{
	return a->offset_bytes == b->offset_bytes && a->len_bytes == b->len_bytes &&
	       strcmp(a->name, b->name) == 0;
}

/* An older image of just these sectors, durable and done, can serve nobody any more. */
static void drop_superseded(struct inject_world *world, const struct inject_image *newer)
{
	list_for_each_safe (n, &world->images) {
		if (!image_of(n)->is_volatile && same_range(image_of(n), newer))
			image_free(image_of(n));
	}
}

static struct inject_image *image_new(
	const char *name, uint64_t offset_bytes, uint64_t len_bytes, uint8_t *old)
{
	struct inject_image *image = calloc(1, sizeof(*image));
	if (image)
		image->name = strdup(name);
	if (!image || !image->name) {
		free(image);
		return NULL;
	}
	image->offset_bytes = offset_bytes;
	image->len_bytes = len_bytes;
	image->old = old;
	image->is_volatile = true;
	return image;
}

struct inject_image *inject_image_add(struct inject_world *world, const char *name,
	uint64_t offset_bytes, uint64_t len_bytes, uint8_t *old)
{
	struct inject_image *image = image_new(name, offset_bytes, len_bytes, old);
	if (!image) {
		free(old);
		return NULL;
	}
	pthread_mutex_lock(&world->lock);
	bool cut = atomic_load(&world->cut); /* I3 */
	if (!cut) {
		drop_superseded(world, image);
		list_push_back(&world->images, &image->node);
		world->writes_under_way++;
	}
	pthread_mutex_unlock(&world->lock);
	if (!cut)
		return image;
	list_node_init(&image->node);
	image_free(image);
	return NULL;
}

static bool overlap(const struct inject_image *a, const struct inject_image *b)
{
	return a->offset_bytes < b->offset_bytes + b->len_bytes &&
	       b->offset_bytes < a->offset_bytes + a->len_bytes && strcmp(a->name, b->name) == 0;
}

/* I2: what is dropping takes older ones with it. Then they are volatile no more. */
static void settle_dropping(struct inject_world *world)
{
	for (struct list_node *n = world->images.head.prev; n != &world->images.head; n = n->prev) {
		if (!image_of(n)->dropping)
			continue;
		for (struct list_node *m = n->prev; m != &world->images.head; m = m->prev)
			image_of(m)->dropping |= overlap(image_of(m), image_of(n));
	}
	list_for_each_safe (n, &world->images) {
		struct inject_image *image = image_of(n);
		if (!image->dropping)
			continue;
		image->dropping = false;
		image->is_volatile = is_under_way(image); /* its write still refers to it */
	}
}

void inject_image_written(struct inject_world *world, struct inject_image *image, bool durable)
{
	pthread_mutex_lock(&world->lock);
	world->writes_under_way--;
	image->acked_at = ++world->acks;
	if (durable && !atomic_load(&world->cut)) {
		image->dropping = true;
		settle_dropping(world);
	}
	pthread_mutex_unlock(&world->lock);
}

uint64_t inject_images_acked(struct inject_world *world)
{
	pthread_mutex_lock(&world->lock);
	uint64_t acks = world->acks;
	pthread_mutex_unlock(&world->lock);
	return acks;
}

void inject_images_flushed(struct inject_world *world, const char *name, uint64_t covers)
{
	pthread_mutex_lock(&world->lock);
	if (!atomic_load(&world->cut)) {
		list_for_each (n, &world->images) {
			struct inject_image *image = image_of(n);
			image->dropping = image->acked_at && image->acked_at <= covers &&
					  strcmp(image->name, name) == 0;
		}
		settle_dropping(world);
	}
	pthread_mutex_unlock(&world->lock);
}

void inject_images_trim(struct inject_world *world)
{
	bool stale = !fault_set_is_empty(world->faults) &&
		     fault_set_has(world->faults, FAULT_STALE_READ);
	bool keeps = atomic_load(&world->keeps_images) || atomic_load(&world->cut);
	pthread_mutex_lock(&world->lock);
	list_for_each_safe (n, &world->images) {
		struct inject_image *image = image_of(n);
		if (!is_under_way(image) && (!keeps || (!stale && !image->is_volatile)))
			image_free(image);
	}
	pthread_mutex_unlock(&world->lock);
}

/* Where in the vector byte @at of it is; the sector there is contiguous. */
static uint8_t *byte_of(const struct iovec *iov, unsigned iov_count, uint64_t at)
{
	for (unsigned i = 0; i < iov_count; i++) {
		if (at < iov[i].iov_len)
			return (uint8_t *)iov[i].iov_base + at;
		at -= iov[i].iov_len;
	}
	return NULL;
}

/* The newest first: the oldest of what is laid over it would win. */
static const uint8_t *newest_old(struct inject_world *world, const char *name, uint64_t at)
{
	for (struct list_node *n = world->images.head.prev; n != &world->images.head; n = n->prev) {
		const struct inject_image *image = image_of(n);
		if (at >= image->offset_bytes && at < image->offset_bytes + image->len_bytes &&
			strcmp(image->name, name) == 0)
			return image->old + (at - image->offset_bytes);
	}
	return NULL;
}

void inject_images_overlay(struct inject_world *world, const char *name, uint64_t offset_bytes,
	const struct iovec *iov, unsigned iov_count)
{
	uint8_t *to;
	pthread_mutex_lock(&world->lock);
	for (uint64_t done = 0; (to = byte_of(iov, iov_count, done)); done += SECTOR_BYTES) {
		const uint8_t *old = newest_old(world, name, offset_bytes + done);
		if (old)
			memcpy(to, old, SECTOR_BYTES);
	}
	pthread_mutex_unlock(&world->lock);
}

/* ---- a power cut ---- */

static uint64_t draw_fate(uint64_t *stream, uint64_t len_bytes)
{
	uint64_t sectors = len_bytes / SECTOR_BYTES;
	switch (draw_range(stream, 0, sectors > 1 ? 2 : 1)) {
	case 0:
		return 0;
	case 1:
		return len_bytes;
	default:
		return draw_range(stream, 1, sectors - 1) * SECTOR_BYTES;
	}
}

void inject_images_decide(struct inject_world *world)
{
	uint64_t stream = fault_set_get_seed(world->faults) + world->acks;
	list_for_each (n, &world->images) {
		struct inject_image *image = image_of(n);
		image->kept_bytes = image->is_volatile ? draw_fate(&stream, image->len_bytes)
						       : image->len_bytes;
	}
}

/* Does a write newer than @image keep its bytes at @at? Nobody changes images any more. */
static bool newer_keeps(struct inject_world *world, const struct inject_image *image, uint64_t at)
{
	for (struct list_node *n = image->node.next; n != &world->images.head; n = n->next) {
		const struct inject_image *newer = image_of(n);
		if (at >= newer->offset_bytes && at < newer->offset_bytes + newer->kept_bytes &&
			strcmp(newer->name, image->name) == 0)
			return true;
	}
	return false;
}

/* Put back what the write lost. An error leaves it as it is: the member has one more fault. */
static void undo(struct inject_world *world, struct io_file *file, const struct inject_image *image)
{
	uint64_t at = image->kept_bytes, end;
	for (; at < image->len_bytes; at = end) {
		bool skip = newer_keeps(world, image, image->offset_bytes + at);
		end = at + SECTOR_BYTES;
		while (end < image->len_bytes &&
			newer_keeps(world, image, image->offset_bytes + end) == skip)
			end += SECTOR_BYTES;
		if (!skip)
			(void)io_sync_write(
				file, image->offset_bytes + at, image->old + at, end - at);
	}
}

static struct io_file *inner_file(struct inject_engine *e, const char *name)
{
	list_for_each (n, &e->files) {
		struct inject_file *f = container_of(n, struct inject_file, node);
		if (strcmp(f->name, name) == 0)
			return f->inner;
	}
	return NULL;
}

/* The list stays for newer_keeps(); an image that was put back is not again. */
void inject_images_restore(struct inject_engine *e)
{
	struct inject_world *world = e->world;
	if (!atomic_load(&world->cut))
		return;
	pthread_mutex_lock(&world->lock);
	bool quiet = world->writes_under_way == 0 && !world->restoring;
	world->restoring |= quiet;
	pthread_mutex_unlock(&world->lock);
	if (!quiet)
		return;
	for (struct list_node *n = world->images.head.prev; n != &world->images.head; n = n->prev) {
		struct inject_image *image = image_of(n);
		struct io_file *file = image->restored ? NULL : inner_file(e, image->name);
		if (!file)
			continue;
		image->restored = true;
		undo(world, file, image);
	}
	pthread_mutex_lock(&world->lock);
	world->restoring = false;
	pthread_mutex_unlock(&world->lock);
}
