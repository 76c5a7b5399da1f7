/* SPDX-License-Identifier: MIT */
/* Looking at a future member: our own superblocks first, then libblkid's knowledge of others'. */
#include "volume/detect.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "member/member.h"
#include "volume/internal.h"

static int refuse(const char *path, const char *what, struct errmsg *why)
{
	return errmsg_set(why, -EEXIST, "%s holds %s; --force overwrites it", path, what);
}

/* Our own, damaged and newer ones too. */
static int detect_volume(struct io_engine *io, const char *path, struct errmsg *why)
{
	struct member_probe probe;
	struct errmsg says = {0};
	int err = member_probe(io, path, IO_OPEN_READONLY, &probe, &says);
	switch (err) {
	case 0:
		io_close(probe.file);
		if (probe.super.label[0])
			return errmsg_set(why, -EEXIST,
				"%s holds member %u of the stablefs volume '%s'; --force "
				"overwrites it",
				path, probe.super.index, probe.super.label);
		return refuse(path, "a member of a stablefs volume", why);
	case -EUCLEAN:
	case -EPROTONOSUPPORT:
		return refuse(path, "a damaged or newer member of a stablefs volume", why);
	case -ENOMSG:
		return 0;
	default:
		return errmsg_set(why, err, "%s", says.text[0] ? says.text : strerror(-err));
	}
}

static void free_probep(blkid_probe *probe)
{
	blkid_free_probe(*probe);
}

static const char *found_name(blkid_probe probe)
{
	const char *name = NULL;
	if (blkid_probe_lookup_value(probe, "TYPE", &name, NULL) == 0 && name)
		return name;
	if (blkid_probe_lookup_value(probe, "PTTYPE", &name, NULL) == 0 && name)
		return name;
	return "something";
}

/* blkid_do_safeprobe(): 0 found, 1 nothing, -2 several things, -1 error. */
static int detect_others(const char *path, struct errmsg *why)
{
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errmsg_set(why, -errno, "cannot open %s: %s", path, strerror(errno));
	cleanup(free_probep) blkid_probe probe = blkid_new_probe();
	if (!probe || blkid_probe_set_device(probe, fd, 0, 0) < 0)
		return errmsg_set(why, -EIO, "libblkid cannot look at %s", path);
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_MAGIC);
	blkid_probe_enable_partitions(probe, 1);
	switch (blkid_do_safeprobe(probe)) {
	case 1:
		return 0;
	case 0:
		return errmsg_set(why, -EEXIST, "%s holds %s; --force overwrites it", path,
			found_name(probe));
	case -2:
		return refuse(path, "several file systems or partition tables at once", why);
	default:
		return errmsg_set(why, -EIO, "libblkid cannot look at %s", path);
	}
}

/* An ordinary file with bytes that nobody knows the format of is somebody's all the same. A file of
 * holes alone (truncate -s) has been made for us. */
static int detect_data(const char *path, struct errmsg *why)
{
	struct stat st;
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errmsg_set(why, -errno, "cannot open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || lseek(fd, 0, SEEK_DATA) < 0)
		return 0;
	return refuse(path, "data", why);
}

static int read_size(
	struct io_engine *io, const char *path, uint64_t *size_bytes, struct errmsg *why)
{
	struct io_file *file = NULL;
	int err = io_open(io, path, IO_OPEN_READONLY, 0, &file, why);
	if (err == 0)
		*size_bytes = io_file_size_bytes(file);
	io_close(file);
	return err;
}

int detect_content(struct io_engine *io, const char *path, uint64_t *size_bytes, struct errmsg *why)
{
	struct errmsg says = {0};
	int err = read_size(io, path, size_bytes, &says);
	if (err == -ENOENT)
		return err;
	if (err < 0)
		return errmsg_set(why, err, "%s", says.text[0] ? says.text : strerror(-err));
	if (*size_bytes == 0)
		return 0;
	err = detect_volume(io, path, why);
	if (err == 0 && engine_names_are_paths(io))
		err = detect_others(path, why);
	if (err == 0 && engine_names_are_paths(io))
		err = detect_data(path, why);
	return err;
}
