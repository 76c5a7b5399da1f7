/* SPDX-License-Identifier: MIT */
/* What a small file system may hold at each moment. */
#include "fs_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_CELLS (4096u / MODEL_CELL_BYTES)

/* ---- texts ---- */

const char *model_name(unsigned name)
{
	static char names[MODEL_NAMES][256];
	char *text = names[name];
	if (text[0])
		return text;
	snprintf(text, 256, "n%u", name);
	if (name % 5 == 4) /* a few long ones fill pages of the database */
		memset(text + strlen(text), 'x', 200 + name);
	return text;
}

const char *model_xattr_name(unsigned index)
{
	static const char *const names[MODEL_XATTRS] = {"user.a", "user.b", "trusted.c"};
	return names[index];
}

size_t model_xattr_value(uint32_t value, uint8_t *out)
{
	size_t len = value % 4 == 0 ? MODEL_VALUE_BYTES : 1 + value % 30;
	memset(out, (int)('A' + value % 26), len);
	memcpy(out, &value, len < sizeof(value) ? len : sizeof(value));
	return len;
}

/* ---- digests ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t fold_bytes(uint64_t sum, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
	return mix(sum + len);
}

uint64_t model_digest_entry(uint64_t parent, const char *name, uint64_t ino)
{
	return fold_bytes(mix(parent << 20 ^ ino ^ UINT64_C(0xe17) << 50), name, strlen(name));
}

uint64_t model_digest_attr(const struct model_attr *a)
{
	uint64_t sum = mix(a->ino ^ UINT64_C(0xa77) << 50);
	sum = mix(sum ^ ((uint64_t)a->mode << 32 | a->nlink));
	sum = mix(sum ^ ((uint64_t)a->uid << 32 | a->gid));
	return mix(sum ^ (uint64_t)a->mtime);
}

uint64_t model_digest_bytes(uint64_t ino, const char *what, const void *bytes, size_t len)
{
	uint64_t sum = fold_bytes(mix(ino ^ UINT64_C(0xb17e) << 44), what, strlen(what));
	return fold_bytes(sum, bytes, len);
}

static uint64_t inode_digest(const struct model_inode *i)
{
	uint8_t value[MODEL_VALUE_BYTES];
	struct model_attr a = {i->ino, i->mode, i->nlink, i->uid, i->gid, i->mtime};
	uint64_t sum = model_digest_attr(&a);
	if (i->target)
		sum += model_digest_bytes(i->ino, "", i->target, strlen(i->target));
	for (unsigned x = 0; x < MODEL_XATTRS; x++) {
		if (!i->xattrs[x])
			continue;
		size_t len = model_xattr_value(i->xattrs[x], value);
		sum += model_digest_bytes(i->ino, model_xattr_name(x), value, len);
	}
	return sum;
}

static uint64_t digest(const struct fs_model *m)
{
	uint64_t sum = 0;
	for (unsigned k = 0; k < m->entry_count; k++) {
		const struct model_entry *e = &m->entries[k];
		sum += model_digest_entry(e->parent, model_name(e->name), e->ino);
	}
	for (unsigned k = 0; k < m->inode_count; k++) {
		if (m->inodes[k].nlink)
			sum += inode_digest(&m->inodes[k]);
	}
	return sum;
}

/* ---- operations and names ---- */

void model_init(struct fs_model *m, uint64_t root_ino, uint32_t root_mode)
{
	memset(m, 0, sizeof(*m));
	m->inodes[m->inode_count++] = (struct model_inode){
		.ino = root_ino, .mode = root_mode, .nlink = 2, .uid = 7, .gid = 8};
	m->digests[0] = digest(m);
}

void model_free(struct fs_model *m)
{
	for (unsigned k = 0; k < m->inode_count; k++) {
		free(m->inodes[k].target);
		free(m->inodes[k].file);
	}
	m->inode_count = 0;
}

void model_begin(struct fs_model *m)
{
	assert(m->now + 1 < MODEL_OPS);
	m->now++;
	m->digests[m->now] = m->digests[m->now - 1];
}

void model_moment(struct fs_model *m)
{
	m->digests[m->now] = digest(m);
}

