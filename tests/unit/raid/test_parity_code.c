/* SPDX-License-Identifier: MIT */
/* raid/parity: the code of P and Q against its plain oracle: all widths, all losses. */
#include "raid/parity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../random.h"
#include "base/block.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "raid/parity_plain.h"

#define STRIDE  (BLOCK_BYTES + 64u)
#define BUFFERS 64u

static const uint32_t lens[] = {64, 128, 192, 320, 576, BLOCK_BYTES};

#define LENS (sizeof(lens) / sizeof(lens[0]))

/* Rows of blocks, each at an odd or even multiple of 32 bytes. */
struct rig {
	uint8_t *memory; /* owned */
	struct random random;
};

static int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	if (!rig)
		return -1;
	rig->memory = mem_alloc_blocks(BUFFERS * STRIDE);
	rig->random = random_start("parity code", 0x5eed0061);
	*state = rig;
	return rig->memory ? 0 : -1;
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;
	free(rig->memory);
	free(rig);
	return 0;
}

static uint8_t *buffer(struct rig *rig, unsigned i)
{
	return rig->memory + (size_t)i * STRIDE + (random_below(&rig->random, 2) ? 32 : 0);
}

struct row {
	struct parity_code code;
	unsigned slots;
	uint32_t len;
	void *blocks[RAID_MAX_SLOTS];
};

/* A row in the buffers from @first on: random data and, by the oracle, its parities. */
static struct row row_new(struct rig *rig, struct parity_code code, unsigned first, uint32_t len)
{
	struct row row = {.code = code, .slots = code.data + code.parities, .len = len};
	for (unsigned slot = 0; slot < row.slots; slot++) {
		row.blocks[slot] = buffer(rig, first + slot);
		random_fill(&rig->random, row.blocks[slot], len);
	}
	parity_make_plain(&code, row.blocks, len);
	return row;
}

static struct row row_copy(struct rig *rig, const struct row *from, unsigned first)
{
	struct row row = *from;
	for (unsigned slot = 0; slot < row.slots; slot++) {
		row.blocks[slot] = buffer(rig, first + slot);
		memcpy(row.blocks[slot], from->blocks[slot], row.len);
	}
	return row;
}

static void assert_rows_equal(const struct row *got, const struct row *want, const char *what)
{
	for (unsigned slot = 0; slot < want->slots; slot++)
		if (memcmp(got->blocks[slot], want->blocks[slot], want->len) != 0)
			fail_msg("%s: slot %u of %u + %u is wrong, %u bytes", what, slot,
				want->code.data, want->code.parities, want->len);
}

/* All rows that the levels have: raid5 of 3 to 16 members, raid6 of 4 to 16. */
static void for_all_codes(struct rig *rig, void (*check)(struct rig *rig, struct parity_code code))
{
	for (unsigned members = 3; members <= RAID_MAX_MEMBERS; members++)
		for (unsigned parities = 1; parities <= 2 && members - parities >= 2; parities++)
			check(rig, (struct parity_code){members - parities, parities});
}

/* ---- the oracle ---- */

static void the_oracle_multiplies_in_the_field_of_md(void **unused)
{
	(void)unused;
	assert_int_equal(gf_multiply_plain(0x80, 2), 0x1d);
	assert_int_equal(gf_multiply_plain(0x53, 1), 0x53);
	assert_int_equal(gf_multiply_plain(0x53, 0), 0);
	for (unsigned a = 1; a < 256; a++) {
		assert_int_equal(gf_multiply_plain((uint8_t)a, gf_inverse_plain((uint8_t)a)), 1);
		for (unsigned b = 0; b < 256; b++)
			assert_int_equal(gf_multiply_plain((uint8_t)a, (uint8_t)b),
				gf_multiply_plain((uint8_t)b, (uint8_t)a));
	}
}

static void two_generates_every_element_of_the_field(void **unused)
{
	(void)unused;
	bool seen[256] = {false};
	uint8_t power = 1;
	for (unsigned i = 0; i < 255; i++, power = gf_multiply_plain(power, 2)) {
		assert_false(seen[power]);
		seen[power] = true;
	}
	assert_int_equal(power, 1);
	assert_false(seen[0]);
}

