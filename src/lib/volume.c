/* SPDX-License-Identifier: MIT */
/* Volumes: make, open, close, count. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uring.h"
#include "lib/internal.h"
#include "pi/pi.h"

_Static_assert((int)STABLEFS_RAID1 == RAID_RAID1 && (int)STABLEFS_RAID5 == RAID_RAID5 &&
		       (int)STABLEFS_RAID6 == RAID_RAID6,
	"levels");
_Static_assert((int)STABLEFS_PI_T10 == PI_T10 && (int)STABLEFS_PI_CRC64 == PI_CRC64, "PI");
_Static_assert(sizeof(struct stablefs_error) == sizeof(struct errmsg), "messages");

const char *stablefs_version(void)
{
	return STABLEFS_VERSION;
}

static int say(struct stablefs_error *to, const struct errmsg *why, int err)
{
	if (to && err < 0)
		snprintf(to->text, sizeof(to->text), "%s",
			why->text[0] ? why->text : strerror(-err));
	return err;
}

/* ---- policies by name ---- */

static const char *const policy_names[STABLEFS_POLICY_COUNT] = {
	[STABLEFS_DEFAULT] = "default",
	[STABLEFS_BOUNCE] = "bounce",
	[STABLEFS_ZEROCOPY] = "zerocopy",
	[STABLEFS_DETECT] = "detect",
	[STABLEFS_VERIFY] = "verify",
	[STABLEFS_ADAPTIVE] = "adaptive",
	[STABLEFS_COW] = "cow",
};

const char *stablefs_policy_name(enum stablefs_policy policy)
{
	return (unsigned)policy < STABLEFS_POLICY_COUNT ? policy_names[policy] : "unknown";
}

int stablefs_policy_parse(const char *name, enum stablefs_policy *out, struct stablefs_error *why)
{
	struct errmsg msg = {0};
	for (unsigned i = 0; i < STABLEFS_POLICY_COUNT; i++) {
		if (!strcmp(name, policy_names[i])) {
			*out = (enum stablefs_policy)i;
			return 0;
		}
	}
	bool of_mounts = !strcmp(name, "buffered") || !strcmp(name, "refuse");
	errmsg_set(&msg, -EINVAL,
		of_mounts ? "the policy '%s' is for mounts: the library has no page cache and no "
			    "O_DIRECT to refuse"
			  : "there is no policy '%s'",
		name);
	return say(why, &msg, -EINVAL);
}

/* ---- create ---- */

static int format(char *const *args, unsigned count, struct errmsg *why)
{
	struct volume_paths paths;
	struct volume *volume = NULL;
	int err = volume_paths_find(args, count, &paths, why);
	if (err < 0)
		return err;
	struct volume_open_options options = {.factory = &uring_factory,
		.paths = paths.paths,
		.count = paths.count,
		.threaded = true};
	err = volume_open(&options, &volume, why);
	volume_paths_free(&paths);
	if (err < 0)
		return err;
	err = fs_format(volume, geteuid(), getegid(), why);
	int closed = volume_close(volume);
	return err < 0 ? err : closed;
}

int stablefs_create(const char *const *paths, unsigned count,
	const struct stablefs_create_options *options, struct stablefs_error *why)
{
	struct errmsg msg = {0};
	char *const *args = (char *const *)paths;
	struct volume_create_options o = {.level = (enum raid_level)options->level,
		.members = options->members,
		.size_bytes = options->size_bytes,
		.chunk_bytes = options->chunk_bytes,
		.pi = (enum pi_type)options->pi,
		.pi_check = options->pi_unchecked ? PI_CHECK_NONE : PI_CHECK_DEVICE,
		.force = options->force};
	if (o.pi == PI_NONE)
		o.pi_check = PI_CHECK_NONE;
	int err = volume_create(&uring_factory, args, count, &o, &msg);
	if (!err)
		err = format(args, count, &msg);
	return say(why, &msg, err);
}

/* ---- open ---- */

static struct stablefs *volume_new(void)
{
	struct stablefs *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;
	if (!v)
		return NULL;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->completed, &attr);
	pthread_cond_init(&v->job_came, NULL);
	pthread_condattr_destroy(&attr);
	list_init(&v->jobs);
	if (lib_events_init(&v->events) == 0)
		return v;
	lib_events_free(&v->events);
	free(v);
	return NULL;
}