struct model_inode *model_inode(struct fs_model *m, uint64_t ino)
{
	for (unsigned k = 0; k < m->inode_count; k++) {
		if (m->inodes[k].ino == ino)
			return &m->inodes[k];
	}
	return NULL;
}

struct model_inode *model_add(struct fs_model *m, uint64_t ino, const struct stat *st)
{
	assert(m->inode_count < MODEL_INODES);
	struct model_inode *i = &m->inodes[m->inode_count++];
	*i = (struct model_inode){.ino = ino,
		.mode = st->st_mode,
		.nlink = S_ISDIR(st->st_mode) ? 2 : 0,
		.uid = st->st_uid,
		.gid = st->st_gid};
	if (S_ISREG(st->st_mode)) {
		i->file = calloc(1, sizeof(*i->file));
		assert(i->file);
	} else if (!S_ISDIR(st->st_mode)) {
		i->mtime = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
	}
	model_touch(m, i);
	return i;
}

struct model_entry *model_entry(struct fs_model *m, uint64_t parent, unsigned name)
{
	for (unsigned k = 0; k < m->entry_count; k++) {
		if (m->entries[k].parent == parent && m->entries[k].name == name)
			return &m->entries[k];
	}
	return NULL;
}

void model_touch(struct fs_model *m, struct model_inode *inode)
{
	inode->changed = m->now;
}

void model_link(struct fs_model *m, uint64_t parent, unsigned name, uint64_t ino)
{
	assert(m->entry_count < MODEL_ENTRIES);
	m->entries[m->entry_count++] = (struct model_entry){parent, ino, name};
	struct model_inode *dir = model_inode(m, parent), *i = model_inode(m, ino);
	if (S_ISDIR(i->mode))
		dir->nlink++;
	else
		i->nlink++;
	model_touch(m, dir);
	model_touch(m, i);
}

/* A directory keeps its two links: who removes it for good takes them. */
void model_unlink(struct fs_model *m, struct model_entry *e)
{
	struct model_inode *dir = model_inode(m, e->parent), *i = model_inode(m, e->ino);
	if (S_ISDIR(i->mode))
		dir->nlink--;
	else
		i->nlink--;
	model_touch(m, dir);
	model_touch(m, i);
	*e = m->entries[--m->entry_count];
}

bool model_is_empty(const struct fs_model *m, uint64_t dir)
{
	for (unsigned k = 0; k < m->entry_count; k++) {
		if (m->entries[k].parent == dir)
			return false;
	}
	return true;
}

static uint64_t parent_of(const struct fs_model *m, uint64_t ino)
{
	for (unsigned k = 0; k < m->entry_count; k++) {
		if (m->entries[k].ino == ino)
			return m->entries[k].parent;
	}
	return 0;
}

bool model_is_above(const struct fs_model *m, uint64_t dir, uint64_t below)
{
	while (below && below != dir)
		below = parent_of(m, below);
	return below == dir;
}

/* ---- cells ---- */

static uint64_t cell_tag(uint64_t ino, unsigned version, unsigned cell)
{
	return UINT64_C(1) << 63 | ino << 40 | (uint64_t)version << 20 | cell;
}

void model_cell_fill(uint64_t ino, unsigned version, unsigned cell, void *out)
{
	uint64_t words[MODEL_CELL_BYTES / 8], tag = cell_tag(ino, version, cell);
	for (unsigned w = 0; w < MODEL_CELL_BYTES / 8; w++)
		words[w] = tag * (2 * w + 1);
	memcpy(out, words, sizeof(words));
}

bool model_cell_read(uint64_t ino, unsigned cell, const void *in, unsigned *version)
{
	uint64_t words[MODEL_CELL_BYTES / 8], wrong = 0;
	memcpy(words, in, sizeof(words));
	uint64_t tag = words[0];
	for (unsigned w = 1; w < MODEL_CELL_BYTES / 8; w++)
		wrong |= words[w] ^ tag * (2 * w + 1);
	*version = (unsigned)(tag >> 20 & 0xfffff);
	return !wrong && (tag == 0 || (*version && tag == cell_tag(ino, *version, cell)));
}

