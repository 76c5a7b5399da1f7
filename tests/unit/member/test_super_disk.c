/* SPDX-License-Identifier: MIT */
/* The bytes of a superblock, and a decoder that trusts none of them. */
#include "rig.h"
#include "base/crc32c.h"
#include "base/endian.h"

#define SEED 20260101u

static void encode(struct super *super, uint8_t *block)
{
	*super = rig_super(PI_T10, PI_CHECK_DEVICE, 100);
	super->clean = true;
	super->generation = UINT64_C(0x1122334455667788);
	super->write_hole = SUPER_HOLE_JOURNAL;
	super->stale_since = 77;
	super->states[2] = SUPER_MEMBER_REBUILDING;
	memcpy(super->peers[1], super->member_uuid, 16);
	memset(super->peers[2], 0x77, 16);
	super_encode(super, block);
}

static void seal(uint8_t *block)
{
	put_le32(block + 12, 0);
	put_le32(block + 12, crc32c(block, SUPER_BYTES));
}

static void a_superblock_comes_back_as_it_was(void **unused)
{
	(void)unused;
	struct super in, out;
	uint8_t block[SUPER_BYTES], again[SUPER_BYTES];
	encode(&in, block);
	assert_int_equal(super_decode(block, in.member_bytes, &out, NULL), 0);
	assert_int_equal(out.generation, in.generation);
	assert_int_equal(out.created_ns, in.created_ns);
	assert_int_equal(out.stripes, 100);
	assert_int_equal(out.members, 3);
	assert_int_equal(out.index, 1);
	assert_int_equal(out.pi, PI_T10);
	assert_int_equal(out.pi_check, PI_CHECK_DEVICE);
	assert_int_equal(out.write_hole, SUPER_HOLE_JOURNAL);
	assert_int_equal(out.stale_since, 77);
	assert_int_equal(out.states[1], SUPER_MEMBER_ACTIVE);
	assert_int_equal(out.states[2], SUPER_MEMBER_REBUILDING);
	assert_int_equal(out.states[3], SUPER_MEMBER_MISSING);
	assert_true(out.clean);
	assert_string_equal(out.label, "rig");
	assert_memory_equal(out.volume_uuid, in.volume_uuid, 16);
	super_encode(&out, again);
	assert_memory_equal(block, again, SUPER_BYTES);
}

static void the_bytes_stand_where_the_format_says(void **unused)
{
	(void)unused;
	struct super super;
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	uint32_t crc = get_le32(block + 12);
	assert_memory_equal(block, "STABLEFS\3\0\0\0", 12);
	assert_int_equal(get_le64(block + 16), UINT64_C(0x1122334455667788));
	assert_memory_equal(block + 64, "rig", 4);
	assert_int_equal(get_le32(block + 96), 1);
	assert_int_equal(get_le32(block + 100), 5);
	assert_int_equal(get_le32(block + 112), 16);
	assert_int_equal(get_le32(block + 116), 1);
	assert_int_equal(get_le64(block + 128), 100);
	assert_int_equal(get_le64(block + 144), super.member_bytes);
	assert_int_equal(get_le64(block + 160), 65536);
	assert_int_equal(get_le64(block + 224), super.data.offset_bytes);
	assert_int_equal(get_le32(block + 124), 1);
	assert_int_equal(get_le64(block + 152), 77);
	assert_memory_equal(block + 240, "\1\1\2\0", 4);
	assert_memory_equal(block + 256 + 16, super.member_uuid, 16);
	put_le32(block + 12, 0);
	assert_int_equal(crc32c(block, SUPER_BYTES), crc);
}

static void every_bit_flip_is_detected(void **unused)
{
	(void)unused;
	struct super super, out;
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	for (unsigned bit = 0; bit < SUPER_BYTES * 8; bit++) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		int err = super_decode(block, UINT64_MAX, &out, NULL);
		assert_int_equal(err, bit < 64 ? -ENOMSG : -EUCLEAN);
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), 0);
}

static void a_newer_version_is_not_damage(void **unused)
{
	(void)unused;
	struct super super, out;
	struct errmsg why = {0};
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	put_le32(block + 8, 4);
	seal(block);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, &why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "version 4"));
}

static void version_2_is_read_and_version_3_written_where_there_is_a_log(void **unused)
{
	(void)unused;
	struct super super, out;
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	assert_int_equal(get_le32(block + 8), 3);
	put_le32(block + 8, 2);
	seal(block);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), 0);
	assert_int_equal(out.write_hole, SUPER_HOLE_JOURNAL);
	super.write_hole = SUPER_HOLE_BITMAP;
	super_encode(&super, block);
	assert_int_equal(get_le32(block + 8), 2);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), 0);
}

static void a_member_that_was_truncated_is_refused(void **unused)
{
	(void)unused;
	struct super super, out;
	struct errmsg why = {0};
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	assert_int_equal(super_decode(block, super.member_bytes - 1, &out, &why), -EUCLEAN);
	assert_non_null(strstr(why.text, "truncated?"));
}

