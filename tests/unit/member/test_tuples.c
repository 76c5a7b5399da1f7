/* SPDX-License-Identifier: MIT */
/* The cache of tuple pages against a plain array, with caches of a few pages, many transfers at
 * once, flushes at any time, and power cuts. */
#include "rig.h"
#include "base/endian.h"

#define STRIPES 1024u /* 16,384 blocks: 32 pages of t10 tuples */
#define BLOCKS  16384u
#define LANES   8u

/* One lane owns every block whose number / LANE_BLOCKS % LANES is its own: transfers of different
 * lanes never meet, those of one lane run one at a time (the stripe lock's work). */
#define LANE_BLOCKS 64u

struct lane {
	struct rig_xfer *rx; /* NULL: idle */
	bool write;
	uint64_t version;
};

struct model {
	struct rig rig;
	uint32_t version[BLOCKS]; /* as of the last write that was done() */
	uint32_t durable[BLOCKS]; /* as of the last flush */
	struct lane lanes[LANES];
	struct rig_flush flush;
	bool flushing;
	uint32_t at_flush[BLOCKS]; /* version[] when the flush began */
	uint32_t newest;
};

static void model_init(struct model *mo, uint64_t seed, enum pi_type pi, unsigned cache_pages)
{
	memset(mo, 0, sizeof(*mo));
	rig_init(&mo->rig, seed, pi, PI_CHECK_DEVICE, STRIPES);
	member_set_tuple_cache(mo->rig.m, cache_pages);
}

static void lane_start(struct model *mo, unsigned l)
{
	struct lane *lane = &mo->lanes[l];
	uint64_t r = rig_random(&mo->rig);
	uint32_t blocks = (uint32_t)(r % 16) ? (uint32_t)(r >> 8) % 8 + 1 : LANE_BLOCKS;
	uint64_t group = (r >> 16) % (BLOCKS / LANE_BLOCKS / LANES);
	uint64_t at = (r >> 40) % (LANE_BLOCKS - blocks + 1);
	uint64_t block = (group * LANES + l) * LANE_BLOCKS + at;
	lane->write = r >> 60 & 1;
	if (lane->write) {
		lane->version = ++mo->newest;
		lane->rx = rig_write_new(&mo->rig, block, blocks, lane->version);
		member_write(&lane->rx->x);
	} else {
		lane->rx = rig_xfer_new(&mo->rig, block, blocks);
		member_read(&lane->rx->x);
	}
	assert_false(lane->rx->ended);
}

static void lane_check_read(struct model *mo, const struct rig_xfer *rx)
{
	enum pi_verdict verdict;
	assert_int_equal(member_verify(&rx->x, 0, &verdict), rx->x.blocks);
	for (uint32_t i = 0; i < rx->x.blocks; i++)
		assert_true(rig_block_is(rx, i, mo->version[rx->x.block + i]));
}

static void lane_end(struct model *mo, struct lane *lane)
{
	struct rig_xfer *rx = lane->rx;
	assert_int_equal(rx->err, 0);
	if (!lane->write)
		lane_check_read(mo, rx);
	for (uint32_t i = 0; lane->write && i < rx->x.blocks; i++)
		mo->version[rx->x.block + i] = (uint32_t)lane->version;
	rig_xfer_free(rx);
	lane->rx = NULL;
}

static void model_flush_start(struct model *mo)
{
	mo->flushing = true;
	memcpy(mo->at_flush, mo->version, sizeof(mo->version));
	rig_flush_start(&mo->rig, &mo->flush);
}

static void model_step(struct model *mo, bool start)
{
	for (unsigned l = 0; l < LANES; l++) {
		if (mo->lanes[l].rx && mo->lanes[l].rx->ended)
			lane_end(mo, &mo->lanes[l]);
		if (start && !mo->lanes[l].rx && rig_random(&mo->rig) % 2)
			lane_start(mo, l);
	}
	if (mo->flushing && mo->flush.ended) {
		assert_int_equal(mo->flush.err, 0);
		memcpy(mo->durable, mo->at_flush, sizeof(mo->durable));
		mo->flushing = false;
	}
	if (start && !mo->flushing && rig_random(&mo->rig) % 50 == 0)
		model_flush_start(mo);
	assert_true(io_run(mo->rig.io, true) >= 0);
}

