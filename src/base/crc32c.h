/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli, RFC 3720 section 12.1): polynomial 1EDC6F41, reflected, initial value and
 * final XOR FFFFFFFF. Used by every structure on a member and by the crc32c guard. */
#ifndef STABLEFS_BASE_CRC32C_H
#define STABLEFS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Check value: "123456789" gives E3069283. Pure; any thread. */
uint32_t crc32c(const void *data, size_t len_bytes);

#endif
