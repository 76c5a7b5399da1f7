/* SPDX-License-Identifier: MIT */
/* The few places where the protocol itself must show through libfuse: request flags that it does
 * not hand on, and reply flags that its version does not know (fuse(4), <linux/fuse.h>).
 * Owner thread: each worker for the request that it handles; negotiation by the first. */
#ifndef STABLEFS_FUSE_WIRE_H
#define STABLEFS_FUSE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Headers in front of a write's payload: struct fuse_in_header and struct fuse_write_in. */
#define WIRE_WRITE_HEADER_BYTES 80u
#define WIRE_OPCODES            64u

/* struct fuse_statx_out of protocol 7.39. */
#define WIRE_STATX_BYTES 288u

/* What kernel and daemon have agreed on in FUSE_INIT, beyond what libfuse negotiates. */
struct wire_caps {
	bool ready;           /* FUSE_INIT was answered */
	bool coherent_direct; /* FUSE_DIRECT_IO_ALLOW_MMAP: the kernel writes dirty pages back
			       * before direct reads, drops pages before direct writes (6.6) */
	bool kill_privs;      /* FUSE_HANDLE_KILLPRIV_V2: we clear suid, sgid and capabilities */
	bool setxattr_ext;    /* FUSE_SETXATTR_EXT: wire_request_drops_sgid() */
};

/* The calling thread handles the request at @mem from now on (until the next call; NULL: none).
 * What libfuse would not understand of it is taken out, and a request that it does not know becomes
 * one that is told the same: FUSE_TMPFILE a FUSE_CREATE, FUSE_STATX a FUSE_GETATTR. */
void wire_request_set(const struct wire_caps *caps, void *mem);

/* Of the calling thread's request. */
unsigned wire_opcode(void);          /* 0: none; WIRE_OPCODES - 1: one not known */
bool wire_request_kills_privs(void); /* a write or truncation that takes suid and sgid away */
bool wire_request_drops_sgid(void);  /* a setxattr of a list by one who is not in the group */
bool wire_request_fills_cache(void); /* a read for the page cache of the kernel */
bool wire_request_is_tmpfile(void);  /* a create without a name */
bool wire_request_is_statx(void);    /* a getattr that wants wire_statx() for an answer */

/* The answer to a statx, true for @valid_s seconds. @born: NULL: not known. */
void wire_statx(uint8_t out[WIRE_STATX_BYTES], const struct stat *st, const struct timespec *born,
	uint32_t valid_s);

/* While @on, the calling thread's open and create replies say FOPEN_PARALLEL_DIRECT_WRITES. */
void wire_mark_parallel(bool on);

/* For fuse_session_custom_io(): read(2) and writev(2), with replies marked on their way out;
 * @userdata is the session's: a struct front. */
ssize_t wire_read(int fd, void *buf, size_t len_bytes, void *userdata);
ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata);

/* Adds to the reply @iov of the calling thread's request what applies to it. */
void wire_mark_reply(struct wire_caps *caps, const struct iovec *iov, int count);

const char *wire_opcode_name(unsigned opcode); /* "write"; NULL: not one that we count */

#endif
