/* SPDX-License-Identifier: MIT */
/* One file, open directly and through the page cache at once: what of its coherence is ours.
 *
 * The kernel writes dirty pages back before a direct read, and drops the pages of the range before
 * a direct write, under a lock that keeps buffered writers out where the file is open both ways
 * (wire_caps.coherent_direct; where a kernel cannot, direct opens go through its page-cache path,
 * which does the same). What it does not see is a page that is read, by a buffered reader, a
 * mapping or readahead, while the direct write is under way: it may hold the bytes from before, and
 * would be believed for good. So:
 *
 * Invariants: I1 a direct write that overlapped in time with a read of the same pages is answered
 *   only after these pages were dropped. I2 the dropping is done by a thread of its own: it waits
 *   for pages that other requests, ours to serve, have locked. I3 an open file is known here before
 *   the kernel hears that it is open.
 * Owner thread: any; a lock a file orders its transfers, one lock the table. */
#ifndef STABLEFS_FUSE_COHERENCE_H
#define STABLEFS_FUSE_COHERENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct coherence;
struct coherence_inode;

/* One open of a file: what fuse_file_info.fh points to. */
struct coherence_file {
	struct list_node node;         /* on the inode's list */
	struct coherence_inode *inode; /* counted */
	uint64_t ino;
	bool direct;
	bool may_dirty; /* opened for writing, through the page cache */
};

/* A transfer under way. Embedded in its request. */
struct coherence_io {
	struct list_node node;
	uint64_t first_page, last_page;
	bool write;
	bool overlapped; /* a direct write and a read were under way together */
};

/* What the kernel is to drop: pages of a file, or all that it knows of it. A request to the thread,
 * embedded in another; done() runs on that thread and may free it. */
struct coherence_drop {
	struct list_node node;
	uint64_t ino;
	bool inode; /* its name, and with it the inode where nothing else holds that */
	uint64_t offset_bytes, len_bytes; /* of pages; 0, 0: the whole file */
	void (*done)(struct coherence_drop *drop);
};

/* How it is dropped: libfuse's notifications, or a test's own. 0 or -errno. */
typedef int coherence_drop_fn(void *ctx, const struct coherence_drop *drop);

int coherence_new(coherence_drop_fn *drop, void *ctx, struct coherence **out);

/* Stops the thread after what was requested, and forgets the files still open: @forget, where not
 * NULL, is told of each. Accepts NULL. */
void coherence_free(struct coherence *c, void (*forget)(void *ctx, uint64_t ino), void *ctx);

/* NULL: out of memory. */
struct coherence_file *coherence_open(
	struct coherence *c, uint64_t ino, bool direct, bool may_dirty);

/* True: it was the last, and the inode's times in the kernel are still stale. */
bool coherence_release(struct coherence *c, struct coherence_file *file);

/* A read (of any kind) or a direct write of @file begins. */
void coherence_begin(struct coherence_file *file, struct coherence_io *io, bool write,
	uint64_t offset_bytes, uint32_t len_bytes);

/* It has ended. True: pages that were read meanwhile must be dropped before the answer (I1). */
bool coherence_end(struct coherence_file *file, struct coherence_io *io);

/* Some open of @ino may have left dirty pages with the kernel. */
bool coherence_may_be_dirty(struct coherence *c, uint64_t ino);

/* Whether the file may have privileges (suid, sgid, capabilities) to lose: true until it was found
 * to have none, and again when they may have been given. */
bool coherence_may_have_privs(struct coherence_file *file);
void coherence_set_privs(struct coherence *c, uint64_t ino, bool may_have);

/* The kernel has not noticed that a direct write changed the file's times. */
void coherence_set_times_stale(struct coherence_file *file);

/* True: they are stale and @file is the only one that is open; they do not count as stale any
 * more: the caller has the inode dropped. */
bool coherence_take_stale_times(struct coherence *c, struct coherence_file *file);

/* Drop pages, dirty ones after they were written. Any thread; done() runs in every case. */
void coherence_drop(struct coherence *c, struct coherence_drop *drop);

uint64_t coherence_drop_count(struct coherence *c); /* how often so far */

#endif