static bool model_idle(const struct model *mo)
{
	bool idle = !mo->flushing;
	for (unsigned l = 0; l < LANES; l++)
		idle = idle && !mo->lanes[l].rx;
	return idle;
}

static void model_drain(struct model *mo)
{
	while (!model_idle(mo))
		model_step(mo, false);
}

static void any_mix_of_transfers_and_flushes_agrees_with_an_array(void **unused)
{
	(void)unused;
	static const unsigned caches[] = {1, 2, 3, 5, 64};
	for (unsigned c = 0; c < 5; c++)
		for (unsigned seed = 1; seed <= 3; seed++) {
			static struct model mo;
			model_init(&mo, seed, seed == 2 ? PI_CRC32C : PI_T10, caches[c]);
			for (unsigned n = 0; n < 3000; n++)
				model_step(&mo, true);
			model_drain(&mo);
			for (uint64_t b = 0; b < BLOCKS; b += 256) {
				struct rig_xfer *rx = rig_read(&mo.rig, b, 256);
				assert_int_equal(rx->err, 0);
				lane_check_read(&mo, rx);
				rig_xfer_free(rx);
			}
			rig_fini(&mo.rig);
		}
}

/* After a power failure each block is as of the last flush or as written since; a block not written
 * since the flush is exactly as it was, tuple and data. */
static void check_after_reboot(struct model *mo, const uint32_t *attempted)
{
	enum pi_verdict verdict;
	for (uint64_t b = 0; b < BLOCKS; b += 256) {
		struct rig_xfer *rx = rig_read(&mo->rig, b, 256);
		assert_int_equal(rx->err, 0);
		for (uint32_t i = 0; i < 256; i++) {
			if (attempted[b + i] > mo->durable[b + i])
				continue;
			assert_true(rig_block_is(rx, i, mo->durable[b + i]));
			assert_int_not_equal(member_verify(&rx->x, i, &verdict), i);
		}
		rig_xfer_free(rx);
	}
}

/* The newest version that may be on the medium: done() or under way. */
static void note_attempts(struct model *mo, uint32_t *attempted)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (mo->version[b] > attempted[b])
			attempted[b] = mo->version[b];
	for (unsigned l = 0; l < LANES; l++) {
		struct lane *lane = &mo->lanes[l];
		for (uint32_t i = 0; lane->rx && lane->write && i < lane->rx->x.blocks; i++)
			attempted[lane->rx->x.block + i] = (uint32_t)lane->version;
	}
}

static void crash(struct model *mo)
{
	/* The power goes, everything under way fails; only then may the member be closed. */
	sim_world_cut_power_after(mo->rig.world, rig_random(&mo->rig) % 3);
	for (unsigned i = 0; i < 10000 && !sim_world_power_is_cut(mo->rig.world); i++) {
		for (unsigned l = 0; l < LANES; l++) {
			struct lane *lane = &mo->lanes[l];
			if (lane->rx && lane->rx->ended && lane->rx->err == 0)
				lane_end(mo, lane);
			if (!lane->rx)
				lane_start(mo, l);
		}
		assert_true(io_run(mo->rig.io, true) >= 0);
	}
	assert_true(sim_world_power_is_cut(mo->rig.world));
	static uint32_t attempted[BLOCKS];
	memset(attempted, 0, sizeof(attempted));
	note_attempts(mo, attempted);
	for (unsigned l = 0; l < LANES; l++)
		if (mo->lanes[l].rx) {
			rig_run_until(&mo->rig, &mo->lanes[l].rx->ended);
			rig_xfer_free(mo->lanes[l].rx);
			mo->lanes[l].rx = NULL;
		}
	if (mo->flushing)
		rig_run_until(&mo->rig, &mo->flush.ended);
	/* A flush that ended well before the cut counts. */
	if (mo->flushing && mo->flush.err == 0)
		memcpy(mo->durable, mo->at_flush, sizeof(mo->durable));
	mo->flushing = false;
	while (io_run(mo->rig.io, true) > 0)
		continue;
	rig_reboot(&mo->rig);
	check_after_reboot(mo, attempted);
}

