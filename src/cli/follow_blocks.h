/* SPDX-License-Identifier: MIT */
/* What control blocks of libaio say (linux/aio_abi.h), as entries of the table. Private to the
 * supervisor. Memory is another process's: nothing in it is believed. */
#ifndef STABLEFS_CLI_FOLLOW_BLOCKS_H
#define STABLEFS_CLI_FOLLOW_BLOCKS_H

#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "inflight/aio_table.h"

#define FOLLOW_MAX_BLOCKS 1024u /* of one submission; the rest is not recorded */

/* The blocks of a submission: up to @count of those that the array at @address points to. How many
 * were read from its beginning, or -errno. */
int follow_read_blocks(
	pid_t tid, uint64_t address, uint64_t count, struct iocb blocks[FOLLOW_MAX_BLOCKS]);

/* True where the block reads or writes; then @out has its range and direction, and, where it has
 * one buffer, that. @out->pieces has room for AIO_MAX_PIECES, here and below. */
bool follow_block_range(const struct iocb *block, struct aio_entry *out);
bool follow_block_is_vectored(const struct iocb *block);

/* The pieces of a vectored block, into @out. Pieces that touch become one. 0, -EINVAL (nothing that
 * the kernel would take) or why they cannot be read. */
int follow_read_vector(pid_t tid, const struct iocb *block, struct aio_entry *out);
/* The same, of the first @count that are in out->pieces already. */
int follow_join_vector(unsigned count, struct aio_entry *out);

#endif
