/* SPDX-License-Identifier: MIT */
/* The rig: a stripe engine over simulated disks. */
#include "rig.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "io/uring.h"

#define RIG_REGION_BLOCKS UINT64_C(16)
#define RIG_SYSTEM_BYTES  65536u
#define RIG_MAX_TURNS     1000000u

const char *rig_disk(unsigned member)
{
	static const char *const names[RAID_MAX_MEMBERS] = {"d0", "d1", "d2", "d3", "d4", "d5",
		"d6", "d7", "d8", "d9", "d10", "d11", "d12", "d13", "d14", "d15"};
	return names[member];
}

/* ---- opening and closing ---- */

/* Valid until the next call. */
static const char *member_file_path(const struct rig *rig, unsigned index)
{
	static char path[256];
	if (!rig->config.dir)
		return rig_disk(index);
	snprintf(path, sizeof(path), "%s/%s", rig->config.dir, rig_disk(index));
	return path;
}

static void engine_make(struct rig *rig)
{
	struct errmsg why = {0};
	int err = rig->world ? sim_engine_new(rig->world, &rig->io)
			     : uring_engine_new(64, &rig->io, &why);
	if (err < 0)
		fail_msg("no engine: %s", why.text);
}

static void event_seen(struct event_sink *sink, const struct event *event)
{
	struct rig *rig = container_of(sink, struct rig, sink);
	if (rig->event_count < RIG_MAX_EVENTS)
		rig->events[rig->event_count++] = *event;
}

static struct super rig_super(const struct rig_config *c)
{
	struct super super = {.created_ns = 1000,
		.generation = 1,
		.label = "rig",
		.level = c->level,
		.members = c->members,
		.chunk_blocks = c->chunk_blocks,
		.pi = c->pi,
		.pi_check = c->pi_check};
	memset(super.volume_uuid, 0xa5, sizeof(super.volume_uuid));
	for (unsigned i = 0; i < c->members; i++)
		super.states[i] = SUPER_MEMBER_ACTIVE;
	struct errmsg why = {0};
	if (super_layout(&super, c->stripes, RIG_SYSTEM_BYTES, &why) < 0)
		fail_msg("layout: %s", why.text);
	super.region_blocks = max_u64(RIG_REGION_BLOCKS, c->chunk_blocks);
	return super;
}

void rig_member_create(struct rig *rig, unsigned index)
{
	struct member_probe probe = {.super = rig_super(&rig->config)};
	probe.super.index = index;
	memset(probe.super.member_uuid, (int)index + 1, sizeof(probe.super.member_uuid));
	struct member *m;
	assert_int_equal(io_open(rig->io, member_file_path(rig, index), IO_OPEN_CREATE,
				 probe.super.member_bytes, &probe.file, NULL),
		0);
	assert_int_equal(member_open(rig->io, member_file_path(rig, index), &probe, &m), 0);
	assert_int_equal(member_super_write(m), 0);
	assert_int_equal(intent_format(m), 0);
	if (rig->config.journal)
		assert_int_equal(journal_format(m), 0);
	member_free(m);
}

/* Opened even where it counts as missing: the tests look at it all the same. */
void rig_member_reopen(struct rig *rig, unsigned index)
{
	struct errmsg why = {0};
	struct member_probe probe;
	if (member_probe(rig->io, member_file_path(rig, index), 0, &probe, &why) < 0)
		fail_msg("%s", why.text);
	assert_int_equal(
		member_open(rig->io, member_file_path(rig, index), &probe, &rig->members[index]),
		0);
}

static struct journal *journal_open(struct rig *rig, struct member *const *members)
{
	struct errmsg why = {0};
	if (!rig->config.journal)
		return NULL;
	if (journal_load(
		    rig->io, members, rig->config.members, rig->clean_end, &rig->journal, &why) < 0)
		fail_msg("%s", why.text);
	if (rig->clean_end)
		assert_int_equal(journal_begin(rig->journal, 1), 0);
	else
		(void)journal_resume(rig->journal); /* the power may go meanwhile */
	return rig->journal;
}

static void open_all(struct rig *rig)
{
	struct errmsg why = {0};
	struct stripe_config config = {.io = rig->io,
		.geometry = rig->geometry,
		.pi = rig->config.pi,
		.events = &rig->sink,
		.cache_bytes = rig->config.cache_bytes,
		.arena_bytes =
			rig->config.arena_bytes ? rig->config.arena_bytes : UINT64_C(4) << 20};
	for (unsigned i = 0; i < rig->config.members; i++)
		rig_member_reopen(rig, i);
	rig_members_load(rig, &config);
	for (unsigned i = 0; i < rig->config.members; i++)
		config.members[i] = rig->missing >> i & 1 ? NULL : rig->members[i];
	assert_int_equal(
		intent_load(rig->io, config.members, rig->config.members, &rig->intent, &why), 0);
	if (rig->no_resync)
		assert_int_equal(intent_clear_all(rig->intent), 0);
	config.intent = rig->intent;
	config.journal = journal_open(rig, config.members);
	assert_int_equal(stripe_engine_new(&config, &rig->eng), 0);
	rig_members_start(rig);
}

