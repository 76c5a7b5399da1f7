/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target without a fuzzer: over each file of the named directories, and over seeded
 * mutations of it. Usage: replay [--seed N] [--mutations N] FILE-OR-DIRECTORY...
 *                         replay --make-corpus DIRECTORY
 * The second writes the inputs that a corpus begins with, which the target makes itself: after a
 * change of the format. An input that takes longer than HANG_SECONDS ends the run by SIGALRM. What
 * ends it is printed as hexadecimal digits. */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

#define SEED         UINT64_C(0x5eed5eed5eed5eed)
#define MAX_BYTES    FUZZ_SEED_MAX_BYTES
#define HANG_SECONDS 60u

static uint64_t random_state = SEED;
static uint64_t mutations;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static const uint8_t *running;
static size_t running_bytes;

/* Say which input it was: `xxd -r -p` makes a file of it. */
static void say_input(int sig)
{
	static const char digits[] = "0123456789abcdef";
	char pair[2];
	for (size_t i = 0; i < running_bytes; i++) {
		pair[0] = digits[running[i] >> 4];
		pair[1] = digits[running[i] & 15];
		if (write(STDERR_FILENO, pair, 2) != 2)
			break;
	}
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A copy of exact size, so that a sanitizer sees a read behind its end. */
static void run(const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = malloc(len_bytes ? len_bytes : 1);
	if (!copy)
		abort();
	memcpy(copy, data, len_bytes);
	running = copy;
	running_bytes = len_bytes;
	alarm(HANG_SECONDS);
	LLVMFuzzerTestOneInput(copy, len_bytes);
	free(copy);
}

static void run_mutations(const uint8_t *data, size_t len_bytes)
{
	static uint8_t mutant[MAX_BYTES];
	for (uint64_t n = 0; n < mutations; n++) {
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

static int replay_directory(const char *name);

/* Returns the number of files, -1 on an error. */
static int replay_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return replay_directory(path);
	return replay_file(path) < 0 ? -1 : 1;
}

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

static int make_corpus(const char *directory)
{
	static uint8_t data[MAX_BYTES];
	const char *name;
	size_t len_bytes;
	for (unsigned n = 0; fuzz_target.seed(n, data, &len_bytes, &name); n++) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%s", directory, name);
		FILE *f = fopen(path, "wb");
		if (!f || fwrite(data, 1, len_bytes, f) != len_bytes || fclose(f) != 0) {
			perror(path);
			return 1;
		}
	}
	return 0;
}

/* --seed and --mutations; returns the first argument behind them. */
static int parse_options(int argc, char **argv)
{
	int i = 1;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		uint64_t value = strtoull(argv[i + 1], NULL, 0);
		if (strcmp(argv[i], "--seed") == 0 && value)
			random_state = value;
		else if (strcmp(argv[i], "--mutations") == 0)
			mutations = value;
		else
			return argc;
	}
	return i;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--make-corpus") == 0)
		return make_corpus(argv[2]);
	signal(SIGABRT, say_input);
	signal(SIGALRM, say_input);
	mutations = fuzz_target.mutations;
	int first = parse_options(argc, argv);
	printf("seed %llx\n", (unsigned long long)random_state);
	for (int i = first; i < argc; i++) {
		int files = replay_path(argv[i]);
		if (files <= 0) {
			fprintf(stderr, "%s: no corpus\n", argv[i]);
			return 1;
		}
		printf("%s: %d files\n", argv[i], files);
	}
	return first >= argc;
}
