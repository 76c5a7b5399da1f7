/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as the tuple of any block. Good is what carries the block's own guard and
 * place, and nothing else; the escape is a tuple of bytes FF; one flipped bit of the data
 * is never good.
 *
 * The input: type (1 byte), number of the block (8, little-endian), tuple (16), data (the rest;
 * what lacks of a block is zeros). */
#include <string.h>
#include "base/endian.h"
#include "fuzz.h"
#include "pi/pi.h"

#define HEAD_BYTES 25u

struct sample {
	enum pi_type type;
	uint64_t block;
	uint8_t tuple[PI_MAX_TUPLE_BYTES], own[PI_MAX_TUPLE_BYTES];
	uint8_t data[BLOCK_BYTES];
};

static void judge(const struct sample *s)
{
	struct pi_tuple is = pi_decode(s->type, s->tuple), own = pi_decode(s->type, s->own);
	bool escape = true, marked = is.app_tag == PI_APP_ESCAPE;
	for (unsigned i = 0; i < pi_tuple_bytes(s->type); i++)
		escape = escape && s->tuple[i] == 0xff;
	enum pi_verdict expected = escape                            ? PI_ESCAPED
				   : is.ref_tag != own.ref_tag       ? PI_BAD_REF
				   : marked || is.guard != own.guard ? PI_BAD_GUARD
								     : PI_GOOD;
	enum pi_verdict verdict = pi_verify(s->type, s->data, s->block, s->tuple);
	/* The bytes above the ref tag of crc32c are not in the decoded tuple. */
	fuzz_demand(verdict == expected || (expected != PI_ESCAPED && verdict == PI_BAD_REF));
	fuzz_demand(pi_is_escape(s->type, s->tuple) == (verdict == PI_ESCAPED));
	fuzz_demand(pi_verdict_name(verdict)[0]);
}

static void judge_own(struct sample *s)
{
	fuzz_demand(pi_verify(s->type, s->data, s->block, s->own) == PI_GOOD);
	fuzz_demand(pi_verify(s->type, s->data, s->block ^ 1, s->own) == PI_BAD_REF);
	unsigned bit = (s->tuple[0] | s->tuple[1] << 8) % (BLOCK_BYTES * 8);
	s->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	fuzz_demand(pi_verify(s->type, s->data, s->block, s->own) == PI_BAD_GUARD);
	s->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct sample s = {0};
	uint8_t again[PI_MAX_TUPLE_BYTES];
	if (len_bytes < HEAD_BYTES)
		return 0;
	s.type = (enum pi_type)(data[0] % (PI_CRC64 + 1));
	if (s.type == PI_NONE || !pi_supported(s.type))
		return 0;
	s.block = get_le64(data + 1) >> 16; /* the tag of each type holds some of it */
	memcpy(s.tuple, data + 9, PI_MAX_TUPLE_BYTES);
	memcpy(s.data, data + HEAD_BYTES, min_u64(len_bytes - HEAD_BYTES, BLOCK_BYTES));
	pi_generate(s.type, s.data, 1, s.block, s.own);
	judge(&s);
	judge_own(&s);
	struct pi_tuple decoded = pi_decode(s.type, s.own);
	pi_encode(s.type, &decoded, again);
	fuzz_demand(memcmp(again, s.own, pi_tuple_bytes(s.type)) == 0);
	return 0;
}

static const struct tuple_seed {
	const char *name;
	enum pi_type type;
	bool own, escape;
} tuple_seeds[] = {
	{"t10-own", PI_T10, true, false},
	{"t10-escape", PI_T10, false, true},
	{"t10-other", PI_T10, false, false},
	{"crc32c-own", PI_CRC32C, true, false},
	{"crc32c-escape", PI_CRC32C, false, true},
	{"crc64-escape", PI_CRC64, false, true},
};

static bool tuple_seed(unsigned n, uint8_t *out, size_t *len_bytes, const char **name)
{
	if (n >= sizeof(tuple_seeds) / sizeof(*tuple_seeds))
		return false;
	const struct tuple_seed *seed = &tuple_seeds[n];
	uint8_t block[BLOCK_BYTES] = "stablefs";
	memset(out, 0, HEAD_BYTES);
	out[0] = (uint8_t)seed->type;
	put_le64(out + 1, UINT64_C(77) << 16);
	if (seed->own)
		pi_generate(seed->type, block, 1, 77, out + 9);
	if (seed->escape)
		pi_fill_escape(seed->type, 1, out + 9);
	memcpy(out + HEAD_BYTES, block, 8);
	*len_bytes = HEAD_BYTES + 8;
	*name = seed->name;
	return true;
}

const struct fuzz_target fuzz_target = {.mutations = 2000, .seed = tuple_seed};
