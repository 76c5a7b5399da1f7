/* SPDX-License-Identifier: MIT */
/* The control directory: a few files that the file system knows nothing of.
 *
 * Invariants: I1 its inode numbers have the highest bit set, and the file system's have not. I2 no
 *   worker waits for a query: its reads are parked and answered by the query's own thread, or by an
 *   interrupt of the reader. */
#ifndef STABLEFS_FUSE_CONTROL_H
#define STABLEFS_FUSE_CONTROL_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse3/fuse_lowlevel.h>
#include "fs/fs.h"

struct control;
struct front;

#define CONTROL_INO_BIT (UINT64_C(1) << 63)

static inline bool control_owns(uint64_t ino)
{
	return ino & CONTROL_INO_BIT;
}

/* The name of the control directory itself, in the root. */
bool control_is_root_name(uint64_t parent, const char *name);

int control_new(struct front *f, struct control **out);
void control_free(struct control *c); /* accepts NULL; control_stop() ran */

/* Wait for the queries that run. Their answers are not read any more. */
void control_stop(struct control *c);

int control_lookup(struct control *c, uint64_t parent, const char *name, struct stat *st);
int control_getattr(struct control *c, uint64_t ino, struct stat *st);

/* Truncation is accepted (a shell's ">"), anything else is -EPERM. */
int control_setattr(struct control *c, uint64_t ino, int to_set, struct stat *st);

int control_readdir(struct control *c, uint64_t ino, uint64_t cookie,
	bool (*fill)(void *ctx, const struct fs_dirent *entry), void *ctx);

/* These reply. */
void control_open(struct control *c, fuse_req_t req, uint64_t ino, struct fuse_file_info *fi);
void control_read(struct control *c, fuse_req_t req, uint64_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void control_write(struct control *c, fuse_req_t req, uint64_t ino, const char *data, size_t size,
	struct fuse_file_info *fi);

/* FRONT_IOC_LINE, of @size bytes; -ENOTTY on files that do not take it, or of another size. */
void control_line(struct control *c, fuse_req_t req, uint64_t ino, const char *text, size_t size,
	struct fuse_file_info *fi);

/* This does not. */
void control_release(struct control *c, uint64_t ino, struct fuse_file_info *fi);

/* The text of events.jsonl has grown to @size_bytes: tell the kernel, which trusts its own idea of
 * a file's size where it has a write-back cache. @ctx: a struct front. Not on a worker. */
void control_events_grown(void *ctx, uint64_t size_bytes);

/* control_json.c: the contents of files that are made at each open. NULL: out of memory. */
char *control_status_json(struct front *f, size_t *len_bytes);
char *control_stats_json(struct front *f, size_t *len_bytes);
char *control_processes_json(struct front *f, size_t *len_bytes);
char *control_member_json(struct front *f, unsigned index, size_t *len_bytes);

#endif
