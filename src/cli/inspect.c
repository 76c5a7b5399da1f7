/* SPDX-License-Identifier: MIT */
/* Looking at a volume, as JSON. */
#include "cli/inspect.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "fuse/volume_json.h"
#include "io/uring.h"
#include "report/json.h"
#include "report/size.h"

int inspect_status(struct service *s, FILE *out)
{
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	volume_json_write(&j, s->volume);
	volume_json_write_files(&j, s->fs);
	json_object_end(&j);
	return json_finish(&j);
}

/* ---- superblocks ---- */

static void area_field(struct json *j, const char *key, const struct super_area *area)
{
	json_key(j, key);
	json_object_begin(j);
	json_field_u64(j, "offset", area->offset_bytes);
	json_field_u64(j, "length", area->len_bytes);
	json_object_end(j);
}

static const char *member_state_name(enum super_member_state state)
{
	return state == SUPER_MEMBER_ACTIVE       ? "active"
	       : state == SUPER_MEMBER_REBUILDING ? "rebuilding"
						  : "missing";
}

/* Who the members are, and how they were when this was written. */
static void write_peers(struct json *j, const struct super *super)
{
	json_key(j, "peers");
	json_array_begin(j);
	for (unsigned i = 0; i < super->members; i++) {
		json_object_begin(j);
		json_field_u64(j, "index", i);
		volume_json_field_uuid(j, "member_uuid", super->peers[i]);
		json_field_string(j, "state", member_state_name(super->states[i]));
		json_object_end(j);
	}
	json_array_end(j);
}

static void write_super(struct json *j, const struct super *super, const char *path)
{
	json_object_begin(j);
	json_field_string(j, "path", path);
	volume_json_field_uuid(j, "volume_uuid", super->volume_uuid);
	volume_json_field_uuid(j, "member_uuid", super->member_uuid);
	json_field_string(j, "label", super->label);
	json_field_string(j, "level", raid_level_name((enum raid_level)super->level));
	json_field_bool(j, "spare", super->index == SUPER_INDEX_SPARE);
	if (super->index != SUPER_INDEX_SPARE)
		json_field_u64(j, "index", super->index);
	json_field_u64(j, "members", super->members);
	json_field_u64(j, "generation", super->generation);
	json_field_u64(j, "stale_since", super->stale_since);
	json_field_bool(j, "clean", super->clean);
	json_field_u64(j, "chunk_bytes", (uint64_t)super->chunk_blocks * BLOCK_BYTES);
	json_field_u64(j, "stripes", super->stripes);
	json_field_string(j, "pi", pi_name(super->pi));
	json_field_string(j, "pi_check", super->pi_check == PI_CHECK_DEVICE ? "device" : "none");
	json_field_string(j, "write_hole", volume_json_write_hole(super->write_hole));
	json_field_u64(j, "region_bytes", super->region_blocks * BLOCK_BYTES);
	json_field_u64(j, "member_bytes", super->member_bytes);
	area_field(j, "intent", &super->intent);
	area_field(j, "journal", &super->journal);
	area_field(j, "system", &super->system);
	area_field(j, "tuples", &super->tuples);
	area_field(j, "data", &super->data);
	write_peers(j, super);
	json_object_end(j);
}

/* Spares are read where they lie: the volume holds no superblock of theirs. */
static void write_spare(struct json *j, struct io_engine *io, const char *path)
{
	struct member_probe probe;
	if (member_probe(io, path, IO_OPEN_READONLY, &probe, NULL) < 0)
		return;
	write_super(j, &probe.super, path);
	io_close(probe.file);
}

static void write_spares(struct json *j, struct volume *v)
{
	struct io_engine *io = NULL;
	char(*paths)[4096] = calloc(RAID_MAX_MEMBERS, sizeof(*paths));
	unsigned count = paths ? volume_spares(v, paths, RAID_MAX_MEMBERS) : 0;
	if (count && uring_factory.engine_new(&uring_factory, &io, NULL) == 0) {
		for (unsigned i = 0; i < count && i < RAID_MAX_MEMBERS; i++)
			write_spare(j, io, paths[i]);
		io_engine_free(io);
	}
	free(paths);
}

