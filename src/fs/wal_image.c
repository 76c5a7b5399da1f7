/* SPDX-License-Identifier: MIT */
/* The log in memory and its way to the members. */
#include "fs/wal_image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "base/block.h"
#include "fs/wal_scan.h"

#define PIECE_BYTES (UINT64_C(1) << 20)
#define FRAME_BYTES (WAL_FRAME_HEADER_BYTES + AREA_PAGE_BYTES)

/* How far a copy's log is valid. */
struct copy_state {
	uint64_t frames, committed;
	bool readable;
};

/* Read one copy of the log into @bytes as far as its frames are valid. */
static struct copy_state copy_scan(const struct wal_image *wal, unsigned copy, uint8_t *bytes)
{
	struct copy_state state = {0};
	struct wal_scan scan;
	uint64_t have = 0, at = WAL_HEADER_BYTES;
	for (;;) {
		/* Most logs are short, and end where a frame is not valid. */
		uint64_t piece = min_u64(max_u64(have, AREA_PAGE_BYTES), PIECE_BYTES);
		uint64_t want = min_u64(piece, wal->capacity - have);
		if (want == 0 || sysarea_read_copy(wal->area, copy, wal->offset + have,
					 bytes + have, want) < 0)
			break;
		state.readable = true;
		if (have == 0 && !wal_scan_begin(&scan, bytes))
			break;
		have += want;
		while (at + FRAME_BYTES <= have) {
			if (!wal_scan_frame(&scan, bytes + at))
				return state;
			at += FRAME_BYTES;
			state.frames = scan.frames;
			state.committed = scan.committed;
		}
	}
	return state;
}

static int best_copy(const struct wal_image *wal, uint8_t *scratch, struct copy_state *out)
{
	int best = -1;
	for (unsigned copy = 0; copy < sysarea_copies(wal->area); copy++) {
		struct copy_state state = copy_scan(wal, copy, scratch);
		if (!state.readable)
			continue;
		if (best < 0 || state.committed > out->committed) {
			best = (int)copy;
			*out = state;
		}
	}
	return best;
}

/* Make every copy equal to the chosen one, as far as that is valid. A copy that cannot be written
 * is the system area's to leave out. */
static void copies_mend(struct wal_image *wal, const uint8_t *bytes, uint64_t len, uint8_t *scratch)
{
	len = round_up_u64(len, AREA_PAGE_BYTES);
	for (unsigned copy = 0; copy < sysarea_copies(wal->area); copy++) {
		for (uint64_t at = 0; at < len; at += PIECE_BYTES) {
			uint64_t n = min_u64(PIECE_BYTES, len - at);
			int ret = sysarea_read_copy(wal->area, copy, wal->offset + at, scratch, n);
			if (ret == 0 && memcmp(scratch, bytes + at, n) == 0)
				continue;
			bool mended = sysarea_repair(wal->area, copy, wal->offset + at, bytes + at,
					      n) == 0;
			if (mended && wal->size)
				sysarea_tell(wal->area, copy, wal->offset + at, "log page", 0);
		}
	}
}

static int image_load(struct wal_image *wal)
{
	uint8_t *scratch = mmap(NULL, wal->capacity, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (scratch == MAP_FAILED)
		return -ENOMEM;
	struct copy_state state = {0};
	int copy = best_copy(wal, scratch, &state);
	int ret = copy < 0 ? -EIO : 0;
	if (copy >= 0) {
		state = copy_scan(wal, (unsigned)copy, wal->bytes);
		if (state.frames > 0)
			wal->size = wal->used = WAL_HEADER_BYTES + state.frames * FRAME_BYTES;
		/* Without frames the log is empty whatever its header says: begin it anew. */
		uint64_t mend = wal->size ? wal->size : AREA_PAGE_BYTES;
		if (!wal->size)
			memset(wal->bytes, 0, AREA_PAGE_BYTES);
		if (!sysarea_is_read_only(wal->area))
			copies_mend(wal, wal->bytes, mend, scratch);
	}
	munmap(scratch, wal->capacity);
	return ret;
}

int wal_image_open(struct wal_image *wal, struct sysarea *area, const struct area_layout *layout)
{
	*wal = (struct wal_image){
		.area = area, .offset = layout->wal_offset, .capacity = layout->wal_bytes};
	void *bytes = mmap(NULL, wal->capacity, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return -ENOMEM;
	wal->bytes = bytes;
	int ret = image_load(wal);
	if (ret < 0)
		wal_image_close(wal);
	return ret;
}

void wal_image_close(struct wal_image *wal)
{
	if (wal->bytes)
		munmap(wal->bytes, wal->capacity);
	wal->bytes = NULL;
}

int wal_image_write(struct wal_image *wal, uint64_t offset, const void *buf, uint32_t len)
{
	if (offset > wal->capacity || len > wal->capacity - offset)
		return -ENOSPC;
	memcpy(wal->bytes + offset, buf, len);
	bool clean = wal->dirty_from >= wal->dirty_end;
	wal->dirty_from = clean ? offset : min_u64(wal->dirty_from, offset);
	wal->dirty_end = clean ? offset + len : max_u64(wal->dirty_end, offset + len);
	wal->size = max_u64(wal->size, offset + len);
	/* A header is written only when the log begins anew. */
	wal->used = offset == 0 ? len : max_u64(wal->used, offset + len);
	return 0;
}

uint32_t wal_image_read(const struct wal_image *wal, uint64_t offset, void *buf, uint32_t len)
{
	uint32_t there = offset >= wal->size ? 0 : (uint32_t)min_u64(len, wal->size - offset);
	memcpy(buf, wal->bytes + offset, there);
	memset((uint8_t *)buf + there, 0, len - there);
	return there;
}

static int dirty_write(struct wal_image *wal)
{
	uint64_t from = round_down_u64(wal->dirty_from, AREA_PAGE_BYTES);
	uint64_t end = min_u64(round_up_u64(wal->dirty_end, AREA_PAGE_BYTES), wal->capacity);
	for (uint64_t at = from; at < end; at += PIECE_BYTES) {
		int ret = sysarea_write(wal->area, wal->offset + at, wal->bytes + at,
			min_u64(PIECE_BYTES, end - at));
		if (ret < 0)
			return ret;
	}
	wal->dirty_from = wal->dirty_end = 0;
	return 0;
}

int wal_image_sync(struct wal_image *wal)
{
	if (wal->dirty_from < wal->dirty_end) {
		int ret = dirty_write(wal);
		if (ret < 0)
			return ret;
	}
	return sysarea_flush(wal->area);
}

int wal_image_delete(struct wal_image *wal)
{
	memset(wal->bytes, 0, AREA_PAGE_BYTES);
	wal->size = wal->used = 0;
	wal->dirty_from = 0;
	wal->dirty_end = AREA_PAGE_BYTES;
	return wal_image_sync(wal);
}
