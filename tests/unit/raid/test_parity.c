/* SPDX-License-Identifier: MIT */
/* raid/parity: isa-l against the plain oracle, the oracle against its definition. */
#include "raid/parity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "../random.h"
#include "raid/parity_plain.h"

#define LEN_MAX 8192u
#define STRIDE  (LEN_MAX + 128u)
#define BUFFERS (PARITY_MAX_SOURCES + 1)

/* Buffers one behind the other, each at an odd or even multiple of 32 bytes as the test says. */
struct rig {
	uint8_t *memory, *oracle; /* owned */
	const void *sources[PARITY_MAX_SOURCES];
	struct random random;
};

static int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	if (!rig)
		return -1;
	rig->memory = mem_alloc_blocks(BUFFERS * STRIDE);
	rig->oracle = malloc(LEN_MAX);
	rig->random = random_start("parity", 0x5eed0009);
	*state = rig;
	return rig->memory && rig->oracle ? 0 : -1;
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;
	free(rig->memory);
	free(rig->oracle);
	free(rig);
	return 0;
}

static uint8_t *buffer(struct rig *rig, unsigned i, unsigned misalign)
{
	return rig->memory + i * STRIDE + (misalign >> i % 8 & 1) * 32;
}

/* Random sources; the destination is one of them or the buffer behind them. */
static void check_xor(
	struct rig *rig, unsigned count, uint32_t len, unsigned misalign, bool in_place)
{
	for (unsigned i = 0; i < count; i++) {
		rig->sources[i] = buffer(rig, i, misalign);
		random_fill(&rig->random, buffer(rig, i, misalign), 64);
	}
	unsigned target = in_place ? random_below(&rig->random, count) : count;
	uint8_t *dest = buffer(rig, target, misalign);
	uint8_t behind = dest[len] = 0xa5;
	parity_xor_plain(rig->sources, count, rig->oracle, len);
	parity_xor(rig->sources, count, dest, len);
	if (memcmp(dest, rig->oracle, len) != 0 || dest[len] != behind)
		fail_msg("%u sources of %u bytes, misaligned %#x, in place %d", count, len,
			misalign, in_place);
}

static void sweep(struct rig *rig, bool in_place)
{
	static const uint32_t lens[] = {32, 64, 96, 128, 160, 224, 256, 992, 4096, 4128, 8192};
	random_fill(&rig->random, rig->memory, BUFFERS * STRIDE);
	for (unsigned count = 1; count <= PARITY_MAX_SOURCES; count += count < 20 ? 1 : 11) {
		for (unsigned l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			check_xor(rig, count, lens[l], 0, in_place);
			check_xor(rig, count, lens[l], 0xff, in_place);
			check_xor(rig, count, lens[l], random_below(&rig->random, 256), in_place);
		}
	}
}

static void all_counts_lengths_and_alignments_agree_with_the_oracle(void **state)
{
	sweep(*state, false);
}

static void the_destination_may_be_any_of_the_sources(void **state)
{
	sweep(*state, true);
}

static void the_oracle_is_the_definition(void **unused)
{
	(void)unused;
	const uint8_t a[3] = {0x0f, 0xff, 0x01}, b[3] = {0xf0, 0xff, 0x02}, c[3] = {0, 0, 0x04};
	const void *sources[] = {a, b, c};
	const uint8_t want[3] = {0xff, 0x00, 0x07};
	uint8_t got[3];
	parity_xor_plain(sources, 3, got, 3);
	assert_memory_equal(got, want, 3);
	parity_xor_plain(sources, 1, got, 3);
	assert_memory_equal(got, a, 3);
}

static void a_lost_block_is_the_sum_of_all_others(void **state)
{
	struct rig *rig = *state;
	random_fill(&rig->random, rig->memory, 5 * STRIDE);
	for (unsigned i = 0; i < 4; i++)
		rig->sources[i] = buffer(rig, i, 0);
	parity_xor(rig->sources, 4, buffer(rig, 4, 0), BLOCK_BYTES);
	const void *lost = rig->sources[2];
	rig->sources[2] = buffer(rig, 4, 0);
	parity_xor(rig->sources, 4, buffer(rig, 5, 0), BLOCK_BYTES);
	assert_memory_equal(buffer(rig, 5, 0), lost, BLOCK_BYTES);
}

static void read_modify_write_gives_the_parity_of_the_new_data(void **state)
{
	struct rig *rig = *state;
	random_fill(&rig->random, rig->memory, 5 * STRIDE);
	const void *old[] = {buffer(rig, 0, 0), buffer(rig, 1, 0), buffer(rig, 2, 0)};
	const void *new[] = {buffer(rig, 0, 0), buffer(rig, 3, 0), buffer(rig, 2, 0)};
	uint8_t *parity = buffer(rig, 4, 0);
	parity_xor(old, 3, parity, BLOCK_BYTES);
	const void *delta[] = {parity, old[1], new[1]};
	parity_xor(delta, 3, parity, BLOCK_BYTES);
	parity_xor_plain(new, 3, rig->oracle, BLOCK_BYTES);
	assert_memory_equal(parity, rig->oracle, BLOCK_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_counts_lengths_and_alignments_agree_with_the_oracle),
		cmocka_unit_test(the_destination_may_be_any_of_the_sources),
		cmocka_unit_test(the_oracle_is_the_definition),
		cmocka_unit_test(a_lost_block_is_the_sum_of_all_others),
		cmocka_unit_test(read_modify_write_gives_the_parity_of_the_new_data),
	};
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
