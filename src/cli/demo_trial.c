/* SPDX-License-Identifier: MIT */
/* The steps of a run of the demo: make a volume, mount it, lay files out, mutate, ask. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "cli/demo.h"

#define LAY_OUT_BYTES (UINT64_C(1) << 20)
#define SMALLEST_MIB  32u
#define LARGEST_MIB   192u

void demo_trial_say(const char *fmt, ...)
{
	bool tty = isatty(STDERR_FILENO);
	va_list ap;
	va_start(ap, fmt);
	fputs(tty ? "\r\033[K" : "demo: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs(tty ? " ..." : " ...\n", stderr);
	va_end(ap);
}

bool demo_part_is_chosen(const struct demo_setup *setup, const char *name)
{
	for (unsigned i = 0; i < setup->part_count; i++)
		if (!strcmp(setup->parts[i], name))
			return true;
	return !setup->part_count;
}

/* Twice the room that the files take, which is three chunks a write with strangers. */
static uint64_t volume_mib(const struct demo_setup *setup)
{
	uint64_t mib = 2 * 3 * setup->count * max_u64(setup->stride_bytes, DEMO_CHUNK_BYTES) >> 20;
	return min_u64(max_u64(mib, SMALLEST_MIB), LARGEST_MIB);
}

int demo_create(struct demo_world *w, const struct demo_experiment *e, const char *size,
	const char *write_hole, struct errmsg *why)
{
	const char *argv[] = {"create", "--level", e->level, "--members", e->members, "--size",
		size, "--chunk", "64K", "--pi", e->pi, "--pi-check", e->pi_check, demo_volume(w),
		write_hole ? "--write-hole" : NULL, write_hole, NULL};
	int err = demo_remove_volume(w, why);
	return err < 0 ? err : demo_verb(w, argv, NULL, NULL, why);
}

int demo_trial_create(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *setup, struct errmsg *why)
{
	char size[24];
	snprintf(size, sizeof(size), "%lluM", (unsigned long long)volume_mib(setup));
	return demo_create(w, e, size, NULL, why);
}

