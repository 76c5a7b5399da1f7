/* SPDX-License-Identifier: MIT */
/* The I/O engine on io_uring: O_DIRECT members, registered files and buffers, batched submission.
 * One system call a turn: io_submit() queues, io_run() fills entries, hands them over and waits.
 * The owner thread's timer slack becomes 1 us (else alarms were up to 50 us late). */
#ifndef STABLEFS_IO_URING_H
#define STABLEFS_IO_URING_H

#include "io/io.h"

/* One ring. @depth: submission entries (a power of two from 2 to 32768); fewer requests than that
 * are in the kernel at a time, the others wait in a queue of the engine. Errors name what the
 * kernel lacks (io_uring disabled by sysctl, ...). */
int uring_engine_new(unsigned depth, struct io_engine **out, struct errmsg *why);

/* A factory of such engines; needs no context. */
extern const struct io_factory uring_factory;

#endif