int inspect_super(struct service *s, FILE *out)
{
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_key(&j, "superblocks");
	json_array_begin(&j);
	for (unsigned i = 0; i < volume_geometry(s->volume)->members; i++) {
		const struct super *super = volume_member_super(s->volume, i);
		if (super)
			write_super(&j, super, volume_member(s->volume, i).path);
	}
	write_spares(&j, s->volume);
	json_array_end(&j);
	json_object_end(&j);
	return json_finish(&j);
}

/* ---- a stripe ---- */

struct stripe_look {
	struct stripe_check check;
	struct volume *v;
	struct volume_waiter waiter;
};

static void looked(struct stripe_check *check, int err)
{
	struct stripe_look *look = container_of(check, struct stripe_look, check);
	volume_signal(look->v, &look->waiter, err);
}

struct owner_name {
	struct fs *fs;
	struct json *j;
};

static bool write_owner(void *ctx, const struct fs_extent *part)
{
	struct owner_name *o = ctx;
	char path[PATH_MAX];
	if (fs_path(o->fs, part->ino, path, sizeof(path)) == 0)
		json_field_string(o->j, "file", path);
	json_field_u64(o->j, "file_offset", part->file_block * BLOCK_BYTES);
	return false;
}

static void hex_field(struct json *j, const char *key, uint64_t v, unsigned digits)
{
	char text[24];
	snprintf(text, sizeof(text), "%0*llx", (int)digits, (unsigned long long)v);
	json_field_string(j, key, text);
}

static void write_tuple(struct json *j, enum pi_type pi, const uint8_t *tuple, const uint8_t *block)
{
	unsigned digits = pi == PI_T10 ? 4 : pi == PI_CRC32C ? 8 : 16;
	struct pi_tuple t = pi_decode(pi, tuple);
	if (pi_is_escape(pi, tuple)) {
		json_field_string(j, "tuple", "never written");
		return;
	}
	hex_field(j, "guard", t.guard, digits);
	hex_field(j, "guard_of_data", pi_guard(pi, block, BLOCK_BYTES), digits);
	hex_field(j, "app_tag", t.app_tag, 4);
	json_field_u64(j, "ref_tag", t.ref_tag);
}

static void write_cell(struct json *j, struct service *s, const struct stripe_check *check,
	unsigned slot, unsigned row)
{
	const struct geometry *g = volume_geometry(s->volume);
	const struct super *super = volume_super(s->volume);
	size_t at = (size_t)slot * g->chunk_blocks + row;
	json_object_begin(j);
	json_field_u64(j, "row", row);
	if (rows_has(&check->unreadable[slot], row))
		json_field_string(j, "state", "unreadable");
	else if (rows_has(&check->guard_bad[slot], row))
		json_field_string(j, "state", "guard mismatch");
	else if (rows_has(&check->mirror_bad, row))
		json_field_string(j, "state", "mirrors differ");
	else if (rows_has(&check->parity_bad, row) && slot >= geometry_data_slots(g))
		json_field_string(j, "state", "parity mismatch");
	else
		json_field_string(j, "state", "good");
	if (super->pi != PI_NONE)
		write_tuple(j, super->pi, check->tuples + at * pi_tuple_bytes(super->pi),
			check->data + at * BLOCK_BYTES);
	if (!geometry_has_parity(g) || slot < geometry_data_slots(g)) {
		uint64_t block = geometry_volume_block(
			g, check->stripe, geometry_has_parity(g) ? slot : 0, row);
		struct owner_name o = {s->fs, j};
		json_field_u64(j, "volume_block", block);
		if (s->fs)
			fs_owners(s->fs, block, 1, write_owner, &o);
	}
	json_object_end(j);
}

