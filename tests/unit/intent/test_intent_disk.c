/* SPDX-License-Identifier: MIT */
/* The bytes of the intent area. */
#include "rig.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "intent/intent_disk.h"

static void sectors_and_image_grow_with_the_regions(void **unused)
{
	(void)unused;
	assert_int_equal(intent_disk_sectors(1), 1);
	assert_int_equal(intent_disk_sectors(3968), 1);
	assert_int_equal(intent_disk_sectors(3969), 2);
	assert_int_equal(intent_disk_image_bytes(1), 8192);
	assert_int_equal(intent_disk_image_bytes(15872), 8192);
	assert_int_equal(intent_disk_image_bytes(15873), 12288);
	assert_true(intent_disk_image_bytes(SUPER_MAX_REGIONS) <= SUPER_INTENT_MIN_BYTES);
}

static void a_sector_comes_back_and_stands_as_the_format_says(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, 64);
	uint64_t words[INTENT_SECTOR_WORDS] = {0}, out[INTENT_SECTOR_WORDS];
	uint8_t sector[512], covered[528];
	words[0] = 1u << 9; /* region 9 of the sector: bit 1 of byte 17 */
	words[61] = UINT64_C(1) << 63;
	intent_disk_sector_encode(&super, 3, words, sector);
	assert_int_equal(sector[16], 0);
	assert_int_equal(sector[17], 2);
	assert_int_equal(sector[511], 0x80);
	assert_int_equal(get_le32(sector + 4), 3);
	memcpy(covered, super.volume_uuid, 16);
	memcpy(covered + 16, sector, 512);
	memset(covered + 16, 0, 4);
	assert_int_equal(get_le32(sector), crc32c(covered, 528));
	assert_true(intent_disk_sector_decode(&super, 3, sector, out));
	assert_memory_equal(out, words, sizeof(words));
}

static void every_bit_flip_of_a_sector_is_detected(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, 64);
	uint64_t words[INTENT_SECTOR_WORDS] = {0x123456789abcdef};
	uint8_t sector[512];
	intent_disk_sector_encode(&super, 0, words, sector);
	for (unsigned bit = 0; bit < 512 * 8; bit++) {
		sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(intent_disk_sector_decode(&super, 0, sector, words));
		sector[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(intent_disk_sector_decode(&super, 0, sector, words));
}

static void sectors_of_another_place_or_volume_are_refused(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, 64), other = super;
	uint64_t words[INTENT_SECTOR_WORDS] = {7};
	uint8_t sector[512];
	other.volume_uuid[3] ^= 1;
	intent_disk_sector_encode(&super, 1, words, sector);
	assert_false(intent_disk_sector_decode(&super, 0, sector, words));
	assert_false(intent_disk_sector_decode(&other, 1, sector, words));
	memset(sector, 0, sizeof(sector));
	assert_false(intent_disk_sector_decode(&super, 0, sector, words));
}

static void every_bit_flip_of_the_header_is_detected(void **unused)
{
	(void)unused;
	struct super super = rig_super(PI_NONE, PI_CHECK_NONE, 64);
	uint8_t header[BLOCK_BYTES];
	intent_disk_header_encode(&super, header);
	assert_memory_equal(header, "SFSINTNT", 8);
	assert_int_equal(get_le64(header + 32), super_regions(&super));
	assert_true(intent_disk_header_good(&super, header));
	for (unsigned bit = 0; bit < BLOCK_BYTES * 8; bit++) {
		header[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(intent_disk_header_good(&super, header));
		header[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	super.region_blocks *= 2;
	assert_false(intent_disk_header_good(&super, header));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sectors_and_image_grow_with_the_regions),
		cmocka_unit_test(a_sector_comes_back_and_stands_as_the_format_says),
		cmocka_unit_test(every_bit_flip_of_a_sector_is_detected),
		cmocka_unit_test(sectors_of_another_place_or_volume_are_refused),
		cmocka_unit_test(every_bit_flip_of_the_header_is_detected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
