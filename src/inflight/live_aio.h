/* SPDX-License-Identifier: MIT */
/* Buffers of libaio submissions. Private to src/inflight.
 *
 * In a tree that is followed (tree.h) the supervisor's table knows them. Elsewhere the control
 * blocks can be read only while the thread is still inside io_submit(2), which happens to few
 * requests: they may be changed as soon as it has returned. */
#ifndef STABLEFS_INFLIGHT_LIVE_AIO_H
#define STABLEFS_INFLIGHT_LIVE_AIO_H

#include <sys/types.h>
#include "inflight/aio_table.h"
#include "inflight/live.h"
#include "inflight/live_file.h"
#include "inflight/live_handle.h"
#include "inflight/live_procfs.h"

struct live_aio_question {
	const struct live_request *req;
	pid_t tgid;                       /* the process of req->tid */
	struct trees *trees;              /* may be NULL */
	const struct procfs_syscall *now; /* what the thread waits in; nr -1: nothing */
	bool did_before;                  /* its last request came from libaio */
	/* Does that memory of the process hold req->bytes? With @ctx. */
	bool (*holds_bytes)(
		void *ctx, const struct iovec *pieces, unsigned count, uint64_t skip_bytes);
	void *ctx;
};

/* @handle: of req->tid; @out->pieces has room for AIO_MAX_PIECES. LIVE_FOUND: *@out has pieces and
 * offset_bytes of the submission, or of a part of it that covers the request.
 * LIVE_NOT_IN_CALL: nothing speaks for libaio. LIVE_AIO_UNSEEN, LIVE_AMBIGUOUS,
 * LIVE_OWN_MAPPING and errors of procfs. */
enum live_miss live_aio_find(struct live_files *files, struct live_handle *handle,
	const struct live_aio_question *q, struct aio_entry *out);

#endif