static void what_was_flushed_survives_every_power_cut(void **unused)
{
	(void)unused;
	for (unsigned seed = 1; seed <= 12; seed++) {
		static struct model mo;
		model_init(&mo, seed, seed % 2 ? PI_T10 : PI_CRC32C, seed % 4 + 1);
		for (unsigned n = 0; n < 300 + seed * 40; n++)
			model_step(&mo, true);
		crash(&mo);
		rig_fini(&mo.rig);
	}
}

/* Versions grow, so the tuple on the medium tells how old it is: it may lag behind the data, never
 * run ahead of it. */
static uint64_t version_of_tuple(const uint8_t *complemented, uint64_t block, uint64_t newest)
{
	uint8_t tuple[8], data[BLOCK_BYTES], candidate[8];
	for (unsigned i = 0; i < 8; i++)
		tuple[i] = (uint8_t)~complemented[i];
	if (pi_is_escape(PI_T10, tuple))
		return 0;
	for (uint64_t v = 1; v <= newest; v++) {
		rig_fill(data, block, v);
		pi_generate(PI_T10, data, 1, block, candidate);
		if (memcmp(candidate, tuple, 8) == 0)
			return v;
	}
	fail_msg("block %llu has a tuple that nobody wrote", (unsigned long long)block);
	return 0;
}