static void close_all(struct rig *rig)
{
	rig_settle(rig);
	stripe_engine_free(rig->eng);
	intent_free(rig->intent);
	journal_free(rig->journal);
	rig->journal = NULL;
	for (unsigned i = 0; i < rig->config.members; i++)
		member_free(rig->members[i]);
	io_engine_free(rig->io);
}

/* All that needs no disk. @world: taken; NULL: io_uring. */
static struct rig *rig_make(const struct rig_config *config, struct sim_world *world)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	rig->config = *config;
	rig->geometry = (struct geometry){.level = config->level,
		.members = config->members,
		.chunk_blocks = config->chunk_blocks,
		.stripes = config->stripes};
	assert_int_equal(geometry_check(&rig->geometry, NULL), 0);
	rig->volume_bytes = geometry_volume_blocks(&rig->geometry) * BLOCK_BYTES;
	rig->sink.emit = event_seen;
	rig->random = (struct random){config->seed};
	rig->world = world;
	engine_make(rig);
	return rig;
}

struct rig *rig_new(const struct rig_config *config)
{
	struct rig *rig = rig_make(config, config->dir ? NULL : sim_world_new(config->seed));
	for (unsigned i = 0; i < config->members; i++)
		rig_member_create(rig, i);
	rig->clean_end = true;
	open_all(rig);
	return rig;
}

struct rig *rig_adopt(const struct rig_config *config, struct sim_world *world, uint32_t missing)
{
	struct rig *rig = rig_make(config, world);
	rig->missing = missing;
	open_all(rig);
	return rig;
}

void rig_free(struct rig *rig)
{
	if (!rig)
		return;
	close_all(rig);
	sim_world_free(rig->world);
	for (unsigned i = 0; rig->config.dir && i < rig->config.members; i++)
		unlink(member_file_path(rig, i));
	free(rig);
}

void rig_reopen(struct rig *rig)
{
	rig_settle(rig);
	rig->clean_end = !rig->world || !sim_world_power_is_cut(rig->world);
	if (rig->clean_end)
		assert_int_equal(intent_clear_all(rig->intent), 0);
	close_all(rig);
	engine_make(rig);
	open_all(rig);
}

void rig_power_cut_after(struct rig *rig, uint64_t n)
{
	sim_world_cut_power_after(rig->world, n);
}

/* As a volume does, in the background. Ends early when the power is cut. */
static void resync(struct rig *rig)
{
	for (uint64_t stripe = stripe_engine_next_open(rig->eng, -1, 0);
		stripe < rig->config.stripes;
		stripe = stripe_engine_next_open(rig->eng, -1, stripe + 1)) {
		struct stripe_check check;
		int err = rig_check(rig, STRIPE_RESYNC, stripe, &check);
		if (sim_world_power_is_cut(rig->world))
			return;
		assert_int_equal(err, 0);
	}
}

static void begin_again(struct rig *rig, uint64_t n, void (*world_again)(struct sim_world *world))
{
	rig->clean_end = false;
	close_all(rig);
	world_again(rig->world);
	engine_make(rig);
	open_all(rig);
	rig_power_cut_after(rig, n);
	if (rig->on_demand)
		return;
	resync(rig);
	if (!sim_world_power_is_cut(rig->world))
		rig_flush(rig);
}

void rig_reboot_cut(struct rig *rig, uint64_t n)
{
	begin_again(rig, n, sim_world_reboot);
}

void rig_restart_cut(struct rig *rig, uint64_t n)
{
	begin_again(rig, n, sim_world_restart);
}

void rig_reboot(struct rig *rig)
{
	rig_reboot_cut(rig, UINT64_MAX / 2);
}

void rig_remove_member(struct rig *rig, unsigned index)
{
	rig_settle(rig);
	rig->missing |= 1u << index;
	stripe_engine_set_member(rig->eng, index, NULL, false, NULL);
	intent_set_member(rig->intent, index, NULL);
	if (rig->journal)
		journal_set_member(rig->journal, index, NULL);
	rig_settle(rig);
}

int rig_run(struct rig *rig, bool wait)
{
	int ran = stripe_engine_run(rig->eng, wait && !rig->due);
	if (rig->due)
		rig_members_run(rig);
	return ran;
}

static bool logs_are_busy(const struct rig *rig)
{
	return intent_busy(rig->intent) || (rig->journal && journal_busy(rig->journal));
}

static void turn(struct rig *rig, unsigned n)
{
	assert_true(rig_run(rig, true) >= 0);
	assert_true(n < RIG_MAX_TURNS); /* it never ends */
}

