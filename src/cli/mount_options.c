/* SPDX-License-Identifier: MIT */
/* A list of mount options: taken apart, each handed to whoever knows it, then looked at as a whole.
 */
#include "cli/mount_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/mount_words.h"
#include "fuse/front.h"
#include "report/size.h"

#define MAX_EVENT_RATE        1000000u
#define MAX_MAX_ERRORS        1000000000u
#define MIN_MEMBER_TIMEOUT_NS (10 * NS_PER_MS)
#define MAX_WORKERS           64u
#define MIN_COMMIT_NS         (10 * NS_PER_MS)
#define MAX_COMMIT_NS         (3600 * NS_PER_S)
#define MAX_CACHE_BYTES       (UINT64_C(1) << 40)

/* ---- options with a value ---- */

static int take_dio(struct mount_options *o, const char *value, struct errmsg *why)
{
	if (!dio_policy_parse(value, &o->dio))
		return errmsg_set(
			why, -EINVAL, "there is no policy dio=%s: %s", value, dio_policy_names());
	return 0;
}

static int take_weaken(struct mount_options *o, const char *value, struct errmsg *why)
{
	o->dio_weaken = !strcmp(value, "owner");
	if (!o->dio_weaken && strcmp(value, "root"))
		return errmsg_set(why, -EINVAL, "dio-weaken takes root or owner, not '%s'", value);
	return 0;
}

/* A number from 1 to @max. */
static int take_count(
	const char *name, const char *value, unsigned max, unsigned *out, struct errmsg *why)
{
	uint64_t n;
	if (count_parse(value, &n, NULL) < 0 || n < 1 || n > max)
		return errmsg_set(why, -EINVAL, "%s takes 1 to %u, not '%s'", name, max, value);
	*out = (unsigned)n;
	return 0;
}

static int take_event_rate(struct mount_options *o, const char *value, struct errmsg *why)
{
	return take_count("event-rate", value, MAX_EVENT_RATE, &o->event_rate, why);
}

static int take_workers(struct mount_options *o, const char *value, struct errmsg *why)
{
	return take_count("workers", value, MAX_WORKERS, &o->workers, why);
}

static int take_max_errors(struct mount_options *o, const char *value, struct errmsg *why)
{
	return take_count("max-errors", value, MAX_MAX_ERRORS, &o->max_errors, why);
}

static int take_hold(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	if (duration_parse(value, &o->hold_ns, &said) < 0)
		return errmsg_set(why, -EINVAL, "hold: %s", said.text);
	if (o->hold_ns > FRONT_MAX_HOLD_NS)
		return errmsg_set(why, -EINVAL, "hold=%s is too long: at most 10s", value);
	return 0;
}

static int take_align(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	uint64_t bytes;
	if (size_parse(value, &bytes, &said) < 0)
		return errmsg_set(why, -EINVAL, "dio-align: %s", said.text);
	if (bytes < 1 || bytes > BLOCK_BYTES || (bytes & (bytes - 1)))
		return errmsg_set(why, -EINVAL,
			"dio-align takes a power of two from 1 to 4096, not %s", value);
	o->dio_align = (unsigned)bytes;
	return 0;
}

static int take_timeout(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	o->member_timeout_ns = UINT64_MAX;
	if (!strcmp(value, "never"))
		return 0;
	if (duration_parse(value, &o->member_timeout_ns, &said) < 0)
		return errmsg_set(why, -EINVAL, "member-timeout: %s", said.text);
	if (o->member_timeout_ns < MIN_MEMBER_TIMEOUT_NS)
		return errmsg_set(why, -EINVAL,
			"member-timeout=%s is too short: 10ms and more, or never", value);
	return 0;
}

static int take_rate(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	if (size_parse(value, &o->background_rate, &said) < 0)
		return errmsg_set(why, -EINVAL, "background-rate: %s", said.text);
	return 0;
}

/* A bare 0 is a size as well. */
static int take_cache(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	if (size_parse(value, &o->cache_bytes, &said) < 0)
		return errmsg_set(why, -EINVAL, "cache: %s", said.text);
	if (o->cache_bytes > MAX_CACHE_BYTES)
		return errmsg_set(why, -EINVAL, "cache=%s is too much: at most 1T", value);
	return 0;
}

