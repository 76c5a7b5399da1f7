/* SPDX-License-Identifier: MIT */
#include "volume_world.h"

#include <malloc.h>
#include <string.h>
#include "base/log.h"
#include "fuzz.h"
#include "intent/intent.h"
#include "io/sim_snapshot.h"
#include "journal/journal.h"
#include "volume/volume.h"

#define SEED         UINT64_C(0x5eed)
#define STRIPES      8u
#define CHUNK_BLOCKS 2u
#define AT_REST      1u /* versions of a block's content */
#define IN_FLIGHT    2u
#define REWRITTEN    3u

const struct vw_shape vw_shapes[] = {
	{"raid5-t10", RAID_RAID5, 3, PI_T10, SUPER_HOLE_JOURNAL},
	{"raid1-crc32c", RAID_RAID1, 2, PI_CRC32C, SUPER_HOLE_BITMAP},
	{"single-t10", RAID_SINGLE, 1, PI_T10, SUPER_HOLE_BITMAP},
	{"raid5-none", RAID_RAID5, 3, PI_NONE, SUPER_HOLE_BITMAP},
	{"raid6-t10", RAID_RAID6, 4, PI_T10, SUPER_HOLE_JOURNAL},
};
const unsigned vw_shape_count = sizeof(vw_shapes) / sizeof(*vw_shapes);

static void disk_name(char out[16], unsigned volume, unsigned member)
{
	snprintf(out, 16, "v%u-m%u", volume, member);
}

/* What block @block holds as of @version, never all zeros; 0: zeros. */
static void content(uint64_t block, unsigned version, uint8_t *out)
{
	memset(out, 0, BLOCK_BYTES);
	for (unsigned i = 0; version && i < BLOCK_BYTES; i += 16) {
		out[i] = (uint8_t)(block + 1);
		out[i + 1] = (uint8_t)version;
		out[i + 2] = (uint8_t)(i >> 4);
	}
}

/* Stripes that the power cut interrupted: what they hold is anybody's guess, block by block. */
static bool stripe_is_in_doubt(uint64_t stripe)
{
	return stripe == 3 || stripe == 5;
}

static bool block_is_at_rest(const struct vw_volume *vw, uint64_t block)
{
	return !stripe_is_in_doubt(geometry_locate(&vw->geometry, block).stripe);
}

/* The last stripe was never written. */
static unsigned version_at_rest(const struct vw_volume *vw, uint64_t block)
{
	return geometry_locate(&vw->geometry, block).stripe == STRIPES - 1 ? 0 : AT_REST;
}

/* ---- making a volume ---- */

static struct super super_make(const struct vw_shape *shape, unsigned volume)
{
	struct super super = {.created_ns = 1000 + volume,
		.generation = 2,
		.clean = true,
		.level = shape->level,
		.members = shape->members,
		.chunk_blocks = CHUNK_BLOCKS,
		.pi = shape->pi,
		.pi_check = shape->pi ? PI_CHECK_DEVICE : PI_CHECK_NONE,
		.write_hole = shape->write_hole,
		.label = "fuzz"};
	memset(super.volume_uuid, 0xa0 + (int)volume, 16);
	for (unsigned i = 0; i < shape->members; i++) {
		super.states[i] = SUPER_MEMBER_ACTIVE;
		memset(super.peers[i], 0x10 * ((int)volume + 1) + (int)i, 16);
	}
	fuzz_demand(super_layout(&super, STRIPES, 65536, NULL) == 0);
	super.region_blocks = CHUNK_BLOCKS; /* a region a stripe */
	return super;
}

static void member_make(struct io_engine *io, const char *name, const struct super *super)
{
	struct member_probe probe = {.super = *super};
	struct member *m;
	fuzz_demand(io_open(io, name, IO_OPEN_CREATE, super->member_bytes, &probe.file, NULL) == 0);
	fuzz_demand(member_open(io, name, &probe, &m) == 0);
	fuzz_demand(member_super_write(m) == 0);
	fuzz_demand(intent_format(m) == 0);
	fuzz_demand(journal_format(m) == 0);
	member_free(m);
}

