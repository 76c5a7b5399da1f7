/* SPDX-License-Identifier: MIT */
/* The table of processes that do direct I/O: who they are, what they wrote, what was seen of it,
 * file by file; and what follows for a process that was caught.
 * Owner thread: any; one lock, nothing is called under it.
 * Invariants: I1 a row belongs to one process (pid and start time), also when its pid is used
 *   again. I2 the table is bounded: rows beyond it are counted together in a row of their own
 *   (pid 0), and the oldest row without findings goes first; where every row has findings, what a
 *   new process does is counted in that row alone. I3 totals of the rows never claim more than
 *   happened, and nothing is lost of them when a row goes.
 * May use: base, procfs. Must not know: stripes, FUSE.
 *
 * Procfs is asked who a process is when its row is made, and again when the row was not used for a
 * second (the pid may be another's by then) or the process has changed its name (it may run another
 * program); never under the lock. Nothing of it enters our own file system: /proc/PID/exe is a
 * name, made from what the kernel has in memory, and is not followed. */
#ifndef STABLEFS_INFLIGHT_PROCESS_H
#define STABLEFS_INFLIGHT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/event.h"

#define PROCESS_MAX_ROWS  1024u
#define PROCESS_MAX_FILES 64u /* of one process; more are counted in a row with ino 0 */

struct processes;
int processes_new(struct processes **out);
void processes_free(struct processes *t); /* accepts NULL */

/* One direct write or read, when it is over. Cheap enough for the engine thread. */
struct process_io {
	const struct event_writer *writer; /* pid 0: unknown */
	uint64_t ino;
	bool is_read;
	uint64_t bytes;
	bool observed;   /* live memory was looked at, as often as the policy wanted */
	bool unobserved; /* it should have been, and could not be (neither: the policy asks nothing)
			  */
	bool mutated;
	int error; /* -errno that the program got */
};
void processes_count(struct processes *t, const struct process_io *io);

/* True for the first mutation of a process: the caller warns. (Processes that have no row of their
 * own share one warning.) */
bool processes_first_warning(struct processes *t, const struct event_writer *writer);

/* DIO_ADAPTIVE: the process was caught and is bounced from then on. Not remembered where it has no
 * row of its own (I2): then it is caught each time. */
void processes_set_bounced(struct processes *t, const struct event_writer *writer);
bool processes_is_bounced(struct processes *t, pid_t pid);

/* The program that a process runs, as a path; "" where nobody knows. Asked of procfs where the
 * process is still the one of its row, else what the row remembers. Any thread that may wait for
 * procfs. */
void processes_exe(struct processes *t, pid_t pid, char *exe, size_t size);

struct process_file {
	uint64_t ino; /* 0: all beyond PROCESS_MAX_FILES */
	uint64_t writes, write_bytes, observed, unobserved, mutated, failed; /* of writes */
	uint64_t reads, read_bytes, reads_mutated, reads_failed;
};
struct process_row {
	pid_t pid; /* 0: all beyond PROCESS_MAX_ROWS, or unknown */
	uid_t uid;
	char comm[16];
	char call[16]; /* the last way in: "pwrite64", "io_uring", "libaio" */
	char exe[256]; /* "": unknown */
	bool bounced;
	struct process_file total;
	uint32_t file_count;
	struct process_file files[PROCESS_MAX_FILES];
};
/* Each row, in order of the number of its mutated writes, then of its writes, the row with pid 0
 * last (and only where something is counted in it). @each runs without the lock, on copies; each
 * copy is of one moment, all together are not. 0 or -ENOMEM. */
int processes_each(
	struct processes *t, void (*each)(void *ctx, const struct process_row *row), void *ctx);

#endif
