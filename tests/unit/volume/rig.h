/* SPDX-License-Identifier: MIT */
/* A volume of disks d0, d1, ... in a simulated world, for the tests of this folder. */
#ifndef STABLEFS_TESTS_VOLUME_RIG_H
#define STABLEFS_TESTS_VOLUME_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "io/simulated.h"
#include "volume/sysarea.h"
#include "volume/volume.h"

#define RIG_SEED  UINT64_C(0x5eed)
#define RIG_CHUNK 16384u
#define MIB       UINT64_C(1048576)

struct rig {
	struct sim_world *world;
	struct io_factory factory;
	unsigned members;
	struct volume_create_options create;
	struct volume *v; /* NULL: closed */
	struct errmsg why;
};

static char *const rig_names[] = {
	(char *)"d0", (char *)"d1", (char *)"d2", (char *)"d3", (char *)"d4", (char *)"d5"};

static inline struct volume_create_options rig_options(
	enum raid_level level, unsigned members, enum pi_type pi)
{
	return (struct volume_create_options){.level = level,
		.members = members,
		.size_bytes = 16 * MIB,
		.chunk_bytes = RIG_CHUNK,
		.pi = pi,
		.system_bytes = 8 * MIB};
}

/* A fresh volume, not open. */
static inline struct rig *rig_new_with(
	enum raid_level level, unsigned members, enum pi_type pi, enum super_write_hole hole)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	log_set_level(LOG_LEVEL_ERROR);
	rig->world = sim_world_new(RIG_SEED);
	rig->factory = sim_factory(rig->world);
	rig->members = members;
	rig->create = rig_options(level, members, pi);
	rig->create.write_hole = hole;
	int err = volume_create(&rig->factory, rig_names, members, &rig->create, &rig->why);
	if (err < 0)
		fail_msg("create: %s", rig->why.text);
	return rig;
}

static inline struct rig *rig_new(enum raid_level level, unsigned members, enum pi_type pi)
{
	return rig_new_with(level, members, pi, SUPER_HOLE_BITMAP);
}

/* Open with @options, in which factory, paths and count are filled in where they are not set. */
static inline int rig_open_with(struct rig *rig, struct volume_open_options options)
{
	assert_null(rig->v);
	rig->why.text[0] = '\0';
	options.factory = &rig->factory;
	if (!options.paths) {
		options.paths = rig_names;
		options.count = rig->members;
	}
	return volume_open(&options, &rig->v, &rig->why);
}

static inline void rig_open(struct rig *rig)
{
	int err = rig_open_with(rig, (struct volume_open_options){0});
	if (err < 0)
		fail_msg("open: %s", rig->why.text);
}

static inline int rig_close(struct rig *rig)
{
	int err = volume_close(rig->v);
	rig->v = NULL;
	return err;
}

static inline void rig_free(struct rig *rig)
{
	if (rig->v)
		(void)rig_close(rig);
	sim_world_free(rig->world);
	free(rig);
}

/* Opening fails with @err and a message that holds each of the (up to two) words. */
static inline void rig_refuses(struct rig *rig, struct volume_open_options options, int err,
	const char *word, const char *other)
{
	assert_int_equal(rig_open_with(rig, options), err);
	if (!strstr(rig->why.text, word) || !strstr(rig->why.text, other))
		fail_msg("'%s' does not speak of '%s' and '%s'", rig->why.text, word, other);
}

/* The whole of a disk, to be put back or elsewhere later. */
struct rig_image {
	uint64_t len_bytes;
	uint8_t *bytes;
};

static inline uint64_t rig_member_bytes(struct rig *rig, const char *name)
{
	struct io_engine *io = NULL;
	struct member_probe probe;
	assert_int_equal(sim_engine_new(rig->world, &io), 0);
	assert_int_equal(member_probe(io, name, IO_OPEN_READONLY, &probe, NULL), 0);
	uint64_t len = io_file_size_bytes(probe.file);
	io_close(probe.file);
	io_engine_free(io);
	return len;
}

/* What the superblock of @name says. */
static inline struct super rig_super(struct rig *rig, const char *name)
{
	struct io_engine *io = NULL;
	struct member_probe probe;
	assert_int_equal(sim_engine_new(rig->world, &io), 0);
	assert_int_equal(member_probe(io, name, IO_OPEN_READONLY, &probe, &rig->why), 0);
	io_close(probe.file);
	io_engine_free(io);
	return probe.super;
}

static inline struct rig_image rig_save(struct rig *rig, const char *name)
{
	struct rig_image image = {.len_bytes = rig_member_bytes(rig, name)};
	image.bytes = malloc(image.len_bytes);
	assert_non_null(image.bytes);
	assert_int_equal(sim_disk_peek(rig->world, name, 0, image.bytes, image.len_bytes), 0);
	return image;
}

/* Put an image onto the disk @name, which is there. Takes the image. */
static inline void rig_put(struct rig *rig, const char *name, struct rig_image image)
{
	assert_int_equal(sim_disk_poke(rig->world, name, 0, image.bytes, image.len_bytes), 0);
	free(image.bytes);
}

/* Make an empty disk. */
static inline void rig_disk(struct rig *rig, const char *name, uint64_t len_bytes)
{
	struct io_engine *io = NULL;
	struct io_file *file = NULL;
	assert_int_equal(sim_engine_new(rig->world, &io), 0);
	assert_int_equal(io_open(io, name, IO_OPEN_CREATE, len_bytes, &file, NULL), 0);
	io_close(file);
	io_engine_free(io);
}

/* Damage a superblock copy. */
static inline void rig_spoil(struct rig *rig, const char *name, uint64_t offset_bytes)
{
	static const uint8_t junk[64] = {0xde, 0xad};
	assert_int_equal(
		sim_disk_poke(rig->world, name, offset_bytes + 100, junk, sizeof(junk)), 0);
}

static inline void rig_fill(uint8_t *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245u + 12345u;
		buf[i] = (uint8_t)(seed >> 16);
	}
}

/* Write @len bytes of the pattern @seed; read them back. */
static inline int rig_write(struct rig *rig, uint64_t offset, uint32_t len, unsigned seed)
{
	uint8_t *buf = malloc(len);
	rig_fill(buf, len, seed);
	int err = volume_write(rig->v, offset, buf, len);
	free(buf);
	return err;
}

static inline bool rig_reads(struct rig *rig, uint64_t offset, uint32_t len, unsigned seed)
{
	uint8_t *buf = malloc(len), *want = malloc(len);
	rig_fill(want, len, seed);
	bool same = volume_read(rig->v, offset, buf, len) == 0 && memcmp(buf, want, len) == 0;
	free(buf);
	free(want);
	return same;
}

#endif
