/* SPDX-License-Identifier: MIT */
/* Making a volume.
 *
 *	resolve_targets	VOLUME arguments -> paths, what is there (detect.c), how large
 *	shape		options and sizes -> one superblock for all (create_shape.c)
 *	make_members	open or create, zero what must read as zeros, format the intent log, flush
 *	write_supers	last: before this no member is one
 *
 * Invariants: I1 nothing is changed before every target was looked at. I2 after a failure files
 * that were made are gone, and no other target holds a superblock of the new volume. What was
 * overwritten by
 * --force is not brought back. */
#include "volume/internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"
#include "volume/create_shape.h"
#include "volume/detect.h"
#include "volume/generation.h"

#define TAIL_WIPE_BYTES (UINT64_C(1) << 20) /* where labels of others stand at a device's end */
#define ZERO_STEP_BYTES (UINT64_C(64) << 20)

struct target {
	char *path; /* owned */
	bool exists, is_device;
	bool opened;           /* by us: created, emptied or about to be overwritten */
	uint64_t size_bytes;   /* where it exists */
	struct member *member; /* owned */
};

struct creation {
	const struct volume_create_options *options;
	struct io_engine *io; /* owned */
	struct target targets[RAID_MAX_MEMBERS];
	unsigned count;
	const char *dir; /* borrowed; NULL: members were given by path */
	bool dir_made, done;
	struct super super; /* what all members share */
	uint64_t zero_done, zero_total;
	struct errmsg *why;
};

/* ---- undo ---- */

static void wipe_supers(struct target *t)
{
	struct io_file *file = member_file(t->member);
	uint64_t b = super_b_offset(io_file_size_bytes(file));
	(void)io_zero(file, SUPER_A_OFFSET, SUPER_BYTES);
	if (b)
		(void)io_zero(file, b, SUPER_BYTES);
	(void)io_sync_flush(file);
}

static void target_release(struct creation *c, struct target *t)
{
	if (!c->done && t->member && (t->exists || !engine_names_are_paths(c->io)))
		wipe_supers(t);
	member_free(t->member);
	if (!c->done && t->opened && !t->exists && engine_names_are_paths(c->io))
		unlink(t->path);
	free(t->path);
}

static void creation_release(struct creation *c)
{
	for (unsigned i = 0; i < c->count; i++)
		target_release(c, &c->targets[i]);
	if (!c->done && c->dir_made)
		rmdir(c->dir);
	io_engine_free(c->io);
}

/* ---- resolve_targets ---- */

/* Takes @path in every case. */
static int add_target(struct creation *c, char *path)
{
	if (!path)
		return -ENOMEM;
	c->targets[c->count++] = (struct target){.path = path};
	return 0;
}

static int list_targets(struct creation *c, char *const *args, unsigned count)
{
	if (count != c->options->members)
		return errmsg_set(c->why, -EINVAL, "%u members were given for a volume of %u",
			count, c->options->members);
	int err = 0;
	for (unsigned i = 0; i < count && err == 0; i++) {
		struct stat st;
		if (engine_names_are_paths(c->io) && stat(args[i], &st) == 0 && S_ISDIR(st.st_mode))
			return errmsg_set(c->why, -EINVAL,
				"%s is a directory: give one directory alone, or files and devices",
				args[i]);
		err = add_target(c, strdup(args[i]));
	}
	return err;
}

/* Member files of a former, wider volume would be taken for members of the new one. */
static int refuse_leftovers(struct creation *c)
{
	DIR *dir = opendir(c->dir);
	if (!dir)
		return errno == ENOENT ? 0
				       : errmsg_set(c->why, -errno, "cannot read %s: %s", c->dir,
						 strerror(errno));
	int err = 0;
	for (struct dirent *e = readdir(dir); e && err == 0; e = readdir(dir)) {
		int number = member_file_number(e->d_name);
		if (number >= 0 && (!c->options->force || number >= (int)c->options->members))
			err = errmsg_set(c->why, -EEXIST,
				number < (int)c->options->members
					? "%s/%s exists already; --force overwrites it"
					: "%s/%s exists already and is not among the new members: "
					  "remove it first",
				c->dir, e->d_name);
	}
	closedir(dir);
	return err;
}