static int take_scrub_every(struct mount_options *o, const char *value, struct errmsg *why)
{
	struct errmsg said = {0};
	if (duration_parse(value, &o->scrub_every_ns, &said) < 0)
		return errmsg_set(why, -EINVAL, "scrub-every: %s", said.text);
	return 0;
}

/* A bare number is seconds, and 0 the default, as ext4 has it. */
static int take_commit(struct mount_options *o, const char *value, struct errmsg *why)
{
	uint64_t n;
	o->commit_ns = 0;
	if (count_parse(value, &n, NULL) == 0)
		o->commit_ns = n <= MAX_COMMIT_NS / NS_PER_S ? n * NS_PER_S : UINT64_MAX;
	else if (duration_parse(value, &o->commit_ns, NULL) < 0)
		return errmsg_set(why, -EINVAL, "commit takes seconds or a time, not '%s'", value);
	bool out_of_range = o->commit_ns < MIN_COMMIT_NS || o->commit_ns > MAX_COMMIT_NS;
	if (o->commit_ns && out_of_range)
		return errmsg_set(why, -EINVAL, "commit takes 10ms to 1h (3600), not '%s'", value);
	return 0;
}

/* Whether they mean something is seen when the files are there. */
static int take_inject(struct mount_options *o, const char *value, struct errmsg *why)
{
	size_t used = strlen(o->inject_first), room = sizeof(o->inject_first) - used;
	o->inject = true;
	if ((size_t)snprintf(o->inject_first + used, room, "%s;", value) >= room)
		return errmsg_set(why, -EINVAL, "inject= has at most %zu characters",
			sizeof(o->inject_first) - 1);
	return 0;
}

static int take_text(
	const char *name, const char *value, char *out, size_t room, struct errmsg *why)
{
	if (!*value || strlen(value) >= room)
		return errmsg_set(why, -EINVAL, "%s takes 1 to %zu characters", name, room - 1);
	strcpy(out, value);
	return 0;
}

static int take_fsname(struct mount_options *o, const char *value, struct errmsg *why)
{
	return take_text("fsname", value, o->fsname, sizeof(o->fsname), why);
}

static int take_subtype(struct mount_options *o, const char *value, struct errmsg *why)
{
	if (strpbrk(value, " ,/\\"))
		return errmsg_set(why, -EINVAL, "subtype=%s: it is one plain word", value);
	return take_text("subtype", value, o->subtype, sizeof(o->subtype), why);
}

static const struct valued {
	const char *name;
	int (*take)(struct mount_options *o, const char *value, struct errmsg *why);
} valued[] = {{"dio", take_dio}, {"dio-weaken", take_weaken}, {"event-rate", take_event_rate},
	{"hold", take_hold}, {"dio-align", take_align}, {"commit", take_commit},
	{"background-rate", take_rate}, {"scrub-every", take_scrub_every},
	{"workers", take_workers}, {"member-timeout", take_timeout},
	{"max-errors", take_max_errors}, {"fsname", take_fsname}, {"subtype", take_subtype},
	{"cache", take_cache}, {"inject", take_inject}};
#define VALUED (sizeof(valued) / sizeof(valued[0]))

/* ---- what somebody may have meant ---- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;
	return least < c ? least : c;
}

/* Letters to be added, left out or exchanged (Levenshtein); words of up to 31 letters. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[32];
	size_t len_a = strlen(a), len_b = strlen(b);
	if (len_a >= 32 || len_b >= 32)
		return UINT_MAX;
	for (unsigned j = 0; j <= len_b; j++)
		row[j] = j;
	for (unsigned i = 1; i <= len_a; i++) {
		unsigned corner = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= len_b; j++) {
			unsigned above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
			corner = above;
		}
	}
	return row[len_b];
}

const char *mount_options_nearest(const char *word)
{
	const char *best = NULL, *known;
	unsigned least = strlen(word) < 4 ? 2 : 1 + (unsigned)strlen(word) / 3;
	for (unsigned i = 0; (known = i < VALUED ? valued[i].name : mount_word_known(i - VALUED));
		i++) {
		unsigned d = distance(word, known);
		if (d < least) {
			least = d;
			best = known;
		}
	}
	return best;
}

static int refuse_unknown(const struct mount_options *o, const char *name, struct errmsg *why)
{
	if (o->sloppy)
		return 0;
	const char *meant = mount_options_nearest(name);
	return errmsg_set(why, -EINVAL, "there is no mount option '%s'%s%s%s", name,
		meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

/* ---- the list ---- */

