/* SPDX-License-Identifier: MIT */
/* A round: what has changed in the log goes to every member, each of which is then flushed.
 *
 *	intent_round_start -> (each member) log_written -> log_flushed -> member_ended
 *		-> the last: round_end -> waiters, next round
 *
 * One round at a time; marks wanted meanwhile wait for the next, so that many writers share one
 * write and one flush. Invariants: I1 sent and image do not change during a round. I2 a region
 * leaves durable before a round that unmarks it writes anything, and enters it only after the
 * flushes. */
#include "intent/internal.h"

#include <errno.h>
#include <string.h>

/* Put the sectors that differ from what was sent into the image; remember their blocks. */
static void image_update(struct intent_log *log, bool unmark)
{
	uint64_t words[INTENT_SECTOR_WORDS];
	log->from_bytes = log->image_bytes;
	log->to_bytes = 0;
	for (uint32_t s = 0; s < log->sectors; s++) {
		uint64_t *sent = log->sent + s * INTENT_SECTOR_WORDS;
		uint64_t *durable = log->durable + s * INTENT_SECTOR_WORDS;
		const uint64_t *wanted = log->wanted + s * INTENT_SECTOR_WORDS;
		for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++) {
			words[i] = wanted[i] | (unmark ? 0 : durable[i]);
			durable[i] &= words[i];
		}
		if (memcmp(words, sent, sizeof(words)) == 0)
			continue;
		memcpy(sent, words, sizeof(words));
		uint32_t at = intent_disk_sector_offset(s);
		intent_disk_sector_encode(&log->super, s, words, log->image + at);
		uint32_t block = (uint32_t)round_down_u64(at, BLOCK_BYTES);
		log->from_bytes = (uint32_t)min_u64(log->from_bytes, block);
		log->to_bytes = block + BLOCK_BYTES;
	}
}

/* Marks are durable where one member took them: the union counts after a crash. What a member
 * that failed holds is unknown. */
static void round_end(struct intent_log *log)
{
	struct list waits;
	list_init(&waits);
	list_splice_back(&waits, &log->round_waits);
	log->writing = false;
	int err = log->taken ? 0 : log->round_err < 0 ? log->round_err : -EIO;
	if (err == 0)
		memcpy(log->durable, log->sent, log->words * sizeof(*log->sent));
	bool fresh = false;
	for (unsigned i = 0; i < log->members_count; i++)
		fresh = fresh || log->members[i].fresh;
	if (fresh || !list_empty(&log->next_waits))
		intent_round_start(log, false);
	struct list_node *node;
	while ((node = list_pop_front(&waits))) {
		struct intent_wait *wait = container_of(node, struct intent_wait, node);
		wait->marked(wait, err);
	}
}

static void round_part_ended(struct intent_log *log)
{
	if (--log->pending == 0)
		round_end(log);
}

static void member_ended(struct intent_member *im, int err)
{
	struct intent_log *log = im->log;
	bool still_there = im->member == im->written_to;
	im->written_to = NULL;
	if (still_there) {
		im->failed = im->failed || err < 0;
		im->stale = im->fresh || err < 0;
		log->taken += err == 0;
		if (err < 0 && !log->round_err)
			log->round_err = err;
	}
	round_part_ended(log);
}

static void log_flushed(struct io_req *io, int err)
{
	member_ended(container_of(io, struct intent_member, io), err);
}

static void log_written(struct io_req *io, int err)
{
	struct intent_member *im = container_of(io, struct intent_member, io);
	if (err < 0) {
		member_ended(im, err);
		return;
	}
	struct io_file *file = io->file;
	im->io = (struct io_req){.kind = IO_FLUSH, .file = file, .done = log_flushed};
	io_submit(im->log->io, &im->io);
}

static void member_write_log(struct intent_member *im)
{
	struct intent_log *log = im->log;
	uint32_t from = im->stale ? 0 : log->from_bytes;
	uint32_t to = im->stale ? log->image_bytes : log->to_bytes;
	im->fresh = false;
	im->written_to = im->member;
	im->iov = (struct iovec){log->image + from, to - from};
	im->io = (struct io_req){.kind = IO_WRITE,
		.file = member_file(im->member),
		.offset_bytes = member_super(im->member)->intent.offset_bytes + from,
		.iov = &im->iov,
		.iov_count = 1,
		.done = log_written};
	log->pending++;
	io_submit(log->io, &im->io);
}

static void nothing_to_write(struct io_req *io, int err)
{
	struct intent_log *log = container_of(io, struct intent_log, alarm);
	if (err < 0 && !log->round_err)
		log->round_err = err;
	round_part_ended(log);
}

/* Without a write to wait for, the round still ends in the engine's loop. */
static void round_end_later(struct intent_log *log)
{
	log->pending = 1;
	log->alarm = (struct io_req){
		.kind = IO_ALARM, .due_ns = io_now_ns(log->io), .done = nothing_to_write};
	io_submit(log->io, &log->alarm);
}

void intent_round_start(struct intent_log *log, bool unmark)
{
	log->writing = true;
	log->pending = log->taken = 0;
	log->round_err = 0;
	list_splice_back(&log->round_waits, &log->next_waits);
	image_update(log, unmark);
	for (unsigned i = 0; i < log->members_count; i++) {
		struct intent_member *im = &log->members[i];
		if (!im->member)
			continue;
		if (im->stale || log->from_bytes < log->to_bytes)
			member_write_log(im);
		else
			log->taken++; /* it holds the image already */
	}
	if (!log->pending)
		round_end_later(log);
}