static void write_slot(
	struct json *j, struct service *s, const struct stripe_check *check, unsigned slot)
{
	const struct geometry *g = volume_geometry(s->volume);
	unsigned member = geometry_member(g, check->stripe, slot);
	bool present = volume_member(s->volume, member).present;
	json_object_begin(j);
	json_field_u64(j, "member", member);
	json_field_string(j, "role",
		!geometry_has_parity(g)          ? "copy"
		: slot == geometry_data_slots(g) ? "parity"
		: slot > geometry_data_slots(g)  ? "parity Q"
						 : "data");
	json_field_bool(j, "present", present);
	json_field_u64(j, "member_block", geometry_member_block(g, check->stripe, 0));
	json_key(j, "rows");
	json_array_begin(j);
	for (unsigned row = 0; present && row < g->chunk_blocks; row++)
		write_cell(j, s, check, slot, row);
	json_array_end(j);
	json_object_end(j);
}

static int write_stripe(struct service *s, const struct stripe_check *check, FILE *out)
{
	struct json j;
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_field_u64(&j, "stripe", check->stripe);
	json_field_u64(&j, "parity_mismatches", rows_count(&check->parity_bad));
	json_field_u64(&j, "mirror_mismatches", rows_count(&check->mirror_bad));
	json_key(&j, "slots");
	json_array_begin(&j);
	for (unsigned slot = 0; slot < geometry_slots(volume_geometry(s->volume)); slot++)
		write_slot(&j, s, check, slot);
	json_array_end(&j);
	json_object_end(&j);
	return json_finish(&j);
}

int inspect_stripe(struct service *s, const char *number, FILE *out, struct errmsg *why)
{
	const struct geometry *g = volume_geometry(s->volume);
	uint64_t stripe;
	int err = count_parse(number, &stripe, why);
	if (err < 0)
		return err;
	if (stripe >= g->stripes)
		return errmsg_set(why, -ERANGE, "there is no stripe %s: the volume has %llu",
			number, (unsigned long long)g->stripes);
	size_t cells = (size_t)geometry_slots(g) * g->chunk_blocks;
	cleanup(cleanup_freep) uint8_t *data = mem_alloc_blocks(cells * BLOCK_BYTES);
	cleanup(cleanup_freep) uint8_t *tuples = calloc(cells, PI_MAX_TUPLE_BYTES);
	if (!data || !tuples)
		return -ENOMEM;
	struct stripe_look look = {.v = s->volume,
		.check = {.mode = STRIPE_CHECK,
			.stripe = stripe,
			.done = looked,
			.data = data,
			.tuples = tuples}};
	stripe_check(volume_engine(s->volume), &look.check);
	volume_wait(s->volume, &look.waiter);
	return look.waiter.err ? look.waiter.err : write_stripe(s, &look.check, out);
}

/* ---- a file ---- */

struct file_look {
	struct service *s;
	struct json *j;
	uint64_t ino;
	/* Shares: the stripes of the file, as runs, in file order. */
	struct stripe_run {
		uint64_t first, count;
	} * runs; /* owned */
	size_t count, room;
	int err;
};

static void note_stripes(struct file_look *look, uint64_t first, uint64_t last)
{
	struct stripe_run *tail = look->count ? &look->runs[look->count - 1] : NULL;
	if (tail && first >= tail->first && first <= tail->first + tail->count) {
		tail->count = max_u64(tail->first + tail->count, last + 1) - tail->first;
		return;
	}
	if (look->count == look->room) {
		size_t room = look->room ? 2 * look->room : 16;
		void *p = reallocarray(look->runs, room, sizeof(*look->runs));
		if (!p) {
			look->err = -ENOMEM;
			return;
		}
		look->runs = p;
		look->room = room;
	}
	look->runs[look->count++] = (struct stripe_run){first, last - first + 1};
}

