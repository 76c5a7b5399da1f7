/* SPDX-License-Identifier: MIT */
/* What a fuzz target gives, to libFuzzer or to replay.c. */
#ifndef STABLEFS_TESTS_FUZZ_H
#define STABLEFS_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define FUZZ_SEED_MAX_BYTES 65536u

/* Opening a volume takes twenty times as long under the address sanitizer: do a part there. */
#ifdef __SANITIZE_ADDRESS__
#define FUZZ_SLOWDOWN 29u
#else
#define FUZZ_SLOWDOWN 1u
#endif

/* What replay.c needs to know of a target besides. */
struct fuzz_target {
	unsigned mutations; /* of each file of the corpus */
	/* The @n-th input that begins a corpus: fills @out, which holds FUZZ_SEED_MAX_BYTES, and
	 * gives its length and a name for its file. False behind the last. */
	bool (*seed)(unsigned n, uint8_t *out, size_t *len_bytes, const char **name);
};
extern const struct fuzz_target fuzz_target;

#define fuzz_demand(truth)                                                                         \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #truth);        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