void rig_settle(struct rig *rig)
{
	for (unsigned n = 0; !stripe_engine_idle(rig->eng) || logs_are_busy(rig) || rig->failing;
		n++)
		turn(rig, n);
}

/* ---- requests ---- */

static void io_done(struct stripe_req *req, int err)
{
	struct rig_io *io = container_of(req, struct rig_io, req);
	assert_false(io->ended);
	io->ended = true;
	io->err = err;
}

struct rig_io *rig_io_new(struct rig *rig, enum stripe_kind kind, uint64_t offset_bytes,
	uint32_t len_bytes, const void *data)
{
	struct rig_io *io = calloc(1, sizeof(*io));
	assert_non_null(io);
	io->rig = rig;
	io->data = mem_alloc_blocks(len_bytes);
	assert_non_null(io->data);
	if (data)
		memcpy(io->data, data, len_bytes);
	io->req = (struct stripe_req){.kind = kind,
		.offset_bytes = offset_bytes,
		.len_bytes = len_bytes,
		.done = io_done};
	if (kind == STRIPE_WRITE) {
		source_init_bounce(&io->bounce, io->data, len_bytes);
		io->req.source = &io->bounce;
	} else {
		memset(io->data, 0xdb, len_bytes);
		io->req.data = io->data;
	}
	return io;
}

void rig_io_start(struct rig_io *io)
{
	stripe_submit(io->rig->eng, &io->req);
}

int rig_io_wait(struct rig_io *io)
{
	for (unsigned n = 0; !io->ended; n++)
		turn(io->rig, n);
	return io->err;
}

void rig_io_free(struct rig_io *io)
{
	free(io->data);
	free(io);
}

static int io_run_to_end(struct rig_io *io)
{
	rig_io_start(io);
	return rig_io_wait(io);
}

int rig_write(struct rig *rig, uint64_t offset_bytes, const void *data, uint32_t len_bytes)
{
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, offset_bytes, len_bytes, data);
	int err = io_run_to_end(io);
	rig_io_free(io);
	return err;
}

int rig_write_from(struct rig *rig, uint64_t offset_bytes, struct source *source)
{
	struct rig_io *io = rig_io_new(rig, STRIPE_WRITE, offset_bytes, source->len_bytes, NULL);
	io->req.source = source;
	int err = io_run_to_end(io);
	rig_io_free(io);
	return err;
}

int rig_read(struct rig *rig, uint64_t offset_bytes, void *data, uint32_t len_bytes)
{
	struct rig_io *io = rig_io_new(rig, STRIPE_READ, offset_bytes, len_bytes, NULL);
	int err = io_run_to_end(io);
	memcpy(data, io->data, len_bytes);
	rig_io_free(io);
	return err;
}

struct flush_wait {
	struct stripe_flush flush;
	bool ended;
	int err;
};

static void flush_done(struct stripe_flush *flush, int err)
{
	struct flush_wait *w = container_of(flush, struct flush_wait, flush);
	w->ended = true;
	w->err = err;
}

int rig_flush(struct rig *rig)
{
	struct flush_wait w = {.flush.done = flush_done};
	stripe_flush(rig->eng, &w.flush);
	for (unsigned n = 0; !w.ended; n++)
		turn(rig, n);
	return w.err;
}

void rig_fill_block(void *data, uint64_t volume_block, unsigned tag)
{
	uint8_t *p = data;
	for (unsigned i = 0; i < BLOCK_BYTES; i += 16) {
		uint64_t words[2] = {volume_block + 1, (uint64_t)tag << 32 | i};
		memcpy(p + i, words, sizeof(words));
	}
}

int rig_write_block(struct rig *rig, uint64_t volume_block, unsigned tag)
{
	uint8_t block[BLOCK_BYTES];
	rig_fill_block(block, volume_block, tag);
	return rig_write(rig, volume_block * BLOCK_BYTES, block, BLOCK_BYTES);
}

bool rig_reads(struct rig *rig, uint64_t volume_block, unsigned tag)
{
	uint8_t wanted[BLOCK_BYTES], got[BLOCK_BYTES];
	rig_fill_block(wanted, volume_block, tag);
	return rig_read(rig, volume_block * BLOCK_BYTES, got, BLOCK_BYTES) == 0 &&
	       memcmp(wanted, got, BLOCK_BYTES) == 0;
}

static void time_passed(struct io_req *alarm, int err)
{
	(void)err;
	alarm->done = NULL;
}

void rig_pass_time(struct rig *rig)
{
	struct io_req alarm = {.kind = IO_ALARM,
		.due_ns = io_now_ns(rig->io) + UINT64_C(2000000000),
		.done = time_passed};
	io_submit(rig->io, &alarm);
	for (unsigned n = 0; alarm.done; n++)
		turn(rig, n);
	(void)rig_flush(rig);
	rig_settle(rig);
}

