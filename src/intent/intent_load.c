/* SPDX-License-Identifier: MIT */
/* Making the log: format it on a member, and load it as the union of what the members say. */
#include "intent/internal.h"

#include <errno.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"

static void intent_freep(struct intent_log **log)
{
	intent_free(*log);
}

/* The image of a log in which the regions of @set are marked. */
static void image_encode(const struct super *super, const uint64_t *set, uint8_t *image)
{
	intent_disk_header_encode(super, image);
	for (uint32_t s = 0; s < intent_disk_sectors(super_regions(super)); s++)
		intent_disk_sector_encode(super, s, set + s * INTENT_SECTOR_WORDS,
			image + intent_disk_sector_offset(s));
}

int intent_format(struct member *m)
{
	const struct super *super = member_super(m);
	uint64_t regions = super_regions(super);
	uint32_t image_bytes = intent_disk_image_bytes(regions);
	cleanup(cleanup_freep) uint8_t *image = mem_alloc_blocks(image_bytes);
	cleanup(cleanup_freep) uint64_t *none =
		calloc(intent_disk_sectors(regions), INTENT_SECTOR_WORDS * sizeof(*none));
	if (!image || !none)
		return -ENOMEM;
	image_encode(super, none, image);
	int err = io_sync_write(member_file(m), super->intent.offset_bytes, image, image_bytes);
	return err < 0 ? err : io_sync_flush(member_file(m));
}

static int log_new(struct io_engine *io, const struct super *super, struct intent_log **out)
{
	cleanup(intent_freep) struct intent_log *log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->io = io;
	log->super = *super;
	log->regions = super_regions(super);
	log->sectors = intent_disk_sectors(log->regions);
	log->words = log->sectors * INTENT_SECTOR_WORDS;
	log->image_bytes = intent_disk_image_bytes(log->regions);
	list_init(&log->ended);
	list_init(&log->round_waits);
	list_init(&log->next_waits);
	log->wanted = calloc(log->words, sizeof(uint64_t));
	log->found = calloc(log->words, sizeof(uint64_t));
	log->sent = calloc(log->words, sizeof(uint64_t));
	log->durable = calloc(log->words, sizeof(uint64_t));
	log->region = calloc(log->regions, sizeof(*log->region));
	log->image = mem_alloc_blocks(log->image_bytes);
	if (!log->wanted || !log->found || !log->sent || !log->durable || !log->region ||
		!log->image)
		return -ENOMEM;
	for (uint64_t r = 0; r < log->regions; r++)
		list_node_init(&log->region[r].node);
	*out = take_ptr(&log);
	return 0;
}

void intent_free(struct intent_log *log)
{
	if (!log)
		return;
	free(log->wanted);
	free(log->found);
	free(log->sent);
	free(log->durable);
	free(log->region);
	free(log->image);
	free(log);
}

/* Load's view of all members. */
struct load {
	struct intent_log *log;
	uint8_t *areas;     /* owned; one image for each member, as read */
	bool *sector_known; /* owned; some member's copy is good */
};

static void load_fini(struct load *load)
{
	free(load->areas);
	free(load->sector_known);
}

static uint8_t *load_area(const struct load *load, unsigned member)
{
	return load->areas + (size_t)member * load->log->image_bytes;
}

/* Add what one sector of one member says to the union, and take from durable what it lacks. */
static bool sector_merge(struct load *load, unsigned member, uint32_t s, bool header_good)
{
	struct intent_log *log = load->log;
	uint64_t words[INTENT_SECTOR_WORDS] = {0};
	const uint8_t *in = load_area(load, member) + intent_disk_sector_offset(s);
	bool good = header_good && intent_disk_sector_decode(&log->super, s, in, words);
	for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++) {
		log->wanted[s * INTENT_SECTOR_WORDS + i] |= words[i];
		log->durable[s * INTENT_SECTOR_WORDS + i] &= words[i];
	}
	load->sector_known[s] = load->sector_known[s] || good;
	return good;
}

static void member_merge(struct load *load, unsigned member)
{
	struct intent_log *log = load->log;
	struct member *m = log->members[member].member;
	uint8_t *area = load_area(load, member);
	int err = io_sync_read(
		member_file(m), member_super(m)->intent.offset_bytes, area, log->image_bytes);
	bool good = err == 0 && intent_disk_header_good(&log->super, area);
	uint32_t damaged = 0;
	for (uint32_t s = 0; s < log->sectors; s++)
		damaged += !sector_merge(load, member, s, good);
	if (damaged)
		log_warn("%s: the write-intent log is damaged (%u of %u sectors%s%s)",
			member_path(m), damaged, log->sectors, err < 0 ? ", " : "",
			err < 0 ? strerror(-err) : "");
}

/* Bits behind the last region mean nothing, whatever a member says. */
static void set_clip(const struct intent_log *log, uint64_t *set)
{
	uint64_t last = log->regions / 64;
	if (last >= log->words)
		return;
	set[last] &= (UINT64_C(1) << (log->regions % 64)) - 1;
	for (uint64_t i = last + 1; i < log->words; i++)
		set[i] = 0;
}

/* All members are in: what nobody knows counts as marked, and whoever differs gets all anew. */
static void load_conclude(struct load *load)
{
	struct intent_log *log = load->log;
	for (uint32_t s = 0; s < log->sectors; s++)
		if (!load->sector_known[s])
			memset(log->wanted + s * INTENT_SECTOR_WORDS, 0xff,
				INTENT_SECTOR_WORDS * sizeof(uint64_t));
	set_clip(log, log->wanted);
	set_clip(log, log->durable);
	memcpy(log->found, log->wanted, log->words * sizeof(uint64_t));
	memcpy(log->sent, log->wanted, log->words * sizeof(uint64_t));
	image_encode(&log->super, log->sent, log->image);
	for (unsigned i = 0; i < log->members_count; i++) {
		struct intent_member *im = &log->members[i];
		im->stale =
			im->member && memcmp(load_area(load, i), log->image, log->image_bytes) != 0;
	}
}

static struct member *first_present(struct member *const *members, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (members[i])
			return members[i];
	return NULL;
}

int intent_load(struct io_engine *io, struct member *const *members, unsigned count,
	struct intent_log **out, struct errmsg *why)
{
	struct member *first = first_present(members, count);
	if (!first || count > INTENT_MAX_MEMBERS)
		return errmsg_set(why, -EINVAL, "no member to load the write-intent log from");
	cleanup(intent_freep) struct intent_log *log = NULL;
	int err = log_new(io, member_super(first), &log);
	if (err < 0)
		return errmsg_set(why, err, "no memory for the write-intent log");
	cleanup(load_fini) struct load load = {.log = log,
		.areas = mem_alloc_blocks((size_t)count * log->image_bytes),
		.sector_known = calloc(log->sectors, sizeof(bool))};
	if (!load.areas || !load.sector_known)
		return errmsg_set(why, -ENOMEM, "no memory for the write-intent log");
	log->members_count = count;
	memset(log->durable, 0xff, log->words * sizeof(uint64_t));
	for (unsigned i = 0; i < count; i++) {
		log->members[i] = (struct intent_member){.log = log, .member = members[i]};
		if (members[i])
			member_merge(&load, i);
	}
	load_conclude(&load);
	*out = take_ptr(&log);
	return 0;
}
