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

/* The image of a log in which the regions of @marks are marked, and those of @stale stale. */
static void image_encode(
	const struct super *super, const uint64_t *marks, const uint64_t *stale, uint8_t *image)
{
	const uint64_t *const sets[INTENT_MAPS] = {[INTENT_MARKS] = marks, [INTENT_STALE] = stale};
	uint32_t sectors = intent_disk_sectors(super_regions(super));
	intent_disk_header_encode(super, image);
	for (enum intent_map_kind map = 0; map < INTENT_MAPS; map++)
		for (uint32_t s = 0; s < sectors; s++) {
			uint32_t number = intent_disk_sector_number(map, s, sectors);
			intent_disk_sector_encode(super, number,
				sets[map] + s * INTENT_SECTOR_WORDS,
				image + intent_disk_sector_offset(number));
		}
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
	image_encode(super, none, none, image);
	int err = io_sync_write(member_file(m), super->intent.offset_bytes, image, image_bytes);
	return err < 0 ? err : io_sync_flush(member_file(m));
}

static bool map_init(struct intent_map *map, uint32_t words)
{
	map->wanted = calloc(words, sizeof(uint64_t));
	map->sent = calloc(words, sizeof(uint64_t));
	map->durable = calloc(words, sizeof(uint64_t));
	return map->wanted && map->sent && map->durable;
}

static void map_fini(struct intent_map *map)
{
	free(map->wanted);
	free(map->sent);
	free(map->durable);
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
	list_init(&log->round_syncs);
	list_init(&log->next_syncs);
	bool marks = map_init(&log->marks, log->words), stale = map_init(&log->stale, log->words);
	log->found = calloc(log->words, sizeof(uint64_t));
	log->region = calloc(log->regions, sizeof(*log->region));
	log->image = mem_alloc_blocks(log->image_bytes);
	if (!marks || !stale || !log->found || !log->region || !log->image)
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
	map_fini(&log->marks);
	map_fini(&log->stale);
	free(log->found);
	free(log->region);
	free(log->image);
	free(log);
}

/* Load's view of all members. */
struct load {
	struct intent_log *log;
	uint8_t *areas; /* owned; one image for each member, as read */
	bool *known;    /* owned; by number of the sector: some member's copy is good */
	bool degraded;  /* a superblock says that some member is not up to date */
};

static void load_fini(struct load *load)
{
	free(load->areas);
	free(load->known);
}

static uint8_t *load_area(const struct load *load, unsigned member)
{
	return load->areas + (size_t)member * load->log->image_bytes;
}

static struct intent_map *log_map(struct intent_log *log, enum intent_map_kind kind)
{
	return kind == INTENT_MARKS ? &log->marks : &log->stale;
}

/* Add what one sector of one member says to the union, and take from durable what it lacks. */
static bool sector_merge(struct load *load, const uint8_t *area, enum intent_map_kind kind,
	uint32_t s, bool header_good)
{
	struct intent_log *log = load->log;
	struct intent_map *map = log_map(log, kind);
	uint64_t words[INTENT_SECTOR_WORDS] = {0};
	uint32_t number = intent_disk_sector_number(kind, s, log->sectors);
	const uint8_t *in = area + intent_disk_sector_offset(number);
	bool good = header_good && intent_disk_sector_decode(&log->super, number, in, words);
	for (unsigned i = 0; i < INTENT_SECTOR_WORDS; i++) {
		map->wanted[s * INTENT_SECTOR_WORDS + i] |= words[i];
		map->durable[s * INTENT_SECTOR_WORDS + i] &= words[i];
	}
	load->known[number] = load->known[number] || good;
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
	for (enum intent_map_kind map = 0; map < INTENT_MAPS; map++)
		for (uint32_t s = 0; s < log->sectors; s++)
			damaged += !sector_merge(load, area, map, s, good);
	load->degraded = load->degraded || member_super(m)->stale_since != 0;
	if (damaged)
		log_warn("%s: the write-intent log is damaged (%u of %u sectors%s%s)",
			member_path(m), damaged, INTENT_MAPS * log->sectors, err < 0 ? ", " : "",
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

/* What no member knows of a map is all there. */
static void map_conclude(struct load *load, enum intent_map_kind kind)
{
	struct intent_log *log = load->log;
	struct intent_map *map = log_map(log, kind);
	for (uint32_t s = 0; s < log->sectors; s++)
		if (!load->known[intent_disk_sector_number(kind, s, log->sectors)])
			memset(map->wanted + s * INTENT_SECTOR_WORDS, 0xff,
				INTENT_SECTOR_WORDS * sizeof(uint64_t));
	set_clip(log, map->wanted);
	set_clip(log, map->durable);
}

/* Without a member that is out of date nothing is stale, whatever the map still says. With one, the
 * crash may have come between its loss and the first stale region, or a write may have been under
 * way in a region that was about to become current: so every mark found is stale too. */
static void stale_conclude(struct load *load)
{
	struct intent_log *log = load->log;
	map_conclude(load, INTENT_STALE);
	for (uint32_t i = 0; i < log->words; i++) {
		log->stale.wanted[i] |= log->marks.wanted[i];
		if (!load->degraded)
			log->stale.wanted[i] = log->stale.durable[i] = 0;
	}
}

/* All members are in; whoever differs from the union gets all anew. */
static void load_conclude(struct load *load)
{
	struct intent_log *log = load->log;
	map_conclude(load, INTENT_MARKS);
	stale_conclude(load);
	memcpy(log->found, log->marks.wanted, log->words * sizeof(uint64_t));
	memcpy(log->marks.sent, log->marks.wanted, log->words * sizeof(uint64_t));
	memcpy(log->stale.sent, log->stale.wanted, log->words * sizeof(uint64_t));
	image_encode(&log->super, log->marks.sent, log->stale.sent, log->image);
	for (unsigned i = 0; i < log->members_count; i++) {
		struct intent_member *im = &log->members[i];
		im->outdated =
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
		.known = calloc((size_t)INTENT_MAPS * log->sectors, sizeof(bool))};
	if (!load.areas || !load.known)
		return errmsg_set(why, -ENOMEM, "no memory for the write-intent log");
	log->members_count = count;
	memset(log->marks.durable, 0xff, log->words * sizeof(uint64_t));
	memset(log->stale.durable, 0xff, log->words * sizeof(uint64_t));
	for (unsigned i = 0; i < count; i++) {
		log->members[i] = (struct intent_member){.log = log, .member = members[i]};
		if (members[i])
			member_merge(&load, i);
	}
	load_conclude(&load);
	*out = take_ptr(&log);
	return 0;
}
