/* SPDX-License-Identifier: MIT */
/* One read under way: what read.c drives and read_record.c counts. It lives in the buffer that its
 * request was received in. */
#ifndef STABLEFS_FUSE_READ_REQ_H
#define STABLEFS_FUSE_READ_REQ_H

#include "fuse/internal.h"
#include "inflight/sink.h"

struct read_req {
	fuse_req_t req;
	struct front *f;
	struct coherence_file *file;
	struct later_job later;
	struct coherence_drop drop;
	struct fs_io fs_io;
	struct event_writer reader;
	struct sink *sink;      /* owned; NULL: from our memory alone */
	bool wanted;            /* there was to be one */
	enum live_miss miss;    /* why there is none */
	enum dio_policy policy; /* of a direct read */
	bool direct;
	bool again;   /* has been read once more, without the sink */
	bool flushed; /* and once more after dirty pages were written back */
	int err;      /* 0 or -errno: what the reader is told */
	uint64_t begun_ns;
};
_Static_assert(sizeof(struct read_req) <= BUFFER_STATE_BYTES, "lives in its buffer");

/* Some block failed its check in the reader's memory, and only there. */
static inline bool read_is_changed(const struct read_req *r)
{
	return r->sink && r->sink->found.changed_blocks;
}

/* It is over, and about to be answered: counters, the table of processes, an event where the
 * reader's memory changed. */
void read_record(const struct read_req *r);

#endif