static void a_tuple_never_reaches_the_medium_before_its_data(void **unused)
{
	(void)unused;
	struct rig rig;
	struct rig_flush flush = {.ended = true};
	rig_init(&rig, 5, PI_T10, PI_CHECK_NONE, STRIPES);
	member_set_tuple_cache(rig.m, 1);
	struct rig_xfer *rx[4] = {0};
	uint64_t newest[4] = {0};
	for (unsigned n = 0; n < 3000; n++) {
		for (unsigned i = 0; i < 4; i++) {
			if (rx[i] && rx[i]->ended) {
				rig_xfer_free(rx[i]);
				rx[i] = NULL;
			}
			if (!rx[i] && newest[i] < 40) {
				rx[i] = rig_write_new(&rig, i * 600, 1, ++newest[i]);
				member_write(&rx[i]->x);
			}
		}
		if (flush.ended && n % 7 == 0)
			rig_flush_start(&rig, &flush);
		assert_true(io_run(rig.io, true) >= 0);
		for (unsigned i = 0; i < 4; i++) {
			const struct super *super = member_super(rig.m);
			uint8_t tuple[8], data[16];
			sim_disk_peek(rig.world, RIG_DISK, super->tuples.offset_bytes + i * 600 * 8,
				tuple, 8);
			sim_disk_peek(rig.world, RIG_DISK,
				super->data.offset_bytes + i * 600 * BLOCK_BYTES, data, 16);
			uint64_t stored;
			memcpy(&stored, data + 8, 8);
			assert_true(version_of_tuple(tuple, i * 600, newest[i]) <= stored);
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(newest[i], 40);
		if (rx[i])
			rig_run_until(&rig, &rx[i]->ended);
		if (rx[i])
			rig_xfer_free(rx[i]);
	}
	rig_run_until(&rig, &flush.ended);
	assert_int_equal(rig_flush(&rig), 0);
	rig_fini(&rig);
}

static void a_write_during_the_flush_of_its_page_is_not_lost(void **unused)
{
	(void)unused;
	for (unsigned steps = 0; steps < 40; steps++) {
		struct rig rig;
		struct rig_flush flush;
		rig_init(&rig, 3 + steps, PI_T10, PI_CHECK_NONE, STRIPES);
		assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
		rig_flush_start(&rig, &flush);
		for (unsigned i = 0; i < steps && !flush.ended; i++)
			io_run(rig.io, false);
		assert_int_equal(rig_write(&rig, 1, 1, 2), 0);
		rig_run_until(&rig, &flush.ended);
		assert_int_equal(flush.err, 0);
		assert_int_equal(rig_flush(&rig), 0);
		rig_reboot(&rig);
		assert_true(rig_reads(&rig, 0, 1, 1));
		assert_true(rig_reads(&rig, 1, 1, 2));
		rig_fini(&rig);
	}
}

/* Keep a write of the first block of @page's blocks under way. */
static void rewrite(struct rig *rig, unsigned page, struct rig_xfer **rx, uint64_t *version)
{
	if (*rx && !(*rx)->ended)
		return;
	if (*rx)
		rig_xfer_free(*rx);
	*rx = rig_write_new(rig, page * 512, 1, ++*version);
	member_write(&(*rx)->x);
}

/* More runs than are written at once; a page under way is dirtied again, and so are its neighbours,
 * which join what is yet to be written. */
static void a_page_under_way_is_never_written_a_second_time_meanwhile(void **unused)
{
	(void)unused;
	for (unsigned seed = 1; seed <= 40; seed++) {
		struct rig rig;
		struct rig_flush flush;
		uint64_t version[32] = {0};
		rig_init(&rig, seed, PI_T10, PI_CHECK_NONE, STRIPES);
		for (unsigned page = 0; page < 32; page += 2) {
			version[page] = 1;
			assert_int_equal(rig_write(&rig, page * 512, 1, 1), 0);
		}
		for (unsigned page = 1; page < 32; page += 2) /* loaded, not dirty */
			assert_true(rig_reads(&rig, page * 512, 1, 0));
		struct rig_xfer *rx[32] = {0};
		rig_flush_start(&rig, &flush);
		while (!flush.ended) {
			for (unsigned page = 0; page < 32; page++)
				rewrite(&rig, page, &rx[page], &version[page]);
			assert_true(io_run(rig.io, true) >= 0);
		}
		for (unsigned page = 0; page < 32; page++) {
			rig_run_until(&rig, &rx[page]->ended);
			rig_xfer_free(rx[page]);
		}
		assert_int_equal(flush.err, 0);
		assert_int_equal(rig_flush(&rig), 0);
		rig_reboot(&rig);
		for (unsigned page = 0; page < 32; page++)
			assert_true(rig_reads(&rig, page * 512, 1, version[page]));
		rig_fini(&rig);
	}
}

static void a_page_that_cannot_be_written_fails_the_flush_and_stays_dirty(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_write(&rig, 3000, 1, 2), 0);
	rig_arm(&rig, SIM_WRITE_ERROR, member_super(rig.m)->tuples.offset_bytes, 4096, 2);
	assert_int_equal(rig_flush(&rig), -EIO);
	assert_int_equal(rig_flush(&rig), -EIO);
	assert_int_equal(rig_flush(&rig), 0);
	rig_reboot(&rig);
	assert_true(rig_reads(&rig, 0, 1, 1));
	assert_true(rig_reads(&rig, 3000, 1, 2));
	rig_fini(&rig);
}

static void a_flush_of_the_medium_that_fails_is_told(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	rig_arm(&rig, SIM_FLUSH_ERROR, 0, 0, 1);
	assert_int_equal(rig_flush(&rig), -EIO);
	assert_int_equal(rig_flush(&rig), 0);
	rig_fini(&rig);
}

static void a_full_cache_that_cannot_be_written_back_fails_writes_not_reads(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	member_set_tuple_cache(rig.m, 1);
	const struct super_area *tuples = &member_super(rig.m)->tuples;
	rig_arm(&rig, SIM_WRITE_ERROR, tuples->offset_bytes, tuples->len_bytes, 0);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	assert_int_equal(rig_write(&rig, 2000, 1, 1), -EIO);
	assert_true(rig_reads(&rig, 4000, 1, 0));
	assert_true(rig_reads(&rig, 0, 1, 1));
	sim_world_disarm_all(rig.world);
	assert_int_equal(rig_write(&rig, 2000, 1, 2), 0);
	assert_true(rig_reads(&rig, 2000, 1, 2));
	assert_int_equal(rig_flush(&rig), 0);
	rig_fini(&rig);
}

