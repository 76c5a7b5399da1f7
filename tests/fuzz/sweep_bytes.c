/* SPDX-License-Identifier: MIT */
/* Every byte of what a member says about itself, spoiled one after the other: both copies of the
 * superblock, the intent log, the journal's header and first batches, the tuples. Each time the
 * volume is opened, read, written, scrubbed and closed (volume_world.h says what must hold). Under
 * the address sanitizer it is some of the bytes. A failure prints the byte and how it was spoiled.
 * Usage: sweep_bytes SHAPE [SEED]. */
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include "fuzz.h"
#include "volume_world.h"

#define HANG_SECONDS  60u
#define GARBAGE_BYTES 64u

enum spoil { SPOIL_BIT, SPOIL_BYTE, SPOIL_GARBAGE, SPOILS };
static const char *const spoil_names[] = {"xor 01", "xor ff", "64 bytes of garbage"};

struct stretch {
	const char *name;
	uint64_t offset_bytes, len_bytes;
};

static uint32_t random_state = 1;
static uint64_t trials, opened;

static uint8_t random_byte(void)
{
	random_state = random_state * 1103515245u + 12345u;
	return (uint8_t)(random_state >> 16);
}

/* What is under trial; a signal that ends the process tells of it. */
static struct {
	const char *shape, *stretch, *how;
	unsigned member;
	uint64_t at;
} current;

static void failed(int signum)
{
	fprintf(stderr, "%s: member %u, %s + %llu: %s\n", current.shape, current.member,
		current.stretch, (unsigned long long)current.at, current.how);
	signal(signum, SIG_DFL);
	raise(signum);
}

/* Bytes that stand in both copies of a superblock alike. */
static void spoil_b_like_a(struct vw_trial *trial, unsigned member, uint64_t at)
{
	uint64_t b = trial->volume->super.member_bytes - SUPER_TAIL_BYTES;
	uint8_t bytes[GARBAGE_BYTES];
	uint64_t len = vw_member_peek(trial, 0, member, at, bytes, GARBAGE_BYTES);
	vw_member_poke(trial, member, b + at - SUPER_A_OFFSET, bytes, len);
}

static void spoil(struct vw_trial *trial, unsigned member, uint64_t at, enum spoil how)
{
	uint8_t bytes[GARBAGE_BYTES];
	if (how == SPOIL_GARBAGE) {
		for (unsigned i = 0; i < GARBAGE_BYTES; i++)
			bytes[i] = random_byte();
		vw_member_poke(trial, member, at, bytes, GARBAGE_BYTES);
		return;
	}
	vw_member_peek(trial, 0, member, at, bytes, 1);
	bytes[0] ^= how == SPOIL_BIT ? 0x01 : 0xff;
	vw_member_poke(trial, member, at, bytes, 1);
}

static void try_one(
	unsigned shape, unsigned member, const struct stretch *s, uint64_t at, enum spoil how)
{
	struct vw_trial trial;
	current.shape = vw_shapes[shape].name;
	current.stretch = s->name;
	current.how = spoil_names[how];
	current.member = member;
	current.at = at;
	alarm(HANG_SECONDS);
	vw_trial_init(&trial, shape);
	spoil(&trial, member, s->offset_bytes + at, how);
	if (strcmp(s->name, "both superblocks") == 0)
		spoil_b_like_a(&trial, member, s->offset_bytes + at);
	opened += vw_trial_run(&trial, trials % 2);
	vw_trial_fini(&trial);
	trials++;
}

/* Bytes that say something, and now and then one of those that are zero. */
static bool is_telling(const struct vw_trial *plain, const struct stretch *s, uint64_t at)
{
	uint8_t byte = 0;
	vw_member_peek(plain, 0, 0, s->offset_bytes + at, &byte, 1);
	return byte || at % 61 == 0;
}

static void sweep_stretch(unsigned shape, const struct stretch *s)
{
	struct vw_trial plain;
	vw_trial_init(&plain, shape);
	for (uint64_t at = 0; at < s->len_bytes; at += FUZZ_SLOWDOWN) {
		unsigned member = (unsigned)(at % vw_shapes[shape].members);
		try_one(shape, member, s, at, SPOIL_BIT);
		if (is_telling(&plain, s, at))
			try_one(shape, member, s, at, SPOIL_BYTE);
		if (at % 32 < FUZZ_SLOWDOWN)
			try_one(shape, (unsigned)(at / 32 % vw_shapes[shape].members), s, at,
				SPOIL_GARBAGE);
	}
	vw_trial_fini(&plain);
}

static void sweep(unsigned shape)
{
	const struct vw_volume *vw = vw_volume(shape);
	const struct super *super = &vw->super;
	/* Of the cheapest shape also what is zero: who refuses that does not look at the shape. */
	uint64_t head = vw->shape->level == RAID_SINGLE ? BLOCK_BYTES : 640;
	const struct stretch stretches[] = {
		{"superblock A", SUPER_A_OFFSET, head},
		{"superblock B", super->member_bytes - SUPER_TAIL_BYTES, head},
		{"both superblocks", SUPER_A_OFFSET, 640},
		{"intent header", super->intent.offset_bytes, head},
		{"intent sectors", super->intent.offset_bytes + BLOCK_BYTES, 1024},
		{"journal header", super->journal.offset_bytes, 128},
		{"first batches", super->journal.offset_bytes + BLOCK_BYTES, 256},
		{"first batch's end", super->journal.offset_bytes + 2 * BLOCK_BYTES - 16, 16},
		{"tuples", super->tuples.offset_bytes, min_u64(256, super->tuples.len_bytes)},
		{"data", super->data.offset_bytes, 64},
	};
	for (unsigned i = 0; i < sizeof(stretches) / sizeof(*stretches); i++)
		sweep_stretch(shape, &stretches[i]);
}

static int shape_find(const char *name)
{
	for (unsigned i = 0; i < vw_shape_count; i++)
		if (strcmp(vw_shapes[i].name, name) == 0)
			return (int)i;
	return -1;
}

int main(int argc, char **argv)
{
	int shape = argc > 1 ? shape_find(argv[1]) : -1;
	if (shape < 0) {
		fprintf(stderr, "usage: sweep_bytes SHAPE [SEED]\n");
		return 2;
	}
	if (argc > 2)
		random_state = (uint32_t)strtoul(argv[2], NULL, 0);
	signal(SIGABRT, failed);
	signal(SIGALRM, failed);
	signal(SIGSEGV, failed);
	sweep((unsigned)shape);
	printf("%s: %llu volumes spoiled, %llu could be opened\n", argv[1],
		(unsigned long long)trials, (unsigned long long)opened);
	return 0;
}
