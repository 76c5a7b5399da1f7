/* SPDX-License-Identifier: MIT */
/* Which policy a piece of direct I/O is under, and whether that lets it through at all.
 *
 * What a file says of itself is in its extended attributes: trusted.stablefs.dio (root's), else
 * user.stablefs.dio, whose value is a policy's name; and trusted. or user.stablefs.atomic, "1" or
 * "0". Both are remembered while the file is open and follow each change of an attribute at once;
 * what is made in a directory takes them over from it. Any thread. */
#ifndef STABLEFS_FUSE_POLICY_H
#define STABLEFS_FUSE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "fuse/coherence.h"
#include "inflight/policy.h"

struct front;

/* Of the mount, the file and the tree of processes that thread @tid is in (policy.h of inflight has
 * the rule). For an open, a write, and a read alike. */
enum dio_policy front_policy_of(struct front *f, const struct coherence_file *file, pid_t tid);

/* Direct writes of the file are to be all or nothing. */
bool front_policy_is_atomic(const struct coherence_file *file);

/* ---- the attributes ---- */

/* Names that directories hand down, for fs_inherit_xattrs(). */
extern const char *const policy_inherited_xattrs[];

bool policy_owns_xattr(const char *name);

/* Whether it may be set to that: -EINVAL (no such policy, neither 0 nor 1), -EPERM (not stable, in
 * user., and nobody but root may choose that here). */
int policy_check_xattr(struct front *f, const char *name, const char *value, size_t size);

/* A file is being opened: know what its attributes say. 0 or -errno. */
int policy_load(struct front *f, const struct coherence_file *file);

/* An attribute of @ino was changed. */
void policy_reload(struct front *f, uint64_t ino);

#endif
