/* SPDX-License-Identifier: MIT */
/* The text of an event: who it was, which file, and who else loses by it. */
#include "fuse/events.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "fuse/event_blast.h"

#define EVENT_MAX_OWNERS 16u

static void write_time(struct json *j, uint64_t ns)
{
	time_t seconds = (time_t)(ns / NS_PER_S);
	struct tm tm;
	char day[32], text[64];
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%09luZ", day, (unsigned long)(ns % NS_PER_S));
	json_field_string(j, "time", text);
}

static const char *kind_name(enum event_kind kind)
{
	static const char *const names[] = {[EVENT_MUTATION] = "mutation",
		[EVENT_READ_MUTATION] = "read_mutation",
		[EVENT_REFUSED] = "refused",
		[EVENT_REPAIRED] = "repaired",
		[EVENT_UNREPAIRABLE] = "unrepairable",
		[EVENT_MEMBER_ERROR] = "member_error",
		[EVENT_MEMBER_STATE] = "member_state"};
	return names[kind];
}

static void write_writer(struct json *j, const struct event_writer *w, struct processes *processes)
{
	if (!w->tid && !w->pid)
		return;
	json_field_i64(j, "pid", w->pid);
	json_field_i64(j, "tid", w->tid);
	json_field_u64(j, "uid", w->uid);
	if (w->comm[0])
		json_field_string(j, "comm", w->comm);
	if (w->call[0])
		json_field_string(j, "call", w->call);
	char exe[PATH_MAX] = "";
	if (processes && w->pid)
		processes_exe(processes, w->pid, exe, sizeof(exe));
	if (exe[0])
		json_field_string(j, "exe", exe);
}

static void write_file(struct json *j, struct fs *fs, uint64_t ino)
{
	char path[PATH_MAX];
	if (fs && !fs_path(fs, ino, path, sizeof(path)))
		json_field_string(j, "file", path);
	json_field_u64(j, "ino", ino);
}

/* What was to be read or written. */
static void write_asked(struct json *j, const struct event *e, struct fs *fs)
{
	if (!e->ino)
		return;
	write_file(j, fs, e->ino);
	json_field_u64(j, "offset", e->file_offset_bytes);
	json_field_u64(j, "length", e->len_bytes);
}

static void write_strangers(struct json *j, const struct event_blast_zone *z, struct fs *fs)
{
	json_key(j, "strangers");
	json_array_begin(j);
	for (unsigned i = 0; i < z->count; i++) {
		json_object_begin(j);
		write_file(j, fs, z->strangers[i].ino);
		json_field_u64(j, "blocks", z->strangers[i].blocks);
		json_object_end(j);
	}
	json_array_end(j);
}

static void write_mutation(struct json *j, const struct event *e, const struct events_world *w)
{
	if (e->first_changed != UINT32_MAX)
		json_field_u64(j, "first_changed", e->first_changed);
	if (e->kind == EVENT_MUTATION)
		json_field_u64(j, "changed_bytes", e->changed_bytes);
	if (e->policy)
		json_field_string(j, "policy", e->policy);
	if (e->what)
		json_field_string(j, "what", e->what);
	if (!w->fs || !w->volume)
		return;
	struct event_blast_zone zone;
	event_blast_find(e, w->fs, w->volume, &zone);
	json_field_string(j, "blast", event_blast_name(zone.who));
	if (zone.who == BLAST_STRANGERS)
		write_strangers(j, &zone, w->fs);
	if (zone.volume_block != UINT64_MAX) {
		json_field_u64(j, "volume_block", zone.volume_block);
		json_field_u64(j, "volume_blocks", zone.volume_blocks);
		json_field_u64(j, "stripe", zone.stripe);
	}
}

/* Files that own the damaged blocks; one that is in several pieces is named for each. */
struct owners {
	struct fs_extent part[EVENT_MAX_OWNERS];
	unsigned count;
};

static bool owner_found(void *ctx, const struct fs_extent *part)
{
	struct owners *o = ctx;
	o->part[o->count++] = *part;
	return o->count < EVENT_MAX_OWNERS;
}

static void write_part(struct json *j, const struct fs_extent *part, struct fs *fs)
{
	write_file(j, fs, part->ino);
	json_field_u64(j, "offset", part->file_block * BLOCK_BYTES);
	json_field_u64(j, "length", part->blocks * BLOCK_BYTES);
}

static void write_more_owners(struct json *j, const struct owners *o, struct fs *fs)
{
	json_key(j, "more_files");
	json_array_begin(j);
	for (unsigned i = 1; i < o->count; i++) {
		json_object_begin(j);
		write_part(j, &o->part[i], fs);
		json_object_end(j);
	}
	json_array_end(j);
}

/* What was asked for, or whose blocks are damaged. */
static void write_owners(struct json *j, const struct event *e, struct fs *fs)
{
	struct owners owners = {0};
	bool damaged = e->kind == EVENT_REPAIRED || e->kind == EVENT_UNREPAIRABLE;
	if (fs && (damaged || !e->ino) && e->volume_block != UINT64_MAX)
		fs_owners(fs, e->volume_block, max_u64(e->volume_blocks, 1), owner_found, &owners);
	if (owners.count)
		write_part(j, &owners.part[0], fs);
	else
		write_asked(j, e, fs);
	if (owners.count > 1)
		write_more_owners(j, &owners, fs);
}

static void write_place(struct json *j, const struct event *e, struct fs *fs)
{
	if (e->member >= 0)
		json_field_i64(j, "member", e->member);
	if (e->area_page != UINT64_MAX)
		json_field_u64(j, "area_page", e->area_page);
	else if (e->member >= 0 && e->kind != EVENT_MEMBER_STATE)
		json_field_u64(j, "member_block", e->member_block);
	if (e->volume_block != UINT64_MAX) {
		json_field_u64(j, "volume_block", e->volume_block);
		json_field_u64(j, "volume_blocks", e->volume_blocks);
	}
	if (e->stripe != UINT64_MAX)
		json_field_u64(j, "stripe", e->stripe);
	if (e->what)
		json_field_string(j, "what", e->what);
	write_owners(j, e, fs);
}

char *event_json(const struct event *e, const struct events_world *w, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	write_time(&j, e->time_ns);
	json_field_string(&j, "event", kind_name(e->kind));
	write_writer(&j, &e->writer, w->processes);
	if (e->kind == EVENT_MUTATION || e->kind == EVENT_READ_MUTATION) {
		write_asked(&j, e, w->fs);
		write_mutation(&j, e, w);
	} else {
		write_place(&j, e, w->fs);
	}
	if (e->error)
		json_field_string(&j, "error", strerrorname_np(-e->error));
	json_object_end(&j);
	return json_take(&j, len_bytes);
}

char *event_json_dropped(pid_t pid, uint64_t count, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	write_time(&j, clock_read_ns(CLOCK_REALTIME));
	json_field_string(&j, "event", "dropped");
	json_field_u64(&j, "count", count);
	if (pid >= 0)
		json_field_i64(&j, "pid", pid);
	json_object_end(&j);
	return json_take(&j, len_bytes);
}
