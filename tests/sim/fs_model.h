/* SPDX-License-Identifier: MIT */
/* What a small file system may hold at each moment, for the sweep of power cuts: names, inodes and
 * bytes as a workload made them, and how much of it was acknowledged.
 *
 * Operations are numbered from 1 on. The state behind operation P is a *moment*. After a power cut
 * the names, links, attributes and sizes must be those of one moment, no older than `floor`, which
 * an acknowledgement raised; the bytes of each file must be new enough for that moment:
 *	a cell (128 bytes) shows one version: the number of the write that stored it, or zeros;
 *	it is no older than what a sync of the file acknowledged, nor than what a truncation or a
 *	punched hole did up to that moment; and nobody else ever wrote it.
 * A write under way may be there or not, in whole cells or not at all. */
#ifndef STABLEFS_TESTS_SIM_FS_MODEL_H
#define STABLEFS_TESTS_SIM_FS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define MODEL_CELL_BYTES  128u
#define MODEL_CELLS       640u
#define MODEL_OPS         256u
#define MODEL_INODES      96u
#define MODEL_ENTRIES     96u
#define MODEL_VERSIONS    160u
#define MODEL_XATTRS      3u
#define MODEL_FOREVER     UINT32_MAX
#define MODEL_ANY         UINT16_MAX /* a version that is not to be judged */
#define MODEL_FILE_BYTES  ((uint64_t)MODEL_CELLS * MODEL_CELL_BYTES)
#define MODEL_TARGET_MAX  600u
#define MODEL_NAMES       14u
#define MODEL_VALUE_BYTES 1500u

/* One change of a file's bytes. */
struct model_version {
	uint32_t start, finish; /* operations; a finish of FOREVER: under way */
	uint16_t first, end;    /* cells */
	bool writes;            /* else it made zeros */
	bool grows;             /* the file */
	bool cuts;    /* it is zeros by a truncation, which stores none before its moment */
	bool settled; /* its cells' floors know of it */
};

struct model_size {
	uint32_t start, finish;
	uint64_t bytes;
	bool sets;    /* else the file grew to it */
	bool settled; /* acknowledged */
};

/* The bytes of a regular file; versions count from 1 on, 0 is the hole that it was at first. */
struct model_file {
	struct model_version versions[MODEL_VERSIONS];
	unsigned count;
	struct model_size sizes[MODEL_VERSIONS];
	unsigned size_count;
	uint16_t floor[MODEL_CELLS];  /* acknowledged */
	uint16_t zeroed[MODEL_CELLS]; /* the last version that made zeros */
	uint16_t newest[MODEL_CELLS];
};

struct model_inode {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid;
	int64_t mtime;                 /* of what has no bytes of its own and is no directory */
	uint32_t xattrs[MODEL_XATTRS]; /* which value; 0: there is none */
	char *target;                  /* owned; of a symbolic link */
	unsigned opens;
	uint32_t changed; /* the last operation that changed more than times and stored bytes */
	struct model_file *file; /* owned; NULL: no regular file */
};

struct model_entry {
	uint64_t parent, ino;
	unsigned name;
};

struct fs_model {
	struct model_inode inodes[MODEL_INODES]; /* those without links too */
	unsigned inode_count;
	struct model_entry entries[MODEL_ENTRIES];
	unsigned entry_count;
	uint64_t digests[MODEL_OPS]; /* by moment: of everything but the files' bytes and sizes */
	uint32_t now, floor;
};

void model_init(struct fs_model *m, uint64_t root_ino, uint32_t root_mode);
void model_free(struct fs_model *m);

/* The text of a name, of an attribute's name, and the bytes of an attribute's value. */
const char *model_name(unsigned name);
const char *model_xattr_name(unsigned index);
size_t model_xattr_value(uint32_t value, uint8_t *out);

/* An operation begins: what is changed until the next one belongs to it. model_moment() ends its
 * changes of names and attributes; before the file system could have committed them. */
void model_begin(struct fs_model *m);
void model_moment(struct fs_model *m);

struct model_inode *model_inode(struct fs_model *m, uint64_t ino); /* NULL: none */
struct model_inode *model_add(struct fs_model *m, uint64_t ino, const struct stat *st);
struct model_entry *model_entry(struct fs_model *m, uint64_t parent, unsigned name);
void model_link(struct fs_model *m, uint64_t parent, unsigned name, uint64_t ino);
void model_unlink(struct fs_model *m, struct model_entry *e);
bool model_is_empty(const struct fs_model *m, uint64_t dir);
bool model_is_above(const struct fs_model *m, uint64_t dir, uint64_t below);
/* The inode was changed by this operation: a sync of it makes that durable. */
void model_touch(struct fs_model *m, struct model_inode *inode);

/* The bytes of cells. Versions are filled in by model_cell_fill() and found by model_cell_read(),
 * which gives false where the cell holds anything but one whole version, or zeros (0), of it. */
void model_cell_fill(uint64_t ino, unsigned version, unsigned cell, void *out);
bool model_cell_read(uint64_t ino, unsigned cell, const void *in, unsigned *version);

/* Changes of bytes; the number of the version. Writes are under way until model_finish(). */
unsigned model_write(struct fs_model *m, struct model_inode *i, unsigned first, unsigned end);
void model_finish(struct fs_model *m, struct model_inode *i, unsigned version);
void model_zero(struct fs_model *m, struct model_inode *i, unsigned first, unsigned end);
void model_resize(struct fs_model *m, struct model_inode *i, uint64_t bytes);
void model_grow(struct fs_model *m, struct model_inode *i, uint64_t bytes);
bool model_under_way(const struct model_inode *i, unsigned first, unsigned end);
bool model_growing(const struct model_inode *i);  /* by a write under way */
uint64_t model_size(const struct model_inode *i); /* with everything that is under way */
bool model_has_room(const struct model_inode *i); /* for more versions */

/* A sync begins, and has returned: what was finished when it began is there from now on. Of
 * everything, or (@inode) one file. */
struct model_sync {
	struct model_inode *inode; /* NULL: everything */
	uint32_t began;
	uint32_t covers; /* the moment that it makes durable; of an inode its last change */
};
struct model_sync model_sync_begin(struct fs_model *m, struct model_inode *inode);
void model_sync_end(struct fs_model *m, const struct model_sync *sync);

/* Could the file have that size at @moment? */
bool model_size_fits(const struct model_inode *i, uint32_t moment, uint64_t bytes);
/* What is wrong with the versions that its cells show, at any moment; and at that one. NULL:
 * nothing. @at: the first cell that is wrong. */
const char *model_cells_check(
	const struct model_inode *i, const uint16_t *shown, unsigned cells, unsigned *at);
bool model_cells_fit(
	const struct model_inode *i, uint32_t moment, const uint16_t *shown, unsigned cells);
/* Was the block of that cell being written, or could it have been, behind its floor? */
bool model_block_in_flight(const struct model_inode *i, unsigned cell);

/* ---- digests: sums of these, so that the order does not matter ---- */

struct model_attr {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid;
	int64_t mtime;
};
uint64_t model_digest_entry(uint64_t parent, const char *name, uint64_t ino);
uint64_t model_digest_attr(const struct model_attr *a);
uint64_t model_digest_bytes(uint64_t ino, const char *what, const void *bytes, size_t len);

#endif
