/* SPDX-License-Identifier: MIT */
/* Extended attributes. POSIX ACLs are refused: nobody would enforce them, and a list that is stored
 * and not enforced is worse than none. */
#include "fuse/internal.h"

#include <errno.h>
#include "base/cleanup.h"

/* The kernel's own bounds (XATTR_SIZE_MAX, XATTR_LIST_MAX). */
#define XATTR_MAX_BYTES 65536u

static int check_name(uint64_t ino, const char *name)
{
	if (control_owns(ino))
		return -EOPNOTSUPP;
	if (!strncmp(name, "system.posix_acl_", strlen("system.posix_acl_")))
		return -EOPNOTSUPP;
	return 0;
}

void op_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct front *f = front_of(req);
	int err = check_name(ino, name);
	if (!err && !strcmp(name, "security.capability"))
		coherence_set_privs(f->coherence, ino, true);
	bool ours = !err && policy_owns_xattr(name);
	if (ours)
		err = policy_check_xattr(f, name, value, size);
	if (!err)
		err = fs_setxattr(f->fs, ino, name, value, size, flags);
	if (!err && ours)
		policy_reload(f, ino);
	reply_err(req, err);
}

/* @size 0: only the length was asked for. */
static void reply_value(fuse_req_t req, ssize_t len, const char *value, size_t size)
{
	if (len < 0)
		reply_err(req, (int)len);
	else if (!size)
		fuse_reply_xattr(req, (size_t)len);
	else
		fuse_reply_buf(req, value, (size_t)len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	int err = check_name(ino, name);
	if (err < 0) {
		reply_err(req, control_owns(ino) ? -ENODATA : err);
		return;
	}
	size = size < XATTR_MAX_BYTES ? size : XATTR_MAX_BYTES;
	cleanup(cleanup_freep) char *value = size ? malloc(size) : NULL;
	ssize_t len =
		size && !value ? -ENOMEM : fs_getxattr(front_of(req)->fs, ino, name, value, size);
	reply_value(req, len, value, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (control_owns(ino)) {
		reply_value(req, 0, "", size);
		return;
	}
	size = size < XATTR_MAX_BYTES ? size : XATTR_MAX_BYTES;
	cleanup(cleanup_freep) char *list = size ? malloc(size) : NULL;
	ssize_t len = size && !list ? -ENOMEM : fs_listxattr(front_of(req)->fs, ino, list, size);
	reply_value(req, len, list, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct front *f = front_of(req);
	int err = check_name(ino, name);
	if (!err)
		err = fs_removexattr(f->fs, ino, name);
	if (!err && policy_owns_xattr(name))
		policy_reload(f, ino);
	reply_err(req, err);
}
