/* SPDX-License-Identifier: MIT */
/* stablefs inject: let members of a mounted volume have faults, or bytes of a write change in
 * flight; by the daemon, which acknowledges before this verb returns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/target.h"
#include "io/fault_text.h"
#include "report/json_read.h"
#include "report/table.h"

static const char usage[] =
	"Usage: stablefs inject [OPTION]... MOUNTPOINT [FAULT]...\n"
	"Arm faults in a volume that is mounted with -o inject. What begins after the return\n"
	"meets them. Without FAULT: list what is armed.\n\n"
	"  --seed=N          start the draws anew, from this seed\n"
	"  --disarm=ID|all   disarm; before anything is armed\n"
	"  --list            list what is armed, in the end\n"
	"  --json            the list, or the ids of what was armed, as JSON\n"
	"  -h, --help        this text\n\n"
	"FAULT is one word of these, with WORD=VALUE behind it, quoted as one argument:\n"
	"read-error write-error flush-error latency hang bit-flip torn-write lost-write\n"
	"misdirected stale-read gone power-cut, or mutate. Where: member=N, area=AREA, file=PATH,\n"
	"offset=BYTES, len=BYTES; when: skip=N, count=N, p=PROBABILITY; how long: latency=TIME.\n"
	"'mutate file=PATH write=N [offset=BYTES] [len=BYTES] xor=HH [at=parity|data]'.\n"
	"  stablefs inject /mnt/v 'bit-flip file=/db/x offset=4096 count=1'\n";

struct inject_args {
	const char *seed, *disarm;
	bool list, json;
	const char *mountpoint;
};

/* Usage is told before anything is armed. */
static int check_faults(char *const *faults, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct fault_request r;
		struct errmsg why = {0};
		if (fault_parse(faults[i], &r, &why) < 0)
			return cli_usage("'%s': %s", faults[i], why.text);
	}
	return -1;
}

static int ask(const char *mountpoint, const char *word, const char *value,
	struct json_value **reply, struct errmsg *why)
{
	char line[FAULT_TEXT_MAX + 32];
	cleanup(cleanup_freep) char *text = NULL;
	snprintf(line, sizeof(line), "inject %s%s", word, value);
	int err = target_query(mountpoint, line, &text, why);
	if (err < 0 && strstr(why->text, "there is no query"))
		return errmsg_set(why, -EOPNOTSUPP,
			"%s does not inject faults: mount it with -o inject", mountpoint);
	return err < 0 ? err : json_parse(text, strlen(text), reply, why);
}

static int command(const struct inject_args *a, const char *word, const char *value, uint64_t *id,
	struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *reply = NULL;
	int err = ask(a->mountpoint, word, value, &reply, why);
	if (!err)
		*id = json_get_u64(reply, "id", 0);
	return err;
}

static void print_list(const struct json_value *list)
{
	struct table *t = table_new("rrrl", (const char *[]){"id", "met", "fired", "fault"});
	json_for_each(f, json_get(list, "faults"))
	{
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(f, "id", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(f, "met", 0));
		table_add_cell(t, "%llu", (unsigned long long)json_get_u64(f, "fired", 0));
		table_add_cell(t, "%s", json_get_string(f, "fault", "?"));
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
}

static int list_armed(const struct inject_args *a, struct errmsg *why)
{
	cleanup(cleanup_freep) char *text = NULL;
	cleanup(json_value_freep) struct json_value *list = NULL;
	int err = ask(a->mountpoint, "", "", &list, why);
	if (err == 0 && a->json)
		err = target_query(a->mountpoint, "inject", &text, why);
	if (err < 0)
		return err;
	if (a->json)
		fputs(text, stdout);
	else
		print_list(list);
	return 0;
}

static int arm_all(
	const struct inject_args *a, char *const *faults, unsigned count, struct errmsg *why)
{
	int err = 0;
	bool ids = !a->list && count;
	if (ids && a->json)
		fputs("{\"armed\":[", stdout);
	for (unsigned i = 0; i < count && err == 0; i++) {
		uint64_t id = 0;
		err = command(a, "", faults[i], &id, why);
		if (err < 0 || !ids)
			continue;
		printf(a->json ? "%s%llu" : "%sarmed as %llu\n", a->json && i ? "," : "",
			(unsigned long long)id);
	}
	if (ids && a->json)
		fputs("]}\n", stdout);
	return err;
}

static int inject(const struct inject_args *a, char *const *faults, unsigned count)
{
	struct errmsg why = {0};
	uint64_t id;
	int err = 0;
	if (a->seed)
		err = command(a, "seed ", a->seed, &id, &why);
	if (!err && a->disarm)
		err = command(a, "disarm ", a->disarm, &id, &why);
	if (!err)
		err = arm_all(a, faults, count, &why);
	bool nothing_else = !count && !a->seed && !a->disarm;
	if (!err && (a->list || nothing_else))
		err = list_armed(a, &why);
	return err < 0 ? cli_fail(err, &why) : CLI_DONE;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
		{"disarm", required_argument, NULL, 'd'}, {"list", no_argument, NULL, 'l'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct inject_args a = {0};
	for (int opt; (opt = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
		if (opt == 's')
			a.seed = optarg;
		else if (opt == 'd')
			a.disarm = optarg;
		else if (opt == 'l')
			a.list = true;
		else if (opt == 'j')
			a.json = true;
		else
			return cli_common_option(opt, argv);
	}
	if (optind == argc)
		return cli_usage("which MOUNTPOINT?");
	a.mountpoint = argv[optind++];
	unsigned count = (unsigned)(argc - optind);
	int status = check_faults(argv + optind, count);
	if (status >= 0)
		return status;
	if (!target_is_mount(a.mountpoint)) {
		struct errmsg why = {0};
		return cli_fail(
			errmsg_set(&why, -ENODEV, "%s is not a mounted stablefs", a.mountpoint),
			&why);
	}
	return inject(&a, argv + optind, count);
}

const struct cli_verb verb_inject = {
	"inject", "let members fail, lie, slow down; change writes in flight", usage, run};
