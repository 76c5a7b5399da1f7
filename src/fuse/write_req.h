/* SPDX-License-Identifier: MIT */
/* One write under way: what write.c drives and write_record.c counts. It lives in the buffer that
 * its request was received in. */
#ifndef STABLEFS_FUSE_WRITE_REQ_H
#define STABLEFS_FUSE_WRITE_REQ_H

#include "fuse/internal.h"
#include "inflight/source.h"

struct write_req {
	fuse_req_t req;
	struct front *f;
	struct coherence_file *file;
	struct coherence_drop drop;
	struct coherence_turn turn; /* DIO_BUFFERED: one at a time */
	struct later_job later;
	struct sync_job sync;
	struct fs_io fs_io;
	struct source bounce; /* used where @live is NULL, and to mend */
	struct source *live;  /* owned */
	struct source_check check;
	struct flip flip;       /* of the writer's memory as it is seen, by request */
	enum live_miss miss;    /* why it is not live, where it was to be */
	enum dio_policy policy; /* of a direct write */
	bool direct;
	bool append;      /* O_APPEND */
	bool strips;      /* what its file has of privileges is to be taken away */
	bool strips_bits; /* suid and sgid, too */
	bool around;      /* around the kernel's page cache: direct, or through an open that is */
	bool syncs;       /* synchronous, and the kernel will not ask for it: still to be synced */
	bool caught;      /* its process was bounced for good before (DIO_ADAPTIVE) */
	bool changed;     /* the last look has found other bytes than the guard was made of */
	bool mended;      /* has been written once more, from the copy */
	bool early;       /* answered before it is stored: it is in the array's log, or was taken */
	bool taken;       /* of the page cache, and counted in front.taken_writes */
	/* Under way: the transfer, and beside it the search for the memory, or the early answer. */
	atomic_uint parts;
	int err; /* 0 or -errno: what the writer is told */
	uint64_t begun_ns;
};
_Static_assert(sizeof(struct write_req) <= BUFFER_STATE_BYTES, "lives in its buffer");

/* How its bytes are to be sampled has been chosen. */
void write_record_source(const struct write_req *w);

/* It was answered early, and has failed: @err. */
void write_record_loss(const struct write_req *w, int err);

/* It is over, or in the array's log, and about to be answered: counters, the table of processes, an
 * event where the bytes changed in flight. */
void write_record(const struct write_req *w);

#endif
