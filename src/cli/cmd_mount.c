/* SPDX-License-Identifier: MIT */
/* stablefs mount: the verb. What it does is in mount_run.c, what -o says in mount_options.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/mount_run.h"

/* All lists that were given, as one. */
struct lists {
	char *text; /* owned; NULL: none */
};

static int lists_add(struct lists *l, const char *list)
{
	char *longer;
	if (asprintf(&longer, "%s%s%s", l->text ? l->text : "", l->text ? "," : "", list) < 0)
		return cli_fail(-ENOMEM, NULL);
	free(l->text);
	l->text = longer;
	return -1;
}

/* -1 to go on, at argv[optind], or the exit status. */
static int take_arguments(int argc, char **argv, struct mount_job *j, struct lists *lists)
{
	static const struct option options[] = {{"foreground", no_argument, NULL, 'f'},
		{"options", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
	int status = -1;
	for (int opt;
		status < 0 && (opt = getopt_long(argc, argv, ":fo:h", options, NULL)) != -1;) {
		if (opt == 'f')
			j->foreground = true;
		else if (opt == 'o')
			status = lists_add(lists, optarg);
		else
			status = cli_common_option(opt, argv);
	}
	return status;
}

static int take_options(struct mount_job *j, const char *list)
{
	bool root = geteuid() == 0;
	struct errmsg why = {0};
	mount_options_init(&j->options, root);
	int err = mount_options_parse(&j->options, list, &why);
	if (!err)
		err = mount_options_check(&j->options, root, &why);
	return err < 0 ? cli_usage("%s", why.text[0] ? why.text : strerror(-err)) : -1;
}

static int remount(int count, char **words, const char *list)
{
	struct errmsg why = {0};
	if (count != 1)
		return cli_usage("a remount takes a MOUNTPOINT, and nothing else");
	int err = mount_remount_some(words[0], list, &why);
	return err < 0 ? cli_fail(err, &why) : CLI_DONE;
}

static int mount_new(struct mount_job *j, int count, char **words)
{
	struct errmsg why = {0};
	if (count < 2)
		return cli_usage("it takes a VOLUME and a MOUNTPOINT");
	int err = mount_job_find(j, words, (unsigned)count - 1, words[count - 1], &why);
	return err < 0 ? cli_fail(err, &why) : mount_job_run(j);
}

static int run(int argc, char **argv)
{
	struct mount_job *j = calloc(1, sizeof(*j));
	struct lists lists = {0};
	if (!j)
		return cli_fail(-ENOMEM, NULL);
	int status = take_arguments(argc, argv, j, &lists);
	const char *list = lists.text ? lists.text : "";
	if (status < 0)
		status = take_options(j, list);
	if (status < 0 && j->options.remount)
		status = remount(argc - optind, argv + optind, list);
	if (status < 0)
		status = mount_new(j, argc - optind, argv + optind);
	mount_job_release(j);
	free(j);
	free(lists.text);
	return status;
}

const struct cli_verb verb_mount = {"mount", "mount a volume", mount_usage, run};
