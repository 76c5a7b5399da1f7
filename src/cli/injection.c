/* SPDX-License-Identifier: MIT */
/* Faults by name: lines are parsed (io/fault_text.h), names resolved, ranges armed.
 *
 * A fault of a file becomes a range of a member for each piece of the file that lies there in one;
 * they count as one fault (fault.with). Where the file is moved or grows afterwards the fault stays
 * where it is.
 * Owning thread: any; the lock protects the list. Names are resolved without it: what hangs by a
 * fault can be disarmed while another command waits for the file system. */
#include "cli/injection.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/block.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "io/fault_text.h"
#include "io/inject.h"
#include "report/json.h"

#define MAX_PIECES 4096u

struct entry {
	struct list_node node;
	int id;
	bool is_flip;
	int inner_id; /* of the fault set, or of the flips */
	char text[FAULT_TEXT_MAX];
};

struct injection {
	struct inject_world *world; /* owned */
	struct flip_set *flips;     /* owned */
	struct volume *volume;      /* borrowed; NULL: not served */
	struct fs *fs;              /* borrowed */
	pthread_mutex_t lock;
	struct list entries;
	int last_id;
};

static struct entry *entry_of(struct list_node *node)
{
	return container_of(node, struct entry, node);
}

int injection_new(const struct io_factory *inner, struct injection **out)
{
	struct injection *i = calloc(1, sizeof(*i));
	if (!i)
		return -ENOMEM;
	pthread_mutex_init(&i->lock, NULL);
	list_init(&i->entries);
	i->world = inject_world_new(inner, 1);
	i->flips = flip_set_new();
	if (i->world && i->flips) {
		*out = i;
		return 0;
	}
	injection_free(i);
	return -ENOMEM;
}

void injection_free(struct injection *i)
{
	if (!i)
		return;
	while (!list_empty(&i->entries))
		free(entry_of(list_pop_front(&i->entries)));
	inject_world_free(i->world);
	flip_set_free(i->flips);
	pthread_mutex_destroy(&i->lock);
	free(i);
}

const struct io_factory *injection_factory(struct injection *i)
{
	return inject_world_factory(i->world);
}

struct flip_set *injection_flips(struct injection *i)
{
	return i->flips;
}

static void entry_disarm(struct injection *i, struct entry *e)
{
	if (e->is_flip)
		(void)flip_set_disarm(i->flips, e->inner_id);
	else
		(void)inject_world_disarm(i->world, e->inner_id);
	list_remove(&e->node);
	free(e);
}

/* It would keep the volume from closing. */
static void release_hung(struct injection *i)
{
	pthread_mutex_lock(&i->lock);
	list_for_each_safe (n, &i->entries) {
		if (strncmp(entry_of(n)->text, "hang", 4) == 0)
			entry_disarm(i, entry_of(n));
	}
	pthread_mutex_unlock(&i->lock);
}

void injection_serve(struct injection *i, struct volume *v, struct fs *fs)
{
	i->volume = v;
	i->fs = fs;
	if (!v)
		release_hung(i);
}

/* ---- ranges of members ---- */

struct piece {
	unsigned member;
	uint64_t first_bytes, end_bytes;
};

struct pieces {
	struct injection *i;
	const struct fault_request *r;
	struct errmsg *why;
	struct piece *list; /* owned */
	unsigned count;
	int err;
};

static bool wants_member(const struct pieces *p, unsigned member)
{
	return p->r->member < 0 || (unsigned)p->r->member == member;
}

static void add_piece(struct pieces *p, unsigned member, uint64_t first_bytes, uint64_t end_bytes)
{
	if (p->err < 0 || first_bytes >= end_bytes || !wants_member(p, member))
		return;
	for (unsigned n = 0; n < p->count; n++) {
		struct piece *known = &p->list[n];
		if (known->member == member && known->end_bytes == first_bytes) {
			known->end_bytes = end_bytes;
			return;
		}
	}
	if (p->count == MAX_PIECES) {
		p->err = errmsg_set(p->why, -E2BIG,
			"that lies on the members in more than %u pieces: take a smaller range",
			MAX_PIECES);
		return;
	}
	p->list[p->count++] = (struct piece){member, first_bytes, end_bytes};
}

