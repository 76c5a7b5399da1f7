/* SPDX-License-Identifier: MIT */
/* Arguments, seeds, and last words of a sweep. */
#include "sweep_options.h"

#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "unit/random.h"

static const char *program;
static char again[200];

/* ---- what to type to see it again ---- */

void sweep_note(const char *format, ...)
{
	char cut[120];
	va_list args;
	va_start(args, format);
	vsnprintf(cut, sizeof(cut), format, args);
	va_end(args);
	again[0] = '\0';
	if (cut[0])
		snprintf(again, sizeof(again), "# again: %s %s\n", program, cut);
}

const char *sweep_again(void)
{
	return again;
}

static void died(int signal_number)
{
	ssize_t ignored = write(STDOUT_FILENO, again, strlen(again));
	(void)ignored;
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* cmocka ends the program where an assertion of the rig fails. */
static void ended(void)
{
	fputs(again, stdout);
}

/* ---- arguments ---- */

static bool option(struct sweep_options *o, const char *name, const char *value)
{
	if (strcmp(name, "--lives") == 0)
		o->lives = (unsigned)strtoul(value, NULL, 0);
	else if (strcmp(name, "--fates") == 0)
		o->fates = (unsigned)strtoul(value, NULL, 0);
	else if (o->steps && strcmp(name, "--steps") == 0)
		o->steps = (unsigned)strtoul(value, NULL, 0);
	else if (strcmp(name, "--seed") == 0)
		o->seed = strtoull(value, NULL, 0);
	else if (strcmp(name, "--case") == 0)
		o->only = (unsigned)strtoul(value, NULL, 0);
	else if (strcmp(name, "--replay") == 0)
		o->replay = value;
	else
		return strcmp(name, "--part") == 0 &&
		       sscanf(value, "%u/%u", &o->part, &o->parts) == 2 && o->part < o->parts;
	return true;
}

static bool arguments(struct sweep_options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			o->json = true;
			continue;
		}
		if (i + 1 == argc || !option(o, argv[i], argv[i + 1])) {
			fprintf(stderr, "%s: bad argument %s\n", program, argv[i]);
			return false;
		}
		i++;
	}
	return true;
}

/* Snapshots come and go by the thousand: let their memory stay with us. */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

bool sweep_begin(struct sweep_options *o, int argc, char **argv)
{
	const char *given = getenv("STABLEFS_TEST_SEED");
	program = argv[0];
	keep_memory();
	signal(SIGABRT, died);
	signal(SIGSEGV, died);
	atexit(ended);
	o->seed = given ? strtoull(given, NULL, 0) : 0x57ab1e;
	o->part = 0;
	o->parts = 1;
	return arguments(o, argc, argv);
}

uint64_t sweep_seed(const struct sweep_options *o, unsigned number_of_case, unsigned life)
{
	struct random r = {o->seed ^ (uint64_t)number_of_case << 40 ^ (uint64_t)life << 16};
	return random_u64(&r) % UINT64_C(1000000000000);
}
