/* SPDX-License-Identifier: MIT */
/* The effective policy, and the attributes that a file has its own by. */
#include "fuse/policy.h"

#include <errno.h>
#include "base/log.h"
#include "fuse/internal.h"

#define DIO_TRUSTED    "trusted.stablefs.dio"
#define DIO_USER       "user.stablefs.dio"
#define ATOMIC_TRUSTED "trusted.stablefs.atomic"
#define ATOMIC_USER    "user.stablefs.atomic"

const char *const policy_inherited_xattrs[] = {
	DIO_TRUSTED, DIO_USER, ATOMIC_TRUSTED, ATOMIC_USER, NULL};

/* What coherence.h keeps with an open file: */
#define WORD_KNOWN   0x1u
#define WORD_SAID    0x2u
#define WORD_BY_ROOT 0x4u
#define WORD_ATOMIC  0x8u
#define WORD_POLICY  8 /* the bits from here on */

/* Longer than any policy's name, and its NUL. */
#define VALUE_BYTES 16u

/* ---- which one ---- */

static struct dio_say file_says(const struct coherence_file *file)
{
	uint32_t word = coherence_word(file);
	return (struct dio_say){.said = word & WORD_SAID,
		.by_root = word & WORD_BY_ROOT,
		.policy = (enum dio_policy)(word >> WORD_POLICY)};
}

enum dio_policy front_policy_of(struct front *f, const struct coherence_file *file, pid_t tid)
{
	struct dio_choice choice = {
		.mount = f->policy, .file = file_says(file), .weaken = f->dio_weaken};
	if (!trees_empty(f->trees))
		choice.tree = trees_say(f->trees, tid);
	return dio_policy_choose(&choice);
}

static int admit(struct front *f, enum dio_policy policy, uint64_t offset_bytes, size_t len_bytes)
{
	if (policy == DIO_REFUSE) {
		stats_add(&f->stats.refused_io, 1);
		return -EINVAL;
	}
	if (policy != DIO_BUFFERED && ((offset_bytes | len_bytes) & (f->dio_align - 1))) {
		stats_add(&f->stats.unaligned, 1);
		return -EINVAL;
	}
	return 0;
}

int front_policy_classify(fuse_req_t req, const struct fuse_file_info *fi, size_t size,
	off_t offset, enum dio_policy *policy)
{
	struct front *f = front_of(req);
	*policy = DIO_BOUNCE;
	if (!is_direct(fi))
		return 0;
	*policy = front_policy_of(f, file_of(fi), fuse_req_ctx(req)->pid);
	return admit(f, *policy, (uint64_t)offset, size);
}

bool front_policy_is_atomic(const struct coherence_file *file)
{
	return coherence_word(file) & WORD_ATOMIC;
}

/* ---- the attributes ---- */

bool policy_owns_xattr(const char *name)
{
	for (const char *const *its = policy_inherited_xattrs; *its; its++)
		if (!strcmp(name, *its))
			return true;
	return false;
}

static bool is_by_root(const char *name)
{
	return !strncmp(name, "trusted.", strlen("trusted."));
}

static bool parse_policy(const char *value, size_t size, enum dio_policy *out)
{
	char name[VALUE_BYTES] = {0};
	if (size >= sizeof(name))
		return false;
	memcpy(name, value, size);
	return dio_policy_parse(name, out);
}

static bool parse_switch(const char *value, size_t size, bool *out)
{
	*out = size == 1 && *value == '1';
	return size == 1 && (*value == '0' || *value == '1');
}

int policy_check_xattr(struct front *f, const char *name, const char *value, size_t size)
{
	bool on;
	if (!strcmp(name, ATOMIC_TRUSTED) || !strcmp(name, ATOMIC_USER))
		return parse_switch(value, size, &on) ? 0 : -EINVAL;
	struct dio_choice choice = {.mount = f->policy,
		.file = {.said = true, .by_root = is_by_root(name)},
		.weaken = f->dio_weaken};
	if (!parse_policy(value, size, &choice.file.policy))
		return -EINVAL;
	return dio_policy_choose(&choice) == choice.file.policy ? 0 : -EPERM;
}

/* The value's length; 0: there is none. A value that is longer is none of ours. */
static ssize_t read_value(struct fs *fs, uint64_t ino, const char *name, char value[VALUE_BYTES])
{
	ssize_t len = fs_getxattr(fs, ino, name, value, VALUE_BYTES);
	return len == -ENODATA || len == -ERANGE ? 0 : len;
}

/* Of the two namespaces the one that counts. */
static int add_policy(struct fs *fs, uint64_t ino, uint32_t *word)
{
	static const char *const names[] = {DIO_TRUSTED, DIO_USER};
	for (unsigned i = 0; i < 2; i++) {
		char value[VALUE_BYTES];
		enum dio_policy policy;
		ssize_t len = read_value(fs, ino, names[i], value);
		if (len < 0)
			return (int)len;
		if (!parse_policy(value, (size_t)len, &policy))
			continue;
		*word |= WORD_SAID | (uint32_t)policy << WORD_POLICY;
		*word |= is_by_root(names[i]) ? WORD_BY_ROOT : 0;
		break;
	}
	return 0;
}

static int add_atomic(struct fs *fs, uint64_t ino, uint32_t *word)
{
	static const char *const names[] = {ATOMIC_TRUSTED, ATOMIC_USER};
	for (unsigned i = 0; i < 2; i++) {
		char value[VALUE_BYTES];
		bool on;
		ssize_t len = read_value(fs, ino, names[i], value);
		if (len < 0)
			return (int)len;
		if (!parse_switch(value, (size_t)len, &on))
			continue;
		*word |= on ? WORD_ATOMIC : 0;
		break;
	}
	return 0;
}

static int word_make(void *ctx, uint64_t ino, uint32_t *word)
{
	struct front *f = ctx;
	*word = WORD_KNOWN;
	int err = add_policy(f->fs, ino, word);
	return err < 0 ? err : add_atomic(f->fs, ino, word);
}

int policy_load(struct front *f, const struct coherence_file *file)
{
	if (coherence_word(file))
		return 0;
	return coherence_refresh_word(f->coherence, file->ino, word_make, f);
}

void policy_reload(struct front *f, uint64_t ino)
{
	int err = coherence_refresh_word(f->coherence, ino, word_make, f);
	if (err < 0)
		log_warn("inode %lu keeps its policy until it is opened anew: %s",
			(unsigned long)ino, strerror(-err));
}
