/* SPDX-License-Identifier: MIT */
/* A remount inside the daemon.
 *
 * Order: what can fail comes first (the commit, or the files becoming writable), then what cannot.
 */
#include "cli/remount.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include "base/cleanup.h"

#define RATE_AS_IT_IS UINT64_MAX /* the list does not say it: `stablefs work` may have changed it */

#define ATIME_FLAGS (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)

struct remount {
	pthread_mutex_t lock;     /* one remount at a time; taken before any other lock */
	struct mount_options now; /* but for what the control directory may have changed */
};

int remount_new(const struct mount_options *options, struct remount **out)
{
	struct remount *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->now = *options;
	*out = r;
	return 0;
}

void remount_free(struct remount *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* What is, as far as a list leaves it alone. */
static void start_from(struct mount_options *wanted, const struct mount_options *now,
	const struct serve_world *world)
{
	struct front_settings s;
	front_settings_get(world->front, &s);
	*wanted = *now;
	wanted->dio = s.dio;
	wanted->dio_weaken = s.dio_weaken;
	wanted->event_rate = s.event_rate;
	wanted->hold_ns = s.hold_ns;
	wanted->dio_align = s.dio_align;
	wanted->background_rate = RATE_AS_IT_IS;
	wanted->inject_first[0] = '\0';
	wanted->remount = true;
	wanted->flags = 0;
	wanted->read_only = fs_is_read_only(world->fs);
}

static int understand(struct mount_options *wanted, const struct mount_options *now,
	const char *list, struct errmsg *why)
{
	int err = mount_options_parse(wanted, list, why);
	if (err < 0)
		return err;
	/* As mount(2) has it: where none of these is named, they stay. */
	if (!(wanted->flags & ATIME_FLAGS))
		wanted->flags |= now->flags & ATIME_FLAGS;
	if (!wanted->inject_first[0])
		strcpy(wanted->inject_first, now->inject_first);
	const char *fixed = mount_options_fixed(now, wanted);
	if (fixed)
		return errmsg_set(why, -EINVAL,
			"%s cannot be changed while it is mounted: unmount it, and mount it anew",
			fixed);
	return 0;
}

static int check_writable(
	const struct mount_options *wanted, const struct serve_world *world, struct errmsg *why)
{
	if (wanted->read_only || !volume_is_read_only(world->volume))
		return 0;
	return errmsg_set(why, -EROFS,
		"the volume is open for reading alone (norecovery, or members that cannot be "
		"written): unmount it, and mount it anew");
}

static void set_rates(struct volume *v, uint64_t rate)
{
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++)
		volume_work_set_rate(v, (enum volume_work_kind)kind, rate);
}

static int set_read_only(struct fs *fs, bool read_only, struct errmsg *why)
{
	int err = fs_set_read_only(fs, read_only);
	return err < 0 ? errmsg_set(why, err, "%s: %s",
				 read_only ? "what was changed cannot be committed"
					   : "the files cannot be opened for writing",
				 strerror(-err))
		       : 0;
}

static int apply(
	const struct mount_options *wanted, const struct serve_world *world, struct errmsg *why)
{
	int err = set_read_only(world->fs, wanted->read_only, why);
	if (err < 0)
		return err;
	struct front_settings s = {.dio = wanted->dio,
		.dio_weaken = wanted->dio_weaken,
		.event_rate = wanted->event_rate,
		.hold_ns = wanted->hold_ns,
		.dio_align = wanted->dio_align,
		.mount_flags = wanted->flags};
	front_settings_set(world->front, &s);
	serve_set_atime(world->fs, wanted->flags);
	fs_set_commit_interval(world->fs, wanted->commit_ns);
	if (wanted->background_rate != RATE_AS_IT_IS)
		set_rates(world->volume, wanted->background_rate);
	return 0;
}

static int answer(struct remount *r, const struct serve_world *world, bool only_check,
	const char *list, struct errmsg *why)
{
	cleanup(cleanup_freep) struct mount_options *wanted = malloc(sizeof(*wanted));
	if (!wanted)
		return -ENOMEM;
	start_from(wanted, &r->now, world);
	int err = understand(wanted, &r->now, list, why);
	if (!err)
		err = check_writable(wanted, world, why);
	if (!err)
		err = mount_options_check(wanted, true, why);
	if (err < 0 || only_check)
		return err;
	err = apply(wanted, world, why);
	if (!err)
		r->now = *wanted;
	return err;
}

int remount_answer(
	struct remount *r, const struct serve_world *world, const char *line, struct errmsg *why)
{
	int err;
	pthread_mutex_lock(&r->lock);
	if (!strcmp(line, "rw") || !strcmp(line, "ro"))
		err = set_read_only(world->fs, line[1] == 'o', why);
	else if (!strncmp(line, "check ", 6))
		err = answer(r, world, true, line + 6, why);
	else if (!strncmp(line, "do ", 3))
		err = answer(r, world, false, line + 3, why);
	else
		err = errmsg_set(why, -EINVAL, "remount takes check LIST, do LIST, rw or ro");
	pthread_mutex_unlock(&r->lock);
	return err;
}
