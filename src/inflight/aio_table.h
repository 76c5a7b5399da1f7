/* SPDX-License-Identifier: MIT */
/* libaio submissions that a supervisor saw, in memory that it shares with the daemon: which buffer
 * a process has submitted for which range of which file.
 * Owner thread: one supervisor thread puts; any thread of the daemon finds. The daemon trusts
 *   nothing in it: a table is a stranger's memory that may change at any time.
 * Invariants: I1 an entry is read whole or not at all (a sequence number around each), and its
 *   pieces as well: those that others have replaced are not known. I2 the table has a fixed size;
 *   new entries, and their pieces, take the place of old ones. I3 what is found belongs to the
 *   process that is asked for. I4 what an entry says of a byte of a file is given out once: a later
 *   write of the same range must have an entry of its own.
 * May use: base. Must not know: seccomp, FUSE.
 *
 * A control block says buffer, offset and length (io_submit(2)); it may be changed as soon as
 * io_submit() has returned, so its contents are copied here before that.
 *
 * The memory is a log. Each daemon that maps it reads what is new into memory of its own, with an
 * index, where it also notes what it has given out. A wrong buffer is far worse than none: so all
 * that could be meant is compared, and what was put AIO_KEPT_NS ago, and not asked for since, is
 * forgotten (a submission that the kernel refused never reaches us). */
#ifndef STABLEFS_INFLIGHT_AIO_TABLE_H
#define STABLEFS_INFLIGHT_AIO_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "base/clock.h"

#define AIO_TABLE_ENTRIES 16384u
#define AIO_TABLE_PIECES  262144u /* of all entries together */
#define AIO_KEPT_ENTRIES  8192u   /* that a daemon remembers */
#define AIO_KEPT_PIECES   262144u
#define AIO_KEPT_NS       (10 * NS_PER_S)
#define AIO_MAX_PIECES    1024u /* of a vectored control block: the kernel takes no more */

struct aio_entry {
	pid_t tgid;
	uint64_t ino, dev; /* of the descriptor's file; 0: unknown */
	uint64_t offset_bytes;
	uint64_t len_bytes;
	bool is_read;
	uint32_t piece_count; /* 0: its buffer is not known, but it may be what is asked for */
	struct iovec *pieces; /* borrowed; what they point to is in that process */
};

struct aio_table;

/* The supervisor's: @memfd is the caller's to close, and can be passed on. It is sealed: its size
 * never changes. */
int aio_table_new(int *memfd, struct aio_table **out);
/* The daemon's: maps it read-only, checks its size, form and seals (a file that could shrink would
 * end the daemon by SIGBUS). -EINVAL: it is no such table. */
int aio_table_map(int memfd, struct aio_table **out);
void aio_table_free(struct aio_table *t); /* accepts NULL */

/* The supervisor's thread alone. Never waits. Up to AIO_MAX_PIECES pieces; more, or lengths that do
 * not make up the whole: the buffer is not known. */
void aio_table_put(struct aio_table *t, const struct aio_entry *entry);

struct aio_wanted {
	pid_t tgid;
	uint64_t ino, dev; /* 0: not checked */
	uint64_t offset_bytes;
	uint32_t len_bytes; /* the request may be a part of a submission */
	bool is_read;
	/* Does that memory of the process hold the bytes of the request (from @skip_bytes on, which
	 * is 0)? Asked where several buffers could be meant, without a lock. NULL: nobody knows. */
	bool (*holds)(void *ctx, const struct iovec *pieces, unsigned count, uint64_t skip_bytes);
	void *ctx;
};
enum aio_found { AIO_NOT_FOUND, AIO_FOUND, AIO_AMBIGUOUS };
/* The submission that covers the whole range, the latest of several with the same buffer; what it
 * says of the range is then given out (I4). @out->pieces has room for AIO_MAX_PIECES, and gets the
 * pieces of the range alone; offset and length in @out are then the range's.
 *
 * Of several with different buffers the one that holds the request's bytes is meant, if there is
 * exactly one such buffer: a writer that keeps its buffers still has them there. Else it is
 * AIO_AMBIGUOUS. Which of their requests is whose stays unknown then, so for AIO_AMBIGUOUS_NS all
 * that they cover is told by the bytes or not at all. Not on a table of aio_table_new(). Any
 * thread. */
#define AIO_AMBIGUOUS_NS NS_PER_S
enum aio_found aio_table_find(
	struct aio_table *t, const struct aio_wanted *wanted, struct aio_entry *out);

/* Where bytes [@offset, @offset + @len) of the entry's file range lie in memory: no more pieces
 * than the entry has. 0: not in the entry, or the buffer is not known. */
uint32_t aio_entry_slice(const struct aio_entry *entry, uint64_t offset_bytes, uint64_t len_bytes,
	struct iovec *pieces);

#endif