/* The fault's range within [first, first + len) of a member. */
static void add_area(struct pieces *p, unsigned member, uint64_t first_bytes, uint64_t len_bytes)
{
	const struct fault *f = &p->r->fault;
	uint64_t skip = min_u64(f->offset_bytes, len_bytes);
	uint64_t rest = len_bytes - skip;
	if (f->len_bytes)
		rest = min_u64(rest, f->len_bytes);
	add_piece(p, member, first_bytes + skip, first_bytes + skip + rest);
}

static void add_named_area(struct pieces *p, unsigned member, const struct super *s)
{
	const struct {
		const char *name;
		struct super_area area;
	} areas[] = {{"data", s->data}, {"tuples", s->tuples}, {"system", s->system},
		{"intent", s->intent}, {"journal", s->journal}};
	if (strcmp(p->r->area, "super") == 0) {
		add_area(p, member, SUPER_A_OFFSET, SUPER_BYTES);
		add_area(p, member, super_b_offset(s->member_bytes), SUPER_BYTES);
		return;
	}
	for (unsigned n = 0; n < sizeof(areas) / sizeof(areas[0]); n++) {
		if (strcmp(areas[n].name, p->r->area) == 0)
			add_area(p, member, areas[n].area.offset_bytes, areas[n].area.len_bytes);
	}
}

static void add_areas(struct pieces *p)
{
	const struct super *s = volume_super(p->i->volume);
	for (unsigned m = 0; m < volume_geometry(p->i->volume)->members; m++) {
		const struct super *own = volume_member_super(p->i->volume, m);
		if (p->r->area[0])
			add_named_area(p, m, own ? own : s);
		else
			add_area(p, m, 0, UINT64_MAX);
	}
}

/* Bytes [first, end) of a block of the volume, wherever it is stored. */
static void add_volume_block(
	struct pieces *p, uint64_t volume_block, uint64_t first_bytes, uint64_t end_bytes)
{
	const struct geometry *g = volume_geometry(p->i->volume);
	const struct super *s = volume_super(p->i->volume);
	struct geometry_place at = geometry_locate(g, volume_block);
	uint64_t start =
		s->data.offset_bytes + geometry_member_block(g, at.stripe, at.row) * BLOCK_BYTES;
	unsigned copies = g->level == RAID_RAID1 ? g->members : 1;
	for (unsigned copy = 0; copy < copies; copy++)
		add_piece(p, geometry_member(g, at.stripe, at.slot + copy), start + first_bytes,
			start + end_bytes);
}

static bool add_extent(void *ctx, const struct fs_extent *extent)
{
	struct pieces *p = ctx;
	const struct fault *f = &p->r->fault;
	uint64_t end = f->len_bytes ? f->offset_bytes + f->len_bytes : UINT64_MAX;
	for (uint64_t n = 0; n < extent->blocks && p->err == 0; n++) {
		uint64_t at = (extent->file_block + n) * BLOCK_BYTES;
		uint64_t first = max_u64(at, f->offset_bytes);
		uint64_t last = min_u64(at + BLOCK_BYTES, end);
		if (first < last)
			add_volume_block(p, extent->volume_block + n, first - at, last - at);
	}
	return p->err == 0;
}

static void add_file(struct pieces *p)
{
	uint64_t ino;
	p->err = fs_resolve(p->i->fs, p->r->file, &ino);
	if (p->err < 0) {
		errmsg_set(p->why, p->err, "%s: %s", p->r->file, strerror(-p->err));
		return;
	}
	int err = fs_file_extents(p->i->fs, ino, add_extent, p);
	if (p->err == 0 && err < 0)
		p->err = err;
	if (p->err == 0 && p->count == 0)
		p->err = errmsg_set(p->why, -ENODATA,
			"nothing of that range of %s is on the members%s", p->r->file,
			p->r->member >= 0 ? " that are meant" : "");
}

