/* SPDX-License-Identifier: MIT */
/* Words of -o without values of ours, by tables. */
#include "cli/mount_words.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define ATIME_RULES  (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

/* Flags of mount(2). */
static const struct {
	const char *name;
	unsigned long clear, set;
} flags[] = {
	{"suid", MS_NOSUID, 0},
	{"nosuid", 0, MS_NOSUID},
	{"dev", MS_NODEV, 0},
	{"nodev", 0, MS_NODEV},
	{"exec", MS_NOEXEC, 0},
	{"noexec", 0, MS_NOEXEC},
	{"sync", 0, MS_SYNCHRONOUS},
	{"async", MS_SYNCHRONOUS, 0},
	{"dirsync", 0, MS_DIRSYNC},
	{"atime", MS_NOATIME, 0},
	{"noatime", ATIME_RULES, MS_NOATIME},
	{"relatime", ATIME_RULES, MS_RELATIME},
	{"norelatime", MS_RELATIME, 0},
	{"strictatime", ATIME_RULES, MS_STRICTATIME},
	{"nostrictatime", MS_STRICTATIME, 0},
	{"diratime", MS_NODIRATIME, 0},
	{"nodiratime", 0, MS_NODIRATIME},
	{"lazytime", 0, MS_LAZYTIME},
	{"nolazytime", MS_LAZYTIME, 0},
	{"symfollow", MS_NOSYMFOLLOW, 0},
	{"nosymfollow", 0, MS_NOSYMFOLLOW},
	{"silent", 0, MS_SILENT},
	{"loud", MS_SILENT, 0},
};

/* Switches of ours. */
static const struct {
	const char *name;
	size_t at;
	bool value;
} switches[] = {
	{"ro", offsetof(struct mount_options, read_only), true},
	{"rw", offsetof(struct mount_options, read_only), false},
	{"remount", offsetof(struct mount_options, remount), true},
	{"allow_other", offsetof(struct mount_options, allow_other), true},
	{"noallow_other", offsetof(struct mount_options, allow_other), false},
	{"degraded", offsetof(struct mount_options, degraded), true},
	{"norecovery", offsetof(struct mount_options, no_recovery), true},
	{"noload", offsetof(struct mount_options, no_recovery), true},
	{"writethrough", offsetof(struct mount_options, write_through), true},
	{"exacttimes", offsetof(struct mount_options, exact_times), true},
	{"awake", offsetof(struct mount_options, awake), true},
	{"noawake", offsetof(struct mount_options, awake), false},
};

/* For mount(8), systemd and init scripts, or what holds in any case. */
static const char *const meaningless[] = {"defaults", "auto", "noauto", "user", "nouser", "users",
	"nousers", "owner", "noowner", "group", "nogroup", "nofail", "_netdev", "comment",
	"uhelper", "helper", "default_permissions", "acl", "user_xattr", "noquota", "nomand",
	"noiversion"};

/* With these words the kernel lists a mount, and mount(8) hands them back for a remount. */
static const char *const kernels[] = {
	"user_id", "group_id", "rootmode", "max_read", "blksize", "fd"};

static const struct {
	const char *name, *why;
} refused[] = {
	{"nodefault_permissions", "permissions are the kernel's to check, nobody else does"},
	{"allow_root", "give allow_other, or let root mount"},
	{"usrquota", "quotas are not offered"},
	{"grpquota", "quotas are not offered"},
	{"prjquota", "quotas are not offered"},
	{"pquota", "quotas are not offered"},
	{"quota", "quotas are not offered"},
	{"usrjquota", "quotas are not offered"},
	{"grpjquota", "quotas are not offered"},
	{"jqfmt", "quotas are not offered"},
	{"context", "labels of SELinux are not offered"},
	{"fscontext", "labels of SELinux are not offered"},
	{"defcontext", "labels of SELinux are not offered"},
	{"rootcontext", "labels of SELinux are not offered"},
	{"seclabel", "labels of SELinux are not offered"},
	{"mand", "mandatory locks are not offered"},
	{"iversion", "there is no version of inodes to keep"},
	{"noacl", "ACLs are always there"},
	{"nouser_xattr", "extended attributes are always there"},
	{"auto_unmount", "a daemon that ends takes its mount along"},
	{"nonempty", "a mount point need not be empty"},
	{"uid", "files have owners of their own"},
	{"gid", "files have groups of their own"},
	{"umask", "files have modes of their own"},
	{"bind", "that is mount(8)'s: mount --bind"},
	{"rbind", "that is mount(8)'s: mount --rbind"},
	{"move", "that is mount(8)'s: mount --move"},
};

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

static bool is_for_others(const char *name)
{
	return !strncmp(name, "x-", 2) || !strncmp(name, "X-", 2) ||
	       is_one_of(name, meaningless, COUNT(meaningless));
}

static bool take_flag(struct mount_options *o, const char *name)
{
	for (size_t i = 0; i < COUNT(flags); i++) {
		if (strcmp(flags[i].name, name) != 0)
			continue;
		o->flags = (o->flags & ~flags[i].clear) | flags[i].set;
		o->unsafe |= flags[i].clear & (MS_NOSUID | MS_NODEV);
		return true;
	}
	return false;
}

static bool take_switch(struct mount_options *o, const char *name)
{
	for (size_t i = 0; i < COUNT(switches); i++) {
		if (strcmp(switches[i].name, name) != 0)
			continue;
		*(bool *)((char *)o + switches[i].at) = switches[i].value;
		return true;
	}
	return false;
}

static int refuse(const char *name, struct errmsg *why)
{
	for (size_t i = 0; i < COUNT(refused); i++)
		if (!strcmp(refused[i].name, name))
			return errmsg_set(
				why, -EINVAL, "the mount option '%s': %s", name, refused[i].why);
	return 0;
}

int mount_word_take(
	struct mount_options *o, const char *name, const char *value, struct errmsg *why)
{
	if (is_for_others(name))
		return 1;
	if (is_one_of(name, kernels, COUNT(kernels))) {
		if (!o->kernels_word[0])
			strncat(o->kernels_word, name, sizeof(o->kernels_word) - 1);
		return 1;
	}
	if (take_flag(o, name) || take_switch(o, name))
		return value ? errmsg_set(why, -EINVAL,
				       "the mount option '%s' takes no value, and '%s' is one",
				       name, value)
			     : 1;
	return refuse(name, why);
}

const char *mount_word_known(unsigned n)
{
	if (n < COUNT(flags))
		return flags[n].name;
	n -= COUNT(flags);
	if (n < COUNT(switches))
		return switches[n].name;
	n -= COUNT(switches);
	return n < COUNT(meaningless) ? meaningless[n] : NULL;
}
