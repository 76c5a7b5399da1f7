/* SPDX-License-Identifier: MIT */
/* What sweeps of power cuts share: the command line, seeds of lives, and the command that shows a
 * cut again. Owner: the program's one thread. */
#ifndef STABLEFS_TESTS_SIM_SWEEP_OPTIONS_H
#define STABLEFS_TESTS_SIM_SWEEP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct sweep_options {
	unsigned lives, fates;
	unsigned steps; /* of a life; 0: the sweep has no such option */
	unsigned part, parts;
	unsigned only; /* a case, from 1 on; 0: all */
	uint64_t seed;
	bool json;
	const char *replay; /* a cut, as the sweep names it; NULL: no replay. Borrowed */
};

/* Prepares the program, and puts over @o what the environment and the arguments say. False: there
 * is a bad one, which was named. */
bool sweep_begin(struct sweep_options *o, int argc, char **argv);

/* Of one life of one case. */
uint64_t sweep_seed(const struct sweep_options *o, unsigned number_of_case, unsigned life);

/* The cut that is being looked at, as arguments: should the program die of it, the command is
 * printed. "": none is. */
void sweep_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The command, with its line's end. */
const char *sweep_again(void);

#endif
