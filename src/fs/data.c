/* SPDX-License-Identifier: MIT */
/* Reads and writes of files, as others ask for them. */
#include "fs/internal.h"

#include <errno.h>

/* Everything that can be wrong with a request before its inode is known. */
static int io_check(struct fs *fs, const struct fs_io *io)
{
	if (io->len_bytes > FS_IO_MAX)
		return -EINVAL;
	if (io->kind != STRIPE_WRITE)
		return 0;
	if (io->offset_bytes > FS_MAX_BYTES || io->len_bytes > FS_MAX_BYTES - io->offset_bytes)
		return -EFBIG;
	if (io->atomic && atomic_check(io) < 0)
		return -EINVAL;
	return fs_check_writable(fs);
}

static int inode_check(struct fs *fs, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	uint32_t type = inode->attr.mode & S_IFMT;
	pthread_mutex_unlock(&inode->lock);
	if (type == S_IFDIR)
		return -EISDIR;
	return type == S_IFREG ? inode_load_map(fs, inode) : -EINVAL;
}

static int io_begin(struct fs *fs, struct fs_io *io)
{
	io->fs = fs;
	io->map = NULL;
	io->done_bytes = 0;
	io->allocated = false;
	return io_check(fs, io);
}

void fs_submit(struct fs *fs, struct fs_io *io)
{
	struct inode *inode = NULL;
	int ret = io_begin(fs, io);
	if (ret == 0)
		ret = inode_get(fs, io->ino, &inode);
	if (ret == 0)
		ret = inode_check(fs, inode);
	if (ret == 0 && io->kind == STRIPE_WRITE && fs_must_commit(fs))
		ret = fs_commit(fs);
	if (ret == 0 && io->len_bytes > 0) {
		transfer_begin(fs, inode, io);
		return;
	}
	if (inode)
		inode_unpin(fs, inode);
	io->done(io, ret);
}

/* ---- without waiting ---- */

/* What is no file, or has to be looked at closer, is fs_submit()'s to say. */
static bool is_ready(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool ready = S_ISREG(inode->attr.mode) && inode->map_loaded;
	pthread_mutex_unlock(&inode->lock);
	return ready;
}

bool fs_submit_now(struct fs *fs, struct fs_io *io)
{
	if (io_begin(fs, io) < 0 || !io->len_bytes || io->atomic)
		return false;
	if (io->kind == STRIPE_WRITE && fs_must_commit(fs))
		return false;
	struct inode *inode = inode_find(fs, io->ino);
	if (!inode)
		return false;
	if (is_ready(inode))
		return transfer_begin_now(fs, inode, io);
	inode_unpin(fs, inode);
	return false;
}

void fs_submit_rest(struct fs *fs, struct fs_io *io)
{
	if (io->map)
		transfer_start(io->map);
	else
		fs_submit(fs, io);
}

/* ---- waiting ---- */

struct blocking_io {
	struct fs_io io;
	struct volume_waiter waiter;
	struct volume *volume;
};

static void blocking_done(struct fs_io *io, int err)
{
	struct blocking_io *b = container_of(io, struct blocking_io, io);
	volume_signal(b->volume, &b->waiter, err);
}

/* One piece of at most FS_IO_MAX. Bytes or -errno. */
static ssize_t io_wait(struct fs *fs, const struct fs_io *io)
{
	struct blocking_io b = {.io = *io, .volume = fs->volume};
	b.io.done = blocking_done;
	fs_submit(fs, &b.io);
	volume_wait(b.volume, &b.waiter);
	return b.waiter.err < 0 ? b.waiter.err : (ssize_t)b.io.done_bytes;
}

ssize_t fs_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, uint32_t len)
{
	ssize_t done = 0;
	while (done < (ssize_t)len) {
		struct fs_io io = {.kind = STRIPE_READ,
			.ino = ino,
			.offset_bytes = offset + (uint64_t)done,
			.len_bytes = (uint32_t)min_u64(len - (uint64_t)done, FS_IO_MAX),
			.data = (uint8_t *)buf + done};
		ssize_t got = io_wait(fs, &io);
		if (got < 0)
			return done ? done : got;
		done += got;
		if (got < (ssize_t)io.len_bytes)
			break;
	}
	return done;
}

ssize_t fs_write(struct fs *fs, uint64_t ino, uint64_t offset, const void *buf, uint32_t len)
{
	ssize_t done = 0;
	while (done < (ssize_t)len) {
		uint32_t n = (uint32_t)min_u64(len - (uint64_t)done, FS_IO_MAX);
		struct source source;
		source_init_bounce(&source, (const uint8_t *)buf + done, n);
		struct fs_io io = {.kind = STRIPE_WRITE,
			.ino = ino,
			.offset_bytes = offset + (uint64_t)done,
			.len_bytes = n,
			.source = &source};
		ssize_t put = io_wait(fs, &io);
		if (put < 0)
			return done ? done : put;
		done += put;
	}
	return done;
}
