/* SPDX-License-Identifier: MIT */
/* The mutator's calls that wait until the transfer has ended. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "cli/mutate_internal.h"

static const char *const call_names[] = {
	[MUTATE_PWRITE] = "pwrite",
	[MUTATE_WRITE] = "write",
	[MUTATE_PWRITEV] = "pwritev",
	[MUTATE_PWRITEV2] = "pwritev2",
	[MUTATE_WRITEV] = "writev",
};

const char *mutate_call_name(enum mutate_call call)
{
	return call_names[call];
}

const char *mutate_read_call_name(enum mutate_call call)
{
	static const char *const names[] = {
		[MUTATE_PWRITE] = "pread",
		[MUTATE_WRITE] = "read",
		[MUTATE_PWRITEV] = "preadv",
		[MUTATE_PWRITEV2] = "preadv2",
		[MUTATE_WRITEV] = "readv",
	};
	return names[call];
}

bool mutate_call_parse(const char *name, enum mutate_call *out)
{
	for (unsigned i = 0; i < sizeof(call_names) / sizeof(call_names[0]); i++) {
		if (strcmp(name, call_names[i]) == 0) {
			*out = (enum mutate_call)i;
			return true;
		}
	}
	return false;
}

static ssize_t call_write(const struct mutator *m, const struct mutate_slot *slot)
{
	off_t offset = (off_t)slot->transfer->offset_bytes;
	int n = (int)slot->pieces;
	switch (m->options->call) {
	case MUTATE_PWRITE:
		return pwrite(m->fd, slot->buffer, m->options->block_bytes, offset);
	case MUTATE_WRITE:
		return write(m->fd, slot->buffer, m->options->block_bytes);
	case MUTATE_PWRITEV:
		return pwritev(m->fd, slot->iov, n, offset);
	case MUTATE_PWRITEV2:
		return pwritev2(m->fd, slot->iov, n, offset, 0);
	case MUTATE_WRITEV:
		return writev(m->fd, slot->iov, n);
	}
	return 0;
}

/* The reading call that answers to the writing one. */
static ssize_t call_read(const struct mutator *m, const struct mutate_slot *slot)
{
	off_t offset = (off_t)slot->transfer->offset_bytes;
	int n = (int)slot->pieces;
	switch (m->options->call) {
	case MUTATE_PWRITE:
		return pread(m->fd, slot->buffer, m->options->block_bytes, offset);
	case MUTATE_WRITE:
		return read(m->fd, slot->buffer, m->options->block_bytes);
	case MUTATE_PWRITEV:
		return preadv(m->fd, slot->iov, n, offset);
	case MUTATE_PWRITEV2:
		return preadv2(m->fd, slot->iov, n, offset, 0);
	case MUTATE_WRITEV:
		return readv(m->fd, slot->iov, n);
	}
	return 0;
}

/* A call of the kind that uses the file's position needs it set before. */
static int seek_to(const struct mutator *m, off_t offset)
{
	bool positioned = m->options->call == MUTATE_WRITE || m->options->call == MUTATE_WRITEV;
	return positioned && lseek(m->fd, offset, SEEK_SET) < 0 ? -errno : 0;
}

static int submit(struct mutator *m, struct mutate_slot *slot)
{
	int err = seek_to(m, (off_t)slot->transfer->offset_bytes);
	if (err < 0)
		return err;
	ssize_t n = m->reading ? call_read(m, slot) : call_write(m, slot);
	slot->result = n < 0 ? -errno : n;
	slot->ended = true;
	return 0;
}

const struct mutate_engine_ops mutate_psync = {.name = "psync", .submit = submit};
