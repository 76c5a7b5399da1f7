/* SPDX-License-Identifier: MIT */
/* Questions to a mounted volume or to one that is opened here. */
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "fuse/front.h"
#include "io/uring.h"
#include "report/json_read.h"

#define QUERY_FILE  "/.stablefs/query"
#define STATUS_FILE "/.stablefs/status.json"

bool target_is_mount(const char *path)
{
	char file[PATH_MAX];
	int len = snprintf(file, sizeof(file), "%s" QUERY_FILE, path);
	return len > 0 && (size_t)len < sizeof(file) && access(file, F_OK) == 0;
}

/* Read @fd to its end. */
static int read_reply(int fd, char **out)
{
	size_t len = 0, room = 0;
	cleanup(cleanup_freep) char *buf = NULL;
	for (;;) {
		if (room - len < 65536) {
			room = room ? 2 * room : 131072;
			char *p = realloc(buf, room);
			if (!p)
				return -ENOMEM;
			buf = p;
		}
		ssize_t n = pread(fd, buf + len, room - len - 1, (off_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	*out = take_ptr(&buf);
	return 0;
}

/* A document that says {"error": ...} is an error. */
static int reply_error(const char *reply, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *v = NULL;
	int err = json_parse(reply, strlen(reply), &v, why);
	if (err < 0)
		return err;
	const char *text = json_get_string(v, "error", NULL);
	bool failed = text && !json_get(v, "state");
	return failed ? errmsg_set(why, -EINVAL, "%s", text) : 0;
}

int target_say(const char *file, const char *line)
{
	cleanup(cleanup_freep) char *text = calloc(1, FRONT_LINE_BYTES);
	if (!text)
		return -ENOMEM;
	if (strlen(line) >= FRONT_LINE_BYTES)
		return -E2BIG;
	strcpy(text, line);
	cleanup(cleanup_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, FRONT_IOC_LINE, text) < 0)
		return -errno;
	return take_fd(&fd);
}

int target_query(const char *mountpoint, const char *line, char **reply, struct errmsg *why)
{
	char file[PATH_MAX];
	snprintf(file, sizeof(file), "%s" QUERY_FILE, mountpoint);
	cleanup(cleanup_closep) int fd = target_say(file, line);
	if (fd < 0)
		return errmsg_set(why, fd, "%s: %s", file,
			fd == -EACCES ? "only root and the owner of the mount may ask"
				      : strerror(-fd));
	cleanup(cleanup_freep) char *text = NULL;
	int err = read_reply(fd, &text);
	if (err < 0)
		return errmsg_set(why, err, "%s: %s", file, strerror(-err));
	err = reply_error(text, why);
	if (!err)
		*reply = take_ptr(&text);
	return err;
}

int target_status(const char *mountpoint, char **text, struct errmsg *why)
{
	char file[PATH_MAX];
	snprintf(file, sizeof(file), "%s" STATUS_FILE, mountpoint);
	cleanup(cleanup_closep) int fd = open(file, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : read_reply(fd, text);
	return err < 0 ? errmsg_set(why, err, "%s: %s", file, strerror(-err)) : 0;
}

int target_open(char *const *args, unsigned count, bool write, struct target_volume *out,
	struct errmsg *why)
{
	cleanup(volume_paths_free) struct volume_paths found = {0};
	*out = (struct target_volume){0};
	int err = volume_paths_find(args, count, &found, why);
	if (err < 0)
		return err;
	struct volume_open_options options = {.factory = &uring_factory,
		.paths = found.paths,
		.count = found.count,
		.read_only = !write,
		.threaded = true};
	err = volume_open(&options, &out->volume, why);
	if (err < 0)
		return err;
	struct fs_options fs_options = {.read_only = !write};
	struct errmsg no_names = {0};
	if (fs_open(out->volume, &fs_options, &out->fs, &no_names) < 0)
		fprintf(stderr, "stablefs: files cannot be named: %s\n", no_names.text);
	out->service = (struct service){.volume = out->volume, .fs = out->fs};
	return 0;
}

int target_close(struct target_volume *t)
{
	int err = t->fs ? fs_close(t->fs) : 0;
	int closed = volume_close(t->volume);
	return err < 0 ? err : closed;
}

static int ask_here(
	char *const *args, unsigned count, const char *line, char **reply, struct errmsg *why)
{
	struct target_volume t;
	int err = target_open(args, count, false, &t, why);
	if (err < 0)
		return err;
	cleanup(cleanup_freep) char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	if (out) {
		(void)service_query(&t.service, line, out);
		fclose(out);
	}
	int closed = target_close(&t);
	if (!text)
		return -ENOMEM;
	err = reply_error(text, why);
	if (!err)
		*reply = take_ptr(&text);
	return err < 0 ? err : closed;
}

int target_ask(
	char *const *args, unsigned count, const char *line, char **reply, struct errmsg *why)
{
	if (count == 1 && target_is_mount(args[0]))
		return target_query(args[0], line, reply, why);
	return ask_here(args, count, line, reply, why);
}
