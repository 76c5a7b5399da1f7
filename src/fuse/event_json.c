/* SPDX-License-Identifier: MIT */
/* The text of an event: who it was, which file, and who else loses by it. */
#include "fuse/events.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"

#define MAX_STRANGERS 16u

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
		[EVENT_MEMBER_ERROR] = "member_error"};
	return names[kind];
}

static void write_writer(struct json *j, const struct event_writer *w)
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
	char link[64], exe[PATH_MAX];
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)w->pid);
	ssize_t len = readlink(link, exe, sizeof(exe) - 1);
	if (len > 0) {
		json_key(j, "exe");
		json_string_len(j, exe, (size_t)len);
	}
}

static void write_file(struct json *j, struct fs *fs, uint64_t ino)
{
	char path[PATH_MAX];
	if (fs && !fs_path(fs, ino, path, sizeof(path)))
		json_field_string(j, "file", path);
	json_field_u64(j, "ino", ino);
}

/* ---- who else owns blocks of the parity rows that a mutated write has left wrong ---- */

struct strangers {
	const struct geometry *geometry;
	struct fs *fs;
	uint64_t ino; /* whose write it was */
	struct {
		uint64_t ino, blocks;
	} found[MAX_STRANGERS];
	unsigned count;
	uint64_t stripe, volume_block; /* the first concerned */
	uint64_t volume_blocks;
};

/* Other blocks of the writer's own file are no strangers. */
static bool stranger_found(void *ctx, const struct fs_extent *part)
{
	struct strangers *s = ctx;
	if (part->ino == s->ino)
		return true;
	for (unsigned i = 0; i < s->count; i++) {
		if (s->found[i].ino == part->ino) {
			s->found[i].blocks += part->blocks;
			return true;
		}
	}
	if (s->count == MAX_STRANGERS)
		return false;
	s->found[s->count].ino = part->ino;
	s->found[s->count++].blocks = part->blocks;
	return true;
}

/* Rows [row, row + rows) of @stripe have wrong parity: every slot's blocks in them. */
static void rows_look(struct strangers *s, uint64_t stripe, unsigned row, unsigned rows)
{
	for (unsigned slot = 0; slot < geometry_data_slots(s->geometry); slot++)
		fs_owners(s->fs, geometry_volume_block(s->geometry, stripe, slot, row), rows,
			stranger_found, s);
}

/* A run of the volume's blocks that was written: cut at chunk ends, each piece a run of rows. */
static void run_look(struct strangers *s, uint64_t volume_block, uint64_t blocks)
{
	if (s->volume_block == UINT64_MAX) {
		s->volume_block = volume_block;
		s->stripe = geometry_locate(s->geometry, volume_block).stripe;
	}
	s->volume_blocks += blocks;
	while (blocks && geometry_has_parity(s->geometry)) {
		struct geometry_place at = geometry_locate(s->geometry, volume_block);
		uint64_t n = min_u64(blocks, s->geometry->chunk_blocks - at.row);
		rows_look(s, at.stripe, at.row, (unsigned)n);
		volume_block += n;
		blocks -= n;
	}
}

/* The write's runs on the volume, found by walking the file's extents. */
struct runs {
	uint64_t first_block, last_block; /* of the file */
	struct {
		uint64_t volume_block, blocks;
	} run[64];
	unsigned count;
};

static bool extent_found(void *ctx, const struct fs_extent *x)
{
	struct runs *r = ctx;
	if (x->file_block > r->last_block || r->count == sizeof(r->run) / sizeof(r->run[0]))
		return false;
	if (x->file_block + x->blocks <= r->first_block)
		return true;
	uint64_t from = max_u64(x->file_block, r->first_block);
	uint64_t to = min_u64(x->file_block + x->blocks, r->last_block + 1);
	r->run[r->count].volume_block = x->volume_block + (from - x->file_block);
	r->run[r->count++].blocks = to - from;
	return true;
}

