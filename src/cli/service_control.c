/* SPDX-License-Identifier: MIT */
/* Requests that change a mounted volume: each line is taken apart here and handed to the volume. */
#include "cli/service_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/scrub_report.h"
#include "fuse/volume_json.h"
#include "report/size.h"

#define WORD_BYTES 64u

/* The next word of *@rest, which moves behind it and the blank. False: none, or too long. */
static bool next_word(const char **rest, char word[WORD_BYTES])
{
	size_t len = strcspn(*rest, " ");
	if (!len || len >= WORD_BYTES)
		return false;
	memcpy(word, *rest, len);
	word[len] = '\0';
	*rest += len + ((*rest)[len] == ' ');
	return true;
}

/* True where *@rest begins with @word; then it moves behind it. */
static bool skip_word(const char **rest, const char *word)
{
	const char *at = *rest;
	char found[WORD_BYTES];
	if (!next_word(&at, found) || strcmp(found, word) != 0)
		return false;
	*rest = at;
	return true;
}

static int take_number(const char **rest, uint64_t *out, struct errmsg *why)
{
	char word[WORD_BYTES];
	if (!next_word(rest, word))
		return errmsg_set(why, -EINVAL, "a number is missing");
	return count_parse(word, out, why);
}

/* ---- members ---- */

static int take_member(struct service *s, const char **rest, unsigned *index, struct errmsg *why)
{
	uint64_t n = 0;
	int err = take_number(rest, &n, why);
	if (err < 0)
		return err;
	if (n >= volume_geometry(s->volume)->members)
		return errmsg_set(why, -ERANGE, "there is no member %llu: 0 to %u",
			(unsigned long long)n, volume_geometry(s->volume)->members - 1);
	*index = (unsigned)n;
	return 0;
}

/* The daemon's working directory is nobody's business. */
static int check_path(const char *path, struct errmsg *why)
{
	return *path == '/' ? 0 : errmsg_set(why, -EINVAL, "'%s' is not an absolute path", path);
}

int service_fail(struct service *s, const char *rest, struct errmsg *why)
{
	unsigned index;
	int err = take_member(s, &rest, &index, why);
	return err < 0 ? err : volume_fail_member(s->volume, index, "taken out by hand", why);
}

int service_replace(struct service *s, const char *rest, struct errmsg *why)
{
	unsigned index;
	int err = take_member(s, &rest, &index, why);
	bool force = !err && skip_word(&rest, "force");
	if (!err && *rest)
		err = check_path(rest, why);
	if (err < 0)
		return err;
	return volume_replace_member(s->volume, index, *rest ? rest : NULL, force, why);
}

int service_add(struct service *s, const char *rest, struct errmsg *why)
{
	bool force = skip_word(&rest, "force");
	int err = check_path(rest, why);
	return err < 0 ? err : volume_add_spare(s->volume, rest, force, why);
}

/* ---- background work ---- */

enum work_action { WORK_PAUSE, WORK_RESUME, WORK_RATE };

static int work_do(
	struct service *s, enum work_action action, enum volume_work_kind kind, uint64_t rate)
{
	switch (action) {
	case WORK_PAUSE:
		return volume_work_pause(s->volume, kind);
	case WORK_RESUME:
		return volume_work_resume(s->volume, kind);
	default:
		return volume_work_set_rate(s->volume, kind, rate);
	}
}

static int work_do_all(struct service *s, enum work_action action, uint64_t rate)
{
	int err = 0;
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++) {
		int one = work_do(s, action, (enum volume_work_kind)kind, rate);
		err = err < 0 ? err : one;
	}
	return err;
}

static bool take_action(const char **rest, enum work_action *out)
{
	static const char *const names[] = {
		[WORK_PAUSE] = "pause", [WORK_RESUME] = "resume", [WORK_RATE] = "rate"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		*out = (enum work_action)i;
		if (skip_word(rest, names[i]))
			return true;
	}
	return false;
}

int service_work(struct service *s, const char *rest, struct errmsg *why)
{
	enum work_action action;
	enum volume_work_kind kind = VOLUME_RESYNC;
	char word[WORD_BYTES] = "";
	uint64_t rate = 0;
	if (!take_action(&rest, &action) || !next_word(&rest, word))
		return errmsg_set(why, -EINVAL, "work: pause, resume or rate, and a kind");
	bool all = !strcmp(word, "all");
	if (!all && !volume_json_work_parse(word, &kind))
		return errmsg_set(why, -EINVAL, "there is no background work '%s'", word);
	int err = action == WORK_RATE ? take_number(&rest, &rate, why) : 0;
	if (err < 0)
		return err;
	return all ? work_do_all(s, action, rate) : work_do(s, action, kind, rate);
}

/* ---- scrub ---- */

static int write_report(struct service *s, const struct volume_work_info *w, FILE *out)
{
	struct scrub_result result = {0};
	const struct scrub_report report = {.volume = s->volume,
		.fs = s->fs,
		.result = &result,
		.repair = w->repair,
		.took_ns = w->ended_ns - w->started_ns};
	int err = volume_scrub_found(s->volume, &result);
	if (err >= 0)
		err = scrub_report_write(&report, out);
	scrub_result_free(&result);
	return err;
}

/* The report is a document of its own: it is given as it is once the scrub is done. */
static int write_scrub(struct service *s, FILE *out)
{
	struct volume_work_info w = volume_work_info(s->volume, VOLUME_SCRUB);
	const char *state = w.state == VOLUME_WORK_PAUSED    ? "paused"
			    : w.state == VOLUME_WORK_RUNNING ? "running"
			    : w.ended_ns                     ? "done"
							     : "none";
	fprintf(out, "{\"state\": \"%s\", \"done\": %llu, \"total\": %llu", state,
		(unsigned long long)w.done, (unsigned long long)w.total);
	bool ended = !strcmp(state, "done");
	if (ended && w.err < 0) {
		fprintf(out, ", \"error\": \"%s\"",
			w.err == -ECANCELED ? "stopped" : strerror(-w.err));
	} else if (ended) {
		fputs(", \"report\": ", out);
		int err = write_report(s, &w, out);
		if (err < 0)
			fprintf(out, "null, \"error\": \"%s\"", strerror(-err));
	}
	fputs("}\n", out);
	return 0;
}

static int start_scrub(struct service *s, const char *rest, struct errmsg *why)
{
	uint64_t every_ns = 0;
	bool repair = skip_word(&rest, "repair");
	int err = skip_word(&rest, "every") ? take_number(&rest, &every_ns, why) : 0;
	if (!err && *rest)
		err = errmsg_set(why, -EINVAL, "scrub: what is '%s'?", rest);
	return err < 0 ? err : volume_scrub_start(s->volume, repair, every_ns, why);
}

static int stop_scrub(struct service *s, struct errmsg *why)
{
	int err = volume_scrub_stop(s->volume);
	return err == -ESRCH ? errmsg_set(why, err, "no scrub is under way") : err;
}

int service_scrub_control(struct service *s, const char *rest, FILE *out, struct errmsg *why)
{
	int err = 0;
	if (skip_word(&rest, "stop"))
		err = stop_scrub(s, why);
	else if (!skip_word(&rest, "status"))
		err = start_scrub(s, rest, why);
	return err < 0 ? err : write_scrub(s, out);
}
