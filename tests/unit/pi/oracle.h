/* SPDX-License-Identifier: MIT */
/* The guards, one bit at a time, straight from their definitions. */
#ifndef STABLEFS_TESTS_PI_ORACLE_H
#define STABLEFS_TESTS_PI_ORACLE_H

#include <stddef.h>
#include <stdint.h>
#include "pi/pi.h"

static inline uint64_t oracle_t10(const uint8_t *data, size_t len_bytes)
{
	uint16_t crc = 0;
	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= (uint16_t)(data[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? 0x8bb7 : 0));
	}
	return crc;
}

static inline uint64_t oracle_crc32c(const uint8_t *data, size_t len_bytes)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0); /* 1EDC6F41 reflected */
	}
	return (uint32_t)~crc;
}

static inline uint64_t oracle_crc64(const uint8_t *data, size_t len_bytes)
{
	uint64_t crc = UINT64_MAX;
	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++) /* AD93D23594C93659 reflected */
			crc = crc >> 1 ^ (crc & 1 ? UINT64_C(0x9a6c9329ac4bc9b5) : 0);
	}
	return ~crc;
}

static inline uint64_t oracle_guard(enum pi_type type, const void *data, size_t len_bytes)
{
	switch (type) {
	case PI_NONE:
		return 0;
	case PI_T10:
		return oracle_t10(data, len_bytes);
	case PI_CRC32C:
		return oracle_crc32c(data, len_bytes);
	case PI_CRC64:
		return oracle_crc64(data, len_bytes);
	}
	return 0;
}

#endif
