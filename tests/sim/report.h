/* SPDX-License-Identifier: MIT */
/* How a sweep is told what to do, and how it reports.
 *
 * A sweep speaks TAP, one case a volume; with --json a line of JSON for each case besides. Its
 * arguments are [--json] [SEED [ROUNDS [CASE]]], so that one that failed can be run alone and
 * longer; STABLEFS_TEST_SEED gives the seed too. */
#ifndef STABLEFS_TESTS_SIM_REPORT_H
#define STABLEFS_TESTS_SIM_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sweep {
	uint64_t seed;
	unsigned rounds;
	int only; /* a case number, from 1 on; 0: all */
	int cases, failures;
	bool json;
};

static inline struct sweep sweep_start(const char *name, int argc, char **argv, unsigned rounds)
{
	struct sweep s = {.rounds = rounds, .seed = 0x57ab1e};
	if (argc > 1 && strcmp(argv[1], "--json") == 0) {
		s.json = true;
		argc--;
		argv++;
	}
	const char *given = argc > 1 ? argv[1] : getenv("STABLEFS_TEST_SEED");
	if (given)
		s.seed = strtoull(given, NULL, 0);
	printf("# %s: seed %#llx\n", name, (unsigned long long)s.seed);
	if (argc > 2)
		s.rounds = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		s.only = atoi(argv[3]);
	return s;
}

/* True where the next case is to be run. */
static inline bool sweep_next(struct sweep *s)
{
	s->cases++;
	return !s->only || s->only == s->cases;
}

static inline void sweep_report(struct sweep *s, bool good, const char *what)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", s->cases, what);
	if (!good)
		printf("# again: arguments %#llx %u %d\n", (unsigned long long)s->seed, s->rounds,
			s->cases);
	fflush(stdout);
	s->failures += !good;
}

static inline int sweep_end(const struct sweep *s)
{
	printf("1..%d\n", s->only ? 1 : s->cases);
	return s->failures ? 1 : 0;
}

#endif
