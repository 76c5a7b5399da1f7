/* SPDX-License-Identifier: MIT */
/* Finding a member: both copies of the superblock, and which of them counts. */
#include "member/member.h"

#include <errno.h>
#include <inttypes.h>
#include "base/cleanup.h"
#include "base/mem.h"

struct copy {
	uint64_t offset_bytes; /* 0: the file is too small for this copy */
	int err;
	struct super super; /* where err is 0 */
	struct errmsg why;
};

/* The size is checked later, once, for the copy that counts: its message needs the path. */
static void copy_read(struct io_file *file, uint64_t offset_bytes, struct copy *out)
{
	*out = (struct copy){.offset_bytes = offset_bytes, .err = -ENOMSG};
	if (!offset_bytes || offset_bytes + SUPER_BYTES > io_file_size_bytes(file))
		return;
	cleanup(cleanup_freep) uint8_t *block = mem_alloc_blocks(SUPER_BYTES);
	if (!block) {
		out->err = -ENOMEM;
		return;
	}
	out->err = io_sync_read(file, offset_bytes, block, SUPER_BYTES);
	if (out->err == 0)
		out->err = super_decode(block, UINT64_MAX, &out->super, &out->why);
}

static const char *copy_says(const struct copy *copy)
{
	return copy->why.text[0] ? copy->why.text : strerror(-copy->err);
}

/* Generations compare within one volume. Copies of two volumes meet where a device was used again
 * and the power went between the two writes: then the volume made later counts. */
static bool copy_is_newer(const struct super *a, const struct super *b)
{
	if (memcmp(a->volume_uuid, b->volume_uuid, sizeof(a->volume_uuid)) != 0)
		return a->created_ns > b->created_ns;
	return a->generation > b->generation;
}

static int none_serves(
	const char *path, const struct copy *a, const struct copy *b, struct errmsg *why)
{
	if (a->err == -ENOMSG && b->err == -ENOMSG)
		return errmsg_set(why, -ENOMSG, "%s is not a member of a stablefs volume", path);
	if (a->err == -EUCLEAN || b->err == -EUCLEAN)
		return errmsg_set(why, -EUCLEAN,
			"%s: both superblocks are damaged: copy A at byte %" PRIu64
			": %s; copy B at byte %" PRIu64 ": %s",
			path, a->offset_bytes, copy_says(a), b->offset_bytes, copy_says(b));
	int err = a->err == -ENOMSG ? b->err : a->err;
	return errmsg_set(why, err, "%s: cannot read a superblock: %s", path, strerror(-err));
}

/* Fill @out from the copy that counts. */
static int copies_weigh(const char *path, const struct copy *a, const struct copy *b,
	struct member_probe *out, struct errmsg *why)
{
	if (a->err == -EPROTONOSUPPORT || b->err == -EPROTONOSUPPORT)
		return errmsg_set(why, -EPROTONOSUPPORT, "%s: %s", path,
			copy_says(a->err == -EPROTONOSUPPORT ? a : b));
	if (a->err < 0 && b->err < 0)
		return none_serves(path, a, b, why);
	out->copy_a_bad = a->err < 0;
	out->copy_b_bad = b->err < 0;
	bool b_counts = a->err < 0 || (b->err == 0 && copy_is_newer(&b->super, &a->super));
	out->super = b_counts ? b->super : a->super;
	return 0;
}

int member_probe(struct io_engine *io, const char *path, unsigned flags, struct member_probe *out,
	struct errmsg *why)
{
	*out = (struct member_probe){0};
	cleanup(io_closep) struct io_file *file = NULL;
	int err = io_open(io, path, flags, 0, &file, why);
	if (err < 0)
		return err;
	struct copy a, b;
	uint64_t size_bytes = io_file_size_bytes(file);
	copy_read(file, SUPER_A_OFFSET, &a);
	copy_read(file, super_b_offset(size_bytes), &b);
	err = copies_weigh(path, &a, &b, out, why);
	if (err < 0)
		return err;
	if (out->super.member_bytes > size_bytes)
		return errmsg_set(why, -EUCLEAN,
			"%s is %" PRIu64 " bytes, the volume needs %" PRIu64 ": truncated?", path,
			size_bytes, out->super.member_bytes);
	out->file = take_ptr(&file);
	return 0;
}
