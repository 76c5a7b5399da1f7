/* SPDX-License-Identifier: MIT */
/* A checker of the file system of a volume that nobody has mounted: the system area, the database
 * as SQLite sees it, and everything that its rows say of files, names and blocks.
 * Owner thread: the caller's; blocking.
 * Invariants: I1 without repair nothing is written. I2 a repair goes in transactions that each
 *   leave a database no worse than before; one that is copied anew takes the place of the old one
 *   in one write of a header. I3 memory: an index of names while they are counted, and what is to
 *   be mended, some ten thousand things at a time.
 * May use: what fs.h may. Must not know: how findings are shown. */
#ifndef STABLEFS_FS_CHECK_H
#define STABLEFS_FS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"
#include "volume/volume.h"

enum check_kind {
	CHECK_AREA,        /* a copy of a page of the system area */
	CHECK_DATABASE,    /* what SQLite calls damaged */
	CHECK_SCHEMA,      /* other tables than ours */
	CHECK_META,        /* figures of the file system as a whole */
	CHECK_INODE,       /* a row that no inode can have, or that is missing */
	CHECK_ENTRY,       /* a name that is none, or leads astray */
	CHECK_UNREACHABLE, /* no name leads there */
	CHECK_LINKS,       /* a number of links */
	CHECK_PARENT,      /* a directory's way up */
	CHECK_BLOCKS,      /* a number of blocks */
	CHECK_EXTENT,      /* outside the volume, or the file, or of what is no file */
	CHECK_SHARED,      /* blocks of two files, or twice of one */
	CHECK_SYMLINK,
	CHECK_XATTR,
	CHECK_ORPHAN, /* no damage: unlinked while open, to be reclaimed */
	CHECK_KINDS,
};
const char *check_kind_name(enum check_kind kind); /* "area", "database", ... */

struct check_finding {
	enum check_kind kind;
	uint64_t ino;     /* 0: none */
	const char *path; /* of @ino, as far as it is known; NULL: not */
	const char *what; /* in words */
	const char *done; /* how it was mended; NULL: it was not */
};

struct check_options {
	bool repair;
	/* A finding; its texts are borrowed for the call. */
	void (*found)(void *ctx, const struct check_finding *finding);
	/* Rows, about; false: stop (-ECANCELED). May be NULL. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

struct check_result {
	uint64_t problems; /* found; orphans are none */
	uint64_t mended;
	uint64_t remaining; /* found by a second look, after a repair; without: problems */
	uint64_t orphans;   /* found; a repair reclaims them */
	bool incomplete;    /* the rows were not looked at, since the database cannot be trusted */
	uint64_t inodes, entries, extents, used_blocks, total_blocks;
	struct scrub_area area;
};

/* -EUCLEAN and @why: there is nothing that could be checked. */
int fs_check(struct volume *v, const struct check_options *options, struct check_result *out,
	struct errmsg *why);

#endif
