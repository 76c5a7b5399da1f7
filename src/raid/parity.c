/* SPDX-License-Identifier: MIT */
/* Parity: XOR by isa-l, and byte by byte as its oracle. */
#include "raid/parity.h"

#include <assert.h>
#include <isa-l/raid.h>
#include <limits.h>
#include <string.h>

/* isa-l loads a stride of every source before it stores the result, which is what makes a
 * destination among the sources safe; the unit tests sweep it. It insists on two sources. */
void parity_xor(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes)
{
	void *vectors[PARITY_MAX_SOURCES + 1];
	assert(count >= 1 && count <= PARITY_MAX_SOURCES && len_bytes <= INT_MAX);
	if (count == 1) {
		if (dest != sources[0])
			memcpy(dest, sources[0], len_bytes);
		return;
	}
	memcpy(vectors, sources, count * sizeof(sources[0]));
	vectors[count] = dest;
	int ret = xor_gen((int)count + 1, (int)len_bytes, vectors);
	assert(ret == 0);
	(void)ret;
}

void parity_xor_plain(const void *const *sources, unsigned count, void *dest, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++) {
		uint8_t sum = 0;
		for (unsigned s = 0; s < count; s++)
			sum ^= ((const uint8_t *)sources[s])[i];
		((uint8_t *)dest)[i] = sum;
	}
}
