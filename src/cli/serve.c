/* SPDX-License-Identifier: MIT */
/* A volume is opened with its file system, served, and closed in turn. */
#include "cli/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/injection.h"
#include "cli/service.h"
#include "io/uring.h"

struct server {
	const struct serve_config *config;
	struct front_options front;
	struct service service;
	struct injection *injection; /* owned; NULL: the mount does not inject */
	struct serve_world world;
};

static void on_ready(void *ctx)
{
	const struct server *s = ctx;
	s->config->ready(s->config->ctx);
}

static void on_attached(void *ctx, struct front *front)
{
	struct server *s = ctx;
	s->world.front = front;
}

static int on_remount(struct server *s, const char *line, FILE *out)
{
	struct errmsg why = {0};
	int err = s->config->remount(s->config->ctx, &s->world, line, &why);
	if (err < 0)
		service_write_error(out, err, &why);
	else
		fputs("{\"done\": true}\n", out);
	return err;
}

static int on_query(void *ctx, const char *line, FILE *out)
{
	struct server *s = ctx;
	if (s->config->remount && !strncmp(line, "remount ", 8))
		return on_remount(s, line + 8, out);
	bool injects = s->injection && strncmp(line, "inject", 6) == 0;
	if (injects && (line[6] == ' ' || !line[6]))
		return injection_query(s->injection, line + 6, out);
	return service_query(&s->service, line, out);
}

static int on_inject(void *ctx, const char *line)
{
	struct server *s = ctx;
	return injection_command(s->injection, line, NULL, NULL);
}

static char *on_inject_list(void *ctx, size_t *len)
{
	struct server *s = ctx;
	return injection_json(s->injection, len);
}

static int arm_first(struct server *s, struct errmsg *why)
{
	cleanup(cleanup_freep) char *lines = strdup(s->config->inject_first);
	char *rest = lines, *line;
	int err = lines ? 0 : -ENOMEM;
	while (err == 0 && (line = strsep(&rest, ";"))) {
		if (line[strspn(line, " \t")])
			err = injection_command(s->injection, line, NULL, why);
	}
	return err;
}

static int serve_with_faults(struct server *s, struct volume *v, struct fs *fs, struct errmsg *why)
{
	injection_serve(s->injection, v, fs);
	s->front.flips = injection_flips(s->injection);
	s->front.inject = on_inject;
	s->front.inject_list = on_inject_list;
	int err = s->config->inject_first ? arm_first(s, why) : 0;
	if (!err)
		err = front_run(&s->front, why);
	injection_serve(s->injection, NULL, NULL);
	return err;
}

static int begin_scrubs(struct server *s, struct volume *v, struct errmsg *why)
{
	uint64_t every_ns = s->config->scrub_every_ns;
	return every_ns ? volume_scrub_start(v, false, every_ns, why) : 0;
}

void serve_set_atime(struct fs *fs, unsigned long flags)
{
	struct fs_atime_options rules = {.rule = flags & MS_NOATIME       ? FS_ATIME_NEVER
						 : flags & MS_STRICTATIME ? FS_ATIME_STRICT
									  : FS_ATIME_RELATIVE,
		.no_directories = flags & MS_NODIRATIME,
		.lazy = flags & MS_LAZYTIME};
	fs_set_atime(fs, &rules);
}

static int serve_files(struct server *s, struct volume *v, struct errmsg *why)
{
	struct fs_options options = {
		.read_only = s->front.read_only, .commit_ns = s->config->commit_ns};
	struct fs *fs = NULL;
	int err = fs_open(v, &options, &fs, why);
	if (err < 0)
		return err;
	s->service = (struct service){.volume = v, .fs = fs, .mountpoint = s->front.mountpoint};
	s->front.fs = fs;
	s->front.volume = v;
	serve_set_atime(fs, s->front.mount_flags);
	s->world.fs = fs;
	s->world.volume = v;
	s->front.attached = on_attached;
	s->front.ready = on_ready;
	s->front.query = on_query;
	s->front.ctx = s;
	err = begin_scrubs(s, v, why);
	if (!err)
		err = s->injection ? serve_with_faults(s, v, fs, why) : front_run(&s->front, why);
	int closed = fs_close(fs);
	return err < 0 ? err : closed;
}

/* A read-only mount does with members that nobody may write. */
static int open_members(struct server *s, struct volume_open_options *options, struct volume **v,
	struct errmsg *why)
{
	struct errmsg first = {0};
	int err = volume_open(options, v, &first);
	bool denied = err == -EROFS || err == -EACCES || err == -EPERM;
	if (denied && s->front.read_only && !options->read_only) {
		log_warn("members cannot be written: they are only read");
		options->read_only = true;
		return volume_open(options, v, why);
	}
	return err < 0 ? errmsg_set(why, err, "%s", first.text) : 0;
}

static int serve_members(struct server *s, struct errmsg *why)
{
	struct volume *v = NULL;
	struct volume_open_options options = {
		.factory = s->injection ? injection_factory(s->injection) : &uring_factory,
		.paths = s->config->paths->paths,
		.count = s->config->paths->count,
		.read_only = s->config->no_recovery,
		.degraded = s->config->degraded,
		.threaded = true,
		.events = front_events_sink(s->front.events),
		.member_timeout_ns = s->config->member_timeout_ns,
		.max_errors = s->config->max_errors,
		.background_rate = s->config->background_rate,
		.cache_bytes = s->config->cache_bytes};
	int err = open_members(s, &options, &v, why);
	if (err < 0)
		return err;
	err = serve_files(s, v, why);
	int closed = volume_close(v);
	if (!err && closed < 0)
		err = errmsg_set(
			why, closed, "the volume was not closed cleanly: %s", strerror(-closed));
	return err;
}

int serve_volume(const struct serve_config *config, struct errmsg *why)
{
	struct server s = {.config = config, .front = config->front};
	/* Of all threads to come: the kernel's dirty pages are cleaned by them, so they must not be
	 * made to wait until there are fewer. Needs CAP_SYS_RESOURCE. */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	int err = front_events_new(&s.front.events);
	if (!err && config->inject)
		err = injection_new(&uring_factory, &s.injection);
	if (!err)
		err = serve_members(&s, why);
	injection_free(s.injection);
	front_events_free(s.front.events);
	return err;
}