/* ---- bytes and sizes ---- */

static unsigned version_add(
	struct fs_model *m, struct model_inode *i, unsigned first, unsigned end, bool writes)
{
	struct model_file *f = i->file;
	assert(f->count + 1 < MODEL_VERSIONS && first <= end && end <= MODEL_CELLS);
	unsigned version = ++f->count;
	f->versions[version] = (struct model_version){.start = m->now,
		.finish = writes ? MODEL_FOREVER : m->now,
		.first = (uint16_t)first,
		.end = (uint16_t)end,
		.writes = writes};
	for (unsigned c = first; c < end; c++) {
		f->newest[c] = (uint16_t)version;
		if (!writes)
			f->zeroed[c] = (uint16_t)version;
	}
	return version;
}

static void size_add(
	struct fs_model *m, struct model_inode *i, uint64_t bytes, bool sets, uint32_t finish)
{
	struct model_file *f = i->file;
	assert(f->size_count < MODEL_VERSIONS);
	f->sizes[f->size_count++] = (struct model_size){m->now, finish, bytes, sets, false};
}

unsigned model_write(struct fs_model *m, struct model_inode *i, unsigned first, unsigned end)
{
	uint64_t bytes = (uint64_t)end * MODEL_CELL_BYTES;
	bool grows = bytes > model_size(i);
	unsigned version = version_add(m, i, first, end, true);
	i->file->versions[version].grows = grows;
	size_add(m, i, bytes, false, MODEL_FOREVER);
	return version;
}

void model_finish(struct fs_model *m, struct model_inode *i, unsigned version)
{
	struct model_file *f = i->file;
	struct model_version *v = &f->versions[version];
	if (v->finish != MODEL_FOREVER)
		return;
	v->finish = m->now;
	for (unsigned k = 0; k < f->size_count; k++) {
		struct model_size *s = &f->sizes[k];
		if (s->finish == MODEL_FOREVER && s->start == v->start)
			s->finish = m->now;
	}
	if (v->grows)
		model_touch(m, i);
}

void model_zero(struct fs_model *m, struct model_inode *i, unsigned first, unsigned end)
{
	(void)version_add(m, i, first, end, false);
	model_touch(m, i);
}

void model_resize(struct fs_model *m, struct model_inode *i, uint64_t bytes)
{
	unsigned cells = (unsigned)((bytes + MODEL_CELL_BYTES - 1) / MODEL_CELL_BYTES);
	if (bytes < model_size(i))
		model_zero(m, i, cells, MODEL_CELLS);
	if (bytes < model_size(i))
		i->file->versions[i->file->count].cuts = true;
	size_add(m, i, bytes, bytes < model_size(i), m->now);
	model_touch(m, i);
}

void model_grow(struct fs_model *m, struct model_inode *i, uint64_t bytes)
{
	size_add(m, i, bytes, false, m->now);
	model_touch(m, i);
}

bool model_under_way(const struct model_inode *i, unsigned first, unsigned end)
{
	for (unsigned v = 1; v <= i->file->count; v++) {
		const struct model_version *e = &i->file->versions[v];
		if (e->finish == MODEL_FOREVER && e->first < end && first < e->end)
			return true;
	}
	return false;
}

bool model_growing(const struct model_inode *i)
{
	for (unsigned v = 1; v <= i->file->count; v++) {
		if (i->file->versions[v].grows && i->file->versions[v].finish == MODEL_FOREVER)
			return true;
	}
	return false;
}

bool model_has_room(const struct model_inode *i)
{
	return i->file->count + 8 < MODEL_VERSIONS && i->file->size_count + 8 < MODEL_VERSIONS;
}

/* The sizes that a file may have at @moment: the least, and those to which a write that may have
 * ended by then grew it. */
static bool size_possible(
	const struct model_file *f, uint32_t moment, uint64_t bytes, uint64_t *most)
{
	uint64_t least = 0;
	bool fits = bytes == 0;
	*most = 0;
	for (unsigned k = 0; k < f->size_count; k++) {
		const struct model_size *s = &f->sizes[k];
		if (s->start > moment)
			break;
		*most = s->sets || s->bytes > *most ? s->bytes : *most;
		if (s->sets || ((s->settled || s->finish < moment) && s->bytes > least)) {
			least = s->bytes;
			fits = s->sets ? bytes == least : fits || bytes == least;
		}
		fits |= s->bytes == bytes;
	}
	return fits && bytes >= least;
}

