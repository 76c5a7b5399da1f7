/* SPDX-License-Identifier: MIT */
/* What mount(8) says to its helper, in the words of the verb mount. */
#include "cli/mount_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/mount_run.h"

struct request {
	const char *source, *directory, *list;
	bool sloppy, fake, verbose, force, lazy, read_only;
	const char *namespace;
};

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

bool mount_helper_is_name(const char *program)
{
	const char *base = base_of(program);
	return !strncmp(base, "mount.", 6) || !strncmp(base, "umount.", 7);
}

/* ---- the words ---- */

static int usage(const char *program)
{
	bool unmounts = base_of(program)[0] == 'u';
	fprintf(stderr,
		unmounts ? "Usage: %s DIRECTORY [-flnrv] [-N NAMESPACE] [-t TYPE]\n"
			 : "Usage: %s VOLUME DIRECTORY [-sfnv] [-o OPTION,...] [-N NAMESPACE] "
			   "[-t TYPE]\n",
		base_of(program));
	return HELPER_USAGE;
}

static bool take_type(const char *type)
{
	return !strcmp(type, "stablefs") || !strcmp(type, "fuse.stablefs") || !strcmp(type, "fuse");
}

static bool take_option(struct request *r, int opt, bool unmounts)
{
	switch (opt) {
	case 'o':
		r->list = optarg;
		return !unmounts;
	case 's':
		r->sloppy = true;
		return !unmounts;
	case 'f': /* of mount: fake; of umount: force */
		*(unmounts ? &r->force : &r->fake) = true;
		return true;
	case 'v':
		r->verbose = true;
		return true;
	case 'l':
		r->lazy = true;
		return unmounts;
	case 'r':
		r->read_only = true;
		return true;
	case 'N':
		r->namespace = optarg;
		return true;
	case 't':
		return take_type(optarg);
	default:
		return opt == 'n';
	}
}

static bool take_words(int argc, char **argv, bool unmounts, struct request *r)
{
	opterr = 0;
	for (int opt; (opt = getopt(argc, argv, "o:sfnvlrN:t:")) != -1;)
		if (!take_option(r, opt, unmounts))
			return false;
	int words = argc - optind;
	if (words != (unmounts ? 1 : 2))
		return false;
	r->source = unmounts ? NULL : argv[optind];
	r->directory = argv[argc - 1];
	return true;
}

/* ---- mount ---- */

static int enter_namespace(const char *path)
{
	cleanup(cleanup_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && setns(fd, CLONE_NEWNS) == 0)
		return 0;
	struct errmsg why = {0};
	int err = -errno;
	return cli_fail(
		err, (errmsg_set(&why, err, "the namespace %s: %s", path, strerror(errno)), &why));
}

static int fail(int err, const struct errmsg *why)
{
	cli_fail(err, why);
	return err == -ENOMEM ? HELPER_SYSTEM : HELPER_FAILED;
}

static int mount_new(struct mount_job *j, const struct request *r)
{
	struct errmsg why = {0};
	char **words;
	unsigned count;
	/* So that mount(8) finds the line of fstab that it belongs to. */
	if (!j->options.fsname[0] && strlen(r->source) < sizeof(j->options.fsname))
		strcpy(j->options.fsname, r->source);
	int err = mount_split_source(r->source, &words, &count);
	if (!err)
		err = mount_job_find(j, words, count, r->directory, &why);
	for (unsigned i = 0; i < count; i++)
		free(words[i]);
	free(words);
	if (err < 0)
		return fail(err, &why);
	if (mount_job_run(j) != CLI_DONE)
		return HELPER_FAILED;
	if (r->verbose)
		fprintf(stderr, "stablefs: %s mounted on %s\n", r->source, j->mountpoint);
	return HELPER_DONE;
}

static int mount_asked(struct mount_job *j, const struct request *r)
{
	bool root = geteuid() == 0;
	struct errmsg why = {0};
	const char *list = r->list ? r->list : "";
	mount_options_init(&j->options, root);
	j->options.sloppy = r->sloppy;
	j->options.read_only = r->read_only;
	j->check_only = r->fake;
	int err = mount_options_parse(&j->options, list, &why);
	if (!err)
		err = mount_options_check(&j->options, root, &why);
	if (err < 0) {
		cli_fail(err, &why);
		return HELPER_USAGE;
	}
	if (!j->options.remount)
		return mount_new(j, r);
	err = r->fake ? 0 : mount_remount(r->directory, list, &why);
	return err < 0 ? fail(err, &why) : HELPER_DONE;
}

static int run_mount(const struct request *r)
{
	struct mount_job *j = calloc(1, sizeof(*j));
	if (!j)
		return HELPER_SYSTEM;
	int status = mount_asked(j, r);
	mount_job_release(j);
	free(j);
	return status;
}

int mount_helper_main(int argc, char **argv)
{
	struct request r = {0};
	bool unmounts = base_of(argv[0])[0] == 'u';
	cli_set_program(base_of(argv[0]));
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("%s (stablefs) %s\n", base_of(argv[0]), STABLEFS_VERSION);
		return HELPER_DONE;
	}
	if (!take_words(argc, argv, unmounts, &r))
		return usage(argv[0]);
	if (r.namespace && enter_namespace(r.namespace) != 0)
		return HELPER_FAILED;
	if (!unmounts)
		return run_mount(&r);
	struct umount_request u = {r.directory, r.force, r.lazy, r.read_only};
	return umount_helper_run(&u);
}