/* By hand: 1 + 2 * 2 + 4 * 3 + 8 * 0x80, and 8 * 0x80 = 4 * 0x1d = 0x74. */
static void q_counts_slot_i_with_the_ith_power_of_two(void **unused)
{
	(void)unused;
	uint8_t row[6] = {1, 2, 3, 0x80, 0, 0};
	void *blocks[6];
	for (unsigned i = 0; i < 6; i++)
		blocks[i] = &row[i];
	parity_make_plain(&(struct parity_code){4, 2}, blocks, 1);
	assert_int_equal(row[4], 1 ^ 2 ^ 3 ^ 0x80);
	assert_int_equal(row[5], 1 ^ 4 ^ 12 ^ 0x74);
}

static void every_check_of_the_code_weighs_its_slots_as_the_oracle_does(void **unused)
{
	(void)unused;
	const struct parity_code code = {14, 2};
	uint8_t power = 1;
	for (unsigned slot = 0; slot < 14; slot++, power = gf_multiply_plain(power, 2)) {
		assert_int_equal(parity_weight(&code, 0, slot), 1);
		assert_int_equal(parity_weight(&code, 1, slot), power);
	}
	assert_int_equal(parity_weight(&code, 0, 14), 1);
	assert_int_equal(parity_weight(&code, 1, 14), 0);
	assert_int_equal(parity_weight(&code, 0, 15), 0);
	assert_int_equal(parity_weight(&code, 1, 15), 1);
}

/* ---- sums ---- */

static unsigned data_terms(const struct row *row, uint32_t slots, struct parity_term *terms)
{
	unsigned n = 0;
	for (unsigned slot = 0; slot < row->slots; slot++)
		if (slots >> slot & 1)
			terms[n++] = (struct parity_term){slot, row->blocks[slot]};
	return n;
}

static uint32_t all_data(const struct row *row)
{
	return (1u << row->code.data) - 1;
}

/* Both parities, and each of them alone. */
static void check_make(struct rig *rig, struct parity_code code)
{
	for (unsigned l = 0; l < LENS; l++) {
		struct row want = row_new(rig, code, 0, lens[l]);
		for (unsigned kept = 0; kept < 1u << code.parities; kept++) {
			struct parity_term terms[RAID_MAX_SLOTS];
			struct row got = row_copy(rig, &want, 16);
			void *dests[PARITY_MAX] = {NULL};
			for (unsigned p = 0; p < code.parities; p++) {
				if (kept >> p & 1)
					continue;
				dests[p] = got.blocks[code.data + p];
				memset(dests[p], 0xee, got.len);
			}
			parity_sum(&code, terms, data_terms(&got, all_data(&got), terms), dests,
				got.len);
			assert_rows_equal(&got, &want, "all data");
		}
	}
}

static void the_parities_of_all_data_agree_with_the_oracle(void **state)
{
	for_all_codes(*state, check_make);
}

/* Old parities, old and new of random slots; in place. */
static void check_update(struct rig *rig, struct parity_code code)
{
	for (unsigned round = 0; round < 2 * LENS; round++) {
		struct row old = row_new(rig, code, 0, lens[round % LENS]);
		struct row new = row_new(rig, code, 16, old.len);
		uint32_t written = random_below(&rig->random, all_data(&old)) + 1;
		struct parity_term terms[3 * RAID_MAX_SLOTS];
		void *dests[PARITY_MAX] = {NULL};
		unsigned n = 0;
		for (unsigned slot = 0; slot < code.data; slot++) {
			if (!(written >> slot & 1))
				memcpy(new.blocks[slot], old.blocks[slot], old.len);
			else
				n += data_terms(&old, 1u << slot, terms + n),
					n += data_terms(&new, 1u << slot, terms + n);
		}
		parity_make_plain(&code, new.blocks, new.len);
		n += data_terms(&old, ~all_data(&old), terms + n);
		for (unsigned p = 0; p < code.parities; p++)
			dests[p] = old.blocks[code.data + p];
		parity_sum(&code, terms, n, dests, old.len);
		for (unsigned p = code.data; p < new.slots; p++)
			assert_memory_equal(old.blocks[p], new.blocks[p], new.len);
	}
}

static void read_modify_write_gives_the_parities_of_the_new_data(void **state)
{
	for_all_codes(*state, check_update);
}

/* The partial parities, made in both ways, and from them the parities of whatever the written slots
 * hold by then: of each, some old and some new. */
