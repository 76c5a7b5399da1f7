/* SPDX-License-Identifier: MIT */
/* stablefs: the verbs and what they have in common. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/mount_helper.h"

static const struct cli_verb *const verbs[] = {&verb_create, &verb_mount, &verb_status, &verb_scrub,
	&verb_fsck, &verb_inspect, &verb_fail, &verb_replace, &verb_add, &verb_work, &verb_mutate,
	&verb_demo, &verb_run, &verb_check, &verb_inject};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct cli_verb *current;
static const char *program; /* NULL: stablefs */

const struct cli_verb *cli_current(void)
{
	return current;
}

void cli_set_program(const char *name)
{
	program = name;
}

static void print_prefix(void)
{
	if (program) {
		fprintf(stderr, "%s: ", program);
		return;
	}
	fprintf(stderr, "stablefs%s%s: ", current ? " " : "", current ? current->name : "");
}

int cli_usage(const char *fmt, ...)
{
	va_list ap;
	print_prefix();
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (!program)
		fprintf(stderr, "Try 'stablefs %s%s--help'.\n", current ? current->name : "",
			current ? " " : "");
	return CLI_USAGE;
}

int cli_fail(int err, const struct errmsg *why)
{
	print_prefix();
	fprintf(stderr, "%s\n", why && why->text[0] ? why->text : strerror(-err));
	return CLI_FAILED;
}

int cli_help(void)
{
	fputs(current->usage, stdout);
	return CLI_DONE;
}

int cli_common_option(int opt, char **argv)
{
	const char *given = argv[optind - 1];
	switch (opt) {
	case 'h':
		return cli_help();
	case ':':
		return cli_usage("option '%s' needs a value", given);
	case '?':
		if (optopt && optopt < 128 && given[0] == '-' && given[1] != '-')
			return cli_usage("there is no option '-%c'", optopt);
		return cli_usage("there is no option '%s', or it takes no value", given);
	default:
		return -1;
	}
}

int cli_json_option(int argc, char **argv, bool *as_json)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	for (int opt; (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		int status = cli_common_option(opt, argv);
		if (opt == 'j')
			*as_json = true;
		else if (status >= 0)
			return status;
	}
	return -1;
}

static void print_help(FILE *out)
{
	fputs("Usage: stablefs VERB [OPTION]... [ARGUMENT]...\n\n"
	      "A filesystem on an emulated RAID array with protection information, that\n"
	      "shows what happens when a program changes its O_DIRECT buffer while a write is in\n"
	      "flight.\n\n",
		out);
	for (unsigned i = 0; i < VERBS; i++)
		fprintf(out, "  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n'stablefs VERB --help' says more; each verb has a man page (stablefs-VERB).\n"
	      "VOLUME is a directory that holds member files, or the list of its members.\n"
	      "Exit status: 0 done, 1 failed, 2 usage, 3 damage or mutation found.\n",
		out);
}

static int run_verb(int argc, char **argv)
{
	for (unsigned i = 0; i < VERBS; i++) {
		if (strcmp(argv[0], verbs[i]->name) != 0)
			continue;
		current = verbs[i];
		opterr = 0;
		optind = 0;
		return current->run(argc, argv);
	}
	return cli_usage("there is no verb '%s'", argv[0]);
}

/* What was written must have arrived: a full disk behind stdout is a failure. */
static int finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "stablefs: cannot write the output: %s\n", strerror(errno));
	return status == CLI_DONE ? CLI_FAILED : status;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc > 0 && mount_helper_is_name(argv[0]))
		return finish_output(mount_helper_main(argc, argv));
	if (argc < 2) {
		print_help(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return finish_output(CLI_DONE);
	}
	if (!strcmp(argv[1], "--version")) {
		printf("stablefs %s\n", STABLEFS_VERSION);
		return finish_output(CLI_DONE);
	}
	return finish_output(run_verb(argc - 1, argv + 1));
}