static struct super volume_make(
	struct sim_world *world, const struct vw_shape *shape, unsigned volume)
{
	struct io_engine *io;
	struct super super = super_make(shape, volume);
	fuzz_demand(sim_engine_new(world, &io) == 0);
	for (unsigned i = 0; i < shape->members; i++) {
		char name[16];
		disk_name(name, volume, i);
		super.index = i;
		memcpy(super.member_uuid, super.peers[i], 16);
		member_make(io, name, &super);
	}
	io_engine_free(io);
	return super;
}

static int volume_start(struct sim_world *world, const struct vw_shape *shape, unsigned volume,
	bool degraded, struct volume **out)
{
	static struct io_factory factory;
	char names[VW_MAX_MEMBERS][16], *paths[VW_MAX_MEMBERS];
	struct errmsg why = {0};
	factory = sim_factory(world);
	for (unsigned i = 0; i < shape->members; i++) {
		disk_name(names[i], volume, i);
		paths[i] = names[i];
	}
	struct volume_open_options options = {
		.factory = &factory, .paths = paths, .count = shape->members, .degraded = degraded};
	int err = volume_open(&options, out, &why);
	fuzz_demand(err == 0 || (err < 0 && why.text[0]));
	return err;
}

static int block_write(struct volume *v, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK_BYTES];
	content(block, version, data);
	return volume_write(v, block * BLOCK_BYTES, data, BLOCK_BYTES);
}

/* Every stripe but the last at rest, and a write in flight to the first block of two of them; the
 * power goes. Takes @world, gives what it leaves. */
static struct sim_world *volume_live(
	struct sim_world *world, const struct vw_shape *shape, unsigned volume)
{
	struct volume *v;
	fuzz_demand(volume_start(world, shape, volume, false, &v) == 0);
	const struct geometry *g = volume_geometry(v);
	unsigned per_stripe = geometry_stripe_blocks(g);
	for (uint64_t b = 0; b < volume_blocks(v) - per_stripe; b++)
		fuzz_demand(block_write(v, b, AT_REST) == 0);
	fuzz_demand(volume_flush(v) == 0);
	for (uint64_t stripe = 0; stripe < STRIPES; stripe++)
		if (stripe_is_in_doubt(stripe))
			fuzz_demand(block_write(v, stripe * per_stripe, IN_FLIGHT) == 0);
	struct sim_world *left = sim_world_snapshot(world, SEED + volume);
	fuzz_demand(left);
	fuzz_demand(volume_close(v) == 0);
	sim_world_free(world);
	return left;
}

