/* SPDX-License-Identifier: MIT */
/* Policies: what a volume does with direct I/O. A policy is a choice of source (and, for reads, of
 * sink) plus checks; the stripe code knows none. Pure values. */
#ifndef STABLEFS_INFLIGHT_POLICY_H
#define STABLEFS_INFLIGHT_POLICY_H

#include <stdbool.h>

enum dio_policy {
	DIO_BOUNCE,   /* one copy at submission; guard, parity and data come from it */
	DIO_ZEROCOPY, /* guard, parity and data are sampled from live memory */
	DIO_BUFFERED, /* as if through the page cache: one write of a file at a time, any alignment,
		       * written at once, dropped from the cache afterwards */
	DIO_REFUSE,   /* direct I/O fails with EINVAL, where it is opened and where it arrives */
	DIO_DETECT,   /* bounce; before completion the copy is compared with live memory */
	DIO_VERIFY,   /* zero-copy; before completion live memory is checked against what the guard
		       * was made of; a difference fails the write with EIO */
	DIO_ADAPTIVE, /* as verify, but a changed write is done again from the copy, and its process
		       * is bounced from then on */
	DIO_COW,      /* the library's: the buffer is write-protected in flight */
	DIO_POLICY_COUNT
};

const char *dio_policy_name(enum dio_policy policy);

/* The policies of a mount: all but cow. */
bool dio_policy_parse(const char *name, enum dio_policy *out);
const char *dio_policy_names(void); /* "bounce, zerocopy, ...": for messages and help */

/* Every sample of a write sees the same bytes, so that no stripe is ever at risk. */
bool dio_policy_is_stable(enum dio_policy policy);

/* Guard, parity and data are sampled from the writer's memory. */
bool dio_policy_samples_live(enum dio_policy policy);

/* The writer's memory is looked at once more before the write completes. */
bool dio_policy_checks(enum dio_policy policy);

/* A read is placed into the reader's memory and verified there. */
bool dio_policy_reads_live(enum dio_policy policy);

/* What may be said about one write, strongest last:
 *
 *	the mount's policy (option dio=, control file policy)
 *	< the file's (extended attribute trusted.stablefs.dio, else user.stablefs.dio)
 *	< the process tree's (stablefs run --dio=)
 *
 * A policy that is not stable risks other users' stripes: said by root (trusted., or a root's run)
 * it counts; said by others only where the mount allows that (dio-weaken=owner), or where the
 * mount's own policy is no more stable. What does not count is as if it were not said. */
struct dio_say {
	bool said;
	bool by_root;
	enum dio_policy policy;
};
struct dio_choice {
	enum dio_policy mount;
	struct dio_say file, tree;
	bool weaken; /* the mount lets owners choose policies that are not stable */
};
enum dio_policy dio_policy_choose(const struct dio_choice *choice);

#endif
