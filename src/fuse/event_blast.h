/* SPDX-License-Identifier: MIT */
/* Who loses by a mutation.
 *
 *	what became of the write			who
 *	it was stored from a copy, redone or rejected	nobody: all got the same in the end
 *	all samples agreed (DIO_VERIFY, DIO_ADAPTIVE)	nobody
 *	a PI disk refused it				nobody: the old data stays, parity too
 *	stored or failed, on raid5			strangers, where others own blocks of the
 *							parity rows; else the writer
 *	the same where a PI disk checks			the writer: data fits its guard
 *	stored or failed, on raid1 or single		the writer: mirrors differ; a guard does not
 *							fit; or some bytes are new and some old
 *	a reader stored into its buffer			nobody: what is stored was right
 *
 * A write that failed may have been stored all the same: its row is that of a stored one.
 * Asks the database: not on the engine's thread. */
#ifndef STABLEFS_FUSE_EVENT_BLAST_H
#define STABLEFS_FUSE_EVENT_BLAST_H

#include "base/event.h"
#include "fs/fs.h"
#include "volume/volume.h"

#define EVENT_MAX_STRANGERS 16u

struct event_blast_zone {
	enum event_blast who;
	/* BLAST_STRANGERS: files that own other blocks of the parity rows, and how many. */
	struct {
		uint64_t ino, blocks;
	} strangers[EVENT_MAX_STRANGERS];
	unsigned count;
	uint64_t stripe, volume_block; /* the first concerned; volume_block UINT64_MAX: none */
	uint64_t volume_blocks;
};

void event_blast_find(
	const struct event *e, struct fs *fs, struct volume *v, struct event_blast_zone *out);

const char *event_blast_name(enum event_blast who); /* "nobody", "writer", "strangers" */

#endif
