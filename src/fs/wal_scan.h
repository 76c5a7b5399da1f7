/* SPDX-License-Identifier: MIT */
/* How much of a write-ahead log is valid: SQLite's own checksums (its file format document, section
 * 4, "The Write-Ahead Log"). Pure; used to choose the best of the mirrored copies. */
#ifndef STABLEFS_FS_WAL_SCAN_H
#define STABLEFS_FS_WAL_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#define WAL_HEADER_BYTES       32u
#define WAL_FRAME_HEADER_BYTES 24u

struct wal_scan {
	bool big_endian; /* how the checksum reads its words */
	uint32_t page_bytes;
	uint8_t salts[8];
	uint32_t sums[2];
	uint64_t frames;    /* valid so far */
	uint64_t committed; /* up to the last commit frame */
};

/* Begin with the log's first WAL_HEADER_BYTES. False: no valid log. */
bool wal_scan_begin(struct wal_scan *scan, const uint8_t *header);

/* Take the next frame (header and page). False where the log ends: the frame is not part of it. */
bool wal_scan_frame(struct wal_scan *scan, const uint8_t *frame);

#endif
