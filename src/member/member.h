/* SPDX-License-Identifier: MIT */
/* A member: one backing file or device, and the PI disk that it emulates.
 * Owner thread: the engine's, from the first transfer on; before, the thread that opened it.
 * Invariants: I1 data and tuples travel together: a write's tuples are in the cache before its
 *   done() runs, a read returns the tuples that belong to its data. I2 tuples reach the medium
 *   after the write of the data that they protect has completed, and before a flush called after
 *   that completes. I3 with PI a block whose tuple is the escape reads as zeros, whatever the
 *   medium holds. I4 with PI_CHECK_DEVICE a write is stored wholly or, where one block does not
 *   match its tuple, refused wholly (-EILSEQ) and nothing is stored, as a disk with T10 PI does.
 *   I5 transfers of the same blocks are ordered by the caller (the stripe lock).
 * May use: io, pi, base. Must not know: stripes, parity, other members.
 *
 * Tuples lie in an area of their own, stored complemented, so that a zeroed (sparse) area says
 * "never written". They are cached in pages of 4 KiB, loaded when first needed, written at flushes
 * and where the cache is full. */
#ifndef STABLEFS_MEMBER_MEMBER_H
#define STABLEFS_MEMBER_MEMBER_H

#include "base/event.h"
#include "io/io.h"
#include "member/super.h"

struct member;

/* Read both copies of the superblock of @path and give the newer good one. Repairs nothing.
 * Blocking. @flags as io_open(). -ENOMSG: not a member; -EUCLEAN: both copies damaged, or the file
 * truncated; -EPROTONOSUPPORT: made by a newer program. @why names the path. */
struct member_probe {
	struct super super;
	bool copy_a_bad, copy_b_bad; /* that copy is damaged; the other served */
	struct io_file *file;        /* open; the caller's (or member_open's) */
};
int member_probe(struct io_engine *io, const char *path, unsigned flags, struct member_probe *out,
	struct errmsg *why);

/* Make a member of a probed file. Takes probe->file in every case. @path is copied. -EOPNOTSUPP:
 * this build cannot compute the volume's guard (pi_supported()). */
int member_open(
	struct io_engine *io, const char *path, struct member_probe *probe, struct member **out);
void member_free(struct member *m); /* accepts NULL; nothing under way; dirty tuples are dropped */

/* It writes tuples back, or flushes: it must not be freed. Owner thread. */
bool member_busy(const struct member *m);

const char *member_path(const struct member *m);
struct super *member_super(struct member *m); /* borrowed; write with member_super_write() */
struct io_file *member_file(struct member *m);

/* Write copy A, flush, copy B, flush; blocking (runs the engine). A power cut leaves at least one
 * good copy, old or new. Before the engine thread starts or after it ended. Copy B goes to the end
 * of the file as large as it is now. */
int member_super_write(struct member *m);

struct tuple_page;

/* A transfer's hold on a page of tuples, and its place among those that wait for its load. */
struct member_page_use {
	struct list_node node;
	struct member_xfer *xfer;
	struct tuple_page *page;
};

/* One transfer of consecutive blocks. The caller owns it until done(). */
struct member_xfer {
	struct member *member;
	uint64_t block;  /* of the data area */
	uint32_t blocks; /* 1 to 256 */
	struct iovec
		*iov; /* borrowed; whole blocks in total, page-aligned pieces of whole blocks */
	unsigned iov_count; /* at most IO_MAX_IOV */
	/* blocks * pi_tuple_bytes(); write: what to store; read: filled. NULL without PI. */
	uint8_t *tuples;
	/* On the owner thread, never from within member_read() or member_write(). 0, -EIO and the
	 * like from the medium, -EILSEQ (write refused, I4), -ENOMEM. */
	void (*done)(struct member_xfer *xfer, int err);
	/* The member's. */
	struct io_req io;
	struct list_node wait;
	struct member_page_use uses[2];
	unsigned pages, parts_pending;
	int err, data_err;
	uint8_t kind;
};

void member_read(struct member_xfer *xfer);
void member_write(struct member_xfer *xfer);

/* After a read: which block (0-based in the transfer) is the first at or after @from that fails its
 * check? xfer->blocks where none. *@verdict says how. Pure look at memory. */
uint32_t member_verify(const struct member_xfer *xfer, uint32_t from, enum pi_verdict *verdict);

/* Make everything durable that was done() before the call: dirty tuples, then the medium. Flushes
 * that arrive while one is under way share the next. done() runs on the owner thread, never from
 * within the call; after an error the tuples stay dirty, and a later flush tries again. */
struct member_flush {
	struct member *member;
	void (*done)(struct member_flush *flush, int err);
	void *owner;           /* the caller's */
	struct list_node node; /* the member's */
};
void member_flush(struct member_flush *flush);

/* Tuple cache: pages of 4 KiB held at most per member (at least 1; default 16,384, 64 MiB); clean
 * ones beyond it are dropped, oldest first. A write that finds only dirty ones waits until some
 * are written back; a read goes beyond the limit for as long as it takes. */
#define MEMBER_TUPLE_CACHE_PAGES 16384u
void member_set_tuple_cache(struct member *m, unsigned max_pages);

struct member_stats {
	uint64_t reads, writes, read_bytes, write_bytes, flushes, errors, refused;
	uint64_t tuple_page_reads, tuple_page_writes;
};
struct member_stats member_stats(const struct member *m); /* any thread: relaxed counters */

#endif