static int take_one(struct mount_options *o, char *text, struct errmsg *why)
{
	char *value = strchr(text, '=');
	if (value)
		*value++ = '\0';
	if (!strcmp(text, "nosubtype") && !value) {
		o->subtype[0] = '\0';
		return 0;
	}
	if (!strcmp(text, "inject") && !value) {
		o->inject = true;
		return 0;
	}
	for (unsigned i = 0; i < VALUED; i++) {
		if (strcmp(valued[i].name, text) != 0)
			continue;
		return value ? valued[i].take(o, value, why)
			     : errmsg_set(
				       why, -EINVAL, "the mount option '%s' needs a value", text);
	}
	int known = mount_word_take(o, text, value, why);
	if (known)
		return known < 0 ? known : 0;
	return refuse_unknown(o, text, why);
}

/* The next one of *@list, which moves behind it, without its quotes; in place. */
static char *next_one(char **list)
{
	char *start = *list, *to = start, *from = start;
	bool quoted = false;
	for (; *from && (quoted || *from != ','); from++) {
		if (*from == '"') {
			quoted = !quoted;
			continue;
		}
		if (from[0] == '\\' && from[1] == ',')
			from++;
		*to++ = *from;
	}
	*list = *from ? from + 1 : from;
	*to = '\0';
	return start;
}

int mount_options_parse(struct mount_options *o, const char *list, struct errmsg *why)
{
	cleanup(cleanup_freep) char *copy = strdup(list);
	int err = copy ? 0 : -ENOMEM;
	for (char *rest = copy; !err && *rest;) {
		char *one = next_one(&rest);
		if (*one)
			err = take_one(o, one, why);
	}
	return err;
}

/* ---- as a whole ---- */

void mount_options_init(struct mount_options *o, bool root)
{
	*o = (struct mount_options){.allow_other = root,
		.flags = root ? 0 : MS_NOSUID | MS_NODEV,
		.cache_bytes = MOUNT_CACHE_BY_MEMORY,
		.subtype = MOUNT_SUBTYPE};
}

int mount_options_check(const struct mount_options *o, bool root, struct errmsg *why)
{
	if (!root && o->unsafe && (o->flags & (MS_NOSUID | MS_NODEV)) != (MS_NOSUID | MS_NODEV))
		return errmsg_set(why, -EPERM, "only root may mount with %s",
			o->flags & MS_NOSUID ? "dev" : "suid");
	if (!root && o->flags & MS_NOSYMFOLLOW)
		return errmsg_set(why, -EPERM, "only root may mount with nosymfollow");
	if (!root && o->remount)
		return errmsg_set(why, -EPERM, "only root may remount");
	if (o->kernels_word[0] && !o->remount && !o->sloppy)
		return errmsg_set(why, -EINVAL,
			"the mount option '%s' is the kernel's, and not to be given",
			o->kernels_word);
	if (o->no_recovery && !o->read_only)
		return errmsg_set(why, -EINVAL, "norecovery is for read-only mounts: give ro, too");
	return 0;
}

/* Texts are compared to their end, all else as it lies in memory. */
#define FIXED(name, field, text)                                                                   \
	{                                                                                          \
		name, offsetof(struct mount_options, field),                                       \
			sizeof(((struct mount_options *)0)->field), text                           \
	}

const char *mount_options_fixed(const struct mount_options *a, const struct mount_options *b)
{
	static const struct {
		const char *name;
		size_t at, size;
		bool text;
	} fixed[] = {FIXED("allow_other", allow_other, false),
		FIXED("writethrough", write_through, false),
		FIXED("exacttimes", exact_times, false), FIXED("awake", awake, false),
		FIXED("norecovery", no_recovery, false), FIXED("inject", inject, false),
		FIXED("inject=", inject_first, true), FIXED("workers=", workers, false),
		FIXED("max-errors=", max_errors, false),
		FIXED("member-timeout=", member_timeout_ns, false),
		FIXED("scrub-every=", scrub_every_ns, false), FIXED("cache=", cache_bytes, false),
		FIXED("fsname=", fsname, true), FIXED("subtype", subtype, true)};
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		const char *x = (const char *)a + fixed[i].at, *y = (const char *)b + fixed[i].at;
		if (fixed[i].text ? strcmp(x, y) : memcmp(x, y, fixed[i].size))
			return fixed[i].name;
	}
	return NULL;
}
