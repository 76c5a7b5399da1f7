/* SPDX-License-Identifier: MIT */
/* Fuzz target: a script that spoils the members of a small volume, which is then opened, read,
 * written, scrubbed and closed (volume_world.h says what must hold).
 *
 * The first byte of the input: shape (low 3 bits), degraded (bit 7). Then, for each step, 8 bytes:
 * what, member (low 4 bits) and area (high 4), offset in the area (3, little-endian), length, two
 * bytes more. */
#include <string.h>
#include "base/crc32c.h"
#include "base/endian.h"
#include "fuzz.h"
#include "intent/intent_disk.h"
#include "volume_world.h"

#define STEP_BYTES  8u
#define MAX_STEPS   24u
#define MAX_RANGE   4096u
#define RING_BLOCKS 63u

enum step_what {
	STEP_XOR,        /* one byte, with value */
	STEP_FILL,       /* a range, with value */
	STEP_NOISE,      /* a range, seeded with value and more */
	STEP_OTHER,      /* a range comes from the same place of the other volume */
	STEP_SWAP,       /* a range is exchanged with member `value` */
	STEP_MOVE,       /* a range is copied `value` x 512 bytes further */
	STEP_TRUNCATE,   /* at offset x 512 */
	STEP_SEAL_SUPER, /* both copies get a checksum that fits */
	STEP_SEAL_LOG,   /* so do the sectors of the intent log */
	STEP_SEAL_RING,  /* and the header and first batches of the journal */
	STEP_WHATS,
};

enum step_area {
	AREA_SUPER_A,
	AREA_SUPER_B,
	AREA_INTENT,
	AREA_JOURNAL,
	AREA_SYSTEM,
	AREA_TUPLES,
	AREA_DATA,
	AREA_WHOLE,
	AREAS,
};

struct step {
	enum step_what what;
	enum step_area area;
	unsigned member;
	uint64_t offset_bytes;
	uint32_t len_bytes;
	uint8_t value, more;
};

static uint64_t area_offset(const struct super *super, enum step_area area)
{
	switch (area) {
	case AREA_SUPER_A:
		return SUPER_A_OFFSET;
	case AREA_SUPER_B:
		return super->member_bytes - SUPER_TAIL_BYTES;
	case AREA_INTENT:
		return super->intent.offset_bytes;
	case AREA_JOURNAL:
		return super->journal.offset_bytes;
	case AREA_SYSTEM:
		return super->system.offset_bytes;
	case AREA_TUPLES:
		return super->tuples.offset_bytes;
	case AREA_DATA:
		return super->data.offset_bytes;
	default:
		return 0;
	}
}

static struct step step_decode(const struct super *super, const uint8_t *in)
{
	struct step step = {.what = in[0] % STEP_WHATS,
		.area = (in[1] >> 4) % AREAS,
		.member = (in[1] & 15) % super->members,
		.len_bytes = (uint32_t)in[5] * 16 + 1,
		.value = in[6],
		.more = in[7]};
	uint64_t offset = in[2] | (uint64_t)in[3] << 8 | (uint64_t)in[4] << 16;
	step.offset_bytes = area_offset(super, step.area) + offset;
	return step;
}

static void range_put(struct vw_trial *trial, const struct step *step, const uint8_t *bytes)
{
	vw_member_poke(trial, step->member, step->offset_bytes, bytes, step->len_bytes);
}

static void step_xor(struct vw_trial *trial, const struct step *step)
{
	uint8_t byte = 0;
	vw_member_peek(trial, 0, step->member, step->offset_bytes, &byte, 1);
	byte ^= step->value;
	vw_member_poke(trial, step->member, step->offset_bytes, &byte, 1);
}

static void step_noise(struct vw_trial *trial, const struct step *step, uint8_t *bytes)
{
	uint32_t random = step->value + 256u * step->more + 1;
	for (uint32_t i = 0; i < step->len_bytes; i++) {
		random = random * 1103515245u + 12345u;
		bytes[i] = (uint8_t)(random >> 16);
	}
	range_put(trial, step, bytes);
}

static void step_swap(struct vw_trial *trial, const struct step *step, uint8_t *bytes)
{
	uint8_t theirs[MAX_RANGE];
	unsigned other = step->value % trial->volume->super.members;
	uint64_t at = step->offset_bytes;
	uint64_t len = vw_member_peek(trial, 0, step->member, at, bytes, step->len_bytes);
	if (vw_member_peek(trial, 0, other, at, theirs, len) != len)
		return;
	vw_member_poke(trial, step->member, at, theirs, len);
	vw_member_poke(trial, other, at, bytes, len);
}

