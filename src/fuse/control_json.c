/* SPDX-License-Identifier: MIT */
/* What the control directory's JSON files say. */
#include "fuse/internal.h"

#include "base/clock.h"
#include "fuse/volume_json.h"

static void write_mount(struct json *j, struct front *f)
{
	json_field_string(j, "version", STABLEFS_VERSION);
	json_field_string(j, "mountpoint", f->mountpoint);
	json_field_i64(j, "daemon_pid", getpid());
	json_field_u64(j, "mounted_since_ns", f->started_ns);
	json_field_string(j, "policy", dio_policy_name(f->policy));
	json_field_bool(j, "dio_weaken", f->dio_weaken);
	json_field_u64(j, "hold_ns", f->hold_ns);
	json_field_u64(j, "event_rate", f->event_rate);
	json_field_u64(j, "dio_align_bytes", f->dio_align);
	json_field_bool(j, "files_read_only", fs_is_read_only(f->fs));
	json_field_bool(j, "write_back_cache", !f->options->write_through);
	json_field_bool(j, "parallel_direct_writes", front_goes_around_cache(f));
}

static void write_events(struct json *j, struct front *f)
{
	if (!f->options->events)
		return;
	struct front_event_totals t = front_events_totals(f->options->events);
	json_key(j, "events");
	json_object_begin(j);
	json_field_u64(j, "lines", t.emitted);
	json_field_u64(j, "dropped", t.dropped);
	json_field_u64(j, "above_rate", t.above_rate);
	json_field_u64(j, "mutations", t.mutations);
	json_field_u64(j, "refused", t.refused);
	json_field_u64(j, "repaired", t.repaired);
	json_field_u64(j, "unrepairable", t.unrepairable);
	json_field_u64(j, "member_errors", t.member_errors);
	json_field_u64(j, "member_states", t.member_states);
	json_object_end(j);
}

static void write_sampler(struct json *j, struct sampler *sampler)
{
	struct sampler_stats s = sampler_stats(sampler);
	json_key(j, "sampler");
	json_object_begin(j);
	json_field_u64(j, "reads", s.reads);
	json_field_u64(j, "writes", s.writes);
	json_field_u64(j, "timeouts", s.timeouts);
	json_field_u64(j, "threads", s.threads);
	json_field_u64(j, "hanging", s.hanging);
	json_object_end(j);
}

char *control_status_json(struct front *f, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_INDENTED);
	json_object_begin(&j);
	write_mount(&j, f);
	write_events(&j, f);
	write_sampler(&j, f->sampler);
	if (f->volume)
		volume_json_write(&j, f->volume);
	volume_json_write_files(&j, f->fs);
	json_object_end(&j);
	return json_take(&j, len_bytes);
}

static void write_array(struct json *j, struct volume *v)
{
	struct stripe_stats s = stripe_engine_stats(volume_engine(v));
	json_key(j, "array");
	json_object_begin(j);
	json_field_u64(j, "reads", s.reads);
	json_field_u64(j, "read_bytes", s.read_bytes);
	json_field_u64(j, "writes", s.writes);
	json_field_u64(j, "write_bytes", s.write_bytes);
	json_field_u64(j, "plan_full", s.plan_full);
	json_field_u64(j, "plan_rmw", s.plan_rmw);
	json_field_u64(j, "plan_rcw", s.plan_rcw);
	json_field_u64(j, "plan_degraded", s.plan_degraded);
	json_field_u64(j, "plan_copy", s.plan_copy);
	json_field_u64(j, "merged", s.merged);
	json_field_u64(j, "beside", s.beside);
	json_field_u64(j, "repaired_blocks", s.repaired_blocks);
	json_field_u64(j, "unrepairable_blocks", s.unrepairable_blocks);
	json_field_u64(j, "refused_writes", s.refused_writes);
	json_field_u64(j, "degraded_reads", s.degraded_reads);
	json_field_u64(j, "held", s.held);
	json_field_u64(j, "false_pi_errors", s.false_pi_errors);
	json_field_u64(j, "repairs_unneeded", s.repairs_unneeded);
	json_field_u64(j, "cache_hits", s.cache_hits);
	json_field_u64(j, "cache_misses", s.cache_misses);
	json_field_u64(j, "cache_bytes", s.cache_bytes);
	json_field_u64(j, "cache_max_bytes", s.cache_max_bytes);
	json_object_end(j);
	volume_json_write_members(j, v);
}

