/* SPDX-License-Identifier: MIT */
/* Protection information: one tuple for each block, generated and verified.
 * Owner thread: none; pure functions, any thread.
 * Invariants: I1 an encoded tuple of bytes FF is never checked ("escape"): it stands for a block
 *   never written, since an all-zero block has the T10 guard 0000 and a zeroed tuple would pass. Of
 *   type 1 protection T10 (SBC-4; NVMe NVM Command Set 1.0, section 5.2) asks for no more than an
 *   application tag FFFF; we never store one beside anything else, and two bytes that rotted shall
 *   not turn a block into zeros: such a tuple is damage. I2 the order of checks is escape, ref tag,
 *   guard.
 * May use: base, isa-l. Must not know: members, files, I/O. */
#ifndef STABLEFS_PI_PI_H
#define STABLEFS_PI_PI_H

#include <stdbool.h>
#include <stdint.h>
#include "base/block.h"

/* Numbers are on disk: never renumber. */
enum pi_type {
	PI_NONE = 0,
	PI_T10 = 1,    /*  8 bytes: guard 2 (CRC-16/T10-DIF), app tag 2, ref tag 4 */
	PI_CRC32C = 2, /* 16 bytes: guard 4 (CRC-32C), app tag 2, storage and ref tag 10 */
	PI_CRC64 = 3,  /* 16 bytes: guard 8 (CRC-64/NVME), app tag 2, storage and ref tag 6 */
};

#define PI_MAX_TUPLE_BYTES 16u
#define PI_APP_ESCAPE      0xffffu
#define PI_APP_WRITTEN     0x0000u

/* A decoded tuple. All encoded fields are big-endian. */
struct pi_tuple {
	uint64_t guard;
	uint16_t app_tag;
	uint64_t ref_tag; /* low 32 bits (t10), 64 (crc32c: the upper 16 are 0), 48 (crc64) */
};

enum pi_verdict { PI_GOOD, PI_ESCAPED, PI_BAD_REF, PI_BAD_GUARD };

/* Whether this build can compute the guard: crc64 needs isa-l 2.31. False for a number that is no
 * type. */
bool pi_supported(enum pi_type type);

/* 0 for PI_NONE, else 8 or 16. Here and below @type is one of the enum: whoever reads a number from
 * a member asks pi_supported() first. */
unsigned pi_tuple_bytes(enum pi_type type);

const char *pi_name(enum pi_type type); /* "none", "t10", ...; "unknown" for any other number */

/* The type called @name; false where there is none. */
bool pi_parse(const char *name, enum pi_type *out);

/* The guard of @len_bytes bytes, in the low bits; 0 for PI_NONE. Needs pi_supported(). */
uint64_t pi_guard(enum pi_type type, const void *data, uint32_t len_bytes);

void pi_encode(enum pi_type type, const struct pi_tuple *tuple, uint8_t *out);
struct pi_tuple pi_decode(enum pi_type type, const uint8_t *in);

/* Tuples for @blocks consecutive blocks at @data, the first of which is @member_block: type 1
 * protection, ref tag = low bits of the member's block number. @tuples gets
 * blocks * pi_tuple_bytes(). PI_NONE does nothing. */
void pi_generate(enum pi_type type, const void *data, uint32_t blocks, uint64_t member_block,
	uint8_t *tuples);

/* The application tag of an encoded tuple; not for PI_NONE. The engine keeps one in the tuples of
 * parities (stripe/row_tag.h). */
uint16_t pi_app_tag(enum pi_type type, const uint8_t *tuple);
void pi_set_app_tag(enum pi_type type, uint16_t app_tag, uint8_t *tuple);

/* The tuple of a block never written. */
void pi_fill_escape(enum pi_type type, uint32_t blocks, uint8_t *tuples);

bool pi_is_escape(enum pi_type type, const uint8_t *tuple);

/* Check one block against its encoded tuple. Of application tags only that of the escape is looked
 * at: with it, but not an escape, the guard counts as bad. PI_NONE: PI_GOOD. */
enum pi_verdict pi_verify(
	enum pi_type type, const void *block, uint64_t member_block, const uint8_t *tuple);

const char *pi_verdict_name(enum pi_verdict verdict); /* "guard", "ref tag", ... */

#endif
