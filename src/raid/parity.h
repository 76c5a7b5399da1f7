/* SPDX-License-Identifier: MIT */
/* Parity: XOR by isa-l, and its plain oracle.
 * P = D_0 ^ D_1 ^ ... ^ D_(n-1). Read-modify-write: P' = P ^ D_i ^ D_i'. A lost block is the XOR of
 * all others of its row. Pure; any thread. */
#ifndef STABLEFS_RAID_PARITY_H
#define STABLEFS_RAID_PARITY_H

#include <stdbool.h>
#include <stdint.h>

#define PARITY_MAX_SOURCES 64u

/* *@dest = XOR of @count sources (1 to PARITY_MAX_SOURCES) of @len_bytes each. All pointers are
 * aligned to 32 bytes, @len_bytes is a multiple of 32. @dest may be one of the sources. */
void parity_xor(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes);

/* The same byte by byte, for tests. */
void parity_xor_plain(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes);

#endif