static void write_files(struct json *j, struct fs *fs)
{
	struct fs_stats s = fs_stats(fs);
	json_key(j, "files");
	json_object_begin(j);
	json_field_u64(j, "commits", s.commits);
	json_field_u64(j, "database_pages", s.database_pages);
	json_field_u64(j, "free_blocks", s.free_blocks);
	json_field_u64(j, "inodes", s.inodes);
	json_object_end(j);
}

char *control_stats_json(struct front *f, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_INDENTED);
	json_object_begin(&j);
	json_field_u64(&j, "uptime_ns", clock_read_ns(CLOCK_REALTIME) - f->started_ns);
	json_field_string(&j, "policy", dio_policy_name(f->policy));
	json_field_u64(&j, "hold_ns", f->hold_ns);
	stats_write_json(&f->stats, &j);
	json_field_u64(&j, "cache_drops", coherence_drop_count(f->coherence));
	write_events(&j, f);
	if (f->volume)
		write_array(&j, f->volume);
	write_files(&j, f->fs);
	json_object_end(&j);
	return json_take(&j, len_bytes);
}

/* ---- processes ---- */

static void write_counts(struct json *j, const struct process_file *c)
{
	json_field_u64(j, "writes", c->writes);
	json_field_u64(j, "write_bytes", c->write_bytes);
	json_field_u64(j, "observed", c->observed);
	json_field_u64(j, "unobserved", c->unobserved);
	json_field_u64(j, "mutated", c->mutated);
	json_field_u64(j, "failed", c->failed);
	json_field_u64(j, "reads", c->reads);
	json_field_u64(j, "read_bytes", c->read_bytes);
	json_field_u64(j, "reads_mutated", c->reads_mutated);
	json_field_u64(j, "reads_failed", c->reads_failed);
}

struct process_writer {
	struct json *j;
	struct fs *fs;
};

static void write_process_file(struct process_writer *w, const struct process_file *file)
{
	char path[PATH_MAX];
	json_object_begin(w->j);
	if (file->ino && !fs_path(w->fs, file->ino, path, sizeof(path)))
		json_field_string(w->j, "file", path);
	json_field_u64(w->j, "ino", file->ino);
	write_counts(w->j, file);
	json_object_end(w->j);
}

static void write_process(void *ctx, const struct process_row *row)
{
	struct process_writer *w = ctx;
	json_object_begin(w->j);
	json_field_i64(w->j, "pid", row->pid);
	if (row->pid) {
		json_field_u64(w->j, "uid", row->uid);
		json_field_string(w->j, "comm", row->comm);
		json_field_string(w->j, "exe", row->exe);
		json_field_string(w->j, "call", row->call);
		json_field_bool(w->j, "bounced", row->bounced);
	}
	write_counts(w->j, &row->total);
	json_key(w->j, "files");
	json_array_begin(w->j);
	for (uint32_t i = 0; i < row->file_count; i++)
		write_process_file(w, &row->files[i]);
	json_array_end(w->j);
	json_object_end(w->j);
}

char *control_processes_json(struct front *f, size_t *len_bytes)
{
	struct json j;
	struct process_writer w = {&j, f->fs};
	json_init_buffer(&j, JSON_INDENTED);
	json_object_begin(&j);
	json_key(&j, "processes");
	json_array_begin(&j);
	int err = processes_each(f->processes, write_process, &w);
	json_array_end(&j);
	json_object_end(&j);
	char *text = json_take(&j, len_bytes);
	if (!err)
		return text;
	free(text);
	return NULL;
}

/* ---- members ---- */

char *control_member_json(struct front *f, unsigned index, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_INDENTED);
	volume_json_write_member(&j, f->volume, index);
	return json_take(&j, len_bytes);
}