static int directory_targets(struct creation *c, const char *dir)
{
	c->dir = dir;
	int err = refuse_leftovers(c);
	for (unsigned i = 0; i < c->options->members && err == 0; i++) {
		char *path;
		err = add_target(c, asprintf(&path, "%s/member-%u", dir, i) < 0 ? NULL : path);
	}
	return err;
}

/* One argument that is a directory, or nothing yet, is a directory for members. */
static bool means_directory(const struct creation *c, char *const *args, unsigned count)
{
	struct stat st;
	if (count != 1 || !engine_names_are_paths(c->io))
		return false;
	return stat(args[0], &st) < 0 ? errno == ENOENT : S_ISDIR(st.st_mode);
}

static int look_at_target(struct creation *c, struct target *t)
{
	struct errmsg says = {0};
	struct stat st;
	int err = detect_content(c->io, t->path, &t->size_bytes, &says);
	if (err == -ENOENT)
		return 0;
	if (err < 0 && !(err == -EEXIST && c->options->force))
		return errmsg_set(c->why, err, "%s", says.text);
	t->exists = true;
	t->is_device =
		engine_names_are_paths(c->io) && stat(t->path, &st) == 0 && S_ISBLK(st.st_mode);
	return 0;
}

static int resolve_targets(struct creation *c, char *const *args, unsigned count)
{
	int err = means_directory(c, args, count) ? directory_targets(c, args[0])
						  : list_targets(c, args, count);
	for (unsigned i = 0; i < c->count && err == 0; i++)
		err = look_at_target(c, &c->targets[i]);
	return err;
}

/* ---- shape ---- */

/* The smallest member that is there decides where no size is asked for. */
static int smallest_target(const struct creation *c, uint64_t *out)
{
	*out = UINT64_MAX;
	for (unsigned i = 0; i < c->count && !c->options->size_bytes; i++) {
		const struct target *t = &c->targets[i];
		if (!t->exists)
			return errmsg_set(c->why, -EINVAL,
				"%s is not there yet: say how much the volume is to hold (--size)",
				t->path);
		*out = min_u64(*out, t->size_bytes);
	}
	return 0;
}

static int check_devices(const struct creation *c)
{
	for (unsigned i = 0; i < c->count; i++) {
		const struct target *t = &c->targets[i];
		if (t->is_device && t->size_bytes < c->super.member_bytes)
			return errmsg_set(c->why, -ENOSPC,
				"%s has %" PRIu64 " bytes, the volume needs %" PRIu64
				" of each member",
				t->path, t->size_bytes, c->super.member_bytes);
	}
	return 0;
}

static int random_bytes(uint8_t *out, size_t len)
{
	return getrandom(out, len, 0) == (ssize_t)len ? 0 : -EIO;
}

static int shape(struct creation *c)
{
	uint64_t member_bytes;
	int err = smallest_target(c, &member_bytes);
	if (err == 0)
		err = shape_finish(c->options, member_bytes, &c->super, c->why);
	if (err == 0)
		err = check_devices(c);
	if (err == 0)
		err = random_bytes(c->super.volume_uuid, sizeof(c->super.volume_uuid));
	c->super.created_ns = clock_read_ns(CLOCK_REALTIME);
	c->super.generation = GENERATION_FIRST;
	c->super.clean = true;
	for (unsigned i = 0; i < c->count && err == 0; i++) {
		c->super.states[i] = SUPER_MEMBER_ACTIVE;
		err = random_bytes(c->super.peers[i], sizeof(c->super.peers[i]));
	}
	return err;
}

/* ---- make_members ---- */

static int make_directory(struct creation *c)
{
	if (!c->dir)
		return 0;
	c->dir_made = mkdir(c->dir, 0700) == 0;
	if (c->dir_made || errno == EEXIST)
		return 0;
	return errmsg_set(
		c->why, -errno, "cannot make the directory %s: %s", c->dir, strerror(errno));
}

/* A file that exists keeps its size where no size is asked for, so that nothing of it is wasted. */
static uint64_t size_for(const struct creation *c, const struct target *t)
{
	uint64_t kept = round_down_u64(t->size_bytes, SUPER_TAIL_BYTES);
	return t->exists && !c->options->size_bytes ? kept : c->super.member_bytes;
}

