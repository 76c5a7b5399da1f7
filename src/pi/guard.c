/* SPDX-License-Identifier: MIT */
/* Guards: the checksum of one block's data, one polynomial for each type of tuple.
 *
 *	t10	CRC-16/T10-DIF	8BB7			initial value 0, not reflected (SBC-4)
 *	crc32c	CRC-32C		1EDC6F41		reflected, inverted at both ends
 *	crc64	CRC-64/NVME	AD93D23594C93659	reflected, inverted at both ends
 *
 * The last two are the 32-bit and the 64-bit guard of the NVM Command Set specification 1.0,
 * section 5.2. isa-l's crc64 functions invert by themselves, so their initial value is 0. */
#include "pi/pi.h"

#include <assert.h>
#include <isa-l/crc.h>
#include "base/crc32c.h"

#ifdef HAVE_CRC64_ROCKSOFT
#include <isa-l/crc64.h>

static uint64_t crc64_nvme(const void *data, uint32_t len_bytes)
{
	return crc64_rocksoft_refl(0, data, len_bytes);
}
#else
static uint64_t crc64_nvme(const void *data, uint32_t len_bytes)
{
	assert(!"pi_supported() said no");
	return 0;
}
#endif

bool pi_supported(enum pi_type type)
{
	switch (type) {
	case PI_NONE:
	case PI_T10:
	case PI_CRC32C:
		return true;
	case PI_CRC64:
#ifdef HAVE_CRC64_ROCKSOFT
		return true;
#else
		return false;
#endif
	}
	return false;
}

uint64_t pi_guard(enum pi_type type, const void *data, uint32_t len_bytes)
{
	switch (type) {
	case PI_NONE:
		return 0;
	case PI_T10:
		return crc16_t10dif(0, data, len_bytes);
	case PI_CRC32C:
		return crc32c(data, len_bytes);
	case PI_CRC64:
		return crc64_nvme(data, len_bytes);
	}
	assert(!"unknown pi_type");
	return 0;
}
