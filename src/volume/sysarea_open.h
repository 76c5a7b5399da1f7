/* SPDX-License-Identifier: MIT */
/* The system area's life, and its members, for the volume alone. Its handles of the members are the
 * ones that superblocks are written through after the volume was opened. */
#ifndef STABLEFS_VOLUME_SYSAREA_OPEN_H
#define STABLEFS_VOLUME_SYSAREA_OPEN_H

#include "member/member.h"
#include "raid/geometry.h"
#include "volume/sysarea.h"

struct sysarea_config {
	const struct io_factory *factory;         /* borrowed, outlives the area */
	struct member *members[RAID_MAX_MEMBERS]; /* of the volume; borrowed for the call */
	unsigned count;
	bool read_only;
	uint64_t timeout_ns;       /* of its files; 0: they may take for ever */
	struct event_sink *events; /* borrowed; may be NULL */
	/* Copy @index failed a write or a flush; called with the lock held. True: the member is
	 * out, durably, and detached from the area. False: the volume cannot do without it. */
	bool (*failed)(void *ctx, unsigned index, int err);
	void *ctx;
};

/* Open the members of the volume again, unlocked, on an engine of the area's own. */
int sysarea_open(const struct sysarea_config *config, struct sysarea **out, struct errmsg *why);
void sysarea_close(struct sysarea *area); /* accepts NULL */

/* What follows is called with the lock held. */
void sysarea_lock(struct sysarea *area);
void sysarea_unlock(struct sysarea *area);

/* The area's handle of member @index, NULL where it has none. Borrowed. */
struct member *sysarea_member(struct sysarea *area, unsigned index);

/* Open one more handle on the area's engine: a member whose superblock is known. As io_open(). */
int sysarea_open_member(struct sysarea *area, const char *path, const struct super *super,
	unsigned flags, struct member **out, struct errmsg *why);

/* @m, made by sysarea_open_member(), takes every write from now on, and is to be filled; the area
 * owns it. @fresh: what it holds of the area is zeros. */
void sysarea_attach(struct sysarea *area, unsigned index, struct member *m, bool fresh);

/* Leave member @index out; the caller owns what is returned (which may be NULL). */
struct member *sysarea_detach(struct sysarea *area, unsigned index);

/* ---- without the lock ---- */

/* Copy one more piece, of SYSAREA_PIECE_BYTES at most, to the copy that is being filled; behind the
 * last it is flushed and counts as a copy. -ENODEV: it is gone, or not being filled. */
#define SYSAREA_PIECE_BYTES UINT64_C(131072)
int sysarea_fill(struct sysarea *area, unsigned index);
bool sysarea_is_filling(struct sysarea *area, unsigned index);

#endif