/* Ends the engine's thread, then the worker's: nobody is left who could complete anything. */
static int volume_end(struct stablefs *v)
{
	int err = v->fs ? fs_close(v->fs) : 0;
	int closed = v->volume ? volume_close(v->volume) : 0;
	lib_worker_stop(v);
	cow_free(v->cow);
	lib_events_free(&v->events);
	pthread_cond_destroy(&v->completed);
	pthread_cond_destroy(&v->job_came);
	pthread_mutex_destroy(&v->lock);
	free(v);
	return err < 0 ? err : closed;
}

static int open_volume(
	struct stablefs *v, char *const *args, unsigned count, bool degraded, struct errmsg *why)
{
	struct volume_paths paths;
	int err = volume_paths_find(args, count, &paths, why);
	if (err < 0)
		return err;
	struct volume_open_options options = {.factory = &uring_factory,
		.paths = paths.paths,
		.count = paths.count,
		.read_only = v->read_only,
		.degraded = degraded,
		.threaded = true,
		.events = &v->events.sink};
	err = volume_open(&options, &v->volume, why);
	volume_paths_free(&paths);
	return err;
}

int stablefs_open(const char *const *paths, unsigned count,
	const struct stablefs_open_options *options, struct stablefs **out,
	struct stablefs_error *why)
{
	static const struct stablefs_open_options none;
	struct errmsg msg = {0};
	options = options ? options : &none;
	if ((unsigned)options->policy >= STABLEFS_POLICY_COUNT)
		return say(why, &msg, -EINVAL);
	struct stablefs *v = volume_new();
	if (!v)
		return say(why, &msg, -ENOMEM);
	v->read_only = options->read_only;
	v->policy = options->policy ? options->policy : STABLEFS_BOUNCE;
	struct fs_options fo = {.read_only = v->read_only};
	int err = open_volume(v, (char *const *)paths, count, options->degraded, &msg);
	if (!err)
		err = fs_open(v->volume, &fo, &v->fs, &msg);
	if (!err)
		err = lib_worker_start(v);
	if (err < 0) {
		(void)volume_end(v);
		return say(why, &msg, err);
	}
	/* Without it the volume works all the same. */
	if (cow_new(&v->cow, &v->cow_missing) < 0)
		v->cow = NULL;
	*out = v;
	return 0;
}

int stablefs_close(struct stablefs *v)
{
	if (atomic_load(&v->files) || atomic_load(&v->under_way))
		return -EBUSY;
	return volume_end(v);
}

int stablefs_sync(struct stablefs *v)
{
	return v->read_only ? 0 : fs_sync(v->fs);
}

const char *stablefs_cow_missing(const struct stablefs *v)
{
	return v->cow ? NULL : v->cow_missing.text;
}

/* ---- statistics ---- */

static void add_cow_bounces(struct stablefs_stats *out, unsigned *at, const char *why, uint64_t n)
{
	out->cow_bounced_by[*at].reason = why;
	out->cow_bounced_by[(*at)++].writes = n;
	out->cow_bounced += n;
}

static void fill_cow(struct stablefs *v, struct stablefs_stats *out)
{
	unsigned at = 0;
	_Static_assert(COW_REFUSAL_COUNT <= STABLEFS_COW_REASONS, "room for all reasons");
	add_cow_bounces(out, &at, "not available", atomic_load(&v->count.cow_unavailable));
	if (!v->cow)
		return;
	struct cow_stats c = cow_stats(v->cow);
	out->cow_held = c.taken;
	out->cow_pages_copied = c.pages_copied;
	for (unsigned i = COW_TAKEN + 1; i < COW_REFUSAL_COUNT; i++)
		add_cow_bounces(out, &at, cow_refusal_name(i), c.refused[i]);
}

void stablefs_stats(struct stablefs *v, struct stablefs_stats *out)
{
	const struct lib_counters *c = &v->count;
	*out = (struct stablefs_stats){.reads = atomic_load(&c->reads),
		.read_bytes = atomic_load(&c->read_bytes),
		.writes = atomic_load(&c->writes),
		.write_bytes = atomic_load(&c->write_bytes),
		.trusted = atomic_load(&c->trusted),
		.copied_bytes = atomic_load(&c->copied_bytes),
		.changed = atomic_load(&c->changed),
		.redone = atomic_load(&c->redone),
		.failed = atomic_load(&c->failed),
		.refused = stripe_engine_stats(volume_engine(v->volume)).refused_writes,
		.adaptive_bounced = atomic_load(&v->adaptive_bounced)};
	for (unsigned i = 0; i < STABLEFS_POLICY_COUNT; i++)
		out->by_policy[i] = atomic_load(&c->by_policy[i]);
	pthread_mutex_lock(&v->events.lock);
	out->events_dropped = v->events.dropped;
	pthread_mutex_unlock(&v->events.lock);
	fill_cow(v, out);
}
