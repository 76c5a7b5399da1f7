/* SPDX-License-Identifier: MIT */
/* Ways to have many reads and writes under way at once: threads with system calls, libaio,
 * io_uring, io_uring with registered files and buffers. */
#ifndef STABLEFS_TESTS_MOUNT_ENGINE_H
#define STABLEFS_TESTS_MOUNT_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#define ENGINE_DEPTH 256u

struct op {
	bool write;
	int fd;
	struct iovec *iov; /* borrowed */
	int iovs;
	off_t offset;
	int rwf;             /* RWF_... */
	ssize_t result;      /* bytes, or -errno */
	atomic_bool is_done; /* result is there */
};

/* What registered buffers are of: memory that operations of one segment mostly lie in. */
struct engine_memory {
	void *at; /* NULL: none */
	size_t len_bytes;
};

struct engine {
	const char *name;
	bool registered;
	/* Start up to ENGINE_DEPTH of them at once, return when all are done. */
	void (*run)(const struct engine *e, struct op *ops, unsigned count,
		struct engine_memory memory);
};

extern const struct engine engines[]; /* ended by one without a name */

static inline void engine_run(const struct engine *e, struct op *ops, unsigned count)
{
	e->run(e, ops, count, (struct engine_memory){0});
}

/* One operation of one segment. Its result. */
ssize_t engine_one(
	const struct engine *e, bool write, int fd, void *data, size_t len_bytes, off_t offset);

#endif
