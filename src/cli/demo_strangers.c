/* SPDX-License-Identifier: MIT */
/* Blast radius: idle files of other people between the mutator's blocks, and what is left of them
 * when a member fails.
 *
 * Each stripe of three data chunks holds one chunk of the mutator's file and one each of two idle
 * files. The idle files are written once, before, and never again. Each of their blocks says which
 * it is, so that what comes back can be compared with what was written without keeping a copy. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "cli/demo.h"
#include "raid/geometry.h"

#define CHUNK_BYTES   DEMO_CHUNK_BYTES
#define FAILED_MEMBER 1u
#define IDLE_FILES    8u

static const char *const idle_names[IDLE_FILES] = {"payroll.db", "thesis.tex", "wedding.tar",
	"ledger.xls", "kernel.git", "letters.mbox", "x-ray.dcm", "novel.odt"};

/* The file that idle chunk @i (two for each of the mutator's writes) belongs to: files change after
 * an eighth of the run, in pairs. */
static unsigned idle_file(const struct demo_setup *setup, uint64_t i)
{
	uint64_t write = i / 2, per_pair = (setup->count + IDLE_FILES / 2 - 1) / (IDLE_FILES / 2);
	return (unsigned)(write / per_pair * 2 + i % 2);
}

static void fill_idle_block(uint8_t *block, unsigned file, uint64_t file_block)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%s, block %llu, as it was written. ",
		idle_names[file], (unsigned long long)file_block);
	for (unsigned at = 0; at < BLOCK_BYTES; at++)
		block[at] = (uint8_t)line[at % (unsigned)len];
}

static int open_in_mount(struct demo_world *w, const char *name, int flags, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", demo_mountpoint(w), name);
	int fd = open(path, flags | O_CLOEXEC, 0644);
	return fd < 0 ? errmsg_set(why, -errno, "%s: %s", path, strerror(errno)) : fd;
}

static int append_chunk(int fd, const void *chunk, uint64_t index, struct errmsg *why)
{
	ssize_t n = pwrite(fd, chunk, CHUNK_BYTES, (off_t)(index * CHUNK_BYTES));
	if (n == CHUNK_BYTES)
		return 0;
	return errmsg_set(why, n < 0 ? -errno : -EIO, "writing the idle files: %s",
		n < 0 ? strerror(errno) : "short write");
}

static int append_idle(int fd, unsigned file, uint64_t index, uint8_t *chunk, struct errmsg *why)
{
	for (unsigned b = 0; b < CHUNK_BYTES / BLOCK_BYTES; b++)
		fill_idle_block(
			chunk + b * BLOCK_BYTES, file, index * (CHUNK_BYTES / BLOCK_BYTES) + b);
	return append_chunk(fd, chunk, index, why);
}

static void close_all(int (*fds)[IDLE_FILES + 1])
{
	for (unsigned i = 0; i <= IDLE_FILES; i++)
		if ((*fds)[i] >= 0)
			close((*fds)[i]);
}

int demo_strangers_write(struct demo_world *w, const struct demo_setup *setup, struct errmsg *why)
{
	cleanup(cleanup_freep) uint8_t *chunk = mem_alloc_blocks(CHUNK_BYTES);
	cleanup(close_all) int fds[IDLE_FILES + 1];
	uint64_t next[IDLE_FILES] = {0};
	int err = 0;
	if (!chunk)
		return -ENOMEM;
	for (unsigned i = 0; i <= IDLE_FILES; i++)
		fds[i] = -1;
	for (unsigned i = 0; i <= IDLE_FILES; i++) {
		fds[i] = open_in_mount(w, i < IDLE_FILES ? idle_names[i] : "a",
			O_WRONLY | O_CREAT | O_DIRECT, why);
		if (fds[i] < 0)
			return fds[i];
	}
	for (uint64_t i = 0; !err && i < setup->count; i++) {
		memset(chunk, 'm', CHUNK_BYTES);
		err = append_chunk(fds[IDLE_FILES], chunk, i, why);
		for (unsigned half = 0; !err && half < 2; half++) {
			unsigned file = idle_file(setup, 2 * i + half);
			err = append_idle(fds[file], file, next[file]++, chunk, why);
		}
	}
	return err;
}

