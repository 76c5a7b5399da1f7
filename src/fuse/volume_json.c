/* SPDX-License-Identifier: MIT */
/* A volume, its members and its background work, as JSON. */
#include "fuse/volume_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "volume/sysarea.h"

const char *volume_json_work_name(enum volume_work_kind kind)
{
	static const char *const names[VOLUME_WORK_KINDS] = {
		[VOLUME_RESYNC] = "resync", [VOLUME_REBUILD] = "rebuild", [VOLUME_SCRUB] = "scrub"};
	return names[kind];
}

bool volume_json_work_parse(const char *name, enum volume_work_kind *out)
{
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++) {
		*out = (enum volume_work_kind)kind;
		if (!strcmp(volume_json_work_name(*out), name))
			return true;
	}
	return false;
}

const char *volume_json_write_hole(enum super_write_hole write_hole)
{
	return write_hole == SUPER_HOLE_JOURNAL ? "journal" : "bitmap";
}

void volume_json_field_uuid(struct json *j, const char *key, const uint8_t uuid[16])
{
	char text[37], *at = text;
	for (unsigned i = 0; i < 16; i++)
		at += sprintf(
			at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	json_field_string(j, key, text);
}

/* ---- state ---- */

const char *volume_json_state(struct volume *v)
{
	bool missing = false;
	for (unsigned i = 0; i < volume_geometry(v)->members; i++) {
		enum volume_member_state state = volume_member(v, i).state;
		if (state == VOLUME_MEMBER_REBUILDING)
			return "rebuilding";
		missing |= state != VOLUME_MEMBER_ACTIVE;
	}
	if (missing)
		return "degraded";
	return volume_work_info(v, VOLUME_RESYNC).state == VOLUME_WORK_IDLE ? "healthy"
									    : "resyncing";
}

static void write_shape(struct json *j, struct volume *v)
{
	const struct super *super = volume_super(v);
	volume_json_field_uuid(j, "volume_uuid", super->volume_uuid);
	json_field_string(j, "label", super->label);
	json_field_string(j, "level", raid_level_name(volume_geometry(v)->level));
	json_field_string(j, "state", volume_json_state(v));
	json_field_u64(j, "members_count", volume_geometry(v)->members);
	json_field_u64(j, "members_missing", volume_missing(v));
	json_field_u64(j, "chunk_bytes", (uint64_t)super->chunk_blocks * BLOCK_BYTES);
	json_field_u64(j, "stripes", volume_geometry(v)->stripes);
	json_field_string(j, "pi", pi_name(super->pi));
	json_field_string(j, "pi_check", super->pi_check == PI_CHECK_DEVICE ? "device" : "none");
	json_field_string(j, "write_hole", volume_json_write_hole(super->write_hole));
	json_field_u64(j, "generation", super->generation);
	json_field_u64(j, "stale_since", super->stale_since);
	json_field_u64(j, "data_bytes", volume_blocks(v) * BLOCK_BYTES);
	json_field_bool(j, "read_only", volume_is_read_only(v));
}

/* ---- members ---- */

void volume_json_write_member(struct json *j, struct volume *v, unsigned index)
{
	struct volume_member_info m = volume_member(v, index);
	json_object_begin(j);
	json_field_u64(j, "index", index);
	json_field_string(j, "path", m.path);
	json_field_bool(j, "present", m.present);
	json_field_string(j, "state", volume_member_state_name(m.state));
	if (m.reason[0])
		json_field_string(j, "reason", m.reason);
	json_field_u64(j, "stale_stripes", m.stale_stripes);
	json_field_u64(j, "reads", m.stats.reads);
	json_field_u64(j, "read_bytes", m.stats.read_bytes);
	json_field_u64(j, "writes", m.stats.writes);
	json_field_u64(j, "write_bytes", m.stats.write_bytes);
	json_field_u64(j, "flushes", m.stats.flushes);
	json_field_u64(j, "errors", m.stats.errors);
	json_field_u64(j, "read_errors", m.read_errors);
	json_field_u64(j, "check_errors", m.check_errors);
	json_field_u64(j, "area_mended", sysarea_mended(volume_sysarea(v), index));
	json_field_u64(j, "refused", m.stats.refused);
	json_field_u64(j, "tuple_page_reads", m.stats.tuple_page_reads);
	json_field_u64(j, "tuple_page_writes", m.stats.tuple_page_writes);
	json_object_end(j);
}

void volume_json_write_members(struct json *j, struct volume *v)
{
	json_key(j, "members");
	json_array_begin(j);
	for (unsigned i = 0; i < volume_geometry(v)->members; i++)
		volume_json_write_member(j, v, i);
	json_array_end(j);
}

static void write_spares(struct json *j, struct volume *v)
{
	char(*paths)[4096] = calloc(RAID_MAX_MEMBERS, sizeof(*paths));
	unsigned count = paths ? volume_spares(v, paths, RAID_MAX_MEMBERS) : 0;
	json_key(j, "spares");
	json_array_begin(j);
	for (unsigned i = 0; i < count && i < RAID_MAX_MEMBERS; i++)
		json_string(j, paths[i]);
	json_array_end(j);
	free(paths);
}

/* ---- background work ---- */

/* Of each member, on the average since it began; what is left at that speed. */
static void write_speed(struct json *j, struct volume *v, const struct volume_work_info *w)
{
	bool ended = w->state == VOLUME_WORK_IDLE;
	uint64_t until_ns = ended ? w->ended_ns : clock_read_ns(CLOCK_REALTIME);
	if (!w->started_ns || until_ns <= w->started_ns)
		return;
	double seconds = (double)(until_ns - w->started_ns) / NS_PER_S;
	double bytes = (double)w->done * volume_geometry(v)->chunk_blocks * BLOCK_BYTES;
	json_field_double(j, "seconds", seconds);
	json_field_u64(j, "bytes_per_second", (uint64_t)(bytes / seconds));
	if (w->state == VOLUME_WORK_RUNNING && w->done)
		json_field_double(j, "seconds_left",
			seconds * (double)(w->total - w->done) / (double)w->done);
}

static uint64_t scrub_remaining(const struct scrub_result *result)
{
	const struct scrub_area *area = &result->area;
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	uint64_t n = result->damage_count - listed;
	n += area->lost + area->damaged + area->differing - area->repaired;
	for (uint64_t i = 0; i < listed; i++)
		n += !result->damage[i].repaired;
	return n;
}

void volume_json_write_scrub(struct json *j, const struct scrub_result *result)
{
	json_field_u64(j, "stripes", result->stripes);
	json_field_u64(j, "rows", result->rows);
	json_field_u64(j, "parity_mismatches", result->parity_mismatches);
	json_field_u64(j, "mirror_mismatches", result->mirror_mismatches);
	json_field_u64(j, "guard_mismatches", result->guard_mismatches);
	json_field_u64(j, "unreadable", result->unreadable);
	json_field_u64(j, "repaired", result->repaired);
	json_field_u64(j, "lost", result->lost);
	json_key(j, "system_area");
	json_object_begin(j);
	json_field_u64(j, "pages", result->area.pages);
	json_field_u64(j, "damaged", result->area.damaged);
	json_field_u64(j, "differing", result->area.differing);
	json_field_u64(j, "repaired", result->area.repaired);
	json_field_u64(j, "lost", result->area.lost);
	json_object_end(j);
	json_field_u64(j, "remaining", scrub_remaining(result));
}

static void write_found(struct json *j, struct volume *v)
{
	cleanup(scrub_result_free) struct scrub_result result = {0};
	if (volume_scrub_found(v, &result) < 0)
		return;
	json_key(j, "found");
	json_object_begin(j);
	volume_json_write_scrub(j, &result);
	json_object_end(j);
}

static void write_work(struct json *j, struct volume *v, enum volume_work_kind kind)
{
	static const char *const states[] = {[VOLUME_WORK_IDLE] = "idle",
		[VOLUME_WORK_RUNNING] = "running",
		[VOLUME_WORK_PAUSED] = "paused"};
	struct volume_work_info w = volume_work_info(v, kind);
	json_key(j, volume_json_work_name(kind));
	json_object_begin(j);
	json_field_string(j, "state", states[w.state]);
	if (kind == VOLUME_REBUILD && w.member >= 0)
		json_field_i64(j, "member", w.member);
	if (kind == VOLUME_SCRUB)
		json_field_bool(j, "repair", w.repair);
	json_field_u64(j, "done", w.done);
	json_field_u64(j, "total", w.total);
	write_speed(j, v, &w);
	json_field_u64(j, "rate_limit", w.rate);
	json_field_u64(j, "started_ns", w.started_ns);
	json_field_u64(j, "ended_ns", w.ended_ns);
	json_field_u64(j, "repaired", w.repaired);
	json_field_u64(j, "lost", w.lost);
	if (w.err < 0)
		json_field_string(j, "error", w.err == -ECANCELED ? "stopped" : strerror(-w.err));
	if (kind == VOLUME_SCRUB && w.state == VOLUME_WORK_IDLE && w.ended_ns)
		write_found(j, v);
	json_object_end(j);
}

void volume_json_write(struct json *j, struct volume *v)
{
	write_shape(j, v);
	volume_json_write_members(j, v);
	write_spares(j, v);
	json_key(j, "work");
	json_object_begin(j);
	for (unsigned kind = 0; kind < VOLUME_WORK_KINDS; kind++)
		write_work(j, v, (enum volume_work_kind)kind);
	json_object_end(j);
}

void volume_json_write_files(struct json *j, struct fs *fs)
{
	struct statvfs st;
	if (!fs || fs_statfs(fs, &st) < 0)
		return;
	json_field_u64(j, "free_bytes", (uint64_t)st.f_bavail * st.f_frsize);
	json_field_u64(j, "total_bytes", (uint64_t)st.f_blocks * st.f_frsize);
	json_field_u64(j, "inodes", (uint64_t)(st.f_files - st.f_ffree));
}
