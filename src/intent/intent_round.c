/* SPDX-License-Identifier: MIT */
/* A round: what has changed in the two maps goes to every member, each of which is then flushed.
 *
 *	intent_round_start -> (each member) log_written -> log_flushed -> member_ended
 *		-> the last: round_end -> waiters, next round
 *
 * One round at a time; marks wanted meanwhile wait for the next, so that many writers share one
 * write and one flush. Invariants: I1 sent and image do not change during a round. I2 a region
 * leaves durable before a round that takes it away writes anything, and enters it only after the
 * flushes. I3 a mark is taken away only by a round that begins when the region, where it must be
 * stale, is so durably: the write may be torn between the two, and together they say what a member
 * that is out of date has missed. */
#include "intent/internal.h"

#include <errno.h>
#include <string.h>

/* Sector @s of a map is to say @words: put it into the image where it does not, and have its block
 * written. */
static void sector_update(
	struct intent_log *log, enum intent_map_kind kind, uint32_t s, const uint64_t *words)
{
	struct intent_map *map = kind == INTENT_MARKS ? &log->marks : &log->stale;
	uint64_t *sent = map->sent + s * INTENT_SECTOR_WORDS;
	uint64_t *durable = map->durable + s * INTENT_SECTOR_WORDS;
	for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++)
		durable[i] &= words[i];
	if (memcmp(words, sent, INTENT_SECTOR_WORDS * sizeof(*words)) == 0)
		return;
	memcpy(sent, words, INTENT_SECTOR_WORDS * sizeof(*words));
	uint32_t number = intent_disk_sector_number(kind, s, log->sectors);
	uint32_t at = intent_disk_sector_offset(number);
	intent_disk_sector_encode(&log->super, number, words, log->image + at);
	uint32_t block = (uint32_t)round_down_u64(at, BLOCK_BYTES);
	log->from_bytes = (uint32_t)min_u64(log->from_bytes, block);
	log->to_bytes = block + BLOCK_BYTES;
}

/* Sectors in the order of their numbers: to_bytes only grows. */
static void image_update(struct intent_log *log, bool unmark)
{
	uint64_t words[INTENT_SECTOR_WORDS];
	log->from_bytes = log->image_bytes;
	log->to_bytes = 0;
	for (uint32_t s = 0; s < log->sectors; s++) {
		for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++) {
			uint32_t w = s * INTENT_SECTOR_WORDS + i;
			uint64_t unsafe = log->stale.wanted[w] & ~log->stale.durable[w]; /* I3 */
			words[i] = log->marks.wanted[w] |
				   (log->marks.durable[w] & (unmark ? unsafe : UINT64_MAX));
		}
		sector_update(log, INTENT_MARKS, s, words);
	}
	for (uint32_t s = 0; s < log->sectors; s++)
		sector_update(log, INTENT_STALE, s, log->stale.wanted + s * INTENT_SECTOR_WORDS);
}

/* What the round has written is on the members: those that waited for it go on, but for writers
 * whose region has come to be stale meanwhile. */
static void round_waits_end(struct intent_log *log, int err, struct list *ended)
{
	struct list waits;
	list_init(&waits);
	list_splice_back(&waits, &log->round_waits);
	struct list_node *node;
	while ((node = list_pop_front(&waits))) {
		struct intent_wait *wait = container_of(node, struct intent_wait, node);
		bool ready = err < 0 || region_is_ready(log, wait->region);
		list_push_back(ready ? ended : &log->next_waits, node);
	}
}

static bool round_is_wanted(const struct intent_log *log)
{
	for (unsigned i = 0; i < log->members_count; i++)
		if (log->members[i].fresh)
			return true;
	return log->again || !list_empty(&log->next_waits) || !list_empty(&log->next_syncs);
}

/* The log is durable where one member took it: the union counts after a crash. What a member that
 * failed holds is unknown. */
static void round_end(struct intent_log *log)
{
	struct list waits, syncs;
	list_init(&waits);
	list_init(&syncs);
	log->writing = false;
	int err = log->taken ? 0 : log->round_err < 0 ? log->round_err : -EIO;
	if (err == 0) {
		memcpy(log->marks.durable, log->marks.sent, log->words * sizeof(uint64_t));
		memcpy(log->stale.durable, log->stale.sent, log->words * sizeof(uint64_t));
	}
	round_waits_end(log, err, &waits);
	list_splice_back(&syncs, &log->round_syncs);
	if (round_is_wanted(log))
		intent_round_start(log, false);
	struct list_node *node;
	while ((node = list_pop_front(&waits))) {
		struct intent_wait *wait = container_of(node, struct intent_wait, node);
		wait->marked(wait, err);
	}
	while ((node = list_pop_front(&syncs))) {
		struct intent_sync *sync = container_of(node, struct intent_sync, node);
		sync->done(sync, err);
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
		im->failed = im->failed || (err < 0 && err != -ESHUTDOWN); /* no fault of its own */
		im->outdated = im->fresh || err < 0;
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
	uint32_t from = im->outdated ? 0 : log->from_bytes;
	uint32_t to = im->outdated ? log->image_bytes : log->to_bytes;
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
	counter_add(&log->counters.written_bytes, to - from);
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
	log->again = false;
	counter_add(&log->counters.rounds, 1);
	list_splice_back(&log->round_waits, &log->next_waits);
	list_splice_back(&log->round_syncs, &log->next_syncs);
	image_update(log, unmark);
	for (unsigned i = 0; i < log->members_count; i++) {
		struct intent_member *im = &log->members[i];
		if (!im->member)
			continue;
		if (im->outdated || log->from_bytes < log->to_bytes)
			member_write_log(im);
		else
			log->taken++; /* it holds the image already */
	}
	if (!log->pending)
		round_end_later(log);
}

void intent_round_want(struct intent_log *log)
{
	if (log->writing)
		log->again = true;
	else
		intent_round_start(log, false);
}
