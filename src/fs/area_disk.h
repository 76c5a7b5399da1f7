/* SPDX-License-Identifier: MIT */
/* How the system area is divided, decoded; its bytes are area_disk.c's alone
 * (docs/format.md).
 *
 *	| header copy A | header copy B | ... | write-ahead log (1/4) | database (the rest) | */
#ifndef STABLEFS_FS_AREA_DISK_H
#define STABLEFS_FS_AREA_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/errmsg.h"

#define AREA_HEADER_BYTES  4096u
#define AREA_HEADER_COPIES 2u
#define AREA_MIN_BYTES     (UINT64_C(2) << 20)
#define AREA_PAGE_BYTES    4096u

struct area_layout {
	uint64_t sequence; /* the header copy with the greater one counts */
	uint64_t salt; /* of the page checksums: pages of an earlier file system do not verify */
	uint64_t wal_offset, wal_bytes;
	uint64_t db_offset, db_bytes;
};

/* Divide an area of @area_bytes; -ENOSPC below AREA_MIN_BYTES. Sets everything but sequence and
 * salt. */
int area_layout_choose(uint64_t area_bytes, struct area_layout *out);

/* Copies are written in turn: which one has @sequence. */
static inline unsigned area_header_slot(uint64_t sequence)
{
	return (unsigned)((sequence - 1) % AREA_HEADER_COPIES);
}

/* Little-endian, with version and CRC-32C. */
void area_header_encode(const struct area_layout *layout, uint8_t *out);

/* Decode and check what a hostile image could have wrong. -ENOMSG: no header; -EPROTONOSUPPORT: a
 * newer version; -EUCLEAN: damaged. */
int area_header_decode(const uint8_t *in, uint64_t area_bytes, struct area_layout *out);

/* The trailer of a database page: its number and a checksum over salt, number and content. */
#define AREA_TRAILER_BYTES 8u
void area_page_seal(uint8_t *page, uint32_t number, uint64_t salt);
bool area_page_verify(const uint8_t *page, uint32_t number, uint64_t salt);

#endif