static void volume_prepare(struct vw_volume *vw, const struct vw_shape *shape)
{
	log_set_level(LOG_LEVEL_ERROR);
	/* Thousands of volumes are opened: the kernel need not map and unmap their caches. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	struct sim_world *world = sim_world_new(SEED);
	fuzz_demand(world);
	vw->shape = shape;
	vw->super = volume_make(world, shape, 0);
	volume_make(world, shape, 1);
	world = volume_live(world, shape, 0);
	vw->world = volume_live(world, shape, 1);
	vw->geometry = (struct geometry){.level = shape->level,
		.members = shape->members,
		.chunk_blocks = CHUNK_BLOCKS,
		.stripes = STRIPES};
	vw->blocks = geometry_volume_blocks(&vw->geometry);
	fuzz_demand(vw->blocks <= VW_MAX_BLOCKS);
}

const struct vw_volume *vw_volume(unsigned shape)
{
	static struct vw_volume volumes[sizeof(vw_shapes) / sizeof(*vw_shapes)];
	fuzz_demand(shape < vw_shape_count);
	if (!volumes[shape].world)
		volume_prepare(&volumes[shape], &vw_shapes[shape]);
	return &volumes[shape];
}

/* ---- spoiling ---- */

void vw_trial_init(struct vw_trial *trial, unsigned shape)
{
	*trial = (struct vw_trial){.volume = vw_volume(shape)};
	trial->world = sim_world_snapshot(trial->volume->world, SEED);
	fuzz_demand(trial->world);
}

void vw_trial_fini(struct vw_trial *trial)
{
	sim_world_free(trial->world);
}

static uint64_t clip(const struct vw_trial *trial, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end = trial->volume->super.member_bytes;
	return offset_bytes >= end ? 0 : min_u64(len_bytes, end - offset_bytes);
}

uint64_t vw_member_peek(const struct vw_trial *trial, unsigned volume, unsigned member,
	uint64_t offset_bytes, void *buf, uint64_t len_bytes)
{
	char name[16];
	uint64_t len = clip(trial, offset_bytes, len_bytes);
	disk_name(name, volume, member);
	if (!len || sim_disk_peek(trial->world, name, offset_bytes, buf, len) < 0)
		return 0;
	return len;
}

void vw_member_poke(struct vw_trial *trial, unsigned member, uint64_t offset_bytes, const void *buf,
	uint64_t len_bytes)
{
	char name[16];
	uint64_t len = clip(trial, offset_bytes, len_bytes);
	disk_name(name, 0, member);
	if (len && sim_disk_poke(trial->world, name, offset_bytes, buf, len) == 0)
		trial->spoiled |= 1u << member;
}

/* A new disk of that name with the bytes that are left. */
void vw_member_truncate(struct vw_trial *trial, unsigned member, uint64_t len_bytes)
{
	char name[16];
	struct io_engine *io;
	struct io_file *file;
	uint64_t len = round_down_u64(min_u64(len_bytes, trial->volume->super.member_bytes), 512);
	uint8_t *bytes = calloc(1, len + 1);
	disk_name(name, 0, member);
	fuzz_demand(bytes && sim_engine_new(trial->world, &io) == 0);
	uint64_t have = vw_member_peek(trial, 0, member, 0, bytes, len);
	if (io_open(io, name, IO_OPEN_CREATE | IO_OPEN_REPLACE, len, &file, NULL) == 0) {
		if (have)
			(void)sim_disk_poke(trial->world, name, 0, bytes, have);
		io_close(file);
	}
	io_engine_free(io);
	free(bytes);
	trial->spoiled |= 1u << member;
}

/* ---- looking ---- */

/* What the spoiled member itself says of a block, before it was opened: */
struct claim {
	bool fits; /* its tuple fits */
	uint8_t data[BLOCK_BYTES];
};

struct look {
	struct vw_trial *trial;
	bool strict;                        /* what is read is compared */
	unsigned version[VW_MAX_BLOCKS];    /* what it must be */
	bool known[VW_MAX_BLOCKS];          /* and that this is known */
	struct claim claims[VW_MAX_BLOCKS]; /* of the one spoiled member */
};

static void claim_make(
	const struct vw_trial *trial, uint64_t block, unsigned member, struct claim *out)
{
	const struct vw_volume *vw = trial->volume;
	struct geometry_place place = geometry_locate(&vw->geometry, block);
	uint64_t at = geometry_member_block(&vw->geometry, place.stripe, place.row);
	unsigned bytes = pi_tuple_bytes(vw->super.pi);
	uint8_t tuple[PI_MAX_TUPLE_BYTES] = {0};
	if (geometry_member(&vw->geometry, place.stripe, place.slot) != member &&
		vw->geometry.level != RAID_RAID1)
		return;
	vw_member_peek(trial, 0, member, vw->super.data.offset_bytes + at * BLOCK_BYTES, out->data,
		BLOCK_BYTES);
	vw_member_peek(trial, 0, member, vw->super.tuples.offset_bytes + at * bytes, tuple, bytes);
	for (unsigned i = 0; i < bytes; i++)
		tuple[i] ^= 0xff;
	enum pi_verdict verdict = pi_verify(vw->super.pi, out->data, at, tuple);
	out->fits = verdict == PI_GOOD || verdict == PI_ESCAPED;
	if (verdict == PI_ESCAPED)
		memset(out->data, 0, BLOCK_BYTES);
}

static void look_init(struct look *look, struct vw_trial *trial)
{
	const struct vw_volume *vw = trial->volume;
	uint32_t spoiled = trial->spoiled;
	*look = (struct look){.trial = trial};
	look->strict = vw->super.pi && !trial->beyond && !(spoiled & (spoiled - 1));
	for (uint64_t b = 0; b < vw->blocks; b++) {
		look->version[b] = version_at_rest(vw, b);
		look->known[b] = block_is_at_rest(vw, b);
		if (look->strict && spoiled)
			claim_make(trial, b, (unsigned)__builtin_ctz(spoiled), &look->claims[b]);
	}
}

static void judge_block(const struct look *look, uint64_t block, const uint8_t *data)
{
	uint8_t want[BLOCK_BYTES];
	if (!look->strict || !look->known[block])
		return;
	content(block, look->version[block], want);
	if (memcmp(data, want, BLOCK_BYTES) == 0)
		return;
	const struct claim *claim = &look->claims[block];
	if (claim->fits && memcmp(data, claim->data, BLOCK_BYTES) == 0)
		return;
	fprintf(stderr, "block %llu of %s is wrong\n", (unsigned long long)block,
		look->trial->volume->shape->name);
	fuzz_demand(!"wrong data was returned as good");
}

/* All at once, and where that fails, block by block: an error is of the blocks that it names. */
static void look_at_all(const struct look *look, struct volume *v)
{
	static uint8_t data[VW_MAX_BLOCKS * BLOCK_BYTES];
	uint64_t blocks = min_u64(volume_blocks(v), VW_MAX_BLOCKS);
	int err = volume_read(v, 0, data, (uint32_t)blocks * BLOCK_BYTES);
	fuzz_demand(err <= 0);
	for (uint64_t b = 0; b < blocks; b++) {
		uint8_t *block = data + b * BLOCK_BYTES;
		int ret = err ? volume_read(v, b * BLOCK_BYTES, block, BLOCK_BYTES) : 0;
		fuzz_demand(ret <= 0);
		if (ret == 0)
			judge_block(look, b, block);
	}
}

/* A few blocks of stripes at rest, in doubt and never written. */
static void write_some(struct look *look, struct volume *v)
{
	uint64_t blocks = min_u64(volume_blocks(v), look->trial->volume->blocks);
	for (uint64_t b = 1; b < blocks; b += 5) {
		int err = block_write(v, b, REWRITTEN);
		fuzz_demand(err <= 0);
		look->version[b] = REWRITTEN;
		look->known[b] = err == 0;
		look->claims[b].fits = false;
	}
	(void)volume_flush(v);
}

static void scrub_all(struct volume *v)
{
	struct scrub_result found = {0};
	(void)volume_scrub(v, true, NULL, NULL, &found);
	scrub_result_free(&found);
}

static void look_once(struct look *look, struct volume *v)
{
	look_at_all(look, v);
	(void)volume_work(v);
	look_at_all(look, v);
	write_some(look, v);
	scrub_all(v);
	look_at_all(look, v);
}

bool vw_trial_run(struct vw_trial *trial, bool degraded)
{
	static struct look look;
	struct volume *v;
	look_init(&look, trial);
	if (volume_start(trial->world, trial->volume->shape, 0, degraded, &v) < 0)
		return false;
	look_once(&look, v);
	(void)volume_close(v);
	/* What was written is there after a clean end too. */
	if (volume_start(trial->world, trial->volume->shape, 0, degraded, &v) == 0) {
		look_at_all(&look, v);
		(void)volume_close(v);
	}
	return true;
}
