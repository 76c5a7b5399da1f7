/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target without a fuzzer: over each file of the named directories, and over seeded
 * mutations of it. Usage: replay DIRECTORY... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED      UINT64_C(0x5eed5eed5eed5eed)
#define MUTATIONS 2000u
#define MAX_BYTES 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static uint64_t random_state = SEED;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* A copy of exact size, so that a sanitizer sees a read behind its end. */
static void run(const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = malloc(len_bytes ? len_bytes : 1);
	if (!copy)
		abort();
	memcpy(copy, data, len_bytes);
	LLVMFuzzerTestOneInput(copy, len_bytes);
	free(copy);
}

static void run_mutations(const uint8_t *data, size_t len_bytes)
{
	static uint8_t mutant[MAX_BYTES];
	for (unsigned n = 0; n < MUTATIONS; n++) {
		size_t len = random_next() % 16 ? len_bytes : random_next() % (len_bytes + 1);
		memcpy(mutant, data, len);
		for (uint64_t k = random_next() % 4 + 1; len && k; k--)
			mutant[random_next() % len] = (uint8_t)random_next();
		run(mutant, len);
	}
}

static int replay_file(const char *path)
{
	static uint8_t data[MAX_BYTES];
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		return -1;
	}
	size_t len_bytes = fread(data, 1, sizeof(data), f);
	fclose(f);
	run(data, len_bytes);
	run_mutations(data, len_bytes);
	return 0;
}

/* Returns the number of files, -1 on an error. */
static int replay_directory(const char *name)
{
	DIR *dir = opendir(name);
	if (!dir) {
		perror(name);
		return -1;
	}
	int files = 0;
	for (struct dirent *e; (e = readdir(dir)) && files >= 0;) {
		char path[4096];
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", name, e->d_name);
		files = replay_file(path) < 0 ? -1 : files + 1;
	}
	closedir(dir);
	return files;
}

int main(int argc, char **argv)
{
	printf("seed %llx\n", (unsigned long long)SEED);
	for (int i = 1; i < argc; i++) {
		int files = replay_directory(argv[i]);
		if (files <= 0) {
			fprintf(stderr, "%s: no corpus\n", argv[i]);
			return 1;
		}
		printf("%s: %d files\n", argv[i], files);
	}
	return argc < 2;
}