static int open_target(struct creation *c, struct target *t, unsigned index)
{
	struct member_probe probe = {.super = c->super};
	unsigned flags = IO_OPEN_CREATE | IO_OPEN_LOCK | (t->exists ? IO_OPEN_REPLACE : 0);
	probe.super.index = index;
	memcpy(probe.super.member_uuid, c->super.peers[index], sizeof(probe.super.member_uuid));
	int err = io_open(c->io, t->path, flags, size_for(c, t), &probe.file, c->why);
	if (err < 0)
		return err;
	t->opened = true;
	return member_open(c->io, t->path, &probe, &t->member);
}

static void report_zeroed(struct creation *c, uint64_t bytes)
{
	c->zero_done += bytes;
	if (c->options->progress)
		c->options->progress(c->options->progress_ctx, c->zero_done, c->zero_total);
}

static int zero_range(struct creation *c, struct target *t, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t len = min_u64(to - from, ZERO_STEP_BYTES);
		int err = io_zero(member_file(t->member), from, len);
		if (err < 0)
			return errmsg_set(c->why, err, "cannot zero %s at byte %" PRIu64 ": %s",
				t->path, from, strerror(-err));
		report_zeroed(c, len);
		from += len;
	}
	return 0;
}

/* How much of the front must read as zeros: with PI the tuples say that data was never written, and
 * what the data area holds does not matter. */
static uint64_t front_bytes(const struct creation *c)
{
	const struct super_area *data = &c->super.data;
	return data->offset_bytes + (c->super.pi == PI_NONE ? data->len_bytes : 0);
}

static uint64_t tail_offset(const struct creation *c, const struct target *t)
{
	uint64_t tail = t->size_bytes - min_u64(t->size_bytes, TAIL_WIPE_BYTES);
	return max_u64(round_down_u64(tail, BLOCK_BYTES), front_bytes(c));
}

/* Files are new or emptied: they are zeros. A device may hold anything. */
static int zero_device(struct creation *c, struct target *t)
{
	uint64_t end = round_down_u64(t->size_bytes, BLOCK_BYTES);
	int err = zero_range(c, t, 0, front_bytes(c));
	return err < 0 ? err : zero_range(c, t, tail_offset(c, t), end);
}

static int make_member(struct creation *c, unsigned index)
{
	struct target *t = &c->targets[index];
	int err = open_target(c, t, index);
	if (err == 0 && t->is_device)
		err = zero_device(c, t);
	if (err == 0)
		err = intent_format(t->member);
	if (err == 0)
		err = hole_format(t->member);
	if (err == 0)
		err = io_sync_flush(member_file(t->member));
	return err < 0 ? errmsg_set(c->why, err, "cannot prepare %s: %s", t->path, strerror(-err))
		       : 0;
}

static int make_members(struct creation *c)
{
	for (unsigned i = 0; i < c->count; i++) {
		const struct target *t = &c->targets[i];
		if (t->is_device)
			c->zero_total += front_bytes(c) +
					 round_down_u64(t->size_bytes, BLOCK_BYTES) -
					 tail_offset(c, t);
	}
	int err = make_directory(c);
	for (unsigned i = 0; i < c->count && err == 0; i++)
		err = make_member(c, i);
	return err;
}

/* ---- write_supers ---- */

static int write_supers(struct creation *c)
{
	for (unsigned i = 0; i < c->count; i++) {
		int err = member_super_write(c->targets[i].member);
		if (err < 0)
			return errmsg_set(c->why, err, "cannot write the superblock of %s: %s",
				c->targets[i].path, strerror(-err));
	}
	return 0;
}

int volume_create(const struct io_factory *factory, char *const *args, unsigned count,
	const struct volume_create_options *options, struct errmsg *why)
{
	cleanup(creation_release) struct creation c = {.options = options, .why = why};
	int err = shape_begin(options, &c.super, why);
	if (err == 0)
		err = factory->engine_new(factory, &c.io, why);
	if (err == 0)
		err = resolve_targets(&c, args, count);
	if (err == 0)
		err = shape(&c);
	if (err == 0)
		err = make_members(&c);
	if (err == 0)
		err = write_supers(&c);
	c.done = err == 0;
	return err;
}