static void step_copy(struct vw_trial *trial, const struct step *step, unsigned volume, uint64_t to,
	uint8_t *bytes)
{
	uint64_t len = vw_member_peek(
		trial, volume, step->member, step->offset_bytes, bytes, step->len_bytes);
	vw_member_poke(trial, step->member, to, bytes, len);
}

static void seal_super(struct vw_trial *trial, const struct step *step)
{
	uint64_t ats[] = {SUPER_A_OFFSET, trial->volume->super.member_bytes - SUPER_TAIL_BYTES};
	for (unsigned i = 0; i < 2; i++) {
		uint8_t block[SUPER_BYTES];
		if (vw_member_peek(trial, 0, step->member, ats[i], block, SUPER_BYTES) !=
			SUPER_BYTES)
			continue;
		put_le32(block + 12, 0);
		put_le32(block + 12, crc32c(block, SUPER_BYTES));
		vw_member_poke(trial, step->member, ats[i], block, SUPER_BYTES);
	}
	trial->beyond = true;
}

/* Marks that were forged say that a write was under way where there was none: then a block whose
 * tuple does not fit may be one that the crash tore. */
static void seal_log(struct vw_trial *trial, const struct step *step)
{
	const struct super *super = &trial->volume->super;
	for (uint32_t n = 0; n < INTENT_MAPS; n++) {
		uint8_t covered[16 + INTENT_SECTOR_BYTES];
		uint64_t at = super->intent.offset_bytes + intent_disk_sector_offset(n);
		memcpy(covered, super->volume_uuid, 16);
		if (vw_member_peek(trial, 0, step->member, at, covered + 16, INTENT_SECTOR_BYTES) !=
			INTENT_SECTOR_BYTES)
			continue;
		put_le32(covered + 16, 0);
		put_le32(covered + 16, crc32c(covered, sizeof(covered)));
		vw_member_poke(trial, step->member, at, covered + 16, INTENT_SECTOR_BYTES);
	}
	trial->beyond = true;
}

/* A batch whose payload was spoiled still does not fit. */
static void seal_ring(struct vw_trial *trial, const struct step *step)
{
	const struct super *super = &trial->volume->super;
	for (unsigned i = 0; i < RING_BLOCKS; i++) {
		uint8_t block[BLOCK_BYTES];
		uint64_t at = super->journal.offset_bytes + i * UINT64_C(4096);
		if (vw_member_peek(trial, 0, step->member, at, block, BLOCK_BYTES) != BLOCK_BYTES ||
			(memcmp(block, "SFSJRNAL", 8) != 0 && memcmp(block, "SFSPWLOG", 8) != 0))
			continue;
		put_le32(block + 8, 0);
		put_le32(block + 8, crc32c(block, BLOCK_BYTES));
		vw_member_poke(trial, step->member, at, block, BLOCK_BYTES);
	}
	trial->beyond = true;
}

