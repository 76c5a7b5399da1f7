/* SPDX-License-Identifier: MIT */
/* Answers about an open volume: dispatch, and the scrub that runs beside everything else. */
#include "cli/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/inspect.h"
#include "cli/scrub_report.h"
#include "report/json.h"

void service_init(struct service *s, struct volume *v, struct fs *fs, const char *mountpoint)
{
	*s = (struct service){.volume = v, .fs = fs, .mountpoint = mountpoint};
	pthread_mutex_init(&s->lock, NULL);
}

static void join_scrubber(struct service *s)
{
	if (s->joinable)
		pthread_join(s->scrubber, NULL);
	s->joinable = false;
}

void service_end(struct service *s)
{
	atomic_store(&s->stop, true);
	join_scrubber(s);
	free(s->report);
	pthread_mutex_destroy(&s->lock);
}

int service_scrub(struct service *s, bool repair,
	bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, FILE *out)
{
	struct scrub_result result = {0};
	uint64_t started = clock_monotonic_ns();
	int err = volume_scrub(s->volume, repair, progress, ctx, &result);
	if (!err)
		err = scrub_report_write(
			s->volume, s->fs, &result, clock_monotonic_ns() - started, out);
	scrub_result_free(&result);
	return err;
}

/* ---- a scrub in the background ---- */

static bool note_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct service *s = ctx;
	pthread_mutex_lock(&s->lock);
	s->done = done;
	s->total = total;
	pthread_mutex_unlock(&s->lock);
	return !atomic_load(&s->stop);
}

static void *scrub_in_background(void *ctx)
{
	struct service *s = ctx;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int err = out ? service_scrub(s, s->repair, note_progress, s, out) : -ENOMEM;
	if (out && fclose(out) != 0 && !err)
		err = -ENOMEM;
	pthread_mutex_lock(&s->lock);
	free(s->report);
	s->report = text;
	s->scrub_err = err;
	s->state = SCRUB_DONE;
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int start_scrub(struct service *s, bool repair)
{
	int err = 0;
	pthread_mutex_lock(&s->lock);
	if (s->state == SCRUB_RUNNING) {
		err = -EBUSY;
	} else {
		join_scrubber(s);
		s->repair = repair;
		s->done = s->total = 0;
		atomic_store(&s->stop, false);
		err = -pthread_create(&s->scrubber, NULL, scrub_in_background, s);
		s->joinable = !err;
		s->state = err ? s->state : SCRUB_RUNNING;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* The report is a document of its own: it is given as it is once the scrub is done. */
static int scrub_status(struct service *s, FILE *out)
{
	static const char *const names[] = {"none", "running", "done"};
	pthread_mutex_lock(&s->lock);
	bool ended = s->state == SCRUB_DONE;
	fprintf(out, "{\"state\": \"%s\", \"done\": %llu, \"total\": %llu", names[s->state],
		(unsigned long long)s->done, (unsigned long long)s->total);
	if (ended && s->scrub_err)
		fprintf(out, ", \"error\": \"%s\"",
			s->scrub_err == -ECANCELED ? "stopped" : strerror(-s->scrub_err));
	else if (ended)
		fprintf(out, ", \"report\": %s", s->report);
	fputs("}\n", out);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int query_scrub(struct service *s, const char *what, FILE *out)
{
	int err = 0;
	if (!strcmp(what, "status"))
		return scrub_status(s, out);
	if (!strcmp(what, "stop"))
		atomic_store(&s->stop, true);
	else if (!strcmp(what, "repair") || !*what)
		err = start_scrub(s, *what != '\0');
	else
		return -EINVAL;
	return err ? err : scrub_status(s, out);
}

/* ---- dispatch ---- */

/* What follows @word and a space in @line; "" where nothing does; NULL where another word stands.
 */
static const char *after_word(const char *line, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(line, word, len) != 0 || (line[len] && line[len] != ' '))
		return NULL;
	return line[len] ? line + len + 1 : line + len;
}

static int dispatch(struct service *s, const char *line, FILE *out, struct errmsg *why)
{
	const char *rest;
	if (after_word(line, "status"))
		return inspect_status(s, out);
	if ((rest = after_word(line, "scrub")))
		return query_scrub(s, rest, out);
	if (after_word(line, "inspect super"))
		return inspect_super(s, out);
	if ((rest = after_word(line, "inspect stripe")))
		return inspect_stripe(s, rest, out, why);
	if ((rest = after_word(line, "inspect file")))
		return inspect_file(s, rest, false, out, why);
	if ((rest = after_word(line, "inspect shares")))
		return inspect_file(s, rest, true, out, why);
	return errmsg_set(why, -EINVAL, "there is no query '%s'", line);
}

int service_query(void *ctx, const char *line, FILE *out)
{
	struct errmsg why = {0};
	int err = dispatch(ctx, line, out, &why);
	if (err < 0) {
		struct json j;
		json_init_file(&j, out, JSON_COMPACT);
		json_object_begin(&j);
		json_field_string(&j, "error", why.text[0] ? why.text : strerror(-err));
		json_object_end(&j);
		json_finish(&j);
	}
	return err;
}
