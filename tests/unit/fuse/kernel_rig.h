/* SPDX-License-Identifier: MIT */
/* The front end over a socket instead of /dev/fuse, with the test in the kernel's place: it sends
 * requests and takes replies and notifications, message by message. One worker, so that what blocks
 * it would be seen. */
#ifndef TESTS_FUSE_KERNEL_RIG_H
#define TESTS_FUSE_KERNEL_RIG_H

#include "fuse/internal.h"
#include <linux/fuse.h>

struct kernel_rig {
	int fd; /* the kernel's end; -1: closed */
	struct front_options options;
	struct front front;
	struct fs *fs;
	pthread_t server;
	uint64_t unique;
	bool see_blocks; /* take notifications that concern no pages for what they are */
	pid_t tid;       /* who sends requests, to the daemon's eyes; 0: this process */
};

struct kernel_message {
	struct fuse_out_header head;
	uint8_t body[(1 << 20) + 4096];
};

/* With what the kernel offers in FUSE_INIT; the reply to it is in @init (may be NULL). */
void rig_start(struct kernel_rig *rig, uint64_t offers, struct kernel_message *init);

/* The mount is gone: wait until the server has ended, then free everything. Asserts that no file
 * was left open in the file system. */
void rig_end(struct kernel_rig *rig);

/* Send a request, @extra behind @body; returns its number. */
uint64_t rig_send(struct kernel_rig *rig, uint32_t opcode, uint64_t node, const void *body,
	size_t len, const void *extra, size_t extra_len);

/* The next reply or notification. */
void rig_receive(struct kernel_rig *rig, struct kernel_message *m);

/* True: something arrives within @ms. */
bool rig_has_reply(struct kernel_rig *rig, int ms);

/* Send, and take the reply to it. Returns its error, 0 or -errno. */
int rig_call(struct kernel_rig *rig, uint32_t opcode, uint64_t node, const void *body, size_t len,
	const void *extra, size_t extra_len, struct kernel_message *reply);

/* ---- common requests ---- */

struct rig_file {
	uint64_t node, fh;
	uint32_t open_flags; /* FOPEN_... */
	int flags;           /* O_... */
};
struct rig_file rig_create(struct kernel_rig *rig, const char *name, int flags);
struct rig_file rig_open(struct kernel_rig *rig, uint64_t node, int flags);
/* Where it is to fail: the error. */
int rig_try_create(struct kernel_rig *rig, const char *name, int flags);
int rig_try_open(struct kernel_rig *rig, uint64_t node, int flags);
void rig_release(struct kernel_rig *rig, const struct rig_file *file);
uint64_t rig_lookup(struct kernel_rig *rig, uint64_t parent, const char *name); /* 0: not there */

uint64_t rig_send_write(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset,
	const void *data, uint32_t len, uint32_t write_flags);
uint64_t rig_send_read(
	struct kernel_rig *rig, const struct rig_file *file, uint64_t offset, uint32_t len);
int rig_write(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset,
	const void *data, uint32_t len);
/* The bytes are in @reply->body. */
int rig_read(struct kernel_rig *rig, const struct rig_file *file, uint64_t offset, uint32_t len,
	struct kernel_message *reply);

/* Set, or (NULL) remove, an extended attribute. */
int rig_set_xattr(struct kernel_rig *rig, uint64_t node, const char *name, const char *value);

#define RIG_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)
#define RIG_OFFERS                                                                                 \
	(FUSE_INIT_EXT | FUSE_MAX_PAGES | FUSE_BIG_WRITES | FUSE_WRITEBACK_CACHE |                 \
		FUSE_HANDLE_KILLPRIV_V2 | RIG_DIRECT_IO_ALLOW_MMAP)

#endif