static void step_do(struct vw_trial *trial, const struct step *step)
{
	uint8_t bytes[MAX_RANGE];
	switch (step->what) {
	case STEP_XOR:
		step_xor(trial, step);
		break;
	case STEP_FILL:
		memset(bytes, step->value, step->len_bytes);
		range_put(trial, step, bytes);
		break;
	case STEP_NOISE:
		step_noise(trial, step, bytes);
		break;
	case STEP_OTHER:
		step_copy(trial, step, 1, step->offset_bytes, bytes);
		break;
	case STEP_SWAP:
		step_swap(trial, step, bytes);
		break;
	case STEP_MOVE:
		step_copy(trial, step, 0, step->offset_bytes + step->value * UINT64_C(512), bytes);
		break;
	case STEP_TRUNCATE:
		vw_member_truncate(trial, step->member, step->offset_bytes * 512);
		break;
	case STEP_SEAL_SUPER:
		seal_super(trial, step);
		break;
	case STEP_SEAL_RING:
		seal_ring(trial, step);
		break;
	default:
		seal_log(trial, step);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct vw_trial trial;
	if (!len_bytes)
		return 0;
	vw_trial_init(&trial, data[0] % 8 % vw_shape_count);
	size_t steps = min_u64((len_bytes - 1) / STEP_BYTES, MAX_STEPS);
	for (size_t i = 0; i < steps; i++) {
		struct step step = step_decode(&trial.volume->super, data + 1 + i * STEP_BYTES);
		step_do(&trial, &step);
	}
	vw_trial_run(&trial, data[0] >> 7);
	vw_trial_fini(&trial);
	return 0;
}

/* ---- the corpus it begins with ---- */

static void seed_step(uint8_t *out, size_t *len_bytes, enum step_what what, enum step_area area,
	unsigned member, uint32_t offset, uint8_t len, uint8_t value)
{
	uint8_t *at = out + *len_bytes;
	at[0] = (uint8_t)what;
	at[1] = (uint8_t)(area << 4 | member);
	at[2] = (uint8_t)offset;
	at[3] = (uint8_t)(offset >> 8);
	at[4] = (uint8_t)(offset >> 16);
	at[5] = len;
	at[6] = value;
	at[7] = 1;
	*len_bytes += STEP_BYTES;
}

static const struct volume_seed {
	const char *name;
	uint8_t first;
	enum step_what what;
	enum step_area area;
	unsigned member;
	uint32_t offset;
	uint8_t len, value;
	bool seal;
} volume_seeds[] = {
	{"raid5-untouched", 0, STEP_XOR, AREA_SUPER_A, 0, 0, 0, 0, false},
	{"raid1-untouched", 1, STEP_XOR, AREA_SUPER_A, 0, 0, 0, 0, false},
	{"single-untouched", 2, STEP_XOR, AREA_SUPER_A, 0, 0, 0, 0, false},
	{"raid5-generation", 0x80, STEP_XOR, AREA_SUPER_A, 1, 16, 0, 8, true},
	{"raid1-states", 0x81, STEP_FILL, AREA_SUPER_A, 0, 240, 0, 2, true},
	{"raid5-spare", 0x80, STEP_FILL, AREA_SUPER_A, 2, 108, 0, 255, true},
	{"single-shape", 2, STEP_NOISE, AREA_SUPER_A, 0, 112, 8, 7, true},
	{"single-areas", 2, STEP_XOR, AREA_SUPER_A, 0, 225, 0, 0x10, true},
	{"raid5-marks", 0, STEP_NOISE, AREA_INTENT, 1, 4096, 70, 9, true},
	{"raid5-log-lost", 3, STEP_FILL, AREA_INTENT, 0, 0, 255, 0, false},
	{"raid5-journal", 3, STEP_NOISE, AREA_JOURNAL, 1, 0, 255, 5, false},
	{"raid5-batch", 0, STEP_NOISE, AREA_JOURNAL, 1, 4096 + 72, 0, 5, true},
	{"raid5-batch-run", 0, STEP_XOR, AREA_JOURNAL, 2, 4096 + 88, 0, 1, true},
	{"raid6-tuples", 4, STEP_NOISE, AREA_TUPLES, 2, 0, 8, 3, false},
	{"raid6-two-gone", 0x84, STEP_FILL, AREA_SUPER_A, 2, 0, 255, 3, false},
	{"raid5-tuples", 0, STEP_NOISE, AREA_TUPLES, 2, 0, 8, 3, false},
	{"raid1-tuples", 1, STEP_FILL, AREA_TUPLES, 1, 32, 3, 0xff, false},
	{"raid5-data", 0, STEP_NOISE, AREA_DATA, 1, 4000, 100, 4, false},
	{"raid1-data", 1, STEP_FILL, AREA_DATA, 0, 0, 255, 0, false},
	{"single-data", 2, STEP_XOR, AREA_DATA, 0, 5000, 0, 1, false},
	{"raid5-foreign-data", 0, STEP_OTHER, AREA_DATA, 0, 0, 255, 0, false},
	{"raid1-foreign-member", 0x81, STEP_OTHER, AREA_SUPER_A, 1, 0, 255, 0, false},
	{"raid5-swapped", 0x80, STEP_SWAP, AREA_SUPER_B, 0, 0, 255, 1, false},
	{"raid5-truncated", 0x80, STEP_TRUNCATE, AREA_WHOLE, 1, 3000, 0, 0, false},
	{"raid5-moved", 0, STEP_MOVE, AREA_DATA, 1, 0, 255, 8, false},
};

static bool volume_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	if (n >= sizeof(volume_seeds) / sizeof(*volume_seeds))
		return false;
	const struct volume_seed *s = &volume_seeds[n];
	out[0] = s->first;
	*len_bytes = 1;
	seed_step(out, len_bytes, s->what, s->area, s->member, s->offset, s->len, s->value);
	if (s->seal && s->area <= AREA_SUPER_B) {
		seed_step(out, len_bytes, s->what, AREA_SUPER_B, s->member, s->offset, s->len,
			s->value);
		seed_step(out, len_bytes, STEP_SEAL_SUPER, 0, s->member, 0, 0, 0);
	} else if (s->seal && s->area == AREA_JOURNAL) {
		seed_step(out, len_bytes, STEP_SEAL_RING, 0, s->member, 0, 0, 0);
	} else if (s->seal) {
		seed_step(out, len_bytes, STEP_SEAL_LOG, 0, s->member, 0, 0, 0);
	}
	*name = s->name;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = 130 / FUZZ_SLOWDOWN, .seed = volume_seed};
