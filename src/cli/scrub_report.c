/* SPDX-License-Identifier: MIT */
/* From damaged rows to the files that they concern.
 *
 * A wrong guard, a mirror or an unreadable block concerns the file that owns the block. A wrong
 * parity row concerns every file with a block in that row: whichever member fails, its block comes
 * back wrong. */
#include "cli/scrub_report.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "report/json.h"

#define RANGES_LISTED 256u
#define DAMAGE_LISTED 1000u

struct range {
	uint64_t block, blocks; /* of the file */
};

struct file_damage {
	uint64_t ino;
	uint64_t blocks[4]; /* concerned, by enum scrub_kind */
	uint64_t lost;
	struct range *ranges; /* owned; what was found in order, neighbours joined */
	size_t count, room;
};

struct report {
	struct volume *v;
	struct fs *fs;
	struct file_damage *files; /* owned */
	size_t count, room;
	const struct scrub_damage *now; /* being looked up */
	uint64_t unowned[4];            /* blocks that no file owns */
	uint64_t found;
	int err;
};

static const char *const kind_names[] = {"parity", "mirror", "guard", "unreadable"};

static struct file_damage *file_of(struct report *r, uint64_t ino)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->files[i].ino == ino)
			return &r->files[i];
	if (r->count == r->room) {
		size_t room = r->room ? 2 * r->room : 16;
		void *p = reallocarray(r->files, room, sizeof(*r->files));
		if (!p) {
			r->err = -ENOMEM;
			return NULL;
		}
		r->files = p;
		r->room = room;
	}
	r->files[r->count] = (struct file_damage){.ino = ino};
	return &r->files[r->count++];
}

static void add_range(struct report *r, struct file_damage *f, uint64_t block, uint64_t blocks)
{
	struct range *last = f->count ? &f->ranges[f->count - 1] : NULL;
	if (last && block >= last->block && block <= last->block + last->blocks) {
		uint64_t end = max_u64(last->block + last->blocks, block + blocks);
		last->blocks = end - last->block;
		return;
	}
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 8;
		void *p = reallocarray(f->ranges, room, sizeof(*f->ranges));
		if (!p) {
			r->err = -ENOMEM;
			return;
		}
		f->ranges = p;
		f->room = room;
	}
	f->ranges[f->count++] = (struct range){block, blocks};
}

static bool add_owner(void *ctx, const struct fs_extent *part)
{
	struct report *r = ctx;
	struct file_damage *f = file_of(r, part->ino);
	if (!f)
		return false;
	f->blocks[r->now->kind] += part->blocks;
	f->lost += r->now->lost ? part->blocks : 0;
	r->found += part->blocks;
	add_range(r, f, part->file_block, part->blocks);
	return true;
}

static void look_up(struct report *r, uint64_t volume_block)
{
	r->found = 0;
	if (r->fs) {
		int err = fs_owners(r->fs, volume_block, 1, add_owner, r);
		if (err < 0)
			r->err = err;
	}
	r->unowned[r->now->kind] += !r->found;
}

static void look_up_row(struct report *r)
{
	const struct geometry *g = volume_geometry(r->v);
	for (unsigned slot = 0; slot < geometry_data_slots(g); slot++)
		look_up(r, geometry_volume_block(g, r->now->stripe, slot, r->now->row));
}

static int collect(struct report *r, const struct scrub_result *result)
{
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	for (uint64_t i = 0; i < listed && !r->err; i++) {
		r->now = &result->damage[i];
		if (r->now->kind == SCRUB_PARITY)
			look_up_row(r);
		else if (r->now->volume_block != UINT64_MAX)
			look_up(r, r->now->volume_block);
	}
	return r->err;
}

static int by_block(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->block < y->block ? -1 : x->block > y->block;
}

/* In file order, neighbours and doubles joined. */
static void tidy_ranges(struct file_damage *f)
{
	size_t n = 0;
	if (f->count)
		qsort(f->ranges, f->count, sizeof(*f->ranges), by_block);
	for (size_t i = 0; i < f->count; i++) {
		struct range *last = n ? &f->ranges[n - 1] : NULL;
		if (last && f->ranges[i].block <= last->block + last->blocks)
			last->blocks = max_u64(last->block + last->blocks,
					       f->ranges[i].block + f->ranges[i].blocks) -
				       last->block;
		else
			f->ranges[n++] = f->ranges[i];
	}
	f->count = n;
}

