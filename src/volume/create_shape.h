/* SPDX-License-Identifier: MIT */
/* From the options of a new volume to its superblock: pure arithmetic, no I/O. */
#ifndef STABLEFS_VOLUME_CREATE_SHAPE_H
#define STABLEFS_VOLUME_CREATE_SHAPE_H

#include "volume/volume.h"

#define VOLUME_MIN_BYTES (UINT64_C(16) << 20)

/* Options that make sense by themselves? -EINVAL, -EOPNOTSUPP (a PI that this build lacks). Fills
 * in level, members, chunk, PI and label of @super. */
int shape_begin(
	const struct volume_create_options *options, struct super *super, struct errmsg *why);

/* Lay out @super so that it holds options->size_bytes, or, where that is 0, as much as members of
 * @member_bytes hold. -ENOSPC: less than VOLUME_MIN_BYTES fit. */
int shape_finish(const struct volume_create_options *options, uint64_t member_bytes,
	struct super *super, struct errmsg *why);

/* The size of the system area where none is asked for: a sixteenth of the data, at least 64 MiB;
 * below 512 MiB of data an eighth, at least 8 MiB; never more than 16 GiB. */
uint64_t shape_default_system_bytes(uint64_t data_bytes);

#endif
