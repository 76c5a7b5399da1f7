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
#include "base/clock.h"
#include "fuse/volume_json.h"
#include "report/json.h"

#define RANGES_LISTED 256u
#define DAMAGE_LISTED 1000u

/* Of a file, in order of their finding, neighbours joined. */
struct ranges {
	struct range {
		uint64_t block, blocks;
	} * list; /* owned */
	size_t count, room;
};

struct file_damage {
	uint64_t ino;
	uint64_t blocks[4]; /* concerned, by enum scrub_kind */
	struct ranges concerned, lost;
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

static void add_range(struct report *r, struct ranges *all, uint64_t block, uint64_t blocks)
{
	struct range *last = all->count ? &all->list[all->count - 1] : NULL;
	if (last && block >= last->block && block <= last->block + last->blocks) {
		uint64_t end = max_u64(last->block + last->blocks, block + blocks);
		last->blocks = end - last->block;
		return;
	}
	if (all->count == all->room) {
		size_t room = all->room ? 2 * all->room : 8;
		void *p = reallocarray(all->list, room, sizeof(*all->list));
		if (!p) {
			r->err = -ENOMEM;
			return;
		}
		all->list = p;
		all->room = room;
	}
	all->list[all->count++] = (struct range){block, blocks};
}

static bool add_owner(void *ctx, const struct fs_extent *part)
{
	struct report *r = ctx;
	struct file_damage *f = file_of(r, part->ino);
	if (!f)
		return false;
	f->blocks[r->now->kind] += part->blocks;
	r->found += part->blocks;
	add_range(r, &f->concerned, part->file_block, part->blocks);
	if (r->now->lost)
		add_range(r, &f->lost, part->file_block, part->blocks);
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

static bool is_same_row(const struct scrub_damage *a, const struct scrub_damage *b)
{
	return a->stripe == b->stripe && a->row == b->row;
}

/* Entry @i is a parity row that is wrong for no other reason than blocks of it that follow in the
 * list, and that can be rebuilt: it does not concern the others of the row. */
static bool is_explained(const struct scrub_result *result, uint64_t listed, uint64_t i)
{
	const struct scrub_damage *row = &result->damage[i];
	bool explained = false, lost = false;
	for (i++; i < listed && is_same_row(row, &result->damage[i]); i++) {
		explained = true;
		lost |= result->damage[i].lost;
	}
	return explained && !lost;
}

static int collect(struct report *r, const struct scrub_result *result)
{
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	for (uint64_t i = 0; i < listed && !r->err; i++) {
		r->now = &result->damage[i];
		if (r->now->kind == SCRUB_PARITY && !is_explained(result, listed, i))
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

/* In file order, neighbours and doubles joined. Returns how many blocks these are. */
static uint64_t tidy_ranges(struct ranges *all)
{
	size_t n = 0;
	uint64_t blocks = 0;
	if (all->count)
		qsort(all->list, all->count, sizeof(*all->list), by_block);
	for (size_t i = 0; i < all->count; i++) {
		struct range *last = n ? &all->list[n - 1] : NULL;
		const struct range *next = &all->list[i];
		if (last && next->block <= last->block + last->blocks)
			last->blocks =
				max_u64(last->block + last->blocks, next->block + next->blocks) -
				last->block;
		else
			all->list[n++] = *next;
	}
	all->count = n;
	for (size_t i = 0; i < n; i++)
		blocks += all->list[i].blocks;
	return blocks;
}

static void write_ranges(struct json *j, const char *key, const struct ranges *all)
{
	json_key(j, key);
	json_array_begin(j);
	for (size_t i = 0; i < all->count && i < RANGES_LISTED; i++) {
		json_object_begin(j);
		json_field_u64(j, "offset", all->list[i].block * BLOCK_BYTES);
		json_field_u64(j, "length", all->list[i].blocks * BLOCK_BYTES);
		json_object_end(j);
	}
	json_array_end(j);
}

static void write_file(struct json *j, struct report *r, struct file_damage *f)
{
	char path[PATH_MAX];
	tidy_ranges(&f->concerned);
	uint64_t lost_blocks = tidy_ranges(&f->lost);
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
	write_ranges(j, "ranges", &f->concerned);
	json_field_u64(j, "ranges_found", f->concerned.count);
	if (lost_blocks) {
		json_field_u64(j, "lost_blocks", lost_blocks);
		write_ranges(j, "lost_ranges", &f->lost);
	}
	json_object_end(j);
}

/* A parity row that is wrong by a block, and then the block itself: that is one. */
static bool is_named_before(const struct scrub_result *result, uint64_t i)
{
	const struct scrub_damage *d = &result->damage[i];
	for (uint64_t k = i; k-- && is_same_row(d, &result->damage[k]);) {
		if (result->damage[k].member == d->member)
			return true;
	}
	return false;
}

static void write_members(struct json *j, struct report *r, const struct scrub_result *result)
{
	uint64_t wrong[RAID_MAX_MEMBERS] = {0};
	uint64_t listed = min_u64(result->damage_count, SCRUB_MAX_DAMAGE);
	for (uint64_t i = 0; i < listed; i++)
		if (result->damage[i].member >= 0 && !is_named_before(result, i))
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

/* Who was taken for right where two sides disagree. */
static const char *judge_name(struct volume *v)
{
	if (volume_super(v)->pi != PI_NONE)
		return "pi";
	return geometry_has_parity(volume_geometry(v)) ? "data" : "first mirror";
}

static void report_free(struct report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->files[i].concerned.list);
		free(r->files[i].lost.list);
	}
	free(r->files);
}

int scrub_report_write(const struct scrub_report *what, FILE *out)
{
	cleanup(report_free) struct report r = {.v = what->volume, .fs = what->fs};
	int err = collect(&r, what->result);
	if (err < 0)
		return err;
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_field_string(&j, "level", raid_level_name(volume_geometry(r.v)->level));
	json_field_string(&j, "pi", pi_name(volume_super(r.v)->pi));
	json_field_u64(&j, "missing_members", volume_missing(r.v));
	json_field_bool(&j, "repair", what->repair);
	json_field_string(&j, "right_by", judge_name(r.v));
	json_field_double(&j, "seconds", (double)what->took_ns / NS_PER_S);
	volume_json_write_scrub(&j, what->result);
	write_members(&j, &r, what->result);
	json_key(&j, "files");
	json_array_begin(&j);
	for (size_t i = 0; i < r.count; i++)
		write_file(&j, &r, &r.files[i]);
	json_array_end(&j);
	uint64_t unowned = r.unowned[0] + r.unowned[1] + r.unowned[2] + r.unowned[3];
	json_field_u64(&j, "blocks_without_file", unowned);
	write_damage(&j, what->result);
	json_object_end(&j);
	return json_finish(&j);
}
