/* SPDX-License-Identifier: MIT */
/* POSIX access control lists (acl(5)), and how they and a file's mode agree.
 * Owner thread: any; pure functions on values of the caller's.
 * Invariants: I1 a list that acl_decode() lets through is in order: the owner, named users, the
 *   group, named groups, the mask (a must where anybody is named), others; nothing else is ever
 *   made. I2 the rights of owner and others in a file's list are those of its mode, and the mode's
 *   group bits are the list's mask, or its group where it has none.
 * May use: base. Must not know: the database, inodes, who asks. */
#ifndef STABLEFS_FS_ACL_H
#define STABLEFS_FS_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ACL_XATTR_ACCESS  "system.posix_acl_access"
#define ACL_XATTR_DEFAULT "system.posix_acl_default"

/* What the kernel hands through for a file by FUSE: a page. */
#define ACL_MAX_BYTES   4096u
#define ACL_MAX_ENTRIES 511u

/* The values of the format (<linux/posix_acl.h>). */
enum acl_tag {
	ACL_TAG_USER_OBJ = 0x01,
	ACL_TAG_USER = 0x02,
	ACL_TAG_GROUP_OBJ = 0x04,
	ACL_TAG_GROUP = 0x08,
	ACL_TAG_MASK = 0x10,
	ACL_TAG_OTHER = 0x20,
};

struct acl_entry {
	uint16_t tag;
	uint16_t rights; /* 4: read, 2: write, 1: execute */
	uint32_t id;     /* of a named user or group */
};

struct acl {
	unsigned count; /* 0: there is none */
	struct acl_entry entries[ACL_MAX_ENTRIES];
};

/* A value of the attributes (<linux/posix_acl_xattr.h>). One without entries is "none". -EINVAL: no
 * list, or against I1; -EOPNOTSUPP: another version; -E2BIG. */
int acl_decode(const void *bytes, size_t size, struct acl *out);
/* How many bytes of @out it took. */
size_t acl_encode(const struct acl *acl, uint8_t out[ACL_MAX_BYTES]);

/* @mode with its nine bits as the list says (I2). */
mode_t acl_mode(const struct acl *acl, mode_t mode);
/* The mode says all that the list does: nobody is named, and there is no mask. */
bool acl_is_mode(const struct acl *acl);

/* chmod(2): the list follows the mode (I2). */
void acl_chmod(struct acl *acl, mode_t mode);

/* What is made in a directory gets the directory's default list: @acl, that list, becomes the one
 * of the new file, and the nine bits that were asked for become those that it grants. */
mode_t acl_inherit(struct acl *acl, mode_t mode);

#endif
