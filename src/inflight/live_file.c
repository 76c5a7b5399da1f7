/* SPDX-License-Identifier: MIT */
/* Descriptors of other processes, and what file each is. */
#include "inflight/live_file.h"

#include <string.h>

/* With the lock held. Numbers of one process lie in a row, and so have places of their own. */
static struct live_file *slot_of(struct live_files *files, pid_t tgid, int fd)
{
	return &files->slots[((unsigned)tgid * 31u + (unsigned)fd) % LIVE_FILES];
}

static bool recall(
	struct live_files *files, const struct live_file_question *q, struct live_file *out)
{
	uint64_t now_ns = clock_monotonic_ns();
	pthread_mutex_lock(&files->lock);
	const struct live_file *slot = slot_of(files, q->tgid, q->fd);
	bool known = slot->tgid == q->tgid && slot->fd == q->fd &&
		     now_ns - slot->asked_ns < LIVE_FILE_NS;
	if (known)
		*out = *slot;
	pthread_mutex_unlock(&files->lock);
	return known;
}

static void remember(struct live_files *files, const struct live_file *file)
{
	if (file->tgid <= 0)
		return;
	pthread_mutex_lock(&files->lock);
	*slot_of(files, file->tgid, file->fd) = *file;
	pthread_mutex_unlock(&files->lock);
}

static int ask(struct live_files *files, const struct live_file_question *q, struct live_file *out,
	struct procfs_fd *info)
{
	int ret = procfs_read_fd(q->tid, q->fd, info);
	if (ret < 0)
		return ret;
	*out = (struct live_file){.tgid = q->tgid,
		.fd = q->fd,
		.asked_ns = clock_monotonic_ns(),
		.ino = info->ino,
		.flags = info->flags};
	ret = procfs_read_fd_dev(q->tid, q->fd, &out->dev);
	if (ret < 0)
		return ret;
	remember(files, out);
	return 0;
}

int live_file_ask(struct live_files *files, const struct live_file_question *q,
	const struct live_request *req, struct procfs_fd *info)
{
	struct live_file file;
	if (q->wants_position || !recall(files, q, &file)) {
		int ret = ask(files, q, &file, info);
		if (ret < 0)
			return ret;
	} else {
		*info = (struct procfs_fd){.pos = -1, .flags = file.flags, .ino = file.ino};
	}
	if (!req->ino)
		return 1;
	if (file.ino && file.ino != req->ino)
		return 0;
	return !req->dev || file.dev == req->dev;
}