/* What a hostile image may say behind a good checksum. */
static const struct lie {
	unsigned offset, len_bytes;
	uint64_t value;
} lies[] = {
	{96, 4, 2},   /* unknown flag */
	{100, 4, 4},  /* level */
	{100, 4, 0},  /* single with 3 members */
	{104, 4, 17}, /* members */
	{104, 4, 0x80000003},
	{108, 4, 3}, /* index */
	{112, 4, 0}, /* chunk */
	{112, 4, 24},
	{112, 4, 512},
	{116, 4, 4}, /* PI */
	{116, 4, 3}, /* larger tuples do not fit */
	{120, 4, 2},
	{124, 4, 2},   /* write hole */
	{128, 8, 0},   /* stripes */
	{128, 8, 101}, /* more than the data area holds */
	{128, 8, UINT64_C(1) << 60},
	{136, 8, 0}, /* region_blocks */
	{136, 8, 24},
	{136, 8, UINT64_MAX},
	{144, 8, 0}, /* member_bytes */
	{144, 8, UINT64_MAX},
	{144, 8, UINT64_C(1) << 57},
	{144, 8, (8 << 20) + 4096},
	{160, 8, 4096}, /* the intent area over copy A */
	{160, 8, 65537},
	{168, 8, 4096}, /* too small */
	{168, 8, UINT64_C(0xfffffffffffff000)},
	{176, 8, 65536}, /* the journal over the intent area */
	{192, 8, UINT64_C(0xfffffffffffff000)},
	{208, 8, 0},
	{216, 8, 0}, /* no tuples */
	{224, 8, 4096},
	{232, 8, 4096}, /* too little data */
	{232, 8, UINT64_C(1) << 40},
	{241, 1, 3}, /* states */
	{243, 1, 1},
	{256 + 3 * 16, 1, 1}, /* a peer behind the last member */
	{512, 1, 1},          /* reserved tail */
	{4095, 1, 1},
};

static void a_lie_behind_a_good_checksum_is_refused(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct super super, out;
		struct errmsg why = {0};
		uint8_t block[SUPER_BYTES];
		encode(&super, block);
		uint64_t value = htole64(lies[i].value);
		memcpy(block + lies[i].offset, &value, lies[i].len_bytes);
		seal(block);
		if (super_decode(block, UINT64_MAX, &out, &why) != -EUCLEAN)
			fail_msg("lie %u at offset %u was believed", i, lies[i].offset);
		assert_true(why.text[0]);
	}
}

static void a_spare_has_an_index_of_its_own(void **unused)
{
	(void)unused;
	struct super super, out;
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	put_le32(block + 108, SUPER_INDEX_SPARE);
	seal(block);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), 0);
	assert_int_equal(out.index, SUPER_INDEX_SPARE);
	put_le32(block + 108, SUPER_INDEX_SPARE + 1);
	seal(block);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), -EUCLEAN);
}

static void a_label_without_an_end_is_refused(void **unused)
{
	(void)unused;
	struct super super, out;
	uint8_t block[SUPER_BYTES];
	encode(&super, block);
	memset(block + 64, 'x', 32);
	seal(block);
	assert_int_equal(super_decode(block, UINT64_MAX, &out, NULL), -EUCLEAN);
}

/* Whatever is accepted keeps the promises that the layers above rely on. */
static void random_lies_are_refused_or_harmless(void **unused)
{
	(void)unused;
	struct rig rig = {.random = SEED};
	print_message("seed %u\n", SEED);
	unsigned accepted = 0;
	for (unsigned n = 0; n < 20000; n++) {
		struct super super, out;
		uint8_t block[SUPER_BYTES];
		encode(&super, block);
		for (unsigned k = rig_random(&rig) % 3 + 1; k; k--)
			block[96 + rig_random(&rig) % 160] = (uint8_t)rig_random(&rig);
		seal(block);
		if (super_decode(block, UINT64_MAX, &out, NULL) < 0)
			continue;
		accepted++;
		assert_true(out.index < out.members || out.index == SUPER_INDEX_SPARE);
		assert_true(out.members <= SUPER_MAX_MEMBERS);
		assert_true(out.data.offset_bytes + super_data_blocks(&out) * BLOCK_BYTES <=
			    out.member_bytes - SUPER_TAIL_BYTES);
		assert_true(super_regions(&out) <= SUPER_MAX_REGIONS);
	}
	assert_true(accepted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_superblock_comes_back_as_it_was),
		cmocka_unit_test(the_bytes_stand_where_the_format_says),
		cmocka_unit_test(every_bit_flip_is_detected),
		cmocka_unit_test(a_newer_version_is_not_damage),
		cmocka_unit_test(version_2_is_read_and_version_3_written_where_there_is_a_log),
		cmocka_unit_test(a_member_that_was_truncated_is_refused),
		cmocka_unit_test(a_lie_behind_a_good_checksum_is_refused),
		cmocka_unit_test(a_spare_has_an_index_of_its_own),
		cmocka_unit_test(a_label_without_an_end_is_refused),
		cmocka_unit_test(random_lies_are_refused_or_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
