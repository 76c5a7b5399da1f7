/* SPDX-License-Identifier: MIT */
/* libaio submissions that a supervisor saw, in memory that it shares with the daemon: which buffer
 * a process has submitted for which range of which file.
 * Owner thread: one supervisor thread puts; any thread of the daemon finds. The daemon trusts
 *   nothing in it: a table is a stranger's memory that may change at any time.
 * Invariants: I1 an entry is read whole or not at all (a sequence number around each). I2 the
 *   table has a fixed size; new entries take the place of old ones. I3 what is found belongs to the
 *   process that is asked for.
 * May use: base. Must not know: seccomp, FUSE.
 *
 * A control block says buffer, offset and length (io_submit(2)); it may be changed as soon as
 * io_submit() has returned, so its contents are copied here before that. */
#ifndef STABLEFS_INFLIGHT_AIO_TABLE_H
#define STABLEFS_INFLIGHT_AIO_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define AIO_TABLE_ENTRIES 65536u
#define AIO_MAX_PIECES    8u /* of a vectored control block; more: not recorded */

struct aio_entry {
	pid_t tgid;
	uint64_t ino, dev; /* of the descriptor's file; 0: unknown */
	uint64_t offset_bytes;
	uint64_t len_bytes;
	bool is_read;
	uint32_t piece_count;
	struct iovec pieces[AIO_MAX_PIECES]; /* in that process */
};

struct aio_table;

/* The supervisor's: @memfd is the caller's to close, and can be passed on. */
int aio_table_new(int *memfd, struct aio_table **out);
/* The daemon's: maps it read-only, checks its size and form. -EINVAL: it is no such table. */
int aio_table_map(int memfd, struct aio_table **out);
void aio_table_free(struct aio_table *t); /* accepts NULL */

void aio_table_put(struct aio_table *t, const struct aio_entry *entry);

struct aio_wanted {
	pid_t tgid;
	uint64_t ino, dev; /* 0: not checked */
	uint64_t offset_bytes;
	uint32_t len_bytes; /* the request may be a part of a submission */
	bool is_read;
};
enum aio_found { AIO_NOT_FOUND, AIO_FOUND, AIO_AMBIGUOUS };
/* The latest submission that covers the range. AIO_AMBIGUOUS: several that have not been found
 * before cover it, from different buffers. */
enum aio_found aio_table_find(
	struct aio_table *t, const struct aio_wanted *wanted, struct aio_entry *out);

#endif
