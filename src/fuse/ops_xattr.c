/* SPDX-License-Identifier: MIT */
/* Extended attributes. Who may see and change which is the kernel's to say, but for the list. */
#include "fuse/internal.h"

#include <errno.h>
#include "base/cleanup.h"
#include "fuse/caller.h"

/* The kernel's own bounds (XATTR_SIZE_MAX, XATTR_LIST_MAX). */
#define XATTR_MAX_BYTES 65536u

#define TRUSTED "trusted."

/* The kernel lets any name through; the namespaces are those of local filesystems. */
static int check_name(uint64_t ino, const char *name)
{
	static const char *const spaces[] = {"user.", TRUSTED, "security."};
	if (control_owns(ino))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (!strncmp(name, spaces[i], strlen(spaces[i])))
			return name[strlen(spaces[i])] ? 0 : -EINVAL;
	if (!strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default"))
		return 0;
	return -EOPNOTSUPP;
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
	if (wire_request_drops_sgid())
		flags |= FS_XATTR_DROP_SGID;
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

/* Names of the trusted namespace are for administrators. Returns the length without them. */
static ssize_t hide_trusted(char *list, ssize_t len)
{
	ssize_t kept = 0;
	for (ssize_t at = 0, n; at < len; at += n) {
		n = (ssize_t)strlen(list + at) + 1;
		if (!strncmp(list + at, TRUSTED, strlen(TRUSTED)))
			continue;
		memmove(list + kept, list + at, (size_t)n);
		kept += n;
	}
	return kept;
}

/* All of it, as far as the caller may know it; the length alone where @size is 0. */
static ssize_t list_visible(fuse_req_t req, uint64_t ino, char *list, size_t size)
{
	ssize_t len = fs_listxattr(front_of(req)->fs, ino, list, XATTR_MAX_BYTES);
	if (len > 0 && !caller_is_capable(req, CAP_SYS_ADMIN))
		len = hide_trusted(list, len);
	return len > (ssize_t)size && size ? -ERANGE : len;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (control_owns(ino)) {
		reply_value(req, 0, "", size);
		return;
	}
	cleanup(cleanup_freep) char *list = malloc(XATTR_MAX_BYTES);
	ssize_t len = list ? list_visible(req, ino, list, size) : -ENOMEM;
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