static void check_partial(struct rig *rig, struct parity_code code)
{
	struct row row = row_new(rig, code, 0, 192);
	uint32_t written = random_below(&rig->random, all_data(&row) - 1) + 1;
	struct parity_term terms[RAID_MAX_SLOTS];
	void *rest[PARITY_MAX] = {buffer(rig, 32), buffer(rig, 33)}, *dests[PARITY_MAX] = {NULL};
	void *folded[PARITY_MAX] = {buffer(rig, 34), buffer(rig, 35)};
	unsigned n = data_terms(&row, all_data(&row) & ~written, terms);
	parity_sum(&code, terms, n, rest, row.len);
	n = data_terms(&row, ~all_data(&row) | written, terms);
	parity_sum(&code, terms, n, folded, row.len);
	for (unsigned p = 0; p < code.parities; p++)
		assert_memory_equal(rest[p], folded[p], row.len);
	for (uint32_t left = written & random_below(&rig->random, 1u << 16); left; left &= left - 1)
		random_fill(&rig->random, row.blocks[__builtin_ctz(left)], row.len);
	struct row want = row_copy(rig, &row, 16);
	parity_make_plain(&code, want.blocks, want.len);
	n = data_terms(&row, written, terms);
	for (unsigned p = 0; p < code.parities; p++) {
		terms[n++] = (struct parity_term){code.data + p, rest[p]};
		dests[p] = row.blocks[code.data + p];
	}
	parity_sum(&code, terms, n, dests, row.len);
	assert_rows_equal(&row, &want, "partial parities");
}

static void partial_parities_and_what_was_written_give_the_parities(void **state)
{
	for (unsigned round = 0; round < 4; round++)
		for_all_codes(*state, check_partial);
}

static void a_sum_of_nothing_that_counts_is_zero(void **state)
{
	struct rig *rig = *state;
	const struct parity_code code = {4, 2};
	uint8_t *dest = buffer(rig, 0), *q = buffer(rig, 1), zeros[64] = {0};
	memset(dest, 0xee, 64);
	parity_sum(&code, &(struct parity_term){5, q}, 1, (void *[]){dest, NULL}, 64);
	assert_memory_equal(dest, zeros, 64);
}

/* ---- rebuilding ---- */

static void check_one_loss(
	struct rig *rig, const struct row *want, uint32_t missing, uint32_t wanted)
{
	struct row got = row_copy(rig, want, 16), untouched = row_copy(rig, want, 32);
	uint32_t sources = parity_sources(&want->code, missing);
	void *blocks[RAID_MAX_SLOTS] = {NULL};
	for (unsigned slot = 0; slot < want->slots; slot++) {
		if (wanted >> slot & 1)
			memset(got.blocks[slot], 0xee, got.len);
		if ((wanted | sources) >> slot & 1)
			blocks[slot] = got.blocks[slot];
	}
	assert_int_equal(parity_rebuild(&got.code, blocks, missing, wanted, got.len), 0);
	assert_rows_equal(&got, &untouched, "rebuilt");
	for (unsigned slot = 0; slot < want->slots; slot++)
		if (missing >> slot & 1)
			memset(untouched.blocks[slot], 0xee, got.len);
	parity_rebuild_plain(&got.code, untouched.blocks, missing, got.len);
	assert_rows_equal(&untouched, &got, "by the oracle");
}

/* Every loss that the parities bear, every part of it wanted. */
static void check_losses(struct rig *rig, struct parity_code code)
{
	struct row want = row_new(rig, code, 0, 128);
	for (unsigned a = 0; a < want.slots; a++) {
		check_one_loss(rig, &want, 1u << a, 1u << a);
		check_one_loss(rig, &want, 1u << a, 0);
		for (unsigned b = a + 1; code.parities == 2 && b < want.slots; b++) {
			uint32_t missing = 1u << a | 1u << b;
			check_one_loss(rig, &want, missing, missing);
			check_one_loss(rig, &want, missing, 1u << a);
			check_one_loss(rig, &want, missing, 1u << b);
		}
	}
	check_one_loss(rig, &want, 0, 0);
}

static void every_loss_that_the_parities_bear_is_rebuilt(void **state)
{
	for_all_codes(*state, check_losses);
}

static void blocks_of_every_length_are_rebuilt(void **state)
{
	struct rig *rig = *state;
	for (unsigned l = 0; l < LENS; l++) {
		struct row row = row_new(rig, (struct parity_code){5, 2}, 0, lens[l]);
		check_one_loss(rig, &row, 1u << 1 | 1u << 3, 1u << 1 | 1u << 3);
		check_one_loss(rig, &row, 1u << 1 | 1u << 5, 1u << 1 | 1u << 5);
	}
}