static int check_member(const struct pieces *p)
{
	unsigned members = volume_geometry(p->i->volume)->members;
	if (p->r->member >= 0 && (unsigned)p->r->member >= members)
		return errmsg_set(p->why, -ENODEV, "there is no member %d: there are %u",
			p->r->member, members);
	return 0;
}

/* Arm the pieces as one fault. Its id in the fault set, or -errno; then nothing is armed. */
static int arm_pieces(struct pieces *p)
{
	int leader = 0;
	for (unsigned n = 0; n < p->count; n++) {
		const struct piece *piece = &p->list[n];
		struct volume_member_info info = volume_member(p->i->volume, piece->member);
		struct fault f = p->r->fault;
		if (!info.path[0])
			continue; /* it is missing: nothing can happen to it */
		if (strlen(info.path) >= sizeof(f.name))
			return errmsg_set(p->why, -ENAMETOOLONG,
				"%s: the path is too long to "
				"inject faults there",
				info.path);
		strcpy(f.name, info.path);
		f.offset_bytes = piece->first_bytes;
		f.len_bytes =
			piece->end_bytes == UINT64_MAX ? 0 : piece->end_bytes - piece->first_bytes;
		f.with = leader;
		int id = inject_world_arm(p->i->world, &f);
		if (id < 0 && leader)
			(void)inject_world_disarm(p->i->world, leader);
		if (id < 0)
			return id;
		leader = leader ? leader : id;
	}
	return leader ? leader
		      : errmsg_set(p->why, -ENODEV, "the member is missing, or has no such area");
}

static int arm_fault(struct injection *i, const struct fault_request *r, struct errmsg *why)
{
	if (r->member < 0 && !r->area[0] && !r->file[0])
		return inject_world_arm(i->world, &r->fault); /* any member */
	cleanup(cleanup_freep) struct piece *list = calloc(MAX_PIECES, sizeof(*list));
	struct pieces p = {.i = i, .r = r, .why = why, .list = list};
	if (!list)
		return -ENOMEM;
	p.err = check_member(&p);
	if (p.err == 0 && r->file[0])
		add_file(&p);
	else if (p.err == 0)
		add_areas(&p);
	return p.err < 0 ? p.err : arm_pieces(&p);
}

static int arm_flip(struct injection *i, const struct fault_request *r, struct errmsg *why)
{
	uint64_t ino;
	int err = fs_resolve(i->fs, r->file, &ino);
	if (err < 0)
		return errmsg_set(why, err, "%s: %s", r->file, strerror(-err));
	uint64_t len = r->has_len ? r->fault.len_bytes : 1;
	if (r->fault.offset_bytes > UINT32_MAX || len > UINT32_MAX)
		return errmsg_set(why, -EINVAL, "a write has at most 4 GiB");
	struct flip flip = {.offset_bytes = (uint32_t)r->fault.offset_bytes,
		.len_bytes = (uint32_t)len,
		.xor_byte = r->xor_byte,
		.at = r->at_data ? FLIP_AT_DATA : FLIP_AT_PARITY};
	return flip_set_arm(i->flips, ino, r->write, &flip);
}

/* ---- commands ---- */

static int arm(struct injection *i, const char *line, int *id, struct errmsg *why)
{
	struct fault_request r;
	int err = fault_parse(line, &r, why);
	if (err < 0)
		return err;
	cleanup(cleanup_freep) struct entry *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->is_flip = r.mutate;
	fault_format(&r, e->text, sizeof(e->text));
	e->inner_id = r.mutate ? arm_flip(i, &r, why) : arm_fault(i, &r, why);
	if (e->inner_id < 0)
		return e->inner_id;
	pthread_mutex_lock(&i->lock);
	*id = e->id = ++i->last_id;
	list_push_back(&i->entries, &e->node);
	pthread_mutex_unlock(&i->lock);
	e = NULL;
	return 0;
}

static bool number_of(const char *text, uint64_t *out)
{
	char *end;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end;
}

