/* SPDX-License-Identifier: MIT */
/* The bytes of the log: what is encoded is decoded, and nothing else is. */
#include "rings.h"
#include "base/crc32c.h"
#include "unit/random.h"

#define COOKIE UINT64_C(0x1122334455667788)

static const struct journal_run runs[] = {
	{.row = 1, .rows = 3, .slots = 5},
	{.row = 4, .rows = 1, .superseded = true},
	{.row = 15, .rows = 1, .slots = 7},
};

/* A batch of two records at block 5; returns what was encoded. */
static struct journal_disk_batch encode(const struct super *super, uint8_t *block)
{
	struct journal_append a = {.stripe = 63, .runs = runs, .run_count = 3, .crc = 77};
	struct journal_append b = {.stripe = 0, .runs = runs, .run_count = 1, .crc = 78};
	uint32_t at = journal_disk_record_encode(&a, 0, block);
	at = journal_disk_record_encode(&b, at, block);
	struct journal_disk_batch batch = {.seq = 9,
		.tail = 4,
		.at = 5,
		.payload_blocks = 6 + 3 + 6,
		.record_count = 2,
		.record_bytes = (uint16_t)at};
	journal_disk_batch_encode(super, COOKIE, &batch, block);
	return batch;
}

static void a_batch_says_what_was_put_into_it(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, RINGS_STRIPES);
	uint8_t block[BLOCK_BYTES];
	struct journal_disk_batch in = encode(&super, block), out = {0};
	assert_true(journal_disk_batch_decode(&super, COOKIE, 5, block, &out));
	assert_memory_equal(&in, &out, sizeof(in));
	struct journal_disk_record record;
	uint32_t at = 0;
	journal_disk_record_decode(block, &at, &record);
	assert_int_equal(record.stripe, 63);
	assert_int_equal(record.crc, 77);
	assert_int_equal(record.payload_blocks, 9);
	for (unsigned i = 0; i < 3; i++) {
		struct journal_run run = journal_disk_run(&record, i);
		assert_int_equal(run.row, runs[i].row);
		assert_int_equal(run.rows, runs[i].rows);
		assert_int_equal(run.superseded, runs[i].superseded);
		assert_int_equal(run.slots, runs[i].slots);
	}
	journal_disk_record_decode(block, &at, &record);
	assert_int_equal(record.stripe, 0);
	assert_int_equal(record.payload_blocks, 6);
}

static void a_batch_of_another_volume_epoch_or_place_does_not_count(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, RINGS_STRIPES);
	uint8_t block[BLOCK_BYTES];
	struct journal_disk_batch out;
	encode(&super, block);
	assert_false(journal_disk_batch_decode(&super, COOKIE + 1, 5, block, &out));
	assert_false(journal_disk_batch_decode(&super, COOKIE, 6, block, &out));
	super.volume_uuid[3] ^= 1;
	assert_false(journal_disk_batch_decode(&super, COOKIE, 5, block, &out));
}

static void every_flipped_bit_of_a_header_is_found(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, RINGS_STRIPES);
	uint8_t block[BLOCK_BYTES];
	struct journal_disk_batch out;
	struct journal_disk_header header = {.cookie = COOKIE, .generation = 3}, read;
	encode(&super, block);
	for (unsigned bit = 0; bit < BLOCK_BYTES * 8; bit += 7) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(journal_disk_batch_decode(&super, COOKIE, 5, block, &out));
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	journal_disk_header_encode(&super, &header, block);
	assert_true(journal_disk_header_decode(&super, block, &read));
	assert_int_equal(read.cookie, COOKIE);
	for (unsigned bit = 0; bit < BLOCK_BYTES * 8; bit += 7) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(journal_disk_header_decode(&super, block, &read));
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Is all that a decoded batch says possible in the volume? */
static void check_batch(
	const struct super *super, const uint8_t *block, const struct journal_disk_batch *batch)
{
	uint32_t at = 0, payload = 0;
	assert_true(batch->at + 1 + batch->payload_blocks <= journal_disk_ring_blocks(super));
	for (unsigned i = 0; i < batch->record_count; i++) {
		struct journal_disk_record record;
		journal_disk_record_decode(block, &at, &record);
		assert_true(record.stripe < super->stripes);
		payload += record.payload_blocks;
		for (unsigned k = 0; k < record.run_count; k++) {
			struct journal_run run = journal_disk_run(&record, k);
			assert_true(run.row + run.rows <= super->chunk_blocks);
			assert_true(run.slots >> super->members == 0);
			assert_int_equal(run.superseded, !run.slots);
		}
	}
	assert_true(at <= JOURNAL_BATCH_RECORDS_MAX);
	assert_int_equal(payload, batch->payload_blocks);
}

/* With its checksum right, as somebody who means harm would write it. */
static void a_header_that_lies_is_refused_or_possible(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, RINGS_STRIPES);
	struct random r = random_start(__func__, 11);
	uint8_t block[BLOCK_BYTES], copy[BLOCK_BYTES];
	unsigned taken = 0;
	encode(&super, copy);
	for (unsigned n = 0; n < 100000; n++) {
		memcpy(block, copy, BLOCK_BYTES);
		for (unsigned i = 0; i < 1 + n % 3; i++)
			block[12 + random_below(&r, 160)] = (uint8_t)random_u64(&r);
		memset(block + 8, 0, 4);
		uint32_t crc = crc32c(block, BLOCK_BYTES);
		memcpy(block + 8, &crc, 4);
		struct journal_disk_batch out;
		if (!journal_disk_batch_decode(&super, COOKIE, 5, block, &out))
			continue;
		taken++;
		check_batch(&super, block, &out);
	}
	assert_true(taken > 100); /* the checks were reached */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_says_what_was_put_into_it),
		cmocka_unit_test(a_batch_of_another_volume_epoch_or_place_does_not_count),
		cmocka_unit_test(every_flipped_bit_of_a_header_is_found),
		cmocka_unit_test(a_header_that_lies_is_refused_or_possible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
