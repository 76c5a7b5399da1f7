/* SPDX-License-Identifier: MIT */
/* Cases of a helper program: each in a process and with files of its own, with a time limit, once
 * for each engine; they print ok / not ok lines. */
#ifndef STABLEFS_TESTS_MOUNT_CASES_H
#define STABLEFS_TESTS_MOUNT_CASES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "engine.h"

#define PAGE    4096u
#define KIB     1024u
#define MIB     (1024u * KIB)
#define LIMIT_S 40u /* of one case; SIGALRM ends it */

typedef void case_fn(const struct engine *engine);

struct io_case {
	const char *name; /* a sentence */
	case_fn *run;
};

/* Run the cases with the engines in the directory argv[1]; where more arguments are given, those
 * with one of these texts in their line. The exit status of the program. */
int cases_main(int argc, char **argv, const struct io_case *cases, unsigned count);

/* The case has failed: say why and end its process. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *fmt, ...);
#define must(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail(__VA_ARGS__);                                                         \
	} while (0)

/* A file of the case, "f" or another; closed when its process ends. */
int file_open(const char *name, int flags);
int64_t file_size(int fd);

/* Page-aligned, zeroed; never given back. */
uint8_t *memory_new(size_t len_bytes);
/* Bytes that follow from @seed and their place in the file. */
void fill(uint8_t *to, size_t len_bytes, uint64_t seed, uint64_t offset);
uint64_t draw(uint64_t *state, uint64_t below);

/* Whole, synchronously, through @fd. */
void put(int fd, const uint8_t *data, size_t len_bytes, off_t offset);
size_t get(int fd, uint8_t *into, size_t len_bytes, off_t offset); /* short at the end */

/* Asserts that @got is @want. */
void expect_bytes(const uint8_t *got, const uint8_t *want, size_t len_bytes, const char *what);
/* The file has these bytes and ends there, through the page cache and around it. */
void expect_file(const char *name, const uint8_t *want, size_t len_bytes);

#endif
