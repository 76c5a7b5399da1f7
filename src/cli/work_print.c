/* SPDX-License-Identifier: MIT */
/* Background work as text. */
#include "cli/work_print.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "report/size.h"
#include "report/table.h"

#define CELL_BYTES 96u

static bool is_idle(const struct json_value *work)
{
	return !strcmp(json_get_string(work, "state", "idle"), "idle");
}

static void format_percent(const struct json_value *work, char out[CELL_BYTES])
{
	uint64_t done = json_get_u64(work, "done", 0), total = json_get_u64(work, "total", 0);
	snprintf(out, CELL_BYTES, "%.1f %%", total ? 100.0 * (double)done / (double)total : 0.0);
}

static void format_speed(const struct json_value *work, const char *key, char out[CELL_BYTES])
{
	char size[SIZE_TEXT_BYTES];
	uint64_t bytes = json_get_u64(work, key, 0);
	size_format(bytes, size);
	snprintf(out, CELL_BYTES, "%s%s", bytes ? size : "", bytes ? "/s" : "");
}

static void format_left(const struct json_value *work, char out[CELL_BYTES])
{
	double left = json_get_double(work, "seconds_left", -1);
	out[0] = '\0';
	if (left >= 0)
		snprintf(out, CELL_BYTES, left < 120 ? "%.0f s" : "%.0f m",
			left < 120 ? left : left / 60);
}

/* "2026-11-21 10:22:11 UTC" */
static void format_time(uint64_t ns, char out[CELL_BYTES])
{
	time_t seconds = (time_t)(ns / NS_PER_S);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	strftime(out, CELL_BYTES, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

/* Of work that has ended: when, and with what. */
static void format_end(const struct json_value *work, char out[CELL_BYTES])
{
	char when[CELL_BYTES];
	uint64_t ended_ns = json_get_u64(work, "ended_ns", 0);
	out[0] = '\0';
	if (!ended_ns || !is_idle(work))
		return;
	format_time(ended_ns, when);
	snprintf(out, CELL_BYTES, "%.30s, %.40s", when, json_get_string(work, "error", "done"));
}

static void add_row(struct table *t, const struct json_value *work)
{
	char percent[CELL_BYTES] = "", speed[CELL_BYTES], left[CELL_BYTES], limit[CELL_BYTES],
	     ended[CELL_BYTES];
	if (!is_idle(work))
		format_percent(work, percent);
	format_speed(work, "bytes_per_second", speed);
	format_left(work, left);
	format_speed(work, "rate_limit", limit);
	format_end(work, ended);
	table_add_cell(t, "%s", work->key);
	table_add_cell(t, "%s", json_get_string(work, "state", "?"));
	table_add_cell(t, "%s", percent);
	table_add_cell(t, "%s", speed);
	table_add_cell(t, "%s", left);
	table_add_cell(t, "%s", limit[0] ? limit : "none");
	table_add_cell(t, "%s", ended);
}

void work_print_table(const struct json_value *status)
{
	struct table *t = table_new("llrrrrl",
		(const char *[]){"work", "state", "done", "speed", "left", "limit", "last end"});
	json_for_each(work, json_get(status, "work"))
	{
		add_row(t, work);
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
}

/* ---- lines ---- */

static void print_running(const struct json_value *work)
{
	char percent[CELL_BYTES], speed[CELL_BYTES], left[CELL_BYTES];
	format_percent(work, percent);
	format_speed(work, "bytes_per_second", speed);
	format_left(work, left);
	printf("%-8s ", work->key);
	if (json_get(work, "member"))
		printf("member %llu, ", (unsigned long long)json_get_u64(work, "member", 0));
	printf("%s, %s of %llu stripes", json_get_string(work, "state", "?"), percent,
		(unsigned long long)json_get_u64(work, "total", 0));
	if (speed[0])
		printf(", %s", speed);
	printf("%s%s%s\n", left[0] ? ", " : "", left, left[0] ? " left" : "");
}

static void print_last_scrub(const struct json_value *work)
{
	char when[CELL_BYTES];
	uint64_t ended_ns = json_get_u64(work, "ended_ns", 0);
	const struct json_value *found = json_get(work, "found");
	const char *error = json_get_string(work, "error", NULL);
	if (!ended_ns)
		return;
	format_time(ended_ns, when);
	printf("scrub    last %s: ", when);
	if (error || !found) {
		printf("%s\n", error ? error : "no result");
		return;
	}
	uint64_t wrong = json_get_u64(found, "parity_mismatches", 0) +
			 json_get_u64(found, "mirror_mismatches", 0) +
			 json_get_u64(found, "guard_mismatches", 0) +
			 json_get_u64(found, "unreadable", 0);
	if (!wrong)
		printf("nothing wrong\n");
	else
		printf("%llu blocks wrong, %llu repaired, %llu places remain\n",
			(unsigned long long)wrong,
			(unsigned long long)json_get_u64(found, "repaired", 0),
			(unsigned long long)json_get_u64(found, "remaining", 0));
}

void work_print_lines(const struct json_value *status)
{
	json_for_each(work, json_get(status, "work"))
	{
		if (!is_idle(work))
			print_running(work);
		else if (!strcmp(work->key, "scrub"))
			print_last_scrub(work);
		else if (json_get(work, "error"))
			printf("%-8s ended: %s\n", work->key, json_get_string(work, "error", "?"));
	}
}
