/* SPDX-License-Identifier: MIT */
/* A file that can be made to hang: "f" of a file system that a process of its own serves. While it
 * hangs, reads, writes and fsyncs of it get no answer; a release answers them all. What a read
 * returns is HANG_BYTE throughout; what is written is dropped. */
#ifndef STABLEFS_TESTS_HANG_RIG_H
#define STABLEFS_TESTS_HANG_RIG_H

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_INO   2u
#define HANG_SIZE  (UINT64_C(1) << 20)
#define HANG_BYTE  0xA5
#define HANG_HELD  64u
#define HANG_ALARM 60u

struct hang_shared {
	atomic_bool hangs;
	atomic_uint held;
};

struct hang_rig {
	char dir[64], path[96];
	struct fuse_session *se;
	struct hang_shared *shared;
	int control; /* a byte into it: release */
	pid_t server;
};

/* The server's. */
struct hang_held {
	fuse_req_t req;
	size_t size;
	enum { HELD_READ, HELD_WRITE, HELD_FSYNC } kind;
};
static struct hang_held hang_held[HANG_HELD];
static unsigned hang_held_count;

static inline struct stat hang_attr(fuse_ino_t ino)
{
	bool root = ino == FUSE_ROOT_ID;
	return (struct stat){.st_ino = ino,
		.st_mode = root ? S_IFDIR | 0755 : S_IFREG | 0666,
		.st_nlink = 1,
		.st_size = root ? 0 : HANG_SIZE};
}

static void hang_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = HANG_INO, .attr = hang_attr(HANG_INO)};
	if (strcmp(name, "f") == 0)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void hang_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = hang_attr(ino);
	fuse_reply_attr(req, &st, 0);
}

static void hang_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static inline void hang_answer(const struct hang_held *h)
{
	char *data;
	switch (h->kind) {
	case HELD_READ:
		data = malloc(h->size);
		memset(data, HANG_BYTE, h->size);
		fuse_reply_buf(h->req, data, h->size);
		free(data);
		break;
	case HELD_WRITE:
		fuse_reply_write(h->req, h->size);
		break;
	case HELD_FSYNC:
		fuse_reply_err(h->req, 0);
		break;
	}
}

static inline void hang_take(struct hang_held h)
{
	struct hang_rig *rig = fuse_req_userdata(h.req);
	if (!rig->shared->hangs || hang_held_count == HANG_HELD) {
		hang_answer(&h);
		return;
	}
	hang_held[hang_held_count++] = h;
	rig->shared->held++;
}

static void hang_op_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	hang_take((struct hang_held){.req = req, .size = size, .kind = HELD_READ});
}

static void hang_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	hang_take((struct hang_held){.req = req, .size = size, .kind = HELD_WRITE});
}

static void hang_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	hang_take((struct hang_held){.req = req, .kind = HELD_FSYNC});
}

/* Until the test closes its end of @control. */
static inline void hang_serve(struct hang_rig *rig, int control)
{
	struct fuse_buf buf = {0};
	struct pollfd fds[] = {{fuse_session_fd(rig->se), POLLIN}, {control, POLLIN}};
	while (poll(fds, 2, -1) > 0) {
		char byte;
		if (fds[1].revents) {
			if (read(control, &byte, 1) != 1)
				break;
			for (unsigned i = 0; i < hang_held_count; i++)
				hang_answer(&hang_held[i]);
			hang_held_count = 0;
			rig->shared->held = 0;
		}
		if (fds[0].revents && fuse_session_receive_buf(rig->se, &buf) > 0)
			fuse_session_process_buf(rig->se, &buf);
		if (fds[0].revents & (POLLERR | POLLHUP))
			break;
	}
	_exit(0);
}

/* False: FUSE cannot be used here. */
static inline bool hang_start(struct hang_rig *rig)
{
	static const struct fuse_lowlevel_ops ops = {.lookup = hang_op_lookup,
		.getattr = hang_op_getattr,
		.open = hang_op_open,
		.read = hang_op_read,
		.write = hang_op_write,
		.fsync = hang_op_fsync};
	*rig = (struct hang_rig){.dir = "/tmp/stablefs-hang-XXXXXX"};
	rig->shared = mmap(NULL, sizeof(*rig->shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rig->shared == MAP_FAILED || !mkdtemp(rig->dir))
		return false;
	snprintf(rig->path, sizeof(rig->path), "%s/f", rig->dir);
	static char name[] = "test_hang", options[] = "-ofsname=stablefs-test";
	char *argv[] = {name, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	rig->se = fuse_session_new(&args, &ops, sizeof(ops), rig);
	fuse_opt_free_args(&args);
	int pipe_fds[2];
	if (!rig->se || fuse_session_mount(rig->se, rig->dir) != 0 || pipe(pipe_fds) < 0) {
		rmdir(rig->dir);
		return false;
	}
	fflush(NULL);
	rig->control = pipe_fds[1];
	rig->server = fork();
	if (rig->server == 0) {
		close(pipe_fds[1]);
		alarm(HANG_ALARM);
		hang_serve(rig, pipe_fds[0]);
	}
	close(pipe_fds[0]);
	close(fuse_session_fd(rig->se)); /* with the server the connection ends, and all it holds */
	return rig->server > 0;
}

static inline void hang_release(struct hang_rig *rig)
{
	rig->shared->hangs = false;
	ssize_t ignored = write(rig->control, "r", 1);
	(void)ignored;
}

static inline void hang_stop(struct hang_rig *rig)
{
	close(rig->control);
	waitpid(rig->server, NULL, 0);
	fuse_session_unmount(rig->se);
	rmdir(rig->dir);
	munmap(rig->shared, sizeof(*rig->shared));
}

#endif