static int give(struct demo_world *w, const char *name, uid_t uid, struct errmsg *why)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", demo_mountpoint(w), name);
	if (chown(path, uid, uid) < 0)
		return errmsg_set(why, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int demo_strangers_give(struct demo_world *w, uid_t busy, uid_t idle, struct errmsg *why)
{
	int err = give(w, "a", busy, why);
	for (unsigned i = 0; !err && i < IDLE_FILES; i++)
		err = give(w, idle_names[i], idle, why);
	return err;
}

/* ---- where the blocks lie ---- */

static int ask_extents(
	struct demo_world *w, const char *name, struct json_value **doc, struct errmsg *why)
{
	char path[80];
	snprintf(path, sizeof(path), "/%s", name);
	const char *argv[] = {"inspect", "--json", "file", path, demo_mountpoint(w), NULL};
	return demo_verb(w, argv, NULL, doc, why);
}

static uint64_t volume_block_of(const struct json_value *doc, uint64_t file_block)
{
	json_for_each(e, json_get(doc, "extents"))
	{
		uint64_t first = json_get_u64(e, "file_offset", 0) / BLOCK_BYTES;
		uint64_t count = json_get_u64(e, "length", 0) / BLOCK_BYTES;
		if (file_block >= first && file_block < first + count)
			return json_get_u64(e, "volume_block", 0) + file_block - first;
	}
	return UINT64_MAX;
}

static const struct geometry geometry = {.level = RAID_RAID5,
	.members = 4,
	.chunk_blocks = CHUNK_BYTES / BLOCK_BYTES,
	.stripes = UINT64_C(1) << 32};

/* ---- reading back ---- */

static void printable(const uint8_t *block, char *out, size_t size)
{
	for (size_t i = 0; i + 1 < size; i++)
		out[i] = isprint(block[i]) ? (char)block[i] : '.';
	out[size - 1] = '\0';
}

static void note_victim(struct demo_outcome *out, unsigned file, uint64_t file_block,
	const struct geometry_place *place, const uint8_t *was, const uint8_t *is)
{
	if (!out->victims || out->victim_count == DEMO_MAX_VICTIMS)
		return;
	struct demo_victim *v = &out->victims[out->victim_count++];
	snprintf(v->path, sizeof(v->path), "/%s", idle_names[file]);
	v->file_block = file_block;
	v->stripe = place->stripe;
	v->row = place->row;
	v->slot = place->slot;
	v->member = geometry_member(&geometry, place->stripe, place->slot);
	/* Show where it differs: the mutator stores a word in each sector. */
	unsigned at = 0;
	while (at < BLOCK_BYTES - 40 && was[at] == is[at])
		at++;
	printable(was + at, v->before, sizeof(v->before));
	printable(is + at, v->after, sizeof(v->after));
}

struct idle_look {
	unsigned file;
	int fd;
	const struct json_value *extents;
	uint8_t *was, *is; /* a block each */
	uint64_t rows;     /* of a chunk, that were written to */
	uint64_t wrong, unreadable, on_member;
};

/* @n: how much pread() gave. */
static void compare_block(struct idle_look *look, uint64_t file_block, ssize_t n,
	struct demo_outcome *out, enum demo_cell cell)
{
	uint64_t vb = volume_block_of(look->extents, file_block);
	struct geometry_place place = geometry_locate(&geometry, vb);
	bool failed_member = geometry_member(&geometry, place.stripe, place.slot) == FAILED_MEMBER;
	look->on_member += failed_member && place.row < look->rows;
	fill_idle_block(look->was, look->file, file_block);
	if (n == BLOCK_BYTES && memcmp(look->was, look->is, BLOCK_BYTES) == 0)
		return;
	look->wrong++;
	look->unreadable += n < 0;
	if (cell == DEMO_ZEROCOPY)
		note_victim(out, look->file, file_block, &place, look->was, look->is);
}

static int look_at_file(struct demo_world *w, const struct demo_setup *setup, unsigned file,
	struct demo_outcome *out, enum demo_cell cell, struct errmsg *why)
{
	cleanup(json_value_freep) struct json_value *extents = NULL;
	cleanup(cleanup_freep) uint8_t *blocks = mem_alloc_blocks(2 * BLOCK_BYTES);
	int err = ask_extents(w, idle_names[file], &extents, why);
	if (err < 0 || !blocks)
		return err < 0 ? err : -ENOMEM;
	cleanup(cleanup_closep) int fd =
		open_in_mount(w, idle_names[file], O_RDONLY | O_DIRECT, why);
	if (fd < 0)
		return fd;
	off_t size = lseek(fd, 0, SEEK_END);
	struct idle_look look = {.file = file,
		.fd = fd,
		.extents = extents,
		.rows = setup->block_bytes / BLOCK_BYTES,
		.was = blocks,
		.is = blocks + BLOCK_BYTES};
	for (uint64_t b = 0; b < (uint64_t)size / BLOCK_BYTES && !demo_interrupted(); b++) {
		ssize_t n = pread(fd, look.is, BLOCK_BYTES, (off_t)(b * BLOCK_BYTES));
		compare_block(&look, b, n, out, cell);
	}
	out->cells[cell].wrong += look.wrong;
	out->cells[cell].unreadable += look.unreadable;
	out->cells[cell].of += look.on_member;
	if (cell == DEMO_ZEROCOPY && look.wrong && out->file_count < DEMO_MAX_FILES) {
		struct demo_file *f = &out->files[out->file_count++];
		snprintf(f->path, sizeof(f->path), "/%s", idle_names[file]);
		f->blocks_wrong = look.wrong;
	}
	return 0;
}

/* ---- one stripe for the picture ---- */

static void fill_column(struct demo_column *c, const struct json_value *slot)
{
	const struct json_value *rows = json_get(slot, "rows");
	c->gone = !json_get_bool(slot, "present", true);
	c->parity = !strcmp(json_get_string(slot, "role", ""), "parity");
	snprintf(c->owner, sizeof(c->owner), "%s",
		c->parity ? "parity" : json_get_string(rows ? rows->first : NULL, "file", "?"));
	c->mutated = !strcmp(c->owner, "/a");
}

static int take_picture(struct demo_world *w, struct demo_outcome *out, struct errmsg *why)
{
	if (!out->victim_count)
		return 0;
	struct demo_stripe *p = &out->picture;
	cleanup(json_value_freep) struct json_value *doc = NULL;
	char number[24];
	p->victim = out->victims[out->victim_count / 2];
	p->stripe = p->victim.stripe;
	snprintf(number, sizeof(number), "%llu", (unsigned long long)p->stripe);
	const char *argv[] = {"inspect", "--json", "stripe", number, demo_mountpoint(w), NULL};
	int err = demo_verb(w, argv, NULL, &doc, why);
	if (err < 0)
		return err;
	json_for_each(slot, json_get(doc, "slots"))
	{
		uint64_t member = json_get_u64(slot, "member", 0);
		if (member < 4)
			fill_column(&p->columns[member], slot);
	}
	snprintf(
		p->columns[FAILED_MEMBER].owner, sizeof(p->columns[0].owner), "%s", p->victim.path);
	for (unsigned i = 0; i < out->victim_count; i++)
		if (out->victims[i].stripe == p->stripe)
			p->ruined_rows |= 1u << out->victims[i].row;
	p->valid = true;
	return 0;
}

int demo_strangers_look(struct demo_world *w, const struct demo_setup *setup, enum demo_cell cell,
	struct demo_outcome *out, struct errmsg *why)
{
	int err = demo_unmount(w, why);
	if (!err)
		err = demo_mount(w, "dio=bounce", why);
	if (cell == DEMO_ZEROCOPY && !out->victims)
		out->victims = calloc(DEMO_MAX_VICTIMS, sizeof(*out->victims));
	for (unsigned file = 0; !err && file < IDLE_FILES; file++)
		err = look_at_file(w, setup, file, out, cell, why);
	return err < 0 || cell != DEMO_ZEROCOPY ? err : take_picture(w, out, why);
}

int demo_strangers_measure(struct demo_world *w, const struct demo_setup *setup,
	enum demo_cell cell, struct demo_outcome *out, struct errmsg *why)
{
	int err = demo_unmount(w, why);
	if (!err)
		err = demo_hide_member(w, FAILED_MEMBER, why);
	return err < 0 ? err : demo_strangers_look(w, setup, cell, out, why);
}
