/* SPDX-License-Identifier: MIT */
/* stablefs work: what a mounted volume does in the background, and how fast it may. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/members.h"
#include "cli/work_print.h"
#include "cli/work_wait.h"
#include "report/json_copy.h"
#include "report/size.h"

static const char usage[] =
	"Usage: stablefs work [OPTION]... MOUNTPOINT\n"
	"Say what a mounted volume does in the background, how far it is and how fast; or\n"
	"change that. KIND is resync (after an unclean end), rebuild, scrub or all.\n\n"
	"  --pause KIND       stop for the time being: until it is resumed, or the next mount\n"
	"  --resume KIND      go on\n"
	"  --rate KIND=SIZE   at most that much a second of each member; 0: as fast as it goes\n"
	"                     beside the volume's users\n"
	"  --wait KIND        return when nothing of it is under way; progress on stderr. Exit\n"
	"                     status 1 where it failed, 3 where blocks were lost\n"
	"  --json             as JSON\n"
	"  -h, --help         this text\n";

#define MAX_REQUESTS 16u

struct work {
	const char *mountpoint;
	bool json;
	char requests[MAX_REQUESTS][64]; /* lines to be asked, in order */
	unsigned count;
	const char *wait; /* a kind, or NULL */
};

static const char *const kinds[] = {"resync", "rebuild", "scrub", "all"};

static bool is_kind(const char *name)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i], name))
			return true;
	}
	return false;
}

/* -1 to go on, or the exit status; so do the rest. */
static int take_kind(struct work *w, const char *action, const char *kind)
{
	if (!is_kind(kind))
		return cli_usage(
			"there is no background work '%s': resync, rebuild, scrub or all", kind);
	if (w->count == MAX_REQUESTS)
		return cli_usage("more than %u changes at a time", MAX_REQUESTS);
	snprintf(w->requests[w->count++], sizeof(w->requests[0]), "work %s %s", action, kind);
	return -1;
}

static int take_rate(struct work *w, char *value)
{
	struct errmsg why = {0};
	uint64_t bytes;
	char *size = strchr(value, '=');
	if (!size)
		return cli_usage("--rate takes KIND=SIZE, not '%s'", value);
	*size++ = '\0';
	if (size_parse(size, &bytes, &why) < 0)
		return cli_usage("--rate: %s", why.text);
	int status = take_kind(w, "rate", value);
	if (status < 0) {
		char *line = w->requests[w->count - 1];
		snprintf(line + strlen(line), sizeof(w->requests[0]) - strlen(line), " %llu",
			(unsigned long long)bytes);
	}
	return status;
}

static int take_wait(struct work *w, const char *kind)
{
	if (!is_kind(kind))
		return cli_usage(
			"there is no background work '%s': resync, rebuild, scrub or all", kind);
	w->wait = kind;
	return -1;
}

enum { OPT_PAUSE = 256, OPT_RESUME, OPT_RATE, OPT_WAIT, OPT_JSON };

static int take_option(int opt, char **argv, struct work *w)
{
	switch (opt) {
	case OPT_PAUSE:
		return take_kind(w, "pause", optarg);
	case OPT_RESUME:
		return take_kind(w, "resume", optarg);
	case OPT_RATE:
		return take_rate(w, optarg);
	case OPT_WAIT:
		return take_wait(w, optarg);
	case OPT_JSON:
		w->json = true;
		return -1;
	default:
		return cli_common_option(opt, argv);
	}
}

static int take_options(int argc, char **argv, struct work *w)
{
	static const struct option options[] = {{"pause", required_argument, NULL, OPT_PAUSE},
		{"resume", required_argument, NULL, OPT_RESUME},
		{"rate", required_argument, NULL, OPT_RATE},
		{"wait", required_argument, NULL, OPT_WAIT}, {"json", no_argument, NULL, OPT_JSON},
		{"help", no_argument, NULL, 'h'}, {0}};
	int status = -1;
	for (int opt; status < 0 && (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;)
		status = take_option(opt, argv, w);
	if (status < 0 && argc - optind != 1)
		status = cli_usage("which MOUNTPOINT?");
	return status;
}

static int wait_for(const struct work *w, struct json_value **status, struct errmsg *why)
{
	int err = 0;
	for (unsigned i = 0; err == 0 && i < 3; i++) {
		if (strcmp(w->wait, "all") != 0 && strcmp(w->wait, kinds[i]) != 0)
			continue;
		json_value_free(take_ptr(status));
		err = work_wait(w->mountpoint, kinds[i], status, why);
	}
	return err;
}

/* The exit status: how what was waited for has ended. */
static int judge(const struct work *w, const struct json_value *status)
{
	int result = CLI_DONE;
	for (unsigned i = 0; w->wait && i < 3; i++) {
		const struct json_value *work = work_of(status, kinds[i]);
		if (strcmp(w->wait, "all") != 0 && strcmp(w->wait, kinds[i]) != 0)
			continue;
		if (json_get_u64(work, "lost", 0) ||
			json_get_u64(json_get(work, "found"), "remaining", 0))
			result = CLI_DAMAGE;
		else if (json_get(work, "error") && result == CLI_DONE)
			result = CLI_FAILED;
	}
	return result;
}

static int ask(const struct work *w, struct json_value **status, struct errmsg *why)
{
	int err = members_status(w->mountpoint, status, why);
	for (unsigned i = 0; err == 0 && i < w->count; i++)
		err = members_request(w->mountpoint, w->requests[i], why);
	if (err == 0 && w->wait)
		return wait_for(w, status, why);
	if (err == 0 && w->count) {
		json_value_free(take_ptr(status));
		err = members_status(w->mountpoint, status, why);
	}
	return err;
}

static int run(int argc, char **argv)
{
	struct work w = {0};
	int result = take_options(argc, argv, &w);
	if (result >= 0)
		return result;
	w.mountpoint = argv[optind];
	struct errmsg why = {0};
	cleanup(json_value_freep) struct json_value *status = NULL;
	int err = ask(&w, &status, &why);
	if (err < 0)
		return cli_fail(err, &why);
	if (w.json)
		json_print_value(json_get(status, "work"), stdout);
	else
		work_print_table(status);
	return judge(&w, status);
}

const struct cli_verb verb_work = {
	"work", "background work: how far it is, pause, resume, rate", usage, run};