int demo_trial_lay_out(struct demo_world *w, const struct demo_setup *setup, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/a", demo_mountpoint(w));
	cleanup(cleanup_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
	cleanup(cleanup_freep) void *buf = mem_alloc_blocks(LAY_OUT_BYTES);
	if (fd < 0 || !buf)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	uint64_t end = setup->count * setup->stride_bytes;
	for (uint64_t at = 0; at < end; at += LAY_OUT_BYTES)
		if (pwrite(fd, buf, LAY_OUT_BYTES, (off_t)at) != (ssize_t)LAY_OUT_BYTES)
			return errmsg_set(why, -EIO, "%s: cannot be laid out", path);
	return 0;
}

/* ---- the mutator ---- */

static void take_account(const struct json_value *doc, struct demo_count *c)
{
	const struct json_value *read = json_get(doc, "read");
	const struct json_value *latency = json_get(doc, "latency_ns");
	c->writes = json_get_u64(doc, "writes", 0);
	c->changed = json_get_u64(read ? read : doc, "changed", 0);
	c->writes_failed = json_get_u64(doc, "failed", 0);
	c->reads = json_get_u64(read, "reads", 0);
	c->reads_failed = json_get_u64(read, "failed", 0);
	c->false_errors = json_get_u64(read, "false_errors", 0);
	c->bytes = c->writes * json_get_u64(doc, "block_bytes", 0);
	c->cpu_ns = json_get_u64(doc, "cpu_ns", 0);
	c->time_ns = json_get_u64(doc, "in_call_ns", 0);
	c->p50_ns = json_get_u64(latency, "p50", 0);
	c->p99_ns = json_get_u64(latency, "p99", 0);
}

int demo_trial_mutate(struct demo_world *w, const struct demo_setup *setup, struct demo_count *c,
	struct errmsg *why)
{
	char file[PATH_MAX], block[24], stride[24], count[24], passes[24];
	snprintf(file, sizeof(file), "%s/a", demo_mountpoint(w));
	snprintf(block, sizeof(block), "%llu", (unsigned long long)setup->block_bytes);
	snprintf(stride, sizeof(stride), "%llu", (unsigned long long)setup->stride_bytes);
	snprintf(count, sizeof(count), "%llu", (unsigned long long)setup->count);
	snprintf(passes, sizeof(passes), "%u", setup->passes ? setup->passes : 1);
	const char *argv[20] = {"mutate", "--json", "--block", block, "--stride", stride, "--count",
		count, "--passes", passes, file};
	unsigned n = 11;
	if (setup->still)
		argv[n++] = "--still";
	if (setup->read)
		argv[n++] = "--read";
	if (setup->delay && !setup->still) {
		argv[n++] = "--one-store";
		argv[n++] = "--delay";
		argv[n++] = setup->delay;
	}
	cleanup(json_value_freep) struct json_value *doc = NULL;
	int status; /* damage that --read found is the measure's to judge */
	struct errmsg said = {0};
	int err = demo_verb_as(w, setup->uid, argv, &status, &doc, &said);
	c->open_refused = err < 0 && strstr(said.text, "direct I/O is refused");
	if (c->open_refused && setup->may_be_refused)
		return 0;
	take_account(doc, c);
	return err < 0 ? errmsg_set(why, err, "%s", said.text) : 0;
}

/* ---- asking ---- */

int demo_trial_take_stats(struct demo_world *w, struct demo_count *c, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *stats = NULL;
	int err = demo_control(w, "stats.json", &stats, why);
	const struct json_value *direct = json_get(stats, "direct_writes");
	c->direct = json_get_u64(direct, "total", 0);
	c->observed = json_get_u64(direct, "observed", 0);
	c->seen = json_get_u64(direct, "mutated", 0);
	return err;
}

int demo_trial_scrub(struct demo_world *w, struct json_value **report, struct errmsg *why)
{
	int status;
	const char *argv[] = {"scrub", "--json", demo_mountpoint(w), NULL};
	return demo_verb(w, argv, &status, report, why);
}

int demo_trial_set_policy(struct demo_world *w, const char *policy, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/.stablefs/policy", demo_mountpoint(w));
	cleanup(cleanup_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, policy, strlen(policy)) < 0)
		return errmsg_set(why, -errno, "%s: '%s': %s", path, policy, strerror(errno));
	return 0;
}

/* ---- a cell ---- */

/* The setup with what the experiment says of it. */
static struct demo_setup setup_for(
	const struct demo_experiment *e, const struct demo_setup *setup, enum demo_cell cell)
{
	struct demo_setup s = *setup;
	s.block_bytes = e->block_bytes ? e->block_bytes : s.block_bytes;
	s.stride_bytes = e->stride_bytes ? e->stride_bytes : s.block_bytes;
	s.count = e->max_count && e->max_count < s.count ? e->max_count : s.count;
	s.delay = e->delay;
	s.read = e->read;
	s.still = cell == DEMO_STILL;
	return s;
}

int demo_trial_run(struct demo_world *w, const struct demo_experiment *e,
	const struct demo_setup *base, enum demo_cell cell, struct demo_outcome *out,
	struct errmsg *why)
{
	struct demo_setup setup = setup_for(e, base, cell);
	struct demo_count *c = &out->cells[cell];
	char options[64];
	snprintf(options, sizeof(options), "dio=%s,hold=%s",
		cell == DEMO_BOUNCE ? "bounce" : "zerocopy", setup.hold);
	int err = demo_trial_create(w, e, &setup, why);
	if (!err)
		err = demo_mount(w, options, why);
	if (!err && e->strangers)
		err = demo_strangers_write(w, &setup, why);
	if (!err && e->overwrites)
		err = demo_trial_lay_out(w, &setup, why);
	if (!err)
		err = demo_trial_mutate(w, &setup, c, why);
	if (!err)
		err = demo_trial_take_stats(w, c, why);
	if (!err)
		err = e->measure(w, &setup, cell, out, why);
	int unmounted = demo_unmount(w, why);
	if (!err && demo_interrupted())
		err = errmsg_set(why, -EINTR, "interrupted");
	c->ran = !err;
	return err < 0 ? err : unmounted;
}
