/* SPDX-License-Identifier: MIT */
/* A file system of one file "f" that shows each write request to the test, while the writer, a
 * forked process, waits for the answer. One thread serves it all, the test's own: if looking for
 * the writer's memory entered this file system, the test would hang (and its alarm end it). */
#ifndef STABLEFS_TESTS_FUSE_RIG_H
#define STABLEFS_TESTS_FUSE_RIG_H

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "inflight/live.h"

#define RIG_INO      2u
#define RIG_SIZE     (UINT64_C(64) << 20)
#define RIG_SECONDS  60u /* a hang is longer */
#define RIG_MAX_SEEN 64u

/* Shared with the writer's process. */
struct rig_shared {
	_Atomic bool go, done;
	uint8_t page[4096]; /* what each page of the file holds for those who read it */
};

struct rig_seen {
	enum live_miss miss;
	bool same; /* live memory held what the kernel had copied */
	uint32_t len_bytes;
	struct event_writer writer;
};

struct rig {
	char dir[64];
	struct fuse_session *se;
	uint64_t dev;
	bool direct_io; /* FOPEN_DIRECT_IO with O_DIRECT: one request of a call at a time */
	struct rig_shared *shared;
	/* The writer waits. @req is what the kernel says of the request. */
	void (*on_write)(struct rig *rig, const struct live_request *req, const void *data);
	/* The reader waits. NULL: nobody looks. */
	void (*on_read)(struct rig *rig, const struct live_request *req);
	unsigned seen_count; /* may exceed what is kept */
	struct rig_seen seen[RIG_MAX_SEEN];
	void *result; /* the test's own */
};

static inline struct stat rig_attr(fuse_ino_t ino)
{
	bool root = ino == FUSE_ROOT_ID;
	return (struct stat){.st_ino = ino,
		.st_mode = root ? S_IFDIR | 0755 : S_IFREG | 0666,
		.st_nlink = 1,
		.st_size = root ? 0 : RIG_SIZE};
}

static void rig_op_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned)FUSE_CAP_SPLICE_READ;
}

static void rig_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = RIG_INO, .attr = rig_attr(RIG_INO)};
	if (strcmp(name, "f") == 0)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void rig_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = rig_attr(ino);
	fuse_reply_attr(req, &st, 0);
}

static void rig_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct rig *rig = fuse_req_userdata(req);
	fi->direct_io = rig->direct_io && (fi->flags & O_DIRECT);
	fuse_reply_open(req, fi);
}

static void rig_op_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct rig *rig = fuse_req_userdata(req);
	uint8_t *data = malloc(size);
	if (rig->on_read)
		rig->on_read(rig, &(struct live_request){.tid = fuse_req_ctx(req)->pid,
					  .offset_bytes = (uint64_t)off,
					  .len_bytes = (uint32_t)size,
					  .ino = ino,
					  .dev = rig->dev,
					  .is_read = true});
	for (size_t i = 0; i < size; i++)
		data[i] = rig->shared->page[((uint64_t)off + i) % sizeof(rig->shared->page)];
	fuse_reply_buf(req, (char *)data, size);
	free(data);
}

static void rig_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct rig *rig = fuse_req_userdata(req);
	struct live_request request = {.tid = fuse_req_ctx(req)->pid,
		.offset_bytes = (uint64_t)off,
		.len_bytes = (uint32_t)size,
		.ino = ino,
		.dev = rig->dev,
		.append = fi->flags & O_APPEND,
		.bytes = data};
	rig->on_write(rig, &request, data);
	rig->seen_count++;
	fuse_reply_write(req, size);
}

static inline struct rig_seen *rig_seen_next(struct rig *rig)
{
	static struct rig_seen beyond;
	return rig->seen_count < RIG_MAX_SEEN ? &rig->seen[rig->seen_count] : &beyond;
}

/* The locator of the test program; never freed. */
static inline struct live **rig_live_place(void)
{
	static struct live *live;
	return &live;
}

static inline struct live *rig_live(void)
{
	struct live **live = rig_live_place();
	if (!*live)
		live_new(NULL, live);
	return *live;
}

/* live_locate() gives up on a writer that a busy machine does not let fall asleep. A test of where
 * things are shall not fail for that: it has more patience. */
