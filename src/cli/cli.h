/* SPDX-License-Identifier: MIT */
/* What the verbs share: exit status, usage errors, and how a verb is described.
 *
 * Data goes to stdout, messages to stderr. Exit status: 0 done, 1 failed, 2 usage, 3 damage or
 * mutation found. Only this module calls exit(). */
#ifndef STABLEFS_CLI_CLI_H
#define STABLEFS_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include "base/errmsg.h"

enum cli_status { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_DAMAGE = 3 };

struct cli_verb {
	const char *name;
	const char *summary; /* one line */
	const char *usage;   /* the whole help text: synopsis, then options, one a line */
	int (*run)(int argc, char **argv); /* argv[0] is the verb */
};

extern const struct cli_verb verb_create, verb_mount, verb_scrub, verb_status, verb_inspect,
	verb_mutate, verb_demo, verb_run, verb_check, verb_fail, verb_replace, verb_add, verb_work,
	verb_inject, verb_fsck;

/* The verb that runs now, for messages. */
const struct cli_verb *cli_current(void);

/* Messages begin with this name instead of "stablefs VERB", and have no hint at --help. */
void cli_set_program(const char *name);

/* "stablefs VERB: ..." and a hint at --help on stderr; returns CLI_USAGE. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "stablefs VERB: WHY" (or strerror(-@err) where nothing was said); returns CLI_FAILED. */
int cli_fail(int err, const struct errmsg *why);

/* Print the help of the current verb; returns CLI_DONE. */
int cli_help(void);

/* What getopt_long() said: 'h' is help, '?' and ':' are errors that it names. Returns -1 to go on,
 * or the exit status. */
int cli_common_option(int opt, char **argv);

/* The options of a verb that knows --json and --help alone. Returns -1 to go on, at argv[optind],
 * or the exit status. */
int cli_json_option(int argc, char **argv, bool *as_json);

#endif
