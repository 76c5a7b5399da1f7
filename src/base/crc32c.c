/* SPDX-License-Identifier: MIT */
/* CRC-32C by isa-l, whose caller inverts on both ends. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(const void *data, size_t len_bytes)
{
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len_bytes, 0xffffffffu);
}