static inline enum live_miss rig_locate(
	const struct live_request *req, struct live_buffer **out, struct event_writer *writer)
{
	enum live_miss miss = LIVE_NOT_IN_CALL;
	for (unsigned tries = 0; tries < 200 && miss == LIVE_NOT_IN_CALL; tries++)
		miss = live_locate(rig_live(), req, out, writer);
	return miss;
}

/* The usual on_write: find the memory, read all of it, compare. */
static inline void rig_observe(struct rig *rig, const struct live_request *req, const void *data)
{
	struct rig_seen *seen = rig_seen_next(rig);
	struct live_buffer *buffer;
	*seen = (struct rig_seen){.len_bytes = req->len_bytes};
	seen->miss = rig_locate(req, &buffer, &seen->writer);
	if (seen->miss == LIVE_FOUND) {
		void *now = malloc(req->len_bytes);
		seen->same = live_buffer_read(buffer, 0, now, req->len_bytes) == 0 &&
			     memcmp(now, data, req->len_bytes) == 0;
		free(now);
	}
	live_buffer_free(buffer);
}

/* st_dev of the mount, without a question to ourselves. */
static inline uint64_t rig_find_dev(const char *dir)
{
	char line[1024], where[256];
	unsigned maj, min;
	uint64_t dev = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %*u %u:%u %*s %255s", &maj, &min, where) == 3 &&
			strcmp(where, dir) == 0)
			dev = makedev(maj, min);
	}
	if (f)
		fclose(f);
	return dev;
}

/* False: FUSE cannot be used here. */
static inline bool rig_start(struct rig *rig)
{
	static const struct fuse_lowlevel_ops ops = {.init = rig_op_init,
		.lookup = rig_op_lookup,
		.getattr = rig_op_getattr,
		.open = rig_op_open,
		.read = rig_op_read,
		.write = rig_op_write};
	*rig = (struct rig){.dir = "/tmp/stablefs-live-XXXXXX", .direct_io = true};
	rig->on_write = rig_observe;
	rig->shared = mmap(NULL, sizeof(*rig->shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rig->shared == MAP_FAILED || !mkdtemp(rig->dir))
		return false;
	static char name[] = "test_live", options[] = "-ofsname=stablefs-test";
	char *argv[] = {name, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	rig->se = fuse_session_new(&args, &ops, sizeof(ops), rig);
	fuse_opt_free_args(&args);
	if (!rig->se || fuse_session_mount(rig->se, rig->dir) != 0)
		return false;
	rig->dev = rig_find_dev(rig->dir);
	return rig->dev != 0;
}

static inline void rig_stop(struct rig *rig)
{
	if (rig->se) {
		fuse_session_unmount(rig->se);
		fuse_session_destroy(rig->se);
	}
	rmdir(rig->dir);
	munmap(rig->shared, sizeof(*rig->shared));
}

/* What the writer's process does with the file. 0: it went as it should. */
typedef int rig_body(struct rig *rig, const char *path, const void *arg);

static inline void rig_serve_until(struct rig *rig, int pidfd)
{
	struct fuse_buf buf = {0};
	struct pollfd fds[] = {{fuse_session_fd(rig->se), POLLIN}, {pidfd, POLLIN}};
	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents & POLLIN) {
			if (fuse_session_receive_buf(rig->se, &buf) > 0)
				fuse_session_process_buf(rig->se, &buf);
		} else if (fds[1].revents) {
			break;
		}
	}
	free(buf.mem);
}

/* Run @body in a process of its own and serve it. Its result; what was seen is in @rig. */
static inline int rig_run(struct rig *rig, rig_body *body, const void *arg)
{
	rig->seen_count = 0;
	*rig->shared = (struct rig_shared){0};
	fflush(NULL);
	alarm(RIG_SECONDS);
	pid_t child = fork();
	if (child == 0) {
		char path[80];
		alarm(RIG_SECONDS);
		close(fuse_session_fd(rig->se));
		snprintf(path, sizeof(path), "%s/f", rig->dir);
		_exit(body(rig, path, arg));
	}
	int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	int status = -1;
	rig_serve_until(rig, pidfd);
	close(pidfd);
	waitpid(child, &status, 0);
	alarm(0);
	return status;
}

/* Between the two processes: on_write asks a thread of the writer to do something, and waits. */
static inline void rig_ask_writer(struct rig *rig)
{
	rig->shared->go = true;
	while (!rig->shared->done)
		usleep(100);
}

static inline void rig_await_request(struct rig *rig)
{
	while (!rig->shared->go)
		usleep(100);
}

#endif