static void strangers_find(struct strangers *s, const struct event *e)
{
	/* Only what lies at or behind the first changed byte can differ. */
	uint64_t changed = e->file_offset_bytes + min_u64(e->first_changed, e->len_bytes - 1);
	struct runs r = {.first_block = changed / BLOCK_BYTES,
		.last_block = (e->file_offset_bytes + e->len_bytes - 1) / BLOCK_BYTES};
	fs_file_extents(s->fs, e->ino, extent_found, &r);
	for (unsigned i = 0; i < r.count; i++)
		run_look(s, r.run[i].volume_block, r.run[i].blocks);
}

static enum event_blast blast_of(const struct event *e, struct volume *v, const struct strangers *s)
{
	const struct super *super = volume_super(v);
	bool checked = super->pi != PI_NONE && super->pi_check == PI_CHECK_DEVICE;
	if (checked && e->error == -EILSEQ)
		return BLAST_NOBODY;
	return !checked && s->count ? BLAST_STRANGERS : BLAST_WRITER;
}

static void write_strangers(struct json *j, const struct strangers *s)
{
	json_key(j, "strangers");
	json_array_begin(j);
	for (unsigned i = 0; i < s->count; i++) {
		json_object_begin(j);
		write_file(j, s->fs, s->found[i].ino);
		json_field_u64(j, "blocks", s->found[i].blocks);
		json_object_end(j);
	}
	json_array_end(j);
}

static void write_mutation(struct json *j, const struct event *e, struct fs *fs, struct volume *v)
{
	static const char *const names[] = {[BLAST_NOBODY] = "nobody",
		[BLAST_WRITER] = "writer",
		[BLAST_STRANGERS] = "strangers"};
	json_field_u64(j, "first_changed", e->first_changed);
	json_field_u64(j, "changed_bytes", e->changed_bytes);
	if (!fs || !v)
		return;
	struct strangers s = {.geometry = volume_geometry(v),
		.fs = fs,
		.ino = e->ino,
		.volume_block = UINT64_MAX};
	strangers_find(&s, e);
	enum event_blast blast = blast_of(e, v, &s);
	json_field_string(j, "blast", names[blast]);
	if (blast == BLAST_STRANGERS)
		write_strangers(j, &s);
	if (s.volume_block != UINT64_MAX) {
		json_field_u64(j, "volume_block", s.volume_block);
		json_field_u64(j, "volume_blocks", s.volume_blocks);
		json_field_u64(j, "stripe", s.stripe);
	}
}

/* The file that owns the first damaged block, where the event knows none. */
static bool owner_found(void *ctx, const struct fs_extent *part)
{
	*(struct fs_extent *)ctx = *part;
	return false;
}

static void write_place(struct json *j, const struct event *e, struct fs *fs)
{
	if (e->member >= 0) {
		json_field_i64(j, "member", e->member);
		json_field_u64(j, "member_block", e->member_block);
	}
	if (e->volume_block != UINT64_MAX) {
		json_field_u64(j, "volume_block", e->volume_block);
		json_field_u64(j, "volume_blocks", e->volume_blocks);
	}
	if (e->stripe != UINT64_MAX)
		json_field_u64(j, "stripe", e->stripe);
	if (e->what)
		json_field_string(j, "what", e->what);
	struct fs_extent part = {0};
	if (fs && !e->ino && e->volume_block != UINT64_MAX)
		fs_owners(fs, e->volume_block, max_u64(e->volume_blocks, 1), owner_found, &part);
	if (part.blocks) {
		write_file(j, fs, part.ino);
		json_field_u64(j, "offset", part.file_block * BLOCK_BYTES);
	}
}

char *event_json(const struct event *e, struct fs *fs, struct volume *volume, size_t *len_bytes)
{
	struct json j;
	json_init_buffer(&j, JSON_COMPACT);
	json_object_begin(&j);
	write_time(&j, e->time_ns);
	json_field_string(&j, "event", kind_name(e->kind));
	write_writer(&j, &e->writer);
	if (e->ino) {
		write_file(&j, fs, e->ino);
		json_field_u64(&j, "offset", e->file_offset_bytes);
		json_field_u64(&j, "length", e->len_bytes);
	}
	if (e->kind == EVENT_MUTATION)
		write_mutation(&j, e, fs, volume);
	else
		write_place(&j, e, fs);
	if (e->error)
		json_field_string(&j, "error", strerrorname_np(-e->error));
	json_object_end(&j);
	return json_take(&j, len_bytes);
}