static int disarm(struct injection *i, const char *which, struct errmsg *why)
{
	uint64_t id = 0;
	bool any = false, all = strcmp(which, "all") == 0;
	if (!all && !number_of(which, &id))
		return errmsg_set(why, -EINVAL, "disarm takes a number or 'all', not '%s'", which);
	pthread_mutex_lock(&i->lock);
	list_for_each_safe (n, &i->entries) {
		if (!all && (uint64_t)entry_of(n)->id != id)
			continue;
		entry_disarm(i, entry_of(n));
		any = true;
	}
	pthread_mutex_unlock(&i->lock);
	return any || all ? 0 : errmsg_set(why, -ENOENT, "nothing is armed as %s", which);
}

static int seed(struct injection *i, const char *value, struct errmsg *why)
{
	uint64_t n;
	if (!number_of(value, &n))
		return errmsg_set(why, -EINVAL, "seed takes a number, not '%s'", value);
	fault_set_seed(inject_world_faults(i->world), n);
	return 0;
}

int injection_command(struct injection *i, const char *line, int *id, struct errmsg *why)
{
	int none = 0;
	line += strspn(line, " \t");
	if (!i->volume)
		return errmsg_set(why, -ESHUTDOWN, "the volume is being closed");
	if (strncmp(line, "disarm ", 7) == 0)
		return disarm(i, line + 7, why);
	if (strncmp(line, "seed ", 5) == 0)
		return seed(i, line + 5, why);
	return arm(i, line, id ? id : &none, why);
}

/* ---- the listing ---- */

static void count_of(struct injection *i, const struct entry *e, uint64_t *met, uint64_t *fired)
{
	*met = *fired = 0;
	if (e->is_flip) {
		(void)flip_set_look(i->flips, e->inner_id, met, fired);
		return;
	}
	struct fault_set *set = inject_world_faults(i->world);
	unsigned count = fault_set_list(set, NULL, 0);
	cleanup(cleanup_freep) struct fault_listed *list = calloc(count + 1, sizeof(*list));
	unsigned have = list ? fault_set_list(set, list, count) : 0;
	for (unsigned n = 0; n < have && n < count; n++) {
		if (list[n].id != e->inner_id)
			continue;
		*met = list[n].met;
		*fired = list[n].fired;
	}
}

char *injection_json(struct injection *i, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	if (!out)
		return NULL;
	struct json j;
	json_init_file(&j, out, JSON_COMPACT);
	json_object_begin(&j);
	json_field_u64(&j, "seed", fault_set_get_seed(inject_world_faults(i->world)));
	json_field_bool(&j, "power_cut", inject_world_power_is_cut(i->world));
	json_key(&j, "faults");
	json_array_begin(&j);
	pthread_mutex_lock(&i->lock);
	list_for_each (n, &i->entries) {
		uint64_t met, fired;
		count_of(i, entry_of(n), &met, &fired);
		json_object_begin(&j);
		json_field_u64(&j, "id", (uint64_t)entry_of(n)->id);
		json_field_string(&j, "fault", entry_of(n)->text);
		json_field_u64(&j, "met", met);
		json_field_u64(&j, "fired", fired);
		json_object_end(&j);
	}
	pthread_mutex_unlock(&i->lock);
	json_array_end(&j);
	json_object_end(&j);
	json_finish(&j);
	fputc('\n', out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

int injection_query(struct injection *i, const char *line, FILE *out)
{
	struct errmsg why = {0};
	size_t len;
	int id = 0, err = 0;
	if (!line[strspn(line, " ")]) {
		cleanup(cleanup_freep) char *text = injection_json(i, &len);
		if (!text)
			return -ENOMEM;
		fputs(text, out);
		return 0;
	}
	err = injection_command(i, line, &id, &why);
	struct json j;
	json_init_file(&j, out, JSON_COMPACT);
	json_object_begin(&j);
	if (err < 0)
		json_field_string(&j, "error", why.text[0] ? why.text : strerror(-err));
	else
		json_field_u64(&j, "id", (uint64_t)id);
	json_object_end(&j);
	json_finish(&j);
	fputc('\n', out);
	return err;
}
