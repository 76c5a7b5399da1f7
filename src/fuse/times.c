/* SPDX-License-Identifier: MIT */
/* Answers that wait until the kernel has dropped what would hide a read from us. */
#include "fuse/times.h"

/* What most programs read first, in one piece; reading it again is one request. Who may write too
 * has mostly a database, which is opened and changed in turn: its head is enough. */
#define FIRST_BYTES (UINT64_C(128) << 10)
#define HEAD_BYTES  (UINT64_C(4) << 10)

struct late_open {
	struct coherence_drop drop;
	fuse_req_t req;
	struct fuse_file_info fi;
	struct coherence_file *file;
};

static void first_pages_dropped(struct coherence_drop *drop)
{
	struct late_open *late = container_of(drop, struct late_open, drop);
	struct front *f = front_of(late->req);
	reply_open(late->req, &late->fi, late->file);
	free(late);
	front_transfer_end(f);
}

bool times_open(fuse_req_t req, const struct fuse_file_info *fi, struct coherence_file *file)
{
	struct front *f = front_of(req);
	if (file->around_cache ||
		!fs_cache_hides_read(f->fs, file->ino, !times_read_is_silent(fi->flags)))
		return false;
	struct late_open *late = malloc(sizeof(*late));
	if (!late)
		return false;
	bool reads_only = (fi->flags & O_ACCMODE) == O_RDONLY;
	*late = (struct late_open){.req = req,
		.fi = *fi,
		.file = file,
		.drop = {.ino = file->ino,
			.len_bytes = reads_only ? FIRST_BYTES : HEAD_BYTES,
			.done = first_pages_dropped}};
	front_transfer_begin(f);
	coherence_drop(f->coherence, &late->drop);
	return true;
}

void times_created(struct front *f, const struct coherence_file *file)
{
	if (!file->around_cache)
		(void)fs_cache_hides_read(f->fs, file->ino, false);
}

struct late_attr {
	struct coherence_drop drop;
	fuse_req_t req;
	struct stat st;
};

static void text_dropped(struct coherence_drop *drop)
{
	struct late_attr *late = container_of(drop, struct late_attr, drop);
	struct front *f = front_of(late->req);
	reply_attr(late->req, 0, &late->st);
	free(late);
	front_transfer_end(f);
}

bool times_symlink_set(fuse_req_t req, const struct stat *st)
{
	struct front *f = front_of(req);
	struct late_attr *late = S_ISLNK(st->st_mode) ? malloc(sizeof(*late)) : NULL;
	if (!late)
		return false;
	*late = (struct late_attr){
		.req = req, .st = *st, .drop = {.ino = st->st_ino, .done = text_dropped}};
	front_transfer_begin(f);
	coherence_drop(f->coherence, &late->drop);
	return true;
}
