/* SPDX-License-Identifier: MIT */
/* Answers about an open volume: which line asks for what. */
#include "cli/service.h"

#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "cli/inspect.h"
#include "cli/scrub_report.h"
#include "cli/service_control.h"
#include "report/json.h"

int service_scrub(struct service *s, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, FILE *out)
{
	struct scrub_result result = {0};
	struct scrub_report report = {
		.volume = s->volume, .fs = s->fs, .result = &result, .repair = repair};
	uint64_t started = clock_monotonic_ns();
	int err = volume_scrub(s->volume, repair, progress, ctx, &result);
	report.took_ns = clock_monotonic_ns() - started;
	if (!err)
		err = scrub_report_write(&report, out);
	scrub_result_free(&result);
	return err;
}

/* What follows @word and a space in @line; "" where nothing does; NULL where another word stands.
 */
static const char *after_word(const char *line, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(line, word, len) != 0 || (line[len] && line[len] != ' '))
		return NULL;
	return line[len] ? line + len + 1 : line + len;
}

/* False: @line is no look at the volume. */
static bool answer_look(
	struct service *s, const char *line, FILE *out, struct errmsg *why, int *err)
{
	const char *rest;
	if (after_word(line, "status"))
		*err = inspect_status(s, out);
	else if (after_word(line, "inspect super"))
		*err = inspect_super(s, out);
	else if ((rest = after_word(line, "inspect stripe")))
		*err = inspect_stripe(s, rest, out, why);
	else if ((rest = after_word(line, "inspect file")))
		*err = inspect_file(s, rest, false, out, why);
	else if ((rest = after_word(line, "inspect shares")))
		*err = inspect_file(s, rest, true, out, why);
	else
		return false;
	return true;
}

static const struct {
	const char *word;
	int (*change)(struct service *s, const char *rest, struct errmsg *why);
} changes[] = {{"fail", service_fail}, {"replace", service_replace}, {"add", service_add},
	{"work", service_work}};

static int answer_change(struct service *s, const char *line, FILE *out, struct errmsg *why)
{
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const char *rest = after_word(line, changes[i].word);
		if (!rest)
			continue;
		int err = changes[i].change(s, rest, why);
		if (err >= 0)
			fputs("{\"done\": true}\n", out);
		return err;
	}
	return errmsg_set(why, -EINVAL, "there is no query '%s'", line);
}

static int dispatch(struct service *s, const char *line, FILE *out, struct errmsg *why)
{
	int err;
	const char *rest = after_word(line, "scrub");
	if (rest)
		return service_scrub_control(s, rest, out, why);
	if (answer_look(s, line, out, why, &err))
		return err;
	return answer_change(s, line, out, why);
}

void service_write_error(FILE *out, int err, const struct errmsg *why)
{
	struct json j;
	json_init_file(&j, out, JSON_COMPACT);
	json_object_begin(&j);
	json_field_string(&j, "error", why->text[0] ? why->text : strerror(-err));
	json_object_end(&j);
	json_finish(&j);
}

int service_query(void *ctx, const char *line, FILE *out)
{
	struct errmsg why = {0};
	int err = dispatch(ctx, line, out, &why);
	if (err < 0)
		service_write_error(out, err, &why);
	return err;
}