uint64_t model_size(const struct model_inode *i)
{
	uint64_t most;
	(void)size_possible(i->file, MODEL_FOREVER, 0, &most);
	return most;
}

bool model_size_fits(const struct model_inode *i, uint32_t moment, uint64_t bytes)
{
	uint64_t most;
	return size_possible(i->file, moment, bytes, &most);
}

/* ---- acknowledgements ---- */

struct model_sync model_sync_begin(struct fs_model *m, struct model_inode *inode)
{
	return (struct model_sync){inode, m->now, inode ? inode->changed : m->now};
}

static void settle(struct model_file *f, unsigned version)
{
	struct model_version *v = &f->versions[version];
	if (v->settled)
		return;
	v->settled = true;
	for (unsigned c = v->first; c < v->end; c++) {
		if (f->floor[c] < version)
			f->floor[c] = (uint16_t)version;
	}
}

void model_sync_end(struct fs_model *m, const struct model_sync *sync)
{
	if (sync->covers > m->floor)
		m->floor = sync->covers;
	for (unsigned k = 0; k < m->inode_count; k++) {
		struct model_inode *i = &m->inodes[k];
		if (!i->file || (sync->inode && sync->inode != i))
			continue;
		for (unsigned v = 1; v <= i->file->count; v++) {
			if (i->file->versions[v].finish < sync->began)
				settle(i->file, v);
		}
		for (unsigned s = 0; s < i->file->size_count; s++)
			i->file->sizes[s].settled |= i->file->sizes[s].finish < sync->began;
	}
}

/* ---- verdicts ---- */

const char *model_cells_check(
	const struct model_inode *i, const uint16_t *shown, unsigned cells, unsigned *at)
{
	const struct model_file *f = i->file;
	for (unsigned c = 0; c < cells; c++) {
		unsigned v = shown[c];
		*at = c;
		if (v == MODEL_ANY)
			continue;
		if (v > f->count)
			return "bytes that nobody wrote yet";
		if (v && (!f->versions[v].writes || c < f->versions[v].first ||
				 c >= f->versions[v].end))
			return "bytes that were written elsewhere";
		if (v ? v < f->floor[c] : f->zeroed[c] < f->floor[c])
			return "an acknowledged write is lost";
	}
	return NULL;
}

/* Zeros over acknowledged bytes come from a change that may be seen at @moment. */
static bool zeros_fit(const struct model_file *f, uint32_t moment, unsigned cell)
{
	unsigned floor = f->floor[cell];
	if (!floor || !f->versions[floor].writes)
		return true;
	for (unsigned v = floor + 1; v <= f->count; v++) {
		const struct model_version *e = &f->versions[v];
		if (!e->writes && e->first <= cell && cell < e->end &&
			(!e->cuts || e->start <= moment))
			return true;
	}
	return false;
}

bool model_cells_fit(
	const struct model_inode *i, uint32_t moment, const uint16_t *shown, unsigned cells)
{
	const struct model_file *f = i->file;
	for (unsigned c = 0; c < cells; c++) {
		if (!shown[c] && !zeros_fit(f, moment, c))
			return false;
	}
	for (unsigned v = 1; v <= f->count; v++) {
		const struct model_version *e = &f->versions[v];
		if (e->writes || e->settled || e->finish > moment)
			continue;
		for (unsigned c = e->first; c < e->end && c < cells; c++) {
			if (shown[c] && shown[c] < v)
				return false;
		}
	}
	return true;
}

bool model_block_in_flight(const struct model_inode *i, unsigned cell)
{
	unsigned first = cell / BLOCK_CELLS * BLOCK_CELLS;
	for (unsigned c = first; c < first + BLOCK_CELLS && c < MODEL_CELLS; c++) {
		if (i->file->newest[c] != i->file->floor[c])
			return true;
	}
	return false;
}
