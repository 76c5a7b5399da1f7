/* SPDX-License-Identifier: MIT */
/* A file system on a volume of simulated disks d0, d1, ... Unthreaded: everything follows from the
 * seed. */
#ifndef STABLEFS_TESTS_FS_RIG_H
#define STABLEFS_TESTS_FS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "fs/fs.h"
#include "io/simulated.h"
#include "unit/random.h"
#include "volume/sysarea.h"

#define MIB UINT64_C(1048576)

struct rig {
	struct sim_world *world;
	struct io_factory factory;
	struct volume_create_options create;
	uint64_t cache_bytes; /* of the array, at mounts; 0: none */
	struct volume *v;
	struct fs *fs; /* NULL: not mounted */
	struct errmsg why;
};

static char *const rig_names[] = {(char *)"d0", (char *)"d1", (char *)"d2", (char *)"d3"};

static inline int rig_try_mount(struct rig *rig, bool read_only)
{
	struct volume_open_options vo = {.factory = &rig->factory,
		.paths = rig_names,
		.count = rig->create.members,
		.read_only = read_only,
		.cache_bytes = rig->cache_bytes};
	struct fs_options fo = {.read_only = read_only};
	rig->why.text[0] = '\0';
	assert_null(rig->v);
	int ret = volume_open(&vo, &rig->v, &rig->why);
	if (ret < 0)
		return ret;
	ret = fs_open(rig->v, &fo, &rig->fs, &rig->why);
	if (ret < 0) {
		volume_close(rig->v);
		rig->v = NULL;
		rig->fs = NULL;
	}
	return ret;
}

static inline void rig_mount(struct rig *rig)
{
	if (rig_try_mount(rig, false) < 0)
		fail_msg("mount: %s", rig->why.text);
}

/* The result of closing the file system. */
static inline int rig_unmount(struct rig *rig)
{
	int ret = fs_close(rig->fs);
	int closed = volume_close(rig->v);
	rig->fs = NULL;
	rig->v = NULL;
	return ret < 0 ? ret : closed;
}

static inline void rig_remount(struct rig *rig)
{
	assert_int_equal(rig_unmount(rig), 0);
	rig_mount(rig);
}

/* Formatted, not mounted. */
static inline struct rig *rig_new_with(uint64_t seed, struct volume_create_options create)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	log_set_level(LOG_LEVEL_ERROR);
	rig->world = sim_world_new(seed);
	rig->factory = sim_factory(rig->world);
	rig->create = create;
	if (volume_create(&rig->factory, rig_names, create.members, &rig->create, &rig->why) < 0)
		fail_msg("create: %s", rig->why.text);
	struct volume_open_options vo = {
		.factory = &rig->factory, .paths = rig_names, .count = create.members};
	if (volume_open(&vo, &rig->v, &rig->why) < 0 || fs_format(rig->v, 7, 8, &rig->why) < 0)
		fail_msg("format: %s", rig->why.text);
	assert_int_equal(volume_close(rig->v), 0);
	rig->v = NULL;
	return rig;
}

/* Two mirrors of @size, mounted. */
static inline struct rig *rig_new(uint64_t seed, uint64_t size, uint64_t system)
{
	struct rig *rig = rig_new_with(seed, (struct volume_create_options){.level = RAID_RAID1,
						     .members = 2,
						     .size_bytes = size,
						     .chunk_bytes = 65536,
						     .pi = PI_T10,
						     .system_bytes = system});
	rig_mount(rig);
	return rig;
}

/* The power fails, or has failed; mount again what is durable. */
static inline void rig_crash(struct rig *rig)
{
	sim_world_cut_power_after(rig->world, 0);
	(void)rig_unmount(rig);
	sim_world_reboot(rig->world);
	rig_mount(rig);
}

static inline void rig_free(struct rig *rig)
{
	if (rig->fs)
		(void)rig_unmount(rig);
	sim_world_free(rig->world);
	free(rig);
}

/* An atomic write that may be waited for with volume_wait(). */
struct rig_atomic {
	struct fs_io io;
	struct source source;
	struct volume_waiter waiter;
	struct volume *v;
};

static inline void rig_atomic_done(struct fs_io *io, int err)
{
	struct rig_atomic *w = container_of(io, struct rig_atomic, io);
	volume_signal(w->v, &w->waiter, err);
}

static inline void rig_atomic_start(struct rig_atomic *w, struct volume *v, struct fs *fs,
	uint64_t ino, uint64_t at, const void *data, uint32_t len)
{
	*w = (struct rig_atomic){.v = v};
	source_init_bounce(&w->source, data, len);
	w->io = (struct fs_io){.kind = STRIPE_WRITE,
		.ino = ino,
		.offset_bytes = at,
		.len_bytes = len,
		.source = &w->source,
		.atomic = true,
		.done = rig_atomic_done};
	fs_submit(fs, &w->io);
}

static const struct fs_owner rig_owner = {.uid = 1000, .gid = 100};

/* Make a file and give its number. */
static inline uint64_t rig_create(struct rig *rig, uint64_t parent, const char *name)
{
	struct stat st;
	int ret = fs_mknod(rig->fs, parent, name, S_IFREG | 0644, 0, &rig_owner, &st);
	if (ret < 0)
		fail_msg("create %s: %d", name, ret);
	return st.st_ino;
}

static inline uint64_t rig_mkdir(struct rig *rig, uint64_t parent, const char *name)
{
	struct stat st;
	assert_int_equal(fs_mknod(rig->fs, parent, name, S_IFDIR | 0755, 0, &rig_owner, &st), 0);
	return st.st_ino;
}

static inline struct stat rig_stat(struct rig *rig, uint64_t ino)
{
	struct stat st;
	assert_int_equal(fs_getattr(rig->fs, ino, &st), 0);
	return st;
}

static inline int rig_truncate(struct rig *rig, uint64_t ino, uint64_t size)
{
	struct stat st = {.st_size = (off_t)size};
	return fs_setattr(rig->fs, ino, FS_SET_SIZE, &st, &st);
}

/* -errno of a lookup, 0 where the name leads to @ino (0: to anything). */
static inline int rig_lookup(struct rig *rig, uint64_t parent, const char *name, uint64_t ino)
{
	struct stat st;
	int ret = fs_lookup(rig->fs, parent, name, &st);
	if (ret < 0)
		return ret;
	fs_forget(rig->fs, st.st_ino, 1);
	if (ino)
		assert_int_equal(st.st_ino, ino);
	return 0;
}

#endif
