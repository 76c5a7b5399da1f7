/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as the start of a system area's header, or of its log, in the way that the
 * file system loads them: whatever they are, nothing outside the regions is touched.
 *
 * The first byte of the input: bit 0, a header, else a log; bit 1, make the checksums fit. */
#include "base/block.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "base/mem.h"
#include "fs/area_disk.h"
#include "fs/wal_image.h"
#include "fs/wal_scan.h"
#include "fs_world.h"
#include "fuzz.h"

#include <string.h>

#define PAGE  AREA_PAGE_BYTES
#define FRAME (WAL_FRAME_HEADER_BYTES + PAGE)

/* ---- headers ---- */

static void header_try(const uint8_t *in, size_t len, bool seal)
{
	struct area_layout layout, again;
	uint8_t header[AREA_HEADER_BYTES] = {0};
	uint64_t bytes = UINT64_C(16) << 20;
	memcpy(header, in, min_u64(len, sizeof(header)));
	if (seal)
		put_le32(header + AREA_HEADER_BYTES - 4, crc32c(header, AREA_HEADER_BYTES - 4));
	if (area_header_decode(header, bytes, &layout) < 0)
		return;
	fuzz_demand(layout.wal_offset + layout.wal_bytes <= bytes);
	fuzz_demand(layout.db_offset + layout.db_bytes <= bytes);
	fuzz_demand(layout.wal_offset >= 2 * AREA_HEADER_BYTES);
	area_header_encode(&layout, header);
	fuzz_demand(area_header_decode(header, bytes, &again) == 0);
	fuzz_demand(memcmp(&layout, &again, sizeof(layout)) == 0);
}

/* ---- logs ---- */

/* s0 += x0 + s1; s1 += x1 + s0: as SQLite sums, little-endian. */
static void sum(uint32_t sums[2], const uint8_t *p, uint32_t len)
{
	for (uint32_t at = 0; at < len; at += 8) {
		sums[0] += get_le32(p + at) + sums[1];
		sums[1] += get_le32(p + at + 4) + sums[0];
	}
}

/* A log whose sums are right, of frames whose fields are the input's. */
static uint64_t log_make(const uint8_t *in, size_t len, uint8_t *out, uint64_t room)
{
	uint32_t sums[2] = {0, 0};
	uint64_t at = WAL_HEADER_BYTES;
	memset(out, 0, WAL_HEADER_BYTES);
	put_be32(out, 0x377f0682);
	put_be32(out + 4, 3007000);
	put_be32(out + 8, PAGE);
	sum(sums, out, 24);
	put_be32(out + 24, sums[0]);
	put_be32(out + 28, sums[1]);
	for (; len >= 8 && at + FRAME <= room; in += 8, len -= 8, at += FRAME) {
		uint8_t *frame = out + at;
		memset(frame, in[7], FRAME);
		memset(frame + 8, 0, 8); /* the salts of the header */
		put_be32(frame, get_le16(in));
		put_be32(frame + 4, in[2] & 1 ? get_le16(in + 3) : 0);
		memcpy(frame + WAL_FRAME_HEADER_BYTES + in[5], in, 8);
		sum(sums, frame, 8);
		sum(sums, frame + WAL_FRAME_HEADER_BYTES, PAGE);
		put_be32(frame + 16, sums[0]);
		put_be32(frame + 20, sums[1]);
	}
	return at;
}

static struct area_layout layout_of(struct sysarea *area)
{
	struct area_layout layout;
	uint8_t *page = mem_alloc_blocks(PAGE);
	fuzz_demand(page && sysarea_read(area, AREA_HEADER_BYTES, page, PAGE) == 0);
	fuzz_demand(area_header_decode(page, sysarea_size_bytes(area), &layout) == 0);
	free(page);
	return layout;
}

static void log_try(const uint8_t *in, size_t len, bool seal)
{
	static uint8_t log[64 * 4096];
	struct fw_trial trial;
	uint64_t bytes = min_u64(len, sizeof(log));
	fw_begin(&trial);
	fw_open(&trial, false);
	struct sysarea *area = volume_sysarea(trial.volume);
	struct area_layout layout = layout_of(area);
	memset(log, 0, sizeof(log));
	if (seal)
		bytes = log_make(in, len, log, sizeof(log));
	else
		memcpy(log, in, bytes);
	bytes = min_u64(round_up_u64(bytes, PAGE), sizeof(log));
	fuzz_demand(sysarea_write(area, layout.wal_offset, log, bytes) == 0);
	fw_close(&trial);
	fw_run(&trial, false);
	fw_end(&trial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	if (!len_bytes)
		return 0;
	if (data[0] & 1)
		header_try(data + 1, len_bytes - 1, data[0] & 2);
	else
		log_try(data + 1, len_bytes - 1, data[0] & 2);
	return 0;
}

/* ---- the corpus it begins with ---- */

static bool area_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	static const char *const names[] = {"header", "header-overlap", "log", "log-of-frames",
		"log-of-a-first-page", "log-torn"};
	static const uint8_t firsts[] = {3, 3, 0, 2, 2, 2};
	struct area_layout layout;
	if (n >= sizeof(names) / sizeof(names[0]))
		return false;
	*name = names[n];
	out[0] = firsts[n];
	if (n < 2) {
		fuzz_demand(area_layout_choose(UINT64_C(16) << 20, &layout) == 0);
		if (n == 1)
			layout.db_offset -= PAGE;
		area_header_encode(&layout, out + 1);
		*len_bytes = 1 + 64;
		return true;
	}
	memset(out + 1, 0, 32);
	for (unsigned i = 0; i < 4; i++) {
		out[1 + 8 * i] = (uint8_t)(n == 4 ? 1 : i + 2); /* page */
		out[3 + 8 * i] = (uint8_t)(n == 5 || i < 3 ? 0 : 1);
		out[4 + 8 * i] = 20;
	}
	*len_bytes = 33;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = FUZZ_SLOWDOWN > 1 ? 0 : 3, .seed = area_seed};
