/* SPDX-License-Identifier: MIT */
/* Making a spare: a member of the volume in everything but its place. On an engine of its own, so
 * that nobody waits for it; before its superblock, which is written last, it is none. */
#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "volume/detect.h"
#include "volume/internal.h"

#define ZERO_STEP_BYTES (UINT64_C(64) << 20)
#define TAIL_BYTES      (UINT64_C(1) << 20) /* where labels of others stand at a device's end */

struct preparation {
	struct io_engine *io; /* owned */
	const char *path;     /* borrowed */
	struct super super;
	bool exists, is_device, made, done;
	uint64_t size_bytes;
	struct member *m; /* owned */
	struct errmsg *why;
};

static void preparation_release(struct preparation *p)
{
	member_free(p->m);
	if (!p->done && p->made && engine_names_are_paths(p->io))
		unlink(p->path);
	io_engine_free(p->io);
}

static int look(struct preparation *p, bool force)
{
	struct errmsg says = {0};
	struct stat st;
	int err = detect_content(p->io, p->path, &p->size_bytes, &says);
	if (err == -ENOENT)
		return 0;
	if (err < 0 && !(err == -EEXIST && force))
		return errmsg_set(p->why, err, "%s", says.text);
	p->exists = true;
	p->is_device =
		engine_names_are_paths(p->io) && stat(p->path, &st) == 0 && S_ISBLK(st.st_mode);
	if (p->size_bytes >= p->super.member_bytes || (!p->size_bytes && !p->is_device))
		return 0;
	return errmsg_set(p->why, -ENOSPC,
		"%s has %" PRIu64 " bytes, the volume needs %" PRIu64 " of each member", p->path,
		p->size_bytes, p->super.member_bytes);
}

static int open_target(struct preparation *p)
{
	struct member_probe probe = {.super = p->super};
	unsigned flags = IO_OPEN_CREATE | IO_OPEN_LOCK | (p->exists ? IO_OPEN_REPLACE : 0);
	uint64_t size =
		max_u64(round_down_u64(p->size_bytes, SUPER_TAIL_BYTES), p->super.member_bytes);
	int err = io_open(p->io, p->path, flags, size, &probe.file, p->why);
	if (err < 0)
		return err;
	p->made = !p->exists;
	return member_open(p->io, p->path, &probe, &p->m);
}

static int zero_range(struct preparation *p, uint64_t from, uint64_t to)
{
	for (uint64_t len; from < to; from += len) {
		len = min_u64(to - from, ZERO_STEP_BYTES);
		int err = io_zero(member_file(p->m), from, len);
		if (err < 0)
			return errmsg_set(p->why, err, "cannot zero %s at byte %" PRIu64 ": %s",
				p->path, from, strerror(-err));
	}
	return 0;
}

/* Files are new or emptied: they are zeros. A device may hold anything; its data is all rebuilt. */
static int zero_device(struct preparation *p)
{
	if (!p->is_device)
		return 0;
	uint64_t front = p->super.data.offset_bytes;
	uint64_t end = round_down_u64(p->size_bytes, BLOCK_BYTES);
	int err = zero_range(p, 0, front);
	return err < 0 ? err : zero_range(p, max_u64(end - min_u64(end, TAIL_BYTES), front), end);
}

static int format(struct preparation *p)
{
	int err = zero_device(p);
	if (err == 0)
		err = intent_format(p->m);
	if (err == 0)
		err = hole_format(p->m);
	if (err == 0)
		err = io_sync_flush(member_file(p->m));
	return err == 0 ? member_super_write(p->m) : err;
}

int prepare_spare(
	struct volume *v, const char *path, bool force, struct super *out, struct errmsg *why)
{
	cleanup(preparation_release) struct preparation p = {
		.path = path, .super = v->super, .why = why};
	p.super.index = SUPER_INDEX_SPARE;
	p.super.clean = true;
	if (getrandom(p.super.member_uuid, 16, 0) != 16)
		return -EIO;
	int err = v->factory->engine_new(v->factory, &p.io, why);
	if (err == 0)
		err = look(&p, force);
	if (err == 0)
		err = open_target(&p);
	if (err == 0)
		err = format(&p);
	p.done = err == 0;
	*out = p.super;
	return err < 0 && why && !why->text[0]
		       ? errmsg_set(why, err, "cannot prepare %s: %s", path, strerror(-err))
		       : err;
}

int prepare_probe(struct volume *v, const char *path, struct super *out, struct errmsg *why)
{
	cleanup(io_engine_freep) struct io_engine *io = NULL;
	struct member_probe probe;
	int err = v->factory->engine_new(v->factory, &io, why);
	if (err == 0)
		err = member_probe(io, path, IO_OPEN_READONLY, &probe, why);
	if (err < 0)
		return err;
	*out = probe.super;
	io_close(probe.file);
	return 0;
}