static void write_file(struct json *j, struct report *r, struct file_damage *f)
{
	char path[PATH_MAX];
	tidy_ranges(f);
	json_object_begin(j);
	if (fs_path(r->fs, f->ino, path, sizeof(path)) == 0)
		json_field_string(j, "path", path);
	json_field_u64(j, "ino", f->ino);
	for (unsigned kind = 0; kind < 4; kind++)
		if (f->blocks[kind]) {
			char key[32];
			snprintf(key, sizeof(key), "%s_blocks", kind_names[kind]);
			json_field_u64(j, key, f->blocks[kind]);
		}
	if (f->lost)
		json_field_u64(j, "lost_blocks", f->lost);
	json_key(j, "ranges");
	json_array_begin(j);
	for (size_t i = 0; i < f->count && i < RANGES_LISTED; i++) {
		json_object_begin(j);
		json_field_u64(j, "offset", f->ranges[i].block * BLOCK_BYTES);
		json_field_u64(j, "length", f->ranges[i].blocks * BLOCK_BYTES);
		json_object_end(j);
	}
	json_array_end(j);
	json_field_u64(j, "ranges_found", f->count);
	json_object_end(j);
}

static void write_members(struct json *j, struct report *r, const struct scrub_result *result)
{
	uint64_t wrong[RAID_MAX_MEMBERS] = {0};
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	for (uint64_t i = 0; i < listed; i++)
		if (result->damage[i].member >= 0)
			wrong[result->damage[i].member]++;
	json_key(j, "members");
	json_array_begin(j);
	for (unsigned i = 0; i < volume_geometry(r->v)->members; i++) {
		struct volume_member_info info = volume_member(r->v, i);
		json_object_begin(j);
		json_field_u64(j, "index", i);
		json_field_string(j, "path", info.path);
		json_field_bool(j, "present", info.present);
		json_field_u64(j, "wrong_blocks", wrong[i]);
		json_object_end(j);
	}
	json_array_end(j);
}

static void write_damage(struct json *j, const struct scrub_result *result)
{
	uint64_t listed = min_u64(result->damage_count, DAMAGE_LISTED);
	json_field_u64(j, "damage_found", result->damage_count);
	json_key(j, "damage");
	json_array_begin(j);
	for (uint64_t i = 0; i < listed; i++) {
		const struct scrub_damage *d = &result->damage[i];
		json_object_begin(j);
		json_field_string(j, "kind", kind_names[d->kind]);
		json_field_u64(j, "stripe", d->stripe);
		json_field_u64(j, "row", d->row);
		if (d->member >= 0) {
			json_field_i64(j, "member", d->member);
			json_field_u64(j, "member_block", d->member_block);
		}
		if (d->volume_block != UINT64_MAX)
			json_field_u64(j, "volume_block", d->volume_block);
		json_field_bool(j, "repaired", d->repaired);
		json_field_bool(j, "lost", d->lost);
		json_object_end(j);
	}
	json_array_end(j);
}

/* Places that were found wrong and still are. */
static uint64_t remaining(const struct scrub_result *result)
{
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	uint64_t n = result->damage_count - listed;
	for (uint64_t i = 0; i < listed; i++)
		n += !result->damage[i].repaired;
	return n;
}

static void write_counts(struct json *j, const struct scrub_result *result, uint64_t took_ns)
{
	json_field_u64(j, "stripes", result->stripes);
	json_field_u64(j, "rows", result->rows);
	json_field_double(j, "seconds", (double)took_ns / 1e9);
	json_field_u64(j, "parity_mismatches", result->parity_mismatches);
	json_field_u64(j, "mirror_mismatches", result->mirror_mismatches);
	json_field_u64(j, "guard_mismatches", result->guard_mismatches);
	json_field_u64(j, "unreadable", result->unreadable);
	json_field_u64(j, "repaired", result->repaired);
	json_field_u64(j, "lost", result->lost);
	json_field_u64(j, "remaining", remaining(result));
}

static void report_free(struct report *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->files[i].ranges);
	free(r->files);
}

int scrub_report_write(struct volume *v, struct fs *fs, const struct scrub_result *result,
	uint64_t took_ns, FILE *out)
{
	cleanup(report_free) struct report r = {.v = v, .fs = fs};
	int err = collect(&r, result);
	if (err < 0)
		return err;
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_field_string(&j, "level", raid_level_name(volume_geometry(v)->level));
	json_field_string(&j, "pi", pi_name(volume_super(v)->pi));
	json_field_u64(&j, "missing_members", volume_missing(v));
	write_counts(&j, result, took_ns);
	write_members(&j, &r, result);
	json_key(&j, "files");
	json_array_begin(&j);
	for (size_t i = 0; i < r.count; i++)
		write_file(&j, &r, &r.files[i]);
	json_array_end(&j);
	uint64_t unowned = r.unowned[0] + r.unowned[1] + r.unowned[2] + r.unowned[3];
	json_field_u64(&j, "blocks_without_file", unowned);
	write_damage(&j, result);
	json_object_end(&j);
	return json_finish(&j);
}
