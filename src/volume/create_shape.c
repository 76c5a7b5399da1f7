/* SPDX-License-Identifier: MIT */
/* The shape of a new volume. */
#include "volume/create_shape.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MIB UINT64_C(1048576)

uint64_t shape_default_system_bytes(uint64_t data_bytes)
{
	uint64_t bytes = data_bytes < 512 * MIB ? max_u64(data_bytes / 8, 8 * MIB)
						: max_u64(data_bytes / 16, 64 * MIB);
	return round_up_u64(min_u64(bytes, 16384 * MIB), SUPER_TAIL_BYTES);
}

static struct geometry geometry_of(const struct super *super, uint64_t stripes)
{
	return (struct geometry){.level = (enum raid_level)super->level,
		.members = super->members,
		.chunk_blocks = super->chunk_blocks,
		.stripes = stripes};
}

static uint64_t stripe_bytes(const struct super *super)
{
	struct geometry g = geometry_of(super, 1);
	return (uint64_t)geometry_stripe_blocks(&g) * BLOCK_BYTES;
}

static int check_chunk(uint64_t chunk_bytes, struct errmsg *why)
{
	if (chunk_bytes % BLOCK_BYTES == 0 && chunk_bytes / BLOCK_BYTES <= ROWS_MAX)
		return 0;
	return errmsg_set(why, -EINVAL,
		"a chunk is a power of two from 4 KiB to 1 MiB, not %" PRIu64 " bytes",
		chunk_bytes);
}

static int check_pi(const struct volume_create_options *o, struct errmsg *why)
{
	if (!pi_supported(o->pi))
		return errmsg_set(why, -EOPNOTSUPP, "this build cannot compute the guard of PI %s",
			pi_name(o->pi));
	if (o->pi == PI_NONE && o->pi_check == PI_CHECK_DEVICE)
		return errmsg_set(
			why, -EINVAL, "without PI there is nothing that a device can check");
	return 0;
}

enum super_write_hole volume_default_write_hole(enum raid_level level)
{
	return level == RAID_RAID5 || level == RAID_RAID6 ? SUPER_HOLE_JOURNAL : SUPER_HOLE_BITMAP;
}

static int check_write_hole(const struct volume_create_options *o, struct errmsg *why)
{
	if (o->write_hole == SUPER_HOLE_BITMAP ||
		volume_default_write_hole(o->level) == SUPER_HOLE_JOURNAL)
		return 0;
	return errmsg_set(why, -EINVAL,
		"the partial-write log is for levels with parity: %s has none (write-hole bitmap)",
		raid_level_name(o->level));
}

static int check_size(const struct volume_create_options *o, struct errmsg *why)
{
	if (o->size_bytes && o->size_bytes < VOLUME_MIN_BYTES)
		return errmsg_set(why, -EINVAL,
			"a volume holds 16 MiB at least, not %" PRIu64 " bytes", o->size_bytes);
	return 0;
}

static int set_label(const struct volume_create_options *o, struct super *super, struct errmsg *why)
{
	const char *label = o->label ? o->label : "";
	if (strlen(label) >= sizeof(super->label))
		return errmsg_set(why, -EINVAL, "a label has at most %zu bytes: '%s' is longer",
			sizeof(super->label) - 1, label);
	memcpy(super->label, label, strlen(label));
	return 0;
}

int shape_begin(
	const struct volume_create_options *options, struct super *super, struct errmsg *why)
{
	*super = (struct super){.level = options->level,
		.members = options->members,
		.pi = options->pi,
		.pi_check = options->pi_check,
		.write_hole = options->write_hole};
	int err = check_chunk(options->chunk_bytes, why);
	if (err < 0)
		return err;
	super->chunk_blocks = (unsigned)(options->chunk_bytes / BLOCK_BYTES);
	struct geometry g = geometry_of(super, 1);
	err = geometry_check(&g, why);
	if (err == 0)
		err = check_pi(options, why);
	if (err == 0)
		err = check_write_hole(options, why);
	if (err == 0)
		err = check_size(options, why);
	return err < 0 ? err : set_label(options, super, why);
}

static int layout(const struct volume_create_options *options, struct super *super,
	uint64_t stripes, struct errmsg *why)
{
	uint64_t data_bytes;
	if (__builtin_mul_overflow(stripes, stripe_bytes(super), &data_bytes))
		return errmsg_set(why, -EFBIG, "the volume is too large");
	uint64_t system_bytes = options->system_bytes ? options->system_bytes
						      : shape_default_system_bytes(data_bytes);
	int err = super_layout(super, stripes, system_bytes, why);
	struct geometry g = geometry_of(super, stripes);
	return err < 0 ? err : geometry_check(&g, why);
}

/* The most stripes that fit; both areas grow with the stripes, so halves can be searched. */
static uint64_t fit_stripes(const struct volume_create_options *options, const struct super *super,
	uint64_t member_bytes)
{
	uint64_t chunk_bytes = (uint64_t)super->chunk_blocks * BLOCK_BYTES;
	uint64_t fits = 0, beyond = member_bytes / chunk_bytes + 1;
	while (fits + 1 < beyond) {
		struct super trial = *super;
		uint64_t stripes = fits + (beyond - fits) / 2;
		if (layout(options, &trial, stripes, NULL) == 0 &&
			trial.member_bytes <= member_bytes)
			fits = stripes;
		else
			beyond = stripes;
	}
	return fits;
}

int shape_finish(const struct volume_create_options *options, uint64_t member_bytes,
	struct super *super, struct errmsg *why)
{
	uint64_t per_stripe = stripe_bytes(super);
	if (options->size_bytes) {
		uint64_t stripes =
			options->size_bytes / per_stripe + (options->size_bytes % per_stripe != 0);
		return layout(options, super, stripes, why);
	}
	uint64_t stripes = fit_stripes(options, super, member_bytes);
	if (stripes < (VOLUME_MIN_BYTES + per_stripe - 1) / per_stripe)
		return errmsg_set(why, -ENOSPC,
			"members of %" PRIu64
			" bytes are too small: a volume holds 16 MiB at least",
			member_bytes);
	return layout(options, super, stripes, why);
}