static bool write_extent(void *ctx, const struct fs_extent *e)
{
	struct file_look *look = ctx;
	const struct geometry *g = volume_geometry(look->s->volume);
	struct geometry_place first = geometry_locate(g, e->volume_block);
	struct geometry_place last = geometry_locate(g, e->volume_block + e->blocks - 1);
	json_object_begin(look->j);
	json_field_u64(look->j, "file_offset", e->file_block * BLOCK_BYTES);
	json_field_u64(look->j, "length", e->blocks * BLOCK_BYTES);
	json_field_u64(look->j, "volume_block", e->volume_block);
	json_field_u64(look->j, "first_stripe", first.stripe);
	json_field_u64(look->j, "last_stripe", last.stripe);
	json_field_u64(look->j, "first_member", geometry_member(g, first.stripe, first.slot));
	json_object_end(look->j);
	note_stripes(look, first.stripe, last.stripe);
	return !look->err;
}

struct sharer {
	uint64_t ino, blocks;
};

struct sharers {
	uint64_t self;
	struct sharer *list; /* owned */
	size_t count, room;
	int err;
};

static bool add_sharer(void *ctx, const struct fs_extent *part)
{
	struct sharers *all = ctx;
	if (part->ino == all->self)
		return true;
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].ino == part->ino) {
			all->list[i].blocks += part->blocks;
			return true;
		}
	if (all->count == all->room) {
		size_t room = all->room ? 2 * all->room : 16;
		void *p = reallocarray(all->list, room, sizeof(*all->list));
		if (!p) {
			all->err = -ENOMEM;
			return false;
		}
		all->list = p;
		all->room = room;
	}
	all->list[all->count++] = (struct sharer){part->ino, part->blocks};
	return true;
}

static int by_first(const void *a, const void *b)
{
	const struct stripe_run *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int write_shares(struct file_look *look)
{
	const struct geometry *g = volume_geometry(look->s->volume);
	struct sharers all = {.self = look->ino};
	uint64_t behind = 0; /* stripes below are done */
	if (look->count)
		qsort(look->runs, look->count, sizeof(*look->runs), by_first);
	for (size_t i = 0; i < look->count && !all.err; i++) {
		uint64_t first = max_u64(look->runs[i].first, behind);
		uint64_t end = look->runs[i].first + look->runs[i].count;
		if (first >= end)
			continue;
		int err = fs_owners(look->s->fs, first * geometry_stripe_blocks(g),
			(end - first) * geometry_stripe_blocks(g), add_sharer, &all);
		all.err = err < 0 ? err : all.err;
		behind = end;
	}
	json_key(look->j, "shares_stripes_with");
	json_array_begin(look->j);
	for (size_t i = 0; i < all.count; i++) {
		char path[PATH_MAX];
		json_object_begin(look->j);
		if (fs_path(look->s->fs, all.list[i].ino, path, sizeof(path)) == 0)
			json_field_string(look->j, "path", path);
		json_field_u64(look->j, "ino", all.list[i].ino);
		json_field_u64(look->j, "blocks", all.list[i].blocks);
		json_object_end(look->j);
	}
	json_array_end(look->j);
	free(all.list);
	return all.err;
}

int inspect_file(struct service *s, const char *path, bool shares, FILE *out, struct errmsg *why)
{
	if (!s->fs)
		return errmsg_set(why, -EUCLEAN, "the file system of the volume cannot be read");
	size_t prefix = s->mountpoint ? strlen(s->mountpoint) : 0;
	if (prefix && !strncmp(path, s->mountpoint, prefix) &&
		(path[prefix] == '/' || !path[prefix]))
		path = path[prefix] ? path + prefix : "/";
	struct json j;
	struct file_look look = {.s = s, .j = &j};
	int err = fs_resolve(s->fs, path, &look.ino);
	if (err < 0)
		return errmsg_set(why, err, "%s: %s", path, strerror(-err));
	json_init_file(&j, out, JSON_INDENTED);
	json_object_begin(&j);
	json_field_string(&j, "path", path);
	json_field_u64(&j, "ino", look.ino);
	json_key(&j, "extents");
	json_array_begin(&j);
	err = fs_file_extents(s->fs, look.ino, write_extent, &look);
	json_array_end(&j);
	if (shares && err >= 0)
		err = write_shares(&look);
	json_object_end(&j);
	free(look.runs);
	int finished = json_finish(&j);
	return err < 0 ? err : look.err ? look.err : finished;
}