static void consecutive_dirty_pages_go_out_as_one_write(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	static const unsigned order[] = {5, 3, 4, 6, 2};
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(rig_write(&rig, order[i] * 512 + 7, 1, 1), 0);
	uint64_t writes = sim_world_writes(rig.world);
	assert_int_equal(rig_flush(&rig), 0);
	assert_int_equal(sim_world_writes(rig.world), writes + 1);
	assert_int_equal(member_stats(rig.m).tuple_page_writes, 5);
	assert_int_equal(rig_flush(&rig), 0); /* nothing is dirty any more */
	assert_int_equal(sim_world_writes(rig.world), writes + 1);
	rig_fini(&rig);
}

static void flushes_that_wait_share_one_round(void **unused)
{
	(void)unused;
	struct rig rig;
	struct rig_flush flushes[20];
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 0, 1, 1), 0);
	uint64_t writes = sim_world_writes(rig.world);
	for (unsigned i = 0; i < 20; i++)
		rig_flush_start(&rig, &flushes[i]);
	for (unsigned i = 0; i < 20; i++) {
		rig_run_until(&rig, &flushes[i].ended);
		assert_int_equal(flushes[i].err, 0);
	}
	assert_int_equal(sim_world_writes(rig.world), writes + 1);
	rig_fini(&rig);
}

static void a_page_overwritten_whole_is_not_loaded(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_CRC32C, PI_CHECK_NONE, STRIPES);
	assert_int_equal(rig_write(&rig, 256, 256, 1), 0);
	assert_int_equal(member_stats(rig.m).tuple_page_reads, 0);
	assert_int_equal(rig_write(&rig, 512, 255, 1), 0);
	assert_int_equal(member_stats(rig.m).tuple_page_reads, 1);
	assert_true(rig_reads(&rig, 256, 256, 1));
	assert_true(rig_reads(&rig, 512, 255, 1));
	assert_true(rig_reads(&rig, 767, 1, 0));
	rig_fini(&rig);
}

static void pages_in_the_cache_are_not_read_again(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig, 4, PI_T10, PI_CHECK_NONE, STRIPES);
	for (unsigned i = 0; i < 512; i += 8)
		assert_true(rig_reads(&rig, i, 8, 0));
	assert_int_equal(member_stats(rig.m).tuple_page_reads, 1);
	member_set_tuple_cache(rig.m, 2);
	assert_true(rig_reads(&rig, 512, 1, 0));
	assert_true(rig_reads(&rig, 0, 1, 0));
	assert_int_equal(member_stats(rig.m).tuple_page_reads, 2);
	assert_true(rig_reads(&rig, 1024, 1, 0)); /* drops page 1, used longest ago */
	assert_true(rig_reads(&rig, 0, 1, 0));
	assert_int_equal(member_stats(rig.m).tuple_page_reads, 3);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_mix_of_transfers_and_flushes_agrees_with_an_array),
		cmocka_unit_test(what_was_flushed_survives_every_power_cut),
		cmocka_unit_test(a_tuple_never_reaches_the_medium_before_its_data),
		cmocka_unit_test(a_write_during_the_flush_of_its_page_is_not_lost),
		cmocka_unit_test(a_page_under_way_is_never_written_a_second_time_meanwhile),
		cmocka_unit_test(a_page_that_cannot_be_written_fails_the_flush_and_stays_dirty),
		cmocka_unit_test(a_flush_of_the_medium_that_fails_is_told),
		cmocka_unit_test(a_full_cache_that_cannot_be_written_back_fails_writes_not_reads),
		cmocka_unit_test(consecutive_dirty_pages_go_out_as_one_write),
		cmocka_unit_test(flushes_that_wait_share_one_round),
		cmocka_unit_test(a_page_overwritten_whole_is_not_loaded),
		cmocka_unit_test(pages_in_the_cache_are_not_read_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
