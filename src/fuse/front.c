/* SPDX-License-Identifier: MIT */
/* A run of the front end: its parts are made, the mount is served, all is taken down in turn.
 *
 *	front_init -> mount_attach -> events_start -> session_serve
 *	  -> transfers end -> mount_sever -> queries end -> events_stop -> front_fini */
#include "fuse/internal.h"

#include <errno.h>
#include "base/clock.h"
#include "fuse/times.h"

void front_transfer_begin(struct front *f)
{
	pthread_mutex_lock(&f->outstanding.lock);
	f->outstanding.count++;
	pthread_mutex_unlock(&f->outstanding.lock);
}

void front_transfer_end(struct front *f)
{
	pthread_mutex_lock(&f->outstanding.lock);
	if (!--f->outstanding.count)
		pthread_cond_broadcast(&f->outstanding.none);
	pthread_mutex_unlock(&f->outstanding.lock);
}

void front_wait_transfers(struct front *f)
{
	pthread_mutex_lock(&f->outstanding.lock);
	while (f->outstanding.count)
		pthread_cond_wait(&f->outstanding.none, &f->outstanding.lock);
	pthread_mutex_unlock(&f->outstanding.lock);
}

/* One name of @ino: enough where it has one. */
static int drop_name(struct front *f, uint64_t ino)
{
	char path[PATH_MAX];
	uint64_t parent;
	int err = fs_path(f->fs, ino, path, sizeof(path));
	char *slash = err < 0 ? NULL : strrchr(path, '/');
	if (!slash)
		return err;
	*slash = '\0';
	err = fs_resolve(f->fs, path[0] ? path : "/", &parent);
	if (err < 0)
		return err;
	return fuse_lowlevel_notify_inval_entry(f->session, parent, slash + 1, strlen(slash + 1));
}

void front_tell_blocks(struct front *f, uint64_t ino)
{
	if (coherence_take_stale_blocks(f->coherence, ino))
		fuse_lowlevel_notify_inval_inode(f->session, ino, -1, 0);
}

static int file_sync(void *ctx, uint64_t ino, bool data_only)
{
	struct front *f = ctx;
	return fs_fsync(f->fs, ino, data_only);
}

static int kernel_drop(void *ctx, const struct coherence_drop *drop)
{
	struct front *f = ctx;
	if (drop->inode)
		return drop_name(f, drop->ino);
	if (drop->blocks) {
		front_tell_blocks(f, drop->ino);
		return 0;
	}
	return fuse_lowlevel_notify_inval_inode(
		f->session, drop->ino, (off_t)drop->offset_bytes, (off_t)drop->len_bytes);
}

int front_init(struct front *f, const struct front_options *options)
{
	*f = (struct front){.options = options,
		.fs = options->fs,
		.volume = options->volume,
		.policy = options->dio,
		.hold_ns = min_u64(options->hold_ns, FRONT_MAX_HOLD_NS),
		.dio_weaken = options->dio_weaken,
		.mount_flags = options->mount_flags,
		.dio_align = options->dio_align ? options->dio_align : FRONT_DIO_ALIGN,
		.event_rate = options->event_rate ? options->event_rate : FRONT_EVENT_RATE,
		.started_ns = clock_read_ns(CLOCK_REALTIME)};
	pthread_mutex_init(&f->outstanding.lock, NULL);
	pthread_cond_init(&f->outstanding.none, NULL);
	stats_init(&f->stats);
	f->buffers = buffer_pool_new(f->volume ? volume_engine(f->volume) : NULL);
	if (!f->buffers)
		return -ENOMEM;
	fs_inherit_xattrs(f->fs, policy_inherited_xattrs);
	int err = coherence_new(kernel_drop, f, &f->coherence);
	if (!err)
		err = later_new(&f->later);
	if (!err)
		err = syncer_new(file_sync, f, &f->syncer);
	if (!err)
		err = syncer_new(times_push, f, &f->pusher);
	if (!err)
		err = patience_new(TIMES_PATIENCE_NS, &f->patience);
	if (!err)
		err = processes_new(&f->processes);
	f->trees = options->trees;
	if (!err && !f->trees)
		err = trees_new(&f->trees);
	if (!err)
		err = live_new(f->trees, &f->live);
	if (!err)
		err = sampler_new(0, &f->sampler);
	if (!err)
		err = control_new(f, &f->control);
	return err;
}

/* An open that no release has come for: the mount has ended before. */
static void file_forgotten(void *ctx, uint64_t ino)
{
	struct front *f = ctx;
	fs_file_release(f->fs, ino);
}

void front_fini(struct front *f)
{
	later_free(f->later);
	syncer_free(f->pusher);
	patience_free(f->patience);
	syncer_free(f->syncer);
	coherence_free(f->coherence, file_forgotten, f);
	control_free(f->control);
	live_free(f->live);
	if (f->trees != f->options->trees)
		trees_free(f->trees);
	processes_free(f->processes);
	sampler_free(f->sampler);
	buffer_pool_free(f->buffers);
	stats_fini(&f->stats);
	pthread_cond_destroy(&f->outstanding.none);
	pthread_mutex_destroy(&f->outstanding.lock);
}

void front_settings_get(struct front *f, struct front_settings *out)
{
	*out = (struct front_settings){.dio = f->policy,
		.dio_weaken = f->dio_weaken,
		.dio_align = f->dio_align,
		.event_rate = f->event_rate,
		.hold_ns = f->hold_ns,
		.mount_flags = f->mount_flags};
}

void front_settings_set(struct front *f, const struct front_settings *s)
{
	f->policy = s->dio;
	f->dio_weaken = s->dio_weaken;
	f->mount_flags = s->mount_flags;
	f->dio_align = s->dio_align ? s->dio_align : FRONT_DIO_ALIGN;
	f->hold_ns = min_u64(s->hold_ns, FRONT_MAX_HOLD_NS);
	f->event_rate = s->event_rate ? s->event_rate : FRONT_EVENT_RATE;
	if (f->options->events)
		events_set_rate(f->options->events, f->event_rate);
}

static int serve_mounted(struct front *f, struct errmsg *why)
{
	struct front_events *events = f->options->events;
	const struct events_config config = {.world = {f->fs, f->volume, f->processes},
		.rate = f->event_rate,
		.grown = control_events_grown,
		.ctx = f};
	int err = events ? events_start(events, &config) : 0;
	if (!err && f->options->attached)
		f->options->attached(f->options->ctx, f);
	if (!err)
		err = session_serve(f, why);
	front_wait_transfers(f);
	control_stop(f->control);
	if (events)
		events_stop(events);
	mount_sever(f);
	return err;
}

int front_run(const struct front_options *options, struct errmsg *why)
{
	struct front f;
	int err = mount_check(options->mountpoint, why);
	if (err < 0)
		return err;
	err = front_init(&f, options);
	if (!err)
		err = mount_attach(&f, why);
	if (!err)
		err = serve_mounted(&f, why);
	front_fini(&f);
	return err < 0 ? errmsg_set(why, err, "%s", strerror(-err)) : 0;
}