/* ---- whole stripes ---- */

struct check_wait {
	struct stripe_check check;
	bool ended;
	int err;
};

static void check_done(struct stripe_check *check, int err)
{
	struct check_wait *w = container_of(check, struct check_wait, check);
	w->ended = true;
	w->err = err;
}

int rig_check_run(struct rig *rig, struct stripe_check *check)
{
	struct check_wait w = {.check = *check};
	w.check.done = check_done;
	stripe_check(rig->eng, &w.check);
	for (unsigned n = 0; !w.ended; n++)
		turn(rig, n);
	*check = w.check;
	return w.err;
}

int rig_check(
	struct rig *rig, enum stripe_check_mode mode, uint64_t stripe, struct stripe_check *out)
{
	*out = (struct stripe_check){.mode = mode, .stripe = stripe};
	return rig_check_run(rig, out);
}

struct rig_scrub rig_scrub(struct rig *rig, enum stripe_check_mode mode)
{
	struct rig_scrub sum = {0};
	for (uint64_t stripe = 0; stripe < rig->config.stripes; stripe++) {
		struct stripe_check c;
		int err = rig_check(rig, mode, stripe, &c);
		sum.err = sum.err ? sum.err : err;
		sum.mirror_bad += rows_count(&c.mirror_bad);
		sum.parity_bad += rows_count(&c.parity_bad);
		for (unsigned slot = 0; slot < rig->config.members; slot++) {
			sum.guard_bad += rows_count(&c.guard_bad[slot]);
			sum.unreadable += rows_count(&c.unreadable[slot]);
			sum.rebuilt += rows_count(&c.rebuilt[slot]);
			sum.lost += rows_count(&c.lost[slot]);
		}
	}
	return sum;
}

bool rig_is_clean(struct rig *rig)
{
	struct rig_scrub s = rig_scrub(rig, STRIPE_CHECK);
	return !s.err && !s.guard_bad && !s.unreadable && !s.mirror_bad && !s.parity_bad;
}

/* ---- the media ---- */

static uint64_t data_offset(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row)
{
	unsigned index = geometry_member(&rig->geometry, stripe, slot);
	return member_super(rig->members[index])->data.offset_bytes +
	       geometry_member_block(&rig->geometry, stripe, row) * BLOCK_BYTES;
}

void rig_peek(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row, void *block)
{
	unsigned index = geometry_member(&rig->geometry, stripe, slot);
	assert_int_equal(sim_disk_peek(rig->world, rig_disk(index),
				 data_offset(rig, stripe, slot, row), block, BLOCK_BYTES),
		0);
}

static void rot(struct rig *rig, unsigned index, uint64_t offset_bytes)
{
	uint8_t byte;
	const char *disk = rig_disk(index);
	assert_int_equal(sim_disk_peek(rig->world, disk, offset_bytes, &byte, 1), 0);
	byte ^= 0x41;
	assert_int_equal(sim_disk_poke(rig->world, disk, offset_bytes, &byte, 1), 0);
}

void rig_rot_data(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row)
{
	rot(rig, geometry_member(&rig->geometry, stripe, slot),
		data_offset(rig, stripe, slot, row) + 1234);
}

void rig_rot_tuple(struct rig *rig, uint64_t stripe, unsigned slot, unsigned row)
{
	unsigned index = geometry_member(&rig->geometry, stripe, slot);
	rot(rig, index,
		member_super(rig->members[index])->tuples.offset_bytes +
			geometry_member_block(&rig->geometry, stripe, row) *
				pi_tuple_bytes(rig->config.pi));
}

void rig_arm(struct rig *rig, enum sim_fault_kind kind, uint64_t stripe, unsigned slot,
	unsigned row, unsigned rows, unsigned count)
{
	struct sim_fault fault = {.kind = kind,
		.name = rig_disk(geometry_member(&rig->geometry, stripe, slot)),
		.offset_bytes = data_offset(rig, stripe, slot, row),
		.len_bytes = (uint64_t)rows * BLOCK_BYTES,
		.count = count,
		.per_mille = 1000};
	assert_int_equal(sim_world_arm(rig->world, &fault), 0);
}

unsigned rig_events(const struct rig *rig, enum event_kind kind)
{
	unsigned n = 0;
	for (unsigned i = 0; i < rig->event_count; i++)
		n += rig->events[i].kind == kind;
	return n;
}

const struct event *rig_event(const struct rig *rig, enum event_kind kind)
{
	for (unsigned i = 0; i < rig->event_count; i++)
		if (rig->events[i].kind == kind)
			return &rig->events[i];
	fail_msg("there was no event of kind %d", kind);
	return NULL;
}

void rig_events_forget(struct rig *rig)
{
	rig->event_count = 0;
}
