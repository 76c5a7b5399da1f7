/* SPDX-License-Identifier: MIT */
/* One file, open directly and through the page cache at once: what of its coherence is ours.
 *
 * The kernel writes dirty pages back before a direct read, and drops the pages of the range before
 * a direct write, under a lock that keeps buffered writers out where the file is open both ways
 * (wire_caps.coherent_direct; where a kernel cannot, direct opens go through its page-cache path,
 * which does the same). What it does not see is a page that is read, by a buffered reader, a
 * mapping or readahead, between that and the end of the write: it may hold the bytes from before,
 * and would be believed for good. Such a read may be answered even before we hear of the write. So
 * reads into the page cache leave a mark on the region of the file that they touch:
 *
 * Invariants: I1 a direct write into a marked region is answered only after the region's pages were
 *   dropped. I2 a mark goes away when its region was dropped and not read again since the drop
 *   began. I3 dropping is done by a thread of its own: it waits for pages that other requests, ours
 *   to serve, have locked. I4 an open file is known here before the kernel hears that it is open.
 * Owner thread: any; one lock for the table of files, one a file for its marks. */
#ifndef STABLEFS_FUSE_COHERENCE_H
#define STABLEFS_FUSE_COHERENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"
#include "fs/fs.h"
#include "fuse/later.h"

struct coherence;
struct coherence_inode;

/* One open of a file: what fuse_file_info.fh points to. */
struct coherence_file {
	struct list_node node;         /* on the inode's list */
	struct coherence_inode *inode; /* counted */
	uint64_t ino;
	bool direct;
	bool as_buffered; /* direct, and by the kernel's path for cached files all the same */
	bool may_dirty;   /* opened for writing, through the page cache */
	/* The kernel goes around its page cache with all reads and writes of this open
	 * (FOPEN_DIRECT_IO), also after O_DIRECT was taken away. */
	bool around_cache;
	struct fs_heard heard; /* the file system's */
	/* read.c's: how many reads in a row found the reader's memory changed. */
	_Atomic unsigned reads_changed;
};

#define COHERENCE_REGION_BYTES (UINT64_C(1) << 20)

/* What the kernel is to drop: pages of a file, or all that it knows of it. A request to the thread,
 * embedded in another; done() runs on that thread and may free it. */
struct coherence_drop {
	struct later_job job;        /* coherence_drop()'s, as the next */
	struct coherence *coherence; /* borrowed */
	uint64_t ino;
	bool inode;  /* its name, and with it the inode where nothing else holds that */
	bool blocks; /* no more than its st_blocks, if it is stale */
	uint64_t offset_bytes, len_bytes; /* of pages; 0, 0: the whole file */
	void (*done)(struct coherence_drop *drop);
	/* Of coherence_write_ended(): the marks that this answers. */
	struct coherence_inode *marked; /* NULL: none */
	uint64_t first_region;
	uint64_t marks[2];
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

/* The kernel reads for its page cache: before the transfer begins. */
void coherence_read_begins(struct coherence_file *file, uint64_t offset_bytes, uint32_t len_bytes);

/* A direct write of at most COHERENCE_REGION_BYTES is done, and not answered. True: @drop says what
 * is to be dropped before the answer (I1); the caller sets done() and requests it. @file stays open
 * until then. */
bool coherence_write_ended(struct coherence_file *file, uint64_t offset_bytes, uint32_t len_bytes,
	struct coherence_drop *drop);

/* Some open of @ino may have left dirty pages with the kernel. */
bool coherence_may_be_dirty(struct coherence *c, uint64_t ino);

/* @file goes around the kernel's page cache: before the kernel hears that it is open. */
void coherence_set_around_cache(struct coherence *c, struct coherence_file *file);

/* The kernel may have dirty pages behind the end of @ino that we know: some open of it writes
 * through the page cache. */
bool coherence_may_be_longer(struct coherence *c, uint64_t ino);

/* With its write-back cache the kernel does not notice that writing its pages back has taken
 * blocks. True: it was not known before, and is to be told once the write was answered. */
bool coherence_set_blocks_stale(struct coherence_file *file);
/* True: they are stale; they do not count as that any more: the caller tells the kernel. */
bool coherence_take_stale_blocks(struct coherence *c, uint64_t ino);

/* Pages that the kernel has written back found no space. Whoever writes next through the page cache
 * is to hear of that, or whoever syncs: the kernel itself would go on to accept writes. */
void coherence_set_no_space(struct coherence_file *file);
bool coherence_take_no_space(struct coherence *c, uint64_t ino); /* true: once */

/* Whether the file may have privileges (suid, sgid, capabilities) to lose: true until it was found
 * to have none, and again when they may have been given. */
bool coherence_may_have_privs(struct coherence_file *file);
void coherence_set_privs(struct coherence *c, uint64_t ino, bool may_have);

/* A word that somebody keeps with an open file, for all opens of it; 0 until it was made. */
uint32_t coherence_word(const struct coherence_file *file);

/* Have the word of @ino made anew: by @make, one at a time, so that what is made last from what is
 * true then stays. Nothing is kept where the file is not open. 0 or what @make returned; then the
 * word stays as it was. */
typedef int coherence_make_word_fn(void *ctx, uint64_t ino, uint32_t *word);
int coherence_refresh_word(
	struct coherence *c, uint64_t ino, coherence_make_word_fn *make, void *ctx);

/* Being the only one: those who want to be it for a file come one after the other, in the order in
 * which they asked. Embedded in another. */
struct coherence_turn {
	struct list_node node;
};

/* True: it is the caller's turn. False: it will be when another passes it on. */
bool coherence_take_turn(struct coherence_file *file, struct coherence_turn *turn);

/* The caller's turn is over: whose it is now, NULL: nobody's. */
struct coherence_turn *coherence_pass_turn(struct coherence_file *file);

/* The kernel has not noticed that a direct write changed the file's times. */
void coherence_set_times_stale(struct coherence_file *file);

/* True: they are stale and @file is the only one that is open; they do not count as stale any
 * more: the caller has the inode dropped. */
bool coherence_take_stale_times(struct coherence *c, struct coherence_file *file);

/* True: they are stale; they do not count as that any more: the caller tells the kernel, or leaves
 * them as they were. */
bool coherence_take_times(struct coherence *c, uint64_t ino);
void coherence_leave_times(struct coherence *c, uint64_t ino);

/* Times in the kernel are stale, or may be in a moment: an open of @ino writes around its cache. */
bool coherence_times_unsure(struct coherence *c, uint64_t ino);

/* Drop pages, dirty ones after they were written. Any thread; done() runs in every case. */
void coherence_drop(struct coherence *c, struct coherence_drop *drop);

uint64_t coherence_drop_count(struct coherence *c); /* how often so far */

#endif