static void losses_beyond_the_parities_are_refused(void **state)
{
	struct rig *rig = *state;
	struct row p = row_new(rig, (struct parity_code){3, 1}, 0, 64);
	assert_int_equal(parity_rebuild(&p.code, p.blocks, 3, 1, 64), -EIO);
	assert_int_equal(parity_sources(&p.code, 3), 0);
	struct row pq = row_new(rig, (struct parity_code){3, 2}, 0, 64);
	assert_int_equal(parity_rebuild(&pq.code, pq.blocks, 7, 1, 64), -EIO);
	assert_int_equal(parity_rebuild(&pq.code, pq.blocks, 0x1c, 0x10, 64), -EIO);
	assert_int_equal(parity_sources(&pq.code, 0x1c), 0);
}

static void p_serves_before_q(void **unused)
{
	(void)unused;
	const struct parity_code pq = {4, 2};
	assert_int_equal(parity_sources(&pq, 0), 0x0f);
	assert_int_equal(parity_sources(&pq, 0x01), 0x1e);
	assert_int_equal(parity_sources(&pq, 0x11), 0x2e);
	assert_int_equal(parity_sources(&pq, 0x21), 0x1e);
	assert_int_equal(parity_sources(&pq, 0x03), 0x3c);
	assert_int_equal(parity_sources(&pq, 0x30), 0x0f);
	assert_int_equal(parity_sources(&pq, 0x20), 0x0f);
}

/* ---- what is wrong? ---- */

static void spoil(struct rig *rig, const struct row *row, unsigned slot, unsigned bytes)
{
	uint8_t *block = row->blocks[slot];
	for (unsigned i = 0; i < bytes; i++)
		block[random_below(&rig->random, row->len)] ^=
			(uint8_t)(1 + random_below(&rig->random, 255));
}

static void check_one_error(struct rig *rig, struct parity_code code)
{
	for (unsigned l = 0; l < LENS; l++) {
		struct row good = row_new(rig, code, 0, lens[l]);
		assert_true(parity_is_consistent(&code, good.blocks, good.len));
		assert_int_equal(parity_locate_error(&code, good.blocks, good.len), -ENOENT);
		for (unsigned slot = 0; slot < good.slots; slot++) {
			struct row bad = row_copy(rig, &good, 16);
			spoil(rig, &bad, slot, 1);
			assert_false(parity_is_consistent(&code, bad.blocks, bad.len));
			assert_int_equal(parity_locate_error(&code, bad.blocks, bad.len),
				code.parities == 2 ? (int)slot : -EIO);
			random_fill(&rig->random, bad.blocks[slot], bad.len);
			assert_int_equal(parity_locate_error(&code, bad.blocks, bad.len),
				code.parities == 2 ? (int)slot : -EIO);
		}
	}
}

static void two_parities_tell_which_block_is_wrong(void **state)
{
	for_all_codes(*state, check_one_error);
}

static void check_two_errors(struct rig *rig, struct parity_code code)
{
	struct row good = row_new(rig, code, 0, 128);
	for (unsigned a = 0; a < good.slots; a++) {
		for (unsigned b = a + 1; b < good.slots; b++) {
			struct row bad = row_copy(rig, &good, 16);
			random_fill(&rig->random, bad.blocks[a], bad.len);
			random_fill(&rig->random, bad.blocks[b], bad.len);
			assert_false(parity_is_consistent(&code, bad.blocks, bad.len));
			assert_int_equal(parity_locate_error(&code, bad.blocks, bad.len), -EIO);
		}
	}
}

static void of_two_wrong_blocks_nothing_is_claimed(void **state)
{
	for_all_codes(*state, check_two_errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oracle_multiplies_in_the_field_of_md),
		cmocka_unit_test(two_generates_every_element_of_the_field),
		cmocka_unit_test(q_counts_slot_i_with_the_ith_power_of_two),
		cmocka_unit_test(every_check_of_the_code_weighs_its_slots_as_the_oracle_does),
		cmocka_unit_test(the_parities_of_all_data_agree_with_the_oracle),
		cmocka_unit_test(read_modify_write_gives_the_parities_of_the_new_data),
		cmocka_unit_test(partial_parities_and_what_was_written_give_the_parities),
		cmocka_unit_test(a_sum_of_nothing_that_counts_is_zero),
		cmocka_unit_test(every_loss_that_the_parities_bear_is_rebuilt),
		cmocka_unit_test(blocks_of_every_length_are_rebuilt),
		cmocka_unit_test(losses_beyond_the_parities_are_refused),
		cmocka_unit_test(p_serves_before_q),
		cmocka_unit_test(two_parities_tell_which_block_is_wrong),
		cmocka_unit_test(of_two_wrong_blocks_nothing_is_claimed),
	};
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
